"""Every key of `python -m rlvr.cross_sample`, its type, its default and its meaning; and what types cannot check."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rlvr.analysis.cross.records import DIRECTIONS, EFFECTIVE, SWITCHED
from rlvr.analysis.cross.rules import RULES
from rlvr.errors import ConfigError
from rlvr.validate.ranges import not_among, out_of_range

BOTH = "both"  # directions
AT_LEAST = {"limit": 2, "pilot_rounds": 0, "gpus_per_actor": 0}
AT_LEAST_ONE = (
    "samples", "max_tokens", "max_prompt_tokens", "pilot_problems", "pilot_samples", "batch", "actors", "threads",
    "grading_workers",
)  # fmt: skip
ALL = "all"  # in place of the names of rules
DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass
class CrossSampleConfig:
    """One cross-sampling experiment; times in seconds, lengths in tokens."""

    # folder of a training run: gives base, policy, data, template, lengths and grading
    run: str | None = None
    base: str | None = None  # "builtin", a folder or a hub name; null: the base of the run
    policy: str | None = None  # the trained model; null: the policy that the run exported
    output: str | None = None  # folder; null: <run>/cross_sampling
    data: list[str] = field(default_factory=list)  # NAME or NAME:PATH; empty: the eval sets of the run
    limit: int | None = None  # use only the first so many problems of each set
    template: str | None = None  # prompt template; null: that of the run
    max_prompt_tokens: int | None = None  # longer prompts are refused; null: as in the run
    direction: str = BOTH  # forward (policy switches into base) | reverse (base into policy) | both
    # switch rules: js | random | entropy | entropy_other | kl | kl_other | dlogp_lowered | dlogp_raised |
    # dlogp_changed | dlogp_favoured | earliest; all: every one of them
    rules: list[str] = field(default_factory=lambda: ["js", "random", "entropy", "earliest"])
    budgets: list[float] = field(default_factory=lambda: [0.01, 0.02, 0.05, 0.1])  # target shares of tokens
    # what a budget counts: switched (tokens that the intervening model samples) | effective (those of them at which
    # the primary would have sampled another token)
    budget_of: str = SWITCHED
    # of the JS rule, nats; replaces budgets if not empty
    thresholds: list[float] = field(default_factory=list)
    samples: int = 8  # responses per problem
    max_tokens: int | None = None  # of a response; null: as in the run
    temperature: float = 1.0  # of both models
    top_p: float = 1.0  # nucleus from which both models sample
    js_top_p: float | None = None  # nucleus on which the JS rule is computed; null: exact, whole vocabulary
    seed: int = 1  # of sampling
    pilot_problems: int = 64  # the first so many problems calibrate the thresholds
    pilot_samples: int = 4  # their responses per problem, at most `samples`
    pilot_rounds: int = 5  # at most so many corrections of a threshold
    batch: int = 128  # responses that advance together in one actor
    actors: int = 1  # 1: decode in this process; more: Ray actors that share the problems
    threads: int | None = None  # CPU threads of each; null: the cores shared out
    gpus_per_actor: float = 0.0  # GPUs that Ray reserves for each actor; 0: CPU
    address: str = "local"  # Ray: local, auto or host:port; read only with more than one actor
    dtype: str | None = None  # float32 | bfloat16 | float16 | float64; null: that of the run
    deadline_seconds: float = 3600.0  # one set of responses with more than one actor
    grading_workers: int = 1  # processes that grade


def chosen_rules(cfg: CrossSampleConfig) -> list[str]:
    """The rules to run; the JS rule first, because controls may match what it achieved."""
    return sorted(RULES if cfg.rules == [ALL] else cfg.rules, key=lambda rule: rule != "js")


def check(cfg: CrossSampleConfig) -> None:
    """Refuse values that cannot work.

    Raises ConfigError with every problem found, one a line.
    """
    choices = {"direction": (*DIRECTIONS, BOTH), "dtype": DTYPES, "budget_of": (SWITCHED, EFFECTIVE)}
    found = out_of_range(
        cfg, choices, AT_LEAST | dict.fromkeys(AT_LEAST_ONE, 1), shares=("top_p", "js_top_p")
    )
    if cfg.rules != [ALL]:
        found += not_among(("rules", rule, (*RULES, ALL)) for rule in cfg.rules)
    if cfg.temperature <= 0:
        found.append(f"temperature={cfg.temperature:g}: must be greater than 0 (greedy decoding: use 0.01)")
    if cfg.deadline_seconds <= 0:
        found.append(f"deadline_seconds={cfg.deadline_seconds:g}: must be greater than 0")
    found += [
        f"budgets={budget:g}: a budget is a share of tokens and must lie strictly between 0 and 1; the endpoints "
        "0 and 1 are always run"
        for budget in cfg.budgets
        if not 0 < budget < 1
    ]
    found += [
        f"thresholds={value:g}: JS lies between 0 and ln 2 = {math.log(2):.4f}, and so must its threshold"
        for value in cfg.thresholds
        if not 0 <= value <= math.log(2)
    ]
    for key, values in (("budgets", cfg.budgets), ("thresholds", cfg.thresholds), ("rules", cfg.rules)):
        if len(set(values)) != len(values):
            found.append(f"{key}={values}: a value occurs twice; name each once")
    if not cfg.rules:
        found.append(f"rules=[]: nothing to run; name some of {', '.join(RULES)}")
    if not cfg.budgets and not cfg.thresholds:
        found.append("budgets=[]: nothing to run; give budgets such as budgets=0.02,0.05, or thresholds")
    if ALL in cfg.rules and len(cfg.rules) > 1:
        found.append(f"rules={cfg.rules}: all are every rule; name it alone, or name the others")
    if cfg.thresholds and "js" not in chosen_rules(cfg):
        found.append(
            f"thresholds={cfg.thresholds}: they belong to the JS rule, whose achieved share the controls match; "
            "add js to rules, or give budgets"
        )
    if found:
        raise ConfigError("\n".join(found))
