"""Train a policy: `python -m rlvr.train recipe=dapo_divweight`.

This file is the whole loop. Records move through numbered stages; Ray actors behind `engines` (vLLM) and
`learner` (DeepSpeed) do the heavy work.
"""

from __future__ import annotations

from dataclasses import replace

from rlvr.advantage.group import group_advantage
from rlvr.cli.entry import hydra_entry
from rlvr.config import Config
from rlvr.errors import PausedError
from rlvr.learner.packing import pack
from rlvr.learner.shaping import shaped_advantage
from rlvr.metrics import step_metrics
from rlvr.runtime.checkpoints.checkpoint import TrainingState, save_checkpoint
from rlvr.runtime.diagnostics import diagnostics
from rlvr.runtime.disk.summary import Summary
from rlvr.runtime.readings import evaluate_again, evaluate_between, evaluate_last, evaluate_now
from rlvr.runtime.session import Session, open_session
from rlvr.seeding import derived_seed
from rlvr.sync.gate import check_mismatch
from rlvr.timing import PhaseClock


def train(cfg: Config) -> Summary:
    """Run a configuration from start (or checkpoint) to summary."""
    with open_session(cfg) as session:
        before = session.start.eval_before or {r.name: r.accuracy for r in evaluate_now(session, 0)}
        evaluate_again(session)
        state = train_steps(session, before)
        return session.finish(state, evaluate_last(session, state))


def train_steps(s: Session, eval_before: dict[str, float]) -> TrainingState:
    """The loop: every step goes once through the stages, in this order."""
    cfg, state, version = s.cfg, replace(s.start, eval_before=eval_before), s.start.step
    for step in range(s.start.step + 1, cfg.steps + 1):
        clock, busy = PhaseClock(), s.busy_seconds
        progress, seed = (step - 1) / cfg.steps, derived_seed(cfg.seed, "step", step)
        with clock.phase("rollout"):
            rollout = s.source.next(step)  # 1-3: prompts, responses, rewards, dynamic sampling
        s.check_rollout(step, rollout, state)  # a failing verifier, or no group to learn from
        with clock.phase("advantage"):
            groups = group_advantage(rollout.groups, cfg.advantage)  # 4: one number per sample
            batch = pack(groups)  # 5: flat token arrays
        with clock.phase("score"):
            batch = s.learner.score(batch)  # 6: old log-probs, divergences
            fresh = s.to_compare(batch, version)
        mismatch = check_mismatch(fresh, version, cfg.sync, cfg.model.dtype, s.tracker.note)
        with clock.phase("advantage"):  # 7: the plug-in, one number per token
            groups, batch = shaped_advantage(groups, batch, cfg, s.plugin, progress=progress, seed=seed)
        with clock.phase("update"):
            stats = s.learner.step(batch, seed=seed, progress=progress)  # 8: loss and optimiser
        with clock.phase("push"):
            sent = s.push(step)  # 9: weights to the engines
        s.source.trained(step)
        metrics = step_metrics(rollout, batch, stats, clock, version, s.busy_seconds - busy, fresh, sent)
        s.tracker.step(step, metrics | diagnostics(rollout, batch, cfg, s.mixture))
        s.dump(step, groups, rollout)
        version, state = step, evaluate_between(s, s.advance(state, step, rollout, mismatch))
        pausing = s.pause.is_set() and step < cfg.steps
        if pausing or step == cfg.steps or (cfg.run.save_every and step % cfg.run.save_every == 0):
            save_checkpoint(s.folder, state, cfg, s.learner.save)
        if pausing:
            raise PausedError(f"stopped by SIGUSR1 after step {step} of {cfg.steps}; run.resume=auto goes on")
    return state


main = hydra_entry(train, sweep_module="rlvr.train")

if __name__ == "__main__":
    main()
