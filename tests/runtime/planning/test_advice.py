"""Rates, and the changes that a plan advises: each is tried, and does what it says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rlvr.cluster.limits import Memory
from rlvr.config import Config
from rlvr.errors import ConfigError
from rlvr.plan import main, own_options
from rlvr.runtime.planning.advice import Change, advice, burden, changed, changes, possible
from rlvr.runtime.planning.cards import CARDS, chosen_card
from rlvr.runtime.planning.fit import misfit, planned
from rlvr.runtime.planning.ledger import ledgers
from rlvr.runtime.planning.shape import ModelShape

SEVEN = ModelShape(7_615_616_512, 152_064, 3584, 28, 28_672, 18_944)
H100 = CARDS["h100"]
SIGNALS = frozenset({"old_logp"})


def on_gpus(stage: int, ranks: int) -> Config:
    cfg = Config(recipe="test")
    cfg.model.dtype, cfg.model.gradient_checkpointing = "bfloat16", True
    cfg.model.max_length, cfg.data.max_prompt_tokens, cfg.rollout.max_response_tokens = 4096, 1024, 3072
    cfg.learner.zero_stage, cfg.learner.workers, cfg.learner.gpus_per_worker = stage, ranks, 1.0
    cfg.rollout.engines, cfg.rollout.gpus_per_engine = 4, 1.0
    cfg.rollout.kv_cache_mb, cfg.rollout.memory_utilization = None, 0.85
    cfg.data.prompts_per_step = 64
    return cfg


def test_what_does_not_fit_is_made_to_fit_before_it_is_made_fast():
    cfg = on_gpus(0, 4)
    found = advice(cfg, SEVEN, H100, base=True, timed=True)
    assert found
    assert all(one.before.missing > 0 for one in found)
    assert all(one.after.missing < one.before.missing for one in found)
    assert found[0].after.missing == min(one.after.missing for one in found) == 0
    assert "it fits" in str(found[0])
    stage = changed(cfg, (("learner.zero_stage", 3),))
    assert stage is not None
    assert burden(stage, SEVEN, H100, base=True, timed=True).missing == 0  # shards make it fit, too


def test_advice_does_what_it_says():
    cfg = on_gpus(3, 4)
    before = burden(cfg, SEVEN, H100, base=True, timed=True)
    assert before.missing == before.late == 0
    found = advice(cfg, SEVEN, H100, base=True, timed=True)
    assert 1 <= len(found) <= 3
    for one in found:
        tried = changed(cfg, one.change)
        assert tried is not None
        assert burden(tried, SEVEN, H100, base=True, timed=True) == one.after
        assert one.after.seconds < before.seconds
        assert f"{before.seconds:.1f} -> {one.after.seconds:.1f} s a step" in str(one)
    assert found == sorted(found, key=lambda one: one.after)


def test_a_deadline_that_would_fire_comes_before_speed():
    cfg = on_gpus(3, 4)
    seconds = burden(cfg, SEVEN, H100, base=True, timed=True).seconds
    cfg.learner.deadline_seconds = seconds / 100
    best = advice(cfg, SEVEN, H100, base=True, timed=True)[0]
    assert best.after.late < best.before.late
    assert "past a deadline" in str(best)


def test_on_cpu_without_rates_it_is_memory_that_counts():
    cfg = Config(recipe="test")
    small = ModelShape(134_515_008, 49_152, 576, 30, 11_520, 1536, tied=True)
    for one in advice(cfg, small, H100, base=True, timed=False):
        assert one.after.memory < one.before.memory
        assert one.before.seconds == 0


def test_long_sequences_are_tiled_where_that_helps_and_the_model_can():
    cfg = on_gpus(3, 4)
    cfg.model.max_length, cfg.rollout.max_response_tokens = 65_536, 64_512
    cfg.learner.tokens_per_micro_batch = 65_536
    tile = (("learner.mlp_tile_tokens", 4096),)

    def advised(shape: ModelShape) -> list[Change]:
        return [one.change for one in advice(cfg, shape, H100, base=True, timed=False)]

    assert tile in advised(SEVEN)
    assert tile not in advised(replace(SEVEN, experts=True))


def test_nothing_is_advised_that_would_lose_gradients_of_adapters():
    cfg = on_gpus(3, 4)
    cfg.model.lora.rank, cfg.learner.mlp_tile_tokens, cfg.model.gradient_checkpointing = 8, 64, True
    assert possible(cfg, SEVEN)
    cfg.model.gradient_checkpointing = False
    assert not possible(cfg, SEVEN)
    cfg.learner.zero_stage = 2
    assert possible(cfg, SEVEN)


def test_nothing_that_the_configuration_forbids_is_advised():
    cfg = on_gpus(3, 4)
    refused = [change for change in changes(cfg) if changed(cfg, change) is None]
    advised = [one.change for one in advice(cfg, SEVEN, H100, base=True, timed=True)]
    assert not [change for change in advised if change in refused]


def test_rates_of_ones_own_stand_in_for_the_cards(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text("tflops: 500\nnetwork_gb_s: 40\n")
    card = chosen_card("a100", file)
    assert (card.tflops, card.network_gb_s) == (500, 40)
    assert (card.memory_gb, card.memory_gb_s) == (CARDS["a100"].memory_gb, CARDS["a100"].memory_gb_s)
    assert "mine.yaml" in card.name
    for text in ("tflops: fast", "tflops: 0", "flops: 3", "- 3", "tflops: true", "{"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"rates=.*mine\.yaml"):
            chosen_card("a100", file)
    with pytest.raises(ConfigError, match=r"card=k80: not in the table; it has a10, .*h100"):
        chosen_card("k80")


@pytest.mark.parametrize("form", [["--rates", "f.yaml"], ["--rates=f.yaml"], ["rates=f.yaml"]])
def test_own_options_come_off_the_line(form: list[str]):
    rest, own = own_options(["recipe=dapo", *form, "seed=2", "card=a100"])
    assert rest == ["recipe=dapo", "seed=2"]
    assert own == {"rates": "f.yaml", "card": "a100"}


def test_a_run_that_cannot_fit_is_refused_with_a_way_on(monkeypatch: pytest.MonkeyPatch):
    cfg = Config(recipe="test")
    assert planned(cfg, SIGNALS).startswith("memory (estimate): learner rank (1) ")
    cfg.rollout.kv_cache_mb = 2 * psutil.virtual_memory().total >> 20
    with pytest.raises(
        ConfigError, match=r"together, and this machine has .*cluster\.on_misfit=warn starts it"
    ):
        planned(cfg, SIGNALS)
    cfg.cluster.on_misfit = "warn"
    assert "WARNING engines and learner: estimated to need" in planned(cfg, SIGNALS)


def test_a_gpu_that_is_too_small_is_named():
    cfg = on_gpus(0, 4)
    found, roomy = ledgers(cfg, SEVEN, H100, base=True), Memory(10**12, 10**12, 10**12)
    assert "learner rank (4): estimated to need" in misfit(cfg, found, H100.memory, roomy)
    assert misfit(cfg, found, None, roomy) == ""  # a cluster whose GPUs are not known here
    assert misfit(cfg, found, 1e12, Memory(0, 0, 0)) == ""


def test_a_gpu_is_looked_up_by_its_maker_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from rlvr.runtime.planning import fit

    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('81559, NVIDIA H100\\n24564, NVIDIA GeForce RTX 4090')\n")
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    card = fit.local_card()
    assert card is not None
    assert card.name == "NVIDIA GeForce RTX 4090"
    assert card.memory == 24564 * (1 << 20)
    program.write_text("#!/bin/sh\necho 'no devices were found'; exit 6\n")
    assert fit.local_card() is None
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert fit.local_card() is None


def test_rates_are_looked_for_in_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["rlvr plan", "rates=~/rates.yaml"])
    with pytest.raises(SystemExit):
        main()
    assert f"rates={tmp_path / 'rates.yaml'}: cannot be read" in capsys.readouterr().err
