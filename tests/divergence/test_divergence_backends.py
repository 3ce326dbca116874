"""Every backend against the float64 oracle. TRITON_INTERPRET=1 adds the Triton kernel in its interpreter."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.divergence import WANTS, DistStats, dist_stats
from tests.helpers.divergence_cases import (
    BACKENDS,
    DEVICE,
    INF,
    INTERPRETED,
    LN2,
    adversarial_rows,
    assert_like_oracle,
    check,
    close_pair,
    stacked,
)

pytestmark = [
    pytest.mark.parametrize("backend", BACKENDS),
    # The interpreter computes with numpy, which reports the infinities that the kernel makes on purpose.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
EXAMPLES = settings(max_examples=10 if INTERPRETED else 60, deadline=None, derandomize=True)
VOCABULARIES = [1, 7, 2047, 2048, 2049, 50_257]
LARGE_VOCABULARIES = [151_936, 262_144]


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills outputs with a wrong value first, so that an entry that is never written shows."""
    empty = DistStats.empty.__func__

    def poisoned(cls, want, n_tokens, device):
        stats = empty(cls, want, n_tokens, device)
        for _, value in stats.items():
            value.fill_(-77)
        return stats

    monkeypatch.setattr(DistStats, "empty", classmethod(poisoned))


@pytest.mark.parametrize("scale", [3.0, 0.1, 1e-3])
@pytest.mark.parametrize("vocab", VOCABULARIES)
def test_random_rows(backend: str, vocab: int, scale: float) -> None:
    check(*close_pair(3, vocab, scale), backend)


@pytest.mark.parametrize("vocab", LARGE_VOCABULARIES)
def test_large_vocabularies(backend: str, vocab: int) -> None:
    rows = 1 if INTERPRETED else 2  # twenty seconds each there; smaller vocabularies have several
    check(*close_pair(rows, vocab, 0.3), backend)


@pytest.mark.parametrize("vocab", [8, 2500])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adversarial_rows(backend: str, vocab: int, dtype: torch.dtype) -> None:
    rows = adversarial_rows(vocab)
    x, y = stacked(rows)
    ids = torch.arange(len(rows), device=DEVICE) % vocab
    check(x.to(dtype), y.to(dtype), ids, backend)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_and_mixtures_of_them(backend: str, dtype: torch.dtype) -> None:
    x, y, ids = close_pair(3, 700, 0.5)
    check(x.to(dtype), y.to(dtype), ids, backend)
    check(x.to(dtype).float(), y.to(dtype), ids, backend)


@pytest.mark.parametrize("temperature", [0.6, 1.7])
def test_temperature(backend: str, temperature: float) -> None:
    x, y, ids = close_pair(4, 333, 0.5)
    check(x, y, ids, backend, temperature=temperature)


@pytest.mark.parametrize("top_p", [0.05, 0.9, 0.999999, 1.0])
def test_top_p(backend: str, top_p: float) -> None:
    check(*close_pair(3, 3000, 0.3), backend, top_p=top_p)


def test_the_nucleus_keeps_all_ties(backend: str) -> None:
    x = torch.tensor([[2.0, 1.0, 1.0, 1.0, -5.0]], device=DEVICE)
    got = dist_stats(x, x.roll(1, 1), want=("js_top_p", "kl_pq_top_p"), top_p=0.5, backend=backend)
    # Nuclei of four tokens each, of which three are shared: p = (e, 1, 1, 1) / (e + 3).
    e, total = math.e, math.e + 3
    p, q = [e / total, *[1 / total] * 3, 0], [0, e / total, *[1 / total] * 3]
    expected = sum(v / 2 * math.log(2 * v / (a + b)) for a, b in zip(p, q, strict=True) for v in (a, b) if v)
    assert got.js_top_p.item() == pytest.approx(expected, rel=1e-6)
    assert got.kl_pq_top_p.item() == INF


def test_given_normalisers_are_used(backend: str) -> None:
    x, y, ids = close_pair(4, 600, 0.5)
    lse_p, lse_q = torch.logsumexp(x / 0.7, -1), torch.logsumexp(y / 0.7, -1)
    check(x, y, ids, backend, temperature=0.7, lse_p=lse_p, lse_q=lse_q)
    check(x, y, ids, backend, temperature=0.7, lse_q=lse_q)
    for beside in ((), ("entropy_p",)):  # what else is wanted changes neither
        want = ("logp_p", "lse_p", *beside)
        moved = dist_stats(x, want=want, ids=ids, lse_p=lse_p + 1.0, backend=backend)
        assert torch.allclose(moved.lse_p, lse_p + 1.0)
        expected = x.gather(1, ids.long()[:, None])[:, 0] - lse_p - 1.0
        assert torch.allclose(moved.logp_p.float(), expected, atol=1e-5)


