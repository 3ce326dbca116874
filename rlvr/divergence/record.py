"""What can be asked of the divergence calls, and the record in which they answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class DistStats:
    """Statistics of T token positions, P the policy and Q the base; a field is None unless it was wanted.

    Every field has shape [T]: fp32 in nats, but int64 for arg-max and rank. Masked positions hold 0.
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

    def only(self, want: Collection[str]) -> DistStats:
        """Returns the record without the statistics that are not in `want`."""
        return DistStats(**{name: value for name, value in self.items() if name in want})

    def put(self, name: str, value: Tensor) -> None:
        """Copies `value` [T] into the statistic `name`."""
        getattr(self, name).copy_(value)

    def scatter(self, positions: Tensor, n_tokens: int) -> DistStats:
        """Spreads the rows over `n_tokens` positions (int64 `positions`, one for each row); 0 elsewhere."""
        spread = {
            name: value.new_zeros(n_tokens).index_copy_(0, positions, value) for name, value in self.items()
        }
        return DistStats(**spread)


WANTS: tuple[str, ...] = tuple(item.name for item in fields(DistStats))
OF_P_ALONE = frozenset({"entropy_p", "logp_p", "lse_p", "argmax_p"})
NEEDS_Q = frozenset(WANTS) - OF_P_ALONE
NEEDS_IDS = frozenset({"logp_p", "logp_q"})
PAIR_WANTS = ("js", "kl_pq", "kl_qp")
TOP_P_WANTS = tuple(name + "_top_p" for name in PAIR_WANTS)
INTEGER_WANTS = frozenset({"argmax_p", "argmax_q", "rank_p_in_q", "rank_q_in_p"})
MAX_JS = 0.6931471228599548  # the largest fp32 number that does not exceed ln 2


def _dtype(name: str) -> torch.dtype:
    return torch.int64 if name in INTEGER_WANTS else torch.float32


@dataclass(frozen=True, slots=True)
class StatsRequest:
    """A validated question: which statistics, at which temperature, with which nucleus."""

    want: frozenset[str]
    temperature: float = 1.0
    top_p: float | None = None
    validate: bool = True  # whether NaN rows are looked for where that costs a wait for the device

    @property
    def needs_q(self) -> bool:
        return not self.want.isdisjoint(NEEDS_Q)

    def has(self, *names: str) -> bool:
        """Tells whether any of the names is wanted."""
        return not self.want.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Rows:
    """The logits of T positions and what belongs to them, as a backend receives them."""

    x: Tensor  # [T, V] logits of P; with x_is_delta, logits of P minus logits of Q
    y: Tensor | None = None  # [T, V] logits of Q
    ids: Tensor | None = None  # [T] sampled tokens
    lse_p: Tensor | None = (
        None  # [T] log-normalisers of the logits over the temperature, if the caller knows them
    )
    lse_q: Tensor | None = None
    x_is_delta: bool = False
    first: int = 0  # index of the first row in the caller's tensors, for error messages

    def __getitem__(self, rows: slice) -> Rows:
        y, ids, lse_p, lse_q = (None if value is None else value[rows] for value in self._optional())
        return Rows(self.x[rows], y, ids, lse_p, lse_q, self.x_is_delta, self.first + (rows.start or 0))

    def select(self, positions: Tensor) -> Rows:
        """Gathers the rows at the int64 `positions`."""
        given = self._optional()
        y, ids, lse_p, lse_q = (
            None if value is None else value.index_select(0, positions) for value in given
        )
        return Rows(self.x.index_select(0, positions), y, ids, lse_p, lse_q, self.x_is_delta, self.first)

    def _optional(self) -> tuple[Tensor | None, ...]:
        return (self.y, self.ids, self.lse_p, self.lse_q)
