"""A checkpoint of adapters becomes the model with them merged; the frozen weights are those of the run's model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlvr.cli.export import export
from rlvr.config import LoraConfig
from rlvr.errors import CheckpointError, ConfigError
from rlvr.learner.model.adapters import peft_config
from tests.helpers.exports import run_with_checkpoint, weights
from tests.helpers.models import tied_model

LORA = LoraConfig(rank=4, alpha=12.0)


def with_peft(base: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random adapters as a learner's model names them, and all weights once peft itself has merged them."""
    from peft import get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft_config(LORA))
    trained = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
            trained[name.removeprefix("base_model.model.")] = parameter.detach().clone()
    return trained, model.merge_and_unload().state_dict()


@pytest.mark.parametrize(
    ("family", "shape"),
    [("qwen2", {}), ("gpt2", {"n_head": 4, "n_layer": 2})],  # GPT-2's layers lie the other way about
)
def test_adapters_are_merged_as_peft_does(tmp_path: Path, family: str, shape: dict[str, int]) -> None:
    base = tied_model(tmp_path / "base", family, **shape)
    trained, expected = with_peft(base)
    checkpoint = run_with_checkpoint(tmp_path, model=base, lora=LORA, trained=trained)
    found = weights(export(checkpoint, tmp_path / "out"))
    assert set(found) == set(expected)
    assert any(not torch.equal(found[name], value) for name, value in weights(base).items())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.float(), rtol=1e-5, atol=1e-6)


def test_adapters_beside_other_weights_are_refused(tmp_path: Path) -> None:
    base = tied_model(tmp_path / "base", "qwen2")
    checkpoint = run_with_checkpoint(tmp_path, model=base, lora=LORA, trained=with_peft(base)[0])
    file = Path(base) / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match=f"adapters beside the weights of {base}, which have changed since"):
        export(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [False, True])
def test_adapters_of_another_model_are_refused(tmp_path: Path, more: bool) -> None:
    base = tied_model(tmp_path / "base", "qwen2")
    trained, _ = with_peft(base)
    name, value = trained.popitem()
    other = name.replace("layers.", "layers.7")
    if more:
        trained |= {name: value, other: value}
    checkpoint = run_with_checkpoint(tmp_path, model=base, lora=LORA, trained=trained)
    with pytest.raises(CheckpointError, match=f"its model has no {other}" if more else f"it lacks {name}"):
        export(checkpoint, tmp_path / "out")
