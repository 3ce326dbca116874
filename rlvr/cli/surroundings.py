"""How and where a command starts: Python looks for modules in that folder first, so what lies in it can break a start.

Loaded before anything else of rlvr, and therefore uses nothing that a file there could stand in for.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

STOPPED = "\nstopped by the user"
# Libraries that a training imports, and whose names a script of one's own may have.
DEPENDENCIES = frozenset(
    ("datasets", "deepspeed", "hydra", "numpy", "ray", "tokenizers", "torch", "transformers", "vllm", "wandb")
)


def shadows(folder: str) -> list[str]:
    """Files and packages of a folder that have the name of a module of Python's or of a dependency, sorted."""
    taken = sys.stdlib_module_names | DEPENDENCIES
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # Python finds nothing there either
        return []
    found = []
    for name in names:
        module, suffix = os.path.splitext(name)
        package = not suffix and os.path.isfile(os.path.join(folder, name, "__init__.py"))
        if module in taken and (suffix == ".py" or package):
            found.append(name)
    return found


def end_at_interrupt() -> None:
    """Have Ctrl-C end the process in one line and with code 130 while its command is imported, which takes seconds."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            return usual(kind, error, trace)
        from rlvr.errors import EXIT_INTERRUPTED

        print(STOPPED, file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)

    sys.excepthook = hook


def look_around() -> str:
    """Say what stands in the way of a command in the folder where it starts; returns that folder.

    Raises:
        SystemExit: the folder has been deleted, with which torch would end the process, or Python leaves out asserts.
    """
    # Hydra reads no list of settings then, and an assert in somebody's verifier always holds.
    if sys.flags.optimize:
        print(
            "rlvr: Python leaves out assertions here, which verifiers and Hydra need: start it without -O, or unset "
            "PYTHONOPTIMIZE",
            file=sys.stderr,
        )
        sys.exit(1)
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        print("rlvr: the working folder has been deleted; cd to one that exists", file=sys.stderr)
        sys.exit(1)
    found = [] if sys.flags.safe_path else shadows(folder)
    if found and sys.stderr is not None:
        print(
            f"rlvr: {', '.join(found)} in {folder} may be imported in place of the module of that name, of Python or "
            "of a library: rename it, or start in another folder, if what follows fails",
            file=sys.stderr,
        )
    return folder
