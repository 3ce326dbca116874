"""The ledger of `rlvr plan` beside measured memory: `python -m benchmarks.memory --model /path/to/smollm2`.

Trains a step on CPU with and without the base model and compares the peak of each process (proportional set size)
with its sum in the plan. Writes benchmarks/results/memory-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.about import about, load_average, write_result
from benchmarks.watching import watch_training
from rlvr.cli.overrides.compose import load
from rlvr.runtime.planning.cards import CARDS, STANDARD
from rlvr.runtime.planning.ledger import ledgers
from rlvr.runtime.planning.shape import model_shape

SECONDS = 1500.0
CASES = {"dapo_divweight": True, "grpo": False}  # recipe -> with the base


def arguments(recipe: str, model: str, prompt_tokens: int) -> list[str]:
    """One step whose sequences have nearly the length that the plan takes them to have."""
    return [
        *(f"recipe={recipe}", "model=smollm2_135m", f"model.path={model}", "data=sums", "steps=1"),
        *("data.prompts_per_step=8", "rollout.samples_per_prompt=4", "learner.updates_per_step=2"),
        *(
            f"data.max_prompt_tokens={prompt_tokens}",
            "rollout.dynamic_sampling=false",
            "rollout.min_tokens=40",
            "rollout.temperature=1",
        ),
        *(
            "rollout.dynamic_sampling=false",
            "eval.every=0",
            "eval.samples_per_prompt=1",
            "data.eval=[{name:sums_heldout,limit:4}]",
        ),
        *("run.save_every=0", "run.export=false", "tracking.console=off", "cluster.cpus=2"),
    ]


def measure(recipe: str, model: str, prompt_tokens: int, base: bool) -> dict[str, dict[str, float]]:
    """GB planned and measured, and their ratio, by actor.

    Raises:
        SystemExit: the run failed.
    """
    wanted = arguments(recipe, model, prompt_tokens)
    with tempfile.TemporaryDirectory() as folder:
        run = watch_training(
            [*wanted, f"run.root={folder}", "run.name=measured"],
            deadline_seconds=SECONDS,
            log=Path(folder) / "log",
        )
    if run.code:
        sys.exit(run.output[-3000:])
    cfg = load(wanted)
    learner, engine = ledgers(cfg, model_shape(cfg), CARDS[STANDARD], base=base)
    planned = {"learner-0": learner.total, "engine-0": engine.total}
    return {
        name: {
            "planned GB": round(size / 1e9, 3),
            "measured GB": round(run.host[name] / 1e9, 3),
            "planned over measured": round(size / run.host[name], 3),
        }
        for name, size in planned.items()
    }


def main() -> None:
    """Measure every case and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a folder with SmolLM2-135M-Instruct")
    parser.add_argument("--prompt-tokens", type=int, default=52, help="limit, near what the prompts have")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    load_before = load_average()
    cases = {
        recipe: measure(recipe, options.model, options.prompt_tokens, base) for recipe, base in CASES.items()
    }
    print(json.dumps(cases, indent=2))
    print(write_result(options.out, "memory", {"about": about(load_before), "cases": cases}))


if __name__ == "__main__":
    main()
