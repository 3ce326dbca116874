"""What the pages name exists: links, files, modules, commands, make targets and keys."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlvr.analysis.config import AnalyzeConfig
from rlvr.analysis.cross.config import CrossSampleConfig
from rlvr.cli.commands import COMMANDS
from rlvr.cli.overrides import command_line
from rlvr.cli.overrides.peer_keys import PEER_KEYS
from rlvr.config import known_keys
from tests.helpers.pages import PAGES, code_of, name_of
from tests.helpers.paths import REPOSITORY

FOLDERS = "rlvr|launch|docs|recipes|tests|examples|benchmarks|docker"
KEYS = {*known_keys(), *known_keys(AnalyzeConfig), *known_keys(CrossSampleConfig)}
SECTIONS = sorted({key.partition(".")[0] for key in KEYS if "." in key})
# Whose further parts the schema leaves open.
FREE = tuple(f"{key}." for key in command_line.FREE)
FILES = (".py", ".md", ".yaml", ".json", ".jsonl", ".parquet", ".csv", ".safetensors", ".html")
BUILT_IN = {"recipes", "completion", "version", "help"}

by_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@by_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [target.partition("#")[0] for target in targets if "://" not in target and target[0] != "#"]
    assert [target for target in local if not (page.parent / target).exists()] == []


@by_page
def test_paths_of_the_repository_exist(page: Path) -> None:
    named = [
        path
        for code in code_of(page)
        for path in re.findall(rf"(?:^|[\s`(])((?:{FOLDERS})/[\w./-]*)(?![\w<*])", code)
    ]
    missing = [path for path in named if not (REPOSITORY / path.rstrip("./")).exists()]
    assert missing == []


@by_page
def test_modules_and_commands_exist(page: Path) -> None:
    code = "\n".join(code_of(page))
    assert [name for name in re.findall(r"python -m ([\w.]+\w)", code) if not find_spec(name)] == []
    run = re.findall(r"(?:^|\s)rlvr ([a-z][a-z-]*)", code)
    assert [name for name in run if name not in COMMANDS and name not in BUILT_IN] == []


@by_page
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = [name for code in code_of(page) for name in re.findall(r"(?:^|\s)make ([a-z-]+)", code)]
    assert [name for name in named if name not in targets] == []


@by_page
def test_keys_exist(page: Path) -> None:
    form = re.compile(rf"(?<![\w./-])(?:{'|'.join(SECTIONS)})\.[a-z][\w.]*\w")
    named = [key for code in code_of(page) for key in form.findall(code)]
    unknown = [
        key
        for key in named
        if key not in {*KEYS, *PEER_KEYS} and not key.startswith(FREE) and not key.endswith(FILES)
    ]
    assert unknown == []


def test_names_are_found_at_all() -> None:
    code = "\n".join(code for page in PAGES for code in code_of(page))
    assert len(re.findall(rf"(?:{FOLDERS})/[\w./-]+", code)) > 50
    assert len(re.findall(r"\b(?:rollout|learner|data)\.[a-z_]+", code)) > 100


def test_the_changelog_says_where_modules_went() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text().partition("### Moved")[2]
    rows = [re.findall(r"`(rlvr[\w.]+)`", line) for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert [old for old, *_ in rows if module_exists(old)] == []
    assert [new for _, *news in rows for new in news if not module_exists(new)] == []
    assert all(len(row) >= 2 for row in rows)


def module_exists(name: str) -> bool:
    place = REPOSITORY.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()
