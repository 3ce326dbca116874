"""What is wrong with when and how held-out sets are evaluated; each problem names the set's own key or `eval`'s."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.eval_sets import OWN_KEYS, eval_of
from rlvr.rollout.sampling import too_cold
from rlvr.validate.ranges import no_share, too_small

_AT_LEAST = {"every": 0, "samples_per_prompt": 1, "temperature": 0, "draw": 1}


def evaluation_problems(cfg: Config) -> list[str]:
    """Values out of range, greedy samples that are all the same, and keys that training data does not read."""
    found = too_cold([("eval.temperature", cfg.eval.temperature)])
    for i, source in enumerate(cfg.data.eval):
        key = f"data.eval[{i}]"
        found += too_small((f"{key}.{name}", getattr(source, name), low) for name, low in _AT_LEAST.items())
        found += no_share([(f"{key}.top_p", source.top_p)])
        found += too_cold([(f"{key}.temperature", source.temperature)])
        own = eval_of(source, cfg.eval)
        if own.temperature == 0 and own.samples_per_prompt > 1:
            at = {
                name: f"eval.{name}" if getattr(source, name) is None else f"{key}.{name}"
                for name in ("temperature", "samples_per_prompt")
            }
            found.append(
                f"{at['temperature']}=0 with {at['samples_per_prompt']}={own.samples_per_prompt}: greedy samples are "
                f"all the same; set {at['samples_per_prompt']}=1"
            )
    if cfg.data.eval and all(source.first_and_last is False for source in cfg.data.eval):
        found.append(
            "data.eval: every set has first_and_last=false, but a run reports its accuracy before and after; leave it "
            "out of one set at least"
        )
    found += [
        f"data.train source {source.name}: {name}={value} says how a set is evaluated; leave it out"
        for source in cfg.data.training
        for name in OWN_KEYS
        if (value := getattr(source, name)) is not None
    ]
    return list(dict.fromkeys(found))
