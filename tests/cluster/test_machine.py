"""What this machine's CPU can do."""

from __future__ import annotations

import pytest

from rlvr.cluster.machine import cpu_flags, emulates


@pytest.mark.parametrize(
    ("line", "emulated"),
    [
        ("flags\t\t: fpu avx2 avx512f", True),
        ("flags\t\t: fpu avx512f avx512_bf16", False),
        ("flags\t\t: fpu amx_bf16", False),
        ("Features\t: fp asimd", True),
        ("Features\t: fp asimd bf16", False),
        ("model name\t: of unknown gifts", False),
    ],
)
def test_bf16_is_emulated_where_the_kernel_names_no_instructions_for_it(tmp_path, line, emulated):
    file = tmp_path / "cpuinfo"
    file.write_text(
        f"processor\t: 0\n{line}\nprocessor\t: 1\nflags\t: avx512_bf16\n" if "flags" in line else f"{line}\n"
    )
    flags = cpu_flags(str(file))
    assert emulates("bfloat16", flags) == emulated
    assert not emulates("float32", flags)


def test_a_system_without_the_file_says_nothing():
    assert cpu_flags("/no/such/file") == frozenset()
    assert not emulates("bfloat16", frozenset())
