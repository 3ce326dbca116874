"""The records that one batch passes through, in the order in which they appear.

Problem -> Prompt -> Sample / Group -> RolloutBatch -> Batch (flat token arrays) -> StepStats.

Every stage returns a new record; none is changed in place. Shapes: `N` sequences, `T` response tokens of
the whole batch, laid out sequence after sequence (`Batch.offsets` marks the borders). Log-probabilities and
divergences are in nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlvr.reward.example import Example
from rlvr.reward.verdict import DEFAULT_RULES, GradeRequest, Rules, Verdict

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Tokenizer(Protocol):
    """What we use of a tokenizer of transformers."""

    @property
    def name_or_path(self) -> str: ...

    @property
    def chat_template(self) -> str | dict[str, str] | None: ...

    @property
    def bos_token(self) -> str | None: ...

    @property
    def eos_token(self) -> str | None: ...

    @property
    def eos_token_id(self) -> int | None: ...

    @property
    def all_special_tokens(self) -> list[str]: ...

    def __len__(self) -> int: ...

    def get_vocab(self) -> dict[str, int]: ...

    @property
    def added_tokens_decoder(self) -> dict[int, Any]: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: list[int], skip_special_tokens: bool = False) -> str | list[str]: ...

    def batch_decode(self, sequences: list[list[int]], skip_special_tokens: bool = False) -> list[str]: ...

    def save_pretrained(self, save_directory: str) -> object: ...

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        continue_final_message: bool,
        **variables: Any,
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user, assistant, or whatever else the chat template knows
    content: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with a checkable answer, as a data source yields it."""

    id: str  # unique within its source and stable between runs
    question: str
    answer: str  # the gold answer, as the grader reads it
    source: str  # name of the data set
    # Where the question is more than one user turn, which `question` then spells out.
    messages: tuple[Message, ...] = ()
    # Every column of the row, JSON-like, for verifiers that read more than the answer; empty for made problems.
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)
    rules: Rules = DEFAULT_RULES  # how answers are graded, where the source says so itself

    @property
    def example(self) -> Example:
        """The problem as a verifier sees it."""
        return Example(self.id, self.question, self.answer, self.source, self.columns)

    def grade_requests(self, responses: Iterable[tuple[str, str]]) -> list[GradeRequest]:
        """The requests to grade responses to this problem, each given as (sample id, text)."""
        example = self.example
        return [
            GradeRequest(name, self.answer, text, example=example, rules=self.rules)
            for name, text in responses
        ]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem rendered with the prompt template and tokenised."""

    problem: Problem
    token_ids: tuple[int, ...]

    @property
    def id(self) -> str:
        return self.problem.id


@dataclass(frozen=True, slots=True)
class Span:
    """From where on in a response which weights sampled its tokens."""

    version: int
    start: int  # first token
    # Whether what stands before it was read by the same weights, so that its log-probs are those of one model.
    own_context: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One response: written by the rollout, then by the reward stage (verdict, reward), then by the
    group estimator (advantage)."""

    # "<step>.<round>/<prompt id>/<index in group>", of a flow "<place in the stream>/..."; unique within a run
    id: str
    token_ids: tuple[int, ...]  # sampled tokens, the end token included where there is one
    logprobs: Floats  # [len(token_ids)] at rollout.temperature, by the engine, not truncated
    text: str
    truncated: bool  # came to the response limit before an end token or a stop text
    spans: tuple[Span, ...]  # versions of the policy weights that sampled it, in order
    verdict: Verdict | None = None
    reward: float = float("nan")  # correctness plus shaping; nan where the verifier failed
    in_loss: bool = True  # False: out of the loss (overlong filtering, or the verifier failed)
    advantage: float = float("nan")  # one number per sample

    @property
    def weight_version(self) -> int:
        """The oldest version that sampled a token of it."""
        return min(span.version for span in self.spans)

    @property
    def token_versions(self) -> Ints:
        """[len(token_ids)] the version of the weights that sampled each token."""
        return self._per_token([span.version for span in self.spans]).astype(np.int64)

    @property
    def own_context(self) -> NDArray[np.bool_]:
        """[len(token_ids)] `Span.own_context` of each token."""
        return self._per_token([span.own_context for span in self.spans]).astype(np.bool_)

    def _per_token(self, values: Sequence[int]) -> NDArray[np.int64]:
        ends = [span.start for span in self.spans[1:]] + [len(self.token_ids)]
        return np.repeat(values, [end - span.start for span, end in zip(self.spans, ends, strict=True)])

    @property
    def correct(self) -> bool:
        return self.verdict is not None and self.verdict.correct

    @property
    def failed(self) -> bool:
        """The verifier failed on it: neither right nor wrong, it counts in no mean and not in the loss."""
        return self.verdict is not None and self.verdict.failed


