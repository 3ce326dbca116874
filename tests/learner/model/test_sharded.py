"""Loading in pieces: what transformers is told while it loads, and tables of rotary embeddings in full precision."""

from __future__ import annotations

import pytest
import torch
from transformers import Gemma3TextConfig, Gemma3TextModel, LlamaConfig, LlamaForCausalLM
from transformers.integrations.deepspeed import deepspeed_config, is_deepspeed_zero3_enabled

from rlvr.learner.model.sharded import restore_tables, sharded_loading

SMALL = {
    "vocab_size": 16,
    "hidden_size": 32,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def test_transformers_shards_inside_the_block_and_only_there():
    zero3 = {"zero_optimization": {"stage": 3}}
    with sharded_loading(None):
        assert not is_deepspeed_zero3_enabled()
    with sharded_loading(zero3):
        assert is_deepspeed_zero3_enabled()
        assert deepspeed_config() is zero3
    assert not is_deepspeed_zero3_enabled()
    with pytest.raises(OSError, match="no such model"), sharded_loading(zero3):
        raise OSError("no such model")
    assert not is_deepspeed_zero3_enabled()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LlamaForCausalLM(
            LlamaConfig(**SMALL, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
        ),
        lambda: Gemma3TextModel(
            Gemma3TextConfig(**SMALL, head_dim=16)
        ),  # two tables, a scale of the embedding
    ],
)
def test_rounded_tables_are_computed_again_and_nothing_else_is_touched(make):
    torch.manual_seed(1)
    lm = make().bfloat16()
    whole = {name: table.clone() for name, table in make().named_buffers()}
    tables = {name: table for name, table in lm.named_buffers() if "inv_freq" in name}
    for name, table in lm.named_buffers():
        if name in tables:
            table.data = whole[name].bfloat16()
    assert any(not torch.equal(table.float(), whole[name]) for name, table in tables.items())
    weights = {name: parameter.clone() for name, parameter in lm.named_parameters()}
    restore_tables(lm)
    for name, table in lm.named_buffers():
        if name in tables:
            assert table.dtype == torch.float32
            assert torch.equal(table, whole[name]), name
    for name, parameter in lm.named_parameters():
        assert torch.equal(parameter, weights[name])


class Table(torch.nn.Module):
    """A table that is made from a configuration, if it has one; `weight` is of those that cannot be made anew."""

    def __init__(self, config: dict[str, float | None], weight: torch.nn.Parameter | None = None) -> None:
        super().__init__()
        self.config, self.weight = config, weight
        value = config["value"]
        self.register_buffer("table", None if value is None else torch.tensor(value), persistent=False)


def test_only_tables_that_a_configuration_makes_are_made_again():
    without, beside, changed, gone, new = (Table({"value": 1.0}) for _ in range(5))
    del without.config
    beside.weight = torch.nn.Parameter(torch.zeros(1))
    for module in (without, beside, changed):
        module.table = torch.tensor(2.0)
    gone.config["value"], new.table = None, None
    restore_tables(torch.nn.ModuleList([without, beside, changed, gone, new]))
    assert [module.table.item() for module in (without, beside, changed, gone)] == [2.0, 2.0, 1.0, 1.0]
    assert new.table is None
