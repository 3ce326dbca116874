"""What a tracking server would refuse when the run has begun, or when it is sent there later."""

from __future__ import annotations

from rlvr.config import TrackingConfig

LONGEST_TAG = 64
LONGEST_NAME = 128
FORBIDDEN = "/\\#?%:"  # in the name of a project


def tracking_problems(cfg: TrackingConfig) -> list[str]:
    """What is wrong with the names that a run has in wandb."""
    if cfg.wandb == "off":
        return []
    found = [
        f"tracking.tags: {tag!r} has {len(tag)} characters; wandb takes 1 to {LONGEST_TAG}"
        for tag in cfg.tags
        if not 0 < len(tag) <= LONGEST_TAG
    ]
    for key, name in (("project", cfg.project), ("group", cfg.group)):
        if name is not None and not 0 < len(name) <= LONGEST_NAME:
            found.append(f"tracking.{key}={name}: {len(name)} characters; wandb takes 1 to {LONGEST_NAME}")
    if odd := sorted({char for char in cfg.project if char in FORBIDDEN}):
        found.append(
            f"tracking.project={cfg.project}: wandb takes no {' '.join(odd)} in the name of a project"
        )
    return found
