"""Feed-forward layers in tiles: which models have them, what is refused, and gradients that add up."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
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

from rlvr.config import Config, LoraConfig
from rlvr.errors import ConfigError
from rlvr.learner.model.adapters import add_adapters
from rlvr.learner.model.tiling import (
    InTiles,
    has_experts,
    tile_feed_forward,
    tiled_modules,
    tiling_problems,
)
from tests.helpers.activation_cases import DENSE, check_equal, saving
from tests.helpers.families import FAMILIES, small_lm
from tests.helpers.models import random_model


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
