"""Every key of a schema with its type, its default and its meaning, read from the schema's own source.

A key's meaning is the comment behind its line, or the comment lines above it; nothing is written a second time.
"""

from __future__ import annotations

import ast
import functools
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from omegaconf import OmegaConf

from rlvr.cli.overrides.shorthand import PLACEHOLDER, written


@dataclass(frozen=True, slots=True)
class Key:
    """One key as a reference shows it."""

    key: str  # dotted
    type: str  # as the schema writes it
    default: str  # as one would type it; ??? where there is none
    meaning: str  # empty where the schema says nothing


@dataclass(frozen=True, slots=True)
class _Statement:
    type: str
    comment: str


def key_reference(schema: type) -> list[Key]:
    """All keys of a dataclass that hold a value, in the order of the schema; sections are entered, not listed."""
    # A schema's OmegaConf tree has every default made, those of nested sections included.
    return list(_keys(schema, OmegaConf.structured(schema), ""))


def _keys(schema: Any, tree: Any, prefix: str) -> Iterator[Key]:
    types, statements = get_type_hints(schema), _statements(schema)
    for part in fields(schema):
        name, said = f"{prefix}{part.name}", statements[part.name]
        if is_dataclass(types[part.name]):
            yield from _keys(types[part.name], tree[part.name], f"{name}.")
        else:
            yield Key(name, said.type, _default(tree, part.name), said.comment)


def _default(tree: Any, name: str) -> str:
    if OmegaConf.is_missing(tree, name):
        return PLACEHOLDER
    value = tree[name]
    if OmegaConf.is_list(value) and any(OmegaConf.is_dict(entry) for entry in value):
        return written([_said(entry) for entry in value])
    value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    if isinstance(value, str):
        return value
    return written(value)


def _said(entry: Any) -> dict[str, Any]:
    """An entry of a list of records without what its schema has anyway: nobody types that."""
    default = OmegaConf.structured(OmegaConf.get_type(entry))
    content = OmegaConf.to_container(entry)
    assert isinstance(content, dict)
    return {
        str(key): value
        for key, value in content.items()
        if OmegaConf.is_missing(default, key) or value != default[key]
    }


@functools.cache
def _statements(schema: type) -> dict[str, _Statement]:
    """{field: its type and comment}, those of the classes that it inherits from included."""
    found: dict[str, _Statement] = {}
    for owner in reversed([c for c in schema.__mro__ if is_dataclass(c)]):
        source = textwrap.dedent(inspect.getsource(owner))
        [definition] = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        comments = _comments(source)
        for node in definition.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = _Statement(ast.unparse(node.annotation), _comment_of(node, comments))
    return found


def _comment_of(node: ast.AnnAssign, comments: Mapping[int, tuple[bool, str]]) -> str:
    last = node.end_lineno or node.lineno
    behind = [comments[line][1] for line in range(node.lineno, last + 1) if line in comments]
    above: list[str] = []
    line = node.lineno - 1
    while line in comments and comments[line][0]:
        above.insert(0, comments[line][1])
        line -= 1
    return " ".join([*above, *behind])


def _comments(source: str) -> dict[int, tuple[bool, str]]:
    """{line: whether the comment stands alone on it, and its text}."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: (token.line.lstrip().startswith("#"), token.string.lstrip("# ").strip())
        for token in tokens
        if token.type == tokenize.COMMENT
    }
