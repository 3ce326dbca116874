"""From hidden states: GEMM modes, chunks, and the bound on memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rlvr.divergence import WANTS, DistStats, OutputTransform, dist_stats, linear, linear_dist_stats
from tests.helpers.divergence_cases import BACKENDS, DEVICE, assert_like_oracle

# The Triton interpreter computes with numpy, which reports the infinities that the kernel makes on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
ALL = {"want": WANTS, "top_p": 0.7}
P_ALONE = ("logp_p", "entropy_p", "lse_p", "argmax_p")


def states(n_tokens: int, vocab: int, hidden: int = 48, scale: float = 0.05) -> tuple[Tensor, ...]:
    """Returns hidden_p, weight, hidden_q close to hidden_p, and ids."""
    generator = torch.Generator().manual_seed(n_tokens)
    hidden_p = torch.randn(n_tokens, hidden, generator=generator)
    hidden_q = hidden_p + scale * torch.randn(n_tokens, hidden, generator=generator)
    weight = torch.randn(vocab, hidden, generator=generator) / 4
    ids = torch.randint(vocab, (n_tokens,), generator=generator)
    return tuple(value.to(DEVICE) for value in (hidden_p, weight, hidden_q, ids))


class LargestAllocation(TorchDispatchMode):
    """Records the bytes of the largest tensor that any operation returns."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.largest = max(self.largest, value.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["fp32", "delta", "auto"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_fp32_modes_match_the_oracle(backend: str, mode: str, temperature: float) -> None:
    hidden_p, weight, hidden_q, ids = states(9, 301)
    options = ALL | {"temperature": temperature}
    got = linear_dist_stats(hidden_p, weight, hidden_q, ids=ids, logits=mode, backend=backend, **options)
    logits = [(hidden.double() @ weight.double().t()) for hidden in (hidden_p, hidden_q)]
    expected = dist_stats(*logits, ids, backend="oracle", **options)
    for name in ("argmax_p", "argmax_q", "rank_p_in_q", "rank_q_in_p"):
        assert torch.equal(getattr(got, name), getattr(expected, name))
    for name in ("js", "kl_pq", "kl_qp", "entropy_p", "logp_q", "lse_p"):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), rtol=3e-4, atol=2e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cap", [2.0, None])
def test_transformed_logits_match_the_oracle(backend: str, cap: float | None) -> None:
    hidden_p, weight, hidden_q, ids = states(9, 301)
    transforms = OutputTransform(scale=1.5, cap=cap), OutputTransform(scale=0.5)
    got = linear_dist_stats(
        hidden_p,
        weight,
        hidden_q,
        ids=ids,
        backend=backend,
        transform_p=transforms[0],
        transform_q=transforms[1],
        **ALL,
    )
    logits_p, logits_q = (hidden.double() @ weight.double().t() for hidden in (hidden_p, hidden_q))
    logits_p = 1.5 * logits_p if cap is None else cap * torch.tanh(1.5 * logits_p / cap)
    expected = dist_stats(logits_p, logits_q * 0.5, ids, backend="oracle", **ALL)
    for name in ("js", "kl_pq", "kl_qp", "entropy_p", "logp_p", "logp_q", "lse_p"):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), rtol=3e-4, atol=2e-6)


def test_a_difference_of_outputs_says_nothing_of_transformed_logits() -> None:
    hidden_p, weight, hidden_q, _ = states(3, 11)
    with pytest.raises(ValueError, match="no transform"):
        linear_dist_stats(hidden_p, weight, hidden_q, logits="delta", transform_p=OutputTransform(cap=2.0))


