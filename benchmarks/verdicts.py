r"""How often graders are wrong, by class: ours, math-verify alone, and exact match, on the same rows.

    python -m benchmarks.verdicts --golds aime24.jsonl --solutions gsm8k.jsonl --dumps eval_000060.jsonl

- golds: rows with an `answer`. Each is graded against itself, boxed (right), and against the next row's other answer
  (wrong).
- solutions: rows whose `solution` or `answer` is a worked solution that ends in a box or in "#### answer". It is a
  response to its own row (right) and to the next row with another answer (wrong).
- dumps: a run's responses on problems whose answers are integers; right where the last box holds that integer.
- cases: {id, expected, input: {policy, pairs: [{gold, answer}] | cases: [{gold, response, want}]}} of known faults.

A grader's false positives are wrong answers that it takes, its false negatives right ones that it refuses or fails on.
Prints the table, and writes it with versions and date to --output.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlvr.reward.grader import GRADER_VERSION
from rlvr.reward.pool import GraderPool
from rlvr.reward.verdict import GradeRequest, Rules
from rlvr.runtime.dumps import open_dump

GRADERS = {"ours": "math", "math-verify": "math_verify_default", "exact match": "exact"}
POLICIES = ("last_box", "last_box_or_unboxed")
KINDS = {
    "S01": "tiny numbers",
    "S02": "scientific notation",
    "S03": "announced in bold",
    "S04": "several boxes",
    "S05": "equation, several values",
    "S06": "several choices",
    "S07": "number bases",
    "S09": "currencies",
    "S10": "mixed numbers",
    "S11": "thousands by space",
    "S12": "inequality, interval",
    "S13": "plain notation",
    "S17": "named unknowns",
    "S18": "announced after a box",
    "S23": "box that never closes",
    "D3": "announced in a sentence",
}
# Where a case's words do not say it pair by pair.
SAID = {"S10": (False, True, True, True)}
_LAST_BOX = re.compile(r"\\boxed\{\s*(-?\d+)\s*\}")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A response with what it is."""

    kind: str
    gold: str
    response: str
    policy: str
    right: bool


def rows(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, packed or not."""
    with open_dump(path) as lines:
        return [json.loads(line) for line in lines if line.strip()]


def of_golds(path: Path) -> Iterator[Labelled]:
    """Each answer against itself and against the next other one."""
    answers = [str(row["answer"]).rsplit("####", 1)[-1].strip() for row in rows(path)]
    for gold, other in zip(answers, _others(answers), strict=True):
        kind = f"answers of {path.stem}"
        yield Labelled(kind, gold, rf"\boxed{{{gold}}}", "last_box", True)
        yield Labelled(kind, gold, rf"\boxed{{{other}}}", "last_box", False)


def of_solutions(path: Path) -> Iterator[Labelled]:
    """Each worked solution as a response to its own row and to the next with another answer."""
    found = rows(path)
    solutions = [str(row.get("solution") or row["answer"]) for row in found]
    answers = [str(row["answer"]).rsplit("####", 1)[-1].strip() for row in found]
    others = _others(answers)
    for solution, gold, other in zip(solutions, answers, others, strict=True):
        kind = f"solutions of {path.stem}"
        yield Labelled(kind, gold, solution, "last_box_or_unboxed", True)
        yield Labelled(kind, other, solution, "last_box_or_unboxed", False)


def of_dump(path: Path) -> Iterator[Labelled]:
    """Recorded responses; what is right is read here by a plain search for the last box."""
    for row in rows(path):
        boxes = _LAST_BOX.findall(row["response"])
        right = bool(boxes) and int(boxes[-1]) == int(row["answer"])
        yield Labelled("recorded responses", row["answer"], row["response"], "last_box", right)


def of_cases(path: Path) -> Iterator[Labelled]:
    """The cases whose words say what is right."""
    for case in rows(path):
        given, kind = case["input"], KINDS.get(case["id"])
        if kind is None:
            continue
        policy = given.get("policy", "last_box")
        shared = [given] if "response" in given else []
        parts = [*given.get("pairs", []), *given.get("cases", []), *shared]
        for place, part in enumerate(parts):
            said = SAID.get(
                case["id"], (case["expected"].startswith(("correct", "the same", "100")),) * len(parts)
            )
            right = part["want"] == "correct" if "want" in part else said[place]
            response = part.get("response") or rf"\boxed{{{part['answer']}}}"
            yield Labelled(kind, part["gold"], response, policy, right)


def _others(answers: list[str]) -> list[str]:
    n = len(answers)
    return [
        next(answers[(i + k) % n] for k in range(1, n) if answers[(i + k) % n] != answers[i])
        for i in range(n)
    ]


def judged(labelled: list[Labelled], workers: int) -> dict[str, list[bool]]:
    """Which responses each grader takes for correct."""
    sources = [Rules(name, policy) for name in GRADERS.values() for policy in POLICIES]
    requests = [
        GradeRequest(f"{name}/{i}", row.gold, row.response, rules=Rules(name, row.policy))
        for name in GRADERS.values()
        for i, row in enumerate(labelled)
    ]
    with GraderPool(workers=workers, deadline_seconds=20, memory_mb=2048, sources=sources) as pool:
        verdicts = pool.grade(requests)
    return {
        title: [verdicts[f"{name}/{i}"].correct for i in range(len(labelled))]
        for title, name in GRADERS.items()
    }


def table(labelled: list[Labelled], taken: dict[str, list[bool]]) -> list[dict[str, Any]]:
    """Rows and errors of each class."""
    lines: dict[str, dict[str, Any]] = {}
    for i, row in enumerate(labelled):
        line = lines.setdefault(
            row.kind, {"class": row.kind, "right": 0, "wrong": 0} | {t: [0, 0] for t in taken}
        )
        line["right" if row.right else "wrong"] += 1
        for title, found in taken.items():
            line[title][0] += found[i] and not row.right
            line[title][1] += row.right and not found[i]
    return list(lines.values())


def as_markdown(lines: list[dict[str, Any]]) -> str:
    """The table for a page: false positives / false negatives."""
    head = ["class", "right", "wrong", *GRADERS]
    body = [
        [
            line["class"],
            str(line["right"]),
            str(line["wrong"]),
            *(f"{fp} / {fn}" for fp, fn in map(line.get, GRADERS)),
        ]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *body])


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="False positives and negatives of graders, by class.")
    readers = {"golds": of_golds, "solutions": of_solutions, "dumps": of_dump, "cases": of_cases}
    for name in readers:
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    labelled = [
        row for name, read in readers.items() for path in getattr(arguments, name) for row in read(path)
    ]
    lines = table(labelled, judged(labelled, arguments.workers))
    print(as_markdown(lines))
    files = Counter(path.name for name in readers for path in getattr(arguments, name))
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "grader": GRADER_VERSION,
        "versions": {
            name: version(name) for name in ("rlvr", "math-verify", "sympy", "latex2sympy2_extended")
        },
        "files": sorted(files),
        "classes": lines,
    }
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
