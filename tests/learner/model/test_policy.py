"""Log-probs of the chunked head against plain autograd, and of whole models against their own logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    DbrxConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTBigCodeConfig,
    GraniteConfig,
    HyperCLOVAXConfig,
    LlamaConfig,
    MixtralConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)

from benchmarks.allocated import peak_bytes
from rlvr.config import LearnerConfig, ModelConfig
from rlvr.divergence.transform import IDENTITY, OutputTransform
from rlvr.errors import ConfigError
from rlvr.learner.model import policy as learner_model
from rlvr.learner.model.policy import LinearLogp, LinearLogpEntropy, PolicyModel, load_policy
from rlvr.learner.model.tiling import tiled_modules
from rlvr.learner.packing import micro_batch
from rlvr.learner.scoring import score_micro_batch
from tests.helpers.policy_cases import NO_HEAD_DIM, SMALL
from tests.helpers.records import VOCABULARY, random_batch

NO_POSITIONS = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
FAMILIES = {
    "qwen2": Qwen2Config(**SMALL),
    "qwen2-tied": Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SMALL),
    "llama": LlamaConfig(**SMALL),
    # What changes logits after the head, strong enough to be seen.
    "gemma2": Gemma2Config(
        **SMALL, initializer_range=0.3, final_logit_softcapping=3.0, attn_implementation="eager"
    ),
    "gemma3": Gemma3TextConfig(**SMALL, initializer_range=0.3, final_logit_softcapping=2.0),
    "cohere": CohereConfig(**NO_HEAD_DIM, logit_scale=0.3),
    "hyperclovax": HyperCLOVAXConfig(**NO_HEAD_DIM, logits_scaling=3.0),  # the same name, and a factor
    "granite": GraniteConfig(**NO_HEAD_DIM, logits_scaling=0.25, embedding_multiplier=6.0),
}


def head_problem(tokens: int, hidden: int, vocab: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, head, sampled ids and the incoming gradient."""
    generator = torch.Generator().manual_seed(tokens + vocab)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    ids = torch.randint(0, vocab, (tokens,), generator=generator)
    return draw(tokens, hidden), draw(vocab, hidden), ids, draw(tokens)


def plain(
    hidden: Tensor,
    weight: Tensor,
    ids: Tensor,
    upstream: Tensor,
    temperature: float,
    transform: OutputTransform = IDENTITY,
) -> list[Tensor]:
    """Log-probs and gradients by autograd through float64 logits."""
    hidden, weight = hidden.double().requires_grad_(), weight.double().requires_grad_()
    logits = hidden @ weight.T * transform.scale
    if transform.cap is not None:
        logits = transform.cap * torch.tanh(logits / transform.cap)
    logp = torch.log_softmax(logits / temperature, dim=-1)
    logp = logp[torch.arange(len(ids)), ids]
    logp.backward(upstream.double())
    return [logp.detach(), hidden.grad, weight.grad]


def chunked(
    hidden: Tensor,
    weight: Tensor,
    ids: Tensor,
    upstream: Tensor,
    temperature: float,
    transform: OutputTransform = IDENTITY,
) -> list[Tensor]:
    """The same by the function under test."""
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    logp = LinearLogp.apply(hidden, weight, ids, temperature, "auto", transform)
    logp.backward(upstream)
    return [logp.detach(), hidden.grad, weight.grad]


@pytest.mark.parametrize("workspace_mb", [0.004, 0.02, 1300])  # one, a few, and all rows at a time
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("tokens", "vocab"), [(1, 2), (37, 101), (64, 257)])
def test_linear_logp_equals_float64_autograd(monkeypatch, workspace_mb, temperature, tokens, vocab):
    monkeypatch.setattr(learner_model, "WORKSPACE_MB", workspace_mb)
    problem = head_problem(tokens, 16, vocab)
    found, expected = chunked(*problem, temperature), plain(*problem, temperature)
    for value, reference in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), reference, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("workspace_mb", [0.01, 1300])
@pytest.mark.parametrize(
    "transform", [OutputTransform(cap=3.0), OutputTransform(scale=0.3), OutputTransform(scale=2.0, cap=5.0)]
)
def test_linear_logp_of_transformed_logits_equals_float64_autograd(monkeypatch, workspace_mb, transform):
    monkeypatch.setattr(learner_model, "WORKSPACE_MB", workspace_mb)
    problem = head_problem(37, 16, 101)
    expected = plain(*problem, 0.7, transform)
    for value, reference in zip(chunked(*problem, 0.7, transform), expected, strict=True):
        torch.testing.assert_close(value.double(), reference, rtol=2e-5, atol=2e-5)
    for untransformed, reference in zip(plain(*problem, 0.7), expected, strict=True):
        assert (untransformed - reference).abs().max() > 0.1, "the transform must be one that matters"


