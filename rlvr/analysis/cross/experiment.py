"""The order of an experiment: endpoints, then per direction the JS rule and the controls that match it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

import numpy as np

from rlvr.analysis.cross.calibrate import calibrate
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analysis.cross.decoder import PURE_PRIMARY, Mixed, ResponseJob
from rlvr.analysis.cross.inputs import CrossInputs
from rlvr.analysis.cross.records import Calibration, Part, PartKey
from rlvr.analysis.cross.rules import RULES
from rlvr.analysis.cross.store import Store
from rlvr.analysis.cross.workers import DecodePool
from rlvr.reward.failures import check_failures
from rlvr.reward.pool import OFFENDERS_FILE, GraderPool
from rlvr.reward.shaping import counts_as_correct
from rlvr.reward.verdict import Verdict
from rlvr.stats.accuracy import EvalResult, accuracy_ci95, correctness
from rlvr.types import Prompt

ENDPOINTS = {"base": "forward", "policy": "reverse"}  # endpoint -> the direction whose primary it is


def planned(cfg: CrossSampleConfig) -> list[PartKey]:
    """Every part of the experiment, in the order in which they are computed.

    The JS rule comes first in each direction: the controls match the share that it achieved.
    """
    directions = ("forward", "reverse") if cfg.direction == "both" else (cfg.direction,)
    rules = sorted(cfg.rules, key=lambda rule: rule != "js")
    if cfg.thresholds:
        levels: list[tuple[float | None, float | None]] = [(None, eps) for eps in cfg.thresholds]
    else:
        levels = [(budget, None) for budget in cfg.budgets]
    endpoints = [PartKey("endpoint", end) for end in ENDPOINTS]
    return endpoints + [PartKey(d, rule, *level) for d in directions for rule in rules for level in levels]


class Experiment:
    """Runs what the store does not have yet."""

    def __init__(
        self,
        cfg: CrossSampleConfig,
        inputs: CrossInputs,
        store: Store,
        pool: DecodePool,
        graders: GraderPool,
        say: Callable[[str], None] = print,
    ) -> None:
        """`say` gets the line of every part that is finished."""
        self._cfg, self._inputs, self._store, self._pool, self._graders = cfg, inputs, store, pool, graders
        self._say = say
        self._jobs = _jobs(inputs.prompts, cfg.samples)
        self._pilot = _jobs(inputs.prompts[: cfg.pilot_problems], min(cfg.pilot_samples, cfg.samples))

    def run(self, keys: Sequence[PartKey]) -> Iterator[list[Part]]:
        """Compute the parts in their order; gives all parts so far whenever a rule is complete."""
        parts: list[Part] = []
        achieved: dict[tuple[str, str], float] = {}  # direction, level -> share that the JS rule switched
        for (direction, rule), own in groupby(keys, key=lambda key: (key.direction, key.rule)):
            if direction == "endpoint":
                parts.append(self.endpoint(rule))
                continue
            found = self._of_rule(list(own), achieved)
            if rule == "js":
                achieved |= {(direction, part.level): part.share for part in found}
            parts += found
            yield list(parts)

    def endpoint(self, end: str) -> Part:
        """The responses of one model alone."""
        key = PartKey("endpoint", end)
        found = self._store.read(key.name)
        if found is not None:
            return found
        written = self._pool.decode(ENDPOINTS[end], "random", _at(self._jobs, PURE_PRIMARY))
        return self._finish(key, None, None, None, written)

    def _of_rule(self, keys: Sequence[PartKey], achieved: Mapping[tuple[str, str], float]) -> list[Part]:
        """The responses of one rule in one direction at every level."""
        found = {key: self._store.read(key.name) for key in keys}
        targets = {
            key: achieved.get((key.direction, key.level), key.budget)
            for key, part in found.items()
            if part is None
        }
        for key, (threshold, calibration) in self._thresholds(targets).items():
            written = self._pool.decode(key.direction, key.rule, _at(self._jobs, threshold))
            found[key] = self._finish(key, targets[key], threshold, calibration, written)
        return [part for part in found.values() if part is not None]

    def _thresholds(
        self, targets: Mapping[PartKey, float | None]
    ) -> dict[PartKey, tuple[float, Calibration | None]]:
        """The thresholds that switch the target shares; a target of None means that eps is the threshold."""
        known: dict[PartKey, tuple[float, Calibration | None]] = {}
        wanted: dict[PartKey, float] = {}
        for key, target in targets.items():
            if target is None:
                assert key.eps is not None
                known[key] = (key.eps, None)
            elif key.rule == "random":
                known[key] = (1.0 - target, None)  # exact without a pilot
            else:
                wanted[key] = target
        if wanted:
            first = next(iter(wanted))
            found = calibrate(
                lambda jobs: self._pool.decode(first.direction, first.rule, jobs),
                self._pilot,
                list(wanted.values()),
                self._cfg.pilot_rounds,
            )
            known |= {key: (c.threshold, c) for key, c in zip(wanted, found, strict=True)}
        return {key: known[key] for key in targets}

    def _finish(
        self,
        key: PartKey,
        target: float | None,
        threshold: float | None,
        calibration: Calibration | None,
        written: Sequence[Mixed],
    ) -> Part:
        """Grade the responses and keep them."""
        texts = self._inputs.tokenizer.batch_decode(
            [response.token_ids.tolist() for response in written], skip_special_tokens=True
        )
        graded, samples = self._grade(key.name, written, texts, keep_values=key.rule in ("js", "entropy"))
        part = Part(
            **asdict(key),
            target=target,
            threshold=threshold,
            calibration=calibration,
            tokens=int(graded.lengths.sum()),
            switches=sum(len(response.switched) for response in written),
            effective=sum(len(response.effective) for response in written),
            graded=graded,
        )
        self._store.write_part(part, samples)
        self._say(describe(part))
        return part

    def _grade(
        self, name: str, written: Sequence[Mixed], texts: Sequence[str], *, keep_values: bool
    ) -> tuple[EvalResult, list[dict[str, Any]]]:
        prompts = {prompt.id: prompt for prompt in self._inputs.prompts}
        ids = [f"{name}/{response.problem_id}/{response.sample}" for response in written]
        requests = [
            request
            for sample_id, response, text in zip(ids, written, texts, strict=True)
            for request in prompts[response.problem_id].problem.grade_requests([(sample_id, text)])
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
            _sample_row(prompts[response.problem_id], response, text, verdict, right, keep_values)
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


def _jobs(prompts: Sequence[Prompt], samples: int) -> list[ResponseJob]:
    return [
        ResponseJob(prompt.id, k, prompt.token_ids, PURE_PRIMARY)
        for prompt in prompts
        for k in range(samples)
    ]


def _at(jobs: Sequence[ResponseJob], threshold: float) -> list[ResponseJob]:
    return [replace(job, threshold=threshold) for job in jobs]


def _sample_row(
    prompt: Prompt, response: Mixed, text: str, verdict: Verdict, correct: bool | None, keep_values: bool
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
    if keep_values:
        row["scores"] = [float(f"{value:.9g}") for value in response.values]  # as exact as fp32
    return row
