"""How a command ends where something is not allowed."""

from __future__ import annotations

import errno
import importlib
import os
import runpy
import sys

import pytest

from rlvr.cli import entry, opening
from rlvr.cli import main as program
from rlvr.cli.exits import readable_errors


def test_a_folder_of_another_user_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, readable_errors():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/theirs/run/config.yaml")
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"\nRlvrError: /theirs/run/config.yaml: this user (uid {os.geteuid()}) may not use it"
    )
    assert "Traceback" not in said


def test_what_is_refused_without_a_path_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermissionError), readable_errors():
        raise PermissionError(errno.EPERM, "no more processes")
    monkeypatch.setenv("RLVR_TRACEBACK", "1")
    with pytest.raises(PermissionError), readable_errors():
        raise PermissionError(errno.EACCES, "", "/theirs")


def interrupted(*_: object, **__: object) -> None:
    """Ctrl-C at this moment."""
    raise KeyboardInterrupt


def test_ctrl_c_while_a_command_loads_or_before_it_is_composed_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["rlvr"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(runpy, "run_module", interrupted)
    monkeypatch.setattr(opening, "answer_help", interrupted)
    for start in (lambda: program.main(["check"]), entry.hydra_entry(print, command="check")):
        with pytest.raises(SystemExit) as ended:
            start()
        assert ended.value.code == 130
        assert capsys.readouterr().err == "\nstopped by the user\n"


@pytest.mark.parametrize(
    "module",
    ["analyze", "evaluate", "report", "sweep_report", "findings", "cli.export", "cli.view"],
)
def test_a_path_with_bytes_that_the_locale_does_not_have_is_refused_by_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str
) -> None:
    monkeypatch.setattr("sys.argv", [module, "runs/gr\udcc3\udcb6"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"rlvr.{module}").main()
    assert ended.value.code == 1
    assert r"runs/gr\udcc3\udcb6: holds bytes that are no text in" in capsys.readouterr().err
