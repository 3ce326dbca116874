"""The plan of a run: counts that are exact, memory as DeepSpeed estimates it, and what it warns of."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlvr.cluster.limits import Memory
from rlvr.config import Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.errors import ConfigError
from rlvr.learner.model.policy import load_policy
from rlvr.learner.optimizers import OPTIMIZERS
from rlvr.runtime.planning.cards import CARDS
from rlvr.runtime.planning.disk import disk
from rlvr.runtime.planning.fit import misfit
from rlvr.runtime.planning.ledger import (
    copies,
    engine_ledger,
    host_states,
    largest_sequence,
    learner_ledger,
    ledgers,
    moments,
)
from rlvr.runtime.planning.seconds import phases, step_seconds
from rlvr.runtime.planning.shape import (
    ModelShape,
    matrix_parameters,
    model_shape,
    stored_parameters,
    trained_parameters,
)
from rlvr.runtime.planning.text import report

# Qwen2.5-7B's published numbers.
SEVEN = ModelShape(
    parameters=7_615_616_512,
    vocabulary=152_064,
    hidden=3584,
    layers=28,
    cache_per_token=28_672,
    intermediate=18_944,
)
H100 = CARDS["h100"]


def on_gpus(stage: int, ranks: int, dtype: str = "bfloat16") -> Config:
    cfg = Config(recipe="test")
    cfg.model.dtype, cfg.model.gradient_checkpointing = dtype, True
    cfg.learner.zero_stage, cfg.learner.workers, cfg.learner.gpus_per_worker = stage, ranks, 1.0
    cfg.rollout.gpus_per_engine, cfg.rollout.kv_cache_mb, cfg.rollout.memory_utilization = 1.0, None, 0.85
    return cfg


def colocated() -> Config:
    """One GPU in turns, as recipes/cluster/gpu_1_80gb.yaml."""
    cfg = on_gpus(2, 1)
    cfg.cluster.colocate, cfg.cluster.sleep_level = True, 1
    cfg.learner.gpus_per_worker = cfg.rollout.gpus_per_engine = 0.5
    return cfg


def states(cfg: Config) -> float:
    parts = dict(learner_ledger(cfg, SEVEN, base=False).parts)
    return parts["weights"] + parts["gradients"] + parts["optimiser"]


def test_parameters_are_counted_without_loading():
    shape = model_shape(Config(recipe="test"))
    model = AutoModelForCausalLM.from_pretrained(model_folder("builtin"))
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert (shape.vocabulary, shape.layers) == (model.config.vocab_size, model.config.num_hidden_layers)


@pytest.mark.slow
def test_sharded_states_are_those_of_deepspeeds_own_estimators():
    code = (
        "from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as three\n"
        "from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs as two\n"
        f"n = {SEVEN.parameters}\n"
        "print(*[three(n, 0, r, 1, False, False, False, 1.0)[1] for r in (1, 8)])\n"
        "print(*[two(n, r, 1, False, 1.0)[1] for r in (1, 8)])\n"
        "print(two(n, 1, 1, True, 1.0)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    three, two, offloaded = ([float(word) for word in line.split()] for line in done.stdout.splitlines()[-3:])
    assert [states(on_gpus(3, ranks)) for ranks in (1, 8)] == pytest.approx(three, rel=0.001)
    assert [states(on_gpus(2, ranks)) for ranks in (1, 8)] == pytest.approx(two, rel=0.001)
    away = on_gpus(2, 1)
    away.learner.offload_optimizer = "cpu"
    assert host_states(away, SEVEN.parameters, 0) == pytest.approx(offloaded[0], rel=0.001)


def test_offloaded_states_take_no_memory_of_the_gpu():
    """ZeRO-Offload leaves the weights and the gradients of one pass, 2 bytes each; on CPU it is one memory."""
    cfg = on_gpus(stage=2, ranks=1)
    cfg.learner.offload_optimizer = "cpu"
    assert states(cfg) == 4 * SEVEN.parameters
    assert host_states(cfg, SEVEN.parameters, 0) == 16 * SEVEN.parameters
    cfg.learner.gpus_per_worker = 0.0
    assert states(cfg) == states(on_gpus(stage=2, ranks=1)) == 20 * SEVEN.parameters


def test_each_stage_shards_more():
    sizes = [states(on_gpus(stage, 8)) for stage in (0, 1, 2, 3)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    n = SEVEN.parameters
    assert sizes[0] == (2 + 4 + 2 + 12) * n
    assert sizes[1] == pytest.approx((2 + 4 + 2 + 12 / 8) * n)
    assert sizes[2] == pytest.approx((2 + (4 + 2 + 12) / 8) * n)
    assert sizes[3] == pytest.approx((2 + 4 + 12) * n / 8)


def test_the_cache_takes_what_the_weights_leave():
    parts = dict(engine_ledger(on_gpus(3, 8), SEVEN, H100).parts)
    assert parts["weights"] == 2 * SEVEN.parameters
    assert parts["weights"] + parts["KV cache"] == pytest.approx(0.85 * H100.memory - 2e9)


def test_sparse_pushes_take_a_copy_of_the_weights_on_each_side():
    n = SEVEN.parameters

    def grown(cfg: Config) -> list[float]:
        """By how much they make each process larger, and what the copies of a run take together."""
        off = [ledger.total for ledger in ledgers(cfg, SEVEN, H100, base=True)]
        cfg.sync.sparse = "auto"
        on = [ledger.total for ledger in ledgers(cfg, SEVEN, H100, base=True)]
        return [b - a for a, b in zip([*off, 0.0], [*on, copies(cfg, n)], strict=True)]

    assert grown(Config(recipe="test")) == [4 * n, 4 * n, 2 * 4 * n]
    assert grown(on_gpus(3, 8)) == [0, 0, 0]  # over NCCL everything is sent
    over_gloo = on_gpus(3, 8)
    over_gloo.sync.backend, over_gloo.rollout.tensor_parallel, over_gloo.rollout.engines = "gloo", 4, 2
    assert grown(over_gloo) == [0, 0, (1 + 2 * 4) * 2 * n]  # of eight learner ranks one has it


def test_ranks_without_a_copy_are_not_counted_with_one():
    cfg = Config(recipe="test")
    cfg.sync.sparse, cfg.learner.workers = "auto", 3
    learner, engine = found = ledgers(cfg, SEVEN, H100, base=True)
    total = 3 * learner.total + engine.total - 2 * 4 * SEVEN.parameters
    size = int(total)
    assert not misfit(cfg, found, None, Memory(size + 1, size, size + 1))
    assert "this machine has" in misfit(cfg, found, None, Memory(size - 9, size, size - 9))


def test_a_run_must_fit_what_a_control_group_allows_of_the_machine():
    cfg = Config(recipe="test")
    found = ledgers(cfg, SEVEN, H100, base=True)
    refused = misfit(cfg, found, None, Memory(total=4 * 10**9, available=0, machine=10**15))
    assert "together, and of this machine's 1000000.00 GB a control group allows 4.00 GB" in refused


def test_what_does_not_fit_and_what_comes_too_late_is_said():
    cfg = on_gpus(0, 1)
    cfg.rollout.engines = 1
    said = report(cfg, SEVEN)
    assert "learner rank (1): " in said
    assert "DOES NOT FIT a H100" in said
    assert "LONGER" not in said
    cfg.learner.deadline_seconds = 0.001
    assert report(cfg, SEVEN).count("LONGER THAN ITS DEADLINE") == 2  # score and update
    assert "DOES NOT FIT" not in report(on_gpus(3, 8), SEVEN)


def test_seconds_grow_with_the_work_and_shrink_with_the_ranks():
    one, two = on_gpus(3, 8), on_gpus(3, 16)
    seconds = {cfg.learner.workers: phases(cfg, SEVEN, H100, base=True)[2].seconds for cfg in (one, two)}
    assert seconds[8] == pytest.approx(2 * seconds[16])
    larger = replace(SEVEN, parameters=2 * SEVEN.parameters)
    assert phases(one, larger, H100, base=True)[2].seconds == pytest.approx(2 * seconds[8])


def test_a_run_on_cpu_has_a_plan_without_seconds():
    cfg = Config(recipe="test")
    said = report(cfg, model_shape(cfg))
    assert "parameters" in said
    assert "seconds a step" not in said


def test_stored_parameters_are_those_of_the_configuration():
    cfg = Config(recipe="test")
    assert stored_parameters(Path(model_folder("builtin"))) == model_shape(cfg).parameters
    assert model_shape(cfg, stored=True) == model_shape(cfg)
    assert stored_parameters(Path(__file__).parent) is None


def test_another_copy_of_the_weights_is_not_counted(tmp_path: Path):
    for name in ("model.safetensors", "consolidated.safetensors"):
        (tmp_path / name).write_bytes((Path(model_folder("builtin")) / "model.safetensors").read_bytes())
    assert stored_parameters(tmp_path) == model_shape(Config(recipe="test")).parameters


def test_a_shared_gpu_has_a_ledger_for_each_turn_and_states_in_host_memory():
    cfg = colocated()
    learn, push, generate = ledgers(cfg, SEVEN, H100, base=False)
    n = SEVEN.parameters
    assert (
        learn.total > 80e9 > push.total
    )  # the learner of 7B does not fit one GPU, with an engine or without
    assert dict(push.parts)["learner's weights"] == dict(push.parts)["engine's weights"] == 2 * n
    assert generate.total < 80e9
    assert "GPU in the learner's turn" in report(cfg, SEVEN)
    kept = host_states(cfg, n, 0)
    cfg.cluster.sleep_level = 2  # drops the engine's weights instead of keeping them
    assert kept - host_states(cfg, n, 0) == 2 * n
    assert host_states(on_gpus(2, 8), n, n) == 0


def test_the_largest_sequence_is_where_the_ledger_is_full():
    cfg = on_gpus(3, 8)
    cfg.model.max_length = cfg.learner.tokens_per_micro_batch = 1 << 22
    cfg.data.max_prompt_tokens, cfg.rollout.max_response_tokens = 1024, 1024
    cfg.data.prompts_per_step = 1
    most = largest_sequence(cfg, SEVEN, H100, base=True)
    for tokens, fits in ((most, True), (most + 64, False)):
        cfg.data.max_prompt_tokens = cfg.rollout.max_response_tokens = tokens // 2
        cfg.learner.updates_per_step = cfg.rollout.samples_per_prompt = 16
        found = learner_ledger(cfg, SEVEN, base=True).total
        assert (found <= H100.memory + 1e7) is fits


def test_generation_ahead_overlaps():
    cfg = on_gpus(3, 8)
    found = phases(cfg, SEVEN, H100, base=True)
    whole = step_seconds(cfg, found)
    cfg.rollout.staleness = 1
    assert step_seconds(cfg, found) == max(found[0].seconds, whole - found[0].seconds) < whole


def test_adapters_have_the_states_and_the_frozen_model_is_the_base():
    full, lora = (on_gpus(stage=2, ranks=1) for _ in range(2))
    lora.model.lora.rank = 16
    before, after = (dict(learner_ledger(c, SEVEN, base=True).parts) for c in (full, lora))
    # Rank 16 on q, k, v, o (3584 to 3584, 512, 512, 3584) and gate, up, down (3584 and 18944) of 28 layers.
    adapters = 16 * 28 * (2 * 7168 + 2 * 4096 + 3 * 22528)
    assert adapters == 40_370_176
    assert after["optimiser"] == 12 * adapters
    assert after["gradients"] == (4 + 2) * adapters
    assert after["weights"] == before["weights"] == 2 * SEVEN.parameters
    assert (before["base"], after["base"]) == (2 * SEVEN.parameters, 0)
    lora.model.base_path = "another"
    assert dict(learner_ledger(lora, SEVEN, base=True).parts)["base"] == 2 * SEVEN.parameters
    assert disk(lora, SEVEN).checkpoint == 14 * adapters


def test_engines_that_are_sent_adapters_have_room_for_them_and_none_for_whole_weights():
    cfg = Config(recipe="test")
    cfg.model.lora.rank = 12
    merged = dict(engine_ledger(cfg, SEVEN, H100).parts)
    cfg.sync.lora = "adapter"
    alone = dict(engine_ledger(cfg, SEVEN, H100).parts)
    assert "weights of a push (estimate)" in merged.keys() - alone.keys()
    adapter = 4 * trained_parameters(cfg, SEVEN)
    assert alone["adapters (estimate)"] == pytest.approx(adapter * (16 / 12 + 2))
    assert alone["adapter by token (estimate)"] == 4 * 4096 * 16 * SEVEN.intermediate
    cfg.rollout.gpus_per_engine = cfg.learner.gpus_per_worker = 1.0
    on_card = dict(engine_ledger(cfg, SEVEN, H100).parts)
    assert on_card["adapters (estimate)"] == alone["adapters (estimate)"]
    assert "adapter by token (estimate)" not in on_card


@pytest.mark.slow
def test_the_count_of_adapters_is_that_of_peft():
    from rlvr.config import LoraConfig
    from rlvr.learner.model.adapters import adapter_parameters, add_adapters

    cfg = Config(recipe="test")
    cfg.model.lora = LoraConfig(rank=3)
    lm = AutoModelForCausalLM.from_pretrained(model_folder("builtin"))
    add_adapters(lm, cfg.model.lora, seed=1, key="model.path=builtin")
    made = sum(p.numel() for _, p in adapter_parameters(lm))
    assert trained_parameters(cfg, model_shape(cfg)) == made


def test_ranks_that_share_sequences_share_activations_and_nothing_else():
    alone, shared = (dict(learner_ledger(c, SEVEN, base=True).parts) for c in (on_gpus(2, 4), sharing(2)))
    activations, rest = alone.pop("activations (estimate)"), shared.pop("activations (estimate)")
    # Half of the groups, each with all sequences of two ranks.
    assert rest == pytest.approx(activations, rel=1e-3)
    assert alone == shared
    cfg, long = on_gpus(2, 4), sharing(4)
    for one in (cfg, long):
        one.model.max_length = one.learner.tokens_per_micro_batch = 1 << 22
    most, far = (largest_sequence(one, SEVEN, H100, base=True) for one in (cfg, long))
    assert far == pytest.approx(4 * most, rel=1e-3)


def sharing(ranks: int) -> Config:
    cfg = on_gpus(2, 4)
    cfg.learner.sequence_parallel = ranks
    return cfg


def of_long_sequences(tokens: int, **learner: object) -> Config:
    """One sequence a micro-batch."""
    cfg = on_gpus(2, 1)
    cfg.model.max_length = cfg.learner.tokens_per_micro_batch = tokens
    cfg.data.max_prompt_tokens = cfg.rollout.max_response_tokens = tokens // 2
    for name, value in learner.items():
        setattr(cfg.learner, name, value)
    return cfg


def test_activations_by_hand():
    """Numbers a token, 2 bytes each: an input 3584, the middle 4 x 18944, the rest 8 x 3584 + 2 x (3584 + 1024)."""
    rest, middle = 8 * 3584 + 2 * (3584 + 1024), 4 * 18_944

    def per_token(**learner: object) -> float:
        parts = dict(learner_ledger(of_long_sequences(8192, **learner), SEVEN, base=False).parts)
        return parts["activations (estimate)"] / 2 / 8192

    assert per_token() == 28 * 3584 + rest + middle
    assert per_token(checkpoint_keep="attention") == 28 * 2 * 3584 + rest + middle
    assert per_token(checkpoint_every=3) == 10 * 3584 + (18 + 1) * (rest + middle)
    assert per_token(mlp_tile_tokens=1024) == 28 * 3584 + rest + middle / 8
    assert per_token(mlp_tile_tokens=8192) == per_token()  # one tile


def test_layers_computed_again_take_their_time():
    def update(**learner: object) -> float:
        return phases(of_long_sequences(8192, **learner), SEVEN, H100, base=False)[2].seconds

    mlp = 28 * 3 * 3584 * 18_944 / SEVEN.parameters
    assert update(checkpoint_every=2) == pytest.approx(update() * 7 / 8)
    assert update(mlp_tile_tokens=1024) == pytest.approx(update() * (8 + 2 * mlp) / 8)
    assert update(mlp_tile_tokens=8192) == update()


def test_a_plan_refuses_to_tile_experts(tmp_path: Path):
    from transformers import Qwen3MoeConfig

    Qwen3MoeConfig().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()  # a folder without weights is no model
    cfg = Config(recipe="test")
    cfg.model.path, cfg.learner.mlp_tile_tokens = str(tmp_path), 64
    with pytest.raises(
        ConfigError, match=r"learner\.mlp_tile_tokens=64: model\.path=.* is a mixture of experts"
    ):
        model_shape(cfg)


def test_a_plan_refuses_heads_that_do_not_divide():
    cfg = Config(recipe="test")
    assert model_shape(cfg).heads == (4, 2)
    cfg.learner.workers = cfg.learner.sequence_parallel = 3
    with pytest.raises(ConfigError, match=r"4 attention heads and 2 .* use one of \[1, 2, 4\]"):
        model_shape(cfg)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_moments_are_those_that_the_optimiser_holds(name):
    cfg = Config(recipe="test")
    cfg.learner.optimizer = name
    policy = load_policy(cfg.model, model_folder("builtin"), 1.0)
    optimizer = OPTIMIZERS[name](policy, cfg.learner)
    for parameter in policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    tensors = [v for state in optimizer.state.values() for v in state.values() if v.numel() > 1]
    shape = model_shape(cfg)
    counted = moments(cfg, trained_parameters(cfg, shape), matrix_parameters(cfg, shape))
    assert counted == pytest.approx(sum(4 * v.numel() for v in tensors), rel=0.01)
    cfg.learner.optimizer = "adamw_8bit"
    assert moments(cfg, 1e6, 0) == 2e6
