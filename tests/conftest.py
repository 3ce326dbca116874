"""One torch thread and reproducible examples for every test in this folder."""

import gc

import hypothesis
import torch

hypothesis.settings.register_profile("unit", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("unit")
torch.set_num_threads(1)
# Millions of objects that the imports make live to the end. Looking through them again and again for what can be
# freed took a quarter of the collection of tests, and a twentieth of the tests.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # extension modules complain at the end of what nobody freed
