"""One torch thread and reproducible examples for every test in this folder."""

import gc
import logging
from pathlib import Path
from typing import Any

import pytest

SHARED = "tests/e2e/shared/"

# Millions of objects that the imports make live to the end. Looking through them again and again for what can be
# freed took a quarter of the collection of tests, and a twentieth of the tests.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        return  # this process hands the tests out to others and need not import what they need
    import hypothesis
    import torch

    hypothesis.settings.register_profile("unit", deadline=None, derandomize=True, max_examples=50)
    hypothesis.settings.load_profile("unit")
    torch.set_num_threads(1)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where all tests that are asked for carry one marker, files that do not name it need not be imported."""
    wanted, _, rest = config.option.markexpr.partition(" ")
    if wanted not in ("e2e", "slow") or " or " in rest or not collection_path.match("test_*.py"):
        return None
    return None if f"mark.{wanted}" in collection_path.read_text() else True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where files stay together, so do those of a folder whose tests share processes."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class TogetherScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SHARED if nodeid.startswith(SHARED) else super()._split_scope(nodeid)

    return TogetherScheduling(config, log)


def pytest_collection_finish() -> None:
    # Pytest hangs its handlers on each logger that does not propagate, some sixty of torch's, six times a test.
    for logger in logging.getLogger().manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # configurations are made of many small objects
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # extension modules complain at the end of what nobody freed
