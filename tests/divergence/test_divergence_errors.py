"""Bad input raises ValueError that names the argument, its value and what is expected."""

from __future__ import annotations

import math

import pytest
import torch

from rlvr.divergence import dist_stats, linear_dist_stats

X = torch.zeros(3, 5)
IDS = torch.zeros(3, dtype=torch.int64)
H, W = torch.zeros(3, 4), torch.zeros(5, 4)
META = torch.zeros(3, 5, device="meta")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, X), {"want": ("jss",)}, r"want=\['jss'\].*unknown; expected some of"),
        ((X, X), {"want": ()}, r"want=\[\]"),
        ((X,), {"want": ("js",)}, "needs Q"),
        ((X, X), {"want": ("logp_p",)}, "ids=None"),
        ((X, X), {"temperature": 0.0}, "temperature=0.0: expected a positive"),
        ((X, X), {"temperature": math.nan}, "temperature=nan"),
        ((X, X), {"want": ("js_top_p",)}, "top_p=None"),
        ((X, X), {"top_p": 1.5}, r"top_p=1.5: expected a number in \(0, 1\]"),
        ((X, torch.zeros(2, 5)), {}, r"logits_q has shape \[2, 5\]: expected \[3, 5\]"),
        ((X, torch.zeros(3, 6)), {}, r"logits_q has shape \[3, 6\]: expected \[3, 5\]"),
        ((X[0], X[0]), {}, r"logits_p is a tensor of shape \[5\]: expected a 2-D"),
        ((torch.zeros(3, 0), torch.zeros(3, 0)), {}, "vocabulary has 0 entries"),
        ((X.long(), X), {}, "logits_p has dtype torch.int64: expected torch.float32"),
        ((X, META), {}, "logits_q is on meta: expected cpu"),
        ((X, X, IDS[:2]), {}, r"ids is a tensor of shape \[2\]: expected shape \[3\]"),
        ((X, X, IDS.float()), {}, "ids has dtype torch.float32: expected torch.int64"),
        ((X, X, torch.tensor([0, 5, 1])), {"want": ("logp_p",)}, r"ids\[1\]=5: expected an id in \[0, 5\)"),
        ((X, X, torch.tensor([0, 1, -1])), {"want": ("logp_p",)}, r"ids\[2\]=-1"),
        ((X, X), {"mask": torch.ones(3)}, "mask has dtype torch.float32: expected torch.bool"),
        ((X, X), {"lse_p": torch.zeros(4)}, r"lse_p is a tensor of shape \[4\]"),
        ((X, X), {"backend": "numpy"}, "backend='numpy': expected one of"),
        ((X, X), {"backend": "cuda"}, "backend='cuda' cannot run: .*cpu"),
    ],
)
def test_dist_stats(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dist_stats(*arguments, **options)


def test_triton_on_a_cpu_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=r"backend='triton' cannot run: .*(cpu|not installed)"):
        dist_stats(X, X, backend="triton")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((H, torch.zeros(5, 3), H), {}, "hidden_p has hidden size 4: expected 3, that of weight_p"),
        ((H, W, torch.zeros(2, 4)), {}, "hidden_q has 2 rows: expected 3"),
        ((H, W, H, torch.zeros(6, 4)), {}, "weight_q has 6 rows: expected 5"),
        ((H, W, torch.zeros(3, 7)), {}, "hidden_q has hidden size 7: expected 4"),
        ((H, W, H, torch.zeros(5, 7)), {}, "hidden_q has hidden size 4: expected 7"),
        ((H, W.bfloat16(), H), {}, "hidden_p has dtype torch.float32: expected torch.bfloat16"),
        ((H, W, None, W.clone()), {"want": ("lse_p",)}, "hidden_q=None but weight_q was passed"),
        ((H, W, H), {"logits": "fp8"}, "logits='fp8': expected one of"),
        ((H, W, H, W.clone()), {"logits": "delta"}, "logits='delta' needs one lm_head"),
        ((H, W, H), {"max_workspace_mb": 1e-5}, "max_workspace_mb=1e-05: expected at least 4e-05"),
        ((H, W), {}, "needs Q"),
        ((H, W.to("meta"), H), {}, "weight_p is on meta: expected cpu"),
        ((torch.full((3, 4), math.nan), W, H), {"logits": "fp32"}, "logits_p holds NaN or .* in row 0"),
    ],
)
def test_linear_dist_stats(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear_dist_stats(*arguments, **options)
