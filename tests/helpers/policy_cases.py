"""Sizes of small models of several families."""

from __future__ import annotations

from typing import Any

from tests.helpers.records import VOCABULARY

SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
NO_HEAD_DIM = {k: v for k, v in SMALL.items() if k != "head_dim"}
