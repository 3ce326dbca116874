"""Causal language models in Hugging Face format: the one place where their configuration and weights are read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config import ModelConfig
from rlvr.divergence import OutputTransform
from rlvr.errors import ConfigError
from rlvr.learner.model.rotary import check_rotary

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

# Keys of configurations that change the logits after the head in ways that we do not know.
UNKNOWN_TRANSFORMS = (
    "lm_head_multiplier",
    "output_multiplier",
    "logits_mup_width_multiplier",
    "logits_soft_cap",
    "output_logit_soft_cap",
)
# Their output head has a bias, which the chunked head leaves out.
HEAD_WITH_BIAS = ("PhiForCausalLM", "CTRLLMHeadModel", "GPTJForCausalLM", "CodeGenForCausalLM")
# Whose routers draw experts at random while a model trains, and not by a rate that could be 0.
DRAWS_EXPERTS = ("phimoe",)
ATTENTION = {"full_attention", "sliding_attention", "attention"}  # what configurations call such layers
MULTIPLIES = ("hyperclovax",)  # where logits_scaling is a factor; Granite divides by it


def read_config(key: str, folder: str, trust_remote_code: bool) -> PretrainedConfig:
    """The configuration of a model; `key` is the setting that named it, such as `model.path=mine`.

    Raises:
        ConfigError: it cannot be read.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # whatever a folder holds
        raise ConfigError(
            f"{key}: its configuration cannot be read ({' '.join(str(error).split())})"
        ) from error


def output_transform(config: PretrainedConfig) -> OutputTransform:
    """What a model does between its output head and the softmax."""
    text = config.get_text_config(decoder=True)  # multimodal models nest it
    scale = float(getattr(text, "logit_scale", None) or 1.0)  # Cohere
    scaling = float(getattr(text, "logits_scaling", None) or 1.0)  # Granite
    scale = scale * scaling if text.model_type.startswith(MULTIPLIES) else scale / scaling
    return OutputTransform(scale, getattr(text, "final_logit_softcapping", None))  # Gemma


def other_layers(config: PretrainedConfig) -> list[str]:
    """The kinds of layers that mix tokens otherwise than by attention; the model's own type if it has no attention."""
    text = config.get_text_config(decoder=True)
    if not getattr(text, "num_attention_heads", None):
        return [text.model_type]
    kinds = getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None) or []
    return sorted(set(kinds) - ATTENTION)


def check_supported(key: str, config: PretrainedConfig, cfg: ModelConfig) -> None:
    """Refuse a model whose log-probs the learner would get wrong; `key` is the setting that named it.

    Raises:
        ConfigError: names what the model has and we have not, and the remedy where there is one.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    text = config.get_text_config(decoder=True)  # multimodal models nest it
    own_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not own_code:
        raise ConfigError(
            f"{key}: not a causal language model: transformers has none of type {config.model_type}"
        )
    if quantised := getattr(config, "quantization_config", None):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised.quant_method
        raise ConfigError(
            f"{key}: its weights are quantised ({method}), which cannot be trained; give the model in bf16 or fp32"
        )
    for name in UNKNOWN_TRANSFORMS:
        if getattr(text, name, None) not in (None, 1.0):
            raise ConfigError(
                f"{key}: its configuration sets {name}, a transform of the logits after the head that is not "
                "supported; use a model without it"
            )
    biased = set(HEAD_WITH_BIAS) & set(config.architectures or ())
    if biased or getattr(text, "lm_head_bias", False):
        kind = biased.pop() if biased else config.model_type
        raise ConfigError(
            f"{key}: the output head of {kind} has a bias, which is not supported; use another model"
        )
    if text.model_type in DRAWS_EXPERTS:
        raise ConfigError(
            f"{key}: {text.model_type} draws its experts at random in training, so that log-probs would change without "
            "an update; use another model"
        )
    if getattr(text, "attn_logit_softcapping", None) and cfg.attention == "sdpa":
        raise ConfigError(
            f"{key}: its configuration sets attn_logit_softcapping, which model.attention=sdpa leaves out; set "
            "model.attention=eager"
        )
    check_rotary(key, config, cfg.max_length)
    window = getattr(text, "sliding_window", None)
    if text.model_type == "cohere2" and window and cfg.max_length > window:
        raise ConfigError(
            f"{key}: transformers lets a token of this family see {window} tokens and vLLM one more, so that learner "
            f"and engines would differ; set model.max_length to at most {window}"
        )


def load_lm(key: str, folder: str, *, dtype: str, attention: str, trust_remote_code: bool) -> Any:
    """A transformers model with all its weights; `key` is the setting that named it.

    Raises:
        ConfigError: it is not a causal language model, weights are missing, or its attention is not installed.
    """
    from pickle import UnpicklingError

    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM  # a second of loading, which a driver does without

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except (ValueError, ImportError, OSError, KeyError) as error:  # whatever a user's folder holds
        raise ConfigError(
            f"{key}: not a causal language model that can be loaded with {attention} attention ({error})"
        ) from error
    except (SafetensorError, UnpicklingError, EOFError) as error:
        raise ConfigError(
            f"{key}: its weights cannot be read ({error}); a file in {folder} is empty or cut short: copy or download "
            "it again"
        ) from error
    lm, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(f"{key}: not a causal language model: its files lack {', '.join(missing[:3])}")
    return lm


def save_lm(lm: Any, folder: Path, state_dict: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write a model in Hugging Face format, with the settings of generation that came with it as they are.

    transformers writes none that it finds odd, a temperature without do_sample for instance, though it reads them.

    Raises:
        OSError: a full disk, say.
    """
    from transformers import GenerationConfig

    kept = getattr(lm, "generation_config", None)
    if kept is not None:
        lm.generation_config = GenerationConfig()
    try:
        with saving(folder):
            lm.save_pretrained(str(folder), state_dict=state_dict)
    finally:
        if kept is not None:
            lm.generation_config = kept
    share_weights(folder / "config.json")
    if kept is not None:
        (folder / "generation_config.json").write_text(kept.to_json_string(), encoding="utf-8")


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Report what the system does as the system's own error; safetensors has one of its own for it.

    Raises:
        OSError: weights cannot be written there.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{folder}: {error}") from error


def share_weights(beside: Path) -> None:
    """Let whoever may read a file read the weights beside it: safetensors writes them for their owner alone."""
    for file in beside.parent.glob("*.safetensors"):
        with suppress(OSError):  # a file system without permissions
            shutil.copymode(beside, file)


def in_checkpoint_format(lm: Any, name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """A parameter as the model's files have it: transformers holds the experts of a layer in one tensor, for instance.

    Takes one parameter at a time, so that a sharded model is never whole; a tensor on the meta device gives shapes.
    """
    from transformers.core_model_loading import revert_weight_conversion

    return list(revert_weight_conversion(lm, {name: tensor}).items())
