"""Layers computed again in backward, with feed-forward layers in tiles: the plain path's numbers for less memory."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from benchmarks.allocated import peak_bytes
from rlvr.config import Config, LearnerConfig
from rlvr.errors import ConfigError
from rlvr.learner.model.activations import activation_problems, checkpoint_layers
from rlvr.runtime.planning.ledger import activations
from rlvr.runtime.planning.shape import ModelShape
from tests.helpers.activation_cases import DENSE, check_equal, log_probs_and_gradients, saving
from tests.helpers.families import FAMILIES, small_lm
from tests.helpers.models import random_model

SAVINGS: dict[str, dict[str, Any]] = {
    "every layer": {"checkpoint": True},
    "every second layer": {"checkpoint": True, "checkpoint_every": 2},
    "all but attention": {"checkpoint": True, "checkpoint_keep": "attention"},
    "tiles": {"mlp_tile_tokens": 17},
    "tiles, all but attention of every second layer": {
        "checkpoint": True,
        "checkpoint_every": 2,
        "checkpoint_keep": "attention",
        "mlp_tile_tokens": 64,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("how", SAVINGS)
@pytest.mark.parametrize("family", DENSE)
def test_log_probs_and_gradients_are_those_of_the_plain_path(family, how):
    keys = SAVINGS[how] | ({"checkpoint_keep": "nothing"} if FAMILIES[family].attention == "eager" else {})
    check_equal(saving(small_lm(family), **keys), small_lm(family))


class Operations(TorchDispatchMode):
    """Counts attention by what it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if "attention" in name:
            self.counts["backward" if "backward" in name else "forward"] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("keys", "forward"),
    [({}, 4), ({"checkpoint_keep": "attention"}, 2), ({"checkpoint_every": 2}, 3)],
)
def test_attention_that_is_kept_is_not_computed_again(keys, forward):
    lm = saving(small_lm("llama"), checkpoint=True, **keys)
    with Operations() as seen:
        log_probs_and_gradients(lm)
    assert seen.counts == {"forward": forward, "backward": 2}  # of two layers


class Recorder(torch.nn.Module):
    """A model that only takes down how it was told to checkpoint."""

    def gradient_checkpointing_enable(self, **keys: Any) -> None:
        self.keys = keys


def context_of_attention() -> Any:
    """What a layer is computed in, and again, where the results of attention are kept."""
    lm = Recorder()
    lm.layer = GradientCheckpointingLayer()
    checkpoint_layers(lm, LearnerConfig(checkpoint_keep="attention"), "model.path=x")
    return lm.keys["gradient_checkpointing_kwargs"]["context_fn"]


def test_a_model_that_is_wholly_checkpointed_is_told_nothing_that_it_may_not_know():
    lm = Recorder()
    checkpoint_layers(lm, LearnerConfig(), "model.path=x")
    assert lm.keys == {"gradient_checkpointing_kwargs": {"use_reentrant": False}}
    for keys in ({"checkpoint_every": 2}, {"checkpoint_keep": "attention"}):
        with pytest.raises(ConfigError, match=r"model\.path=x does not have its layers"):
            checkpoint_layers(Recorder(), LearnerConfig(**keys), "model.path=x")


def test_results_of_several_attentions_of_a_layer_come_back_in_their_order():
    def layer(states: torch.Tensor) -> torch.Tensor:
        for scale in (0.2, 0.9):
            states = torch.nn.functional.scaled_dot_product_attention(
                states, states.tanh(), states.sin(), is_causal=True, scale=scale
            )
        return states.exp()

    given = torch.randn(1, 2, 7, 8, generator=torch.Generator().manual_seed(1))
    found = []
    for kept in (False, True):
        states = given.clone().requires_grad_()
        with Operations() as seen:
            output = (
                checkpoint(layer, states, use_reentrant=False, context_fn=context_of_attention())
                if kept
                else layer(states)
            )
            output.square().sum().backward()
        assert seen.counts == {"forward": 2, "backward": 2}
        found.append((output.detach(), states.grad))
    for value, expected in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)


