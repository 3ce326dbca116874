"""What is wrong with how the sources of a run are graded, as far as no verifier has to be loaded for it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rlvr.config import Config
from rlvr.data.sources import rules_of
from rlvr.data.templates import build_template
from rlvr.reward.extract import POLICIES
from rlvr.reward.verdict import Rules
from rlvr.reward.verifiers import is_math


def grading_problems(cfg: Config) -> list[str]:
    """Unknown policies, thresholds that are no scores, and templates whose answers the policy cannot read."""
    found = []
    for key, score in [("reward", cfg.reward.correct_from), *((k, r.correct_from) for k, r in _rules(cfg))]:
        if score is not None and not 0 < score <= 1:
            found.append(f"{key}.correct_from={score:g}: must be a score, more than 0 and at most 1")
    asked = build_template(cfg.data.template).answer_line
    seen = set()
    for key, own in _rules(cfg):
        rules = own.over(Rules(cfg.reward.verifier, cfg.reward.policy))
        where = "reward" if own.policy is None else key
        policy = POLICIES.get(str(rules.policy))
        if policy is None and own.policy is not None:
            found.append(f"{key}.policy={own.policy}: unknown; use one of {', '.join(POLICIES)}")
        if policy is None or not asked or not is_math(rules) or policy.unboxed_counts or where in seen:
            continue
        seen.add(where)
        readers = " or ".join(name for name, other in POLICIES.items() if other.unboxed_counts)
        found.append(
            f"data.template={cfg.data.template} with {where}.policy={policy.name}: the template asks for a line "
            f"'Answer: ...', the policy reads boxes only, so no answer would be right; set {where}.policy={readers}"
        )
    return found


def _rules(cfg: Config) -> Iterator[tuple[str, Rules]]:
    """The key of every source and its rules."""
    mixed = bool(cfg.data.train.sources)
    for place, source in enumerate(cfg.data.training):
        yield (f"data.train.sources[{place}]" if mixed else "data.train"), rules_of(source)
    for place, source in enumerate(cfg.data.eval):
        yield f"data.eval[{place}]", rules_of(source)
