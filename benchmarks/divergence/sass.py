"""Compiles the Triton kernel for sm_90 without a GPU and counts what the machine code spends on each pair.

A pair is one entry of the vocabulary in both rows. `python -m benchmarks.divergence.sass` prints the table.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from rlvr.divergence.triton_backend import tile_shape
from rlvr.divergence.triton_kernel import stats_kernel

VOCAB = 151_936
TARGET = GPUTarget("cuda", 90, 32)
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
VARIANTS = {
    "js + logp + lse": frozenset({"HAS_Q", "JS", "LOGP_P", "LOGP_Q"}),
    "js + both kl": frozenset({"HAS_Q", "JS", "KL_PQ", "KL_QP"}),
    "all": frozenset(
        "HAS_Q JS KL_PQ KL_QP ENTROPY_P ENTROPY_Q LOGP_P LOGP_Q ARGMAX RANK".split()  # noqa: SIM905
    ),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What ptxas made of one variant of the kernel."""

    registers: int
    spill_bytes: int  # stack plus local memory of one thread
    per_pair: float  # instructions for each vocabulary pair, both reads together, loop overhead included


def compile_kernel(flags: frozenset[str], dtype: str = "bf16") -> bytes:
    """Returns the cubin of the kernel for rows of VOCAB entries; `flags` are those that are True."""
    lanes, vec, warps = tile_shape(VOCAB, 2 if dtype == "bf16" else 4)
    constants: dict[str, int | bool] = {"LANES": lanes, "VEC": vec}
    signature, attributes = {}, {}
    for i, name in enumerate(stats_kernel.arg_names):
        if name.isupper():
            constants.setdefault(name, name in flags)
            signature[name] = "constexpr"
            continue
        signature[name] = _argument_type(name, dtype)
        if name != "k":
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=stats_kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=TARGET, options={"num_warps": warps, "enable_fp_fusion": True})
    return compiled.asm["cubin"]


def _argument_type(name: str, dtype: str) -> str:
    if name in ("x_ptr", "y_ptr"):
        return "*" + dtype
    if name in ("vocab", "x_row", "y_row"):
        return "i32"
    if name == "k":
        return "fp32"
    return "*i64" if name.startswith(("ids", "argmax", "rank")) else "*fp32"


def measure(flags: frozenset[str], dtype: str = "bf16") -> Cost:
    """Compiles one variant and reads registers, spills and instructions from the machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compile_kernel(flags, dtype))
        file.flush()
        usage = run_tool("cuobjdump", "-res-usage", file.name)
        sass = run_tool("nvdisasm", "-c", file.name)
    found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    vec = tile_shape(VOCAB, 2 if dtype == "bf16" else 4)[1]
    return Cost(found["REG"], found["STACK"] + found["LOCAL"], sum(loop_costs(sass, vec)))


def run_tool(tool: str, *arguments: str) -> str:
    result = subprocess.run(
        [TOOLS / tool, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout + result.stderr


def loop_costs(sass: str, vec: int, load: str = "LDG") -> list[float]:
    """Instructions for each pair in every innermost loop that reads whole tiles of the rows.

    An iteration reads both rows with one 16-byte load a lane, so that loads count the pairs, unrolled or not.
    Predicated loads belong to the loop for rows with logits of -inf, which others never enter.
    """
    labels: dict[str, int] = {}
    lines: list[str] = []
    for line in sass.splitlines():
        label = re.match(r"(\.L_x_\d+):", line)
        if label:
            labels[label[1]] = len(lines)
        elif re.search(r"/\*[0-9a-f]{4,}\*/", line):
            lines.append(line)
    loops = []
    for end, line in enumerate(lines):
        jump = re.search(r"BRA(?:\.\w+)* .*?(\.L_x_\d+)", line)
        if jump and labels[jump[1]] <= end:
            loops.append((labels[jump[1]], end))
    costs = []
    for begin, end in loops:
        loads = [line for line in lines[begin : end + 1] if load in line and ".128" in line]
        wide = 0 if any("@" in line for line in loads) else len(loads)
        inner = any(begin <= b and e <= end and (b, e) != (begin, end) for b, e in loops)
        if wide and not inner:
            costs.append((end + 1 - begin) / (wide / 2 * vec))
    return costs


if __name__ == "__main__":
    print(f"triton {triton.__version__}, sm_90, bf16 rows of {VOCAB}, instructions for each vocabulary pair")
    for name, flags in VARIANTS.items():
        cost = measure(flags)
        print(f"{name:18s} {cost.per_pair:6.1f} a pair, {cost.registers} registers, {cost.spill_bytes} spilt")
