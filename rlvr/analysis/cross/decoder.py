"""The decoding loop: both models advance together on the mixed prefix, a switch rule picks who samples.

Responses that end leave their slots to waiting ones. What a response becomes depends on its own prompt, rule
and random numbers only; batching changes logits by floating-point rounding alone (dtype=float64 for less).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlvr.analysis.cross.rules import RULES, Positions, Stream, sample_key, sample_tokens, uniforms
from rlvr.analysis.cross.slots import Prefills, SlotModel
from rlvr.analysis.side_by_side import side_by_side
from rlvr.rollout.stop import Ends

# Of the slots that are free before waiting responses move in: prefills cost a forward pass.
REFILL_SHARE = 1 / 8
PURE_PRIMARY, PURE_INTERVENING = math.inf, -math.inf  # thresholds of the two endpoints


@dataclass(frozen=True, slots=True)
class MixedSampling:
    """How both models sample."""

    temperature: float
    top_p: float  # nucleus of the sampled distributions
    js_top_p: float | None  # nucleus of the JS rule; None: exact
    max_tokens: int  # of a response
    stop_ids: tuple[int, ...]  # a response ends with the first of these
    seed: int
    ends: Ends = field(default_factory=Ends)  # of a run; its tokens are among stop_ids


@dataclass(frozen=True, slots=True)
class ResponseJob:
    """One response to write."""

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    threshold: float  # the intervening model samples where the rule's value is greater


@dataclass(frozen=True, slots=True)
class Mixed:
    """One response as written; positions count its tokens from 0."""

    problem_id: str
    sample: int
    token_ids: NDArray[np.int64]  # [t] with what ended it
    switched: NDArray[np.int64]  # positions sampled by the intervening model
    effective: NDArray[np.int64]  # of those, where the primary would have sampled another token
    values: NDArray[np.float64]  # [t] the rule's value at every position
    truncated: bool  # came to max_tokens before anything ended it
    differs: NDArray[np.bool_]  # [t] where the two models draw different tokens, switched or not


class MixedDecoder:
    """Writes responses with a primary and an intervening model that share a vocabulary; None: the primary alone."""

    def __init__(
        self,
        primary: torch.nn.Module,
        intervening: torch.nn.Module | None,
        sampling: MixedSampling,
        batch: int,
        stops: Callable[[Sequence[int]], bool] | None = None,  # has a response just come to a stop text?
        prefills: Sequence[Prefills] | None = None,  # of the two models, kept between decoders
    ) -> None:
        self._models = [
            SlotModel(model, batch, kept)
            for model, kept in zip((primary, intervening), prefills or (None, None), strict=True)
            if model is not None
        ]
        self._sampling = sampling
        self._batch = batch
        self._stop = np.asarray(sampling.stop_ids, dtype=np.int64)
        self._stops = stops

    def run(self, jobs: Sequence[ResponseJob], rule: str) -> list[Mixed]:
        """Write all responses under a rule of `RULES`, in the order of the jobs."""
        rows = _Rows(self._batch, self._sampling.max_tokens)
        written: dict[int, Mixed] = {}
        waiting = 0  # the next job
        while len(written) < len(jobs):
            free = self._batch - rows.n
            if waiting < len(jobs) and (rows.n == 0 or free >= self._batch * REFILL_SHARE):
                arriving = jobs[waiting : waiting + free]
                prompts = [job.prompt_ids for job in arriving]
                admissions = [partial(model.admit, prompts, rows.n) for model in self._models]
                side_by_side(admissions, self._models[0].device)
                rows.admit(arriving, waiting, self._sampling.seed)
                waiting += len(arriving)
            self._step(rows, rule)
            ended = rows.ended(self._stop, self._stops)
            for row in np.flatnonzero(ended):
                written[int(rows.job[row])] = rows.take(row, jobs)
            source, target = rows.remove(ended)
            if len(source):
                for model in self._models:
                    model.move(torch.from_numpy(source), torch.from_numpy(target))
        return [written[index] for index in range(len(jobs))]

    def _step(self, rows: _Rows, rule: str) -> None:
        """Append one token to every row."""
        n, how = rows.n, self._sampling
        tokens, positions = torch.from_numpy(rows.last[:n]), torch.from_numpy(rows.position[:n])
        steps = [partial(model.step, tokens, positions) for model in self._models]
        primary, *others = side_by_side(steps, self._models[0].device)
        intervening = others[0].to(primary.device) if others else primary
        keys, index = rows.key[:n], rows.count[:n]
        uniform = torch.from_numpy(uniforms(keys, index, Stream.TOKEN)).to(primary.device)
        drawn_from = primary, intervening
        if how.ends.min_tokens:
            early = torch.from_numpy(index < how.ends.min_tokens).to(primary.device)
            drawn_from = self._without_ends(primary, early), self._without_ends(intervening, early)
        own, other = (sample_tokens(logits, uniform, how.temperature, how.top_p) for logits in drawn_from)
        at = Positions(primary, intervening, keys, index, how.temperature, how.js_top_p, own, other)
        rows.append(own, other, RULES[rule].value(at))

    def _without_ends(self, logits: Tensor, early: Tensor) -> Tensor:
        """[n, V] logits with which the `early` rows cannot end; what is recorded of them are the rule's values."""
        without = logits.clone()
        without[early.nonzero(), torch.from_numpy(self._stop).to(logits.device)] = -math.inf
        return without


