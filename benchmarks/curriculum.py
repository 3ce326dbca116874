"""What a curriculum spares: accepted groups per generated token, `data.sampler=prioritized` against `uniform`.

    python -m benchmarks.curriculum                      # trains what is missing, prints a table, writes a file
    python -m benchmarks.curriculum --problems uneven    # thirds of sums of two, of three to five and of nine operands
    python -m benchmarks.curriculum --seeds 1 --steps 20 --folder /tmp/curriculum --no-file

Runs of `recipe=dapo` on problems of the built-in task, pairs that differ in the sampler alone, one pair a seed. An
accepted group has answers both right and wrong; dynamic sampling trains on these and throws the others away. Writes
benchmarks/results/curriculum-<problems>-<date>.json. Run folders are kept: finished runs are not repeated, and one
that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlvr.data.curriculum import SAMPLERS
from rlvr.data.tasks.arithmetic import OPERAND_COUNTS, evaluate, is_held_out, sample_expression
from rlvr.runtime.disk.dumps import dump_files, dump_lines

PROMPTS, SAMPLES = 16, 8
THIRDS = (
    (2,),
    OPERAND_COUNTS,
    (9,),
)  # operands of sums that are soon solved, of the task's own, of hard ones
RESULTS = Path(__file__).parent / "results"


def even(limit: int, folder: Path) -> list[str]:
    """Settings of a run on the first so many problems of the built-in task."""
    return [f"data.train.limit={limit}"]


def uneven(limit: int, folder: Path) -> list[str]:
    """Settings of a run on so many sums, a third of each difficulty, none of them held out, written as a file."""
    rng, lines = random.Random("uneven"), dict[str, str]()
    while len(lines) < limit:
        text = sample_expression(rng, THIRDS[len(lines) % len(THIRDS)])
        if not is_held_out(text):
            lines[text] = json.dumps({"question": f"{text}=?", "answer": str(evaluate(text))})
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "uneven.jsonl"
    file.write_text("\n".join(lines.values()) + "\n")
    return ["data.train.name=uneven", f"data.train.path={file}"]


PROBLEMS = {"even": even, "uneven": uneven}


def train(sampler: str, seed: int, steps: int, problems: Sequence[str], folder: Path) -> Path:
    """The folder of a run that has taken so many steps."""
    name = f"{sampler}-{seed}"
    if not finished(folder / name, steps):
        subprocess.run(
            [
                *(sys.executable, "-m", "rlvr.train", "recipe=dapo", f"seed={seed}", f"steps={steps}"),
                *(*problems, f"data.sampler={sampler}"),
                *(f"data.prompts_per_step={PROMPTS}", f"rollout.samples_per_prompt={SAMPLES}"),
                *(
                    "eval.every=0",
                    "eval.samples_per_prompt=2",
                    "data.eval=[{name:arithmetic_heldout,limit:100}]",
                ),
                *("sync.preflight=false", "run.save_every=4", "run.resume=auto", "run.export=false"),
                *("tracking.wandb=off", "tracking.console=off", "cluster.cpus=1"),
                *(f"run.root={folder}", f"run.name={name}"),
            ],
            check=True,
        )
    return folder / name


def finished(run: Path, steps: int) -> bool:
    """Whether the run has taken all its steps; one that took fewer goes on."""
    summary = run / "summary.json"
    return summary.exists() and json.loads(summary.read_text())["steps"] >= steps


def accepted_groups(run: Path) -> int:
    """Groups with answers both right and wrong, those that were not trained on included."""
    kinds: dict[str, set[bool]] = {}
    for file in dump_files(run / "samples", "step_*"):
        for row in map(json.loads, dump_lines(file)):
            group = row["sample_id"].rpartition("/")[0]
            kinds.setdefault(group, set()).add(row["verdict"] == "correct")
    return sum(len(found) > 1 for found in kinds.values())


def measured(run: Path) -> dict[str, float]:
    """The figures of one run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "train"]
    summary = json.loads((run / "summary.json").read_text())
    tokens, accepted = sum(row["tokens/generated"] for row in steps), accepted_groups(run)
    return {
        "accepted_groups": accepted,
        "generated_tokens": tokens,
        "accepted_per_million_tokens": 1e6 * accepted / tokens,
        "mean_acceptance": sum(row["sampling/acceptance"] for row in steps) / len(steps),
        "steps_short_of_groups": sum(row["sampling/short_of"] > 0 for row in steps),
        "mean_skipped": sum(row.get("sampling/skipped", 0.0) for row in steps) / len(steps),
        "accuracy_before": summary["eval_accuracy_before"],
        "accuracy_after": summary["eval_accuracy_after"],
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure every pair, print the table and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument(
        "--problems", choices=PROBLEMS, default="even", help="all of one difficulty, or thirds"
    )
    parser.add_argument("--limit", type=int, default=64, help="problems to train on")
    parser.add_argument("--folder", type=Path, default=Path("runs/curriculum"))
    parser.add_argument("--no-file", action="store_true", help="print only")
    given = parser.parse_args(arguments)
    folder = given.folder / given.problems
    problems = PROBLEMS[given.problems](given.limit, folder.resolve())
    found = {
        sampler: {seed: measured(train(sampler, seed, given.steps, problems, folder)) for seed in given.seeds}
        for sampler in SAMPLERS
    }
    uniform, prioritized = (found[sampler] for sampler in SAMPLERS)
    per_token = "accepted_per_million_tokens"
    ratios = {seed: prioritized[seed][per_token] / uniform[seed][per_token] for seed in given.seeds}
    for sampler, runs in found.items():
        for seed, figures in runs.items():
            print(sampler, seed, *(f"{name} {value:.4g}" for name, value in figures.items()), sep="  ")
    print("accepted groups per generated token, prioritized over uniform, by seed:", ratios)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "ray", "deepspeed")},
        "settings": {
            "recipe": "dapo",
            "difficulty": given.problems,
            "problems": given.limit,
            "steps": given.steps,
            "prompts": PROMPTS,
            "samples": SAMPLES,
        },
        "runs": found,
        "ratio": ratios,
    }
    if not given.no_file:
        (RESULTS / f"curriculum-{given.problems}-{result['date']}.json").write_text(
            json.dumps(result, indent=2) + "\n"
        )
    return result


if __name__ == "__main__":
    main()
