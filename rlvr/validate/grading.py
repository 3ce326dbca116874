"""What is wrong with how answers are graded and rewarded, as far as no verifier has to be loaded for it. Pure."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.problems import rules_of
from rlvr.data.prompting.templates import build_template
from rlvr.data.prompts import template_of
from rlvr.dotted import is_dotted
from rlvr.learner.loss import build_objective
from rlvr.reward.extract import POLICIES
from rlvr.reward.verdict import Rules
from rlvr.reward.verifiers import is_math
from rlvr.validate.sources import keyed_sources


def grading_problems(cfg: Config) -> list[str]:
    """Unknown policies, thresholds that are no scores, and templates whose answers the policy cannot read."""
    found = []
    for key, score in [
        ("reward", cfg.reward.correct_from),
        *((k, s.correct_from) for k, s in keyed_sources(cfg.data)),
    ]:
        if score is not None and not 0 < score <= 1:
            found.append(f"{key}.correct_from={score:g}: must be a score, more than 0 and at most 1")
    seen = set()
    for key, source in keyed_sources(cfg.data):
        own, template = rules_of(source), template_of(source, cfg.data)
        rules = own.over(Rules(cfg.reward.verifier, cfg.reward.policy))
        where = "reward" if own.policy is None else key
        policy = POLICIES.get(str(rules.policy))
        if policy is None and own.policy is not None:
            found.append(f"{key}.policy={own.policy}: unknown; use one of {', '.join(POLICIES)}")
        if policy is None or not is_math(rules) or policy.unboxed_counts or (where, template) in seen:
            continue
        if not build_template(template).answer_line:
            continue
        seen.add((where, template))
        readers = " or ".join(name for name, other in POLICIES.items() if other.unboxed_counts)
        found.append(
            f"{'data' if source.template is None else key}.template={template} with {where}.policy={policy.name}: the "
            "template asks for a line 'Answer: ...', the policy reads boxes only, so no answer would be right; set "
            f"{where}.policy={readers}"
        )
    return found


def reward_problems(cfg: Config) -> list[str]:
    """Rewards that are the same for every answer, so that no group has anything to learn from."""
    reward, estimator = cfg.reward, cfg.advantage.estimator
    others = reward.overlong != "off" or reward.length != "off" or cfg.loss.kl_in == "reward"
    # Without a baseline even a constant teaches: to make likelier whatever was sampled.
    centred = estimator not in ("reinforce", "none") and cfg.rollout.samples_per_prompt > 1
    if reward.correct != reward.incorrect or others or not centred or is_dotted(estimator):
        return []
    if not build_objective(cfg.loss.objective, cfg.loss.options).reads_advantages:
        return []
    return [
        f"reward.correct={reward.correct:g} with reward.incorrect={reward.incorrect:g}: every answer earns the same, "
        "so that all advantages are 0 and nothing is learned; give a right answer more"
    ]


def reward_notes(cfg: Config) -> list[str]:
    """What may be meant, but mostly is a slip: a wrong answer that earns more than a right one."""
    if cfg.reward.correct >= cfg.reward.incorrect:
        return []
    return [
        f"reward.correct={cfg.reward.correct:g} is less than reward.incorrect={cfg.reward.incorrect:g}: the run learns "
        "to answer wrongly; swap them, unless that is meant"
    ]
