"""Times `rlvr.divergence` against its peers and its targets: `python -m benchmarks.divergence`.

All targets are ratios inside one run. On a CPU the two of the torch reference are measured; the others need a
CUDA device and are printed as not measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.divergence import peers, report
from benchmarks.divergence.ceilings import Ceilings, measure_ceilings
from benchmarks.divergence.measure import Measurement, measure
from benchmarks.divergence.report import Row, Target
from rlvr.divergence import WANTS, dist_stats, linear_dist_stats
from rlvr.divergence.linear import chunk_rows
from rlvr.divergence.record import Rows, StatsRequest

VOCAB = 151_936
SHORT = ("js", "logp_p", "lse_p")
EXACT = tuple(name for name in WANTS if not name.endswith("_top_p"))
WORKSPACE_MB = 1300.0  # the default of linear_dist_stats
PEER_ROWS = 2048  # peers hold several [T, V] fp32 tensors; they are timed on so many rows and scaled
HIDDEN = {1536: (1.5, 1.25), 3584: (1.20, 1.12), 5120: (1.15, 1.08)}
SHARES = {"JS + log-prob + normaliser": (0.40, 0.55), "all statistics": (0.35, 0.42)}
CLUSTER, FUSED, PEAK_GB = (0.60, 0.72), (3, 4), (1.3, 0.65)
PEERS = {"torch eager": (20, 30), "torch.compile": (2, 3), "Liger JSD per token": (10, 20)}


def main() -> None:
    """Runs the suite and writes its files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int, nargs="+", help="positions; default 16384 65536, on a CPU 64")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    cuda = device.type == "cuda"
    machine = _machine(device)
    print("  ".join(f"{key} {value}" for key, value in machine.items()))
    ceilings = measure_ceilings(device)
    print(f"copy {ceilings.copy_gb_s:.0f} GB/s, matmul {ceilings.matmul_tflop_s:.2f} TFLOP/s, "
          f"exp2 {ceilings.exp2_g_s:.1f} G/s")  # fmt: skip
    rows: list[Row] = []
    targets: list[Target] = []
    for n_tokens in arguments.tokens or ((16384, 65536) if cuda else (64,)):
        for logits in ("normal", "peaked"):
            targets += _dense(n_tokens, logits, device, ceilings, rows)
        targets += _linear(n_tokens, device, rows)
    if not cuda:
        targets += _unmeasured("no CUDA device")
    report.print_rows(rows)
    report.print_targets(targets)
    stem = arguments.out / f"divergence_{device.type}_{time.strftime('%Y%m%d_%H%M%S')}"
    report.write_files(rows, targets, machine, stem)


