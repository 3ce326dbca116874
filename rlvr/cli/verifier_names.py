"""What grades a run, said for a person. Pure."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.eval_sets import label_of
from rlvr.data.problems import rules_of
from rlvr.data.sources import all_sources
from rlvr.reward.verdict import Rules
from rlvr.reward.verifiers import is_math


def verifier_names(cfg: Config) -> list[str]:
    """What grades each source, by its label or name; one entry without it where it is the same for all."""
    reward = Rules(cfg.reward.verifier, cfg.reward.policy)
    said = []  # of several held-out sets from one source each has its own label
    for source in all_sources(cfg.data):
        rules = rules_of(source).over(reward)
        what = f"math-verify, policy {rules.policy}" if is_math(rules) else str(rules.verifier)
        said.append((label_of(source), what))
    if len({what for _, what in said}) == 1:
        return [said[0][1]]
    return list(dict.fromkeys(f"{label}: {what}" for label, what in said))
