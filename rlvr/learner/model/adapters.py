"""LoRA (arXiv 2106.09685): low-rank adapters beside frozen weights, W + alpha / rank B A, made by the package peft.

The frozen model with its adapters off is the base, without a second copy in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlvr.config import Config, LoraConfig, ModelConfig
from rlvr.errors import ConfigError
from rlvr.learner.model.causal_lm import read_config, saving, share_weights
from rlvr.learner.model.policy import HeadUse, PolicyModel
from rlvr.learner.packing import MicroBatch
from rlvr.sync.adapter import Adapter, sends_adapter

NAME = "default"  # peft's name of a model's only adapter
INSIDE = ".base_layer."  # where peft puts the weight that it wraps
FOLDER = "adapter"  # of an exported policy
ALL_LINEAR = "all-linear"  # what peft calls all linear modules but the head, in the place of a list


def lora_problems(model: ModelConfig) -> list[str]:
    """What is wrong with model.lora before anything is loaded, one message each."""
    lora, found = model.lora, []
    if lora.rank and find_spec("peft") is None:
        found.append(
            f"model.lora.rank={lora.rank}: the package peft is not installed; pip install 'rlvr[lora]', or set it to 0"
        )
    if not lora.rank and lora.targets:
        found.append(
            "model.lora.targets with model.lora.rank=0: there are no adapters; set a rank such as 16"
        )
    if ALL_LINEAR in lora.targets:
        found.append(
            f"model.lora.targets={list(lora.targets)}: leave it empty, which is all linear modules but the head"
        )
    return found


def add_adapters(lm: nn.Module, cfg: LoraConfig, seed: int, key: str) -> None:
    """Freeze the model and put adapters into it, in place; B is 0, so that the model is what it was.

    Raises:
        ConfigError: `cfg.targets` names no module of the model, or one whose adapter would not be trained.
    """
    from peft import inject_adapter_in_model

    torch.manual_seed(seed)  # A is random, and the same on all ranks
    try:
        inject_adapter_in_model(peft_config(cfg), lm)
    except ValueError as error:
        linear = {name.rpartition(".")[2] for name, m in lm.named_modules() if isinstance(m, nn.Linear)}
        raise ConfigError(
            f"model.lora.targets={list(cfg.targets)}: {key} has no such module; its linear ones are "
            f"{', '.join(sorted(linear))}"
        ) from error
    if problem := _untrainable(lm):
        raise ConfigError(f"model.lora.targets={list(cfg.targets)}: {key}: {problem}")


def _untrainable(lm: Any) -> str | None:
    """Which adapter would get no gradient, or could not be merged."""
    for name, layer in adapted_layers(lm).items():
        if layer is lm.get_output_embeddings():
            # Log-probs are computed from the head's weight, a chunk of tokens at a time, and not by its module.
            return f"{name} is the output head, whose adapter would not be trained; name other modules"
        if NAME not in layer.lora_A:
            kind = type(layer.get_base_layer()).__name__.lower()
            return f"{name} is an {kind}, and only linear modules get adapters; name other modules"
    return None


def peft_config(cfg: LoraConfig) -> Any:
    """Ours as peft's; no targets: all linear modules but the head."""
    from peft import LoraConfig as PeftConfig

    alpha: Any = cfg.alpha  # any number will do, whatever its annotation says
    return PeftConfig(
        r=cfg.rank,
        lora_alpha=alpha,
        target_modules=list(cfg.targets) or ALL_LINEAR,
        lora_dropout=0.0,  # log-probs would differ from those of the engines
        task_type="CAUSAL_LM",
    )


