"""Which backend a name means on which device, decided without one."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from rlvr.config import Config
from rlvr.divergence.backends import backend_in_use, choose_backend
from rlvr.divergence.oracle import oracle_stats
from rlvr.divergence.record import StatsRequest
from rlvr.divergence.torch_backend import torch_stats
from rlvr.errors import ConfigError
from rlvr.validate import validate


@pytest.fixture(autouse=True)
def _no_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.parametrize(
    ("name", "device", "chosen"),
    [
        ("auto", "cpu", "torch"),
        ("auto", "cuda", "triton"),
        ("torch", "cuda", "torch"),
        ("triton", "cuda", "triton"),
        ("cuda", "cuda", "cuda"),
    ],
)
def test_names_and_devices(name, device, chosen):
    assert backend_in_use(name, device)[0] == chosen


@pytest.mark.parametrize(
    ("name", "code"), [("oracle", oracle_stats), ("torch", torch_stats), ("auto", torch_stats)]
)
def test_a_name_means_its_own_code_and_not_another_that_agrees_with_it(name, code):
    assert choose_backend(name, torch.device("cpu"), StatsRequest(frozenset({"js"}))) is code


def test_without_triton_auto_says_why_it_is_torch(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backend_in_use("auto", "cuda") == ("torch", "the package 'triton' is not installed")
    with pytest.raises(
        ValueError, match="backend='triton' cannot run: the package 'triton' is not installed"
    ):
        backend_in_use("triton", "cuda")


@pytest.mark.parametrize("name", ["triton", "cuda"])
def test_a_run_on_cpu_refuses_kernels_of_gpus(name):
    cfg = Config(recipe="test")
    cfg.learner.divergence_backend = name
    with pytest.raises(
        ConfigError, match=rf"learner\.divergence_backend: backend='{name}' cannot run.*use auto"
    ):
        validate(cfg)
    cfg.learner.divergence_backend = "torch"
    validate(cfg)
