"""Programs that vLLM calls on a CPU: looked for at once, where it would fail later and in words of its own."""

from __future__ import annotations

import os
import platform
import shutil

from rlvr.errors import ConfigError

CORES = "lscpu"  # which says how cores and memory belong together


def find_lscpu() -> None:
    """Refuse a machine on which vLLM could not tell which cores there are.

    Raises:
        ConfigError: there is no lscpu in PATH.
    """
    if shutil.which(CORES) is None:
        raise ConfigError(
            f"no {CORES} is in PATH={os.environ.get('PATH', '')} on {platform.node()}, and on a CPU vLLM asks it which "
            "cores there are. Install util-linux, of which it is a part, or put its folder into PATH (export "
            "PATH=/usr/bin:/bin:$PATH)."
        )


def find_compiler() -> None:
    """Refuse at once what would fail when the model has been loaded.

    Raises:
        ConfigError: torch finds no C++ compiler on this node.
    """
    from torch._inductor import config
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"rollout.enforce_eager=false: no C++ compiler works on {platform.node()} (looked for "
            f"{config.cpp.cxx[-1]}), and on a CPU vLLM compiles the model with one. Install g++, name another "
            "in CXX, or take rollout.enforce_eager=true, which compiles nothing"
        ) from error
