"""Layers computed again in backward, and feed-forward layers in tiles: the plain path's numbers for less memory."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    DeepseekV3Config,
    Ernie4_5_MoeConfig,
    Lfm2Config,
    Lfm2ForCausalLM,
    Llama4Config,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    OPTConfig,
    OPTForCausalLM,
    Qwen3MoeConfig,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from benchmarks.allocated import peak_bytes
from rlvr.config import Config, LearnerConfig, LoraConfig
from rlvr.errors import ConfigError
from rlvr.learner.model.activations import activation_problems, checkpoint_layers
from rlvr.learner.model.adapters import add_adapters
from rlvr.learner.model.policy import PolicyModel, without_chance
from rlvr.learner.model.tiling import (
    InTiles,
    has_experts,
    tile_feed_forward,
    tiled_modules,
    tiling_problems,
)
from rlvr.learner.packing import micro_batch
from rlvr.runtime.planning.ledger import activations
from rlvr.runtime.planning.shape import ModelShape
from tests.helpers.families import FAMILIES, small_lm
from tests.helpers.learner_cases import random_batch
from tests.helpers.models import random_model

DENSE = [name for name, family in FAMILIES.items() if "moe" not in name and name not in ("mixtral", "olmoe")]
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


def saving(lm: Any, checkpoint: bool = False, **learner: Any) -> Any:
    """A model of transformers that keeps less."""
    cfg = LearnerConfig(**learner)
    if checkpoint:
        checkpoint_layers(lm, cfg, "model.path=mine")
    if cfg.mlp_tile_tokens:
        tile_feed_forward(lm, cfg.mlp_tile_tokens, "model.path=mine")
    return lm


def log_probs_and_gradients(lm: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Of one ragged micro-batch."""
    without_chance(lm)
    policy, batch = PolicyModel(lm.train(), temperature=0.8), random_batch(13, seed=1)
    micro = micro_batch(batch, np.arange(batch.size))
    upstream = torch.randn(len(micro.target), generator=torch.Generator().manual_seed(2))
    logp = policy(micro)
    (logp * upstream).sum().backward()
    return logp.detach(), {n: p.grad.clone() for n, p in lm.named_parameters() if p.grad is not None}


def check_equal(lm: Any, plain: Any) -> None:
    logp, gradients = log_probs_and_gradients(lm)
    expected, wanted = log_probs_and_gradients(plain)
    torch.testing.assert_close(logp, expected, atol=1e-5, rtol=0)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-8, name


@pytest.mark.slow
@pytest.mark.parametrize("how", SAVINGS)
@pytest.mark.parametrize("family", DENSE)
def test_log_probs_and_gradients_are_those_of_the_plain_path(family, how):
    keys = SAVINGS[how] | ({"checkpoint_keep": "nothing"} if FAMILIES[family].attention == "eager" else {})
    check_equal(saving(small_lm(family), **keys), small_lm(family))


def test_layers_of_another_make_are_tiled_too():
    """One matrix class of its own, biases, and a tile that does not divide the tokens."""
    keys = {"vocab_size": 80, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    lm = saving(random_model("gpt2", **keys), mlp_tile_tokens=5)
    assert len(tiled_modules(lm)) == 2
    check_equal(lm, random_model("gpt2", **keys))


@pytest.mark.slow
def test_adapters_in_tiled_layers_learn_the_same():
    lms = [saving(small_lm("llama"), mlp_tile_tokens=17), small_lm("llama")]
    for lm in lms:
        add_adapters(lm, LoraConfig(rank=3), seed=1, key="model.path=mine")
        with torch.no_grad():  # B is 0 at the start, and A then has no gradient
            for parameter in (p for name, p in lm.named_parameters() if ".lora_B" in name):
                parameter.normal_(generator=torch.Generator().manual_seed(4))
    check_equal(*lms)
    assert all(p.grad is None for name, p in lms[0].named_parameters() if ".lora_" not in name)


def test_tiles_in_bf16_add_their_gradients_up_in_fp32():
    """As far from the gradient in float64 as without tiles; added in bf16, 128 tiles would be much farther."""
    torch.manual_seed(0)
    exact = (
        LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1))
        .model.layers[0]
        .mlp
    )
    generator = torch.Generator().manual_seed(1)
    hidden, slope = torch.randn(2, 1, 512, 32, generator=generator).bfloat16()
    errors = []
    for tile in (512, 4):
        mlp = type(exact)(LlamaConfig(hidden_size=32, intermediate_size=64)).bfloat16()
        mlp.load_state_dict(exact.state_dict())
        reference = type(exact)(LlamaConfig(hidden_size=32, intermediate_size=64)).double()
        reference.load_state_dict(mlp.state_dict())
        for module, forward, dtype in (
            (mlp, InTiles(mlp, tile), torch.bfloat16),
            (reference, reference, torch.float64),
        ):
            forward(hidden.to(dtype)).backward(slope.to(dtype))
            assert module.up_proj.weight.grad.dtype == dtype
        wanted = reference.up_proj.weight.grad
        errors.append(((mlp.up_proj.weight.grad.double() - wanted).norm() / wanted.norm()).item())
    assert errors[1] < 1.2 * errors[0]


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