def test_identical_rows_give_exactly_zero(backend: str) -> None:
    rows = {name: pair for name, pair in adversarial_rows(2100).items() if "dead" not in name}
    x, _ = stacked(rows)
    got = dist_stats(x, x.clone(), want=("js", "kl_pq", "kl_qp"), backend=backend)
    for name, value in got.items():
        assert value.eq(0.0).all(), name


def test_disjoint_rows_give_ln_2(backend: str) -> None:
    x = torch.full((2, 5000), -INF, device=DEVICE)
    y = x.clone()
    x[:, ::2] = 3 * torch.randn(2, 2500, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    y[:, 1::2] = 0.0
    got = dist_stats(x, y, want=("js", "kl_pq", "kl_qp"), backend=backend)
    assert (got.js.double() - LN2).abs().max() <= 6e-8
    assert got.js.double().max() <= LN2
    assert torch.isinf(got.kl_pq).all()
    assert torch.isinf(got.kl_qp).all()


def test_contract_of_infinities(backend: str) -> None:
    rows = adversarial_rows(64)
    names = list(rows)
    x, y = stacked(rows)
    got = dist_stats(x, y, want=("js", "kl_pq", "kl_qp", "entropy_q", "lse_p"), backend=backend)
    one, other, dead = (names.index(n) for n in ("barred in one", "barred in the other", "dead"))
    assert math.isfinite(got.kl_pq[one]), "P bars tokens: KL(P || Q) stays finite"
    assert got.kl_qp[one] == INF
    assert got.kl_pq[other] == INF
    assert math.isfinite(got.kl_qp[other])
    for value in (got.js, got.kl_pq, got.kl_qp):
        assert math.isnan(value[dead])
    assert got.lse_p[dead] == -INF
    assert math.isfinite(got.entropy_q[dead]), "the other row is not touched by a dead one"


def test_symmetry_permutation_and_shift(backend: str) -> None:
    x, y, _ = close_pair(6, 2300, 0.5)
    order = torch.randperm(2300, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    want = ("js", "kl_pq", "kl_qp")
    base = dist_stats(x, y, want=want, backend=backend)
    swapped = dist_stats(y, x, want=want, backend=backend)
    permuted = dist_stats(x[:, order], y[:, order], want=want, backend=backend)
    shifted = dist_stats(x.double().float(), y + 64.0, want=("js",), backend=backend)
    torch.testing.assert_close(base.js, swapped.js, rtol=1e-6, atol=0)
    torch.testing.assert_close(base.kl_pq, swapped.kl_qp, rtol=1e-5, atol=0)
    torch.testing.assert_close(base.js, permuted.js, rtol=2e-6, atol=0)
    torch.testing.assert_close(base.js, shifted.js, rtol=1e-4, atol=0)  # y + 64 is rounded


def test_two_runs_agree_bit_for_bit(backend: str) -> None:
    x, y, ids = close_pair(5, 5000, 0.5)
    first, second = (dist_stats(x, y, ids, want=WANTS, top_p=0.7, backend=backend) for _ in range(2))
    for (name, a), (_, b) in zip(first.items(), second.items(), strict=True):
        assert torch.equal(a, b), name


def test_strides_offsets_and_views(backend: str) -> None:
    x, y, ids = close_pair(3, 1500, 0.5)
    expected = dist_stats(x, y, ids, want=WANTS, top_p=0.7, backend="oracle")
    padded = torch.full((2, 3, 1531), 9e9, device=DEVICE)
    padded[0, :, 7:1507], padded[1, :, 7:1507] = x, y  # padded rows that start off any alignment
    inner = torch.stack((x, y), -1)  # inner stride 2
    column = torch.stack((x, y)).transpose(1, 2).contiguous().transpose(1, 2)  # inner stride T
    for a, b in ((padded[0, :, 7:1507], padded[1, :, 7:1507]), (inner[..., 0], inner[..., 1]), tuple(column)):
        got = dist_stats(a, b, ids, want=WANTS, top_p=0.7, backend=backend)
        assert_like_oracle(got, expected)


@pytest.mark.parametrize("vocab", [1, 40])
def test_no_tokens(backend: str, vocab: int) -> None:
    x = torch.empty(0, vocab, device=DEVICE)
    got = dist_stats(
        x, x, torch.empty(0, dtype=torch.int64, device=DEVICE), want=WANTS, top_p=0.7, backend=backend
    )
    assert all(value.shape == (0,) for _, value in got.items())


def test_mask_skips_rows(backend: str) -> None:
    x, y, ids = close_pair(6, 90, 0.5)
    mask = torch.tensor([True, False, True, True, False, True], device=DEVICE)
    x[1], ids[4] = math.nan, -100  # neither may be looked at
    got = dist_stats(x, y, ids, want=WANTS, top_p=0.7, mask=mask, backend=backend)
    expected = dist_stats(x[mask], y[mask], ids[mask], want=WANTS, top_p=0.7, backend="oracle")
    assert_like_oracle(DistStats(**{name: value[mask] for name, value in got.items()}), expected)
    assert all(value[~mask].eq(0).all() for _, value in got.items())


@pytest.mark.parametrize("name", WANTS)
def test_each_statistic_alone(backend: str, name: str) -> None:
    x, y, ids = close_pair(3, 2200, 0.5)
    x[1, 5:9], y[1, 7:20] = -INF, -INF
    got = check(x, y, ids, backend, want=(name,))
    assert [key for key, _ in got.items()] == [name]


def test_p_alone(backend: str) -> None:
    x, _, ids = close_pair(3, 2200, 0.5)
    x[0, :1000] = -INF
    want = ("entropy_p", "logp_p", "lse_p", "argmax_p")
    got = dist_stats(x, None, ids, want=want, backend=backend)
    assert_like_oracle(got, dist_stats(x, None, ids, want=want, backend="oracle"))


@pytest.mark.slow
@EXAMPLES
@given(
    rows=st.lists(
        st.tuples(st.floats(-60, 60, width=32), st.floats(-60, 60, width=32)), min_size=2, max_size=40
    ),
    close=st.sampled_from([1.0, 1e-2, 1e-4]),
)
def test_bounds_and_oracle_on_any_row(backend: str, rows: list[tuple[float, float]], close: float) -> None:
    x = torch.tensor([[a for a, _ in rows]], device=DEVICE)
    y = x + close * torch.tensor([[b for _, b in rows]], device=DEVICE)
    want = ("js", "kl_pq", "kl_qp")
    got = dist_stats(x, y, want=want, backend=backend)
    assert 0.0 <= got.js.item() <= LN2
    assert got.kl_pq.item() >= 0.0
    assert got.kl_qp.item() >= 0.0
    # Pinsker's inequality holds for JS: it is at least the squared total variation over 2.
    variation = (torch.softmax(x.double(), -1) - torch.softmax(y.double(), -1)).abs().sum() / 2
    assert got.js.item() >= variation.item() ** 2 / 2 * (1 - 1e-4) - 1e-11
    assert_like_oracle(got, dist_stats(x, y, want=want, backend="oracle"))


def test_nan_and_positive_infinity_are_refused(backend: str) -> None:
    for bad in (math.nan, INF):
        for side in ("logits_p", "logits_q"):
            x, y, _ = close_pair(4, 2100, 0.5)
            (x if side == "logits_p" else y)[2, 2099] = bad
            with pytest.raises(ValueError, match=f"{side} holds NaN or \\+inf in row 2"):
                dist_stats(x, y, backend=backend)


@pytest.mark.gpu
def test_more_than_2_31_logits(backend: str) -> None:
    if backend != "triton" or DEVICE.type != "cuda":
        pytest.skip("needs the Triton kernel on a GPU")
    n_tokens, vocab = 15_000, 151_936
    x = torch.zeros(n_tokens, vocab, dtype=torch.bfloat16, device=DEVICE)
    x[-1, 7] = 20.0
    got = dist_stats(x, x.roll(1, 0), want=("js", "argmax_p"), backend=backend)
    assert got.argmax_p[-1] == 7
    assert got.js[1:-1].eq(0.0).all()
    assert got.js[-1] > 0.6
