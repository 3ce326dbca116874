"""`rlvr view` as its user meets it: the real command, a real browser, real models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.helpers.chromium import Chromium
from tests.helpers.paths import REPOSITORY
from tests.helpers.view_cases import STEPS, analysed_run, training_run

pytestmark = pytest.mark.slow


@contextmanager
def viewing(run: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command while it runs, and the address that it prints."""
    command = [sys.executable, "-m", "rlvr.cli.view", str(run), *options]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.communicate()[1]
        yield address, process
    finally:
        process.kill()
        process.wait()


def click(page: Chromium, number: int) -> None:
    """The first token of the first response, then one of the alternatives."""
    page.run("document.querySelector('.side.policy .response .t').click()")
    page.run(f"document.querySelectorAll('#panel .take')[{number}].click()")


def test_a_token_is_taken_in_the_browser_and_found_on_disk(tmp_path: Path) -> None:
    run = analysed_run(tmp_path)
    kept = run / "interventions.jsonl"
    with viewing(run) as (address, process):
        with Chromium(tmp_path / "profile") as page:
            page.open(address)
            page.run("document.getElementById('samples').value = 4")
            click(page, 0)
            assert not page.run("document.getElementById('panel').innerText").endswith("null")
            outcome = page.wait("document.querySelector('.tried.done')?.innerText")
            assert "of 4 right" in outcome
            assert page.run("document.querySelector('#panel .take').textContent.includes('→')")
            assert page.run("document.getElementById('state').textContent") == f"2 of {STEPS} steps."
            assert page.run("document.querySelectorAll('#curves figure').length") == 2
            click(page, 1)
            page.wait("document.querySelectorAll('.tried').length === 2")
        # The page is closed now, and what it asked for goes on.
        with Chromium(tmp_path / "another") as page:
            page.open(address)
            page.wait("document.querySelectorAll('.tried.done').length === 2")
        rows = [json.loads(line) for line in kept.read_text().splitlines()]
        assert [row["number"] for row in rows] == [1, 2]
        first = rows[0]
        assert (first["choice"]["samples"], first["choice"]["seed"]) == (4, 1)
        right = sum(c["correct"] for c in first["taken"]["continuations"])
        assert first["taken"]["success"]["mean"] == right / 4
        assert f"{right} of 4 right" in outcome

        children = psutil.Process(process.pid).children(recursive=True)
        assert children  # the graders
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert not psutil.wait_procs(children, timeout=60)[1]


def test_a_run_without_policy_or_analysis_shows_its_training_and_says_what_is_missing(tmp_path: Path) -> None:
    with viewing(training_run(tmp_path)) as (address, _), Chromium(tmp_path / "profile") as page:
        page.open(address)
        page.wait("document.querySelectorAll('#curves figure').length === 2")
        assert "so \\boxed{0}" in page.run("document.getElementById('newest').innerText")
        assert "The token pages come from the analysis" in page.run("document.body.innerText")


def test_only_one_command_lets_people_intervene_in_a_run(tmp_path: Path) -> None:
    run = analysed_run(tmp_path)
    with viewing(run):
        command = [sys.executable, "-m", "rlvr.cli.view", str(run)]
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
        assert second.returncode == 1
        assert "another process is writing to" in second.stderr