def test_linear_logp_in_bf16_keeps_fp32_log_probs():
    hidden, weight, ids, upstream = head_problem(40, 64, 200)
    rounded = [(hidden / 8).bfloat16(), weight.bfloat16()]  # logits of the size that models produce
    logp, grad_hidden, grad_weight = chunked(*rounded, ids, upstream, 1.0)
    expected = plain(*rounded, ids, upstream, 1.0)
    assert (logp.dtype, grad_hidden.dtype, grad_weight.dtype) == (
        torch.float32,
        torch.bfloat16,
        torch.bfloat16,
    )
    torch.testing.assert_close(logp.double(), expected[0], rtol=0, atol=2e-2)
    for value, reference in ((grad_hidden, expected[1]), (grad_weight, expected[2])):
        error = (value.double() - reference).norm() / reference.norm()
        assert error < 0.02


def test_linear_logp_of_no_tokens():
    hidden, weight, ids, upstream = head_problem(0, 8, 11)
    logp, grad_hidden, grad_weight = chunked(hidden, weight, ids, upstream, 1.0)
    assert logp.shape == (0,)
    assert grad_hidden.shape == (0, 8)
    assert not grad_weight.any()


HEADS = {"log-prob": LinearLogp, "log-prob and entropy": LinearLogpEntropy}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("trained", ["hidden", "head"])
def test_either_of_head_and_hidden_states_is_trained_alone(name, trained):
    """As with adapters, or with all but the head frozen."""
    hidden, weight, ids, upstream = head_problem(9, 8, 11)
    found_hidden, found_weight = hidden.clone(), weight.clone()
    part = found_hidden if trained == "hidden" else found_weight
    part.requires_grad_()
    outputs = HEADS[name].apply(found_hidden, found_weight, ids, 0.7, "auto", IDENTITY)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    (gradient,) = torch.autograd.grad(outputs, part, [upstream] * len(outputs))
    exact = [x.double().requires_grad_() for x in (hidden, weight)]
    logp = torch.log_softmax(exact[0] @ exact[1].T / 0.7, dim=-1)
    values = [logp[torch.arange(9), ids], -(logp.exp() * logp).sum(-1)][: len(outputs)]
    wanted = torch.autograd.grad(values, exact[trained == "head"], [upstream.double()] * len(outputs))[0]
    torch.testing.assert_close(gradient.double(), wanted, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("transform", [IDENTITY, OutputTransform(scale=2.0, cap=5.0)])
def test_backward_fills_the_workspace_and_takes_no_more(monkeypatch, name, transform):
    """Of 8 MB of logits a workspace of 2 MB is taken, and what does not grow with the tokens: the head's gradient."""
    tokens, hidden_size, vocab, workspace = 400, 8, 5000, 2e6
    monkeypatch.setattr(learner_model, "WORKSPACE_MB", workspace / 1e6)
    hidden, weight, ids, upstream = head_problem(tokens, hidden_size, vocab)
    hidden.requires_grad_()
    outputs = HEADS[name].apply(hidden, weight, ids, 1.0, "torch", transform)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    taken = peak_bytes(lambda: torch.autograd.grad(outputs, hidden, [upstream] * len(outputs)))
    assert 0.45 * workspace < taken < workspace


def small_model(family: str) -> torch.nn.Module:
    """A random model of the family."""
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(FAMILIES[family]).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_policy_model_equals_the_models_own_logits(family):
    lm, temperature = small_model(family), 0.8
    batch = random_batch([3, 1, 5, 2], [4, 9, 1, 6], seed=4)
    rows = np.asarray([2, 0, 3, 1])
    micro = micro_batch(batch, rows)
    found = PolicyModel(lm, temperature)(micro)
    expected = []
    for i in rows:  # one sequence at a time, so without any padding
        ids = torch.from_numpy(batch.input_ids[i])
        logits = lm(input_ids=ids[None]).logits[0].double() / temperature
        logp = torch.log_softmax(logits[:-1], dim=-1)[torch.arange(len(ids) - 1), ids[1:]]
        expected.append(logp[batch.prompt_lengths[i] - 1 :])
    torch.testing.assert_close(found.double(), torch.cat(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "family", ["qwen2", "qwen2-tied", "gemma2", "gemma3", "cohere", "hyperclovax", "granite"]
)
def test_policy_model_gradients_equal_the_models_own(family):
    lm = small_model(family)
    batch = random_batch([2, 4], [5, 3], seed=6)
    micro = micro_batch(batch, np.arange(2))
    weights = torch.linspace(-1, 1, batch.tokens)
    (PolicyModel(lm, 1.0)(micro) * weights).sum().backward()
    found = {name: p.grad.clone() for name, p in lm.named_parameters()}
    lm.zero_grad()
    logits = lm(input_ids=micro.input_ids).logits[micro.row, micro.column]
    logp = torch.log_softmax(logits, dim=-1)[torch.arange(batch.tokens), micro.target]
    (logp * weights).sum().backward()
    for name, parameter in lm.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_policy_model_with_entropy_equals_the_models_own_logits():
    lm, temperature = small_model("gemma2"), 0.8
    batch = random_batch([2, 4, 1], [5, 3, 6], seed=6)
    micro, policy = micro_batch(batch, np.arange(3)), PolicyModel(lm, temperature)
    found = policy(micro, policy.with_entropy(micro))
    logits = lm(input_ids=micro.input_ids).logits[micro.row, micro.column].double() / temperature
    of_all = torch.log_softmax(logits, dim=-1)
    expected = of_all[torch.arange(batch.tokens), micro.target], -(of_all.exp() * of_all).sum(-1)
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value.double(), wanted, rtol=0, atol=1e-5)


def test_policy_model_gives_a_model_the_positions_of_its_columns():
    """Learned ones, so that a shift of all of them shows."""
    torch.manual_seed(3)
    lm = AutoModelForCausalLM.from_config(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3
        )
    ).eval()
    batch = random_batch([2, 4], [5, 3], seed=6)
    micro = micro_batch(batch, np.arange(2))
    places = torch.arange(3, 3 + micro.input_ids.shape[1])[None]
    found = PolicyModel(lm, 1.0)(replace(micro, positions=places))
    logits = lm(input_ids=micro.input_ids, position_ids=places).logits[micro.row, micro.column]
    logp = torch.log_softmax(logits, dim=-1)[torch.arange(batch.tokens), micro.target]
    torch.testing.assert_close(found, logp, rtol=0, atol=1e-5)
    assert (found - PolicyModel(lm, 1.0)(micro)).abs().max() > 1e-2


