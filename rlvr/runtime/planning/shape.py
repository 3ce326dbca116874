"""What the arithmetic needs to know of a model, read from its configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr.config import Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.data.models.weight_files import read_header, weight_files
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import read_config
from rlvr.learner.model.tiling import has_experts, tiling_problems
from rlvr.learner.model.ulysses import sequence_parallel_problems

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model, all exact but `saved_per_token`."""

    parameters: int
    vocabulary: int
    hidden: int
    layers: int
    cache_per_token: int  # keys and values of all layers, in numbers
    intermediate: int = 0  # of the feed-forward layers; 0: four times hidden
    tied: bool = False  # the head is the embedding
    heads: tuple[int, int] = (0, 0)  # of attention, and of keys and values
    experts: bool = False  # a mixture of experts

    @property
    def mlp_per_token(self) -> float:
        """Of `saved_per_token`, what the feed-forward part keeps between its two ends."""
        return 4.0 * (self.intermediate or 4 * self.hidden)

    @property
    def mlp_parameters(self) -> float:
        """Parameters of all feed-forward parts: an estimate for gated layers without experts."""
        return 3.0 * self.hidden * (self.intermediate or 4 * self.hidden) * self.layers

    @property
    def saved_per_token(self) -> float:
        """Numbers that one layer keeps of a token for backward, where it keeps all: an estimate for gated layers."""
        attention = 2.0 * (self.hidden + self.cache_per_token / max(1, self.layers))
        return 8.0 * self.hidden + attention + self.mlp_per_token


def trained_parameters(cfg: Config, shape: ModelShape) -> float:
    """How many parameters have gradients and optimiser states: all, or those of adapters on every linear module but the
    head, an estimate for gated layers that is too high where model.lora.targets names some of them only."""
    if not cfg.model.lora.rank:
        return shape.parameters
    hidden, middle = shape.hidden, shape.intermediate or 4 * shape.hidden
    values = shape.cache_per_token / (2 * max(1, shape.layers))  # width of keys, and of values
    sizes = 2 * (hidden + hidden) + 2 * (hidden + values) + 3 * (hidden + middle)
    return cfg.model.lora.rank * sizes * shape.layers


def matrix_parameters(cfg: Config, shape: ModelShape) -> float:
    """How many of the trained parameters are matrices between embedding and head: an estimate, norms and biases count
    among them."""
    if cfg.model.lora.rank:
        return trained_parameters(cfg, shape)
    return shape.parameters - shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def frozen_is_base(cfg: Config) -> bool:
    """Whether the policy with its adapters off is the base, which then takes no memory of its own."""
    return cfg.model.lora.rank > 0 and cfg.model.base_path in (None, cfg.model.path)


def model_shape(cfg: Config, *, stored: bool = False) -> ModelShape:
    """Read a model's sizes from its configuration; its parameters are counted on the meta device, nothing is loaded.

    With `stored` the headers of its weight files are counted instead where it has such files here, which is as exact
    and spares a run the seconds that building the model takes.

    Raises:
        ConfigError: its configuration cannot be read, from a folder, the hub or the hub's cache, its sequences
            cannot be shared among ranks, or its layers not be tiled.
    """
    folder = model_folder(cfg.model.path)
    key = f"model.path={cfg.model.path}"
    config = read_config(key, folder, cfg.model.trust_remote_code)
    if problems := sequence_parallel_problems(key, config, cfg) + tiling_problems(key, config, cfg):
        raise ConfigError("\n".join(problems))
    text = config.get_text_config(decoder=True)
    attention = getattr(text, "num_attention_heads", 1)
    heads = getattr(text, "num_key_value_heads", None) or attention
    width = getattr(text, "head_dim", None) or text.hidden_size // attention
    return ModelShape(
        parameters=(stored_parameters(Path(folder)) if stored else None) or _counted(cfg, config),
        vocabulary=text.vocab_size,
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        cache_per_token=2 * text.num_hidden_layers * heads * width,
        intermediate=getattr(text, "intermediate_size", 0) or 0,
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        heads=(attention, heads),
        experts=has_experts(config),
    )


def stored_parameters(folder: Path) -> int | None:
    """Parameters in the safetensors files of a folder, by their headers; None where it has none."""
    files = weight_files(folder)
    return sum(map(_numbers, files)) if files else None


def _numbers(file: Path) -> int:
    return sum(prod(entry["shape"]) for entry in read_header(file).values())


def _counted(cfg: Config, config: PretrainedConfig) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=cfg.model.trust_remote_code)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"model.path={cfg.model.path}: its configuration cannot be read ({error})"
        ) from error
    return sum(p.numel() for p in model.parameters())
