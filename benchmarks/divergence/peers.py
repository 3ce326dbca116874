"""What others would use for a per-token JS: the plain formula, torch.compile, Liger made per token."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable

import torch
from torch import Tensor

DenseJs = Callable[[Tensor, Tensor], Tensor]
LIGER_ARGUMENTS = [
    "X_ptr", "X_stride", "Y_ptr", "Y_stride", "loss_ptr", "loss_stride", "dX_ptr", "dX_stride", "label_ptr",
    "beta", "n_non_ignore", "ignore_index", "n_cols", "BLOCK_SIZE", "HAS_LABEL",
]  # fmt: skip


def plain_js(x: Tensor, y: Tensor) -> Tensor:
    """Per-token JS [T] by the textbook formula on log-softmax, in fp32."""
    a, b = torch.log_softmax(x.float(), -1), torch.log_softmax(y.float(), -1)
    mixture = torch.logaddexp(a, b) - math.log(2.0)
    return ((a.exp() * (a - mixture)).sum(-1) + (b.exp() * (b - mixture)).sum(-1)) / 2


def dense_peers(device: torch.device) -> dict[str, DenseJs | str]:
    """Returns the peers by name; a string says why one cannot be measured here."""
    peers: dict[str, DenseJs | str] = {"torch eager": plain_js}
    peers["torch.compile"] = torch.compile(plain_js) if device.type == "cuda" else "measured on a GPU only"
    peers["Liger JSD per token"] = _liger() if device.type == "cuda" else "needs a CUDA device"
    return peers


def _liger() -> DenseJs | str:
    """Liger's JSD takes log-probabilities and returns a sum; its [T, V] losses are summed by row here."""
    if importlib.util.find_spec("liger_kernel") is None:
        return "liger-kernel is not installed"
    from liger_kernel.ops import jsd

    if not hasattr(jsd, "dispatch") and jsd._jsd_kernel.arg_names != LIGER_ARGUMENTS:
        return f"this liger-kernel has another kernel signature: {jsd._jsd_kernel.arg_names}"

    def liger_js(x: Tensor, y: Tensor) -> Tensor:
        a, b = torch.log_softmax(x.float(), -1), torch.log_softmax(y.float(), -1)
        if hasattr(jsd, "dispatch"):  # 0.8: picks the fastest of its implementations
            return jsd.dispatch("jsd_loss_and_grad", a, b, None, 0.5, -100, 1.0)[0].sum(-1)
        loss = torch.zeros_like(a)
        block = min(65536, 1 << (a.shape[1] - 1).bit_length())
        jsd._jsd_kernel[(a.shape[0],)](
            a, a.stride(0), b, b.stride(0), loss, loss.stride(0), a, a.stride(0), a,
            0.5, 1, -100, a.shape[1], BLOCK_SIZE=block, HAS_LABEL=False,
        )  # fmt: skip
        return loss.sum(-1)

    return liger_js


def liger_fused_linear() -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | str:
    """Returns Liger's forward from hidden states (a scalar), or says why it cannot be measured."""
    if importlib.util.find_spec("liger_kernel") is None:
        return "liger-kernel is not installed"
    from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

    loss = LigerFusedLinearJSD(jsd_beta=0.5)
    return lambda hidden_p, weight_p, hidden_q, weight_q: loss(hidden_p, weight_p, hidden_q, weight_q, None)
