"""Which prompts of the stream are drawn (`data.sampler`): all in turn, or those that still teach something. Pure.

`prioritized` walks through the same stream as `uniform` and passes over problems that the policy has solved, or that
are hopeless to it: groups of theirs would be all right or all wrong, and generating them a waste (online difficulty
filtering: Bae et al., arXiv 2504.03380). What it knows of a problem is the running success of its own groups. So that
nothing is given up for good, one in 1 / `data.sampler_floor` such visits takes place all the same.

Success is noted when a batch has been collected, in the order of the steps. What a draw knows therefore is all
batches collected before it; how far the learner has come does not matter, so that with rollout.staleness > 0, too, the
draw is a function of what was generated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rlvr.config import Config
from rlvr.data.stream import EPOCH, PromptStream
from rlvr.errors import DataError
from rlvr.reward.score import worth
from rlvr.seeding import derived_seed
from rlvr.types import Group, Prompt, Successes

UNIFORM, PRIORITIZED = SAMPLERS = ("uniform", "prioritized")
MEMORY = 0.5  # of what was known of a problem counts on at its next visit: the policy has moved
# Answers of a group: where fewer of one kind are to be expected, a group will hardly have both.
EXPECTED = 0.5
DRAWS = 2**31  # values of derived_seed


class Standing(StrEnum):
    """What a problem is to the policy."""

    OPEN = "open"
    SOLVED = "solved"
    HOPELESS = "hopeless"


@dataclass(frozen=True, slots=True)
class Draw:
    """Prompts to answer, and where the stream goes on after them."""

    prompts: tuple[Prompt, ...]
    position: int
    skipped: int  # prompts of the stream that were passed over


class ProblemStream(Protocol):
    """What is drawn from, see `rlvr.data.stream.PromptStream`."""

    def take(self, position: int, count: int) -> list[Prompt]: ...


def draw(stream: ProblemStream, position: int, count: int, cfg: Config, known: Successes) -> Draw:
    """The next `count` prompts from a position of the stream on, by `data.sampler`.

    A function of the seed, the position and what is known. Whether a prompt is passed over depends on its own place
    in the stream, not on what is drawn with it.
    """
    if cfg.data.sampler == UNIFORM:
        return Draw(tuple(stream.take(position, count)), position + count, 0)
    prompts: list[Prompt] = []
    at = position
    while len(prompts) < count:
        [prompt] = stream.take(at, 1)
        past = known.get(problem_id(prompt))
        chance = derived_seed(cfg.seed, "curriculum", at) / DRAWS
        if chance < visited(past, cfg.rollout.samples_per_prompt, cfg.data.sampler_floor):
            prompts.append(prompt)
        at += 1
    return Draw(tuple(prompts), at, at - position - count)


def visited(past: tuple[float, float] | None, samples: int, floor: float) -> float:
    """The probability with which a problem is drawn when its turn comes; 1 where nothing is known of it."""
    return 1.0 if past is None or standing(*past, samples) is Standing.OPEN else floor


def standing(right: float, tried: float, samples: int) -> Standing:
    """What a problem is, of which `right` of `tried` answers were right, where groups have so many samples."""
    expected = samples * right / tried
    if samples - expected < EXPECTED:
        return Standing.SOLVED
    return Standing.HOPELESS if expected < EXPECTED else Standing.OPEN


def learnt(known: Successes, groups: Iterable[Group], cfg: Config) -> Successes:
    """What data.sampler knows once these graded groups have been seen; `uniform` goes by nothing."""
    return known if cfg.data.sampler == UNIFORM else after(known, groups, cfg.reward.score)


def after(known: Successes, groups: Iterable[Group], score: str) -> Successes:
    """What is known once these graded groups have been seen: (right, tried) of each problem, older visits for less.

    With partial credit (reward.score=raw) an answer counts for its credit; groups that differ in it are open, others
    are not. Samples on which the verifier failed count as not drawn.
    """
    found = dict(known)
    for group in groups:
        if not (graded := group.graded):
            continue
        credits = [worth(s, score) for s in graded]
        count = len(credits)
        differ = len(set(credits)) > 1
        now = min(max(sum(credits), EXPECTED), count - EXPECTED) if differ else count * (credits[0] >= 0.5)
        right, tried = found.get(problem_id(group.prompt), (0.0, 0.0))
        found[problem_id(group.prompt)] = (MEMORY * right + now, MEMORY * tried + count)
    return found


def problem_id(prompt: Prompt) -> str:
    """The problem's own id, the same in every epoch."""
    return EPOCH.sub("", prompt.id)


def count_standings(known: Successes, samples: int) -> Mapping[Standing, int]:
    """How many of the problems met so far are open, solved and hopeless."""
    counts = dict.fromkeys(Standing, 0)
    for right, tried in known.values():
        counts[standing(right, tried, samples)] += 1
    return counts


def check_sampler(cfg: Config, stream: PromptStream) -> None:
    """Refuse a curriculum over an endless stream, no problem of which comes twice.

    Raises:
        DataError: names the sources and the remedy.
    """
    endless = [part.name for part in stream.parts if part.size is None]
    if cfg.data.sampler != UNIFORM and endless:
        raise DataError(
            f"data.sampler={cfg.data.sampler} with {', '.join(endless)}: an endless source, no problem of which comes "
            "twice, so nothing can be known of one; set the source's limit (data.train.limit=500), or data.sampler="
            f"{UNIFORM}"
        )
