"""What an experiment works on: two models, one tokenizer, prompts, and how answers are graded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.run_inputs import POLICY, TrainedRun, read_run
from rlvr.config import Config, RewardConfig, SourceConfig
from rlvr.data.stream import build_eval_sets
from rlvr.data.tokenizer import load_tokenizer, model_folder
from rlvr.errors import ConfigError, DataError
from rlvr.types import Prompt

SUPPORTED_LAYERS = "full_attention"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that the configuration and the run folder decide."""

    base: str  # folder or hub name
    policy: str
    dtype: str
    trust_remote_code: bool
    tokenizer: Any
    prompts: tuple[Prompt, ...]
    sets: dict[str, int]  # evaluation set -> number of problems
    stop_ids: tuple[int, ...]
    max_tokens: int
    reward: RewardConfig
    output: Path


def read_inputs(cfg: CrossSampleConfig) -> Inputs:
    """Resolve the run folder, check both models' vocabularies and tokenise the problems.

    Raises ConfigError or DataError that name the key and the remedy; no weights have been read.
    """
    run = None if cfg.run is None else read_run(cfg.run)
    training = Config(recipe="none") if run is None else run.cfg
    base, policy, output = cfg.base, cfg.policy, cfg.output
    if run is not None:
        base = base or run.base
        policy = policy or str(_exported_policy(run))
        output = output or str(run.folder / "cross_sampling")
    if base is None or policy is None or output is None:
        missing = [key for key in ("base", "policy", "output") if getattr(cfg, key) is None]
        raise ConfigError(
            f"{', '.join(missing)}: not named; give each as KEY=FOLDER (models also as hub names), or all of them as "
            "run=FOLDER of a training run, such as run=runs/latest"
        )
    folders = {"base": _model(base, "base"), "policy": _model(policy, "policy")}
    if folders["base"] == folders["policy"]:
        raise ConfigError(
            f"base and policy are both {folders['base']}: they never diverge, so nothing would ever switch; name two "
            "models, such as the ends of a training run"
        )
    trust = training.model.trust_remote_code
    configs = {key: _causal_config(key, folder, trust) for key, folder in folders.items()}
    tokenizers = {key: _tokenizer(key, folder, trust) for key, folder in folders.items()}
    _check_vocabulary(tokenizers, configs)
    max_tokens = cfg.max_tokens or training.rollout.max_response_tokens
    prompts, sets = _prompts(cfg, training, tokenizers["policy"], max_tokens)
    _check_room(prompts, max_tokens, configs)
    return Inputs(
        base=folders["base"],
        policy=folders["policy"],
        dtype=cfg.dtype or training.model.dtype,
        trust_remote_code=trust,
        tokenizer=tokenizers["policy"],
        prompts=prompts,
        sets=sets,
        stop_ids=_stop_ids(tokenizers["policy"], folders.values()),
        max_tokens=max_tokens,
        reward=training.reward,
        output=Path(output).expanduser(),
    )


def _exported_policy(run: TrainedRun) -> Path:
    if run.policy is None:
        raise ConfigError(
            f"run={run.folder}: it holds no policy ({run.folder / POLICY} is missing): it has not finished, or ran "
            "with run.export=false. Finish it with run.resume=auto and run.export=true, or name policy=FOLDER"
        )
    return run.policy


def _model(path: str, key: str) -> str:
    try:
        return model_folder(path)
    except DataError as error:
        raise ConfigError(f"{key}={path}: {error}") from error


def _tokenizer(key: str, folder: str, trust: bool) -> Any:
    try:
        return load_tokenizer(folder, trust)
    except (ValueError, OSError) as error:  # a user's folder
        raise ConfigError(
            f"{key}={folder}: its tokenizer cannot be loaded ({error}); save the tokenizer into that folder"
        ) from error


