"""Evaluate a model: `python -m rlvr.evaluate model=runs/latest/policy n=32`, or one from the hub:

    python -m rlvr.evaluate model=qwen2_5_math_1_5b data=aime24,amc23 n=32 rollout=gpu learner=gpu_zero2 \\
        data.template=qwen_math data.max_prompt_tokens=1024 rollout.max_response_tokens=3072

Every key of the training configuration works here as well; four short forms stand for the usual ones:

    model=PATH       model.path, unless PATH is the name of a file in recipes/model; the folder of a training run
                     stands for its policy
    data=A,B         data.eval: data sets by name, or a local file or folder as NAME:PATH
    n=32             eval.samples_per_prompt
    compare=FOLDER   an earlier evaluation, to be compared problem by problem

The policy of a training run is evaluated as the run itself does it: on its held-out sets, with its template, lengths,
stop texts and tokens, precision, sampling, verifier and grading rules, each unless the command names another.
Writes <run.root>/<run.name>/evaluation.json, responses.parquet and samples/; with the same run.name an interrupted
evaluation goes on after the problems that are done.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.analysis.evaluation import (
    CONTENT,
    FILE_NAME,
    SetSummary,
    claim_settings,
    differing_settings,
    evaluation_as_json,
    fingerprints,
    groups_in_parts,
    read_evaluation,
    result_of,
    summarise,
    write_responses,
)
from rlvr.analysis.run import require_verifiers, without_training
from rlvr.analysis.store import write_text, writing
from rlvr.cli.entry import hydra_entry
from rlvr.cli.evaluate_arguments import expand_arguments
from rlvr.cli.opening import opened
from rlvr.config import Config
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.data.problems import rules_of
from rlvr.data.stream import EvalSet, build_eval_sets
from rlvr.errors import ConfigError, RlvrError
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.pool import EnginePool
from rlvr.rollout.stop import ends_of
from rlvr.runtime.actors import open_engines
from rlvr.runtime.disk.folder import RunFolder, run_folder
from rlvr.runtime.disk.names import file_name
from rlvr.runtime.evaluation import EvalReport, sample_and_grade
from rlvr.runtime.evaluation import report as report_of
from rlvr.stats.accuracy import EvalResult, compare
from rlvr.stats.student import interval_text, p_text
from rlvr.types import Group, Prompt
from rlvr.validate import validate


def evaluate_model(cfg: Config, *, earlier: Path | None = None) -> tuple[EvalResult, ...]:
    """Sample and grade `data.eval` with the model, print the figures and write them down.

    Raises ConfigError or DataError before anything is started if the configuration, the data or the earlier
    evaluation cannot be used, or another process is writing to the folder.
    """
    cfg = without_training(cfg)
    require_verifiers(cfg.reward, map(rules_of, cfg.data.eval))
    validate(cfg)
    folder = run_folder(cfg, "evaluate")
    before = read_evaluation(earlier) if earlier else {}
    tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
    eval_sets = build_eval_sets(
        cfg.data,
        tokenizer,
        context=cfg.model.max_length,
        max_response_tokens=cfg.rollout.max_response_tokens,
        verifier=cfg.reward.verifier,
    )
    settings = _settings(cfg, eval_sets)
    changed = differing_settings(earlier, settings) if earlier else []
    _open_folder(folder)
    claim_settings(folder, cfg, eval_sets)
    with open_engines(cfg, folder, tokenizer) as (engines, graders):
        reports = tuple(
            report_of(
                chosen.name,
                groups_in_parts(
                    folder,
                    chosen.name,
                    chosen.prompts,
                    partial(_respond, engines, graders, chosen.name, cfg=cfg),
                ),
            )
            for chosen in eval_sets
        )
    results = tuple(result_of(part.name, part.groups) for part in reports)
    _write(folder, cfg.model.path, settings, reports, results)
    for report, result in zip(reports, results, strict=True):
        print(describe(summarise(result), report.outcomes))
    print_comparison(before, results)
    if changed:
        print(f"NOTE the earlier evaluation had other settings: {'; '.join(changed)}")
    print(f"figures and responses in {folder.path}")
    return results


def _respond(
    engines: EnginePool, graders: GraderPool, name: str, prompts: Sequence[Prompt], *, cfg: Config
) -> tuple[Group, ...]:
    return sample_and_grade(engines, graders, name, prompts, cfg)


def describe(figures: SetSummary, outcomes: Mapping[str, int]) -> str:
    """Return the figures of one set as the lines that a person reads."""
    lengths = figures.lengths

    def shares(values: Mapping[int, float]) -> str:
        return "  ".join(f"@{k} {value:.3f}" for k, value in values.items())

    return "\n".join(
        [
            f"{figures.name}: {figures.problems} problems x {figures.samples_per_problem} samples",
            "  accuracy  " + interval_text(figures.accuracy, figures.ci_low, figures.ci_high, level="95% "),
            f"  pass      {shares(figures.pass_at)}",
            f"  majority  {shares(figures.majority_at)}",
            f"  length    mean {lengths.mean:.0f}, median {lengths.median:.0f}, 90% {lengths.p90:.0f}, "
            f"longest {lengths.longest}; truncated {lengths.truncated:.1%}",
            "  verdicts  " + ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())),
        ]
    )


def print_comparison(before: Mapping[str, EvalResult], results: Sequence[EvalResult]) -> None:
    """Print how each set moved since the earlier evaluation, where that one has it."""
    for now in results:
        if now.name not in before:
            if before:
                print(f"{now.name}: not in the earlier evaluation, which has {', '.join(before)}")
            continue
        try:
            moved = compare(before[now.name], now)
        except ValueError as error:  # the earlier file may hold other problems: the figures above still stand
            print(f"{now.name}: no comparison: {error}")
            continue
        print(
            f"{now.name}: {moved.difference:+.3f} on the earlier evaluation "
            f"(95% {moved.low:+.3f}..{moved.high:+.3f}), p {p_text(moved.p_value)}; "
            f"{moved.differing} of {moved.problems} problems differ"
        )


def _open_folder(folder: RunFolder) -> None:
    try:
        folder.claim()
        folder.samples.mkdir(exist_ok=True)
    except OSError as error:
        raise RlvrError(f"folder {folder.path} cannot be written ({error})") from error
    if (folder.path / FILE_NAME).exists():
        raise ConfigError(
            f"run.name={folder.path.name}: {folder.path} already holds an evaluation; choose another run.name"
        )


def _settings(cfg: Config, sets: Sequence[EvalSet]) -> dict[str, Any]:
    """What an evaluation says of how it was made."""
    return {
        "seed": cfg.seed,
        "template": cfg.data.template,
        "max_length": cfg.model.max_length,
        "max_response_tokens": cfg.rollout.max_response_tokens,
        "ends": asdict(ends_of(cfg.rollout)),
        "policy": cfg.reward.policy,
        "verifier": cfg.reward.verifier,
        "truncated_can_be_correct": cfg.reward.truncated_can_be_correct,
        "eval": asdict(cfg.eval),
        CONTENT: fingerprints(sets),
    }


def _write(
    folder: RunFolder,
    model: str,
    settings: dict[str, Any],
    reports: Sequence[EvalReport],
    results: Sequence[EvalResult],
) -> None:
    for part in reports:
        name = f"eval_{file_name(part.name)}"
        with writing(folder.samples / name):
            folder.dump_samples(name, part.groups)
    write_responses(folder, [(part.name, part.groups) for part in reports])
    write_text(folder.path / FILE_NAME, evaluation_as_json(model, settings, results))


def main() -> None:
    """Entry point."""
    with opened("evaluate"):
        sys.argv[1:], earlier = expand_arguments(sys.argv[1:])
    hydra_entry(partial(evaluate_model, earlier=earlier), command="evaluate")()


if __name__ == "__main__":
    main()
