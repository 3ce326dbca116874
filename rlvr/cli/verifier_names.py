"""What grades a run, said for a person. Pure."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.problems import rules_of
from rlvr.data.sources import all_sources
from rlvr.reward.verdict import Rules
from rlvr.reward.verifiers import is_math


def verifier_names(cfg: Config) -> list[str]:
    """What grades each source, by the source's name; one entry without it where it is the same for all."""
    reward = Rules(cfg.reward.verifier, cfg.reward.policy)
    said = {}
    for source in all_sources(cfg.data):
        rules = rules_of(source).over(reward)
        said[source.name] = f"math-verify, policy {rules.policy}" if is_math(rules) else str(rules.verifier)
    if len(set(said.values())) == 1:
        return list(said.values())[:1]
    return [f"{name}: {what}" for name, what in said.items()]
