"""A class's name has one meaning in the whole project, so that a search for it finds one class."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import rlvr

ROOT = Path(rlvr.__file__).parent


def test_no_two_classes_share_a_name():
    places = defaultdict(set)
    for folder in (ROOT, ROOT.parent / "launch"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    places[node.name].add(str(path.relative_to(ROOT.parent)))
    assert len(places) > 400, "does this test still look in the right place?"
    assert not {name: found for name, found in places.items() if len(found) > 1}
