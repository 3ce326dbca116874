"""Settings of the loss and of rewards by length that contradict each other."""

from __future__ import annotations

from rlvr.advantage.token import build_plugin
from rlvr.advantage.token.contract import inside_update
from rlvr.config import Config
from rlvr.learner.loss import IN_LOSS, IN_REWARD, OFF, build_objective
from rlvr.learner.teacher import IN_ADVANTAGE, advises
from rlvr.reward.length import OFF as NO_LENGTH

# Their published forms subtract the penalty token by token before they whiten, which is not what is done here.
TOKEN_LEVEL = ("reinforce_pp_global", "reinforce_pp_baseline")


def objective_problems(cfg: Config) -> list[str]:
    """What is wrong, one message each."""
    loss, found = cfg.loss, []
    if (loss.kl == OFF) != (loss.kl_coef == 0):
        found.append(
            f"loss.kl={loss.kl} with loss.kl_coef={loss.kl_coef:g}: set both (kl=k3 kl_coef=0.001) or "
            "neither (kl=off kl_coef=0)"
        )
    if loss.kl_in == IN_REWARD and loss.kl == OFF:
        found.append("loss.kl_in=reward with loss.kl=off: there is no KL to subtract; set loss.kl=k1")
    if loss.kl_in == IN_REWARD and cfg.advantage.estimator in TOKEN_LEVEL:
        found.append(
            f"loss.kl_in=reward with advantage.estimator={cfg.advantage.estimator}: REINFORCE++ subtracts the KL token "
            "by token, which is not supported; set loss.kl_in=loss or another estimator"
        )
    if (loss.distill == OFF) != (loss.distill_coef == 0):
        found.append(
            f"loss.distill={loss.distill} with loss.distill_coef={loss.distill_coef:g}: set both "
            "(distill=reverse_kl distill_coef=1) or neither (distill=off distill_coef=0)"
        )
    bonus = loss.entropy_coef != 0 or loss.entropy_target is not None
    if loss.distill != OFF and loss.distill_in == IN_LOSS and bonus:
        found.append(
            "loss.distill with loss.entropy_coef or loss.entropy_target: they are not computed together; turn one off"
        )
    if loss.distill != OFF and cfg.model.base_path in (None, cfg.model.path):
        found.append(
            f"loss.distill={loss.distill}: the teacher is the base, which is the policy itself; set model.base_path"
        )
    found += _teacher_problems(cfg)
    if loss.objective == "none" and loss.distill == OFF:
        found.append("loss.objective=none with loss.distill=off: nothing would be learned; set loss.distill")
    if cfg.rollout.answers is not None and loss.kl_in == IN_REWARD:
        found.append(
            "loss.kl_in=reward with rollout.answers: given answers have no reward; set loss.kl_in=loss"
        )
    if loss.objective == "gmpo" and loss.ratio != "token":
        found.append(
            f"loss.objective=gmpo with loss.ratio={loss.ratio}: it makes the ratio of the sequence itself, from those "
            "of the tokens; set loss.ratio=token"
        )
    if (cfg.reward.length == NO_LENGTH) != (cfg.reward.length_coef == 0):
        found.append(
            f"reward.length={cfg.reward.length} with reward.length_coef={cfg.reward.length_coef:g}: set both "
            "(length=kimi length_coef=0.5) or neither (length=off length_coef=0)"
        )
    if cfg.reward.length == "efficient" and cfg.reward.length_coef > 1:
        found.append(
            f"reward.length_coef={cfg.reward.length_coef:g}: with reward.length=efficient it is a share of the reward, "
            "at most 1; beyond, a right answer could earn less than a wrong one"
        )
    return found


def _teacher_problems(cfg: Config) -> list[str]:
    """What is wrong with a teacher that speaks through advantages, and with no advantages but its own."""
    loss, found = cfg.loss, []
    if loss.distill_in == IN_ADVANTAGE and loss.distill != "reverse_kl":
        found.append(
            f"loss.distill_in=advantage with loss.distill={loss.distill}: an advantage of the sampled token follows "
            "the reverse KL alone; set loss.distill=reverse_kl, or loss.distill_in=loss"
        )
    reads = build_objective(loss.objective, loss.options).reads_advantages
    if advises(loss) and not reads:
        found.append(
            f"loss.distill_in=advantage with loss.objective={loss.objective}: it ignores advantages; set "
            "loss.objective=clip"
        )
    if advises(loss) and inside_update(build_plugin(cfg.advantage.token, dict(cfg.advantage.options))):
        found.append(
            f"loss.distill_in=advantage with advantage.token={cfg.advantage.token}: its weights are made inside the "
            "update and would weigh the teacher's part, too; set advantage=uniform"
        )
    if cfg.advantage.estimator == "none" and reads and not advises(loss):
        found.append(
            "advantage.estimator=none: every advantage is 0; set loss.distill=reverse_kl with loss.distill_in=advantage"
        )
    return found