@dataclass(frozen=True, slots=True)
class Group:
    """All responses to one prompt."""

    prompt: Prompt
    samples: tuple[Sample, ...]

    @property
    def graded(self) -> tuple[Sample, ...]:
        """The samples on which the verifier did not fail."""
        return tuple(s for s in self.samples if not s.failed)

    def grade_requests(self) -> list[GradeRequest]:
        """The requests to grade its samples."""
        return self.prompt.problem.grade_requests((s.id, s.text) for s in self.samples)


# Of each problem met so far, by its id: how many of its answers were right, and of how many, older ones for less.
Successes = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """The groups of one training step with what it took to collect them."""

    groups: tuple[Group, ...]
    data_position: int  # prompts drawn from the training stream once this batch is consumed
    prompts_drawn: int  # prompts generated for this batch
    prompts_kept: int  # prompts that dynamic sampling let through (before cutting to size)
    rounds: int  # generate-and-filter rounds
    short_of: int  # groups missing because the refill cap was reached
    generated_tokens: int  # all sampled tokens, also of groups that were dropped
    seconds: dict[str, float] = field(default_factory=dict)  # phase name -> seconds spent collecting
    skipped: int = 0  # prompts of the stream that data.sampler passed over
    # What is known once this batch has been seen; empty for data.sampler=uniform.
    successes: Successes = field(default_factory=dict)
    dropped: tuple[Group, ...] = ()  # without a learning signal, or surplus; kept for the sample dump
    pending: tuple[int, ...] = ()  # prompts drawn before `data_position` whose groups are in no batch yet

    @property
    def acceptance(self) -> float:
        """Share of generated prompts that dynamic sampling kept."""
        return self.prompts_kept / max(self.prompts_drawn, 1)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every response of the step, those of dropped groups included."""
        return tuple(s for g in self.groups + self.dropped for s in g.samples)


@dataclass(frozen=True, slots=True)
class TokenSignals:
    """Per-token statistics [T] of the distributions at rollout.temperature, each None unless it is needed.

    The learner's scoring pass writes all but `kl_old`, which exists only inside the update.
    """

    old_logp: Floats | None = None  # sampled token under the policy that starts the update
    base_logp: Floats | None = None  # sampled token under the base model
    js_base: Floats | None = None  # JS(policy, base), exact over the vocabulary, in [0, ln 2]
    kl_policy_base: Floats | None = None  # KL(policy || base), exact
    kl_base_policy: Floats | None = None  # KL(base || policy), exact
    entropy: Floats | None = None  # of the policy
    base_entropy: Floats | None = None  # of the base model
    kl_old: Floats | None = None  # k3 estimate of KL(old || current); changes inside the update

    def present(self) -> dict[str, Floats]:
        """The statistics that are there, by name."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}


SIGNALS = frozenset(f.name for f in fields(TokenSignals))
STEP_SIGNALS = frozenset({"kl_old"})  # known only while the update runs


