"""Which folders are checkpoints: those called step_<number> and nothing else, with a file that only a whole one has.

A copy that somebody made (step_000060.bak) is theirs: it is neither found nor ever deleted.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from rlvr.runtime.disk.manifest import NAME as MANIFEST

NAME = re.compile(r"step_([0-9]+)")
STATE = "state.json"
ASIDE = "abandoned_"  # how what a run sets aside is called


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


def renamed_after(folder: Path, step: int) -> dict[Path, int]:
    """Checkpoints of later steps under names of somebody's own, with their steps; what a run set aside is none."""
    found: dict[Path, int] = {}
    for path in sorted(folder.glob("[!.]*")):
        if step_of(path) is None and not path.name.startswith(ASIDE) and (path / STATE).is_file():
            try:
                own = int(json.loads((path / STATE).read_text())["step"])
            except (OSError, ValueError, TypeError, KeyError):  # no state of ours
                continue
            if own > step:
                found[path] = own
    return found


def was_complete(path: Path) -> bool:
    """Whether a folder was a whole checkpoint once; it may have been damaged since."""
    return any((path / name).exists() for name in (STATE, MANIFEST))  # either may be lost
