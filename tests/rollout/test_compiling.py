"""Which engines compile nothing."""

from __future__ import annotations

from rlvr.rollout.engine_spec import compiles_nothing
from rlvr.sync.adapter import Adapter
from tests.helpers.engine_specs import engine_spec


def test_eager_models_and_those_with_adapters_compile_nothing_on_a_cpu():
    adapter = object.__new__(Adapter)
    assert compiles_nothing(engine_spec(enforce_eager=True))
    assert compiles_nothing(engine_spec(enforce_eager=False, adapter=adapter))
    assert not compiles_nothing(engine_spec(enforce_eager=False))
    assert not compiles_nothing(engine_spec(device="cuda", enforce_eager=True, adapter=adapter))
