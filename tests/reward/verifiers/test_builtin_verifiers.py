"""The verifiers by name in one real pool, each on a row of its kind and on one that it cannot use."""

from __future__ import annotations

import pytest

from rlvr.errors import ConfigError, DeadlineError
from rlvr.reward.example import Example
from rlvr.reward.verdict import GradeRequest, Outcome, Rules
from rlvr.reward.verifiers import VERIFIERS
from rlvr.reward.workers.pool import GraderPool

HELPERS = "tests.helpers.misbehaving_verifiers"
# Rules, a row's answer and columns, a right response, a wrong one, and what a row has that cannot be used, with why.
CASES = [
    (Rules("math"), "1/2", {}, r"\boxed{0.5}", r"\boxed{2}", None, ""),
    (Rules("math_verify_default"), "1/2", {}, r"so \boxed{\frac{1}{2}}", r"\boxed{2}", None, ""),
    (Rules("last_number"), "12", {}, "10 and 2 make 12", "12 or 13", None, ""),
    (Rules("choice", "whole"), "B", {}, "B) the second", "A", ("7", {}), "names no option"),
    (Rules("exact", "whole"), "red", {}, " red", "Red", None, ""),
    (
        Rules("normalized", "whole", options='{"column": "names"}'),
        "x",
        {"names": ["the Moon"]},
        "Moon!",
        "x",
        ("x", {}),
        "no column 'names'",
    ),
    (Rules("regex"), "^a+$", {}, "aaa", "aab", ("(", {}), "no regular expression"),
    (
        Rules("json_schema"),
        "",
        {"schema": {"type": "object"}},
        "{}",
        "[]",
        ("12", {}),
        "a schema is an object",
    ),
    (
        Rules("instruction"),
        "",
        {"constraints": [{"id": "punctuation:no_comma"}]},
        "one two",
        "one, two",
        ("", {"constraints": [{"id": "a:b"}]}),
        "no constraint 'a:b'",
    ),
    (
        Rules("python_tests", options='{"column": "tests"}'),
        "2",
        {"tests": ["assert double(4) == 8"]},
        "```python\ndef double(x):\n    return 2 * x\n```",
        "```python\ndef double(x):\n    return x\n```",
        ("2", {"tests": "print(1)"}),
        "a test without an assert",
    ),
]


def test_every_verifier_is_tried():
    assert {rules.verifier for rules, *_ in CASES} == set(VERIFIERS)


@pytest.mark.slow
def test_each_verifier_by_its_name_with_rows_of_its_kind():
    requests, expected = [], {}
    for rules, answer, columns, right, wrong, unusable, _ in CASES:
        name = str(rules.verifier)
        row = Example(f"{name}/1", "q", answer, name, columns)
        requests += [
            GradeRequest(f"{name} right", answer, right, row, rules),
            GradeRequest(f"{name} wrong", answer, wrong, row, rules),
        ]
        expected |= {f"{name} right": Outcome.CORRECT, f"{name} wrong": Outcome.WRONG}
        if unusable is not None:
            bad = Example(f"{name}/2", "q", unusable[0], name, unusable[1])
            requests.append(GradeRequest(f"{name} bad", unusable[0], right, bad, rules))
            expected[f"{name} bad"] = Outcome.FAILED
    with GraderPool(
        workers=1, deadline_seconds=20, memory_mb=800, sources=[rules for rules, *_ in CASES]
    ) as pool:
        verdicts = pool.grade(requests)
    assert {name: verdict.outcome for name, verdict in verdicts.items()} == expected
    for rules, *_, unusable, reason in CASES:
        if unusable is not None:
            name = rules.verifier
            detail = verdicts[f"{name} bad"].detail
            assert detail.startswith(f"source '{name}', row {name}/2: ")
            assert reason in detail


def test_a_verifier_that_prints_without_end_fills_no_log(capfd):
    with GraderPool(workers=1, deadline_seconds=20, memory_mb=600, verifier=f"{HELPERS}:talks") as pool:
        verdict = pool.grade([GradeRequest("a", "1", "x"), GradeRequest("b", "1", "x")])["b"]
    assert verdict.correct
    assert (len(verdict.extracted or ""), len(verdict.detail)) == (503, 1000)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert 20_000 < len(printed.err) < 21_000
    assert printed.err.count("what it prints from here on is dropped") == 1


@pytest.mark.slow
def test_a_verifier_that_is_slow_to_import_is_waited_for_or_named(tmp_path, monkeypatch):
    (tmp_path / "slow_import.py").write_text(
        "import os, time, torch\ntime.sleep(float(os.environ['SECONDS']))\n"
        "def same(gold, response): return bool(torch.tensor(gold == response))\n"
    )
    monkeypatch.setenv("SECONDS", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # the grader's workers are processes of their own
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = {"workers": 1, "deadline_seconds": 0.5, "memory_mb": 1500, "verifier": "slow_import:same"}
    with GraderPool(**settings) as pool:
        verdicts = pool.grade([GradeRequest("a", "1", "1"), GradeRequest("b", "1", "2")])
        assert [verdict.outcome for verdict in verdicts.values()] == [Outcome.CORRECT, Outcome.WRONG]
    monkeypatch.setenv("SECONDS", "600")  # the process before it has to start in time, also on a busy machine
    with pytest.raises(
        DeadlineError, match=r"within 10 s; they import slow_import:same: import what is slow"
    ):
        GraderPool(**settings, start_timeout_seconds=10)
    monkeypatch.setenv("SECONDS", "0")
    with pytest.raises(ConfigError, match="'slow_import:other' cannot be loaded in a worker"):
        GraderPool(**settings | {"verifier": "slow_import:other"})
