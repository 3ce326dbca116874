"""The training stream and the evaluation sets: problems as tokenised prompts.

The stream is a pure function of (seed, position), so a resumed run continues with exactly the prompts that it
would have seen. Another order of the same prompts is another `PromptSource`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.eval_sets import drawn, label_of, relabelled
from rlvr.data.fingerprint import Fingerprint, fingerprint
from rlvr.data.mixture import place_in_mixture, whole_weights
from rlvr.data.order import epoch_order
from rlvr.data.overlap import SharedQuestion, settle_overlap
from rlvr.data.problems import rules_of
from rlvr.data.prompting.control_tokens import without_control_tokens
from rlvr.data.prompting.lengths import LengthLimit, fitting_prompts
from rlvr.data.prompting.templates import PromptForm, build_template, tokenize
from rlvr.data.prompting.turns import refuse_unread_options
from rlvr.data.prompts import load_source, split_examples
from rlvr.data.sources import BadRow, LoadedSource, is_endless
from rlvr.data.tasks.generated import GENERATED
from rlvr.errors import DataError
from rlvr.reward.verdict import DEFAULT_RULES, Rules
from rlvr.types import Problem, Prompt, Tokenizer

EPOCH = re.compile(r"#\d+$")  # at the end of a prompt's id, see `EpochSource`
ENDLESS_PROBED = 64  # prompts that tell an endless stream's seed and version


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was left out of a training stream or an evaluation set."""

    bad_rows: tuple[BadRow, ...] = ()
    long_prompts: tuple[str, ...] = ()  # ids
    control_tokens: tuple[str, ...] = ()  # ids of problems whose questions spell one
    overlaps: tuple[SharedQuestion, ...] = ()  # found; whether their problems were dropped is data.on_overlap


