"""The typed configuration of `python -m rlvr.analyze`: every key, its default and its meaning.

The sections model, data, rollout, reward, eval and cluster are those of training; with `run=FOLDER` their
values are the run's own. What only training reads in them is ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rlvr.config import ClusterConfig, DataConfig, EvalConfig, ModelConfig, RewardConfig, RolloutConfig
from rlvr.errors import ConfigError
from rlvr.validate.ranges import out_of_range

TRAJECTORIES = ("policy", "base")  # whose model wrote a response
CHOICES = {
    "trajectory": (*TRAJECTORIES, "both"),
    "select.verdict": ("all", "correct", "wrong"),
    "score.device": ("auto", "cpu", "cuda"),
    "tables.unit": ("problem", "response"),
    "model.dtype": ("float32", "bfloat16"),
}
AT_LEAST_ONE = (
    "select.problems", "select.samples", "score.tokens_per_micro_batch", "score.responses_per_part", "tables.bootstrap",
    "tables.shown_tokens", "tables.min_count", "eval.samples_per_prompt",
)  # fmt: skip


@dataclass
class SelectConfig:
    """Which of the responses are analysed."""

    problems: int | None = None  # the first so many problems; null: all
    samples: int | None = None  # the first so many responses to each problem; null: all
    verdict: str = "all"  # all | correct | wrong


@dataclass
class ScoreConfig:
    """How tokens are scored."""

    temperature: float = 1.0  # of both distributions
    top_p: float = 0.7  # nucleus of the truncated JS
    device: str = "auto"  # auto | cpu | cuda
    tokens_per_micro_batch: int = 8192  # padded prompt and response tokens per forward pass
    workspace_mb: float = 1300.0  # logits of both models held at a time, in MB of 10^6 bytes
    responses_per_part: int = 64  # responses in one part of the token table, the unit of resuming


@dataclass
class TablesConfig:
    """How the token table is summarised. These keys may change between two runs into one folder."""

    moved_above: float = 0.1  # positions with a larger exact JS count as moved [nats]
    # of the shares above [nats]
    thresholds: list[float] = field(default_factory=lambda: [0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
    bootstrap: int = 500  # replicates behind every 95 % interval
    bootstrap_seed: int = 0  # of the bootstrap's draws
    unit: str = "problem"  # problem | response: what the bootstrap draws
    shown_tokens: int = 100  # token identities listed, the most shifted first
    min_count: int = 10  # occurrences that a listed token identity must have


@dataclass
class AnalyzeConfig:
    """One analysis of a policy against its base; `policy=` and `base=` are short for the paths in `model`."""

    run: str | None = None  # folder of a training run: gives base, policy, checkpoints, responses and output
    checkpoints: list[str] = field(default_factory=list)  # earlier policies, oldest first; the policy is last
    trajectory: str = "both"  # policy | base | both: whose responses are scored
    responses: list[str] = field(default_factory=list)  # the policy's, jsonl as in a run's samples folder
    base_responses: list[str] = field(default_factory=list)  # the base's
    generate: bool = False  # sample afresh from `data.eval` even where responses are given
    output: str | None = None  # folder; null: <run>/analysis
    seed: int = 1  # of generation
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)  # sampling, when responses are generated
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    tables: TablesConfig = field(default_factory=TablesConfig)

    @property
    def trajectories(self) -> tuple[str, ...]:
        return TRAJECTORIES if self.trajectory == "both" else (self.trajectory,)

    def given_responses(self, trajectory: str) -> list[str]:
        """The response files of a trajectory; empty where it is to be generated."""
        given = self.responses if trajectory == "policy" else self.base_responses
        return [] if self.generate else list(given)


def validate_analysis(cfg: AnalyzeConfig) -> None:
    """Check what types cannot.

    Raises:
        ConfigError: with all problems found, one a line.
    """
    found = out_of_range(
        cfg, CHOICES, dict.fromkeys(AT_LEAST_ONE, 1), ("score.temperature",), ("score.top_p",)
    )
    for key, values in (
        ("tables.thresholds", cfg.tables.thresholds),
        ("tables.moved_above", [cfg.tables.moved_above]),
    ):
        if not values or any(not 0 < value < math.log(2) for value in values):
            found.append(f"{key}={values}: JS lies between 0 and ln 2 = 0.693; give numbers in between")
    if cfg.output is None and cfg.run is None:
        found.append("output is missing: name the folder that the tables go to")
    if found:
        raise ConfigError("\n".join(found))
