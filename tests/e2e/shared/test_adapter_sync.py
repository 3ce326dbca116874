"""Adapters sent on their own to a real engine: its log-probs, versions under way, faults of a push, and files."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from rlvr.config import Config, LoraConfig, SyncConfig
from rlvr.errors import ActorError, MismatchError, RemoteError, WeightsError
from rlvr.learner.model.adapters import (
    adapter_parameters,
    adapter_to_send,
    add_adapters,
    parts_of,
    save_adapter,
)
from rlvr.rollout.engine_spec import logprobs_mode
from rlvr.rollout.sampling import Sampling
from rlvr.sync.gate import check_mismatch
from rlvr.sync.gloo import ParamInfo
from rlvr.sync.sender import CheckedSender, open_sender
from rlvr.sync.sent import Sent
from tests.helpers.engine_rig import (
    WHOLE,
    Rig,
    batch_of,
    crossed,
    in_flight,
    log_probs,
    requests_of,
    scored,
    small_llama,
    start_engine,
)
from tests.helpers.engine_specs import engine_spec
from tests.helpers.faulty_push import make_late, one_parameter_left_out
from tests.helpers.shared_processes import SharedProcesses

pytestmark = pytest.mark.e2e

LORA = LoraConfig(rank=3, alpha=6.0)
MODULE = "model.layers.0.self_attn.o_proj"
HALF = f"base_model.model.{MODULE}.lora_A.weight"


@dataclass
class Adapted(Rig):
    """An engine that gets adapters; `model` is the frozen one."""

    config: Config
    folder: Path

    def policy(self, seed: int) -> LlamaForCausalLM:
        """The model with an adapter as after some training."""
        lm = copy.deepcopy(self.model).float()
        add_adapters(lm, LORA, seed, key="test")
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in adapter_parameters(lm):
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) / 5
        return lm

    def whole(self, policy: LlamaForCausalLM) -> LlamaForCausalLM:
        """The same with its adapter added to the weights, in float64."""
        lm = copy.deepcopy(self.model)
        for part in parts_of(policy):
            lm.get_parameter(part.name).data = part.merged().double()
        return lm

    def agrees(self, lm: LlamaForCausalLM, version: int) -> None:
        """What the engine samples has the log-probs of this model, and not those of the frozen one."""
        requests = requests_of([5, 20, 40], samples=4)
        batch = batch_of(requests, self.generate(requests, Sampling(1.0, *WHOLE, max_tokens=30)))
        assert (batch.weight_version == version).all()

        def compare(model: LlamaForCausalLM) -> float | None:
            found = scored(batch, log_probs(model, batch, 1.0))
            return check_mismatch(found, version, SyncConfig(), "float32", print)

        mean = compare(lm)
        assert mean is not None
        assert mean < 1e-5
        with pytest.raises(MismatchError):
            compare(self.model)


@pytest.fixture(scope="module")
def rig(processes: SharedProcesses, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    """A small random model with a tied head, on an engine that holds no adapter yet."""
    folder = tmp_path_factory.mktemp("model")
    model = small_llama(folder, context=256)
    cfg = Config(recipe="test")
    cfg.model.lora, cfg.model.path, cfg.sync.lora = LORA, str(folder), "adapter"
    adapter = adapter_to_send(cfg, str(folder))
    spec = engine_spec(
        model=str(folder),
        max_length=256,
        kv_cache_mb=4,
        logprobs_mode=logprobs_mode(1.0, *WHOLE),
        adapter=adapter,
    )
    return Adapted(start_engine(processes, spec), model.double().eval(), cfg, folder)


@pytest.fixture(scope="module")
def sender(rig: Adapted) -> CheckedSender:
    infos = [ParamInfo(name, "float32", tuple(p.shape)) for name, p in adapter_parameters(rig.policy(0))]
    made = open_sender(rig.config, [rig.engine], rank=0, infos=infos, device="cpu")
    assert isinstance(made, CheckedSender)
    return made


def push(sender: CheckedSender, policy: LlamaForCausalLM, version: int) -> Sent | None:
    return sender.send(lambda: ((n, p.detach()) for n, p in adapter_parameters(policy)), version)


def test_an_engine_computes_with_the_adapter_of_the_last_push(rig: Adapted, sender: CheckedSender) -> None:
    """Each time for the same prompts: keys and values of another adapter would show."""
    with pytest.raises(RemoteError, match="before an adapter was pushed"):
        rig.generate(requests_of([5]), Sampling(1.0, *WHOLE, max_tokens=2))
    for version, seed in ((0, 1), (1, 2), (2, 1)):
        policy = rig.policy(seed)
        sent = push(sender, policy, version)
        assert sent is not None
        assert sent.bytes == sum(4 * p.numel() for _, p in adapter_parameters(policy))
        assert sent.bytes < 0.2 * sum(4 * p.numel() for p in rig.model.parameters())
        rig.agrees(rig.whole(policy), version)


def test_another_adapter_in_the_middle_of_responses(rig: Adapted, sender: CheckedSender) -> None:
    """Every token carries the version that sampled it and that adapter's log-prob, as with whole weights."""
    policies = {10: rig.policy(1), 11: rig.policy(2), 12: rig.policy(3)}
    push(sender, policies[10], 10)
    for before, mode in ((10, "recompute"), (11, "keep")):
        rig.inside(lambda engine, mode=mode: setattr(engine, "_on_update", mode))
        requests, found = in_flight(rig)
        push(sender, policies[before + 1], before + 1)
        found = rig.finish(found)
        old, new = (rig.whole(policies[version]) for version in (before, before + 1))
        assert crossed(requests, found, old, new, before, mode) > 4
    rig.inside(lambda engine: setattr(engine, "_on_update", "wait"))


