"""Both models loaded, to go on from a token that one chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from transformers.utils.logging import disable_progress_bar

from rlvr.analysis.cross.decoder import PURE_PRIMARY, MixedDecoder, ResponseJob
from rlvr.analysis.cross.inputs import CrossInputs
from rlvr.analysis.cross.workers import load_decoders
from rlvr.analysis.evaluation import written_samples
from rlvr.analysis.intervene.records import Arm, Choice, Continuation, Intervention, check
from rlvr.analysis.store import reading
from rlvr.errors import ConfigError
from rlvr.reward.score import score_groups
from rlvr.reward.workers.pool import GraderPool
from rlvr.rollout.stop import stop_check
from rlvr.stats.proportion import difference
from rlvr.timing import Stopwatch
from rlvr.types import Group, Prompt

BATCH = 64  # continuations that advance together
COLUMNS = ("response", "trajectory", "problem_id", "prompt_ids", "response_ids")


@dataclass(frozen=True, slots=True)
class Analysed:
    """A response of the analysis."""

    trajectory: str
    prompt: Prompt
    prompt_ids: tuple[int, ...]  # as the models read it
    token_ids: tuple[int, ...]


class Bench:
    """Continues responses of an analysis with either model of a run, and has the run's verifier judge them.

    Raises:
        ConfigError: a model cannot be loaded.
    """

    def __init__(self, inputs: CrossInputs, responses: Path, graders: GraderPool, *, device: str) -> None:
        self._inputs, self._responses, self._graders = inputs, responses, graders
        self._sampling = inputs.models.sampling
        disable_progress_bar()
        self._prompts = {prompt.id: prompt for prompt in inputs.prompts}
        self._models = load_decoders(replace(inputs.models, device=device))
        self._vocabulary = int(self._models["policy"].get_output_embeddings().weight.shape[0])

    def run(self, choice: Choice, number: int) -> Intervention:
        """Continue from the response's own token and from the chosen one, `samples` times each.

        Raises:
            ConfigError: the choice names what is not there.
            DataError: the analysis's file of responses is damaged.
        """
        began, models = Stopwatch(), self._inputs.models
        response = self.find(choice)
        check(choice, response.token_ids, self._vocabulary, self._sampling.max_tokens)
        own = response.token_ids[choice.position]
        kept, taken = (self._arm(choice, response, token) for token in (own, choice.token_id))
        return Intervention(
            number=number,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            choice=choice,
            problem_id=response.prompt.id,
            trajectory=response.trajectory,
            kept=kept,
            taken=taken,
            difference=difference(kept.success, taken.success),
            seconds=round(began.seconds, 2),
            settings={
                "policy": models.policy,
                "base": models.base,
                "dtype": models.dtype,
                "temperature": models.sampling.temperature,
                "max_tokens": models.sampling.max_tokens,
            },
        )

    def find(self, choice: Choice) -> Analysed:
        """The response of a choice; raises as `run` does."""
        with reading(self._responses):
            wanted = pc.field("response") == choice.response
            rows = pq.read_table(self._responses, columns=list(COLUMNS), filters=wanted).to_pylist()
        if not rows:
            raise ConfigError(f"response={choice.response}: the analysis has no such response")
        row = rows[0]
        prompt = self._prompts.get(row["problem_id"])
        if prompt is None:
            raise ConfigError(
                f"response={choice.response}: its problem {row['problem_id']} is in no evaluation set of the run, so "
                "nothing here knows how to judge an answer to it"
            )
        return Analysed(row["trajectory"], prompt, tuple(row["prompt_ids"]), tuple(row["response_ids"]))

    def _arm(self, choice: Choice, response: Analysed, token: int) -> Arm:
        """What becomes of the response when `token` stands at the position."""
        tokenizer, reward = self._inputs.tokenizer, self._inputs.reward
        prefix = (*response.token_ids[: choice.position], token)
        written = self._continue(choice, response, prefix)
        samples = written_samples(
            [f"{token}/{k}" for k in range(len(written))],
            [[*prefix, *tokens] for tokens, _ in written],
            [truncated for _, truncated in written],
            tokenizer,
        )
        group = Group(response.prompt, samples)
        (judged,) = score_groups([group], self._graders, reward, self._sampling.max_tokens)
        after = tokenizer.batch_decode([list(tokens) for tokens, _ in written], skip_special_tokens=True)
        return Arm(
            token,
            str(tokenizer.decode([token])),
            tuple(
                Continuation(text, tokens, None if s.failed else s.correct, truncated)
                for s, text, (tokens, truncated) in zip(judged.samples, after, written, strict=True)
            ),
        )

    def _continue(
        self, choice: Choice, response: Analysed, prefix: Sequence[int]
    ) -> list[tuple[tuple[int, ...], bool]]:
        """The tokens after the prefix, and whether they came to the limit, for each sample."""
        how = self._sampling
        stops = stop_check(how.ends, self._inputs.tokenizer)
        early = len(prefix) <= how.ends.min_tokens
        if not early and (prefix[-1] in how.stop_ids or (stops is not None and stops(prefix))):
            return [((), False)] * choice.samples  # the response ends here
        ends = replace(how.ends, min_tokens=max(0, how.ends.min_tokens - len(prefix)))
        left = replace(how, max_tokens=how.max_tokens - len(prefix), seed=choice.seed, ends=ends)
        model = self._models[choice.model]
        decoder = MixedDecoder(
            model, None, left, BATCH, None if stops is None else lambda ids: stops([*prefix, *ids])
        )
        jobs = [
            ResponseJob(response.prompt.id, k, (*response.prompt_ids, *prefix), PURE_PRIMARY)
            for k in range(choice.samples)
        ]
        return [(tuple(m.token_ids.tolist()), m.truncated) for m in decoder.run(jobs, "random")]
