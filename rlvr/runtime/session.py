"""Everything a training run holds open: Ray, engines, learner, graders, data, folder and tracker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from rlvr.advantage.token import TokenPlugin
from rlvr.cluster.board import reports
from rlvr.config import Config
from rlvr.data.models.end_tokens import save_tokenizer
from rlvr.data.models.identity import identities
from rlvr.data.stream import EvalSet, PromptStream
from rlvr.errors import EmptyBatchError, VerifierError
from rlvr.learner.group import LearnerGroup
from rlvr.learner.loss import IN_REWARD, build_objective
from rlvr.learner.scoring import needed_signals
from rlvr.learner.teacher import advises
from rlvr.metrics import compared_tokens
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.collect import truncation_note
from rlvr.rollout.diagnose import diagnose, refuse_unusable, remedies, seen, why_nothing_is_learnt
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.source import BatchSource
from rlvr.runtime.actors import Actors, start_actors
from rlvr.runtime.batches import open_source
from rlvr.runtime.beginning import find_start, settle_cores, settle_latest, take_folder
from rlvr.runtime.checkpoints.checkpoint import TrainingState, restore, save_checkpoint
from rlvr.runtime.checkpoints.replay import formed
from rlvr.runtime.disk.checkpoint_folders import step_name
from rlvr.runtime.disk.files import replacing_folder
from rlvr.runtime.disk.folder import RunFolder, run_folder
from rlvr.runtime.disk.summary import ChangedSetting, Summary
from rlvr.runtime.evaluation import EvalReport
from rlvr.runtime.inputs import TrainingInputs, read_inputs
from rlvr.runtime.pause import listen_for_pause
from rlvr.runtime.planning.fit import planned
from rlvr.runtime.preflight import preflight
from rlvr.runtime.probe import probe
from rlvr.runtime.pushing import Pusher, open_pusher
from rlvr.runtime.tracking.tracker import Tracker
from rlvr.runtime.tracking.waiting import StartConsole
from rlvr.stats.student import interval_text
from rlvr.sync.gate import comparison_note, largest_mismatch
from rlvr.sync.sent import Sent
from rlvr.timing import Stopwatch
from rlvr.types import Batch, Group, RolloutBatch
from rlvr.validate import validate


@dataclass(slots=True)
class Session:
    """The open parts of a run. Built by `open_session`, used by the loop, closed in reverse order."""

    cfg: Config
    plugin: TokenPlugin
    folder: RunFolder
    tracker: Tracker
    engines: EnginePool
    learner: LearnerGroup
    graders: GraderPool
    eval_sets: tuple[EvalSet, ...]
    stream: PromptStream
    mixture: tuple[str, ...]  # the training sources, where there are several
    source: BatchSource
    pusher: Pusher
    pause: threading.Event  # set by SIGUSR1: checkpoint at the end of the step, then stop
    start: TrainingState
    resumed_from: str | None
    changes: tuple[ChangedSetting, ...]  # of settings, since the start of the run
    versions: dict[str, str]
    setup_seconds: float
    loop: Stopwatch  # runs from when the loop could begin
    diagnosed: bool = False  # whether the reason why a step teaches nothing has been told at length

    def advance(
        self, state: TrainingState, step: int, rollout: RolloutBatch, mismatch: float | None
    ) -> TrainingState:
        """The state after a step; `mismatch` is None where the gate had nothing to compare."""
        compared = state.compared_steps
        return replace(
            state,
            step=step,
            data_position=rollout.data_position,
            successes=rollout.successes,
            pending=rollout.pending,
            tokens_generated=state.tokens_generated + rollout.generated_tokens,
            max_logprob_mismatch=max(state.max_logprob_mismatch, mismatch or 0.0),
            compared_steps=None if compared is None else compared + (mismatch is not None),
            train_seconds=self.start.train_seconds + self.loop.seconds,
        )

    @property
    def busy_seconds(self) -> float:
        """Seconds that actors have spent working so far; the rest of a synchronous step is overhead."""
        return self.engines.busy_seconds + self.learner.busy_seconds

    def push(self, version: int) -> Sent | None:
        """Bring the engines to the learner's weights, while nothing is generated; what was sent."""
        what = f"push of weight version {version}"
        with self.source.paused(what), self.engines.exclusive(what):
            self.pusher.push(version)
        return self.learner.sent

    def to_compare(self, batch: Batch, version: int) -> Batch:
        """The batch as weights `version` scored it, or a probe where none of its tokens comes from them."""
        if self.cfg.rollout.staleness == 0 or compared_tokens(batch, version).any():
            return batch
        return probe(self.cfg, self.engines.generate, self.learner, self.stream, str(version + 1))

    def dump(self, step: int, groups: Sequence[Group], rollout: RolloutBatch) -> None:
        """Write what the batch of the step was formed of, and its responses, if they are due."""
        self.folder.append_batch(asdict(formed(step, rollout)))
        every = self.cfg.run.dump_samples_every
        if every and step % every == 0:
            self.folder.dump_later(step_name(step), [*groups, *rollout.dropped])

    @contextmanager
    def keeping(self, state: TrainingState) -> Iterator[None]:
        """Write a checkpoint where responses that cannot be used end the run inside the block."""
        try:
            yield
        except (VerifierError, EmptyBatchError):
            if state.step > self.start.step:
                save_checkpoint(self.folder, state, self.cfg, self.learner.save)
            raise

    def check_rollout(self, step: int, rollout: RolloutBatch, state: TrainingState) -> None:
        """Stop where the responses of a step cannot be learned from; they, and what was learnt, are on disk then.

        Says so where dynamic sampling could not fill the batch, and where every advantage is 0.

        Raises:
            VerifierError: the verifier failed on too many of them.
            EmptyBatchError: dynamic sampling kept no group.
        """
        samples_file = self.folder.path / "samples" / f"{step_name(step)}.jsonl"
        with self.keeping(state):
            try:
                refuse_unusable(step, rollout, self.cfg, samples_file)
            except (VerifierError, EmptyBatchError):
                with self.folder.writing():
                    self.folder.dump_samples(samples_file.stem, [*rollout.groups, *rollout.dropped])
                raise
        if rollout.short_of:
            self.tracker.note(
                f"WARNING step {step}: dynamic sampling kept {len(rollout.groups)} of "
                f"{self.cfg.data.prompts_per_step} groups after {rollout.rounds} rounds (acceptance "
                f"{rollout.acceptance:.0%}); training on the partial batch. rollout.max_rounds sets the cap."
            )
        loss = self.cfg.loss
        # A KL penalty in the rewards tells equal ones apart, and a teacher does without rewards.
        apart = loss.kl_in == IN_REWARD or advises(loss)
        weighs = not apart and build_objective(loss.objective, loss.options).reads_advantages
        if weighs and (why := why_nothing_is_learnt(rollout, self.cfg)):
            self._tell_why(f"WARNING step {step}: {why}", rollout, samples_file)

    def _tell_why(self, what: str, rollout: RolloutBatch, samples_file: Path) -> None:
        """Say why a step teaches nothing: the first time with all remedies and the responses on disk, then in short."""
        if self.diagnosed:
            short = f"{seen(rollout.samples)}. Most likely: {remedies(rollout.samples, self.cfg)[0]}"
            return self.tracker.note(f"{what}; {short}")
        self.diagnosed = True
        with self.folder.writing():
            self.folder.dump_samples(samples_file.stem, [*rollout.groups, *rollout.dropped])
        self.tracker.note(
            f"{what}; {diagnose(rollout.samples, self.cfg)}\nThe step's responses are in {samples_file}."
        )

    def finish(self, state: TrainingState, reports: Sequence[EvalReport]) -> Summary:
        """Export the policy, write summary.json and say where everything lies."""
        train_seconds = self.start.train_seconds + self.loop.seconds
        if self.cfg.run.export:
            # An earlier policy, of a run that has gone on since, is never half of the new one.
            with self.folder.writing(), replacing_folder(self.folder.policy) as draft:
                self.learner.export(str(draft.absolute()))
                save_tokenizer(self.engines.tokenizer, draft, self.cfg.rollout.stop_token_ids)
        self.folder.finish_dumps()
        first = reports[0]
        summary = Summary(
            recipe=self.cfg.recipe,
            model=self.cfg.model.path,
            data=self.cfg.data.label,
            seed=self.cfg.seed,
            steps=state.step,
            eval_accuracy_before=state.eval_before[first.name],
            eval_accuracy_after=first.accuracy,
            eval_accuracy_ci95=(first.ci_low, first.ci_high),
            eval_sets={
                r.name: {
                    "before": state.eval_before[r.name],
                    "after": r.accuracy,
                    "ci_low": r.ci_low,
                    "ci_high": r.ci_high,
                }
                for r in reports
            },
            train_seconds=round(train_seconds, 2),
            setup_seconds=round(self.setup_seconds, 2),
            tokens_generated=state.tokens_generated,
            max_logprob_mismatch=largest_mismatch(state.max_logprob_mismatch, state.compared_steps),
            resumed_from=self.resumed_from,
            versions=self.versions,
            folder=str(self.folder.path),
            mismatch_compared_steps=state.compared_steps,
            changes=self.changes,
            models=state.models,
        )
        self.folder.write_summary(summary)
        if note := comparison_note(state.compared_steps, state.step):
            self.tracker.note(note)
        self.tracker.close(asdict(summary))
        print(
            f"done: accuracy on {first.name} {summary.eval_accuracy_before:.3f} -> "
            f"{interval_text(first.accuracy, first.ci_low, first.ci_high, level='95% ')} in {train_seconds:.0f} s of "
            f"training; metrics, samples, checkpoints and policy in {self.folder.path}"
        )
        return summary


