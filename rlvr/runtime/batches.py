"""What hands out the batches of a run: collected when they are asked for, or formed by a flow."""

from __future__ import annotations

from rlvr.config import Config
from rlvr.data.stream import PromptStream
from rlvr.reward.pool import GraderPool
from rlvr.rollout.collect import collect, training_sampling
from rlvr.rollout.feed import PromptFeed
from rlvr.rollout.flow_source import FlowSource
from rlvr.rollout.lanes import RayLanes
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.source import BatchSource, SyncSource
from rlvr.rollout.streaming.flow import FlowWindow
from rlvr.rollout.streaming.scheduler import Scheduler
from rlvr.runtime.checkpoint import TrainingState
from rlvr.types import RolloutBatch


def open_source(
    cfg: Config, engines: EnginePool, graders: GraderPool, stream: PromptStream, start: TrainingState
) -> BatchSource:
    """What hands out the batches from the start on: collected on the spot, or from a flow."""
    if cfg.rollout.staleness > 0:
        return _open_flow(cfg, engines, graders, stream, start)
    known = start.successes

    def collect_step(step: int, position: int) -> RolloutBatch:
        nonlocal known
        batch = collect(engines, graders, stream, cfg, position=position, step=step, known=known)
        known = batch.successes
        return batch

    return SyncSource(collect_step, start.data_position)


def _open_flow(
    cfg: Config, engines: EnginePool, graders: GraderPool, stream: PromptStream, start: TrainingState
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
    lanes = RayLanes(engines.handles, training_sampling(cfg), rollout.deadline_seconds)
    feed = PromptFeed(stream, cfg, position=start.data_position, pending=start.pending, known=start.successes)
    return FlowSource(lanes, scheduler, graders, feed, engines.tokenizer, cfg, version=start.step)
