"""Names of runs and data sets as names of folders and files."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import ConfigError
from rlvr.runtime.disk.folder import run_folder
from rlvr.runtime.disk.names import file_name

NAMES = (
    "a/b",
    "a_b",
    "a%2Fb",
    "a b",
    "a-b",
    "ab",
    "..",
    "/",
    "é",
    "数学",
    "x" * 300,
    "x" * 301,
    "数" * 99,
    "a\n",
)


def test_names_of_files_are_as_they_were_where_they_can_be():
    for name in ("arithmetic_heldout", "aime24", "my-set.v2", "数学"):
        assert file_name(name) == name
    assert file_name("owner/set") == "owner%2Fset"


def test_two_sets_never_share_a_file(tmp_path):
    for one, other in combinations(NAMES, 2):
        assert file_name(one) != file_name(other)
    for name in NAMES:
        (tmp_path / f".eval_{file_name(name)}-000032.jsonl.gz.draft").touch()
    assert len(list(tmp_path.iterdir())) == len(NAMES)


@given(st.text(), st.text())
def test_any_two_names_have_two(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)
    assert "/" not in file_name(one)


def test_a_run_without_a_name_is_called_by_recipe_and_time(cfg):
    assert run_folder(cfg, "test").path.name.startswith("test-")
    cfg.run.name = "mine"
    assert str(run_folder(cfg, "test").path) == "runs/mine"


def test_the_home_folder_is_written_out(cfg, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cfg.run.root, cfg.run.name = "~/x", "mine"
    assert run_folder(cfg, "test").path == tmp_path / "x" / "mine"
    cfg.run.root = "~nobody-of-that-name/x"
    with pytest.raises(ConfigError, match=r"run\.root=~nobody-of-that-name/x: .*write the path out"):
        run_folder(cfg, "test")
    for text in ("$HOME/x", "${HOME}/x"):
        cfg.run.root = text
        with pytest.raises(ConfigError, match=r"^run\.root=.*HOME.* stands for itself"):
            run_folder(cfg, "test")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$HOME" / "x").mkdir(parents=True)  # as somebody has called a folder after all
    cfg.run.root = "$HOME/x"
    assert run_folder(cfg, "test").path.parent.is_dir()
    cfg.run.root = " "
    with pytest.raises(ConfigError, match=r"run\.root is empty \(a variable that is not set\?\)"):
        run_folder(cfg, "x")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "no folder of its own"),
        ("..", "no folder of its own"),
        ("a/../../b", "no folder of its own"),
        ("/tmp/mine", r"run\.root says where"),
        ("/", "no folder of its own"),
        ("x" * 300, r"\(300 characters\): too long"),
        ("é" * 200, r"\(200 characters\): too long"),
        ("a\0b", "a character that none has"),
        ("of-$USER", r"\$USER stands for itself where no shell reads it; write \$\{oc\.env:USER\}"),
        ("latest", "is the link to the newest one"),
        ("latest/mine", "is the link to the newest one"),
    ],
)
def test_a_name_that_no_run_can_have_is_refused(cfg, tmp_path, name, words):
    cfg.run.root, cfg.run.name = str(tmp_path), name
    with pytest.raises(ConfigError, match=rf"^run\.name=.*{words}"):
        run_folder(cfg, "test")


@pytest.mark.parametrize("name", ["x" * 255, "a/b", "mine/", ".hidden", "latest2", "...", "a b"])
def test_other_names_may_be_what_they_like(cfg, tmp_path, name):
    cfg.run.root, cfg.run.name = str(tmp_path), name
    folder = run_folder(cfg, "test")
    folder.create(cfg)
    assert folder.path.is_dir()


def test_the_link_to_the_newest_run_gives_its_own_name(cfg, tmp_path):
    cfg.run.root, cfg.run.name = str(tmp_path), "mine"
    run_folder(cfg, "test").create(cfg)
    cfg.run.name, cfg.run.resume = "latest", "auto"
    with pytest.raises(
        ConfigError, match=r"link to the newest one, run\.name=mine\. Give that run's own name"
    ):
        run_folder(cfg, "test")
    assert (tmp_path / "latest").resolve() == tmp_path / "mine"
