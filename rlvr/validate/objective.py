"""Settings of the loss and of rewards by length that contradict each other."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.learner.loss import IN_REWARD, OFF
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
    if loss.distill != OFF and (loss.entropy_coef != 0 or loss.entropy_target is not None):
        found.append(
            "loss.distill with loss.entropy_coef or loss.entropy_target: they are not computed together; turn one off"
        )
    if loss.distill != OFF and cfg.model.base_path in (None, cfg.model.path):
        found.append(
            f"loss.distill={loss.distill}: the teacher is the base, which is the policy itself; set model.base_path"
        )
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
