"""What is loaded when the package is imported: in one new process, where nothing is there yet."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # a new process that imports everything

ENGINES = ("ray", "vllm", "deepspeed")
HEAVY = {"torch", "ray", "vllm", "hydra", "pyarrow"}
PURE = [
    "rlvr.api",
    "rlvr.cli.main",
    "rlvr.types",
    "rlvr.config",
    "rlvr.errors",
    "rlvr.validate",
    "rlvr.metrics",
    "rlvr.runtime.disk.folder",
    "rlvr.runtime.checkpoints.checkpoint",
    "rlvr.data.stream",
    "rlvr.data.sources",
    "rlvr.data.prompting.templates",
    "rlvr.reward.rules.answer",
    "rlvr.reward.extract",
    "rlvr.reward.score",
    "rlvr.reward.overlong",
    "rlvr.advantage.group",
    "rlvr.advantage.token",
    "rlvr.divergence",
    "rlvr.learner.loss",
    "rlvr.learner.packing",
    "rlvr.learner.schedule",
    "rlvr.learner.scoring",
    "rlvr.learner.update",
    "rlvr.learner.deepspeed_config",
    "rlvr.rollout.source",
    "rlvr.sync.gloo",
    "rlvr.stats.accuracy",
]
PROGRAM = f"""
import gc, importlib, json, sys, traceback

gc.disable()  # a quarter of the time
import rlvr

failed = {{}}

def check(function):
    try:
        function()
    except Exception:
        failed[function.__name__] = traceback.format_exc()

@check
def light():
    assert not {HEAVY!r} & set(sys.modules)
    assert rlvr.load_recipe.__module__ == "rlvr.api"
    assert not {HEAVY!r} & set(sys.modules)

@check
def engines():
    for name in {[*PURE, "rlvr.train"]!r}:
        importlib.import_module(name)
        found = [e for e in {ENGINES!r} if e in sys.modules]
        assert not found, f"{{name}} loads {{found}}"

@check
def names():
    assert set(rlvr.__all__) <= set(dir(rlvr))
    assert all(hasattr(rlvr, name) for name in rlvr.__all__)

@check
def commands():
    import rlvr.train, rlvr.analyze as module
    from rlvr.train import train_steps

    assert rlvr.train.train_steps is train_steps
    assert module.__name__ == "rlvr.analyze"
    for function in (rlvr.train, rlvr.analyze):
        try:
            function(no_such_argument=1)
        except TypeError as error:
            assert "no_such_argument" in str(error)
        else:
            raise AssertionError("an argument that there is not was taken")
    assert rlvr.divergence.dist_stats

print(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def failed() -> dict[str, str]:
    """Checks that failed, with their tracebacks."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_rlvr_loads_neither_torch_nor_engines(failed):
    assert "light" not in failed, failed["light"]


def test_no_module_loads_an_engine_when_imported(failed):
    """The pure modules one by one, then the whole program: `--help` and reports must not wait for vLLM."""
    assert "engines" not in failed, failed["engines"]


def test_every_public_name_is_there(failed):
    assert "names" not in failed, failed["names"]


def test_a_commands_module_and_the_function_of_its_name_live_together(failed):
    assert "commands" not in failed, failed["commands"]