def test_delta_keeps_the_precision_of_small_differences() -> None:
    hidden_p, weight, hidden_q, _ = states(9, 301, scale=1e-4)
    logits = [(hidden.double() @ weight.double().t()) for hidden in (hidden_p, hidden_q)]
    expected = dist_stats(*logits, backend="oracle").js
    error = {
        mode: (linear_dist_stats(hidden_p, weight, hidden_q, logits=mode).js / expected - 1).abs().max()
        for mode in ("delta", "fp32")
    }
    assert error["delta"] < 1e-4 < error["fp32"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["fp32", "delta", "bf16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_states_give_exactly_zero(backend: str, mode: str, dtype: torch.dtype) -> None:
    hidden_p, weight, _, _ = (value.to(dtype) for value in states(7, 257))
    got = linear_dist_stats(
        hidden_p, weight, hidden_p.clone(), want=("js", "kl_pq"), logits=mode, backend=backend
    )
    assert got.js.eq(0.0).all()
    assert got.kl_pq.eq(0.0).all()


@pytest.mark.parametrize("mode", ["fp32", "delta"])
def test_half_precision_states_get_fp32_logits(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "WEIGHT_BLOCK_ROWS", 100)
    hidden_p, weight, hidden_q, _ = (value.bfloat16() for value in states(7, 257))
    got = linear_dist_stats(hidden_p, weight, hidden_q, logits=mode, backend="torch").js
    logits = [(hidden.double() @ weight.double().t()) for hidden in (hidden_p, hidden_q)]
    torch.testing.assert_close(got, dist_stats(*logits, backend="oracle").js, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("n_tokens", [1, 5, 8, 13])
@pytest.mark.parametrize("shared", [True, False])
def test_chunk_size_does_not_matter(n_tokens: int, shared: bool) -> None:
    hidden_p, weight, hidden_q, ids = states(n_tokens, 64, scale=0.5)
    weight_q = None if shared else weight.flip(0)
    whole = linear_dist_stats(hidden_p, weight, hidden_q, weight_q, ids, **ALL)
    for rows in (1, 4):  # 4: ragged last chunk
        small = rows * 64 * 8 / 1e6
        chunked = linear_dist_stats(hidden_p, weight, hidden_q, weight_q, ids, max_workspace_mb=small, **ALL)
        for (name, a), (_, b) in zip(whole.items(), chunked.items(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_base_absent_is_the_plain_log_prob_and_entropy_pass() -> None:
    hidden_p, weight, hidden_q, ids = states(20, 61)
    got = linear_dist_stats(hidden_p, weight, ids=ids, want=P_ALONE)
    log_prob = torch.log_softmax(hidden_p @ weight.t(), -1)
    torch.testing.assert_close(got.logp_p, log_prob.gather(1, ids[:, None])[:, 0])
    torch.testing.assert_close(got.entropy_p, -(log_prob.exp() * log_prob).sum(-1))
    # A base that no statistic needs is not touched: its NaN would be refused otherwise.
    same = linear_dist_stats(hidden_p, weight, hidden_q * torch.nan, ids=ids, want=P_ALONE)
    assert torch.equal(got.logp_p, same.logp_p)


@pytest.mark.parametrize("more", [(), ("entropy_p",)])
def test_log_probs_over_a_large_vocabulary_are_exact_whatever_else_is_wanted(more: tuple[str, ...]) -> None:
    """Scoring asks for entropies, an update does not, and their ratio must begin at 1: added up one after the other,
    152 thousand terms in fp32 fall short by 2e-5."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 8, generator=generator)
    weight = torch.randn(151_936, 8, generator=generator)
    ids = torch.arange(4)
    exact = (hidden.double() @ weight.double().t()).log_softmax(-1).gather(1, ids[:, None])[:, 0]
    found = linear_dist_stats(hidden, weight, ids=ids, want=("logp_p", *more)).logp_p
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=5e-6)


def test_mask_spares_the_gemm_and_gives_zero() -> None:
    hidden_p, weight, hidden_q, ids = states(10, 61)
    mask = torch.arange(10, device=DEVICE) % 3 == 0
    hidden_p[1] = torch.nan
    ids[2] = -100
    got = linear_dist_stats(hidden_p, weight, hidden_q, ids=ids, mask=mask, **ALL)
    expected = linear_dist_stats(hidden_p[mask], weight, hidden_q[mask], ids=ids[mask], **ALL)
    assert_like_oracle(DistStats(**{name: value[mask] for name, value in got.items()}), expected)
    assert all(value[~mask].eq(0).all() for _, value in got.items())


@pytest.mark.parametrize("backend", ["oracle", "torch"])
@pytest.mark.parametrize("mode", ["fp32", "delta"])
def test_a_shared_head_without_ids_is_the_oracle_on_its_logits_under_a_mask(backend: str, mode: str) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden_p, hidden_q = torch.randn(2, 9, 16, generator=generator)
    weight, mask = torch.randn(23, 16, generator=generator), torch.arange(9) % 3 != 1
    want = ("js", "kl_pq", "kl_qp", "entropy_p", "lse_p", "rank_p_in_q")
    got = linear_dist_stats(
        hidden_p, weight, hidden_q, want=want, mask=mask, logits=mode, temperature=0.8, backend=backend
    )
    logits_p, logits_q = hidden_p.double() @ weight.double().t(), hidden_q.double() @ weight.double().t()
    expected = dist_stats(logits_p, logits_q, want=want, temperature=0.8, backend="oracle")
    for name, values in expected.items():
        torch.testing.assert_close(getattr(got, name), values * mask, rtol=1e-4, atol=1e-5)


def test_gradients_do_not_flow() -> None:
    hidden_p, weight, hidden_q, _ = states(4, 20)
    got = linear_dist_stats(hidden_p.requires_grad_(), weight.requires_grad_(), hidden_q)
    assert not got.js.requires_grad


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Scratch buffers grow with the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.skipif(DEVICE.type == "cuda", reason="bounds the buffers of the CPU path")
@pytest.mark.parametrize("max_workspace_mb", [0.5, 2.0])
@pytest.mark.usefixtures("one_thread")
def test_no_allocation_grows_with_tokens_times_vocabulary(max_workspace_mb: float) -> None:
    vocab, largest = 2000, {}
    for n_tokens in (200, 600):
        hidden_p, weight, hidden_q, ids = states(n_tokens, vocab)
        with LargestAllocation() as seen:
            linear_dist_stats(
                hidden_p,
                weight,
                hidden_q,
                weight.clone(),
                ids,
                max_workspace_mb=max_workspace_mb,
                backend="torch",
                **ALL,
            )
        largest[n_tokens] = seen.largest
    # The head's clone, 0.38 MB, is the caller's; the logits of 600 positions would be 4.8 MB a side.
    assert largest[600] <= max(max_workspace_mb * 1e6, 0.97e6)
    assert largest[600] <= largest[200] * 1.01


PEAK = """
import resource, sys, torch
from rlvr.divergence import linear_dist_stats
torch.set_num_threads(1)
n_tokens, vocab = int(sys.argv[1]), 20_000
h, w = torch.randn(n_tokens, 32), torch.randn(vocab, 32)
linear_dist_stats(h[:64], w, h[:64] + 0.1, w.clone())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
linear_dist_stats(h, w, h + 0.1, w.clone())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)
"""


@pytest.mark.slow
def test_resident_memory_does_not_grow_with_tokens() -> None:
    """The process's own peak, since operations can allocate inside: 2000 positions would be 160 MB a side."""
    run = subprocess.run(
        [sys.executable, "-c", PEAK, "2000"], capture_output=True, text=True, timeout=120, check=True
    )
    assert float(run.stdout) < 30.0
