"""The killable worker pool: deadlines, memory, replacement, ids, threads, orphans."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlvr.errors import ActorError, ConfigError
from rlvr.reward.verdict import GradeRequest, Outcome, Verdict
from rlvr.reward.workers.pool import OFFENDERS_FILE, GraderPool
from rlvr.timing import standstills

OBEY = "tests.helpers.misbehaving_verifiers:obey"


def pool_of(workers=2, deadline=1.0, memory=400, **settings):
    return GraderPool(workers=workers, deadline_seconds=deadline, memory_mb=memory, **settings)


def outcomes(verdicts):
    return {sample_id: str(verdict.outcome) for sample_id, verdict in verdicts.items()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def math_pool(kept):
    """Its workers read mathematics, which takes a second to import."""
    with pool_of(deadline=5, save_folder=kept) as pool:
        yield pool


@pytest.fixture
def obedient(tmp_path):
    with pool_of(verifier=OBEY, save_folder=tmp_path / "kept") as pool:
        yield pool


def test_verdicts_keep_ids_and_order(math_pool):
    answers = [
        (r"\boxed{12}", "12"),
        ("no box", "12"),
        (r"\boxed{2/4}", r"\frac{1}{2}"),
        (r"\boxed{x^2}", "x^3"),
    ]
    requests = [GradeRequest(f"p{i}", gold, response) for i, (response, gold) in enumerate(answers)]
    verdicts = math_pool.grade(requests)
    assert list(verdicts) == ["p0", "p1", "p2", "p3"]
    assert all(verdict.sample_id == sample_id for sample_id, verdict in verdicts.items())
    assert list(outcomes(verdicts).values()) == ["correct", "no_answer", "correct", "wrong"]
    assert verdicts["p2"].extracted == "2/4"
    assert math_pool.grade([]) == {}


def test_an_empty_gold_answer_fails_and_is_kept(math_pool, kept):
    verdicts = math_pool.grade([GradeRequest("a", " ", r"\boxed{1}")])
    assert (verdicts["a"].outcome, verdicts["a"].detail) == (Outcome.FAILED, "the gold answer is empty")
    assert json.loads((kept / OFFENDERS_FILE).read_text().splitlines()[-1])["sample_id"] == "a"


def test_every_verdict_belongs_to_its_own_sample(math_pool):
    requests = [GradeRequest(f"s{i}", rf"\frac{{{i}}}{{7}}", rf"\boxed{{{i + i % 2}/7}}") for i in range(300)]
    verdicts = math_pool.grade(requests)
    assert list(verdicts) == [request.sample_id for request in requests]
    for i, request in enumerate(requests):
        verdict = verdicts[request.sample_id]
        assert verdict.extracted == f"{i + i % 2}/7"
        assert verdict.correct == (i % 2 == 0)


def test_duplicate_ids_are_refused(math_pool):
    with pytest.raises(ValueError, match=r"duplicate sample ids.*'a'"):
        math_pool.grade([GradeRequest("a", "1", "x"), GradeRequest("a", "2", "y")])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sleep 60", "spin", "bignum"])
def test_a_hanging_sample_times_out_and_the_others_do_not(obedient, command):
    before = set(obedient.worker_pids)
    requests = [GradeRequest(f"s{i}", "x", command if i == 3 else "x") for i in range(40)]
    started = time.monotonic()
    verdicts = obedient.grade(requests)
    assert 1.0 < time.monotonic() - started < 30.0  # one deadline, not one for each of the forty
    assert outcomes(verdicts) == {f"s{i}": "timed_out" if i == 3 else "correct" for i in range(40)}
    assert verdicts["s3"].seconds >= 1.0
    assert len(set(obedient.worker_pids)) == 2
    assert len(set(obedient.worker_pids) & before) == 1
    assert all(alive(pid) for pid in obedient.worker_pids)


@pytest.mark.slow  # waits for a deadline
def test_broken_samples_fail_with_a_reason_and_are_kept(obedient, tmp_path):
    commands = {"a": "exit", "b": "abort", "c": "raise", "e": "x", "f": "sleep 60"}
    verdicts = obedient.grade([GradeRequest(key, "x", command) for key, command in commands.items()])
    assert outcomes(verdicts) == dict.fromkeys("abc", "failed") | {"e": "correct", "f": "timed_out"}
    assert "exit code 3" in verdicts["a"].detail
    assert f"exit code -{int(signal.SIGABRT)}" in verdicts["b"].detail
    assert verdicts["c"].detail == "the grader raised RuntimeError: as told"
    rows = [json.loads(line) for line in (tmp_path / "kept" / OFFENDERS_FILE).read_text().splitlines()]
    assert {row["sample_id"]: row["response"] for row in rows} == {
        k: v for k, v in commands.items() if k != "e"
    }
    assert all(row["verifier"] == OBEY and row["grader_version"] for row in rows)
    assert len(obedient.worker_pids) == 2


@pytest.mark.slow
def test_a_sample_that_hoards_memory_fails():
    with pool_of(verifier=OBEY, deadline=30) as pool:
        requests = [GradeRequest(f"s{i}", "x", "hoard" if i == 5 else "x") for i in range(20)]
        verdicts = pool.grade(requests)
        assert outcomes(verdicts) == {f"s{i}": "failed" if i == 5 else "correct" for i in range(20)}
        assert verdicts["s5"].detail.endswith("the ceiling is 400 MiB")
        assert len(pool.worker_pids) == 2


@pytest.mark.slow
def test_a_lost_pool_is_built_anew_and_grades_what_it_had_once(tmp_path, caplog):
    """The process that workers are forked from ends in the middle of a call, and they with it."""
    with pool_of(verifier=OBEY, deadline=60) as pool:
        template = pool._dispatcher._template._process
        lost = {*pool.worker_pids, template.pid}
        requests = [
            GradeRequest(f"s{i}", "x", "x" if i else f"orphan {tmp_path / 'once'}") for i in range(40)
        ]
        verdicts = pool.grade(requests)
        assert outcomes(verdicts) == {f"s{i}": "correct" for i in range(40)}
        assert not lost & {*pool.worker_pids, pool._dispatcher._template._process.pid}
        assert "the graders are started again" in caplog.text
        assert outcomes(pool.grade([GradeRequest("later", "x", "x")])) == {"later": "correct"}
    wait_until(lambda: not any(alive(pid) for pid in lost))


@pytest.mark.slow
def test_a_pool_that_is_lost_again_and_again_says_so_and_closes():
    with pool_of(verifier=OBEY, deadline=60) as pool:
        with pytest.raises(ActorError, match=r"template process"):
            pool.grade([GradeRequest("a", "x", "orphan")])
        pids = pool.worker_pids
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_workers_killed_from_outside_are_replaced(obedient):
    for pid in obedient.worker_pids:
        os.kill(pid, signal.SIGKILL)
    verdicts = obedient.grade([GradeRequest(f"s{i}", "x", "x") for i in range(20)])
    assert set(outcomes(verdicts).values()) == {"correct"}


@pytest.mark.slow  # waits for a deadline
def test_a_stopped_worker_does_not_hold_the_pool(caplog):
    with pool_of(verifier=OBEY, start_timeout_seconds=2) as pool:
        os.kill(pool.worker_pids[0], signal.SIGSTOP)
        verdicts = pool.grade([GradeRequest(f"s{i}", "x", "x" * 200_000) for i in range(8)])
        assert outcomes(verdicts) == {f"s{i}": "wrong" for i in range(8)}
        assert "the graders are started again where they do not answer" in caplog.text
        assert "did not start within 2 s" in caplog.text


def test_results_of_a_verifier_are_read_strictly():
    names = ["half", "low", "one", "yes", "nan", "two", "none", "text", "verdict", "unknown", "odd"]
    with pool_of(verifier="tests.helpers.misbehaving_verifiers:scores") as pool:
        verdicts = pool.grade([GradeRequest(name, "g", name) for name in names])
    correct, wrong, failed = ["half", "one", "yes"], ["low", "odd"], ["nan", "two", "none", "text", "unknown"]
    expected = dict.fromkeys(correct, "correct") | dict.fromkeys(wrong, "wrong") | {"verdict": "no_answer"}
    assert outcomes(verdicts) == expected | dict.fromkeys(failed, "failed")
    assert verdicts["low"].detail == "score 0.25"
    assert verdicts["verdict"] == Verdict(
        "verdict", Outcome.NO_ANSWER, None, "g", verdicts["verdict"].seconds, "nothing there"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers=0"),
        ({"deadline": 0}, "deadline_seconds=0"),
        ({"memory": 10}, "memory_mb=10"),
        ({"policy": "first"}, "unknown grading policy"),
        (
            {"verifier": "tests.helpers.misbehaving_verifiers:absent"},
            "cannot be loaded in a worker: .*has no absent",
        ),
        ({"verifier": "no_such_module:f"}, "ModuleNotFoundError"),
        ({"verifier": "just_a_name"}, "package.module:attribute"),
        ({"verifier": "tests.helpers.misbehaving_verifiers:HOARD"}, "cannot be called"),
    ],
)
def test_bad_settings_are_refused_at_the_start(settings, message):
    with pytest.raises(ConfigError, match=message):
        pool_of(**settings)


def test_threads_share_a_pool(math_pool):
    results = {}

    def work(name):
        requests = [GradeRequest(str(i), "1/2", rf"\boxed{{{i}/{2 * i + name}}}") for i in range(1, 60)]
        results[name] = math_pool.grade(requests)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {name: sum(v.correct for v in verdicts.values()) for name, verdicts in results.items()} == {
        0: 59, 1: 0, 2: 0, 3: 0
    }  # fmt: skip


def test_a_pool_outlives_the_thread_that_started_it():
    pools = []
    thread = threading.Thread(target=lambda: pools.append(pool_of(verifier=OBEY)))
    thread.start()
    thread.join(60)
    time.sleep(0.2)
    with pools[0] as pool:
        assert pool.grade([GradeRequest("a", "x", "x")])["a"].correct


def test_closing_ends_every_process_and_refuses_calls():
    pool = pool_of(verifier=OBEY)
    pids = pool.worker_pids
    pool.close()
    pool.close()
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(RuntimeError, match="closed"):
        pool.grade([GradeRequest("a", "1", "1")])


@pytest.mark.slow
@pytest.mark.parametrize("forked_child", [False, True])
def test_no_orphan_after_the_parent_is_killed(forked_child):
    """The parent dies by SIGKILL while one worker hangs in a C call and another is idle.

    A fork of the parent holds the pool's sockets open, so that their end does not tell the template.
    """
    code = (
        "import os, sys, time; from rlvr.reward.workers.pool import GraderPool; "
        "from rlvr.reward.verdict import GradeRequest\n"
        f"pool = GraderPool(workers=2, deadline_seconds=300, memory_mb=400, verifier={OBEY!r})\n"
        f"child = os.fork() if {forked_child} else -1\n"
        "if child == 0:\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "print(child, *pool.worker_pids, pool._dispatcher._template._process.pid, flush=True)\n"
        "pool.grade([GradeRequest('a', 'x', 'bignum')])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    child, *pids = [int(pid) for pid in parent.stdout.readline().split()]
    try:
        time.sleep(0.3)
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
        parent.kill()
        parent.wait(60)
        wait_until(lambda: not any(alive(pid) for pid in pids))
    finally:
        parent.stdout.close()
        if child > 0:
            os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_what_a_suspended_run_stood_still_is_no_time_of_a_sample(monkeypatch):
    with pool_of(verifier=OBEY, deadline=1.0) as pool:
        monkeypatch.setattr(standstills, "since", lambda moment: 3600.0)
        verdict = pool.grade([GradeRequest("a", "sleep 2.5", "sleep 2.5")])["a"]
    assert verdict.outcome == Outcome.CORRECT


@pytest.mark.slow
def test_a_template_whose_pool_ends_while_it_starts_goes_without_a_word():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    settings = json.dumps({"rules": [["rlvr.reward.length:short", "last_box"]], "memory_mb": 400})
    ours.close()
    done = subprocess.run(
        [sys.executable, "-m", "rlvr.reward.workers.worker", str(theirs.fileno()), settings],
        pass_fds=(theirs.fileno(),),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    theirs.close()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_step_of_toy_answers_is_fast(math_pool):
    """The toy's answers are decided as text: as many take less than what math-verify has to read."""

    def seconds(golds):
        requests = [
            GradeRequest(f"s{i}", gold, rf"{i} + 1 is the sum \boxed{{{i % 53}}}")
            for i, gold in enumerate(golds)
        ]
        math_pool.grade(requests)
        found = []
        for _ in range(5):
            started = time.perf_counter()
            math_pool.grade(requests)
            found.append(time.perf_counter() - started)
        return min(found)

    toy, read = seconds([str(i % 50) for i in range(64)]), seconds([f"x^2+{i}" for i in range(64)])
    assert toy < read


@pytest.mark.slow
def test_one_percent_of_hangs_costs_little_more_than_their_deadlines():
    count, workers, deadline = 2000, 2, 1.0
    requests = [GradeRequest(str(i), "x", "x") for i in range(count)]
    hanging = [GradeRequest(str(i), "x", "hang" if i % 100 == 50 else "x") for i in range(count)]
    with pool_of(workers, deadline, verifier="tests.helpers.misbehaving_verifiers:burn") as pool:
        pool.grade(requests[:200])
        started = time.perf_counter()
        pool.grade(requests)
        plain = time.perf_counter() - started
        started = time.perf_counter()
        verdicts = pool.grade(hanging)
        with_hangs = time.perf_counter() - started
    timed_out = [v.sample_id for v in verdicts.values() if v.outcome is Outcome.TIMED_OUT]
    assert timed_out == [str(i) for i in range(50, count, 100)]
    assert sum(v.correct for v in verdicts.values()) == count - len(timed_out)
    assert with_hangs < 3 * plain + 2 * len(timed_out) * deadline / workers  # other work shares the cores
