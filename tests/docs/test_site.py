"""The site builds offline, and what is made from the code is what the code says."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from rlvr.config import leaf_keys
from tests.helpers.pages import DOCS
from tests.helpers.paths import REPOSITORY


class Loaded(HTMLParser):
    """What a browser would load for a page: scripts, styles and images."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        loads = (
            values.get("src") if tag in ("script", "img") else values.get("href") if tag == "link" else None
        )
        if loads:
            self.addresses.append(loads)


def built(configuration: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(configuration), "-d", str(site)],
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = built(REPOSITORY / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").glob("*.html"))
    assert {page.stem for page in DOCS.glob("*.md")} <= {page.stem for page in pages}
    for page in pages:
        reader = Loaded()
        reader.feed(page.read_text())
        assert reader.addresses
        assert [address for address in reader.addresses if re.match(r"(?:https?:)?//", address)] == []


@pytest.mark.slow
def test_a_dead_link_ends_the_build(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    faq = tmp_path / "docs" / "faq.md"
    faq.write_text(faq.read_text() + "\n[nowhere](nowhere.md)\n")
    done = built(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr


def reference(folder: Path) -> ModuleType:
    """The generator as it lies in a folder, which is where it looks for its pages."""
    spec = importlib.util.spec_from_file_location("build_reference", folder / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_pages_made_from_the_code_are_not_stale() -> None:
    stale = [file.name for file in reference(DOCS).stale()]
    assert stale == [], "run: python docs/build_reference.py"


@pytest.mark.slow
def test_a_stale_page_is_noticed_and_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("build_reference.py", "keys.md", "peer_keys.md"):
        shutil.copy(DOCS / name, tmp_path)
    page = tmp_path / "keys.md"
    page.write_text(page.read_text().replace("`rollout.top_k`", "`rollout.top_q`"))
    assert reference(tmp_path).main(["--check"]) == 1
    assert "keys.md is not what the code says" in capsys.readouterr().err
    assert reference(tmp_path).main([]) == 0
    assert page.read_text() == (DOCS / "keys.md").read_text()


def test_the_reference_has_every_key_and_a_meaning_for_each() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| .*? \| ([^|]*) \|$", (DOCS / "keys.md").read_text().replace("\\|", "/"), re.M
    )
    found = dict(rows)
    assert set(leaf_keys()) <= found.keys()
    assert [key for key, meaning in rows if not meaning.strip()] == []
