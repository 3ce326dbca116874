"""Every objective, length reward and place of the KL trains two steps on real engines, which all of them share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from rlvr.data.models.tokenizer import model_folder
from rlvr.train import train
from tests.helpers.composing import compose
from tests.helpers.models import save
from tests.helpers.processes import SMALL, rows

pytestmark = pytest.mark.e2e

RECIPES = [
    "cispo",
    "dual_clip",
    "up_grpo",
    "gspo_joint",
    "luspo",
    "gpg",
    "sapo",
    "gmpo",
    "dppo_tv",
    "dppo_kl",
    "dapo_entropy",
    "grpo_kl",
    "grpo_kl_reward",
    "reinforce_pp_baseline",
    "dapo_kimi",
    "dapo_efficient",
    "distill",
    "distill_advantage",
    "dapo_muon",
    "dapo_long_context",
]
TWO_STEPS = ("steps=2", "eval.every=0", "data.eval=[{name:arithmetic_heldout,limit:1}]", "run.export=false")


def teacher(folder: Path) -> str:
    """The built-in model with sharper distributions."""
    lm = AutoModelForCausalLM.from_pretrained(model_folder("builtin"))
    lm.get_output_embeddings().weight.data *= 3.0
    return str(save(lm, folder))


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_two_steps(tmp_path: Path, recipe: str) -> None:
    cfg = compose(
        *SMALL,
        *TWO_STEPS,
        f"recipe={recipe}",
        "sync.preflight=false",
        "eval.samples_per_prompt=1",
        "learner.lr=1e-3",
        f"run.root={tmp_path}",
        "run.name=run",
    )
    if recipe.startswith("distill"):
        cfg.model.base_path, cfg.learner.lr = teacher(tmp_path / "teacher"), 1e-4
    if recipe == "dapo_long_context":
        cfg.learner.mlp_tile_tokens = 64  # of hundreds in a micro-batch here
    train(cfg)
    first, second = (r for r in rows(tmp_path / "run") if r["kind"] == "train")
    assert first["mismatch/mean"] < 1e-4
    assert second["mismatch/mean"] < 1e-4  # of weights that this objective has made
    assert np.isfinite([first["loss"], second["loss"]]).all()
    assert first["grad_norm"] > 0
    if recipe == "dapo_entropy":
        # The built-in model begins above 0.2 nats: no bonus, and the coefficient stays at 0.
        assert first["entropy/mean"] > 0.2
        assert first["entropy/coef"] == 0
    if recipe == "distill":
        assert (
            0.5 < first["loss"] / first["kl_policy_base/mean"] < 2
        )  # of other updates than the scored policy
        assert second["kl_policy_base/mean"] < first["kl_policy_base/mean"]
    if recipe == "distill_advantage":
        assert second["kl_policy_base/mean"] < first["kl_policy_base/mean"]
    if recipe == "grpo_kl_reward":
        assert second["kl/base_penalty"] != 0
