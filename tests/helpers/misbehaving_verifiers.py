"""Verifiers that the pool tests plug in by dotted path; what they do is written in the response."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

from rlvr.reward.example import Example
from rlvr.reward.verdict import Outcome, Verdict
from rlvr.reward.verifiers.last_number import last_number

HOARD = []
HELD_BY = "RLVR_TEST_HELD_BY"  # names the metrics.jsonl of a run that must not get past step 4


def obey(gold: str, response: str) -> bool:
    """`sleep S`, `spin`, `bignum`, `hoard`, `exit`, `abort`, `orphan FILE`, `raise`; else it is compared."""
    command, _, argument = response.partition(" ")
    if command == "sleep":
        time.sleep(float(argument))
    elif command == "spin":
        while True:
            pass
    elif command == "bignum":
        return 7 ** (10**10) == 1  # one C call that never comes back to the interpreter
    elif command == "hoard":
        while True:
            HOARD.append(os.urandom(1 << 16) * 64)
    elif command == "exit":
        os._exit(3)
    elif command == "abort":
        os.abort()
    elif command == "orphan":  # the first time that it sees the file missing, or always without one
        if argument and os.path.exists(argument):
            return True
        if argument:
            open(argument, "w").close()
        template = os.getppid()
        if b"rlvr.reward.workers.worker" in Path(f"/proc/{template}/cmdline").read_bytes():
            os.kill(template, signal.SIGKILL)
        time.sleep(600)
    elif command == "raise":
        raise RuntimeError("as told")
    return gold == response


def burn(gold: str, response: str) -> bool:
    """Two milliseconds of work, or for ever where the response is `hang`."""
    stop = time.perf_counter() + 0.002
    while time.perf_counter() < stop or response == "hang":
        pass
    return gold == response


def scores(gold: str, response: str) -> object:
    """Every kind of result that a verifier may return, and some that it may not."""
    return {
        "odd": SimpleNamespace(outcome="wrong", extracted=12, gold=object, detail=None),
        "half": 0.5,
        "low": 0.25,
        "one": 1,
        "yes": True,
        "nan": float("nan"),
        "two": 2.0,
        "none": None,
        "text": "correct",
        "verdict": Verdict("ignored", Outcome.NO_ANSWER, None, gold, 0.0, "nothing there"),
    }[response]


def talks(gold: str, response: str) -> Verdict:
    """Prints fifty megabytes, and says as much in its verdict."""
    for _ in range(50):
        print("x" * (1 << 20))
    return Verdict("", Outcome.CORRECT, "x" * (1 << 20), gold, 0.0, "y" * (1 << 20))


def not_callable_module() -> None:
    """Only here so that the module has a name to misspell."""


def allowed(example, response: str, *, column: str = "allowed") -> bool:
    """Whether the response is among a column's words: of the whole row, by its first parameter's name."""
    return response in example[column]


def greedy(example, response: str) -> bool:
    """Whether the response is the first of the allowed words, which it then takes away."""
    return response == example["allowed"].pop(0)


def annotated(row: Example, response: str) -> bool:
    """Of the whole row, by its first parameter's annotation."""
    return response == f"{row.source} {row.id} {row.question} {row.answer} {sorted(row.columns)}"


def by_policy(gold: str, response: str, policy: str) -> bool:
    """Whether the response is the name of the policy."""
    return response == policy


def held_last_number(gold: str, response: str) -> bool:
    """`last_number`; in a run that HELD_BY names it never comes to an end once step 3 is done."""
    metrics = Path(os.environ.get(HELD_BY, os.devnull))
    while metrics.exists() and '"step": 3, "kind": "train"' in metrics.read_text():
        time.sleep(1)
    return last_number(gold, response)