def _machine(device: torch.device) -> dict[str, str]:
    names = {"torch": torch.__version__, "cuda": str(torch.version.cuda)}
    for package in ("triton", "liger-kernel"):
        try:
            names[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # both are optional
            names[package] = "absent"
    cuda = device.type == "cuda"
    what = (
        torch.cuda.get_device_name(device)
        if cuda
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    )
    return {"device": what, "python": platform.python_version(), **names}


def _rows_like(n_tokens: int, logits: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of P and Q [T, V], bf16 on a GPU and fp32 on a CPU, and sampled ids."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    x = torch.empty(n_tokens, VOCAB, dtype=dtype, device=device).normal_(0, 3, generator=generator)
    y = torch.empty_like(x).normal_(0, 0.5, generator=generator).add_(x)
    if logits == "peaked":
        x[:, 17] += 25
        y[:, 17] += 24
    return x, y, torch.randint(VOCAB, (n_tokens,), device=device, generator=generator)


def _dense(
    n_tokens: int, logits: str, device: torch.device, ceilings: Ceilings, rows: list[Row]
) -> list[Target]:
    x, y, ids = _rows_like(n_tokens, logits, device)
    where = f"T={n_tokens} {logits}"

    def record(item: str, n: int, call) -> Measurement:
        rows.append(Row(item, "dense", n, VOCAB, 0, logits, measure(call, device)))
        return rows[-1].measurement

    only_js = record("ours, js", n_tokens, lambda: dist_stats(x, y, validate=False))
    short = record(
        "ours, js + logp + lse", n_tokens, lambda: dist_stats(x, y, ids, want=SHORT, validate=False)
    )
    full = record("ours, all but top-p", n_tokens, lambda: dist_stats(x, y, ids, want=EXACT, validate=False))
    record("ours, js_top_p", min(n_tokens, PEER_ROWS),
           lambda: dist_stats(x[:PEER_ROWS], y[:PEER_ROWS], want=("js_top_p",), top_p=0.7))  # fmt: skip
    found: dict[str, Measurement | str] = {}
    n_peer = min(n_tokens, PEER_ROWS)
    for name, peer in peers.dense_peers(device).items():
        found[name] = (
            peer if isinstance(peer, str) else record(name, n_peer, lambda p=peer: p(x[:n_peer], y[:n_peer]))
        )
    one_read_ms = 2 * x.numel() * x.element_size() / ceilings.copy_gb_s / 1e6
    if device.type != "cuda":
        eager = found["torch eager"]
        assert isinstance(eager, Measurement)
        faster = eager.p50_ms / n_peer / (only_js.p50_ms / n_tokens)
        smaller = eager.peak_mb / max(only_js.peak_mb, 0.1)
        return [
            Target(f"CPU reference, JS: times faster than the plain formula, {where}", 2, 2, faster),
            Target(f"CPU reference, JS: times smaller in peak memory, {where}", 10, 10, smaller),
        ]
    targets = [
        Target(f"Triton, {name}: share of one-read bandwidth, {where}", must, stretch, one_read_ms / m.p50_ms)
        for (name, (must, stretch)), m in zip(SHARES.items(), (short, full), strict=True)
    ]
    for name, (must, stretch) in PEERS.items():
        result = found[name]
        per_row = None if isinstance(result, str) else result.p50_ms / n_peer / (only_js.p50_ms / n_tokens)
        note = result if isinstance(result, str) else ""
        targets.append(Target(f"JS: times faster than {name}, {where}", must, stretch, per_row, note=note))
    return [*targets, *_cluster(x, y, one_read_ms, where, record)]


def _unmeasured(why: str) -> list[Target]:
    """The targets that only a GPU can be held against."""
    ratios: dict[str, tuple[float, float]] = {
        **{f"Triton, {name}: share of one-read bandwidth": pair for name, pair in SHARES.items()},
        "CUDA cluster kernel, JS: share of one-read bandwidth": CLUSTER,
        **{f"JS: times faster than {name}": pair for name, pair in PEERS.items()},
        **{f"from hidden states: time over two bare GEMMs, H={h}": pair for h, pair in HIDDEN.items()},
        "from hidden states: times faster than Liger fused_linear_jsd": FUSED,
        "from hidden states: peak extra GB": PEAK_GB,
    }
    return [Target(item, *pair, None, note=why) for item, pair in ratios.items()]


def _cluster(x: Tensor, y: Tensor, one_read_ms: float, where: str, record) -> list[Target]:
    item = f"CUDA cluster kernel, JS: share of one-read bandwidth, {where}"
    from rlvr.divergence.cuda_backend import obstacle

    why = obstacle(Rows(x, y), StatsRequest(frozenset({"js"})))
    if why:
        return [Target(item, *CLUSTER, None, note=why)]
    found = record("ours, js, CUDA", x.shape[0], lambda: dist_stats(x, y, backend="cuda", validate=False))
    return [Target(item, *CLUSTER, one_read_ms / found.p50_ms)]


def _linear(n_tokens: int, device: torch.device, rows: list[Row]) -> list[Target]:
    cuda = device.type == "cuda"
    targets = []
    for hidden, (must, stretch) in HIDDEN.items() if cuda else [(256, (0.0, 0.0))]:
        dtype = torch.bfloat16 if cuda else torch.float32
        h_p, h_q = (torch.randn(n_tokens, hidden, device=device, dtype=dtype) for _ in range(2))
        w_p, w_q = (
            torch.randn(VOCAB, hidden, device=device, dtype=dtype) * 3 / hidden**0.5 for _ in range(2)
        )

        def record(item: str, n: int, call, h: int = hidden) -> Measurement:
            rows.append(Row(item, "linear", n, VOCAB, h, "normal", measure(call, device)))
            return rows[-1].measurement

        ours = record(
            "ours, js",
            n_tokens,
            lambda p=h_p, q=h_q, a=w_p, b=w_q: linear_dist_stats(p, a, q, b, max_workspace_mb=WORKSPACE_MB),
        )
        bare = record("two bare GEMMs", n_tokens, lambda p=h_p, q=h_q, a=w_p, b=w_q: _bare_gemms(p, a, q, b))
        if not cuda:
            continue
        where = f"T={n_tokens} H={hidden}"
        item = f"from hidden states: time over two bare GEMMs, {where}"
        targets.append(Target(item, must, stretch, ours.p50_ms / bare.p50_ms, smaller_is_better=True))
        targets.append(
            Target(f"from hidden states: peak extra GB, {where}", *PEAK_GB, ours.peak_mb / 1e3, True)
        )
        fused, n_peer = peers.liger_fused_linear(), min(n_tokens, PEER_ROWS)
        item = f"from hidden states: times faster than Liger fused_linear_jsd, {where}"
        if isinstance(fused, str):
            targets.append(Target(item, *FUSED, None, note=fused))
            continue
        few_p, few_q = h_p[:n_peer], h_q[:n_peer]
        liger = record(
            "Liger fused_linear_jsd", n_peer, lambda f=fused, p=few_p, q=few_q, a=w_p, b=w_q: f(p, a, q, b)
        )
        targets.append(Target(item, *FUSED, liger.p50_ms / n_peer / (ours.p50_ms / n_tokens)))
    return targets


def _bare_gemms(h_p: Tensor, w_p: Tensor, h_q: Tensor, w_q: Tensor) -> None:
    """The same GEMMs in chunks of the same size, and nothing else."""
    step = chunk_rows(h_p.shape[0], VOCAB, VOCAB * 8, h_p.device, WORKSPACE_MB)
    out = torch.empty(step, VOCAB, device=h_p.device, dtype=h_p.dtype)
    for start in range(0, h_p.shape[0], step):
        for hidden, weight in ((h_p, w_p), (h_q, w_q)):
            part = hidden[start : start + step]
            torch.mm(part, weight.t(), out=out[: part.shape[0]])


if __name__ == "__main__":
    main()
