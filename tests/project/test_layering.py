"""Which modules may know Ray, vLLM and DeepSpeed."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import pytest

import rlvr

PACKAGE = Path(rlvr.__file__).parent
BEHIND_ONE_MODULE = ("ray", "vllm", "deepspeed", "hydra")
MAY_IMPORT = {
    "ray": ("cluster/",),
    "deepspeed": ("learner/deepspeed_api.py",),
    "hydra": ("cli/",),
    "vllm": ("rollout/engine.py", "sync/"),
}


@functools.cache
def imported_names(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {a.value.partition(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return names


@pytest.mark.parametrize("engine", BEHIND_ONE_MODULE)
def test_each_engine_sits_behind_its_own_module(engine):
    importers = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if engine in imported_names(path)
    }
    assert importers, f"nobody imports {engine}: does this test still look in the right place?"
    assert not {name for name in importers if not name.startswith(MAY_IMPORT[engine])}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@pytest.mark.slow
def test_no_two_modules_import_each_other_in_a_circle():
    """Imports at the top of a file; one inside a function is there to wait until it is needed."""
    known = modules()
    needs: dict[str, set[str]] = {}
    for name, path in known.items():
        needs[name] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module in known:
                needs[name] |= {
                    f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                    for alias in node.names
                }
            elif isinstance(node, ast.Import):
                needs[name] |= {alias.name for alias in node.names if alias.name in known}
        needs[name].discard(name)
    graphlib.TopologicalSorter(needs).prepare()  # CycleError names the circle


def test_the_top_floor_is_seen_at_a_glance():
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert len(rooms - {"__init__"}) < 35


def test_no_test_imports_a_test():
    tests = PACKAGE.parent / "tests"
    found = {
        f"{file.relative_to(tests)}: {node.module}"
        for file in tests.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
    }
    assert not found, "what tests share belongs in tests/helpers"