def test_attention_is_known_by_what_torch_calls_it_on_gpus():
    states = torch.empty(1, 2, 64, 64, device="meta", dtype=torch.bfloat16)
    for name, rest in (
        ("_scaled_dot_product_flash_attention", ()),
        ("_scaled_dot_product_efficient_attention", (None, True)),
        ("_scaled_dot_product_cudnn_attention", (None, True)),
    ):
        with Operations() as seen:
            for context in context_of_attention()():
                with context:
                    getattr(torch.ops.aten, name)(states, states, states, *rest)
        assert seen.counts == {"forward": 1}, name


def test_settings_of_checkpointing_that_cannot_be_are_named():
    values = ((1, 2), ("nothing", "attention"), (False, True), ("sdpa", "eager"))
    for every, keep, checkpointing, attention in itertools.product(*values):
        cfg = Config(recipe="test")
        cfg.learner.checkpoint_every, cfg.learner.checkpoint_keep = every, keep
        cfg.model.gradient_checkpointing, cfg.model.attention = checkpointing, attention
        wanted = [f"learner.checkpoint_every={every} with model.gradient_checkpointing=false"] * (
            every == 2 and not checkpointing
        )
        wanted += [f"learner.checkpoint_keep={keep} with model.gradient_checkpointing=false"] * (
            keep == "attention" and not checkpointing
        )
        wanted += ["learner.checkpoint_keep=attention with model.attention=eager"] * (
            keep == "attention" and attention == "eager"
        )
        found = activation_problems(cfg)
        assert [problem.partition(":")[0] for problem in found] == wanted


# Memory. Layers of one size; what the rest of the model takes is small beside them.

SHAPE = ModelShape(0, 32, 64, 6, 2 * 6 * 64, 512)
WIDE = {
    "vocab_size": SHAPE.vocabulary,
    "hidden_size": SHAPE.hidden,
    "intermediate_size": SHAPE.intermediate,
    "num_hidden_layers": SHAPE.layers,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


def peak_of_training(tokens: int, **keys: Any) -> int:
    """Bytes at the peak of forward and backward of so many tokens."""
    lm = saving(random_model("llama", **WIDE), **keys).train()
    ids = torch.zeros(1, tokens, dtype=torch.int64)
    return peak_bytes(lambda: lm.model(input_ids=ids, use_cache=False).last_hidden_state.sum().backward())


def planned(tokens: int, **keys: Any) -> float:
    cfg = Config(recipe="test", learner=LearnerConfig(**{k: v for k, v in keys.items() if k != "checkpoint"}))
    cfg.model.gradient_checkpointing = keys.get("checkpoint", False)
    return 4 * activations(cfg, SHAPE, tokens)


@pytest.mark.slow
def test_what_is_saved_is_saved_and_the_plan_knows():
    ways: list[dict[str, Any]] = [
        {},
        {"checkpoint": True, "checkpoint_every": 3},
        {"mlp_tile_tokens": 128},
        {"checkpoint": True},
        {"checkpoint": True, "mlp_tile_tokens": 128},
    ]
    peaks = [peak_of_training(1024, **way) for way in ways]
    assert peaks == sorted(peaks, reverse=True)
    assert len(set(peaks)) == len(peaks)
    kept = {"checkpoint": True, "checkpoint_keep": "attention"}
    ways, peaks = [*ways, kept], [*peaks, peak_of_training(1024, **kept)]
    for way, peak in zip(ways, peaks, strict=True):
        assert planned(1024, **way) == pytest.approx(peak, rel=0.35), way


@pytest.mark.slow
def test_the_middle_of_tiled_layers_does_not_grow_with_the_length():
    """What 1024 more tokens take: without tiles also the middle of the one layer that is computed again."""
    grown = {
        tile: peak_of_training(2048, checkpoint=True, mlp_tile_tokens=tile)
        - peak_of_training(1024, checkpoint=True, mlp_tile_tokens=tile)
        for tile in (0, 128)
    }
    middle = 4 * 1024 * SHAPE.intermediate  # one tensor of it
    assert grown[0] - grown[128] > 3 * middle


def test_layers_that_cannot_be_told_apart_are_refused():
    plain = torch.nn.Linear(2, 2)
    with pytest.raises(
        ConfigError, match=r"learner\.checkpoint_every=2.*model\.path=x does not have its layers"
    ):
        checkpoint_layers(plain, LearnerConfig(checkpoint_every=2), "model.path=x")
