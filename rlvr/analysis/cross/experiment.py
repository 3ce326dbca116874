"""The order of an experiment: endpoints, then per direction the JS rule and the controls that match it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlvr.analysis.cross.calibrate import calibrate
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.decoder import PURE_PRIMARY, Job, Mixed
from rlvr.analysis.cross.inputs import Inputs
from rlvr.analysis.cross.records import Calibration, Part, level_name
from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.cross.store import Store
from rlvr.analysis.cross.workers import DecodePool
from rlvr.reward.failures import check_failures
from rlvr.reward.pool import OFFENDERS_FILE, GraderPool
from rlvr.reward.shaping import counts_as_correct
from rlvr.reward.verdict import GradeRequest, Verdict
from rlvr.stats.accuracy import EvalResult, accuracy_ci95, correctness
from rlvr.types import Prompt

ENDPOINTS = {"base": "forward", "policy": "reverse"}  # endpoint -> the direction whose primary it is


@dataclass(frozen=True, slots=True)
class Level:
    """One budget, or one given JS threshold."""

    budget: float | None
    eps: float | None

    def part_name(self, direction: str, rule: str) -> str:
        return f"{direction}-{rule}-{level_name(self.budget, self.eps)}"


def levels(cfg: CrossSampleConfig) -> list[Level]:
    """The levels of a configuration, in its order."""
    if cfg.thresholds:
        return [Level(None, eps) for eps in cfg.thresholds]
    return [Level(budget, None) for budget in cfg.budgets]


def directions(cfg: CrossSampleConfig) -> tuple[str, ...]:
    """The directions of a configuration."""
    return ("forward", "reverse") if cfg.direction == "both" else (cfg.direction,)


def ordered_rules(cfg: CrossSampleConfig) -> list[str]:
    """The rules of a configuration, the JS rule first: the controls match the share that it achieved."""
    return sorted(cfg.rules, key=lambda rule: rule != "js")


def part_names(cfg: CrossSampleConfig) -> list[str]:
    """Every part of the experiment, in the order in which they are computed."""
    names = [f"endpoint-{end}" for end in ENDPOINTS]
    for direction in directions(cfg):
        names += [level.part_name(direction, rule) for rule in ordered_rules(cfg) for level in levels(cfg)]
    return names


class Experiment:
    """Runs what the store does not have yet."""

    def __init__(
        self, cfg: CrossSampleConfig, inputs: Inputs, store: Store, pool: DecodePool, graders: GraderPool
    ) -> None:
        self._cfg, self._inputs, self._store, self._pool, self._graders = cfg, inputs, store, pool, graders
        self._jobs = _jobs(inputs.prompts, cfg.samples)
        self._pilot = _jobs(inputs.prompts[: cfg.pilot_problems], min(cfg.pilot_samples, cfg.samples))

    def endpoint(self, end: str) -> Part:
        """The responses of one model alone."""
        name = f"endpoint-{end}"
        found = self._store.read(name)
        if found is not None:
            return found
        written = self._pool.decode(ENDPOINTS[end], "random", _at(self._jobs, PURE_PRIMARY))
        return self._finish(name, "endpoint", end, Level(None, None), None, None, None, written)

    def parts(self, direction: str, rule: str, targets: dict[Level, float | None]) -> dict[Level, Part]:
        """The responses of a rule at every level; a target of None means that the level's eps is the threshold."""
        found = {level: self._store.read(level.part_name(direction, rule)) for level in targets}
        missing = [level for level, part in found.items() if part is None]
        settings = self._thresholds(direction, rule, {level: targets[level] for level in missing})
        for level in missing:
            threshold, calibration = settings[level]
            written = self._pool.decode(direction, rule, _at(self._jobs, threshold))
            name = level.part_name(direction, rule)
            found[level] = self._finish(
                name, direction, rule, level, targets[level], threshold, calibration, written
            )
        return {level: part for level, part in found.items() if part is not None}

    def _thresholds(
        self, direction: str, rule: str, targets: dict[Level, float | None]
    ) -> dict[Level, tuple[float, Calibration | None]]:
        known: dict[Level, tuple[float, Calibration | None]] = {}
        for level, target in targets.items():
            if target is None:
                assert level.eps is not None
                known[level] = (level.eps, None)
            elif rule == "random":
                known[level] = (1.0 - target, None)  # exact without a pilot
        wanted = [(level, target) for level, target in targets.items() if level not in known]
        if wanted:
            found = calibrate(
                lambda jobs: self._pool.decode(direction, rule, jobs),
                self._pilot,
                [target for _, target in wanted if target is not None],
                self._cfg.pilot_rounds,
            )
            known |= {level: (c.threshold, c) for (level, _), c in zip(wanted, found, strict=True)}
        return known

    def _finish(
        self,
        name: str,
        direction: str,
        rule: str,
        level: Level,
        target: float | None,
        threshold: float | None,
        calibration: Calibration | None,
        written: Sequence[Mixed],
    ) -> Part:
        """Grade the responses and keep them."""
        texts = self._inputs.tokenizer.batch_decode(
            [response.token_ids.tolist() for response in written], skip_special_tokens=True
        )
        graded, samples = self._grade(name, written, texts, keep_scores=rule in ("js", "entropy"))
        part = Part(
            name=name,
            direction=direction,
            rule=rule,
            budget=level.budget,
            eps=level.eps,
            target=target,
            threshold=threshold,
            calibration=calibration,
            tokens=int(graded.lengths.sum()),
            switches=sum(len(response.switched) for response in written),
            effective=sum(len(response.effective) for response in written),
            graded=graded,
        )
        self._store.write_part(part, samples)
        print(describe(part), flush=True)
        return part

    def _grade(
        self, name: str, written: Sequence[Mixed], texts: Sequence[str], *, keep_scores: bool
    ) -> tuple[EvalResult, list[dict[str, Any]]]:
        prompts = {prompt.id: prompt for prompt in self._inputs.prompts}
        ids = [f"{name}/{response.problem_id}/{response.sample}" for response in written]
        requests = [
            GradeRequest(sample_id, prompts[response.problem_id].problem.answer, text)
            for sample_id, response, text in zip(ids, written, texts, strict=True)
        ]
        by_id = self._graders.grade(requests)
        verdicts = [by_id[sample_id] for sample_id in ids]
        check_failures(
            zip(requests, verdicts, strict=True),
            self._inputs.reward,
            where=name,
            kept=f"All of them, with the verifier's reasons, are in {self._inputs.output / OFFENDERS_FILE}.",
            remedy="then run the same command again.",
        )
        truncated = np.asarray([response.truncated for response in written])
        correct = counts_as_correct(
            [verdict.correct for verdict in verdicts],
            truncated,
            truncated_can_be_correct=self._inputs.reward.truncated_can_be_correct,
        )
        failed = np.asarray([verdict.failed for verdict in verdicts])
        known = np.where(failed, np.asarray(None, dtype=object), correct)
        shape = (len(prompts), self._cfg.samples)
        answers = np.asarray([verdict.extracted for verdict in verdicts], dtype=object).reshape(shape)
        graded = EvalResult(
            name=name,
            problem_ids=tuple(prompts),
            correct=correctness(known.reshape(shape).tolist()),
            lengths=np.asarray([len(response.token_ids) for response in written]).reshape(shape),
            truncated=truncated.reshape(shape),
            answers=tuple(tuple(row) for row in answers),
        )
        rows = [
            _sample_row(prompts[response.problem_id], response, text, verdict, right, keep_scores)
            for response, text, verdict, right in zip(written, texts, verdicts, known.tolist(), strict=True)
        ]
        return graded, rows