@dataclass(frozen=True, slots=True)
class EvalSet:
    """An evaluation set as tokenised prompts."""

    name: str
    prompts: tuple[Prompt, ...]
    left_out: LeftOut = LeftOut()
    format: str = ""  # of its rows, see `rlvr.data.reading.formats`

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells these prompts from others; computed anew each time."""
        return fingerprint(self.prompts, len(self.prompts))


class PromptSource(Protocol):
    """Prompts by position; `size` is their number, None if endless."""

    @property
    def size(self) -> int | None: ...

    def at(self, position: int) -> Prompt: ...


@dataclass(frozen=True, slots=True)
class EpochSource:
    """A finite data set, walked through again and again; every epoch has its own order when shuffled.

    From the second epoch on a prompt's id carries the epoch, counted from 0, as `<id>#<epoch>`: prompt ids
    are unique within a run. A problem whose own id ends so has it in the first epoch, too.
    """

    prompts: tuple[Prompt, ...]
    seed: int
    shuffle: bool = True

    @property
    def size(self) -> int:
        return len(self.prompts)

    def at(self, position: int) -> Prompt:
        epoch, place = divmod(position, self.size)
        prompt = self.prompts[epoch_order(self.seed, epoch, self.size)[place] if self.shuffle else place]
        if epoch == 0 and not EPOCH.search(prompt.id):
            return prompt
        return replace(prompt, problem=replace(prompt.problem, id=f"{prompt.id}#{epoch}"))


@dataclass(frozen=True, slots=True)
class GeneratedSource:
    """The endless problems of a built-in task: position i is problem i of the seed."""

    name: str
    seed: int
    form: PromptForm
    tokenizer: Tokenizer
    limit: LengthLimit
    rules: Rules = DEFAULT_RULES

    @property
    def size(self) -> None:
        return None

    def at(self, position: int) -> Prompt:
        problem = replace(GENERATED[self.name].train(self.seed, position), rules=self.rules)
        prompt = tokenize(problem, self.form, self.tokenizer)
        fitting_prompts((prompt,), self.limit, "refuse")  # skipping would shift every later position
        return prompt


@dataclass(frozen=True, slots=True)
class PromptStream:
    """The training prompts in the order in which a run draws them."""

    name: str
    source: PromptSource
    left_out: LeftOut = LeftOut()
    format: str = ""  # of its rows, see `rlvr.data.reading.formats`

    @property
    def size(self) -> int | None:
        """Prompts of one epoch; None for an endless stream, and for a mixture, whose sources have their own."""
        return self.source.size

    @property
    def parts(self) -> tuple[PromptStream, ...]:
        """The streams of a mixture's sources; of another stream only itself."""
        return self.source.parts if isinstance(self.source, MixtureSource) else (self,)

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells this stream from others: the first epoch of each source in its order, or the first prompts of
        an endless one."""
        sizes = [part.size for part in self.parts]
        known = [size for size in sizes if size is not None]
        probed = (part.take(0, part.size or ENDLESS_PROBED) for part in self.parts)
        return fingerprint(chain.from_iterable(probed), sum(known) if len(known) == len(sizes) else None)

    def take(self, position: int, count: int) -> list[Prompt]:
        """Return prompts `position` to `position + count - 1`; depends on nothing else.

        Raises:
            DataError: either number is negative.
        """
        if position < 0 or count < 0:
            raise DataError(f"take(position={position}, count={count}): both must be at least 0")
        return [self.source.at(index) for index in range(position, position + count)]


@dataclass(frozen=True, slots=True)
class MixtureSource:
    """Several streams, interleaved by weight; each goes on as it would alone, with its own epochs and shuffles."""

    parts: tuple[PromptStream, ...]
    weights: tuple[int, ...]

    @property
    def size(self) -> None:
        return None

    def at(self, position: int) -> Prompt:
        source, place = place_in_mixture(position, self.weights)
        return self.parts[source].source.at(place)


def build_training_stream(
    cfg: DataConfig,
    tokenizer: Tokenizer,
    *,
    seed: int,
    eval_sets: Sequence[EvalSet],
    context: int | None = None,
    max_response_tokens: int = 0,
    verifier: str | None = None,
) -> PromptStream:
    """Build the stream of `data.train`, checked against the evaluation sets by `data.on_overlap`.

    `context` and `max_response_tokens` also hold prompts to the room that a response leaves. `verifier` grades where a
    source names none.
    Raises DataError for bad rows, long prompts and overlap, each by its policy, and for an unusable seed.
    """
    if not 0 <= seed < 2**32:
        raise DataError(f"seed is {seed}; expected a number in [0, 2**32)")
    limit = LengthLimit(cfg.max_prompt_tokens, context, max_response_tokens)
    read = [_read(source, cfg, tokenizer, verifier) for source in cfg.training]
    finite = [part.problems for part in read if part.loaded]
    kept, overlaps = _without_overlap(finite, cfg, eval_sets)
    parts = []
    for source, part in zip(cfg.training, read, strict=True):
        if part.loaded is None:
            endless = GeneratedSource(source.name, seed, part.form, tokenizer, limit, rules_of(source))
            endless.at(0)  # a template or limit that cannot work fails here rather than at step 1
            parts.append(PromptStream(source.name, endless))
            continue
        ids = {problem.id for problem in part.problems}
        prompts = [tokenize(problem, part.form, tokenizer) for problem in kept if problem.id in ids]
        if not prompts:
            raise DataError(
                f"data source {source.name!r}: all of its questions also stand in an evaluation set, and "
                "data.on_overlap=drop leaves none: choose another training split"
            )
        fitting, long = fitting_prompts(prompts, limit, cfg.on_long_prompt)
        shared = tuple(pair for pair in overlaps if pair.train_id in ids)
        left_out = LeftOut(part.loaded.bad_rows, long, part.control_tokens, shared)
        epochs = EpochSource(fitting, seed, cfg.shuffle)
        parts.append(PromptStream(source.name, epochs, left_out, part.loaded.format))
    if len(parts) == 1:
        return parts[0]
    weights = whole_weights([source.weight for source in cfg.training])
    return PromptStream(cfg.label, MixtureSource(tuple(parts), weights))


@dataclass(frozen=True, slots=True)
class _Read:
    """A source as read: its problems without those that are shown as examples, and how they become prompts."""

    loaded: LoadedSource | None  # None: endless
    form: PromptForm
    problems: tuple[Problem, ...]
    control_tokens: tuple[str, ...]  # ids of those that were left out


def _read(
    source: SourceConfig,
    cfg: DataConfig,
    tokenizer: Tokenizer,
    verifier: str | None,
    *,
    evaluation: bool = False,
) -> _Read:
    endless = not evaluation and is_endless(source)
    loaded = None if endless else load_source(source, cfg, evaluation=evaluation, verifier=verifier)
    form, problems = split_examples(source, cfg, loaded)
    if build_template(form.template).chat:
        refuse_unread_options(tokenizer, form.chat_options, cfg.chat_template_kwargs)
    return _Read(loaded, form, *without_control_tokens(problems, form, tokenizer, cfg.on_bad_row))


def _without_overlap(
    read: Sequence[tuple[Problem, ...]], cfg: DataConfig, eval_sets: Sequence[EvalSet]
) -> tuple[tuple[Problem, ...], tuple[SharedQuestion, ...]]:
    """The problems of all finite sources together, and what they share with the evaluation sets."""
    if not read:
        return (), ()
    problems = [problem for part in read for problem in part]
    held_out = {chosen.name: tuple(prompt.problem for prompt in chosen.prompts) for chosen in eval_sets}
    return settle_overlap(problems, held_out, cfg.on_overlap)


def build_eval_sets(
    cfg: DataConfig,
    tokenizer: Tokenizer,
    *,
    context: int | None = None,
    max_response_tokens: int = 0,
    verifier: str | None = None,
) -> tuple[EvalSet, ...]:
    """Build the evaluation sets of `data.eval`, each in its own order; `verifier` grades where a set names none.

    Raises DataError for bad rows and long prompts, by their policies, and for two sets of the same name.
    """
    names = [label_of(source) for source in cfg.eval]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"data.eval names {', '.join(twice)} more than once; give each source its own name or label"
        )
    limit = LengthLimit(cfg.max_prompt_tokens, context, max_response_tokens)
    sets = []
    for source in cfg.eval:
        read = _read(source, cfg, tokenizer, verifier, evaluation=True)
        problems = relabelled(drawn(read.problems, source), source)
        prompts = [tokenize(problem, read.form, tokenizer) for problem in problems]
        kept, long = fitting_prompts(prompts, limit, cfg.on_long_prompt)
        assert read.loaded is not None  # an endless set is no evaluation set
        sets.append(
            EvalSet(
                label_of(source),
                kept,
                LeftOut(read.loaded.bad_rows, long, read.control_tokens),
                read.loaded.format,
            )
        )
    return tuple(sets)
