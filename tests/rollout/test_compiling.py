"""Which engines compile nothing, and what is said where a compiler is needed and there is none."""

from __future__ import annotations

from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.rollout.engine import find_compiler
from rlvr.rollout.engine_spec import EngineSpec, compiles_nothing
from rlvr.sync.adapter import Adapter


def spec(device: str, *, enforce_eager: bool, adapter: Any = None) -> EngineSpec:
    return EngineSpec(
        model="m",
        dtype="float32",
        max_length=64,
        tensor_parallel=1,
        device=device,
        memory_utilization=0.5,
        kv_cache_mb=None,
        max_concurrent=8,
        enforce_eager=enforce_eager,
        transfer_backend="rlvr_gloo",
        logprobs_mode="raw_logprobs",
        trust_remote_code=False,
        adapter=adapter,
    )


def test_eager_models_and_those_with_adapters_compile_nothing_on_a_cpu():
    adapter = object.__new__(Adapter)
    assert compiles_nothing(spec("cpu", enforce_eager=True))
    assert compiles_nothing(spec("cpu", enforce_eager=False, adapter=adapter))
    assert not compiles_nothing(spec("cpu", enforce_eager=False))
    assert not compiles_nothing(spec("cuda", enforce_eager=True, adapter=adapter))


@pytest.mark.slow
def test_without_a_compiler_it_says_what_to_do():
    from torch._inductor import config

    with (
        config.patch({"cpp.cxx": (None, "no-compiler")}),
        pytest.raises(
            ConfigError, match=r"enforce_eager=false: .*\(looked for no-compiler\).* Install g\+\+"
        ),
    ):
        find_compiler()
