"""The order in which a run's batches were formed, on record, and the same batches again, for a run that samples none.

<run>/batches.jsonl has one row a step: `Formed`. With the samples of that step it is the whole batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.config import Config
from rlvr.data.curriculum import learnt
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.checkpoints.resume import differences, of_today
from rlvr.runtime.disk.checkpoint_folders import step_name
from rlvr.runtime.disk.dumps import dump_files, dump_lines, read_sample, read_verdict
from rlvr.runtime.disk.folder import BATCHES
from rlvr.runtime.disk.rows import read_rows
from rlvr.runtime.disk.settings import CONFIG_FILE, UNREADABLE, as_plain, read_settings
from rlvr.runtime.keys import OF_A_REPLAY
from rlvr.types import Group, Problem, Prompt, RolloutBatch, Sample, Span, Successes

SHOWN = 5  # settings that differ, in a message


@dataclass(frozen=True, slots=True)
class Formed:
    """What the batch of a step was formed of, by the names of groups: a sample's id without its place in the group."""

    step: int
    groups: tuple[str, ...]  # trained on, in this order
    dropped: tuple[str, ...]  # without a signal, or surplus
    data_position: int  # these and the following: see `rlvr.types.RolloutBatch`
    pending: tuple[int, ...]
    prompts_drawn: int
    prompts_kept: int
    rounds: int
    short_of: int
    skipped: int
    samples: int | None = None  # of all these groups; None: written before there was this field


def formed(step: int, batch: RolloutBatch) -> Formed:
    """What goes on record of a batch."""
    return Formed(
        step,
        tuple(_group_name(group.samples[0].id) for group in batch.groups),
        tuple(_group_name(group.samples[0].id) for group in batch.dropped),
        batch.data_position,
        batch.pending,
        batch.prompts_drawn,
        batch.prompts_kept,
        batch.rounds,
        batch.short_of,
        batch.skipped,
        sum(len(group.samples) for group in (*batch.groups, *batch.dropped)),
    )


def _group_name(sample_id: str) -> str:
    return sample_id.rpartition("/")[0]


