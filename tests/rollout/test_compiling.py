"""Which engines compile nothing, and what is said where a compiler is needed and there is none."""

from __future__ import annotations

import pytest

from rlvr.errors import ConfigError
from rlvr.rollout.engine import find_compiler
from rlvr.rollout.engine_spec import compiles_nothing
from rlvr.sync.adapter import Adapter
from tests.helpers.engine_specs import engine_spec


def test_eager_models_and_those_with_adapters_compile_nothing_on_a_cpu():
    adapter = object.__new__(Adapter)
    assert compiles_nothing(engine_spec(enforce_eager=True))
    assert compiles_nothing(engine_spec(enforce_eager=False, adapter=adapter))
    assert not compiles_nothing(engine_spec(enforce_eager=False))
    assert not compiles_nothing(engine_spec(device="cuda", enforce_eager=True, adapter=adapter))


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
