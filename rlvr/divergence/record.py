"""What can be asked of the divergence calls, and the record in which they answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class DistStats:
    """Statistics of T token positions, P the policy and Q the base; a field is None unless it was wanted.

    Every field has shape [T]: fp32 in nats, but int64 for arg-max and rank. Positions outside the mask hold 0.
    """

    js: Tensor | None = None  # Jensen-Shannon divergence, in [0, ln 2]
    kl_pq: Tensor | None = None  # KL(P || Q); +inf where Q gives no mass to a token that P can emit
    kl_qp: Tensor | None = None  # KL(Q || P)
    entropy_p: Tensor | None = None
    entropy_q: Tensor | None = None
    logp_p: Tensor | None = None  # log-probability of the token in `ids` under P
    logp_q: Tensor | None = None
    lse_p: Tensor | None = None  # log-normaliser of the logits after division by the temperature
    lse_q: Tensor | None = None
    argmax_p: Tensor | None = None  # int64, the lowest id among ties
    argmax_q: Tensor | None = None
    rank_p_in_q: Tensor | None = None  # int64, 1 + number of tokens that Q ranks strictly above P's arg-max
    rank_q_in_p: Tensor | None = None
    js_top_p: Tensor | None = None  # as above, each row truncated to its own nucleus and renormalised
    kl_pq_top_p: Tensor | None = None
    kl_qp_top_p: Tensor | None = None

    @classmethod
    def empty(cls, want: Collection[str], n_tokens: int, device: torch.device) -> DistStats:
        """Allocates the wanted fields, uninitialised."""
        return cls(**{name: torch.empty(n_tokens, dtype=_dtype(name), device=device) for name in want})

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Yields (name, [T] tensor) of every statistic present."""
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                yield item.name, value

    def rows(self, rows: slice) -> DistStats:
        """Returns views of the given positions: writing to them writes to this record."""
        return DistStats(**{name: value[rows] for name, value in self.items()})

    def scatter(self, positions: Tensor, n_tokens: int) -> DistStats:
        """Spreads the rows over `n_tokens` positions (int64 `positions`, one for each row); 0 elsewhere."""
        spread = {
            name: torch.zeros(n_tokens, dtype=value.dtype, device=value.device).index_copy_(
                0, positions, value
            )
            for name, value in self.items()
        }
        return DistStats(**spread)


WANTS: tuple[str, ...] = tuple(item.name for item in fields(DistStats))
TOP_P_WANTS = frozenset(name for name in WANTS if name.endswith("_top_p"))
NEEDS_Q = (
    TOP_P_WANTS
    | {"js", "kl_pq", "kl_qp", "entropy_q", "logp_q", "lse_q", "argmax_q"}
    | {
        "rank_p_in_q",
        "rank_q_in_p",
    }
)
MAX_JS = 0.6931471228599548  # the largest fp32 number that does not exceed ln 2
NEEDS_IDS = frozenset({"logp_p", "logp_q"})
INTEGER_WANTS = frozenset({"argmax_p", "argmax_q", "rank_p_in_q", "rank_q_in_p"})


def _dtype(name: str) -> torch.dtype:
    return torch.int64 if name in INTEGER_WANTS else torch.float32


@dataclass(frozen=True, slots=True)
class Request:
    """A validated question: which statistics, at which temperature, with which nucleus."""

    want: frozenset[str]
    temperature: float
    top_p: float | None

    @property
    def needs_q(self) -> bool:
        return not self.want.isdisjoint(NEEDS_Q)

    def has(self, *names: str) -> bool:
        """Tells whether any of the names is wanted."""
        return not self.want.isdisjoint(names)
