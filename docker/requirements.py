"""Print the requirements that pyproject.toml names, one a line, without rlvr itself.

python docker/requirements.py cpu hub     the dependencies and those of the extras `cpu` and `hub`
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def requirements(extras: list[str]) -> list[str]:
    """Those of the project and of its extras; an extra that names others, as rlvr[hub], stands for theirs.

    Raises KeyError for an extra that does not exist.
    """
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    found = list(project["dependencies"])
    pending = list(extras)
    while pending:
        for requirement in project["optional-dependencies"][pending.pop(0)]:
            own = re.fullmatch(rf"{project['name']}\[(.+)\]", requirement)
            if own:
                pending += re.split(r"\s*,\s*", own.group(1))
            else:
                found.append(requirement)
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
