"""Answers that are given rather than sampled: the supervised control (`recipe=sft`) on the same loop.

Only the source of the groups changes; packing, scoring, learner, evaluation and checkpoints are those of RL.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from rlvr.data.tasks.generated import worked_answer
from rlvr.dotted import find_named, require_function
from rlvr.errors import ConfigError
from rlvr.types import Group, Problem, Prompt, Sample, Span, Tokenizer

# (problem, random numbers) -> the text of an answer to learn from
AnswerWriter = Callable[[Problem, random.Random], str]
ANSWERS: dict[str, AnswerWriter] = {"step_by_step": worked_answer}
NOT_SAMPLED = -1  # weight version of tokens that no engine sampled; they have no rollout log-probs


def build_answers(name: str) -> AnswerWriter:
    """The writer of answers called `name` (built in, or a dotted path).

    Raises:
        ConfigError: unknown name, or no function (problem, random).
    """
    write = find_named(name, ANSWERS, "rollout.answers")
    require_function(write, name, "rollout.answers", ("problem", "random"))
    return write


def given_groups(
    prompts: Sequence[Prompt],
    write: AnswerWriter,
    tokenizer: Tokenizer,
    *,
    n: int,
    key: str,
    seed: int,
    max_response_tokens: int,
) -> list[Group]:
    """`n` written answers to each prompt, ended by the tokenizer's end token; a function of key and seed.

    Raises:
        ConfigError: an answer does not fit into max_response_tokens.
    """
    return [
        Group(
            prompt,
            tuple(
                _sample(prompt, write, tokenizer, f"{key}/{prompt.id}/{i}", seed, max_response_tokens)
                for i in range(n)
            ),
        )
        for prompt in prompts
    ]


def _sample(
    prompt: Prompt,
    write: AnswerWriter,
    tokenizer: Tokenizer,
    sample_id: str,
    seed: int,
    max_response_tokens: int,
) -> Sample:
    text = write(prompt.problem, random.Random(f"{seed}/{sample_id}"))
    end = tokenizer.eos_token_id
    assert end is not None  # load_tokenizer has seen to it
    ids = (*tokenizer.encode(text, add_special_tokens=False), end)
    if len(ids) > max_response_tokens:
        raise ConfigError(
            f"rollout.max_response_tokens={max_response_tokens}: the given answer to {prompt.id} has {len(ids)} "
            "tokens; raise it"
        )
    return Sample(
        id=sample_id,
        token_ids=ids,
        logprobs=np.zeros(len(ids), dtype=np.float32),
        text=text,
        truncated=False,
        spans=(Span(NOT_SAMPLED, 0),),
    )
