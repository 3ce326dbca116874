"""What is wrong with how a loss corrects for the policy that sampled. Pure."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.learner.correction import WITHOUT_FLOOR


def correction_problems(cfg: Config) -> list[str]:
    """Settings that correct nothing, bounds that leave nothing, and log-probs that are not those of the sampling."""
    loss, rollout = cfg.loss, cfg.rollout
    cap, mode, floor = loss.rollout_correction, loss.rollout_correction_mode, loss.rollout_correction_floor
    if cap is None:
        others = {
            "mode": (mode, "truncate"),
            "level": (loss.rollout_correction_level, "token"),
            "floor": (floor, 0.0),
        }
        return [
            f"loss.rollout_correction_{name}={value}: without a cap nothing is corrected; set "
            "loss.rollout_correction=2 or leave it out"
            for name, (value, default) in others.items()
            if value != default
        ]
    found = []
    if floor and mode == WITHOUT_FLOOR:
        found.append(
            f"loss.rollout_correction_floor={floor:g} with loss.rollout_correction_mode={mode}: only weights above the "
            "cap are cut; set the mode to mask or reject, or the floor to 0"
        )
    if floor > cap:
        found.append(
            f"loss.rollout_correction_floor={floor:g}: above the cap loss.rollout_correction={cap:g}, so no token "
            "would be learned from; lower it"
        )
    if rollout.answers is not None:
        found.append(
            "loss.rollout_correction: given answers (rollout.answers) have no rollout log-probs; set it to null"
        )
    if rollout.top_p < 1 or rollout.top_k > 0 or rollout.min_tokens > 0:
        found.append(
            "loss.rollout_correction: it needs the log-probs of the distribution that was sampled; with truncated "
            "sampling (top_p < 1, top_k or min_tokens) those of the whole one are recorded; sample with top_p=1 "
            "top_k=-1 min_tokens=0"
        )
    return found