def test_what_an_engine_does_not_compute_with_is_found_in_that_push(
    rig: Adapted, sender: CheckedSender
) -> None:
    with (
        one_parameter_left_out(sender, HALF),
        pytest.raises(
            WeightsError, match=rf"version 20 .*not received {HALF}; kept the old values of {MODULE}"
        ),
    ):
        push(sender, rig.policy(2), 20)
    push(sender, rig.policy(1), 21)
    rig.in_worker(make_late, False)
    push(sender, rig.policy(1), 22)
    rig.in_worker(make_late, True)
    with pytest.raises(WeightsError, match=r"version 23 .*engine-0: other values in .* more parameters"):
        push(sender, rig.policy(2), 23)
    rig.in_worker(make_late, False)

    def without_a_module(worker: Any, away: bool) -> None:
        manager = worker.model_runner.get_model().lora_manager
        name = "model.layers.0.mlp.down_proj"
        if away:
            manager.away = manager.modules.pop(name)
        else:
            manager.modules[name] = manager.away

    rig.in_worker(without_a_module, True)
    with pytest.raises(WeightsError, match=r"kept the old values of model\.layers\.0\.mlp\.down_proj"):
        push(sender, rig.policy(2), 24)
    rig.in_worker(without_a_module, False)
    push(sender, rig.policy(2), 25)
    rig.agrees(rig.whole(rig.policy(2)), 25)


def test_vllm_reads_what_is_exported_as_the_same_policy_and_a_lost_adapter_ends_the_engine(
    rig: Adapted, sender: CheckedSender, tmp_path: Path
) -> None:
    """Last of this file: the engine has room for one adapter and is asked for the one that the file has displaced."""
    policy = rig.policy(4)
    push(sender, rig.policy(1), 30)
    save_adapter(LORA, {n: p.detach() for n, p in adapter_parameters(policy)}, str(rig.folder), tmp_path)

    def use(engine: Any, path: str) -> None:
        from vllm.lora.request import LoRARequest

        engine.pushed_before, engine._pushed = engine._pushed, LoRARequest("a file", 2, path)

    rig.inside(lambda engine, path=str(tmp_path): use(engine, path))
    rig.agrees(rig.whole(policy), 30)
    rig.inside(lambda engine: setattr(engine, "_pushed", engine.pushed_before))
    with pytest.raises(ActorError, match=r"an adapter that is only pushed/version-30"):
        rig.generate(requests_of([5]), Sampling(1.0, *WHOLE, max_tokens=2))