class _Rows:
    """What is known of the responses in the slots: arrays of [batch], of which the first n are in use."""

    def __init__(self, batch: int, max_tokens: int) -> None:
        self.n = 0
        self.job = np.zeros(batch, dtype=np.int64)
        self.key = np.zeros(batch, dtype=np.uint64)
        self.threshold = np.zeros(batch)
        self.last = np.zeros(batch, dtype=np.int64)  # token that the models read next
        self.position = np.zeros(batch, dtype=np.int64)  # its position, prompt included
        self.count = np.zeros(batch, dtype=np.int64)  # response tokens written
        self.tokens = np.zeros((batch, max_tokens), dtype=np.int64)
        self.switched = np.zeros((batch, max_tokens), dtype=np.bool_)
        self.differs = np.zeros((batch, max_tokens), dtype=np.bool_)
        self.values = np.zeros((batch, max_tokens))
        self._stopped = np.zeros(0, dtype=np.bool_)  # [n] rows whose last token ends the response

    def admit(self, jobs: Sequence[ResponseJob], first_job: int, seed: int) -> None:
        part = slice(self.n, self.n + len(jobs))
        self.job[part] = np.arange(first_job, first_job + len(jobs))
        self.key[part] = [sample_key(seed, job.problem_id, job.sample) for job in jobs]
        self.threshold[part] = [job.threshold for job in jobs]
        self.last[part] = [job.prompt_ids[-1] for job in jobs]
        self.position[part] = [len(job.prompt_ids) - 1 for job in jobs]
        self.count[part] = 0
        self.n += len(jobs)

    def append(self, own: Tensor, other: Tensor, value: Tensor) -> None:
        """Take the intervening model's token where the rule's value is above the row's threshold."""
        n = self.n
        at = np.arange(n), self.count[:n]
        self.values[at] = value.cpu().numpy()
        switched = self.values[at] > self.threshold[:n]
        own_ids, other_ids = own.cpu().numpy(), other.cpu().numpy()
        self.last[:n] = np.where(switched, other_ids, own_ids)
        self.tokens[at] = self.last[:n]
        self.switched[at] = switched
        self.differs[at] = own_ids != other_ids
        self.count[:n] += 1
        self.position[:n] += 1

    def ended(
        self, stop_ids: NDArray[np.int64], stops: Callable[[Sequence[int]], bool] | None
    ) -> NDArray[np.bool_]:
        """[n] rows that are complete."""
        full = self.count[: self.n] == self.tokens.shape[1]
        self._stopped = np.isin(self.last[: self.n], stop_ids)
        if stops is not None:
            texts = (self.tokens[row, : self.count[row]].tolist() for row in range(self.n))
            self._stopped = self._stopped | np.fromiter(map(stops, texts), dtype=np.bool_, count=self.n)
        return full | self._stopped

    def take(self, row: int, jobs: Sequence[ResponseJob]) -> Mixed:
        """The finished response in a row."""
        job, count = jobs[self.job[row]], self.count[row]
        return Mixed(
            problem_id=job.problem_id,
            sample=job.sample,
            token_ids=self.tokens[row, :count].copy(),
            switched=np.flatnonzero(self.switched[row, :count]),
            effective=np.flatnonzero(self.switched[row, :count] & self.differs[row, :count]),
            values=self.values[row, :count].copy(),
            truncated=not bool(self._stopped[row]),
            differs=self.differs[row, :count].copy(),
        )

    def remove(self, ended: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Close the gaps with rows from the end; returns the slots that were moved, and where to."""
        left = self.n - int(ended.sum())
        target = np.flatnonzero(ended[:left])
        source = left + np.flatnonzero(~ended[left:])
        per_row = (self.job, self.key, self.threshold, self.last, self.position, self.count)
        for column in (*per_row, self.tokens, self.switched, self.differs, self.values):
            column[target] = column[source]
        self.n = left
        return source, target
