"""What hands out the batches of a run: collected when they are asked for, or formed by a flow."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack

from rlvr.config import Config
from rlvr.data.stream import PromptStream
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.collect import collect, is_kept, training_sampling
from rlvr.rollout.flow.feed import PromptFeed
from rlvr.rollout.flow.growing import GrowingGroups
from rlvr.rollout.flow.lanes import RayLanes
from rlvr.rollout.flow.source import FlowSource
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.source import BatchSource, SyncSource
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.rollout.streaming.window import FlowWindow
from rlvr.runtime.checkpoints.buffer import READY_GROUPS, GroupBuffer, kept, usable
from rlvr.runtime.checkpoints.checkpoint import TrainingState
from rlvr.runtime.checkpoints.replay import Recorded, ReplaySource
from rlvr.runtime.disk.files import path_of
from rlvr.runtime.disk.folder import RunFolder
from rlvr.runtime.disk.settings import as_plain
from rlvr.runtime.keys import FREE, RECORDED, REMEDIES, without
from rlvr.types import Group, Prompt, RolloutBatch


def open_source(
    cfg: Config,
    engines: EnginePool,
    graders: GraderPool,
    stream: PromptStream,
    start: TrainingState,
    folder: RunFolder,
    stack: ExitStack,
) -> BatchSource:
    """What hands out the batches from the start on: collected on the spot, from a flow, or from another run's record.

    `stack` closes what a flow writes; the source itself is closed before it.
    """
    if cfg.rollout.replay is not None:
        return ReplaySource(
            Recorded(path_of(cfg.rollout.replay, "rollout.replay")), cfg, start.successes, engines.roster.say
        )
    if cfg.rollout.staleness > 0:
        return _open_flow(cfg, engines, graders, stream, start, folder, stack)
    known = start.successes

    def collect_step(step: int, position: int) -> RolloutBatch:
        nonlocal known
        batch = collect(engines, graders, stream, cfg, position=position, step=step, known=known)
        known = batch.successes
        return batch

    return SyncSource(collect_step, start.data_position)


def _open_flow(
    cfg: Config,
    engines: EnginePool,
    graders: GraderPool,
    stream: PromptStream,
    start: TrainingState,
    folder: RunFolder,
    stack: ExitStack,
) -> FlowSource:
    rollout, want = cfg.rollout, cfg.data.prompts_per_step
    window = FlowWindow(
        want=want,
        staleness=rollout.staleness,
        next_step=start.step + 1,
        last=cfg.steps,
        most_drawn=want * (rollout.max_rounds if rollout.dynamic_sampling else 1),
    )
    scheduler = Scheduler(
        window, samples_per_group=rollout.samples_per_prompt, capacity=rollout.max_concurrent
    )
    feed = PromptFeed(stream, cfg, position=start.data_position, pending=start.pending, known=start.successes)
    buffer = GroupBuffer(folder.path / READY_GROUPS, engines.roster.say)
    settings = settings_hash(cfg)
    folder.covered = buffer.covered
    stack.callback(buffer.close)
    return FlowSource(
        RayLanes(engines, training_sampling(cfg), rollout.stall_seconds),
        scheduler,
        GrowingGroups(graders, engines.tokenizer, cfg),
        feed,
        cfg,
        version=start.step,
        keep=lambda place, group: buffer.append(kept(place, group, settings)),
        restored=restore_groups(buffer, feed, window, start, cfg, settings),
    )


def restore_groups(
    buffer: GroupBuffer,
    feed: PromptFeed,
    window: FlowWindow,
    start: TrainingState,
    cfg: Config,
    settings: str,
) -> dict[int, tuple[int, Group]]:
    """What an earlier attempt has finished and this one may use, by number; the rest leaves the file."""
    found = buffer.read()
    by_place = {r.place: r for r in usable(found, start, cfg.rollout.staleness, settings)}
    groups: dict[int, Group] = {}

    def take(place: int, prompt: Prompt) -> bool:
        group = by_place[place].group(prompt) if place in by_place else None
        if group is not None:
            groups[place] = group
        return group is not None

    feed.give_back(max(by_place, default=-1), take)
    if buffer.path.exists():
        buffer.keep([by_place[place] for place in groups])
    if found:
        buffer.say(f"{len(groups)} of {len(found)} finished groups in {buffer.path} are taken up again")
    return {
        window.restore(by_place[place].oldest, signal=is_kept(group, cfg)): (place, group)
        for place, group in groups.items()
    }


def settings_hash(cfg: Config) -> str:
    """Of all that a checkpoint must share with the run that goes on from it."""
    matters = without(as_plain(cfg), FREE | REMEDIES | RECORDED)
    return hashlib.blake2b(json.dumps(matters, sort_keys=True).encode(), digest_size=8).hexdigest()
