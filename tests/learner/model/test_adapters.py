"""Adapters against full fine-tuning by hand, the frozen model, and peft's own reading of what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from rlvr.config import Config, LoraConfig, ModelConfig
from rlvr.errors import ConfigError
from rlvr.learner.gradients import gradient_norms
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.model.adapters import (
    FrozenBase,
    MergedPart,
    adapted_layers,
    adapter_parameters,
    adapter_to_send,
    add_adapters,
    lora_problems,
    merge_adapters,
    parts_of,
    peft_config,
    save_adapter,
)
from rlvr.learner.model.policy import PolicyModel, load_policy
from rlvr.learner.packing import MicroBatch, micro_batch, sequence_weights
from rlvr.learner.scoring import score_micro_batch
from rlvr.stats.concentration import top_share
from rlvr.types import TokenSignals
from tests.helpers.models import tied_model
from tests.helpers.records import random_batch

LORA = LoraConfig(rank=3, alpha=6.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tied_model(tmp_path_factory.mktemp("model"), "qwen2")


def adapted(folder: str, lora: LoraConfig = LORA, *, moved: bool = True) -> PolicyModel:
    """The model with adapters; `moved`: as after some training, B no longer 0."""
    policy = load_policy(ModelConfig(path=folder), folder, 0.7)
    add_adapters(policy.lm, lora, seed=1, key="model.path=test")
    if moved:
        generator = torch.Generator().manual_seed(2)
        for name, parameter in adapter_parameters(policy.lm):
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) / 10
    return policy


@pytest.fixture
def micro() -> MicroBatch:
    return micro_batch(random_batch([3, 2, 4], [5, 7, 1]), np.arange(3))


def full_model(policy: PolicyModel, folder: str) -> PolicyModel:
    """The same policy with its adapters merged, all of its weights trained."""
    whole = load_policy(ModelConfig(path=folder), folder, 0.7)
    weights = {part.name: part.merged() for part in parts_of(policy.lm)}
    assert weights.keys() == dict(whole.lm.named_parameters()).keys()
    for name, parameter in whole.lm.named_parameters():
        parameter.data = weights[name].clone()
    return whole


def test_gradients_are_those_of_full_fine_tuning_through_the_product(folder, micro):
    """W + s B A: with G the gradient of W, A's is s B' G and B's is s G A'."""
    policy = adapted(folder)
    whole = full_model(policy, folder)
    weight = torch.linspace(-1, 1, len(micro.target))
    (policy(micro) * weight).sum().backward()
    (whole(micro) * weight).sum().backward()
    torch.testing.assert_close(policy(micro), whole(micro), rtol=0, atol=1e-5)
    full = {name: p.grad for name, p in whole.lm.named_parameters()}
    compared = 0
    for part in parts_of(policy.lm):
        frozen, *adapter = part.parameters
        assert frozen.grad is None
        if not adapter:
            assert not frozen.requires_grad
            continue
        a, b = adapter
        torch.testing.assert_close(a.grad, part.scaling * b.T @ full[part.name], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(b.grad, part.scaling * full[part.name] @ a.T, rtol=1e-3, atol=1e-5)
        compared += 1
        assert part.scaling == 2.0  # alpha / rank
    assert compared == 7 * policy.lm.config.num_hidden_layers


def test_with_adapters_off_it_is_the_frozen_model(folder, micro):
    policy = adapted(folder)
    base = load_policy(ModelConfig(path=folder), folder, 0.7)
    signals = {"old_logp", "base_logp", "js_base", "kl_policy_base"}
    with torch.no_grad():
        found = score_micro_batch(signals, micro, 0.7, policy, FrozenBase(policy), "auto")
        expected = score_micro_batch(signals, micro, 0.7, full_model(policy, folder), base, "auto")
        on_again = score_micro_batch({"old_logp"}, micro, 0.7, policy, None, "auto")["old_logp"]
    torch.testing.assert_close(found["base_logp"], expected["base_logp"], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["js_base"], expected["js_base"], rtol=1e-3, atol=1e-6)
    assert found["js_base"].max() > 1e-5
    torch.testing.assert_close(on_again, found["old_logp"], rtol=0, atol=1e-5)
    with torch.no_grad():
        hidden = FrozenBase(policy)(micro, lambda hidden, head: hidden)
        torch.testing.assert_close(hidden, base.hidden(micro), rtol=0, atol=0)
    assert all(p.requires_grad for _, p in adapter_parameters(policy.lm))


def test_before_training_the_policy_is_its_base(folder, micro):
    policy = adapted(folder, moved=False)
    with torch.no_grad():
        js = score_micro_batch({"js_base"}, micro, 0.7, policy, FrozenBase(policy), "auto")["js_base"]
    assert js.abs().max() == 0
    whole = load_policy(ModelConfig(path=folder), folder, 0.7)
    for part in parts_of(policy.lm):
        torch.testing.assert_close(part.merged(), whole.lm.get_parameter(part.name).data, rtol=0, atol=0)


def test_shares_of_the_gradient_are_those_at_the_logits_with_adapters_as_without(folder):
    """The estimate of docs/metrics.md, token by token, against autograd: at the logits and at the adapters."""
    policy, cfg = adapted(folder), Config(recipe="test")
    batch = random_batch([3, 2, 4, 3], [5, 7, 6, 9], seed=3)
    weights = np.random.default_rng(1).uniform(0.2, 3.0, batch.tokens).astype(np.float32)
    micro = micro_batch(batch, np.arange(4))
    logp = policy(micro)
    batch = replace(
        batch,
        token_advantage=batch.advantage[batch.sequence_of_token] * weights,
        signals=TokenSignals(old_logp=logp.detach().numpy()),
    )
    weight = torch.from_numpy(sequence_weights(batch, np.arange(4), cfg.loss.aggregation, 64))[micro.sequence]
    tokens = LossInput(
        logp=logp,
        old_logp=logp.detach(),
        advantage=torch.from_numpy(batch.token_advantage),
        loss_weight=weight,
        sequence=micro.sequence,
    )
    (of_logp,) = torch.autograd.grad(policy_loss(tokens, cfg.loss).loss, logp, retain_graph=True)
    with torch.no_grad():
        logits = policy.hidden(micro) @ policy.head.weight.T / policy.temperature
    onehot = torch.nn.functional.one_hot(micro.target, logits.shape[-1])
    at_logits = of_logp.abs() * (onehot - logits.softmax(-1)).norm(dim=-1)
    adapters = [p for _, p in adapter_parameters(policy.lm)]
    at_adapters = (
        torch.stack(
            [
                torch.cat([g.flatten() for g in torch.autograd.grad(one, adapters, retain_graph=True)]).norm()
                for one in logp
            ]
        )
        * of_logp.abs()
    )
    found = gradient_norms(batch, cfg)
    exact = at_logits.numpy()
    assert (found <= exact * (1 + 1e-4)).all()
    assert (exact <= np.sqrt(2) * found * (1 + 1e-4)).all()
    # What the docs say of it: no gradient of parameters, but near in which tokens have much of it.
    ranks = [np.argsort(np.argsort(norms)) for norms in (found, at_adapters.numpy())]
    assert np.corrcoef(*ranks)[0, 1] > 0.8
    for share in (0.05, 0.2):
        assert abs(top_share(found, share) - top_share(at_adapters.numpy(), share)) < 0.15


def test_what_is_written_is_read_by_peft_as_the_same_policy(folder, micro, tmp_path):
    from peft import PeftModel

    policy = adapted(folder)
    weights = {name: p.detach() for name, p in adapter_parameters(policy.lm)}
    save_adapter(LORA, weights, folder, Path(tmp_path))
    assert len({path.stat().st_mode for path in Path(tmp_path).glob("adapter_*")}) == 1  # readable as one
    theirs = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(folder), tmp_path
    ).merge_and_unload()
    ours = full_model(policy, folder).lm.state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(value, ours[name], rtol=0, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(PolicyModel(theirs, 0.7)(micro), policy(micro), rtol=0, atol=1e-5)


def test_an_adapter_that_is_written_names_its_base_and_its_task(folder, tmp_path):
    """By which peft finds the base by itself; written twice, into folders that are not there yet."""
    from peft import AutoPeftModelForCausalLM

    policy, path = adapted(folder), tmp_path / "run" / "adapter"
    weights = {name: p.detach() for name, p in adapter_parameters(policy.lm)}
    turned = {name: value.T.contiguous().T for name, value in weights.items()}  # as a gathered shard may lie
    for _ in range(2):
        save_adapter(LORA, turned, folder, path)
    theirs = AutoPeftModelForCausalLM.from_pretrained(path).merge_and_unload().state_dict()
    for name, value in full_model(policy, folder).lm.state_dict().items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-6)
    assert json.loads((path / "adapter_config.json").read_text())["inference_mode"] is True
    (path / "adapter_model.safetensors").unlink()
    (path / "adapter_model.safetensors").mkdir()
    with pytest.raises(OSError, match="adapter"):
        save_adapter(LORA, weights, folder, path)


def test_merging_in_place_leaves_the_model_that_peft_merges(folder):
    from peft import get_peft_model

    policy = adapted(folder)
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), peft_config(LORA))
    theirs.base_model.model.load_state_dict(policy.lm.state_dict())
    expected = theirs.merge_and_unload().state_dict()
    merge_adapters(policy.lm)
    found = policy.lm.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    assert not adapted_layers(policy.lm)


def test_bf16_weights_are_merged_with_one_rounding():
    generator = torch.Generator().manual_seed(3)
    w, a, b = (
        torch.nn.Parameter(torch.randn(*shape, generator=generator).bfloat16())
        for shape in ((24, 16), (4, 16), (24, 4))
    )
    merged = MergedPart("w", [w, a, b], 0.3).merged()
    exact = w.double() + 0.3 * (b.double() @ a.double())
    assert merged.dtype == torch.bfloat16
    assert not merged.requires_grad
    assert ((merged.double() - exact).abs() <= 2.0**-8 * exact.abs() * (1 + 1e-4)).all()
    assert not MergedPart("w", [w]).merged().requires_grad


def test_the_same_seed_gives_the_same_adapters(folder):
    first, second = (dict(adapter_parameters(adapted(folder, moved=False).lm)) for _ in range(2))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)


def test_targets_are_taken_by_name_and_unknown_ones_refused(folder):
    names = [n for n, _ in adapter_parameters(adapted(folder, LoraConfig(rank=2, targets=["q_proj"])).lm)]
    assert names
    assert all(".q_proj." in name for name in names)
    unknown = (
        r"model\.lora\.targets=\['query'\]: .*; its linear ones are "
        "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj$"
    )
    with pytest.raises(ConfigError, match=unknown):
        adapted(folder, LoraConfig(rank=2, targets=["query"]))


def test_engines_are_told_of_the_modules_that_have_an_adapter(folder):
    cfg = Config(recipe="test")
    cfg.model.path, cfg.model.lora = folder, LORA
    assert adapter_to_send(cfg, folder) is None  # engines get whole weights
    cfg.sync.lora = "adapter"
    state = torch.get_rng_state()
    every = adapter_to_send(cfg, folder)
    assert torch.equal(torch.get_rng_state(), state)  # a driver's draws are its own
    assert every is not None
    assert list(every.modules) == sorted(every.modules)
    assert (every.rank, every.alpha) == (3, 6.0)
    names = {name.split(".")[-3] for name, _ in adapter_parameters(adapted(folder).lm)}
    assert (
        set(every.modules)
        == names
        == {*("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")}
    )
    cfg.model.lora = LoraConfig(rank=2, targets=["layers.1.mlp.up_proj"])
    only = adapter_to_send(cfg, folder)
    assert only is not None
    assert only.modules == ("up_proj",)
    cfg.model.lora = LoraConfig(rank=2, targets=["query"])
    with pytest.raises(ConfigError, match=r"model\.lora\.targets=\['query'\]"):
        adapter_to_send(cfg, folder)


def test_contradictions_and_a_missing_package_are_refused(monkeypatch):
    assert lora_problems(ModelConfig()) == []
    (said,) = lora_problems(ModelConfig(lora=LoraConfig(targets=["q_proj"])))
    assert said.startswith("model.lora.targets with model.lora.rank=0")
    (said,) = lora_problems(ModelConfig(lora=LoraConfig(rank=4, targets=["all-linear"])))
    assert said.startswith("model.lora.targets=['all-linear']: leave it empty")
    monkeypatch.setattr("rlvr.learner.model.adapters.find_spec", lambda name: None)
    assert lora_problems(ModelConfig()) == []
    (said,) = lora_problems(ModelConfig(lora=LoraConfig(rank=4)))
    assert "pip install 'rlvr[lora]'" in said


def test_adapters_on_layers_stored_the_other_way_about_are_merged_as_peft_does():
    """GPT-2 keeps its weights as [in, out]; that of the attention's output is square: its shape says nothing."""
    from peft import get_peft_model

    config = GPT2Config(
        n_layer=1, n_embd=8, n_head=2, n_positions=16, vocab_size=11, eos_token_id=1, bos_token_id=1
    )
    lm = AutoModelForCausalLM.from_config(config)
    add_adapters(lm, LORA, seed=1, key="model.path=test")
    for name, parameter in adapter_parameters(lm):
        torch.nn.init.normal_(parameter, std=0.1 if "lora_B" in name else 1.0)
    found = {part.name: part.merged() for part in parts_of(lm)}
    theirs = get_peft_model(AutoModelForCausalLM.from_config(config), peft_config(LORA))
    theirs.base_model.model.load_state_dict(lm.state_dict())
    for name, value in theirs.merge_and_unload().named_parameters():
        torch.testing.assert_close(found.pop(name), value.data, rtol=0, atol=1e-6)
    assert not found


@pytest.mark.parametrize(("target", "kind"), [("lm_head", "output head"), ("embed_tokens", "embedding")])
@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_adapters_that_would_not_be_trained_are_refused(tmp_path, family, target, kind):
    """The head's weight is used a chunk at a time, without its module, and an embedding's adapter is no product B A."""
    lm = AutoModelForCausalLM.from_pretrained(tied_model(tmp_path, family))
    with pytest.raises(
        ConfigError, match=rf"model\.lora\.targets=\['{target}', 'q_proj'\].*{target}.*{kind}"
    ):
        add_adapters(lm, LoraConfig(rank=2, targets=[target, "q_proj"]), seed=1, key="model.path=test")
