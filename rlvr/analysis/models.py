"""The models that are compared: what is known of them without their weights, and how they are loaded to score.

Shapes: `B` sequences, `L` padded length, `t` response tokens, `H` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlvr.config import LoraConfig, ModelConfig
from rlvr.data.models.identity import changed_models, identity
from rlvr.data.models.model_folders import is_training_checkpoint
from rlvr.data.models.tokenizer import load_tokenizer, model_folder
from rlvr.divergence import OutputTransform
from rlvr.errors import ConfigError, DataError
from rlvr.learner.deepspeed_api import whole_weights
from rlvr.learner.model.adapters import add_adapters, lora_problems, merge_adapters
from rlvr.learner.model.causal_lm import load_lm, output_transform, read_config
from rlvr.learner.model.rotary import settle_rotary
from rlvr.runtime.checkpoints.checkpoint import Checkpoint, damaged, read_checkpoint

PROBE_TOKENS = 8
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # of the probe's logits, relative to the largest


@dataclass(frozen=True)  # without slots, so that the tokenizer is kept once it has been read
class ModelFiles:
    """A model as far as it is known without its weights."""

    key: str  # the setting that named it
    path: str  # as it was named
    folder: str  # its files in Hugging Face format; of a training checkpoint those of the model the run started from
    config: Any  # of the decoder, in transformers' form
    architectures: tuple[str, ...]
    trust_remote_code: bool
    own_code: bool  # its class comes with its files

    @property
    def vocabulary(self) -> int:
        """Rows of the output head; some models have more than their tokenizer has tokens."""
        return int(self.config.vocab_size)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer; raises ConfigError where it cannot be loaded."""
        try:
            return load_tokenizer(self.folder, self.trust_remote_code)
        except DataError as error:
            raise ConfigError(f"{self.key}={self.path}: {error}") from error


def read_model(key: str, path: str, *, trust_remote_code: bool, checkpoint: bool = False) -> ModelFiles:
    """Read a folder, a hub name or "builtin", with `checkpoint` also a checkpoint of a training run.

    Raises:
        ConfigError: it is no model, or has no configuration of a decoder that can be read.
        CheckpointError: it is a checkpoint whose files are damaged.
    """
    named = f"{key}={path}"
    try:
        folder = model_folder(path, checkpoint=checkpoint)
        if is_training_checkpoint(folder):
            folder = model_folder(read_checkpoint(Path(folder)).settings["model"]["path"])
    except DataError as error:
        raise ConfigError(f"{named}: {error}") from error
    config = read_config(named, folder, trust_remote_code)
    decoder = config.get_text_config(decoder=True)  # multimodal models nest it
    if getattr(decoder, "vocab_size", None) is None:
        raise ConfigError(f"{named}: not a causal language model: its configuration has no vocab_size")
    own_code = trust_remote_code and bool(getattr(config, "auto_map", None))
    architectures = tuple(config.architectures or ())
    return ModelFiles(key, path, folder, decoder, architectures, trust_remote_code, own_code)


def check_same_vocabulary(base: ModelFiles, policy: ModelFiles) -> None:
    """Refuse two models that do not give every id the same meaning, or not to equally many.

    Raises:
        ConfigError: names both, and a token that differs.
    """
    first, second = base.tokenizer.get_vocab(), policy.tokenizer.get_vocab()
    if first != second:
        token = min(
            (t for t in first.keys() | second.keys() if first.get(t) != second.get(t)),
            key=lambda t: (first.get(t, second.get(t, 0)), t),
        )
        raise ConfigError(
            f"{base.key} {base.path} ({len(first)} tokens) and {policy.key} {policy.path} ({len(second)} tokens) do "
            f"not share a vocabulary: {token!r} is {first.get(token, 'unknown')} in the first and "
            f"{second.get(token, 'unknown')} in the second. Give two models that share a tokenizer, such as a policy "
            "and the base that it was trained from."
        )
    if base.vocabulary != policy.vocabulary:
        raise ConfigError(
            f"{base.key} {base.path} has {base.vocabulary} output tokens, {policy.key} {policy.path} has "
            f"{policy.vocabulary}: their distributions cannot be compared. Give two models with the same vocabulary, "
            "or pad one of them with resize_token_embeddings."
        )


@dataclass(frozen=True, slots=True)
class CausalLm:
    """A model that only scores; its logits are hidden weight^T + bias, then its transform."""

    name: str
    lm: Any  # a transformers model: its hidden states come from lm.base_model
    weight: Tensor  # [V, H] of its head
    bias: Tensor | None  # [V]
    transform: OutputTransform

    @property
    def vocabulary(self) -> int:
        return self.weight.shape[0]

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @torch.inference_mode()
    def hidden(self, input_ids: Tensor) -> Tensor:
        """[B, L, H] final hidden states; right padding needs no mask under causal attention."""
        return self.lm.base_model(input_ids=input_ids, use_cache=False).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """[t, V] logits in fp32 for hidden states [t, H]."""
        if hidden.dtype == torch.float32 or hidden.device.type != "cuda":
            logits = torch.mm(hidden.float(), self.weight.t())
        else:  # bf16 logits would be their own noise floor, so the GEMM of half-precision inputs writes fp32
            logits = torch.mm(hidden, self.weight.t(), out_dtype=torch.float32)
        if self.bias is not None:
            logits += self.bias.float()
        return self.transform.apply_(logits)


