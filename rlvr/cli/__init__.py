"""The command line: one program with a command for each module that can be run."""
