"""What types cannot check: choices, ranges, batch arithmetic, and settings that contradict each other.

Everything here runs before a process is started. Each problem names the key, the reason and the remedy.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable

from rlvr.advantage.group import RENAMED, WITHOUT_GROUP, build_estimator
from rlvr.advantage.token import TokenPlugin, Uniform, build_plugin
from rlvr.advantage.token.contract import has_penalty, inside_update
from rlvr.cluster.gpus import share_problems, turn_problems
from rlvr.cluster.machine import cpu_flags, emulates
from rlvr.config import Config
from rlvr.data.curriculum import SAMPLERS
from rlvr.divergence.backends import backend_in_use
from rlvr.dotted import is_dotted
from rlvr.errors import ConfigError
from rlvr.learner.activations import KEPT, activation_problems
from rlvr.learner.adapters import lora_problems
from rlvr.learner.correction import CORRECTIONS, LEVELS
from rlvr.learner.distill import DIVERGENCES
from rlvr.learner.loss import IN_LOSS, IN_REWARD, KL_ESTIMATORS, OFF, RATIOS, build_objective
from rlvr.learner.objectives.contract import Objective
from rlvr.learner.optimizers import OPTIMIZERS, optimizer_problems
from rlvr.learner.packing import AGGREGATIONS
from rlvr.learner.teacher import IN_ADVANTAGE
from rlvr.reward.extract import POLICIES
from rlvr.reward.length import LENGTH_REWARDS
from rlvr.reward.pool import MIN_MEMORY_MB
from rlvr.rollout.engine import split_prompts
from rlvr.rollout.engine_args import misplaced
from rlvr.rollout.given import build_answers
from rlvr.rollout.sampling import too_cold
from rlvr.rollout.stop import stop_problems
from rlvr.sync.adapter import ADAPTER, MERGED, adapter_problems
from rlvr.sync.gate import warn_above
from rlvr.types import SIGNALS, STEP_SIGNALS
from rlvr.validate.answers import answers_problems
from rlvr.validate.backslashes import backslash_notes
from rlvr.validate.batch import BatchPlan, batch_plan
from rlvr.validate.correction import correction_problems
from rlvr.validate.evaluation import evaluation_problems
from rlvr.validate.grading import grading_problems
from rlvr.validate.learner import learner_problems, warmup_notes
from rlvr.validate.objective import objective_problems
from rlvr.validate.ranges import out_of_range, value_at
from rlvr.validate.sources import source_problems
from rlvr.validate.tracking import tracking_problems

CHOICES: dict[str, tuple[str, ...]] = {
    "model.dtype": ("float32", "bfloat16"),
    "model.attention": ("sdpa", "eager", "flash_attention_2"),
    "data.on_long_prompt": ("refuse", "skip"),
    "data.on_bad_row": ("refuse", "skip"),
    "data.on_overlap": ("warn", "refuse", "drop"),
    "data.sampler": SAMPLERS,
    "rollout.on_update": ("wait", "keep", "recompute"),
    "reward.policy": tuple(POLICIES),
    "reward.score": ("binary", "raw"),
    "reward.overlong": ("off", "soft"),
    "reward.length": ("off", *LENGTH_REWARDS),
    "loss.ratio": tuple(RATIOS),
    "loss.aggregation": tuple(AGGREGATIONS),
    "loss.kl": (OFF, *KL_ESTIMATORS),
    "loss.kl_in": (IN_LOSS, IN_REWARD),
    "loss.distill": (OFF, *DIVERGENCES),
    "loss.distill_in": (IN_LOSS, IN_ADVANTAGE),
    "loss.rollout_correction_mode": tuple(CORRECTIONS),
    "loss.rollout_correction_level": tuple(LEVELS),
    "learner.optimizer": tuple(OPTIMIZERS),
    "learner.offload_optimizer": ("none", "cpu"),
    "learner.checkpoint_keep": KEPT,
    "learner.backend": ("auto", "gloo", "nccl"),
    "learner.divergence_backend": ("auto", "torch", "triton", "cuda"),
    "learner.schedule": ("constant", "linear", "cosine"),
    "sync.sparse": ("off", "auto"),
    "sync.lora": (MERGED, ADAPTER),
    "sync.backend": ("auto", "gloo", "nccl", "ipc"),
    "eval.in_stream": ("auto", "never"),
    "tracking.wandb": ("offline", "online", "off"),
    "tracking.console": ("auto", "live", "plain", "off"),
    "cluster.on_misfit": ("refuse", "warn"),
}
# Keys that take one of our names or package.module:attribute of the user's own, and what finds it. Two more are found
# elsewhere: advantage.token with its options, reward.verifier in a worker that may be killed.
PLUG_INS: dict[str, Callable[[str], object]] = {
    "advantage.estimator": build_estimator,
    "rollout.answers": build_answers,
}
AT_LEAST: dict[str, float] = {
    "steps": 1,
    "model.lora.rank": 0,
    "data.prompts_per_step": 1,
    "data.max_prompt_tokens": 1,
    "rollout.engines": 1,
    "rollout.tensor_parallel": 1,
    "rollout.samples_per_prompt": 1,
    "rollout.restarts": 0,
    "rollout.max_response_tokens": 1,
    "rollout.max_rounds": 1,
    "rollout.min_tokens": 0,
    "rollout.staleness": 0,
    "rollout.max_concurrent": 1,
    "rollout.kv_cache_mb": 1,
    "reward.workers": 1,
    "reward.memory_mb": MIN_MEMORY_MB,
    "learner.workers": 1,
    "learner.sequence_parallel": 1,
    "learner.updates_per_step": 1,
    "learner.checkpoint_every": 1,
    "learner.mlp_tile_tokens": 0,
    "learner.lr": 0,
    "learner.max_grad_norm": 0,
    "learner.warmup_updates": 0,
    "learner.weight_decay": 0,
    "learner.gpus_per_worker": 0,
    "rollout.gpus_per_engine": 0,
    "cluster.cpus": 1,
    "cluster.threads_per_actor": 1,
    "cluster.jobs": 1,
    "loss.clip_low": 0,
    "loss.clip_high": 0,
    "loss.kl_coef": 0,
    "loss.distill_coef": 0,
    "loss.rollout_correction_floor": 0,
    "loss.entropy_coef": 0,
    "loss.entropy_target": 0,
    "reward.length_coef": 0,
    "eval.every": 0,
    "eval.samples_per_prompt": 1,
    "eval.temperature": 0,
    "run.keep_last": 1,
    "run.save_every": 0,
    "run.dump_samples_every": 0,
}
POSITIVE = (
    "model.download_stall_seconds",
    "rollout.temperature",
    "rollout.deadline_seconds",
    "rollout.start_deadline_seconds",
    "rollout.stall_seconds",
    "reward.deadline_seconds",
    "learner.deadline_seconds",
    "learner.start_deadline_seconds",
    "sync.deadline_seconds",
    "sync.bucket_mb",
    "cluster.start_deadline_seconds",
    "loss.rollout_correction",
    "learner.eps",
    "loss.entropy_step",
    "model.lora.alpha",
)
SHARES = (
    "data.sampler_floor",
    "rollout.top_p",
    "eval.top_p",
    "rollout.memory_utilization",
)  # greater than 0, at most 1
# Bounds that may be infinite: there is none then.
UNBOUNDED = ("loss.clip_high", "loss.rollout_correction", "sync.mismatch_warn", "sync.mismatch_stop")


def validate(cfg: Config) -> tuple[BatchPlan, TokenPlugin]:
    """Check a whole configuration and return its batch arithmetic and its plug-in.

    Raises:
        ConfigError: with all problems found, one a line.
    """
    if problems := _values(cfg):
        raise ConfigError("\n".join(problems))
    if renamed := RENAMED.get(cfg.advantage.estimator):
        logging.getLogger(__name__).warning(
            "advantage.estimator=%s is the old name of %s, which normalises over samples; the published forms are "
            "reinforce_pp_global and reinforce_pp_baseline",
            cfg.advantage.estimator,
            renamed,
        )
    plugin = build_plugin(cfg.advantage.token, dict(cfg.advantage.options))
    problems = _ratios(cfg) + _lengths(cfg) + _contradictions(cfg, plugin)
    if problems:
        raise ConfigError("\n".join(problems))
    for note in (*backslash_notes(cfg), *warmup_notes(cfg)):
        logging.getLogger(__name__).warning("%s", note)
    return batch_plan(cfg), plugin


def _values(cfg: Config) -> list[str]:
    """What is wrong with keys taken one at a time; null passes where the schema allows it."""
    found = out_of_range(cfg, CHOICES, AT_LEAST, POSITIVE, SHARES, UNBOUNDED)
    for key, build in PLUG_INS.items():
        if (name := value_at(cfg, key)) is not None:
            try:
                build(str(name))
            except ConfigError as error:
                found.append(str(error))
    try:
        build_objective(cfg.loss.objective, cfg.loss.options)
    except ConfigError as error:
        found.append(str(error))
    if not 0 <= cfg.reward.max_failed <= 1:
        found.append(f"reward.max_failed={cfg.reward.max_failed}: must be a share, at least 0 and at most 1")
    if cfg.advantage.ddof not in (0, 1):
        found.append(f"advantage.ddof={cfg.advantage.ddof}: use 0 or 1")
    if cfg.rollout.top_k != -1 and cfg.rollout.top_k < 1:
        found.append(f"rollout.top_k={cfg.rollout.top_k}: must be at least 1, or -1 for off")
    betas = cfg.learner.betas
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        found.append(f"learner.betas={betas}: must be two numbers, each at least 0 and less than 1")
    if unknown := set(cfg.tracking.signals) - (SIGNALS - STEP_SIGNALS):
        found.append(
            f"tracking.signals: no {sorted(unknown)}; use {', '.join(sorted(SIGNALS - STEP_SIGNALS))}"
        )
    if cfg.tracking.tensorboard and importlib.util.find_spec("tensorboard") is None:
        found.append(
            "tracking.tensorboard=true: the package tensorboard is not installed; "
            'pip install "rlvr[tensorboard]", or leave the key out'
        )
    if not cfg.data.eval:
        found.append("data.eval: name at least one set; a run reports its accuracy before and after")
    return found + source_problems(cfg.data)


def _objective(cfg: Config) -> Objective:
    return build_objective(cfg.loss.objective, cfg.loss.options)


def _ratios(cfg: Config) -> list[str]:
    samples = cfg.data.prompts_per_step * cfg.rollout.samples_per_prompt
    what = (
        f"data.prompts_per_step x rollout.samples_per_prompt = {cfg.data.prompts_per_step} x "
        f"{cfg.rollout.samples_per_prompt} = {samples} samples"
    )
    found = []
    if cfg.learner.workers % cfg.learner.sequence_parallel:
        return [
            f"learner.sequence_parallel={cfg.learner.sequence_parallel}: learner.workers={cfg.learner.workers} do not "
            "divide into groups of so many; use a divisor"
        ]
    updates, ranks = cfg.learner.updates_per_step, cfg.learner.data_parallel
    if samples % updates:
        found.append(
            f"learner.updates_per_step={updates}: {what} cannot be split into equal updates; use a divisor"
        )
    elif samples // updates < ranks:
        shared = cfg.learner.sequence_parallel
        found.append(
            f"learner.workers={cfg.learner.workers}{f' / learner.sequence_parallel={shared}' if shared > 1 else ''}: "
            f"{what} in {updates} updates leave {samples // updates} samples an update, fewer than ranks; lower "
            "learner.workers or learner.updates_per_step, or raise the samples"
        )
    if cfg.data.prompts_per_step < cfg.rollout.engines:
        found.append(
            f"rollout.engines={cfg.rollout.engines}: only {cfg.data.prompts_per_step} prompts a step, some engines "
            "would idle; lower it or raise data.prompts_per_step"
        )
    alone = cfg.rollout.samples_per_prompt == 1 and _objective(cfg).reads_advantages
    estimator = cfg.advantage.estimator
    # What an estimator of the user's own needs is theirs to know.
    if alone and estimator not in WITHOUT_GROUP and not is_dotted(estimator):
        found.append(
            "rollout.samples_per_prompt=1: a group of one sample has no group baseline, its advantage would "
            "always be 0; use at least 2, or advantage.estimator=rloo, which then is plain REINFORCE, or "
            "reinforce_pp_global"
        )
    return found


def _lengths(cfg: Config) -> list[str]:
    found = []
    if cfg.rollout.max_response_tokens >= cfg.model.max_length:
        found.append(
            f"rollout.max_response_tokens={cfg.rollout.max_response_tokens}: leaves no room for a prompt in "
            f"model.max_length={cfg.model.max_length}; raise the latter or lower the former"
        )
    if cfg.learner.tokens_per_micro_batch < cfg.model.max_length:
        found.append(
            f"learner.tokens_per_micro_batch={cfg.learner.tokens_per_micro_batch}: smaller than "
            f"model.max_length={cfg.model.max_length}, so one sequence may not fit; raise it"
        )
    if cfg.reward.overlong == "soft" and not (
        0 < cfg.reward.overlong_cache <= cfg.rollout.max_response_tokens
    ):
        found.append(
            f"reward.overlong_cache={cfg.reward.overlong_cache}: must lie in "
            f"1..rollout.max_response_tokens={cfg.rollout.max_response_tokens}"
        )
    found += too_cold([("rollout.temperature", cfg.rollout.temperature)])
    return found + stop_problems(cfg.rollout) + misplaced(cfg.rollout.engine_args)


def _contradictions(cfg: Config, plugin: TokenPlugin) -> list[str]:
    found = (
        grading_problems(cfg)
        + correction_problems(cfg)
        + objective_problems(cfg)
        + lora_problems(cfg.model)
        + adapter_problems(cfg)
        + optimizer_problems(cfg)
        + learner_problems(cfg.learner)
        + activation_problems(cfg)
        + answers_problems(cfg)
        + evaluation_problems(cfg)
        + tracking_problems(cfg.tracking)
    )
    if cfg.advantage.normalize and inside_update(plugin):
        found.append(
            "advantage.normalize=true: this plug-in reads a signal that exists only inside the update, a "
            "micro-batch at a time, where the batch's mean weight is unknown; set it to false"
        )
    if cfg.advantage.ddof and cfg.advantage.estimator != "grpo" and not is_dotted(cfg.advantage.estimator):
        found.append(
            f"advantage.ddof={cfg.advantage.ddof} with advantage.estimator={cfg.advantage.estimator}: only grpo "
            "divides by a group's standard deviation; set it to 0"
        )
    reads_advantages = _objective(cfg).reads_advantages
    if not reads_advantages and not isinstance(plugin, Uniform):
        found.append(
            f"advantage.token={cfg.advantage.token}: loss.objective={cfg.loss.objective} ignores advantages, so "
            "weighting tokens would do nothing; set advantage=uniform"
        )
    if cfg.learner.updates_per_step == 1 and (inside_update(plugin) or has_penalty(plugin)):
        found.append(
            f"advantage.token={cfg.advantage.token} with learner.updates_per_step=1: in the only update of a "
            "step the policy still is the old one, so what compares the two does nothing; use at least 2 updates"
        )
    if cfg.rollout.dynamic_sampling and cfg.rollout.samples_per_prompt < 2:
        found.append("rollout.dynamic_sampling=true: needs rollout.samples_per_prompt of at least 2")
    if (cfg.rollout.answers is None) != (reads_advantages or _objective(cfg).on_samples):
        found.append(
            f"loss.objective={cfg.loss.objective} with rollout.answers={cfg.rollout.answers}: given answers go with "
            "nll, sampled ones with the others (recipe=sft sets both)"
        )
    if cfg.sync.mismatch_stop < (warned := warn_above(cfg.sync, cfg.model.dtype)):
        found.append(
            f"sync.mismatch_stop={cfg.sync.mismatch_stop:g}: must be at least sync.mismatch_warn={warned:g}"
        )
    if cfg.run.resume == "auto" and cfg.run.name is None:
        found.append("run.resume=auto: needs run.name, to know whose checkpoint to look for")
    return found + _devices(cfg)


def _devices(cfg: Config) -> list[str]:
    """What is wrong with who runs on which device."""
    found = []
    gpu_engines, gpu_learner = cfg.rollout.gpus_per_engine > 0, cfg.learner.gpus_per_worker > 0
    if gpu_engines != gpu_learner:
        found.append(
            f"rollout.gpus_per_engine={cfg.rollout.gpus_per_engine:g} and "
            f"learner.gpus_per_worker={cfg.learner.gpus_per_worker:g}: put both on GPUs or neither"
        )
    found += share_problems(cfg)
    found += turn_problems(cfg)
    try:
        backend_in_use(cfg.learner.divergence_backend, "cuda" if gpu_learner else "cpu")
    except ValueError as error:
        found.append(f"learner.divergence_backend: {error}; use auto or torch")
    if not gpu_learner and emulates(cfg.model.dtype, cpu_flags()):
        logging.getLogger(__name__).warning(
            "model.dtype=%s: this CPU has no instructions for it and emulates them, slower than float32",
            cfg.model.dtype,
        )
    if not gpu_engines:
        found += [
            f"rollout.engine_args.{problem} (CPU engines prefill whole prompts)"
            for problem in split_prompts(cfg.rollout.engine_args, cfg.model.max_length)
        ]
    return found
