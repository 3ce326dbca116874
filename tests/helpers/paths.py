"""Where the repository lies, and beside it, where there is one, the folder of real problem files."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
SHARED_DATA = SHARED / "data"
