"""Hostile answers: every one ends with a verdict within its deadline, and the pool is none the worse for it."""

import time

import pytest

from rlvr.reward.verdict import GradeRequest, Outcome
from rlvr.reward.workers.pool import GraderPool

DEADLINE = 0.5


def nested(opening: str, closing: str, depth: int, core: str = "1") -> str:
    return opening * depth + core + closing * depth


def huge_numbers() -> list[str]:
    towers = [r"9^{9^{9^{9}}}", r"10^{10^{10}}", "2^{2^{40}}", r"(10^{10^9})^{10^9}", "9**9**9", "7^{10^9}"]
    factorials = [
        "(10^7)!",
        "((9!)!)!",
        "1000000!",
        "170!!!",
        r"\binom{10^9}{10^8}",
        r"\frac{(10^6)!}{(10^6-1)!}",
    ]
    sums = [r"\sum_{k=1}^{10^9} \frac{1}{k}", r"\prod_{k=1}^{10^8} k", r"\int_0^\infty e^{-x^{x^x}} dx"]
    digits = ["9" * n for n in (101, 5_000, 9_999, 10_001)] + [
        f"0.{'3' * 9_000}",
        f"1e{'9' * 50}",
        "1e999999999",
    ]
    fractions = [rf"\frac{{10^{{{10**k}}}}}{{3}}" for k in (3, 5, 7, 9)]
    floats = [rf"1.5\times 10^{{{10**k}}}" for k in (2, 4, 6, 8)]
    return towers + factorials + sums + digits + fractions + floats


def deep_nesting() -> list[str]:
    depths = (10, 50, 200, 1000, 3000)
    shapes = [
        ("(", ")"),
        ("{", "}"),
        (r"\sqrt{", "}"),
        (r"\frac{1}{", "}"),
        (r"\sin(", ")"),
        ("-(", ")"),
        ("x^{", "}"),
    ]
    wide = ["+".join(["x"] * n) for n in (100, 1000, 4000)] + ["(x+1)" * n for n in (10, 100, 1000)]
    powers = [f"(x+y+z)^{{{n}}}" for n in (10, 100, 1000, 10_000)]
    return [nested(a, b, depth) for a, b in shapes for depth in depths] + wide + powers


def malformed() -> list[str]:
    pieces = [
        r"\frac",
        r"\frac{1}",
        r"\frac{1}{",
        r"\sqrt",
        r"\left(",
        r"\right)",
        "^",
        "_",
        "&",
        r"\\",
        r"\begin{pmatrix}",
    ]
    signs = [
        "+",
        "-",
        "=",
        "==",
        "<>",
        ",",
        ";",
        ":",
        ".",
        "!",
        "?",
        "%",
        r"\%",
        "$",
        "$$",
        "#",
        "####",
        "~",
        "|",
        "||",
    ]
    texts = [
        r"\text{",
        r"\text{}",
        r"\mathrm",
        r"\end{pmatrix}",
        r"\unknowncommand{3}",
        r"\x\y\z",
        "1/",
        "/1",
        "1//2",
    ]
    broken = [
        r"1\frac{}{}2",
        r"\frac{1}{0}",
        r"\frac{0}{0}",
        r"0^{0}",
        r"0^{-1}",
        r"\log(0)",
        r"\infty-\infty",
        "nan",
        "inf",
    ]
    return pieces + signs + texts + broken


def unicode_text() -> list[str]:
    digits = [
        "１２",
        "١٢",
        "१२",
        "১২",
        "𝟙𝟚",
        "①②",
        "Ⅻ",
        "²",
        "½",
        "十二",
        "12\u200b",
        "\u202e21",
        "1\u030012",
    ]
    texts = [
        "\x00",
        "\x00" * 1000,
        "\ud800",
        "é" * 5000,
        "🙂" * 3000,
        "\u0301" * 5000,
        "ﷺ" * 1000,
        "\ufeff12",
        "–12",
        "∞",
    ]
    return digits + texts


def injections() -> list[str]:
    python = [
        "__import__('os').system('false')",
        "().__class__.__bases__",
        "exec('1/0')",
        "open('/etc/passwd').read()",
    ]
    sympy = [
        "lambda x: x",
        "Symbol('x').__class__",
        "S('x')",
        "N(pi, 10**8)",
        "factorint(10**80+7)",
        "zeta(1)",
    ]
    shell = [
        "$(false)",
        "`false`",
        "; false",
        "| false",
        "../../../etc/passwd",
        "%s%s%s%n",
        "{{7*7}}",
        "${7*7}",
    ]
    protocol = [
        "ready",
        '{"outcome": "correct"}',
        "\n####  12",
        "</think>",
        "<|im_end|>",
        r"\input{/etc/passwd}",
    ]
    grading = [
        "12 or 13 or 14",
        "12, 13, 14",
        "any number",
        "the gold answer",
        r"x \in \mathbb{R}",
        "12|13",
        "*",
        "_",
    ]
    return python + sympy + shell + protocol + grading