class Optional(torch.nn.Linear):
    """A feed-forward layer with an argument that it can do without; counts the tokens of its calls."""

    def __init__(self) -> None:
        super().__init__(16, 16)
        self.seen: list[int] = []

    def forward(self, hidden: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        self.seen.append(hidden.shape[:-1].numel())
        return super().forward(hidden) * scale


class Mixing(torch.nn.Module):
    """One whose tokens see their neighbours, beside a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.neighbours = torch.nn.Linear(16, 16), torch.nn.Conv1d(16, 16, 2)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.neighbours(self.linear(hidden).mT).mT


def with_feed_forward(*layers: torch.nn.Module) -> Any:
    lm = random_model(
        "llama", vocab_size=8, hidden_size=16, intermediate_size=8, num_hidden_layers=len(layers)
    )
    for layer, own in zip(lm.model.layers, layers, strict=True):
        layer.mlp = own
    return lm


def test_no_more_than_a_tile_is_computed_at_a_time_and_what_fits_into_one_is_not_computed_again():
    for rows, columns, forward, backward in (
        (2, 3, [6], []),
        (2, 5, [6, 4], [6, 4]),
        (7, 2, [6, 6, 2], [6, 6, 2]),
    ):
        layer = Optional()
        tile_feed_forward(with_feed_forward(layer), 6, "model.path=x")
        output = layer(torch.randn(rows, columns, 16, requires_grad=True))
        assert output.shape == (rows, columns, 16)
        assert layer.seen == forward
        output.sum().backward()
        assert layer.seen == forward + backward


@pytest.mark.parametrize("bad", [Mixing(), torch.nn.Identity()])
def test_every_layer_has_to_be_one_that_can_be_tiled(bad):
    """One whose tokens mix, or of which it is not known what it does, is enough."""
    for layers in ((Optional(), bad), (bad, Optional())):
        with pytest.raises(
            ConfigError, match="plain linear layers, of the hidden states alone, in each of its 2"
        ):
            tile_feed_forward(with_feed_forward(*layers), 64, "model.path=x")


def test_layers_by_the_other_name_are_tiled_too():
    keys = {"vocab_size": 80, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = Lfm2Config(
        **keys, num_attention_heads=4, num_key_value_heads=2, layer_types=["full_attention"] * 2
    )
    lms = []
    for _ in range(2):
        torch.manual_seed(1)
        lms.append(Lfm2ForCausalLM(config).eval())
    assert len(tiled_modules(saving(lms[0], mlp_tile_tokens=5))) == 2
    check_equal(*lms)


@pytest.mark.parametrize(
    ("config", "experts"),
    [
        (Qwen3MoeConfig(), True),
        (MixtralConfig(num_local_experts=2), True),
        (MixtralConfig(num_local_experts=1), False),
        (DeepseekV3Config(), True),
        (Ernie4_5_MoeConfig(), True),
        (Llama4Config(), True),  # nested
        (LlamaConfig(), False),
    ],
)
def test_a_mixture_of_experts_is_known_by_its_configuration(config, experts):
    assert has_experts(config) is experts


def test_tiles_are_refused_where_adapters_would_lose_gradients_and_only_there():
    for rank, stage, checkpointing, tile in itertools.product((0, 1), (2, 3), (False, True), (0, 1)):
        cfg = Config(recipe="test")
        cfg.model.lora.rank, cfg.learner.zero_stage = rank, stage
        cfg.model.gradient_checkpointing, cfg.learner.mlp_tile_tokens = checkpointing, tile
        lost = rank == 1 and stage == 3 and not checkpointing and tile == 1
        assert len(tiling_problems("model.path=x", LlamaConfig(), cfg)) == lost


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


# What cannot be done is refused by name.


@pytest.mark.slow
def test_models_that_cannot_be_tiled_are_refused():
    cfg = Config(recipe="test")
    assert tiling_problems("model.path=x", Qwen3MoeConfig(), cfg) == []
    cfg.learner.mlp_tile_tokens = 64
    assert tiling_problems("model.path=x", LlamaConfig(), cfg) == []
    for name in set(FAMILIES) - set(DENSE):
        config = small_lm(name).config
        [problem] = tiling_problems("model.path=x", config, cfg)
        assert problem.startswith("learner.mlp_tile_tokens=64: model.path=x is a mixture of experts")
        with pytest.raises(
            ConfigError, match=r"learner\.mlp_tile_tokens=64: model\.path=x \(\w+\) does not have"
        ):
            tile_feed_forward(small_lm(name), 64, "model.path=x")
    cfg.model.lora.rank, cfg.learner.zero_stage = 4, 3
    [problem] = tiling_problems("model.path=x", LlamaConfig(), cfg)
    assert "gradients of the first layer's adapters would be lost" in problem
    cfg.model.gradient_checkpointing = True
    assert tiling_problems("model.path=x", LlamaConfig(), cfg) == []
    bloom = BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=32, n_layer=1, n_head=4))
    with pytest.raises(ConfigError, match="of the hidden states alone"):  # it wants the residual as well
        tile_feed_forward(bloom, 64, "model.path=x")
    opt = OPTForCausalLM(
        OPTConfig(
            vocab_size=32,
            hidden_size=16,
            ffn_dim=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            word_embed_proj_dim=16,
        )
    )
    with pytest.raises(
        ConfigError, match=r"\(OPTForCausalLM\) does not have a module named mlp or feed_forward"
    ):
        tile_feed_forward(opt, 64, "model.path=x")


def test_layers_that_cannot_be_told_apart_are_refused():
    plain = torch.nn.Linear(2, 2)
    with pytest.raises(
        ConfigError, match=r"learner\.checkpoint_every=2.*model\.path=x does not have its layers"
    ):
        checkpoint_layers(plain, LearnerConfig(checkpoint_every=2), "model.path=x")