def _causal_config(key: str, folder: str, trust: bool) -> Any:
    """The model's configuration, refused unless it is a decoder whose layers all see the whole prefix."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    except (ValueError, OSError) as error:  # a user's folder
        raise ConfigError(f"{key}={folder}: its configuration cannot be read ({error})") from error
    named = config.architectures or []
    causal = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    remote = trust and getattr(config, "auto_map", None)
    if config.is_encoder_decoder or (named and not remote and not causal & set(named)):
        raise ConfigError(
            f"{key}={folder}: {', '.join(named) or 'an encoder-decoder'} is not a causal language model; name a model "
            "that AutoModelForCausalLM loads, such as Qwen2ForCausalLM"
        )
    text = config.get_text_config(decoder=True)
    other = sorted(set(getattr(text, "layer_types", None) or ()) - {SUPPORTED_LAYERS})
    if other or (getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)):
        raise ConfigError(
            f"{key}={folder}: it has layers of type {', '.join(other) or 'sliding_attention'}; only full attention is "
            "supported here, because slots of different lengths share one cache"
        )
    return text


def _check_vocabulary(tokenizers: dict[str, Any], configs: dict[str, Any]) -> None:
    """Both models must give every id the same meaning: a token of one is read by the other."""
    base, policy = tokenizers["base"].get_vocab(), tokenizers["policy"].get_vocab()
    if base != policy:
        odd = sorted(set(base.items()) ^ set(policy.items()))[:3]
        shown = ", ".join(f"{token!r} = {index}" for token, index in odd)
        raise ConfigError(
            f"base and policy do not share a vocabulary ({len(base)} and {len(policy)} tokens; in one only: {shown}). "
            "Cross-sampling mixes their tokens: name a policy that was trained from this base"
        )
    sizes = {key: config.vocab_size for key, config in configs.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(
            f"base and policy share a tokenizer, but their heads have {sizes['base']} and {sizes['policy']} rows; "
            "pad one of them with resize_token_embeddings so that both have the same size"
        )


def _check_room(prompts: Sequence[Prompt], max_tokens: int, configs: dict[str, Any]) -> None:
    """Beyond its last trained position a model's output means nothing, and nothing else would say so."""
    longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
    for key, config in configs.items():
        room = getattr(config, "max_position_embeddings", None)
        if room is not None and len(longest.token_ids) + max_tokens > room:
            raise ConfigError(
                f"max_tokens={max_tokens}: with the {len(longest.token_ids)} tokens of prompt {longest.id} this passes "
                f"the {room} positions of {key}; lower max_tokens or leave out long problems"
            )


def _prompts(
    cfg: CrossSampleConfig, training: Config, tokenizer: Any, max_tokens: int
) -> tuple[tuple[Prompt, ...], dict[str, int]]:
    sources = [_source(part) for part in cfg.data] or training.data.eval
    if cfg.limit is not None:
        sources = [replace(source, limit=min(cfg.limit, source.limit or cfg.limit)) for source in sources]
    data = replace(
        training.data,
        eval=sources,
        template=cfg.template or training.data.template,
        max_prompt_tokens=cfg.max_prompt_tokens or training.data.max_prompt_tokens,
    )
    sets = build_eval_sets(data, tokenizer)
    prompts = tuple(prompt for chosen in sets for prompt in chosen.prompts)
    if len(prompts) < 2:
        raise ConfigError(
            f"data={cfg.data or [source.name for source in sources]}: {len(prompts)} problem(s) selected; intervals "
            "and tests over problems need at least 2"
        )
    return prompts, {chosen.name: len(chosen.prompts) for chosen in sets}


def _source(part: str) -> SourceConfig:
    name, _, path = part.partition(":")
    return SourceConfig(name=name, path=path or None)


def _stop_ids(tokenizer: Any, folders: Iterable[str]) -> tuple[int, ...]:
    """The tokens that end a response: the tokenizer's end token and those of both models' generation settings."""
    from transformers import GenerationConfig

    ids = {tokenizer.eos_token_id}
    for folder in folders:
        try:
            ends = GenerationConfig.from_pretrained(folder).eos_token_id
        except OSError:  # many models come without generation settings
            continue
        ids |= set(ends if isinstance(ends, list) else [ends]) - {None}
    return tuple(sorted(ids))
