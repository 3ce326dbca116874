"""What types cannot check: choices, ranges, batch arithmetic, and settings that contradict each other.

Everything here runs before a process is started. Each problem names the key, the reason and the remedy.
"""

from __future__ import annotations

import logging

from rlvr.advantage.group import RENAMED, WITHOUT_GROUP
from rlvr.advantage.token import TokenPlugin, Uniform, build_plugin
from rlvr.advantage.token.contract import has_penalty, inside_update
from rlvr.config import Config
from rlvr.dotted import is_dotted
from rlvr.errors import ConfigError
from rlvr.learner.loss import build_objective
from rlvr.learner.model.activations import activation_problems
from rlvr.learner.model.adapters import lora_problems
from rlvr.learner.objectives.contract import Objective
from rlvr.learner.optimizers import optimizer_problems
from rlvr.rollout.engine_args import misplaced
from rlvr.rollout.sampling import too_cold
from rlvr.rollout.stop import stop_problems
from rlvr.sync.adapter import adapter_problems
from rlvr.sync.gate import warn_above
from rlvr.validate.answers import answers_problems
from rlvr.validate.backslashes import backslash_notes
from rlvr.validate.batch import BatchPlan, batch_plan
from rlvr.validate.correction import correction_problems
from rlvr.validate.devices import device_problems
from rlvr.validate.evaluation import evaluation_problems
from rlvr.validate.grading import grading_problems, reward_notes, reward_problems
from rlvr.validate.learner import learner_problems, warmup_notes
from rlvr.validate.objective import objective_problems
from rlvr.validate.tracking import tracking_problems
from rlvr.validate.values import value_problems


def validate(cfg: Config) -> tuple[BatchPlan, TokenPlugin]:
    """Check a whole configuration and return its batch arithmetic and its plug-in.

    Raises:
        ConfigError: with all problems found, one a line.
    """
    if problems := value_problems(cfg):
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
    for note in (*backslash_notes(cfg), *warmup_notes(cfg), *reward_notes(cfg)):
        logging.getLogger(__name__).warning("%s", note)
    return batch_plan(cfg), plugin


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
        + reward_problems(cfg)
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
    if cfg.run.name is not None and not cfg.run.name.strip():
        found.append("run.name is empty (a variable that is not set?); give a name, or leave it out (null)")
    if cfg.run.resume == "auto" and cfg.run.name is None:
        found.append("run.resume=auto: needs run.name, to know whose checkpoint to look for")
    return found + device_problems(cfg)
