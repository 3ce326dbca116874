"""Interruptions: finished parts are kept and picked up again, and the result is the same."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest

from rlvr.analysis.config import ScoreConfig, SelectConfig
from rlvr.analyze import analyze
from rlvr.errors import ConfigError, DataError, RlvrError
from rlvr.locks import exclusive
from tests.helpers.analyze_cases import save_model, write_responses
from tests.helpers.paths import REPOSITORY

pytestmark = pytest.mark.slow


def contents(folder):
    """Everything that an analysis computed."""
    tables = {p.name: p.read_text() for p in sorted((folder / "tables").iterdir())}
    tokens = [pq.read_table(p).to_pylist() for p in sorted((folder / "tokens").iterdir())]
    headline = json.loads((folder / "analysis.json").read_text())["headline"]
    return tables, tokens, headline


def test_finished_parts_are_kept_and_the_result_is_the_same(case):
    whole = analyze(case())
    expected = contents(whole)
    first, second, third = sorted((whole / "tokens").iterdir())
    second.unlink()
    third.unlink()
    (whole / "analysis.json").unlink()
    kept = first.stat().st_mtime_ns, first.stat().st_ino
    analyze(case())
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == kept
    assert contents(whole) == expected


def test_other_settings_are_refused_and_harm_nothing(case, models, tmp_path):
    whole = analyze(case())
    before = contents(whole), (whole / "responses.parquet").read_bytes()
    changed = ScoreConfig(responses_per_part=5, tokens_per_micro_batch=64, device="cpu", top_p=0.9)
    with pytest.raises(ConfigError, match=r"score.top_p was 0.7, is 0.9.*another output"):
        analyze(case(score=changed))
    with pytest.raises(ConfigError, match="holds results of other settings: responses was"):
        analyze(case(select=SelectConfig(problems=2)))
    assert (contents(whole), (whole / "responses.parquet").read_bytes()) == before
    assert [p.name for p in whole.glob(".*")] == [".lock"]


def test_models_are_known_by_content_and_not_by_place_or_date(case, models, tmp_path):
    whole = analyze(case())
    kept = {path: path.stat().st_mtime_ns for path in (whole / "tokens").iterdir()}
    cfg = case()
    cfg.model.path = str(shutil.copytree(models[1], tmp_path / "copy"))
    analyze(cfg)
    assert {path: path.stat().st_mtime_ns for path in (whole / "tokens").iterdir()} == kept
    save_model(tmp_path / "copy", seed=5)
    with pytest.raises(ConfigError, match="holds results of other settings: policies was"):
        analyze(cfg)


def test_two_analyses_do_not_write_into_one_folder(case, tmp_path):
    with exclusive(tmp_path / "out"), pytest.raises(ConfigError, match="another process is writing to"):
        analyze(case())
    analyze(case())


def peak_memory(cfg):
    """MB that Python and NumPy hold at most."""
    tracemalloc.start()
    analyze(cfg)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def test_memory_does_not_grow_with_the_responses(case, tmp_path):
    few = write_responses(tmp_path / "few.jsonl", seed=4, problems=4, samples=20)
    many = write_responses(tmp_path / "many.jsonl", seed=4, problems=4, samples=160)
    analyze(case("warm", responses=[str(few)]))  # imports and caches
    first = peak_memory(case("few", responses=[str(few)]))
    second = peak_memory(case("many", responses=[str(many)]))
    assert second < 1.2 * first


@contextmanager
def file_size_limit(size):
    """Writing a file beyond the size fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_fills(case):
    whole = analyze(case())
    expected = contents(whole)
    first, second, third = sorted((whole / "tokens").iterdir())
    size = second.stat().st_size - 1
    assert (whole / "responses.parquet").stat().st_size < size
    second.unlink()
    third.unlink()
    with file_size_limit(size), pytest.raises(RlvrError, match=r"part-00001.parquet cannot be written.*kept"):
        analyze(case())
    assert sorted((whole / "tokens").iterdir()) == [first]  # nothing half-written
    analyze(case())
    assert contents(whole) == expected


def test_a_damaged_part_is_named_and_can_be_scored_again(case):
    whole = analyze(case())
    expected = contents(whole)
    second = whole / "tokens" / "part-00001.parquet"
    second.write_bytes(second.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"part-00001.parquet: damaged.*delete it"):
        analyze(case())
    second.unlink()
    analyze(case())
    assert contents(whole) == expected


def empty(part, other):
    table = pq.read_table(part)
    pq.write_table(table.slice(0, 0), part)


def shorter(part, other):
    table = pq.read_table(part)
    pq.write_table(table.slice(0, table.num_rows - 1), part)


def exchanged(part, other):
    shutil.copyfile(other, part)


@pytest.mark.parametrize("damage", [empty, shorter, exchanged])
def test_a_part_with_other_tokens_than_belong_there_is_named(case, damage):
    first, second, _ = sorted((analyze(case()) / "tokens").iterdir())
    damage(second, first)
    with pytest.raises(DataError, match=r"part-00001.parquet: damaged .*tokens that belong here.*delete it"):
        analyze(case())


def test_a_part_of_another_policy_is_named(case, models):
    whole = analyze(case(checkpoints=[str(models[0])]))
    parts = sorted((whole / "tokens").iterdir())
    shutil.copyfile(parts[0], parts[len(parts) // 2])  # the same responses, scored by the checkpoint
    with pytest.raises(DataError, match=r"not the scores by policy of the tokens that belong here"):
        analyze(case(checkpoints=[str(models[0])]))


def test_a_killed_process_goes_on_where_it_stopped(models, tmp_path):
    base, policy = models
    responses = write_responses(tmp_path / "r.jsonl", seed=5, problems=20, samples=4)

    def command(output):
        return [
            *(sys.executable, "-m", "rlvr.analyze", f"base={base}", f"policy={policy}"),
            *(f"responses={responses}", "trajectory=policy", f"output={tmp_path / output}"),
            *("score.responses_per_part=2", "score.tokens_per_micro_batch=64", "tables.bootstrap=20"),
        ]

    settings = {"cwd": REPOSITORY, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command("killed"), **settings)
    end = time.monotonic() + 120
    while not (tmp_path / "killed" / "tokens" / "part-00003.parquet").exists():
        assert process.poll() is None, "ended early"
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    survived = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed" / "tokens").glob("part-*")}
    assert 4 <= len(survived) < 40
    subprocess.run(command("killed"), check=True, timeout=200, **settings)
    subprocess.run(command("whole"), check=True, timeout=200, **settings)
    assert all(p.stat().st_mtime_ns == time_ for p, time_ in survived.items())
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