def describe(part: Part) -> str:
    """Return one part as the line that a person reads."""
    accuracy, low, high = accuracy_ci95(part.graded.correct)
    failed = int(np.isnan(part.graded.correct).sum())
    figures = f"accuracy {accuracy:.3f} (95% {low:.3f}..{high:.3f})"
    if failed:
        figures += f", verifier failed on {failed} of {part.graded.correct.size}"
    if part.threshold is None:
        return f"{part.rule + ' alone':32}{figures}"
    rule = RULES[part.rule]
    asked = "" if part.target is None else f" of {part.target:.2%} asked"
    return (
        f"{part.direction + ' ' + part.rule:18}{rule.setting(part.threshold):8.4f}      {figures}; switched "
        f"{part.share:.2%}{asked}, effective {part.effective / part.tokens:.2%} ({rule.unit})"
    )


def _jobs(prompts: Sequence[Prompt], samples: int) -> list[Job]:
    return [Job(prompt.id, k, prompt.token_ids, PURE_PRIMARY) for prompt in prompts for k in range(samples)]


def _at(jobs: Sequence[Job], threshold: float) -> list[Job]:
    return [Job(job.problem_id, job.sample, job.prompt_ids, threshold) for job in jobs]


def _sample_row(
    prompt: Prompt, response: Mixed, text: str, verdict: Verdict, correct: bool | None, keep_scores: bool
) -> dict[str, Any]:
    row = {
        "problem_id": prompt.id,
        "sample": response.sample,
        "question": prompt.problem.question,
        "answer": prompt.problem.answer,
        "prompt_ids": list(prompt.token_ids),
        "response": text,
        "response_ids": response.token_ids.tolist(),
        "switched": response.switched.tolist(),
        "effective": response.effective.tolist(),
        "truncated": response.truncated,
        "correct": correct,
        "verdict": verdict.outcome.value,
        "extracted": verdict.extracted,
    }
    if keep_scores:
        row["scores"] = [float(f"{score:.9g}") for score in response.scores]  # as exact as fp32
    return row
