"""Cross-sampling: `python -m rlvr.cross_sample run=runs/latest budgets=0.02,0.05`.

Two models write each response together, token by token on the mixed prefix: the next token comes from the
intervening model where a switch rule says so, and from the primary model elsewhere. Forward: base is primary
and the policy intervenes; reverse: the other way round. The rule of interest switches where the Jensen-Shannon
divergence of the two is above a threshold; the controls switch as many tokens at random positions, where the
primary's entropy is high, or at the start. See rlvr/analysis/cross/config.py for every key.

A list may be written without brackets: rules=js,random budgets=0.02,0.05 data=aime24,own:problems.jsonl
Writes budgets.csv, cross_sampling.json and every response; started again, it skips what is finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rlvr.analysis.cross.config import CrossSampleConfig, check
from rlvr.analysis.cross.decoder import MixedSampling
from rlvr.analysis.cross.experiment import Experiment, describe, planned
from rlvr.analysis.cross.inputs import CrossInputs, read_inputs
from rlvr.analysis.cross.records import BudgetRow, Part, budget_rows
from rlvr.analysis.cross.store import FORMAT, Store
from rlvr.analysis.cross.workers import DecodePool, WorkerSpec
from rlvr.analysis.models import identity
from rlvr.analysis.progress import PartsDone
from rlvr.analysis.run import require_verifiers
from rlvr.analysis.store import versions_of
from rlvr.cli.cross_sample_arguments import LINE, expand_arguments
from rlvr.cli.entry import command_entry
from rlvr.locks import exclusive
from rlvr.reward.pool import GraderPool, open_grader_pool
from rlvr.rollout.stop import Ends


def cross_sample(cfg: CrossSampleConfig) -> list[BudgetRow]:
    """Run every part that is not finished yet and write the figures of all; returns the rows of budgets.csv.

    Raises ConfigError or DataError before any model is loaded if the configuration, the models' vocabularies
    or the data cannot be used or another process is writing to the output, and RlvrError where it cannot be written.
    """
    check(cfg)
    inputs = read_inputs(cfg)
    with exclusive(inputs.output):
        return _all_parts(cfg, inputs)


def _all_parts(cfg: CrossSampleConfig, inputs: CrossInputs) -> list[BudgetRow]:
    store = Store(inputs.output, settings_of(cfg, inputs))
    keys = planned(cfg)
    finished = [part for key in keys if (part := store.read(key.name)) is not None]
    for part in finished:
        print(f"{describe(part)} [kept]")
    versions = versions_of("rlvr", "torch", "transformers", "ray", "math-verify")
    if len(finished) == len(keys):
        return _summarise(store, finished, cfg, versions)
    require_verifiers(inputs.reward, [prompt.problem.rules for prompt in inputs.prompts])
    with (
        _open_pool(cfg, inputs) as pool,
        _open_graders(cfg, inputs) as graders,
        PartsDone("cross-sampling", len(keys), len(finished)) as progress,
    ):
        experiment = Experiment(cfg, inputs, store, pool, graders, progress.done)
        for parts in experiment.run(keys):
            rows = _summarise(store, parts, cfg, versions)
    print(f"{len(rows)} budgets in {inputs.output}/budgets.csv, responses in {inputs.output}/samples")
    return rows


def settings_of(cfg: CrossSampleConfig, inputs: CrossInputs) -> dict[str, Any]:
    """What the responses depend on: results are kept as long as none of it changes.

    Batch, actors and threads are not part of it, nor are the budgets: each budget is a result of its own.
    """
    problems = [[p.id, p.problem.answer, list(p.token_ids)] for p in inputs.prompts]
    return {
        "format": FORMAT,
        "base": identity(inputs.base),
        "policy": identity(inputs.policy),
        "dtype": inputs.dtype,
        "sets": inputs.sets,
        "problems": hashlib.sha256(repr(problems).encode()).hexdigest()[:16],
        "samples": cfg.samples,
        "max_tokens": inputs.max_tokens,
        "temperature": cfg.temperature,
        "top_p": cfg.top_p,
        "js_top_p": cfg.js_top_p,
        "seed": cfg.seed,
        "stop_ids": list(inputs.stop_ids),
        **({"ends": asdict(inputs.ends)} if inputs.ends != Ends() else {}),
        "pilot": [cfg.pilot_problems, cfg.pilot_samples, cfg.pilot_rounds],
        "grading": [
            inputs.reward.policy,
            inputs.reward.verifier,
            inputs.reward.truncated_can_be_correct,
        ],
    }


def _open_pool(cfg: CrossSampleConfig, inputs: CrossInputs) -> DecodePool:
    sampling = MixedSampling(
        temperature=cfg.temperature,
        top_p=cfg.top_p,
        js_top_p=cfg.js_top_p,
        max_tokens=inputs.max_tokens,
        stop_ids=inputs.stop_ids,
        seed=cfg.seed,
        ends=inputs.ends,
    )
    spec = WorkerSpec(
        base=inputs.base,
        policy=inputs.policy,
        dtype=inputs.dtype,
        trust_remote_code=inputs.trust_remote_code,
        device="cuda" if cfg.gpus_per_actor > 0 else "cpu",
        sampling=sampling,
        batch=cfg.batch,
    )
    return DecodePool(spec, cfg)


def _open_graders(cfg: CrossSampleConfig, inputs: CrossInputs) -> GraderPool:
    return open_grader_pool(
        inputs.reward,
        [prompt.problem.rules for prompt in inputs.prompts],
        workers=cfg.grading_workers,
        save_folder=inputs.output,
    )


def _summarise(
    store: Store, parts: Sequence[Part], cfg: CrossSampleConfig, versions: dict[str, str]
) -> list[BudgetRow]:
    rows = budget_rows(parts)
    store.write_summary(parts, rows, asdict(cfg), versions)
    return rows


main = command_entry(LINE, cross_sample, expand_arguments)

if __name__ == "__main__":
    main()