@contextmanager
def open_session(cfg: Config) -> Iterator[Session]:
    """Check the configuration, start everything, and end it again whatever happens.

    Raises:
        ConfigError: the configuration, the model or the data cannot work; nothing has been started.
        MismatchError: engines and learner disagree before the first step.
    """
    pause = listen_for_pause()
    plan, plugin = validate(cfg)
    folder = run_folder(cfg, cfg.recipe)
    cfg = settle_latest(cfg, folder)
    with ExitStack() as stack:
        console = stack.enter_context(StartConsole(cfg.tracking.console, reports))
        with console.waiting.phase("reading tokenizer and data"):
            inputs, models = read_inputs(cfg), identities(cfg.model)
            fits = planned(cfg, needed_signals(plugin, cfg.loss, cfg.tracking.signals))
        checkpoint, start, notes = find_start(cfg, folder, inputs, models)
        cfg, cores = settle_cores(cfg, checkpoint)
        stack.callback(folder.release)
        changes, goes_on = take_folder(cfg, folder, checkpoint, start.step)
        tracker = Tracker(cfg, folder, start.step + 1, console, goes_on=goes_on)
        stack.callback(tracker.close)
        stack.callback(folder.finish_dumps)
        said = (str(plan), fits, cores, inputs.formats, truncation_note(cfg))
        tracker.note("\n".join(filter(None, said)))
        actors = start_actors(cfg, inputs, plugin, folder, tracker, stack)
        pusher = open_pusher(cfg, actors.engines, actors.learner, inputs.stream, tracker.note)
        _compare(cfg, actors, inputs, plugin, tracker)
        if checkpoint is not None:
            with tracker.phase("reading the checkpoint"):
                restore(checkpoint, actors.learner.load)
            tracker.note(f"resumed from {checkpoint} after step {start.step}")
            for note in (*notes, *(f"changed on the way: {change}" for change in changes)):
                tracker.note(note)
        pusher.push(start.step)
        source = open_source(cfg, actors.engines, actors.graders, inputs.stream, start, folder, stack)
        stack.callback(source.close)
        pusher.pausing = source.paused
        yield Session(
            cfg=cfg,
            plugin=plugin,
            folder=folder,
            tracker=tracker,
            engines=actors.engines,
            learner=actors.learner,
            graders=actors.graders,
            eval_sets=inputs.eval_sets,
            stream=inputs.stream,
            mixture=tuple(part.name for part in inputs.stream.parts if len(inputs.stream.parts) > 1),
            source=source,
            pusher=pusher,
            pause=pause,
            start=start,
            resumed_from=None if checkpoint is None else str(checkpoint),
            changes=changes,
            versions=actors.versions,
            setup_seconds=time.time() - psutil.Process().create_time(),
            loop=Stopwatch(),
        )


def _compare(
    cfg: Config, actors: Actors, inputs: TrainingInputs, plugin: TokenPlugin, tracker: Tracker
) -> None:
    """Engines against learner before the first step, unless that is switched off."""
    if cfg.sync.preflight:
        with tracker.phase("preflight: a small batch through every stage"):
            preflight(
                cfg, actors.engines, actors.learner, actors.graders, inputs.stream, plugin, tracker.note
            )