def load_causal_lm(path: str, cfg: ModelConfig, device: str) -> CausalLm:
    """Load a folder, a hub name, "builtin", or a checkpoint of a training run.

    Raises:
        ConfigError: it is not a causal LM, weights are missing, or its logits are not those of its head.
        CheckpointError: it is a checkpoint whose files are damaged.
    """
    folder, checkpoint = model_folder(path, checkpoint=True), None
    if is_training_checkpoint(folder):
        checkpoint = read_checkpoint(Path(folder))
        folder = model_folder(checkpoint.settings["model"]["path"])
    lm = load_lm(
        f"model {path}",
        folder,
        dtype=cfg.dtype,
        attention=cfg.attention,
        trust_remote_code=cfg.trust_remote_code,
    )
    settle_rotary(lm, cfg.max_length)
    if checkpoint is not None:
        _put_in(lm, checkpoint)
    lm.to(device).eval().requires_grad_(False)
    model = _with_head(path, lm)
    _check(model)
    return model


def _put_in(lm: Any, checkpoint: Checkpoint) -> None:
    """Give the model that a run started from the weights of a checkpoint, or its adapters, merged."""
    path, settings = checkpoint.path, checkpoint.settings
    lora = LoraConfig(**settings["model"].get("lora", {}))
    weights = _checkpoint_weights(
        path, lm.dtype, split=settings["learner"]["zero_stage"] == 3, without_frozen=lora.rank > 0
    )
    if lora.rank:
        _check_beside(checkpoint, settings["model"]["path"], lora)
        with torch.random.fork_rng(devices=[]):
            add_adapters(lm, lora, 0, key=f"checkpoint {path}")
    lacking, unknown = lm.load_state_dict(weights, strict=False)
    if lora.rank:  # the frozen weights are those of the model
        lacking = [name for name in lacking if ".lora_" in name]
        merge_adapters(lm)
    if lacking:
        raise damaged(path, f"it lacks {', '.join(lacking[:3])}")
    if unknown:
        raise damaged(path, f"its model has no {', '.join(unknown[:3])}")


def _check_beside(checkpoint: Checkpoint, model: str, lora: LoraConfig) -> None:
    """Refuse adapters whose frozen weights have become others, and those that nothing here can read."""
    if problems := lora_problems(ModelConfig(lora=lora)):
        raise ConfigError(f"checkpoint {checkpoint.path} holds adapters alone: {'; '.join(problems)}")
    if changed_models(checkpoint.state.models, {"model.path": identity(model)}):
        raise ConfigError(
            f"checkpoint {checkpoint.path} holds adapters beside the weights of {model}, which have changed since its "
            "run began with them; put them back"
        )


def _checkpoint_weights(
    checkpoint: Path, dtype: torch.dtype, *, split: bool, without_frozen: bool
) -> dict[str, Tensor]:
    """The trained weights; `split`: each rank of the learner has saved its part of them (ZeRO 3)."""
    file = checkpoint / "deepspeed" / "mp_rank_00_model_states.pt"
    try:
        if split:
            saved = whole_weights(str(checkpoint), dtype, without_frozen=without_frozen)
        else:
            # Our own file; it holds optimiser settings besides tensors, which the restricted loader refuses.
            saved = torch.load(file, map_location="cpu", weights_only=False)["module"]
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, UnpicklingError) as error:
        raise damaged(checkpoint, str(error)) from error
    return {name.removeprefix("lm."): value for name, value in saved.items()}


def _with_head(path: str, lm: Any) -> CausalLm:
    linear = lm.get_output_embeddings()
    if linear is None or not hasattr(linear, "weight"):
        raise ConfigError(f"model {path}: has no output head over a vocabulary, so it is not a causal LM")
    weight = linear.weight.detach()
    return CausalLm(
        path,
        lm,
        # A CPU has no GEMM of mixed dtypes.
        weight=weight.float() if weight.device.type == "cpu" else weight,
        bias=None if getattr(linear, "bias", None) is None else linear.bias.detach(),
        transform=output_transform(lm.config),
    )


@torch.inference_mode()
def _check(model: CausalLm) -> None:
    """Compare our logits with the model's own, and look for attention to the right."""
    ids = torch.arange(PROBE_TOKENS, device=model.device).remainder_(model.vocabulary)[None]
    try:
        own = model.lm(input_ids=ids, use_cache=False).logits[0].float()
        ours = model.logits(model.hidden(ids)[0])
        changed = ids.clone()
        changed[0, -1] = (changed[0, -1] + 1) % model.vocabulary
        after = model.lm(input_ids=changed, use_cache=False).logits[0].float()
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # an architecture we do not know
        raise ConfigError(f"model {model.name}: does not score text as a causal LM does ({error})") from error
    allowed = TOLERANCE[model.lm.dtype] * float(own.abs().max())
    if float((own[:-1] - after[:-1]).abs().max()) > allowed:
        raise ConfigError(f"model {model.name}: not a causal LM: its outputs depend on tokens further right")
    if not bool(torch.isfinite(own).all()):
        raise ConfigError(f"model {model.name}: its logits are not finite; the weights are damaged")
    if float((own - ours).abs().max()) > allowed:
        raise ConfigError(
            f"model {model.name}: its logits are not its head applied to its hidden states; it transforms them in "
            "a way that the analysis does not know"
        )
