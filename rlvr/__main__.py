"""`python -m rlvr`: the same as the program `rlvr`."""

from rlvr.cli.main import main

main()