def test_the_backend_of_the_configuration_is_the_one_that_computes():
    batch = random_batch([2, 4], [5, 3], seed=6)
    policy, micro = (
        PolicyModel(small_model("qwen2"), 1.0, "no such backend"),
        micro_batch(batch, np.arange(2)),
    )
    with pytest.raises(ValueError, match="no such backend"):
        policy(micro)
    with pytest.raises(ValueError, match="no such backend"):
        score_micro_batch({"old_logp"}, micro, 1.0, policy, None, policy.divergence_backend)


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64),
        LlamaConfig(**SMALL, attention_dropout=0.5),
        MixtralConfig(**SMALL, router_jitter_noise=0.5, num_local_experts=4),
        DbrxConfig(
            vocab_size=VOCABULARY,
            d_model=32,
            n_heads=4,
            n_layers=2,
            max_seq_len=64,
            attn_config={"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
            ffn_config={"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2, "moe_jitter_eps": 0.5},
        ),
        GPTBigCodeConfig(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64),
        FalconConfig(**NO_POSITIONS, hidden_dropout=0.5, attention_dropout=0.5),
        OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            layerdrop=0.5,
        ),
    ],
)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_training_leaves_nothing_to_chance(tmp_path, config, attention):
    """Dropout would move log-probs without an update, and the ratio of the policies with them."""
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    policy = load_policy(ModelConfig(path="mine", attention=attention), str(tmp_path), 1.0)
    batch = random_batch([3, 1, 5, 2], [4, 9, 1, 6], seed=4)
    micro = micro_batch(batch, np.arange(4))
    torch.manual_seed(5)
    assert torch.equal(policy.train()(micro), policy.eval()(micro))
    for name, value in vars(config).items():  # an exported model has its rates as they were
        if isinstance(value, float):
            assert getattr(policy.lm.config, name) == value, name


# Loading


def test_load_policy_reads_a_saved_model(tmp_path):
    small_model("llama").save_pretrained(tmp_path)
    policy = load_policy(ModelConfig(path="mine"), str(tmp_path), 0.5)
    assert policy.temperature == 0.5
    assert policy.head.weight.shape == (VOCABULARY, 32)
    assert policy.head.weight.dtype == torch.float32


def test_load_policy_has_precision_and_attention_as_they_are_set(tmp_path):
    small_model("gemma2").save_pretrained(
        tmp_path
    )  # with a cap inside attention, which eager attention knows
    for dtype in ("bfloat16", "float32"):
        policy = load_policy(ModelConfig(path="mine", dtype=dtype, attention="eager"), str(tmp_path), 1.0)
        assert policy.head.weight.dtype == getattr(torch, dtype)
        assert policy.lm.config._attn_implementation == "eager"
    small_model("llama").save_pretrained(tmp_path)
    for attention in ("sdpa", "eager"):
        policy = load_policy(ModelConfig(path="mine", attention=attention), str(tmp_path), 1.0)
        assert policy.lm.config._attn_implementation == attention


def test_load_policy_does_as_the_learner_is_set(tmp_path):
    small_model("llama").save_pretrained(tmp_path)
    learner = LearnerConfig(divergence_backend="torch", share_prompts=True, mlp_tile_tokens=7)
    for checkpointing in (False, True):
        cfg = ModelConfig(path="mine", gradient_checkpointing=checkpointing)
        policy = load_policy(cfg, str(tmp_path), 1.0, learner=learner)
        assert policy.lm.is_gradient_checkpointing is checkpointing
        assert (policy.divergence_backend, policy.share_prompts) == ("torch", True)
        assert len(tiled_modules(policy.lm)) == 2
        assert not tiled_modules(load_policy(cfg, str(tmp_path), 1.0).lm)
    with pytest.raises(ConfigError, match=r"^model\.base_path=other: its configuration cannot be read"):
        load_policy(ModelConfig(path="mine"), str(tmp_path / "none"), 1.0, key="model.base_path=other")
