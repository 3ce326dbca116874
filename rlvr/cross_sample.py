"""Cross-sampling: `python -m rlvr.cross_sample run=runs/latest budgets=0.02,0.05`.

Two models write each response together, token by token on the mixed prefix: the next token comes from the
intervening model where a switch rule says so, and from the primary model elsewhere. Forward: base is primary
and the policy intervenes; reverse: the other way round. The rule of interest switches where the Jensen-Shannon
divergence of the two is above a threshold; the controls switch as many tokens at random positions, where the
primary's entropy is high, or at the start. See rlvr/analysis/cross/config.py for every key.

A list may be written without brackets: rules=js,random budgets=0.02,0.05 data=aime24,own:problems.jsonl
rules=all budget_of=effective compares all rules where each changes as many tokens.

Writes budgets.csv, pairs.csv, rules.md, cross_sampling.json, every response, the raw rows as parquet, and a figure
for each direction where matplotlib is installed; started again, it skips what is finished.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlvr.analysis.cross.config import CrossSampleConfig, check
from rlvr.analysis.cross.experiment import Experiment, describe, planned, unmet
from rlvr.analysis.cross.inputs import CrossInputs, read_inputs
from rlvr.analysis.cross.records import BudgetRow
from rlvr.analysis.cross.store import FORMAT, Store, write_raw
from rlvr.analysis.cross.workers import open_decoders
from rlvr.analysis.progress import PartsDone
from rlvr.analysis.run import require_verifiers
from rlvr.analysis.shift.parts import token_texts
from rlvr.analysis.store import versions_of, writing
from rlvr.cli.cross_sample_arguments import LINE, expand_arguments
from rlvr.cli.entry import command_entry
from rlvr.data.models.identity import identity
from rlvr.locks import exclusive
from rlvr.reporting.figures.canvas import render
from rlvr.reporting.figures.cross import cross_figures
from rlvr.reporting.sources import read_cross
from rlvr.reward.workers.pool import open_grader_pool
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
    parts = [part for key in keys if (part := store.read(key.name)) is not None]
    for part in parts:
        print(f"{describe(part)} [kept]")
    versions = versions_of("rlvr", "torch", "transformers", "ray", "math-verify")
    if len(parts) < len(keys):
        rules = [prompt.problem.rules for prompt in inputs.prompts]
        require_verifiers(inputs.reward, rules)
        with (
            open_decoders(inputs.models, cfg) as pool,
            open_grader_pool(
                inputs.reward, rules, workers=cfg.grading_workers, save_folder=inputs.output
            ) as graders,
            PartsDone("cross-sampling", len(keys), len(parts)) as progress,
        ):
            experiment = Experiment(cfg, inputs, store, pool, graders, progress.done)
            for parts in experiment.run(keys):
                store.write_summary(parts, asdict(cfg), versions)
    rows = store.write_summary(parts, asdict(cfg), versions)
    for line in unmet(parts):
        print(line)
    write_raw(store, parts, token_texts(inputs.tokenizer))
    print(
        f"{len(rows)} budgets in {inputs.output}/budgets.csv, every pair of rules in {inputs.output}/rules.md"
    )
    print(f"responses in {inputs.output}/samples, a row of each in {inputs.output}/responses.parquet")
    _draw(inputs.output)
    return rows


def _draw(folder: Path) -> None:
    """The figures, where they can be drawn: everything else is on disk by now."""
    if find_spec("matplotlib") is None:
        print("no figure: it is drawn with matplotlib, which is not installed (pip install matplotlib)")
        return
    found, figures = [*cross_figures(read_cross(folder))], folder / "figures"
    with writing(figures):
        figures.mkdir(exist_ok=True)
        drawn = [render(figure, figures).name for figure in found]
    print(f"figures in {figures}: {', '.join(f'{name}.svg' for name in drawn)}, also as PNG and CSV")


def settings_of(cfg: CrossSampleConfig, inputs: CrossInputs) -> dict[str, Any]:
    """What the responses depend on: results are kept as long as none of it changes.

    Batch, actors and threads are not part of it, nor are the budgets: each budget is a result of its own.
    """
    problems = [[p.id, p.problem.answer, list(p.token_ids)] for p in inputs.prompts]
    models, how = inputs.models, inputs.models.sampling
    return {
        "format": FORMAT,
        "base": identity(models.base),
        "policy": identity(models.policy),
        "dtype": models.dtype,
        "sets": inputs.sets,
        "problems": hashlib.sha256(repr(problems).encode()).hexdigest()[:16],
        "samples": cfg.samples,
        **{key: getattr(how, key) for key in ("max_tokens", "temperature", "top_p", "js_top_p", "seed")},
        "stop_ids": list(how.stop_ids),
        **({"ends": asdict(how.ends)} if how.ends != Ends() else {}),
        "pilot": [cfg.pilot_problems, cfg.pilot_samples, cfg.pilot_rounds],
        "grading": [
            inputs.reward.policy,
            inputs.reward.verifier,
            inputs.reward.truncated_can_be_correct,
        ],
    }


main = command_entry(LINE, cross_sample, expand_arguments)

if __name__ == "__main__":
    main()
