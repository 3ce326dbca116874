"""Options of Hydra and overrides, told apart wherever they stand."""

from __future__ import annotations

from rlvr.cli.overrides.command_line import options_first, parse_options


def test_options_may_stand_anywhere():
    typed = [
        "a=b",
        "-m",
        "c=1,2",
        "--config-dir",
        "x=y",
        "-i",
        "d=3",
        "--info",
        "plugins",
        "~e",
        "--cfg",
        "job",
    ]
    ordered = [
        "-m",
        "--config-dir",
        "x=y",
        "-i",
        "all",
        "--info",
        "plugins",
        "--cfg",
        "job",
        "a=b",
        "c=1,2",
        "d=3",
        "~e",
    ]
    assert options_first(typed) == ordered
    parsed = parse_options(["a=b", "-m", "c=1,2"])
    assert (parsed.multirun, parsed.overrides) == (True, ["a=b", "c=1,2"])
