r"""The second built-in task: one short sentence that keeps to the instructions of its prompt.

A prompt asks for a number of words and for one to three further things, all checkable (Zhou et al., IFEval, arXiv
2311.07911):

    write 7 words starting with the, without red, ending in dog:

Sentences have the form "the big fox sees a small dog". A base model trained on a mixture of answers has a few
decisions to make, each visible as one token: keep to the instructions or chat, use a forbidden word, stop or go on.

    the big fox sees a small dog                 keeps to them all
    well the cat has a dog                       chat: right by accident only
    the fox sees the old dog and a bird          goes on after the last word asked for

Every prompt belongs either to training or to the held-out set, decided by a hash of its text, so the two cannot
overlap. Problem ``i`` of seed ``s`` is a pure function of both: a resumed run sees the same problems.
"""

import random
import re
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from rlvr.data.tasks.arithmetic import is_held_out
from rlvr.types import Problem

SOURCE = "instructions"

ARTICLES = ("the", "a")
ADJECTIVES = ("red", "big", "new", "shy", "sad", "wet", "hot", "bad")
NOUNS = ("fox", "dog", "cat", "bird", "fish", "bee", "cow", "goat", "pig", "wolf", "duck", "bear")
VERBS = ("sees", "has", "likes", "finds")
CHATTER = "well"  # the first word of an answer that does not keep to the instructions
MORE = "and"  # how an answer goes on that should have ended
FRAME = 5  # words of a sentence without adjectives: article noun verb article noun
MOST_ADJECTIVES = 2  # before one noun
QUESTION = re.compile(
    r"write (\d) words (?:starting with (\w+))?(?:(?:, )?without (\w+))?(?:(?:, )?ending in (\w+))?:"
)
KINDS = tuple(kinds for kinds in product((False, True), repeat=3) if any(kinds))  # start, exclude, end
WORDS = tuple(range(FRAME, FRAME + 2 * MOST_ADJECTIVES + 1))


@dataclass(frozen=True, slots=True)
class Instructions:
    """What one prompt asks for; empty words: nothing of that kind."""

    words: int
    start: str = ""  # the first word
    exclude: str = ""  # a word that must not
    end: str = ""  # the last word

    @property
    def question(self) -> str:
        """The text of the prompt."""
        parts = [
            f"starting with {self.start}" if self.start else "",
            f"without {self.exclude}" if self.exclude else "",
            f"ending in {self.end}" if self.end else "",
        ]
        return f"write {self.words} words " + ", ".join(filter(None, parts)) + ":"

    @property
    def constraints(self) -> list[dict[str, Any]]:
        """The same as the column that `reward.verifier=instruction` reads."""
        found: list[dict[str, Any]] = [
            {"id": "length_constraints:number_words", "num_words": self.words, "relation": "exactly"}
        ]
        if self.start:
            # startend:start_checker would take "then" for "the".
            found.append({"id": "detectable_format:regex", "pattern": rf"^{self.start}\b"})
        if self.exclude:
            found.append({"id": "keywords:forbidden_words", "forbidden_words": [self.exclude]})
        if self.end:
            found.append({"id": "startend:end_checker", "end_phrase": self.end})
        return found

    def kept(self, response: str) -> bool:
        """Whether a response keeps to all of them."""
        words = response.split()
        return (
            len(words) == self.words
            and (not self.start or words[0] == self.start)
            and (not self.exclude or self.exclude not in words)
            and (not self.end or words[-1] == self.end)
        )


@dataclass(frozen=True, slots=True)
class InstructionStyle:
    """How often an answer written for the base model's training goes wrong, and in which way.

    Every field is a probability. The defaults are the mixture that the shipped base model was trained on.
    """

    careful: float = 0.50  # share of answers that try to keep to the instructions; the others chat
    chat_right: float = 0.10  # an answer that begins with chatter keeps to them on purpose this often
    miscount: float = 0.06  # a careful answer has one adjective too many or too few
    forget: float = 0.06  # ... ends as it likes
    forbidden: float = 0.25  # ... uses the word that it should not
    go_on: float = 0.15  # ... does not stop at the end


def sample_instructions(rng: random.Random) -> Instructions:
    """Draw instructions that can be kept together; the prompt may be a held-out one."""
    start, exclude, end = rng.choice(KINDS)
    noun = rng.choice(NOUNS)
    forbidden = rng.choice([word for word in (*ADJECTIVES, *NOUNS, *VERBS) if word != noun])
    return Instructions(
        words=rng.choice(WORDS),
        start=rng.choice(ARTICLES) if start else "",
        exclude=forbidden if exclude else "",
        end=noun if end else "",
    )


