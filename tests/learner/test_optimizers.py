"""The table of optimisers: what Muon gets, equality with torch's own step by step, and what is refused."""

from __future__ import annotations

import copy
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from rlvr.config import Config, LearnerConfig
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import ConfigError
from rlvr.learner.model.policy import PolicyModel, load_policy
from rlvr.learner.optimizers import OPTIMIZERS, optimizer_problems, reset, split_matrices
from rlvr.validate import validate
from tests.helpers.models import random_model

CFG = LearnerConfig(weight_decay=0.05, betas=[0.8, 0.9], eps=1e-6)


def policy() -> PolicyModel:
    return load_policy(Config(recipe="test").model, model_folder("builtin"), 1.0)


def set_gradients(parameters: list[torch.nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def stepped(optimizer: torch.optim.Optimizer, model: PolicyModel, steps: range) -> None:
    for step in steps:
        set_gradients(list(model.parameters()), step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 / (step + 1)
        optimizer.step()


def test_muon_gets_the_matrices_of_hidden_layers():
    lm = policy().lm
    matrices, rest = split_matrices(lm)
    names = {id(p): name for name, p in lm.named_parameters()}
    assert {names[id(p)].split(".")[-2] for p in matrices} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    others = {names[id(p)] for p in rest}
    assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= others
    assert len(matrices) + len(rest) == len(names)
    matrices[0].requires_grad_(False)
    assert [id(p) for part in split_matrices(lm) for p in part] == [id(p) for p in [*matrices[1:], *rest]]
    tied = random_model("gpt2", vocab_size=80, n_embd=64, n_layer=1, n_head=4, n_positions=37)
    _, rest = split_matrices(tied)
    names = {id(p): name for name, p in tied.named_parameters()}
    assert {"transformer.wte.weight", "transformer.wpe.weight"} <= {names[id(p)] for p in rest}
    assert not [
        names[id(p)] for p in rest if p.ndim == 2 and "wte" not in names[id(p)] and "wpe" not in names[id(p)]
    ]


def by_torch(name: str, model: PolicyModel) -> list[torch.optim.Optimizer]:
    """The same, as its makers call them."""
    adam = {"lr": 0.0, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.05}
    if name == "adamw":
        return [torch.optim.AdamW(model.parameters(), **adam)]
    matrices, rest = split_matrices(model.lm)
    return [
        torch.optim.Muon(matrices, lr=0.0, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, **adam),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_step_equals_torchs_own_and_a_restored_one_goes_on(name):
    ours, theirs, again = policy(), policy(), policy()
    optimizer, plain = OPTIMIZERS[name](ours, CFG), by_torch(name, theirs)
    start = [p.detach().clone() for p in ours.parameters()]
    for step in range(4):
        stepped(optimizer, ours, range(step, step + 1))
        for one in plain:
            stepped(one, theirs, range(step, step + 1))
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(mine, other)
        if step == 1:
            again.load_state_dict(ours.state_dict())
            restored = OPTIMIZERS[name](again, CFG)
            restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(restored, again, range(2, 4))
    for mine, other, first in zip(ours.parameters(), again.parameters(), start, strict=True):
        assert torch.equal(mine, other)
        assert not torch.equal(mine, first)
    assert {value.dtype for state in optimizer.state.values() for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_before_the_rate_is_set_moves_nothing_and_what_is_frozen_is_left_out(name):
    """DeepSpeed may take one while it starts."""
    model = policy()
    frozen = model.lm.model.norm.weight
    frozen.requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    set_gradients(list(model.parameters()), 1)
    optimizer = OPTIMIZERS[name](model, CFG)
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p is not frozen)


def test_an_offloaded_adamw_is_fused():
    for offload, fused in (("none", None), ("cpu", True)):
        [group] = OPTIMIZERS["adamw"](policy(), LearnerConfig(offload_optimizer=offload)).param_groups
        assert group["fused"] is fused


def test_several_optimisers_take_no_closure():
    with pytest.raises(ValueError, match="one loss again"):
        OPTIMIZERS["muon"](policy(), CFG).step(lambda: 0.0)


@pytest.mark.slow
def test_muon_moves_matrices_as_far_as_adamw_does():
    """So that one learning rate serves both: root mean squares of 0.2 of the rate, which is AdamW's usual one."""
    model = policy()
    before = [p.detach().clone() for p in split_matrices(model.lm)[0]]
    cfg = LearnerConfig()
    stepped(OPTIMIZERS["muon"](model, cfg), model, range(1))
    for old, new in zip(before, split_matrices(model.lm)[0], strict=True):
        assert 0.1 < ((new - old).pow(2).mean().sqrt() / 1e-2).item() < 0.3


def refusal(**keys: object) -> str:
    cfg = Config(recipe="test")
    for key, value in keys.items():
        setattr(cfg.learner, key, value)
    with pytest.raises(ConfigError) as caught:
        validate(cfg)
    return str(caught.value)


def test_what_cannot_work_is_refused_with_the_reason(monkeypatch):
    assert "Muon needs whole matrices" in refusal(optimizer="muon", zero_stage=2)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "rlvr.learner.optimizers.find_spec", lambda name: None if name == "bitsandbytes" else found(name)
    )
    assert "pip install bitsandbytes" in refusal(optimizer="adamw_8bit")
    monkeypatch.setattr("rlvr.learner.optimizers.find_spec", lambda name: found("torch"))
    assert "offload_optimizer=cpu" in refusal(optimizer="adamw_8bit", zero_stage=1, offload_optimizer="cpu")


def test_what_can_work_is_not_refused(monkeypatch):
    def problems(**keys: object) -> list[str]:
        cfg = Config(recipe="test")
        for key, value in keys.items():
            setattr(cfg.learner, key, value)
        return optimizer_problems(cfg)

    asked: list[str] = []
    monkeypatch.setattr("rlvr.learner.optimizers.find_spec", asked.append)  # None: not installed
    for keys in ({"zero_stage": 2}, {"zero_stage": 1, "offload_optimizer": "cpu"}):
        assert problems(optimizer="adamw", **keys) == []
    assert problems(optimizer="muon", zero_stage=0) == []
    assert len(problems(optimizer="adamw_8bit", zero_stage=2)) == 1
    assert asked == ["bitsandbytes"]
    monkeypatch.setattr("rlvr.learner.optimizers.find_spec", lambda name: object())
    assert problems(optimizer="adamw_8bit", zero_stage=2) == []
    assert len(problems(optimizer="adamw_8bit", zero_stage=2, offload_optimizer="cpu")) == 1


def test_eight_bits_are_asked_for_with_the_settings_and_forgotten_whole(monkeypatch):
    """A stand-in for bitsandbytes, whose state has tables that are not to become 0."""

    class AdamW8bit(torch.optim.SGD):
        def __init__(self, parameters: Any, **settings: Any) -> None:
            super().__init__(parameters, lr=1.0)
            self.settings = settings

    AdamW8bit.__module__ = "bitsandbytes.optim.adamw"
    package = ModuleType("bitsandbytes")
    package.optim = ModuleType("bitsandbytes.optim")  # type: ignore[attr-defined]
    package.optim.AdamW8bit = AdamW8bit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    model = policy()
    made: Any = OPTIMIZERS["adamw_8bit"](model, CFG)
    assert made.settings == {"lr": 0.0, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.05}
    assert [id(p) for p in made.param_groups[0]["params"]] == [id(p) for p in model.parameters()]
    table = torch.ones(3)
    made.state[model.lm.model.norm.weight] = {"qmap": table}
    reset(made)
    assert not made.state
    assert table.all()


EIGHT_BIT = pytest.param(
    "adamw_8bit",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is optional"
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "muon", EIGHT_BIT])
def test_after_a_reset_an_optimiser_is_as_new(name):
    ours, fresh = policy(), policy()
    start = [p.detach().clone() for p in ours.parameters()]
    optimizer, other = OPTIMIZERS[name](ours, CFG), OPTIMIZERS[name](fresh, CFG)
    stepped(optimizer, ours, range(3))
    reset(optimizer)
    with torch.no_grad():
        for parameter, first in zip(ours.parameters(), start, strict=True):
            parameter.copy_(first)
    stepped(optimizer, ours, range(3, 6))
    stepped(other, fresh, range(3, 6))
    for mine, expected in zip(ours.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(mine, expected)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is optional")
def test_eight_bits_are_near_adamw():
    ours, theirs = policy(), policy()
    start = [p.detach().clone() for p in ours.parameters()]
    optimizer, [plain] = OPTIMIZERS["adamw_8bit"](ours, CFG), by_torch("adamw", theirs)
    stepped(optimizer, ours, range(3))
    stepped(plain, theirs, range(3))
    for mine, other, first in zip(ours.parameters(), theirs.parameters(), start, strict=True):
        assert (mine - other).norm() < 0.1 * (other - first).norm()
    sizes = {
        value.dtype
        for state in optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    }
    assert torch.uint8 in sizes
