"""The YAML files inside the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import rlvr

FILES = sorted(Path(rlvr.__file__).parent.rglob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_no_key_is_given_twice(file: Path):
    """YAML keeps the last one without a word."""

    def keys(node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            assert len(names) == len(set(names)), f"{file.name}, line {node.start_mark.line + 1}: {names}"
            for _, value in node.value:
                keys(value)

    keys(yaml.compose(file.read_text()))
