"""rlvr: reinforcement learning with verifiable rewards that shows, and weights, the tokens that matter.

From Python: `rlvr.load_recipe`, `rlvr.train`, `rlvr.analyze`, `rlvr.load_run` (see rlvr.api), and the package
`rlvr.divergence`. Importing rlvr loads none of them: torch and the engines come with the first use.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr import divergence
    from rlvr.api import LoadedAnalysis, LoadedRun, RunResult, analyze, load_recipe, load_run, train

# How long OpenMP's threads spin before they sleep while they wait for others, read when torch is loaded. libgomp's own
# 300 000 turns take a core from the very thread that is waited for where other processes are busy; 20 000 cost nothing
# where they are not (docs/tuning.md).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# What it holds while `python -m` imports the packages of a command.
if getattr(sys, "argv", [""])[:1] == ["-m"]:
    from rlvr.cli.surroundings import end_at_interrupt, look_around

    if any(name.startswith(("rlvr", "launch.")) for name in sys.orig_argv):  # not a program that imports rlvr
        end_at_interrupt()
    look_around()

__version__ = "0.1.0"
__all__ = [
    "LoadedAnalysis",
    "LoadedRun",
    "RunResult",
    "__version__",
    "analyze",
    "divergence",
    "load_recipe",
    "load_run",
    "train",
]
# Functions of rlvr.api whose name is also that of a command's module.
SHARED_NAMES = ("analyze", "train")


def __getattr__(name: str) -> Any:
    if name == "divergence":
        return importlib.import_module("rlvr.divergence")
    if name in __all__:
        return getattr(importlib.import_module("rlvr.api"), name)
    raise AttributeError(f"module 'rlvr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CommandModule(ModuleType):
    """The module of a command, called as the function of the same name in rlvr.api."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        function = getattr(importlib.import_module("rlvr.api"), self.__name__.removeprefix("rlvr."))
        return function(*args, **options)


class _Package(ModuleType):
    """This package: importing rlvr.train binds that module to the name here, where rlvr.train(config) still works."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SHARED_NAMES and isinstance(value, ModuleType):
            value.__class__ = _CommandModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
