"""Completion scripts, the bash one run by bash itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from rlvr.cli.commands import COMMANDS
from rlvr.cli.completion import completion
from rlvr.cli.main import main


def completed(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    quoted = " ".join(f"'{word}'" for word in words)
    call = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _rlvr"
    script = f'{completion("bash")}\n{call}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()


def test_bash_completes_commands_keys_and_recipes():
    assert completed("rlvr", "ch") == ["check"]
    assert set(COMMANDS) <= set(completed("rlvr", ""))
    assert completed("rlvr", "train", "learner") == ["learner.lr="]
    assert completed("rlvr", "train", "rec") == ["recipe="]
    assert completed("rlvr", "train", "recipe", "=", "grpo") == ["grpo", "grpo_kl", "grpo_kl_reward"]
    assert "dapo_divweight" in completed("rlvr", "check", "recipe", "=")
    assert completed("rlvr", "train", "run.name", "=", "g") == []
    assert "score.top_p=" in completed("rlvr", "analyze", "")
    assert completed("rlvr", "report", "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_words(shell):
    script = completion(shell)
    for word in (*COMMANDS, "recipe=grpo", "learner.lr=", "score.top_p="):
        assert word in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=30)


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["completion", "tcsh"])
    assert ended.value.code == 2
    assert "use one of bash, zsh, fish" in capsys.readouterr().err
