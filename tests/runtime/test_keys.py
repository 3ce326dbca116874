"""The tables of keys that do not matter name keys that exist, and mean what they say."""

from __future__ import annotations

import pytest

from rlvr.config import known_keys
from rlvr.runtime import keys
from rlvr.runtime.keys import FREE, FREE_OF_COMPARED, RECORDED, REMEDIES, KeySet, without

TABLES = {name: table for name, table in vars(keys).items() if isinstance(table, KeySet)}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_names_keys_that_exist(name):
    known = known_keys()
    sections = {key.rpartition(".")[0] for key in known}
    for key in TABLES[name].names:
        if key.endswith("."):
            assert key[:-1] in sections, f"{key}: no such section"
        else:
            assert key in known, f"{key}: no such key"
            assert key not in sections, f"{key}: a section ends in a dot"


def test_a_section_stands_for_all_of_its_keys_and_for_no_other():
    some = KeySet(("run.", "steps"))
    assert "run.name" in some
    assert "steps" in some
    assert "runs.name" not in some
    assert "steps_more" not in some
    assert "name" not in some


def test_runs_that_are_compared_have_as_many_steps():
    assert "steps" in FREE
    assert "steps" not in FREE_OF_COMPARED
    assert set(FREE.names) - set(FREE_OF_COMPARED.names) == {"steps"}


def test_a_key_is_free_or_a_remedy_or_recorded():
    names = [*FREE.names, *REMEDIES.names, *RECORDED.names]
    assert len(names) == len(set(names))
    assert not any(name in FREE for name in REMEDIES.names + RECORDED.names)


def test_settings_without_keys_and_sections():
    settings = {"run": {"name": "a"}, "reward": {"workers": 1, "policy": "strict"}, "steps": 3, "seed": 1}
    assert without(settings, KeySet(("run.", "steps", "reward.workers"))) == {
        "reward": {"policy": "strict"},
        "seed": 1,
    }
