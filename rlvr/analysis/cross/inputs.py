"""What an experiment works on: two models, one tokenizer, prompts, and how answers are graded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.decoder import MixedSampling
from rlvr.analysis.cross.workers import WorkerSpec
from rlvr.analysis.models import ModelFiles, check_same_vocabulary, read_model
from rlvr.analysis.run import read_run
from rlvr.config import Config, RewardConfig, SourceConfig
from rlvr.data.models.end_tokens import generation_ends
from rlvr.data.stream import build_eval_sets
from rlvr.errors import ConfigError
from rlvr.rollout.stop import ends_of
from rlvr.types import Prompt

SUPPORTED_LAYERS = "full_attention"


@dataclass(frozen=True, slots=True)
class CrossInputs:
    """Everything that the configuration and the run folder decide."""

    models: WorkerSpec  # how they are loaded, and how they sample
    tokenizer: PreTrainedTokenizerBase
    prompts: tuple[Prompt, ...]
    sets: dict[str, int]  # evaluation set -> number of problems
    reward: RewardConfig
    output: Path


def read_inputs(cfg: CrossSampleConfig) -> CrossInputs:
    """Resolve the run folder, check both models' vocabularies and tokenise the problems.

    Raises ConfigError or DataError that name the key and the remedy; no weights have been read.
    """
    run = None if cfg.run is None else read_run(cfg.run)
    training = Config(recipe="none") if run is None else run.config
    base, policy, output = cfg.base, cfg.policy, cfg.output
    if run is not None:
        base = base or run.base
        policy = policy or str(run.exported(f"run={run.folder}", ", or name policy=FOLDER"))
        output = output or str(run.folder / "cross_sampling")
    if base is None or policy is None or output is None:
        missing = [key for key in ("base", "policy", "output") if getattr(cfg, key) is None]
        raise ConfigError(
            f"{', '.join(missing)}: not named; give each as KEY=FOLDER (models also as hub names), or all of them as "
            "run=FOLDER of a training run, such as run=runs/latest"
        )
    trust = training.model.trust_remote_code
    models = [
        read_model(key, path, trust_remote_code=trust) for key, path in (("base", base), ("policy", policy))
    ]
    if models[0].folder == models[1].folder:
        raise ConfigError(
            f"base and policy are both {models[0].folder}: they never diverge, so nothing would ever switch; name two "
            "models, such as the ends of a training run"
        )
    for model in models:
        _require_decoder(model)
    check_same_vocabulary(*models)
    spec, tokenizer = _spec(cfg, training, models), models[1].tokenizer
    prompts, sets = _prompts(cfg, training, tokenizer)
    _check_room(prompts, spec.sampling.max_tokens, models)
    return CrossInputs(spec, tokenizer, prompts, sets, training.reward, Path(output).expanduser())


def _spec(cfg: CrossSampleConfig, training: Config, models: Sequence[ModelFiles]) -> WorkerSpec:
    ends = {models[1].tokenizer.eos_token_id, *training.rollout.stop_token_ids}
    ends |= {end for model in models for end in generation_ends(model.folder)}
    sampling = MixedSampling(
        temperature=cfg.temperature,
        top_p=cfg.top_p,
        js_top_p=cfg.js_top_p,
        max_tokens=cfg.max_tokens or training.rollout.max_response_tokens,
        stop_ids=tuple(sorted(ends)),
        seed=cfg.seed,
        ends=ends_of(training.rollout),
    )
    return WorkerSpec(
        base=models[0].folder,
        policy=models[1].folder,
        dtype=cfg.dtype or training.model.dtype,
        trust_remote_code=training.model.trust_remote_code,
        device="cuda" if cfg.gpus_per_actor > 0 else "cpu",
        sampling=sampling,
        batch=cfg.batch,
    )


def _require_decoder(model: ModelFiles) -> None:
    """Refuse a model unless it is a decoder whose layers all see the whole prefix."""
    named = f"{model.key}={model.folder}"
    causal = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    known = not model.architectures or model.own_code or causal & set(model.architectures)
    if model.config.is_encoder_decoder or not known:
        raise ConfigError(
            f"{named}: {', '.join(model.architectures) or 'an encoder-decoder'} is not a causal language model; name "
            "one that AutoModelForCausalLM loads, such as Qwen2ForCausalLM"
        )
    other = sorted(set(getattr(model.config, "layer_types", None) or ()) - {SUPPORTED_LAYERS})
    if other or (
        getattr(model.config, "sliding_window", None) and getattr(model.config, "use_sliding_window", True)
    ):
        raise ConfigError(
            f"{named}: it has layers of type {', '.join(other) or 'sliding_attention'}; only full attention is "
            "supported here, because slots of different lengths share one cache"
        )


def _check_room(prompts: Sequence[Prompt], max_tokens: int, models: Sequence[ModelFiles]) -> None:
    """Beyond its last trained position a model's output means nothing, and nothing else would say so."""
    longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
    for model in models:
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and len(longest.token_ids) + max_tokens > room:
            raise ConfigError(
                f"max_tokens={max_tokens}: with the {len(longest.token_ids)} tokens of prompt {longest.id} this passes "
                f"the {room} positions of {model.key}; lower max_tokens or leave out long problems"
            )


def _prompts(
    cfg: CrossSampleConfig, training: Config, tokenizer: PreTrainedTokenizerBase
) -> tuple[tuple[Prompt, ...], dict[str, int]]:
    named = [part.partition(":") for part in cfg.data]
    sources = [SourceConfig(name=name, path=path or None) for name, _, path in named] or training.data.eval
    if cfg.limit is not None:
        sources = [replace(source, limit=min(cfg.limit, source.limit or cfg.limit)) for source in sources]
    data = replace(
        training.data,
        eval=sources,
        template=cfg.template or training.data.template,
        max_prompt_tokens=cfg.max_prompt_tokens or training.data.max_prompt_tokens,
    )
    sets = build_eval_sets(data, tokenizer, verifier=training.reward.verifier)
    prompts = tuple(prompt for chosen in sets for prompt in chosen.prompts)
    if len(prompts) < 2:
        raise ConfigError(
            f"data={cfg.data or [source.name for source in sources]}: {len(prompts)} problem(s) selected; intervals "
            "and tests over problems need at least 2"
        )
    return prompts, {chosen.name: len(chosen.prompts) for chosen in sets}
