"""Two processes and one folder: the second is refused, whichever command it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.analyze import analyze
from rlvr.config import Config, ModelConfig, SourceConfig
from rlvr.cross_sample import cross_sample
from rlvr.data.models.tokenizer import BUILTIN_FOLDER
from rlvr.errors import ConfigError
from rlvr.evaluate import evaluate_model
from rlvr.locks import lock_folder
from rlvr.runtime.disk.folder import RunFolder

HOLDER = """
import sys, time
from pathlib import Path
from rlvr.locks import lock_folder
held = lock_folder(Path(sys.argv[1]), "output=x")
print("held", flush=True)
time.sleep(120)
"""


def training(folder: Path) -> None:
    RunFolder(folder.parent, folder.name).create(Config(recipe="test"))


def evaluation(folder: Path) -> None:
    cfg = Config(recipe="test")
    cfg.data.eval = [SourceConfig(name="arithmetic_heldout", limit=2)]
    cfg.run.root, cfg.run.name = str(folder.parent), folder.name
    evaluate_model(cfg)


def analysis(folder: Path) -> None:
    model = ModelConfig(path=str(BUILTIN_FOLDER), base_path="builtin")
    analyze(AnalyzeConfig(model=model, output=str(folder), trajectory="policy", responses=["nothing"]))


def crossing(folder: Path) -> None:
    policy = folder.parent / "copy"
    policy.symlink_to(BUILTIN_FOLDER)
    cross_sample(
        CrossSampleConfig(
            base="builtin", policy=str(policy), output=str(folder), data=["arithmetic_heldout"], limit=2
        )
    )


@contextmanager
def held_by_another(folder: Path) -> Iterator[None]:
    """The folder, while another process has it."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize(
    ("command", "key"),
    [(training, "run.name"), (evaluation, "run.name"), (analysis, "output"), (crossing, "output")],
)
def test_the_second_of_two_is_refused_and_writes_nothing(
    tmp_path: Path, command: Callable[[Path], None], key: str
) -> None:
    folder = tmp_path / "mine"
    with held_by_another(folder):
        with pytest.raises(ConfigError) as error:
            command(folder)
        assert f"another process is writing to {folder}. Wait for it to end, or choose another {key}." in str(
            error.value
        )
        assert str(error.value).startswith(f"{key}=")
        assert not [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    lock_folder(folder, "output=x").close()  # a killed process leaves nothing behind


def test_a_file_system_without_locks_is_worth_a_warning(tmp_path: Path, monkeypatch, caplog) -> None:
    def unknown(file: object, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unknown)
    with lock_folder(tmp_path / "mine", "output=x"):
        assert "cannot be locked (Operation not supported)" in caplog.text
