"""The oracle itself, against arithmetic with forty digits and values known in closed form."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from rlvr.divergence import WANTS, dist_stats


def exact(x: list[float], y: list[float]) -> dict[str, mpmath.mpf]:
    """JS, KL and entropy from their definitions."""
    with mpmath.workdps(40):
        p, q = ([mpmath.e ** mpmath.mpf(v) for v in row] for row in (x, y))
        p, q = ([v / mpmath.fsum(row) for v in row] for row in (p, q))
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        kl = lambda r, s: mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(r, s, strict=True))  # noqa: E731
        return {
            "js": (kl(p, m) + kl(q, m)) / 2,
            "kl_pq": kl(p, q),
            "kl_qp": kl(q, p),
            "entropy_p": -mpmath.fsum(a * mpmath.log(a) for a in p),
        }


@pytest.mark.parametrize("scale", [2.0, 1e-2, 1e-4])
@pytest.mark.parametrize("backend", ["oracle", "torch"])
def test_definitions(scale: float, backend: str) -> None:
    generator = torch.Generator().manual_seed(5)
    x = 2 * torch.randn(12, generator=generator)
    y = x + scale * torch.randn(12, generator=generator)
    expected = exact(x.tolist(), y.tolist())
    got = dist_stats(x[None], y[None], want=tuple(expected), backend=backend)
    for name, value in got.items():
        assert value.item() == pytest.approx(
            float(expected[name]), rel=2e-5 if expected["js"] > 1e-7 else 1e-3, abs=1e-11
        )


def test_closed_forms() -> None:
    x = torch.log(torch.tensor([[0.5, 0.5]]))
    y = torch.tensor([[0.0, -math.inf]])
    want = ("js", "kl_qp", "kl_pq", "entropy_p", "entropy_q", "rank_p_in_q", "rank_q_in_p", "argmax_p")
    got = dist_stats(x, y, want=want, backend="oracle")
    assert got.js.item() == pytest.approx(0.75 * math.log(4 / 3), rel=1e-6)  # H(3/4, 1/4) - ln 2 / 2
    assert got.kl_qp.item() == pytest.approx(math.log(2))
    assert got.kl_pq.item() == math.inf
    assert (got.entropy_p.item(), got.entropy_q.item()) == (pytest.approx(math.log(2)), 0.0)
    assert (got.argmax_p.item(), got.rank_p_in_q.item(), got.rank_q_in_p.item()) == (0, 1, 1)


@pytest.mark.parametrize("backend", ["oracle", "torch"])
def test_the_largest_js_does_not_exceed_ln_2_though_its_nearest_fp32_number_does(backend: str) -> None:
    x = torch.tensor([[0.0, -math.inf]])
    js = dist_stats(x, x.flip(1), backend=backend).js.item()
    assert math.log(2) - 1e-7 < js <= math.log(2)


@pytest.mark.parametrize("backend", ["oracle", "torch"])
def test_a_barred_token_makes_kl_infinite_though_its_probability_underflows(backend: str) -> None:
    x, y = torch.tensor([[0.0, -2000.0]]), torch.tensor([[0.0, -math.inf]])
    got = dist_stats(x, y, want=("js", "kl_pq", "kl_qp"), backend=backend)
    assert (got.kl_pq.item(), got.kl_qp.item(), got.js.item()) == (math.inf, 0.0, 0.0)


def test_a_given_normaliser_is_taken_as_it_is() -> None:
    x, ids = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64), torch.tensor([1])
    lse = torch.tensor([3.0], dtype=torch.float64)  # that of the logits over the temperature is another
    want = ("logp_p", "lse_p")
    got = dist_stats(x, None, ids, want=want, temperature=0.5, lse_p=lse, backend="oracle")
    assert (got.logp_p.item(), got.lse_p.item()) == (2.0 / 0.5 - 3.0, 3.0)


def test_ids_and_ranks_are_whole_numbers_and_all_else_is_fp32() -> None:
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    got = dist_stats(x, x.flip(1), torch.tensor([0, 3]), want=WANTS, top_p=0.9, backend="oracle")
    whole = {name for name, value in got.items() if value.dtype == torch.int64}
    assert whole == {"argmax_p", "argmax_q", "rank_p_in_q", "rank_q_in_p"}
    assert {value.dtype for name, value in got.items() if name not in whole} == {torch.float32}