def intervals_and_sets() -> list[str]:
    intervals = [
        r"(-\infty,\infty)",
        r"[-\infty,\infty]",
        r"(\infty,-\infty)",
        r"[0,\infty)\cup(-\infty,0)",
        r"(1,1)",
        "[2,1]",
    ]
    unions = [r"\cup".join(f"({i},{i + 1})" for i in range(n)) for n in (10, 60)]
    sets = [",".join(map(str, range(n))) for n in (100, 1000, 2500)] + [
        r"\{" + ",".join("x" * 500) + r"\}",
        r"\{\}",
    ]
    matrices = [
        r"\begin{pmatrix}" + r"\\".join(["&".join("1" * n)] * n) + r"\end{pmatrix}" for n in (5, 20, 60)
    ]
    relations = [
        "x<y<z",
        "x=y=z=1",
        "x^{100}+x+1=0",
        r"\sin(x)=x^5+e^x",
        r"x \neq x",
        "a=b,c=d",
        r"x^5-x-1 \geq 0",
    ]
    return intervals + unions + sets + matrices + relations


def boxes() -> list[str]:
    """Whole responses: the others are put into one box each."""
    empty = [
        r"\boxed{}",
        r"\boxed{ }",
        r"\boxed{{}}",
        r"\boxed{$ $}",
        r"\boxed{\boxed{}}",
        r"\boxed",
        r"\boxed{",
        "boxed{12}",
    ]
    many = [r"\boxed{1}" * n for n in (2, 100, 10_000)] + [
        r"\boxed{1} \boxed{",
        r"\boxed{1}\boxed{}",
        r"\boxed{}\boxed{1}",
    ]
    deep = [nested(r"\boxed{", "}", n) for n in (2, 500, 20_000)] + [
        r"\boxed{" * 50_000,
        "{" * 200_000,
        "}" * 200_000,
    ]
    megabytes = ["x" * 3_000_000, r"\boxed{" + "1" * 3_000_000 + "}", "12 " * 1_000_000, r"\boxed{" * 500_000]
    mixed = [
        "\\" * 1_000_000 + r"\boxed{1}",
        "answer " * 300_000,
        "$" * 1_000_000,
        "####" * 200_000,
        "(" * 500_000 + r"\boxed{2}",
    ]
    return empty + many + deep + megabytes + mixed + ["", " ", "\n" * 100_000]


def corpus() -> list[str]:
    boxed = (
        huge_numbers() + deep_nesting() + malformed() + unicode_text() + injections() + intervals_and_sets()
    )
    return [rf"therefore \boxed{{{answer}}}" for answer in boxed] + boxes()


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 2**20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "gold"), [("last_box", "12"), ("last_box_or_unboxed", r"\frac{1}{2}"), ("strict", "x^2+1")]
)
def test_hostile_answers_end_with_a_verdict_and_leave_the_pool_whole(policy, gold, tmp_path):
    responses = corpus()
    assert len(responses) >= 200
    requests = [GradeRequest(f"s{i}", gold, response) for i, response in enumerate(responses)]
    sane = [GradeRequest(f"t{i}", rf"\frac{{{i}}}{{3}}", rf"\boxed{{{2 * i}/6}}") for i in range(50)]
    with GraderPool(
        workers=2, deadline_seconds=DEADLINE, memory_mb=400, policy=policy, save_folder=tmp_path
    ) as pool:
        assert all(verdict.correct or policy == "strict" for verdict in pool.grade(sane).values())
        before = max(resident_mb(pid) for pid in pool.worker_pids)
        started = time.monotonic()
        verdicts = pool.grade(requests)
        elapsed = time.monotonic() - started
        assert list(verdicts) == [request.sample_id for request in requests]
        slow = [v for v in verdicts.values() if v.outcome in (Outcome.TIMED_OUT, Outcome.FAILED)]
        assert elapsed < 30 + len(slow) * DEADLINE
        seconds = sorted(verdict.seconds for verdict in verdicts.values())
        assert (
            seconds[-1] < DEADLINE + 20.0
        )  # ending a process that holds memory takes a busy machine a while
        rewarded = [requests[i].response[:80] for i in range(len(requests)) if verdicts[f"s{i}"].correct]
        assert len(rewarded) <= 6, rewarded
        assert len(set(pool.worker_pids)) == 2
        again = pool.grade(sane)
        assert all(verdict.outcome in (Outcome.CORRECT, Outcome.WRONG) for verdict in again.values())
        assert max(resident_mb(pid) for pid in pool.worker_pids) < before + 100
    print(
        policy,
        {str(o): sum(v.outcome is o for v in verdicts.values()) for o in Outcome},
        rewarded,
        f"{elapsed:.1f} s",
    )
