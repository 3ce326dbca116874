"""The order of an experiment: endpoints, then per direction the JS rule and the others at as many tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from rlvr.analysis.cross.calibrate import calibrate, settle
from rlvr.analysis.cross.config import BOTH, CrossSampleConfig, chosen_rules
from rlvr.analysis.cross.decoder import PURE_PRIMARY, Mixed, ResponseJob
from rlvr.analysis.cross.inputs import CrossInputs
from rlvr.analysis.cross.records import DIRECTIONS, EFFECTIVE, Calibration, Part, PartKey
from rlvr.analysis.cross.rules import RULES, WITHOUT_MODELS
from rlvr.analysis.cross.store import Store
from rlvr.analysis.cross.workers import DecodePool, DecodeWorker
from rlvr.analysis.evaluation import result_of, written_samples
from rlvr.reward.failures import check_failures, graded_pairs
from rlvr.reward.score import score_groups
from rlvr.reward.workers.pool import OFFENDERS_FILE, GraderPool
from rlvr.runtime.disk.dumps import decimals
from rlvr.stats.accuracy import accuracy_ci95
from rlvr.stats.student import interval_text
from rlvr.types import Group, Prompt, Sample

# Endpoint -> the direction whose primary it is.
ENDPOINTS = {primary: direction for direction, (primary, _) in DIRECTIONS.items()}


def planned(cfg: CrossSampleConfig) -> list[PartKey]:
    """Every part of the experiment, in the order in which they are computed.

    The JS rule comes first in each direction: the controls match the share that it achieved.
    """
    directions = tuple(DIRECTIONS) if cfg.direction == BOTH else (cfg.direction,)
    given: list[tuple[float | None, float | None]] = [(None, eps) for eps in cfg.thresholds]
    levels = given or [(budget, None) for budget in cfg.budgets]
    endpoints = [PartKey("endpoint", end) for end in ENDPOINTS]
    return endpoints + [
        PartKey(direction, rule, *level, cfg.budget_of)
        for direction in directions
        for rule in chosen_rules(cfg)
        for level in levels
    ]


def unmet(parts: Sequence[Part]) -> list[str]:
    """A line for every effective budget that was missed, with the share of tokens at which the draws differ."""
    return [
        f"budgets={part.budget:g} {part.direction} {part.rule}: missed, {part.measured:.2%} of the tokens are changed; "
        f"the models draw different ones at {part.differing / part.tokens:.2%}"
        for part in parts
        if part.missed and part.budget is not None
    ]


@dataclass
class Experiment:
    """Runs what the store does not have yet."""

    cfg: CrossSampleConfig
    inputs: CrossInputs
    store: Store
    pool: DecodeWorker | DecodePool
    graders: GraderPool
    say: Callable[[str], None] = print  # gets the line of every part that is finished

    def __post_init__(self) -> None:
        prompts, samples = self.inputs.prompts, range(self.cfg.samples)
        self._jobs = [ResponseJob(p.id, k, p.token_ids, PURE_PRIMARY) for p in prompts for k in samples]
        pilot = {prompt.id for prompt in prompts[: self.cfg.pilot_problems]}
        self._pilot = [j for j in self._jobs if j.problem_id in pilot and j.sample < self.cfg.pilot_samples]

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
                # Effective budgets are met by every rule alike, none follows what another happened to change.
                followed = [part for part in found if part.budget is None or part.budget_of != EFFECTIVE]
                achieved |= {(direction, part.level): part.measured for part in followed}
            parts += found
            yield list(parts)

    def endpoint(self, end: str) -> Part:
        """The responses of one model alone."""
        key = PartKey("endpoint", end)
        if (found := self.store.read(key.name)) is not None:
            return found
        return self._finish(key, None, None, self.pool.decode(ENDPOINTS[end], "random", self._jobs))

    def _of_rule(self, keys: Sequence[PartKey], achieved: Mapping[tuple[str, str], float]) -> list[Part]:
        """The responses of one rule in one direction at every level."""
        decode = partial(self.pool.decode, keys[0].direction, keys[0].rule)
        found = {key: self.store.read(key.name) for key in keys}
        targets = {
            key: achieved.get((key.direction, key.level), key.budget)
            for key, part in found.items()
            if part is None
        }
        # Random positions that need not be effective are exact without a pilot.
        wanted = {
            key: target
            for key, target in targets.items()
            if target is not None and (key.rule != "random" or key.budget_of == EFFECTIVE)
        }
        rounds, of = self.cfg.pilot_rounds, keys[0].budget_of
        pilots = calibrate(decode, self._pilot, [*wanted.values()], rounds, of)
        calibrations = dict(zip(wanted, pilots, strict=True))
        for key, target in targets.items():
            calibration = calibrations.get(key)
            if calibration is not None and key.budget_of == EFFECTIVE:
                calibration, written = settle(decode, self._jobs, calibration, EFFECTIVE)
            else:
                threshold = _threshold(key, target, calibration)
                written = decode([replace(job, threshold=threshold) for job in self._jobs])
            found[key] = self._finish(key, target, calibration, written)
        return [part for part in found.values() if part is not None]

    def _finish(
        self,
        key: PartKey,
        target: float | None,
        calibration: Calibration | None,
        written: Sequence[Mixed],
    ) -> Part:
        """Grade the responses and keep them."""
        groups = self._grade(key.name, written)
        graded = result_of(key.name, groups)
        part = Part(
            **asdict(key),
            target=target,
            threshold=None if key.direction == "endpoint" else _threshold(key, target, calibration),
            calibration=calibration,
            tokens=int(graded.lengths.sum()),
            switches=sum(len(response.switched) for response in written),
            effective=sum(len(response.effective) for response in written),
            differing=sum(int(response.differs.sum()) for response in written),
            graded=graded,
        )
        samples = ((group.prompt, sample) for group in groups for sample in group.samples)
        rows = [_row(*of, response) for of, response in zip(samples, written, strict=True)]
        if key.direction != "endpoint" and key.rule not in WITHOUT_MODELS:
            for row, response in zip(rows, written, strict=True):  # as exact as fp32
                row["scores"] = decimals(response.values)
        self.store.write_part(part, rows)
        self.say(describe(part))
        return part

    def _grade(self, name: str, written: Sequence[Mixed]) -> tuple[Group, ...]:
        """The responses with their verdicts, `samples` of each prompt in the order of the jobs."""
        inputs, n = self.inputs, self.cfg.samples
        samples = written_samples(
            [f"{name}/{response.problem_id}/{response.sample}" for response in written],
            [response.token_ids.tolist() for response in written],
            [response.truncated for response in written],
            inputs.tokenizer,
        )
        groups = [Group(p, samples[k * n : (k + 1) * n]) for k, p in enumerate(inputs.prompts)]
        scored = score_groups(groups, self.graders, inputs.reward, inputs.models.sampling.max_tokens)
        check_failures(
            graded_pairs(scored),
            inputs.reward,
            where=name,
            kept=f"All of them, with the verifier's reasons, are in {inputs.output / OFFENDERS_FILE}.",
            remedy="then run the same command again.",
        )
        return scored


def describe(part: Part) -> str:
    """Return one part as the line that a person reads."""
    failed = int(np.isnan(part.graded.correct).sum())
    figures = "accuracy " + interval_text(*accuracy_ci95(part.graded.correct), level="95% ")
    if failed:
        figures += f", verifier failed on {failed} of {part.graded.correct.size}"
    if part.threshold is None:
        return f"{part.rule + ' alone':32}{figures}"
    rule = RULES[part.rule]
    asked = "" if part.target is None else f" of {part.target:.2%} asked"
    of_effective, of_switched = (asked, "") if part.budget_of == EFFECTIVE else ("", asked)
    return (
        f"{part.direction + ' ' + part.rule:23}{rule.setting(part.threshold):9.4f} {figures}; switched "
        f"{part.share:.2%}{of_switched}, effective {part.effective / part.tokens:.2%}{of_effective} ({rule.unit})"
    )


def _threshold(key: PartKey, target: float | None, calibration: Calibration | None) -> float:
    """What the calibration found; without one that of random positions, or the one that is given."""
    if calibration is not None:
        return calibration.threshold
    if target is not None:
        return 1.0 - target
    assert key.eps is not None
    return key.eps


def _row(prompt: Prompt, sample: Sample, response: Mixed) -> dict[str, Any]:
    assert sample.verdict is not None  # it has been graded
    return {
        "problem_id": prompt.id,
        "sample": response.sample,
        "question": prompt.problem.question,
        "answer": prompt.problem.answer,
        "prompt_ids": list(prompt.token_ids),
        "response": sample.text,
        "response_ids": list(sample.token_ids),
        "switched": response.switched.tolist(),
        "effective": response.effective.tolist(),
        "truncated": sample.truncated,
        "correct": None if sample.failed else sample.correct,
        "verdict": sample.verdict.outcome.value,
        "extracted": sample.verdict.extracted,
    }
