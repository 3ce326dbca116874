"""Which folders are checkpoints: those called step_<number> and nothing else, with a file that only a whole one has.

A copy that somebody made (step_000060.bak) is theirs: it is neither found nor ever deleted.
"""

from __future__ import annotations

import re
from pathlib import Path

from rlvr.runtime.manifest import NAME as MANIFEST

NAME = re.compile(r"step_([0-9]+)")
STATE = "state.json"


def step_name(step: int) -> str:
    """Folder name of a step; sorts by step."""
    return f"step_{step:06d}"


def step_of(path: Path) -> int | None:
    """The step that a checkpoint's folder is called after; None of a folder that is called otherwise."""
    found = NAME.fullmatch(path.name)
    return int(found[1]) if found else None


def checkpoints_in(folder: Path) -> dict[Path, int]:
    """The checkpoints that were complete once, with their steps, the oldest first."""
    steps = {path: step for path in folder.glob("step_*") if (step := step_of(path)) is not None}
    return {
        path: steps[path] for path in sorted(steps, key=lambda p: (steps[p], p.name)) if was_complete(path)
    }


def was_complete(path: Path) -> bool:
    """Whether a folder was a whole checkpoint once; it may have been damaged since."""
    return any((path / name).exists() for name in (STATE, MANIFEST))  # either may be lost
