"""An asynchronous run among faults: engines killed, stopped or out of their minds, graders lost, the driver killed.

One run that is killed and resumed again and again, so that its start is paid for once a fault. RLVR_TEST_KILLS says how
often (`make nightly`: 20); what is killed when depends on RLVR_TEST_SEED.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import defaultdict
from pathlib import Path

import psutil
import pytest

from rlvr.runtime.buffer import READY_GROUPS, Kept, read_line, usable
from rlvr.runtime.checkpoint import TrainingState, state_from
from tests.helpers.faulty_training import FOLDER, WAY
from tests.helpers.paths import REPOSITORY
from tests.helpers.processes import SMALL, Training

pytestmark = pytest.mark.e2e
KILLS = int(os.environ.get("RLVR_TEST_KILLS", "3"))
SEED = os.environ.get("RLVR_TEST_SEED", "1")
STALENESS, SAMPLES = 2, 4
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


def start(folder: Path, attempt: int) -> Training:
    return Training(
        (*ENDLESS, f"run.root={folder}"),
        {"PYTHONPATH": f"{REPOSITORY}:{folder}", FOLDER: str(folder), "PYTHONUNBUFFERED": "1"},
        module="tests.helpers.faulty_training",
        log=folder / f"attempt-{attempt}.log",
    )


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
    (folder / WAY).touch()
    run.wait_until_said("answered nonsense to ")
    run.wait_until_said("log-prob nan at token 0")
    run.wait_until_said("is back with the learner's weights", 2)


def lose_the_graders(run: Training, folder: Path) -> None:
    [template] = [
        child
        for child in psutil.Process(run.process.pid).children()
        if "rlvr.reward.worker" in " ".join(child.cmdline())
    ]
    template.kill()
    run.wait_until_said("the graders are started again")


FAULTS = {0: [kill_an_engine], 1: [stop_an_engine, have_nonsense_answered, lose_the_graders]}


def test_nothing_is_lost_or_doubled_whatever_is_killed(tmp_path: Path) -> None:
    (tmp_path / "own_verifier.py").write_text(
        "def parity(gold, response):\n    return len(response) % 2 == 0\n"
    )
    folder = tmp_path / "faults"
    left: Left = {}
    taken = 0
    for attempt in range(KILLS + 1):
        chance = random.Random(f"{SEED}/{attempt}")
        run = start(tmp_path, attempt)
        state = checkpoint(folder)
        if state is not None:
            run.wait_until_said("resumed from")
        done = state.step if state else 0
        run.wait_for(folder / "samples" / f"step_{done + 3:06d}.jsonl")  # after another checkpoint
        for fault in FAULTS.get(attempt, ()):
            fault(run, tmp_path)
        if attempt == KILLS:
            break
        done = len(list((folder / "samples").glob("step_*.jsonl")))
        run.wait_for(folder / "samples" / f"step_{done + chance.randint(0, 3):06d}.jsonl")
        time.sleep(chance.uniform(0, 1))
        run.signal(signal.SIGKILL)
        run.wait()
        assert run.leaves_nothing(), "actors outlived a killed driver"
        state = checkpoint(folder)
        assert state is not None
        taken += taken_up(left, check_dumps(folder, state))
        found = records(folder)
        kept = usable(found, state, STALENESS, found[0].settings) if found else []
        left = {s.id: (s.weight_version, s.token_ids) for record in kept for s in record.samples}
    run.signal(signal.SIGUSR1)
    code, output = run.wait()
    assert code == 75, output
    assert "Traceback" not in output
    assert run.leaves_nothing()
    state = checkpoint(folder)
    assert state is not None
    taken += taken_up(left, check_dumps(folder, state))
    assert taken > 0, "no group of an earlier attempt was trained on"
    print(f"{taken} samples of earlier attempts were trained on; {state.step} steps")
