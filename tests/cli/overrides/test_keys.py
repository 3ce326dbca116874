"""The key reference read from the schema's source: nothing is missing, and comments land at their own key."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.audit_reward import AuditConfig
from rlvr.cli.overrides.keys import Key, key_reference
from rlvr.config import Config, leaf_keys


@dataclass
class Inner:
    """A section."""

    plain: int = 3
    said: str = "a b"  # behind it
    # above it
    listed: list[float] = field(default_factory=lambda: [1e-3, 2.0])

    # not at a key: an empty line lies between

    wrapped: str | None = None  # inside the brackets


@dataclass
class Outer(Inner):
    """A schema that inherits keys."""

    flag: bool = True  # yes | no
    inner: Inner = field(default_factory=lambda: Inner(plain=4))


def test_type_default_and_meaning_of_every_kind_of_key():
    inherited = [
        Key("plain", "int", "3", ""),
        Key("said", "str", "a b", "behind it"),
        Key("listed", "list[float]", "[0.001,2.0]", "above it"),
        Key("wrapped", "str | None", "null", "inside the brackets"),
    ]
    found = key_reference(Outer)
    assert found[:4] == inherited
    assert found[4] == Key("flag", "bool", "true", "yes | no")
    assert [(key.key, key.default) for key in found[5:]] == [
        ("inner.plain", "4"),
        ("inner.said", "a b"),
        ("inner.listed", "[0.001,2.0]"),
        ("inner.wrapped", "null"),
    ]


def test_the_training_schema_is_listed_whole():
    found = {key.key: key for key in key_reference(Config)}
    assert list(found) == leaf_keys()
    assert found["recipe"].default == "???"
    assert found["data.eval"].default == "[{name:arithmetic_heldout,limit:200}]"
    assert "bfloat16" in found["model.dtype"].meaning


@pytest.mark.parametrize("schema", [Config, AnalyzeConfig, CrossSampleConfig, AuditConfig])
def test_every_key_says_what_it_means(schema):
    assert [key.key for key in key_reference(schema) if not key.meaning] == []
