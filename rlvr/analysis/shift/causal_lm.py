"""Load any Hugging Face causal LM as hidden states plus a head, and check that this is what the model is.

Shapes: `B` sequences, `L` padded length, `t` response tokens, `H` hidden size, `V` vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from rlvr.config import ModelConfig
from rlvr.data.model_folders import is_training_checkpoint
from rlvr.data.tokenizer import model_folder
from rlvr.errors import ConfigError

PROBE_TOKENS = 8
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}  # of the probe's logits, relative to the largest


@dataclass(frozen=True, slots=True)
class Head:
    """What turns hidden states into logits: scale x hidden weight^T + bias, then cap tanh(. / cap)."""

    weight: Tensor  # [V, H]
    bias: Tensor | None  # [V]
    scale: float
    cap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """[t, V] logits in fp32 for hidden states [t, H]."""
        if hidden.dtype == torch.float32 or hidden.device.type != "cuda":
            logits = torch.mm(hidden.float(), self.weight.t())
        else:  # bf16 logits would be their own noise floor, so the GEMM of half-precision inputs writes fp32
            logits = torch.mm(hidden, self.weight.t(), out_dtype=torch.float32)
        if self.bias is not None:
            logits += self.bias.float()
        if self.scale != 1.0:
            logits *= self.scale
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)


@dataclass(frozen=True, slots=True)
class CausalLm:
    """A model that only scores."""

    name: str
    lm: Any  # a transformers model: its hidden states come from lm.base_model
    head: Head

    @property
    def vocabulary(self) -> int:
        return self.head.weight.shape[0]

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    @torch.inference_mode()
    def hidden(self, input_ids: Tensor) -> Tensor:
        """[B, L, H] final hidden states; right padding needs no mask under causal attention."""
        return self.lm.base_model(input_ids=input_ids, use_cache=False).last_hidden_state


def load_causal_lm(path: str, cfg: ModelConfig, device: str) -> CausalLm:
    """Load a folder, a hub name, "builtin", or a checkpoint of a training run.

    Raises:
        ConfigError: it is not a causal LM, weights are missing, or its logits are not those of its head.
    """
    folder, state = model_folder(path, checkpoint=True), None
    if is_training_checkpoint(folder):
        folder, state = _training_checkpoint(Path(folder))
    settings = {"trust_remote_code": cfg.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(folder, **settings)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, cfg.dtype),
            attn_implementation=cfg.attention,
            output_loading_info=True,
            **settings,
        )
    except (ValueError, ImportError, OSError, KeyError) as error:  # whatever a user's folder holds
        raise ConfigError(
            f"model {path}: not a causal language model that can be loaded ({error})"
        ) from error
    lm, report = loaded
    if report["missing_keys"]:
        raise ConfigError(
            f"model {path}: not a causal language model: its files lack {', '.join(sorted(report['missing_keys'])[:3])}"
        )
    if state is not None:
        lm.load_state_dict(state)
    lm.to(device).eval().requires_grad_(False)
    model = CausalLm(path, lm, _head(path, lm, config))
    _check(model)
    return model


def _training_checkpoint(folder: Path) -> tuple[str, dict[str, Tensor]]:
    """The folder of the model that a run started from, and the weights of one of its checkpoints."""
    from omegaconf import OmegaConf

    file = folder / "deepspeed" / "mp_rank_00_model_states.pt"
    cfg = OmegaConf.load(folder / "config.yaml")
    if not file.is_file() or cfg.learner.zero_stage == 3:
        raise ConfigError(
            f"checkpoint {folder}: its weights are split over ranks (ZeRO {cfg.learner.zero_stage}); export it in "
            "Hugging Face format and name that folder"
        )
    # Our own file; it holds optimiser settings besides tensors, which the restricted loader refuses.
    saved = torch.load(file, map_location="cpu", weights_only=False)["module"]
    state = {name.removeprefix("lm."): value for name, value in saved.items()}
    return model_folder(cfg.model.path), state


def _head(path: str, lm: Any, config: Any) -> Head:
    linear = lm.get_output_embeddings()
    if linear is None or not hasattr(linear, "weight"):
        raise ConfigError(f"model {path}: has no output head over a vocabulary, so it is not a causal LM")
    text = config.get_text_config(decoder=True)  # multimodal models nest it
    scale = float(getattr(text, "logit_scale", None) or 1.0)  # Cohere
    scale /= float(getattr(text, "logits_scaling", None) or 1.0)  # Granite
    weight = linear.weight.detach()
    return Head(
        # A CPU has no GEMM of mixed dtypes.
        weight=weight.float() if weight.device.type == "cpu" else weight,
        bias=None if getattr(linear, "bias", None) is None else linear.bias.detach(),
        scale=scale,
        cap=getattr(text, "final_logit_softcapping", None),  # Gemma
    )


@torch.inference_mode()
def _check(model: CausalLm) -> None:
    """Compare our logits with the model's own, and look for attention to the right."""
    ids = torch.arange(PROBE_TOKENS, device=model.device).remainder_(model.vocabulary)[None]
    try:
        own = model.lm(input_ids=ids, use_cache=False).logits[0].float()
        ours = model.head.logits(model.hidden(ids)[0])
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


def check_same_vocabulary(base: CausalLm, policy: CausalLm) -> None:
    """Refuse two output heads of different sizes.

    Raises:
        ConfigError: naming both.
    """
    if base.vocabulary != policy.vocabulary:
        raise ConfigError(
            f"base {base.name} has {base.vocabulary} output tokens, policy {policy.name} has "
            f"{policy.vocabulary}: their distributions cannot be compared. Give two models with the same vocabulary."
        )
