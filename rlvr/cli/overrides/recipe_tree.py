"""Where the recipes lie that Hydra composes configurations from, and their groups."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]
STUDIES = (
    "study"  # the folder of the recipe tree that is no group of Hydra's but holds studies (rlvr findings)
)


def recipes_folder() -> Path:
    """Where the Hydra tree lies: beside the package in a checkout, inside it in an installed wheel."""
    inside = PACKAGE / "recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def option_groups(folder: Path) -> dict[str, Path]:
    """The groups of a recipe tree: a folder each, whose files are its options."""
    return {path.name: path for path in folder.iterdir() if path.is_dir() and path.name != STUDIES}