def sentence(asked: Instructions, rng: random.Random) -> str:
    """Write a sentence that keeps to the instructions."""
    adjectives, nouns, verbs = (
        [w for w in kind if w != asked.exclude] for kind in (ADJECTIVES, NOUNS, VERBS)
    )
    pair = [rng.choice(nouns), asked.end or rng.choice(nouns)]
    extra = asked.words - FRAME
    before = rng.randint(max(0, extra - MOST_ADJECTIVES), min(MOST_ADJECTIVES, extra))
    counts = (before, extra - before)
    first, second = (
        [rng.choice(ARTICLES), *rng.sample(adjectives, count), noun]
        for count, noun in zip(counts, pair, strict=True)
    )
    return " ".join([asked.start or first[0], *first[1:], rng.choice(verbs), *second])


def mixed_answer(asked: Instructions, rng: random.Random, style: InstructionStyle) -> str:
    """Write one answer of the base model's training mixture."""
    if rng.random() >= style.careful:
        return _chat(asked, rng, style)
    if rng.random() < style.miscount:
        asked = replace(asked, words=rng.choice([n for n in WORDS if abs(n - asked.words) == 1]))
    text = sentence(replace(asked, end="") if rng.random() < style.forget else asked, rng)
    if asked.exclude and rng.random() < style.forbidden:
        text = _with_forbidden(text, asked.exclude, rng)
    if rng.random() < style.go_on:
        text += f" {MORE} {rng.choice(ARTICLES)} {rng.choice(NOUNS)}"
    return text


def _chat(asked: Instructions, rng: random.Random, style: InstructionStyle) -> str:
    if asked.words > FRAME and rng.random() < style.chat_right:
        return f"{CHATTER} {sentence(replace(asked, words=asked.words - 1), rng)}"
    return f"{CHATTER} {sentence(Instructions(rng.choice(WORDS)), rng)}"


def _with_forbidden(text: str, word: str, rng: random.Random) -> str:
    """The text with one word of the same kind replaced by a forbidden one, where there is one of its kind."""
    [kind] = [words for words in (ADJECTIVES, NOUNS, VERBS) if word in words]
    words = text.split()
    places = [place for place, other in enumerate(words) if other in kind]
    if places:
        words[rng.choice(places)] = word
    return " ".join(words)


def train_problem(seed: int, index: int) -> Problem:
    """Return training problem ``index`` of stream ``seed``, never a held-out prompt."""
    return _problem(train_instructions(seed, index), f"{SOURCE}/train/{seed}/{index}")


def held_out(n: int = 200) -> list[Problem]:
    """Return the first ``n`` problems of the fixed held-out set; their prompts are distinct."""
    asked = held_out_instructions(n)
    return [_problem(one, f"{SOURCE}/held_out/{index}") for index, one in enumerate(asked)]


def careful_answer(problem: Problem, rng: random.Random) -> str:
    """Write an answer that keeps to the instructions of a problem of this task.

    Raises ValueError if the problem is not one of this task.
    """
    return sentence(instructions_of(problem), rng)


def instructions_of(problem: Problem) -> Instructions:
    """Return what a problem of this task asks for.

    Raises ValueError if its question is not of this task.
    """
    found = QUESTION.fullmatch(problem.question)
    if found is None:
        raise ValueError(
            f"problem {problem.id}: {problem.question!r} is not of the form 'write 6 words without fox:'"
        )
    start, exclude, end = (word or "" for word in found.groups()[1:])
    return Instructions(int(found[1]), start, exclude, end)


def _problem(asked: Instructions, problem_id: str) -> Problem:
    """The answer of the row is one of many that are right."""
    answer = sentence(asked, random.Random(problem_id))
    columns = {"constraints": asked.constraints}
    return Problem(problem_id, asked.question, answer, SOURCE, columns=columns)


def train_instructions(seed: int, index: int) -> Instructions:
    """Return the instructions of training problem ``index`` of stream ``seed``, never those of a held-out prompt."""
    return _drawn(random.Random(f"{SOURCE}/train/{seed}/{index}"), held_out=False)


def held_out_instructions(n: int = 200) -> list[Instructions]:
    """Return the first ``n`` instructions of the fixed held-out set; their prompts are distinct."""
    rng = random.Random(f"{SOURCE} held out")
    found: dict[str, Instructions] = {}
    while len(found) < n:
        asked = _drawn(rng, held_out=True)
        found.setdefault(asked.question, asked)
    return list(found.values())


def _drawn(rng: random.Random, *, held_out: bool) -> Instructions:
    while is_held_out((asked := sample_instructions(rng)).question) != held_out:
        pass
    return asked