class Recorded:
    """The batches that a run has left in its folder.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        rows = read_rows(run / BATCHES)
        if not rows or not (run / CONFIG_FILE).is_file():
            raise ConfigError(
                f"rollout.replay={run}: no run's folder with {BATCHES}, which every training run writes; give "
                "<run.root>/<run.name>"
            )
        try:
            self.steps: dict[int, Formed] = {row["step"]: Formed(**row) for row in rows}
        except TypeError as error:
            raise ConfigError(
                f"rollout.replay={run}: its {BATCHES} is of another version of rlvr ({error})"
            ) from error
        try:
            self.settings = read_settings(run)
        except UNREADABLE as error:
            raise ConfigError(f"rollout.replay={run}: its {CONFIG_FILE} cannot be read ({error})") from error

    def check(self, first: int, last: int) -> None:
        """Refuse steps that are not there whole.

        Raises:
            ConfigError: some have no row, or no samples.
        """
        where = f"rollout.replay={self.run}"
        wanted = range(first, last + 1)
        if missing := [step for step in wanted if step not in self.steps]:
            raise ConfigError(
                f"{where}: has the batches of steps {min(self.steps)} to {max(self.steps)}, not of step {missing[0]}; "
                f"set steps to at most {missing[0] - 1}, or resume from a checkpoint"
            )
        if bare := [step for step in wanted if self._dump(step) is None]:
            raise ConfigError(
                f"{where}: has no samples of step {bare[0]}; only a run with run.dump_samples_every=1 can be replayed"
            )

    def changes(self, cfg: Config) -> list[str]:
        """Settings in which a run with this configuration differs from the recorded one."""
        return [
            f"{key} was {old!r}, is {new!r}"
            for key, old, new in differences(of_today(self.settings), of_today(as_plain(cfg)))
            if key not in OF_A_REPLAY
        ]

    def batch(self, step: int) -> RolloutBatch:
        """The batch of a step, graded, without what it took to collect it.

        Raises:
            DataError: its samples cannot be read, or are not those on record.
        """
        row, groups = self.steps[step], self._groups(step)
        named = [*row.groups, *row.dropped]
        if list(groups) != named:
            raise DataError(
                f"{self._dump(step)}: has the groups {_some(list(groups))} where {self.run / BATCHES} has "
                f"{_some(named)}: the files are of different runs"
            )
        every = list(groups.values())
        samples = sum(len(group.samples) for group in every)
        if row.samples not in (None, samples):
            raise DataError(
                f"{self._dump(step)}: has {samples} samples where {self.run / BATCHES} has {row.samples}; put the file "
                "back as the run wrote it"
            )
        return RolloutBatch(
            groups=tuple(every[: len(row.groups)]),
            dropped=tuple(every[len(row.groups) :]),
            data_position=row.data_position,
            pending=tuple(row.pending),
            prompts_drawn=row.prompts_drawn,
            prompts_kept=row.prompts_kept,
            rounds=row.rounds,
            short_of=row.short_of,
            skipped=row.skipped,
            generated_tokens=sum(len(s.token_ids) for g in every for s in g.samples),
        )

    def _dump(self, step: int) -> Path | None:
        return next(iter(dump_files(self.run / "samples", step_name(step))), None)

    def _groups(self, step: int) -> dict[str, Group]:
        """By name, in the order of the file."""
        path = self._dump(step)
        if path is None:
            raise DataError(f"rollout.replay={self.run}: the samples of step {step} are gone")
        rows: dict[str, list[dict[str, Any]]] = {}
        rollout = self.settings["rollout"]
        keeps = rollout["staleness"] > 0 and rollout["on_update"] == "keep"
        try:
            for row in map(json.loads, dump_lines(path)):
                rows.setdefault(_group_name(row["sample_id"]), []).append(row)
            return {
                name: Group(_prompt(own[0]), tuple(_sample(row, keeps=keeps) for row in own))
                for name, own in rows.items()
            }
        except (KeyError, ValueError, DataError) as error:
            raise DataError(f"{path}: cannot be replayed ({type(error).__name__}: {error})") from error


def _prompt(row: dict[str, Any]) -> Prompt:
    problem = Problem(row["problem_id"], row["question"], row["answer"], row["source"])
    return Prompt(problem, tuple(row["prompt_ids"]))


def _sample(row: dict[str, Any], *, keeps: bool) -> Sample:
    """A sample from its row; with `keeps`, tokens of later versions have read keys and values of earlier ones."""
    spans = row.get("version_spans") or [[row["weight_version"], 0]]
    return read_sample(
        row,
        np.asarray(row["logprobs"], dtype=np.float32),
        tuple(Span(version, start, own_context=start == 0 or not keeps) for version, start in spans),
        None if row["verdict"] is None else read_verdict(row),
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


class ReplaySource:
    """Hands out recorded batches; see `rlvr.rollout.source.BatchSource`."""

    beside = None

    def __init__(
        self, recorded: Recorded, cfg: Config, known: Successes, say: Callable[[str], object]
    ) -> None:
        self._recorded, self._cfg, self._known = recorded, cfg, known
        changes = recorded.changes(cfg)
        say(
            f"replays the batches of {recorded.run}; nothing is sampled for training. Settings: "
            + ("; ".join(changes) if changes else "the same")
        )

    def next(self, step: int) -> RolloutBatch:
        batch = self._recorded.batch(step)
        self._known = learnt(self._known, (*batch.groups, *batch.dropped), self._cfg)
        return replace(batch, successes=self._known)

    def trained(self, step: int) -> None:
        """Nothing runs ahead, so nothing waits for this."""

    def paused(self, what: str) -> AbstractContextManager[None]:
        """Nothing is generated between two batches."""
        return nullcontext()

    def close(self) -> None:
        """Nothing runs in the background."""
