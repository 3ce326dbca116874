"""Which prompts fit: the configured limit, and what the model's context leaves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr.errors import DataError
from rlvr.types import Prompt

log = logging.getLogger(__name__)

IDS_LISTED = 5


@dataclass(frozen=True, slots=True)
class LengthLimit:
    """How many tokens a prompt may have: the configured limit, and what the context leaves for it."""

    max_prompt_tokens: int
    context: int | None = None  # model.max_length; None: not checked here
    max_response_tokens: int = 0

    @property
    def tokens(self) -> int:
        if self.context is None:
            return self.max_prompt_tokens
        return min(self.max_prompt_tokens, self.context - self.max_response_tokens)

    def remedy(self, some_fit: bool) -> str:
        """What to do; skipping helps where some fit."""
        skipping = ", or set data.on_long_prompt=skip" if some_fit else ""
        if self.tokens == self.max_prompt_tokens:
            return f"data.max_prompt_tokens is {self.tokens}; raise it{skipping}"
        return (
            f"model.max_length {self.context} less rollout.max_response_tokens {self.max_response_tokens} "
            f"leaves {self.tokens}; change one of them{skipping}"
        )


def fitting_prompts(
    prompts: Sequence[Prompt], limit: LengthLimit, on_long_prompt: str
) -> tuple[tuple[Prompt, ...], tuple[str, ...]]:
    """Return the prompts that fit the limit, and the ids of those that do not.

    Raises DataError where a prompt does not fit and `on_long_prompt` is "refuse", and where none fits.
    """
    if on_long_prompt not in ("refuse", "skip"):
        raise DataError(f"data.on_long_prompt is {on_long_prompt!r}; expected 'refuse' or 'skip'")
    long = [prompt for prompt in prompts if len(prompt.token_ids) > limit.tokens]
    if not long:
        return tuple(prompts), ()
    listed = ", ".join(f"{prompt.id} ({len(prompt.token_ids)} tokens)" for prompt in long[:IDS_LISTED])
    more = ", ..." if len(long) > IDS_LISTED else ""
    message = f"{len(long)} of {len(prompts)} prompts are too long: {listed}{more}"
    if on_long_prompt == "refuse" or len(long) == len(prompts):
        raise DataError(f"{message}. {limit.remedy(len(long) < len(prompts))}")
    log.warning("%s. They are left out", message)
    return tuple(p for p in prompts if len(p.token_ids) <= limit.tokens), tuple(p.id for p in long)
