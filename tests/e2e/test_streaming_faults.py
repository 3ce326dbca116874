"""An asynchronous run among faults: engines killed, stopped or broken, graders, nodes and the driver lost.

One run that is killed and resumed again and again, so that its start is paid for once a fault. RLVR_TEST_KILLS says how
often (`make nightly`: 20) and has nodes lost, a model broken and starts killed as well; what is killed when depends on
RLVR_TEST_SEED, and is printed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rlvr.errors import EXIT_LOST, EXIT_PAUSED
from rlvr.runtime.checkpoints.buffer import READY_GROUPS, Kept, read_line, usable
from rlvr.runtime.checkpoints.checkpoint import TrainingState, state_from
from tests.helpers.faulty_training import BROKEN_MODEL, FOLDER, NONSENSE
from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import SMALL, Training
from tests.helpers.ray_nodes import RayNodes

pytestmark = pytest.mark.e2e
KILLS = int(os.environ.get("RLVR_TEST_KILLS", "3"))
NIGHTLY = "RLVR_TEST_KILLS" in os.environ
SEED = os.environ.get("RLVR_TEST_SEED", "1")
STALENESS, SAMPLES = 2, 4
Fault = Callable[[Training, Path], None]
Left = dict[
    str, tuple[int, tuple[int, ...]]
]  # sample id -> oldest version and tokens, of what a resumed run may use
ENDLESS = (
    *SMALL,
    "steps=1000000",
    "learner.lr=1e-9",  # it never learns the task: without a signal the run would end
    "eval.every=0",
    "sync.preflight=false",
    "rollout.engines=2",
    f"rollout.staleness={STALENESS}",
    f"rollout.samples_per_prompt={SAMPLES}",
    "rollout.dynamic_sampling=true",
    "rollout.stall_seconds=20",
    "sync.deadline_seconds=60",
    "rollout.restarts=1000000",  # a busy machine may look like a stopped engine
    "loss.rollout_correction=2.0",
    "reward.verifier=own_verifier:parity",  # is asked in a worker, always
    "run.save_every=2",
    "run.name=faults",
    "run.resume=auto",
)


def environment(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{REPOSITORY}:{folder}", FOLDER: str(folder), "PYTHONUNBUFFERED": "1"}


def start(folder: Path, attempt: int, nodes: RayNodes | None = None) -> Training:
    where = (f"cluster.address={nodes.address}",) if nodes else ()
    return Training(
        (*ENDLESS, *where, f"run.root={folder}"),
        environment(folder) | ({"RAY_AUTH_MODE": "disabled"} if nodes else {}),
        module="tests.helpers.faulty_training",
        log=folder / f"attempt-{attempt}.log",
    )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[RayNodes]:
    folder = Path(tempfile.mkdtemp(prefix="rlvr"))
    nodes = RayNodes(folder, environment(tmp_path))
    yield nodes
    nodes.end()
    shutil.rmtree(folder, ignore_errors=True)


def checkpoint(run: Path) -> TrainingState | None:
    """The newest."""
    found = sorted((run / "checkpoints").glob("step_*"))
    return state_from(json.loads((found[-1] / "state.json").read_text())) if found else None


def records(run: Path) -> list[Kept]:
    """What the file of finished groups has; a kill may have torn its last line."""
    lines = (run / READY_GROUPS).read_bytes().splitlines(keepends=True)
    found = [read_line(line) for line in lines]
    assert None not in found[:-1]
    return [record for record in found if record is not None]


def dumps(run: Path, until: int) -> dict[int, list[dict]]:
    """The samples of every step that a checkpoint covers."""
    return {
        step: [
            json.loads(line) for line in (run / "samples" / f"step_{step:06d}.jsonl").read_text().splitlines()
        ]
        for step in range(1, until + 1)
    }


def check_dumps(run: Path, state: TrainingState) -> dict[str, dict]:
    """Every prompt of the stream is in one batch or pending, whole, and no token is too old; returns rows by id."""
    steps: dict[int, set[int]] = defaultdict(set)  # of a place in the stream
    rows: dict[str, dict] = {}
    for step, samples in dumps(run, state.step).items():
        for row in samples:
            steps[int(row["sample_id"].partition("/")[0])].add(step)
            assert row["sample_id"] not in rows, f"{row['sample_id']} is in two batches"
            rows[row["sample_id"]] = row
            versions = [version for version, _ in row.get("version_spans", ())] or [row["weight_version"]]
            assert step - 1 - STALENESS <= min(versions) <= max(versions) <= step - 1, row["sample_id"]
            assert len(row["logprobs"]) == len(row["response_ids"]) > 0
            assert all(value <= 0 for value in row["logprobs"])  # no nonsense came through
    assert all(len(found) == 1 for found in steps.values())
    assert len(rows) == SAMPLES * len(steps)
    assert sorted([*steps, *state.pending]) == list(range(state.data_position))
    return rows


def taken_up(left: Left, rows: dict[str, dict]) -> int:
    """How many samples were in the file at a kill and in a batch of a resumed run, where they must be the same."""
    names = left.keys() & rows.keys()
    for name in names:
        assert (rows[name]["weight_version"], tuple(rows[name]["response_ids"])) == left[name]
    return len(names)


def kill_an_engine(run: Training, folder: Path) -> None:
    run.actor("engine-1").send_signal(signal.SIGKILL)
    run.wait_until_said("engine-1 is back with the learner's weights")


def stop_an_engine(run: Training, folder: Path) -> None:
    run.actor("engine-0").send_signal(signal.SIGSTOP)
    run.wait_until_said("it holds ")
    run.wait_until_said("engine-0 is back with the learner's weights")


def have_nonsense_answered(run: Training, folder: Path) -> None:
    (folder / NONSENSE).touch()
    run.wait_until_said("answered nonsense to ")
    run.wait_until_said("log-prob nan at token 0")
    run.wait_until_said("is back with the learner's weights", 2)


def break_a_model(run: Training, folder: Path) -> None:
    (folder / BROKEN_MODEL).touch()
    run.wait_until_said("its step failed")
    run.wait_until_said("IndexError: planted: block table out of range")
    run.wait_until_said("is back with the learner's weights", 2)


def lose_the_graders(run: Training, folder: Path) -> None:
    [template] = [
        child
        for child in psutil.Process(run.process.pid).children()
        if "rlvr.reward.workers.worker" in " ".join(child.cmdline())
    ]
    template.kill()
    run.wait_until_said("the graders are started again")


def lose_nodes(run: Training, nodes: RayNodes, samples: Path) -> None:
    """The node of an engine is lost, another comes; then that of the learner, which ends the run."""
    assert len({nodes.of(name) for name in ("engine-0", "engine-1", "learner-0")}) == 3
    nodes.lose(nodes.of("engine-1"))
    run.wait_until_said("engine-1 is lost and started again")
    run.wait_until_said("engine-1 has no process yet: the Ray cluster has ")
    done = len(list(samples.glob("step_*.jsonl")))
    run.wait_for(samples / f"step_{done + 3:06d}.jsonl")  # with the engine that is left
    nodes.start("fourth", cpus=1)
    run.wait_until_said("engine-1 is back with the learner's weights")
    assert nodes.of("engine-1") == "fourth"
    done = len(list(samples.glob("step_*.jsonl")))
    run.wait_for(samples / f"step_{done + 2:06d}.jsonl")
    nodes.lose(nodes.of("learner-0"))
    code, output = run.wait()
    assert code == EXIT_LOST, output
    assert "Traceback" not in output
    assert not nodes.actors()


def pause(run: Training) -> None:
    run.signal(signal.SIGUSR1)
    code, output = run.wait()
    assert code == EXIT_PAUSED, output
    assert "Traceback" not in output


def kill_at_a_random_moment(run: Training, samples: Path, chance: random.Random) -> None:
    done = len(list(samples.glob("step_*.jsonl")))
    steps, seconds = chance.randint(0, 3), chance.uniform(0, 1)
    print(f"seed {SEED}: SIGKILL {seconds:.2f} s after step {done + steps} is written", flush=True)
    run.wait_for(samples / f"step_{done + steps:06d}.jsonl")
    kill_after(run, seconds)


def kill_after(run: Training, seconds: float) -> None:
    time.sleep(seconds)
    run.signal(signal.SIGKILL)
    run.wait()


FAULTS = {
    0: [kill_an_engine, *([break_a_model] if NIGHTLY else [])],
    1: [stop_an_engine, have_nonsense_answered, lose_the_graders],
    2: [],
}


def faults_of(attempt: int, chance: random.Random) -> list[Fault]:
    """All of them in the first attempts, then one in two."""
    some: list[Fault] = [kill_an_engine, lose_the_graders]
    return FAULTS[attempt] if attempt in FAULTS else chance.sample(some, chance.randint(0, 1))


def test_nothing_is_lost_or_doubled_whatever_is_killed(tmp_path: Path, nodes: RayNodes) -> None:
    (tmp_path / "own_verifier.py").write_text(
        "def parity(gold, response):\n    return len(response) % 2 == 0\n"
    )
    folder = tmp_path / "faults"
    left: Left = {}
    taken = 0
    for attempt in range(KILLS + 1):
        chance = random.Random(f"{SEED}/{attempt}")
        last = attempt == KILLS
        on_nodes = last and NIGHTLY
        if on_nodes:
            nodes.start("head", cpus=0)
            for name in ("first", "second", "third"):
                nodes.start(name, cpus=1)
        run = start(tmp_path, attempt, nodes if on_nodes else None)
        if attempt not in FAULTS and not last and chance.random() < 0.25:
            seconds = chance.uniform(0, 30)
            print(f"seed {SEED}, attempt {attempt}: SIGKILL {seconds:.2f} s after its start", flush=True)
            kill_after(run, seconds)
        else:
            state = checkpoint(folder)
            if state is not None:
                run.wait_until_said("resumed from")
            done = state.step if state else 0
            run.wait_for(folder / "samples" / f"step_{done + 3:06d}.jsonl")  # after another checkpoint
            for fault in () if last else faults_of(attempt, chance):
                print(f"seed {SEED}, attempt {attempt}: {fault.__name__}", flush=True)
                fault(run, tmp_path)
            if on_nodes:
                lose_nodes(run, nodes, folder / "samples")
            elif last:
                pause(run)
            else:
                kill_at_a_random_moment(run, folder / "samples", chance)
        assert run.leaves_nothing(), "actors outlived a killed driver"
        state = checkpoint(folder)
        assert state is not None
        taken += taken_up(left, check_dumps(folder, state))
        found = records(folder)
        kept = usable(found, state, STALENESS, found[0].settings) if found else []
        left = {s.id: (s.weight_version, s.token_ids) for record in kept for s in record.samples}
    assert taken > 0, "no group of an earlier attempt was trained on"
    print(f"{taken} samples of earlier attempts were trained on; {state.step} steps")
