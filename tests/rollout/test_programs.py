"""What is said where a program is missing that vLLM calls on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.errors import ConfigError
from rlvr.rollout.engine import RolloutEngine
from rlvr.rollout.programs import find_compiler, find_lscpu
from tests.helpers.engine_specs import engine_spec


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


def test_lscpu_is_found_where_path_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"no lscpu is in PATH={tmp_path} on .*Install util-linux"):
        find_lscpu()
    (tmp_path / "lscpu").symlink_to("/bin/sh")
    find_lscpu()


def test_an_engine_on_a_cpu_looks_for_it_before_it_imports_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no lscpu is in PATH"):
        RolloutEngine(engine_spec())