@dataclass(frozen=True, slots=True)
class Batch:
    """One training batch as flat arrays: `pack` writes it, scoring and the token advantage extend it."""

    input_ids: tuple[Ints, ...]  # N x [prompt + response]
    prompt_lengths: Ints  # [N]
    response_lengths: Ints  # [N]
    group_index: Ints  # [N] which group a sequence belongs to
    advantage: Floats  # [N] group advantage, one number per sample
    reward: Floats  # [N] nan where the verifier failed
    # [N] False where overlong filtering or a failed verifier takes a sequence out of it
    in_loss: NDArray[np.bool_]
    rollout_logp: Floats  # [T] sampled token under the rollout engine
    weight_version: Ints  # [T] of the weights that sampled a token
    own_context: NDArray[np.bool_]  # [T] whether they read what stands before it, too
    signals: TokenSignals = field(default_factory=TokenSignals)
    token_weight: Floats | None = None  # [T] the plug-in's weights; no gradient flows through them
    token_advantage: Floats | None = None  # [T] advantage x weight, what the loss consumes
    token_penalty: Floats | None = None  # [T] coefficients of |log pi - log pi_old| in the loss

    @property
    def size(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        """T, the response tokens of the batch."""
        return int(self.response_lengths.sum())

    @property
    def offsets(self) -> Ints:
        """[N + 1]: the tokens of sequence i are `offsets[i]:offsets[i + 1]`."""
        return np.concatenate([[0], np.cumsum(self.response_lengths)]).astype(np.int64)

    @property
    def response_ids(self) -> Ints:
        """[T] ids of the response tokens."""
        return np.concatenate(
            [ids[start:] for ids, start in zip(self.input_ids, self.prompt_lengths, strict=True)]
            or [np.zeros(0, dtype=np.int64)]
        )

    @property
    def sequence_of_token(self) -> Ints:
        """[T] the sequence that a token belongs to."""
        return np.repeat(np.arange(self.size), self.response_lengths)

    @property
    def position_of_token(self) -> Ints:
        """[T] the position of a token in its response, from 0."""
        return np.arange(self.tokens) - np.repeat(self.offsets[:-1], self.response_lengths)

    def select(self, rows: Ints) -> Batch:
        """The sub-batch of the given sequences, in the given order."""
        starts = self.offsets
        tokens = (
            np.concatenate([np.arange(starts[i], starts[i + 1]) for i in rows])
            if len(rows)
            else np.zeros(0, dtype=np.int64)
        )

        def per_token(values: Floats | None) -> Floats | None:
            return None if values is None else values[tokens]

        picked = {name: values[tokens] for name, values in self.signals.present().items()}
        return replace(
            self,
            input_ids=tuple(self.input_ids[i] for i in rows),
            prompt_lengths=self.prompt_lengths[rows],
            response_lengths=self.response_lengths[rows],
            group_index=self.group_index[rows],
            advantage=self.advantage[rows],
            reward=self.reward[rows],
            in_loss=self.in_loss[rows],
            weight_version=self.weight_version[tokens],
            own_context=self.own_context[tokens],
            rollout_logp=self.rollout_logp[tokens],
            signals=TokenSignals(**picked),
            token_weight=per_token(self.token_weight),
            token_advantage=per_token(self.token_advantage),
            token_penalty=per_token(self.token_penalty),
        )


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one `learner.step` reports, averaged over its updates unless said otherwise."""

    loss: float  # of the objective, per loss.aggregation
    grad_norm: float  # before clipping
    learning_rate: float  # of the last update
    ratio_max: float  # largest importance ratio seen, before clipping
    clip_low: float  # share of loss tokens held at the lower clip bound
    clip_high: float  # share of loss tokens held at the upper clip bound
    kl_old: float  # mean k3 KL(old || current)
    kl_base: float  # mean KL penalty estimate against the base, 0 when off
    updates: int  # of the optimiser
    micro_batches: int  # per rank, all updates together
    entropy_coef: float | None = None  # weight of the entropy bonus; None where there is none