def adapted_layers(lm: nn.Module) -> dict[str, Any]:
    """The modules that have an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in lm.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def adapters_off(lm: nn.Module) -> Iterator[None]:
    """While inside, the model is the frozen one."""
    layers = adapted_layers(lm).values()
    for layer in layers:
        layer._disable_adapters = True  # peft's own switch also stops gradients, for good
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


class FrozenBase:
    """The base of a policy with adapters, as `score_micro_batch` calls a model: inside the policy's own forward."""

    def __init__(self, policy: PolicyModel) -> None:
        self.policy = policy

    def __call__(self, micro: MicroBatch, use: HeadUse) -> Any:
        with torch.no_grad(), adapters_off(self.policy.lm):
            hidden = self.policy.hidden(micro)
        return use(hidden, self.policy.head)


@dataclass(frozen=True, slots=True)
class MergedPart:
    """A parameter of the model without adapters, and what it is merged from."""

    name: str
    parameters: list[nn.Parameter]  # W, or W [out, in], A [rank, in] and B [out, rank]
    scaling: float = 0.0  # alpha / rank
    transposed: bool = False  # W is [in, out], as GPT-2 has it

    def merged(self) -> Tensor:
        """W, or W + scaling B A, added up in fp32 and in W's dtype."""
        weight = self.parameters[0].detach()
        if len(self.parameters) == 1:
            return weight
        a, b = (parameter.detach().float() for parameter in self.parameters[1:])
        change = self.scaling * (b @ a)
        return (weight.float() + (change.T if self.transposed else change)).to(weight.dtype)


def parts_of(lm: nn.Module) -> Iterator[MergedPart]:
    """Every parameter of the model without adapters, with those of its adapter where it has one."""
    layers = {f"{name}.weight": layer for name, layer in adapted_layers(lm).items()}
    for name, parameter in lm.named_parameters():
        if ".lora_" in name:
            continue
        name = name.replace(INSIDE, ".")
        if (layer := layers.get(name)) is None:
            yield MergedPart(name, [parameter])
            continue
        parameters = [parameter, layer.lora_A[NAME].weight, layer.lora_B[NAME].weight]
        yield MergedPart(name, parameters, layer.scaling[NAME], layer.fan_in_fan_out)


def merge_adapters(lm: nn.Module) -> None:
    """Add the adapters to the weights that they lie beside and take them out of the model, in place."""
    with torch.no_grad():
        for part in parts_of(lm):
            if len(part.parameters) > 1:
                part.parameters[0].copy_(part.merged())
    for name, layer in adapted_layers(lm).items():
        lm.set_submodule(name, layer.get_base_layer())


def adapter_parameters(lm: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A and B of every adapter, as peft's files name them."""
    for name, parameter in lm.named_parameters():
        if ".lora_" in name:
            yield f"base_model.model.{name.replace(f'.{NAME}.', '.')}", parameter


def adapter_to_send(cfg: Config, folder: str) -> Adapter | None:
    """What engines must know of the adapters that they will get; None where they get whole weights.

    The modules are those that the learner's model has adapters on; nothing is loaded.

    Raises:
        ConfigError: as `add_adapters`.
    """
    if not sends_adapter(cfg):
        return None
    from transformers import AutoModelForCausalLM

    key, lora = f"model.path={cfg.model.path}", cfg.model.lora
    config = read_config(key, folder, cfg.model.trust_remote_code)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        lm = AutoModelForCausalLM.from_config(config, trust_remote_code=cfg.model.trust_remote_code)
        add_adapters(lm, lora, cfg.seed, key)
    modules = {name.rpartition(".")[2] for name in adapted_layers(lm)}
    return Adapter(lora.rank, lora.alpha, tuple(sorted(modules)))


def save_adapter(cfg: LoraConfig, weights: dict[str, Tensor], base: str, folder: Path) -> None:
    """Write an adapter as peft reads it, for `base`, a folder or a name on the hub.

    Raises:
        OSError: a full disk, say.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = peft_config(cfg)
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(str(folder))
    with saving(folder):
        save_file({k: v.contiguous() for k, v in weights.items()}, str(folder / "adapter_model.safetensors"))
    share_weights(folder / "adapter_config.json")
