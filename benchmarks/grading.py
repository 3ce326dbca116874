"""Our grader beside math-verify as it ships and exact match: what each decides wrongly, by class of answers.

    python -m benchmarks.grading                        # the pairs that the tests hold
    python -m benchmarks.grading --problems FOLDER      # and the golds of jsonl files (columns answer, solution)

A pair is a gold answer and a boxed answer of which it is known whether they are equal. Of the files, a problem's own
answer is equal to itself, and the next problem's is taken as different where its text is. Exact match compares the last
box's text with the gold answer's, white space at the ends aside. Writes benchmarks/results/grading-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlvr.reward.example import Example
from rlvr.reward.grader import GRADER_VERSION, gold_text, grade
from rlvr.reward.verifiers.exact_text import exact
from rlvr.reward.verifiers.reference import math_verify_default
from tests.helpers import grader_cases, grader_findings, grader_reports, grader_trials

RESULTS = Path(__file__).parent / "results"
Pair = tuple[str, str, bool]  # gold answer, response, whether they are equal


def ours(gold: str, response: str) -> bool:
    """Our rules and math-verify."""
    return grade(gold, response, policy="last_box").correct


def by_text(gold: str, response: str) -> bool:
    """Exact match of the last box."""
    return exact(Example("", "", gold, ""), response, "last_box").correct


GRADERS: dict[str, Callable[[str, str], bool]] = {
    "rlvr": ours,
    "math-verify": math_verify_default,
    "exact match": by_text,
}


def pairs_by_class() -> dict[str, list[Pair]]:
    """The pairs of the tests."""
    classes: dict[str, list[Pair]] = {}
    for cases in (grader_cases, grader_reports, grader_findings, grader_trials):
        for known, equal in ((cases.EQUAL, True), (cases.DIFFERENT, False)):
            for name, pairs in known.items():
                classes.setdefault(name, []).extend(
                    (gold, rf"\boxed{{{answer}}}", equal) for gold, answer in pairs
                )
    return classes


def pairs_of_files(folder: Path) -> Iterator[tuple[str, list[Pair]]]:
    """The pairs of each file, by its name."""
    for file in sorted(folder.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        golds = [gold_text(str(row["answer"])) for row in rows]
        pairs = [(gold, rf"\boxed{{{gold}}}", True) for gold in golds]
        pairs += [(gold, row["solution"], True) for gold, row in zip(golds, rows, strict=True) if _boxes(row)]
        after = [*golds[1:], golds[0]]
        pairs += [(a, rf"\boxed{{{b}}}", False) for a, b in zip(golds, after, strict=True) if a != b]
        yield file.stem, pairs


def _boxes(row: dict[str, Any]) -> bool:
    return "\\boxed" in str(row.get("solution"))


def mistakes(pairs: Sequence[Pair], grader: Callable[[str, str], bool]) -> dict[str, int]:
    """Equal answers that it refuses, and different ones that it takes for equal; one that raises refuses."""
    refused = accepted = 0
    for gold, response, equal in pairs:
        try:
            found = bool(grader(gold, response))
        except Exception:  # what a grader makes of odd answers is what is measured
            found = False
        refused += equal and not found
        accepted += found and not equal
    return {"refused": refused, "accepted": accepted}


def measured(classes: dict[str, list[Pair]]) -> dict[str, Any]:
    """Of each class: how many equal and different pairs, and each grader's mistakes."""
    return {
        name: {
            "equal": sum(equal for *_, equal in pairs),
            "different": sum(not equal for *_, equal in pairs),
        }
        | {grader: mistakes(pairs, decide) for grader, decide in GRADERS.items()}
        for name, pairs in classes.items()
    }


def table(found: dict[str, Any]) -> list[str]:
    """The same in Markdown: mistakes as refused + accepted."""
    lines = ["| class | equal | different | " + " | ".join(GRADERS) + " |"]
    lines.append("| --- " * (3 + len(GRADERS)) + "|")
    for name, row in found.items():
        cells = [f"{row[grader]['refused']} + {row[grader]['accepted']}" for grader in GRADERS]
        lines.append(f"| {name} | {row['equal']} | {row['different']} | " + " | ".join(cells) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the table and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--problems", type=Path, help="a folder of jsonl files with answers")
    parser.add_argument("--no-file", action="store_true", help="print only")
    given = parser.parse_args(arguments)
    classes = pairs_by_class() | (dict(pairs_of_files(given.problems)) if given.problems else {})
    found = measured(classes)
    print("\n".join(table(found)))
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "grader": GRADER_VERSION,
        "versions": {name: version(name) for name in ("math-verify", "sympy")},
        "classes": found,
    }
    if not given.no_file:
        (RESULTS / f"grading-{result['date']}.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
