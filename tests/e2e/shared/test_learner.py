"""The DeepSpeed learner on real processes: the same update whatever the ranks, ZeRO stage and micro-batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr.advantage.token import token_advantage
from rlvr.config import Config
from rlvr.data.models.tokenizer import model_folder
from rlvr.learner.loss import LossInput, policy_loss
from rlvr.learner.model.policy import load_policy
from rlvr.learner.packing import aggregation_weights, micro_batch, mini_batches
from rlvr.learner.schedule import learning_rate
from rlvr.types import Batch
from tests.helpers.learner_cases import PLUGIN, config, learner_group, random_batch
from tests.helpers.models import tied_model

pytestmark = pytest.mark.e2e


def two_steps(
    cfg: Config, export: Path, folder: str = "builtin", shared: bool = False
) -> tuple[list[Batch], list[float], list[float], dict[str, torch.Tensor]]:
    """Scored batches, losses, gradient norms and final parameters of two training steps."""
    group = learner_group(cfg, folder)
    batches, losses, norms = [], [], []
    for step in range(2):
        batch = group.score(random_batch(seed=step, folder=folder, shared=shared))
        batch = token_advantage(batch, PLUGIN, normalize=False, progress=0.0, seed=step)
        stats = group.step(batch, seed=step, progress=0.0)
        batches.append(batch)
        losses.append(stats.loss)
        norms.append(stats.grad_norm)
    group.export(str(export))
    model = load_policy(cfg.model, str(export), 1.0)
    return batches, losses, norms, {n: p.detach() for n, p in model.lm.named_parameters()}


def optimizers_of(cfg: Config, policy: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """torch's own: AdamW for all parameters, or Muon for the matrices of the layers and AdamW for the rest."""
    matrices, rest = [], []
    for name, parameter in policy.named_parameters():
        hidden = cfg.learner.optimizer == "muon" and ".layers." in name and parameter.ndim == 2
        (matrices if hidden else rest).append(parameter)
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, betas=(0.9, 0.95), weight_decay=0.0)]
    if matrices:
        found.append(torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
    return found


def plain_two_steps(
    cfg: Config, folder: str = "builtin", shared: bool = False, backwards: bool = False
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same two steps in plain torch: full softmax, one sequence at a time, no DeepSpeed, no Ray.

    `backwards`: the last sequence first, which rounds gradients otherwise.
    """
    torch.set_num_threads(1)
    policy = load_policy(cfg.model, model_folder(folder), 1.0).lm
    base = load_policy(cfg.model, model_folder(folder), 1.0).lm
    optimizers = optimizers_of(cfg, policy)
    losses, update = [], 0

    def all_logps(lm: torch.nn.Module, batch: Batch, i: int) -> torch.Tensor:
        ids = torch.from_numpy(batch.input_ids[i])[None]
        start = batch.prompt_lengths[i] - 1
        return lm(ids).logits[0, start:-1].log_softmax(-1)

    for step in range(2):
        batch = random_batch(seed=step, folder=folder, shared=shared)
        old, weight = [], []
        with torch.no_grad():
            for i in range(batch.size):
                p, q = all_logps(policy, batch, i).double(), all_logps(base, batch, i).double()
                m = torch.logaddexp(p, q) - np.log(2.0)
                js = ((p.exp() * (p - m)).sum(-1) + (q.exp() * (q - m)).sum(-1)) / 2
                target = torch.from_numpy(batch.input_ids[i][batch.prompt_lengths[i] :])
                old.append(p.gather(1, target[:, None])[:, 0].float())
                weight.append((1 + torch.sigmoid(10.0 * js) - 0.5).float())
        step_losses = []
        for rows in mini_batches(batch.size, 2, seed=step):
            sizes = aggregation_weights(batch.response_lengths[rows], batch.in_loss[rows], "token_mean", 64)
            total = torch.zeros(())
            for i, size in list(zip(rows, sizes, strict=True))[:: -1 if backwards else 1]:
                target = torch.from_numpy(batch.input_ids[i][batch.prompt_lengths[i] :])
                logp = all_logps(policy, batch, i).gather(1, target[:, None])[:, 0]
                n = len(target)
                tokens = LossInput(
                    logp=logp,
                    old_logp=old[i],
                    advantage=weight[i] * float(batch.advantage[i]),
                    loss_weight=torch.full((n,), float(size)),
                    sequence=torch.zeros(n, dtype=torch.long),
                )
                total = total + policy_loss(tokens, cfg.loss).loss
            policy.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), cfg.learner.max_grad_norm)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(cfg.learner, update, 4)
                optimizer.step()
            update += 1
            step_losses.append(total.item())
        losses.append(float(np.mean(step_losses)))
    return losses, {n: p.detach() for n, p in policy.named_parameters()}


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], dict[str, torch.Tensor]]:
    return plain_two_steps(config())


@pytest.mark.usefixtures("shared_ranks")
@pytest.mark.parametrize(
    ("workers", "zero_stage", "budget", "shared", "tile"),
    [
        (1, 0, 8192, 1, 0),
        (1, 0, 128, 1, 0),
        (2, 0, 256, 1, 0),
        (2, 1, 8192, 1, 0),
        (2, 2, 160, 1, 0),
        (2, 3, 160, 1, 0),
        (2, 0, 160, 2, 0),
        (2, 2, 160, 2, 24),
        (2, 3, 160, 2, 24),
        (2, 1, 160, 1, 24),
        (2, 3, 160, 1, 24),  # ranks with different numbers of tiles
    ],
)
def test_update_equals_plain_torch(
    plain: tuple[list[float], dict[str, torch.Tensor]],
    tmp_path: Path,
    workers: int,
    zero_stage: int,
    budget: int,
    shared: int,
    tile: int,
) -> None:
    """`shared`: so many ranks share the tokens of each sequence, with activations made again in backward. `tile`: of
    tokens in feed-forward layers, with attention kept where activations are made again."""
    cfg = config(
        workers=workers,
        zero_stage=zero_stage,
        tokens_per_micro_batch=budget,
        sequence_parallel=shared,
        mlp_tile_tokens=tile,
    )
    cfg.model.gradient_checkpointing = shared > 1
    cfg.learner.checkpoint_keep = "attention" if shared > 1 and tile else "nothing"
    batches, losses, norms, parameters = two_steps(cfg, tmp_path)
    assert all(np.isfinite(norms))
    check_against_plain(cfg, "builtin", losses, parameters, plain)
    assert np.abs(batches[0].signals.js_base).max() == 0.0  # policy and base are still the same weights
    assert batches[1].signals.js_base.max() > 1e-5
    assert np.isfinite(batches[1].token_advantage).all()


def check_against_plain(
    cfg: Config,
    folder: str,
    losses: list[float],
    parameters: dict[str, torch.Tensor],
    plain: tuple[list[float], dict[str, torch.Tensor]],
) -> None:
    """Losses, and every parameter's movement, as in plain torch."""
    plain_losses, plain_parameters = plain
    assert losses == pytest.approx(plain_losses, rel=1e-3, abs=1e-6)
    assert parameters.keys() == plain_parameters.keys()
    start = dict(load_policy(cfg.model, model_folder(folder), 1.0).lm.named_parameters())
    for name, expected in plain_parameters.items():
        # By norm: AdamW turns rounding in a gradient near 0 into a full step of that one entry.
        moved = (expected - start[name]).detach().norm().item()
        gap = (parameters[name] - expected).norm().item()
        assert gap <= 0.02 * moved + 1e-7, f"{name}: off by {gap:.2e} after moving by {moved:.2e}"


@pytest.mark.usefixtures("shared_ranks")
@pytest.mark.parametrize("family", ["qwen2", "llama"])
@pytest.mark.parametrize(("workers", "zero_stage"), [(1, 0), (2, 2), (2, 3)])
def test_a_tied_head_learns_as_in_plain_torch(
    tmp_path: Path, family: str, workers: int, zero_stage: int
) -> None:
    """The head is the embedding: its gradient has two parts, and under ZeRO-3 the embedding releases it early."""
    folder = tied_model(tmp_path / "model", family)
    cfg = config(workers=workers, zero_stage=zero_stage, tokens_per_micro_batch=160)
    batches, losses, _, parameters = two_steps(cfg, tmp_path / "export", folder)
    check_against_plain(cfg, folder, losses, parameters, plain_two_steps(cfg, folder))
    assert np.abs(batches[0].signals.js_base).max() == 0.0
    model = load_policy(cfg.model, folder, 1.0)
    with torch.no_grad():
        logp = model(micro_batch(batches[0], np.arange(batches[0].size)))
    np.testing.assert_allclose(batches[0].signals.old_logp, logp.numpy(), atol=1e-5)
    assert "lm_head.weight" not in parameters
    assert load_policy(cfg.model, str(tmp_path / "export"), 1.0).lm.config.tie_word_embeddings


@pytest.mark.usefixtures("shared_ranks")
@pytest.mark.parametrize(("workers", "zero_stage"), [(1, 0), (2, 2)])
def test_shared_prompts_learn_as_in_plain_torch(tmp_path: Path, workers: int, zero_stage: int) -> None:
    cfg = config(workers=workers, zero_stage=zero_stage, tokens_per_micro_batch=160, share_prompts=True)
    batches, losses, _, parameters = two_steps(cfg, tmp_path, shared=True)
    check_against_plain(cfg, "builtin", losses, parameters, plain_two_steps(cfg, shared=True))
    assert np.abs(batches[0].signals.js_base).max() == 0.0
    assert batches[1].signals.js_base.max() > 1e-5


def exact_newton_schulz(
    gradient: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Muon's iteration in float64, where torch has it in bf16."""
    (a, b, c), wide = coefficients, gradient.shape[0] <= gradient.shape[1]
    x = gradient.double() if wide else gradient.double().T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(gradient.dtype)


@pytest.mark.usefixtures("shared_ranks")
def test_muon_on_two_ranks_is_as_near_to_plain_torch_as_another_order_of_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its iteration in bf16 makes percents of a step of what gradients differ by in their last digits."""
    cfg = config(workers=2, tokens_per_micro_batch=256, optimizer="muon")
    _, losses, _, parameters = two_steps(cfg, tmp_path)
    plain_losses, plain = plain_two_steps(cfg)
    _, otherwise = plain_two_steps(cfg, backwards=True)
    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", exact_newton_schulz)
    (_, exact), (_, exact_otherwise) = plain_two_steps(cfg), plain_two_steps(cfg, backwards=True)
    assert losses == pytest.approx(plain_losses, rel=1e-3, abs=1e-6)
    start = dict(load_policy(cfg.model, model_folder("builtin"), 1.0).lm.named_parameters())

    def apart(name: str, one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
        moved = (plain[name] - start[name]).detach().norm().item()
        return (one[name] - other[name]).detach().norm().item() / moved

    rounding = {name: apart(name, otherwise, plain) for name in plain}
    assert max(rounding.values()) > 0.01
    for name in rounding:
        assert apart(name, parameters, plain) < 2 * max(rounding.values()), name
        assert apart(name, exact_otherwise, exact) < 1e-3, name


@pytest.mark.usefixtures("shared_ranks")
def test_lr_zero_changes_nothing() -> None:
    group = learner_group(config())
    batch = group.score(random_batch())
    batch = token_advantage(batch, PLUGIN, normalize=False, progress=0.0, seed=0)
    group.step(batch, seed=0, progress=0.0, lr_scale=0.0)
    group.reset_optimizer()
    again = group.score(replace(batch, signals=type(batch.signals)()))
    np.testing.assert_array_equal(again.signals.old_logp, batch.signals.old_logp)


def test_micro_batch_padding_does_not_change_log_probs() -> None:
    batch = random_batch()
    model = load_policy(Config(recipe="test").model, model_folder("builtin"), 1.0)
    with torch.no_grad():
        together = model(micro_batch(batch, np.arange(batch.size)))
        alone = torch.cat([model(micro_batch(batch, np.asarray([i]))) for i in range(batch.size)])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=1e-5)
