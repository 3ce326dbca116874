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
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rlvr.analysis.cross.config import CrossSampleConfig, check
from rlvr.analysis.cross.decoder import Sampling
from rlvr.analysis.cross.experiment import (
    ENDPOINTS,
    Experiment,
    describe,
    directions,
    levels,
    ordered_rules,
    part_names,
)
from rlvr.analysis.cross.inputs import Inputs, read_inputs
from rlvr.analysis.cross.statistics import BudgetRow, Part, budget_rows
from rlvr.analysis.cross.store import FORMAT, Store
from rlvr.analysis.cross.workers import DecodePool, WorkerSpec
from rlvr.analysis.run_inputs import require_verifier
from rlvr.cli.cross_sample_arguments import LINE, expand_arguments
from rlvr.cli.entry import command_entry
from rlvr.locks import exclusive
from rlvr.reward.pool import GraderPool


def cross_sample(cfg: CrossSampleConfig) -> list[BudgetRow]:
    """Run every part that is not finished yet and write the figures of all; returns the rows of budgets.csv.

    Raises ConfigError or DataError before any model is loaded if the configuration, the models' vocabularies
    or the data cannot be used or another process is writing to the output, and RlvrError where it cannot be written.
    """
    check(cfg)
    inputs = read_inputs(cfg)
    with exclusive(inputs.output):
        return _all_parts(cfg, inputs)


def _all_parts(cfg: CrossSampleConfig, inputs: Inputs) -> list[BudgetRow]:
    store = Store(inputs.output, settings_of(cfg, inputs))
    done = {name: store.read(name) for name in part_names(cfg)}
    finished = [part for part in done.values() if part is not None]
    for part in finished:
        print(f"{describe(part)} [kept]")
    versions = {name: version(name) for name in ("rlvr", "torch", "transformers", "ray", "math-verify")}
    versions["python"] = platform.python_version()
    if len(finished) == len(done):
        return _summarise(store, finished, cfg, versions)
    require_verifier(inputs.reward)
    with _open_pool(cfg, inputs) as pool, _open_graders(cfg, inputs) as graders:
        experiment = Experiment(cfg, inputs, store, pool, graders)
        parts = [experiment.endpoint(end) for end in ENDPOINTS]
        for direction in directions(cfg):
            targets = {level: level.budget for level in levels(cfg)}
            for rule in ordered_rules(cfg):
                found = experiment.parts(direction, rule, targets)
                parts += found.values()
                rows = _summarise(store, parts, cfg, versions)
                if rule == "js":
                    targets = {level: part.share for level, part in found.items()}
    print(f"{len(rows)} budgets in {inputs.output}/budgets.csv, responses in {inputs.output}/samples")
    return rows


def settings_of(cfg: CrossSampleConfig, inputs: Inputs) -> dict[str, Any]:
    """What the responses depend on: results are kept as long as none of it changes.

    Batch, actors and threads are not part of it, nor are the budgets: each budget is a result of its own.
    """
    problems = [[p.id, p.problem.answer, list(p.token_ids)] for p in inputs.prompts]
    return {
        "format": FORMAT,
        "base": _weights(inputs.base),
        "policy": _weights(inputs.policy),
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
        "pilot": [cfg.pilot_problems, cfg.pilot_samples, cfg.pilot_rounds],
        "grading": [
            inputs.reward.policy,
            inputs.reward.verifier,
            inputs.reward.truncated_can_be_correct,
        ],
    }


def _weights(model: str) -> dict[str, str]:
    """A local model by its weight files, a hub model by its name."""
    files = sorted(Path(model).glob("*.safetensors")) + sorted(Path(model).glob("*.bin"))
    return {file.name: _digest(file) for file in files} or {"hub": model}


def _digest(file: Path) -> str:
    """A file's size with a hash of its first and last MiB: training moves every weight, and copies stay equal."""
    size = file.stat().st_size
    with file.open("rb") as content:
        ends = content.read(1 << 20)
        content.seek(max(0, size - (1 << 20)))
        ends += content.read()
    return f"{size}-{hashlib.sha256(ends).hexdigest()[:16]}"


def _open_pool(cfg: CrossSampleConfig, inputs: Inputs) -> DecodePool:
    sampling = Sampling(
        temperature=cfg.temperature,
        top_p=cfg.top_p,
        js_top_p=cfg.js_top_p,
        max_tokens=inputs.max_tokens,
        stop_ids=inputs.stop_ids,
        seed=cfg.seed,
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
    return DecodePool(
        spec,
        actors=cfg.actors,
        threads=cfg.threads,
        gpus_per_actor=cfg.gpus_per_actor,
        address=cfg.address,
        deadline_seconds=cfg.deadline_seconds,
    )


def _open_graders(cfg: CrossSampleConfig, inputs: Inputs) -> GraderPool:
    return GraderPool(
        workers=cfg.grading_workers,
        deadline_seconds=inputs.reward.deadline_seconds,
        memory_mb=inputs.reward.memory_mb,
        policy=inputs.reward.policy,
        verifier=inputs.reward.verifier,
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
