"""The known data sets: as the hub has them, as copies on disk, and which subset or split of one is read."""

import builtins
import logging

import pytest

from rlvr.config import SourceConfig
from rlvr.data.catalog import CATALOG, DAPO_PREFIX, DAPO_SUFFIX
from rlvr.data.sources import is_on_the_hub, load_problems
from rlvr.errors import DataError
from tests.helpers.paths import SHARED_DATA
from tests.helpers.row_files import write_jsonl, write_parquet

HUB_ROWS = {
    "gsm8k": ("main/test-0.parquet", {"question": "q", "answer": "work\n#### 18"}, "18"),
    "math": ("data/test-0.parquet", {"problem": "q", "level": "1", "solution": r"is \boxed{2}"}, "2"),
    "math500": (
        "test-0.parquet",
        {"problem": "q", "solution": "", "answer": "3", "unique_id": "test/1.json"},
        "3",
    ),
    "aime24": ("data/train-0.parquet", {"id": 60, "problem": "q", "solution": "", "answer": "204"}, "204"),
    "aime25": ("test-0.parquet", {"id": "0", "problem": "q", "answer": "70"}, "70"),
    "amc23": ("test-0.parquet", {"id": 0, "question": "q", "answer": 27.0}, "27"),
    "olympiadbench": ("test-0.parquet", {"id": 1, "question": "q", "final_answer": ["$2$", "3"]}, "2, 3"),
    "minerva": ("test-0.parquet", {"question": "q", "answer": "1e8"}, "1e8"),
    "dapo_math_17k": (
        "data/dapo-math-17k.parquet",
        {
            "prompt": [{"content": DAPO_PREFIX + "q" + DAPO_SUFFIX, "role": "user"}],
            "reward_model": {"ground_truth": "34", "style": "rule"},
            "extra_info": {"index": "9a9b"},
        },
        "34",
    ),
}


def test_every_known_data_set_is_tested():
    assert set(HUB_ROWS) == set(CATALOG)


@pytest.mark.parametrize("name", HUB_ROWS)
def test_hub_layout_on_disk(name, tmp_path, monkeypatch):
    """`load_dataset("owner/name")` prefers a folder of that name in the working directory to the hub."""
    pytest.importorskip("datasets", reason="the optional extra rlvr[hub] is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    file, row, answer = HUB_ROWS[name]
    entry = CATALOG[name]
    write_parquet(tmp_path / entry.hub_id / file, [row])
    if entry.config is not None:
        files = f"  data_files:\n  - split: test\n    path: {file}\n"
        card = f"---\nconfigs:\n- config_name: {entry.config}\n{files}---\n"
        (tmp_path / entry.hub_id / "README.md").write_text(card)
    (problem,) = load_problems(SourceConfig(name=name), evaluation=True).problems
    assert (problem.question, problem.answer, problem.source) == ("q", answer, name)
    if name not in ("gsm8k", "math"):  # the others have one split, to train on as well
        assert load_problems(SourceConfig(name=name)).problems == (problem,)


@pytest.mark.parametrize(
    ("name", "path", "remote"),
    [
        ("gsm8k", None, True),
        ("someone/sums", None, True),
        ("gsm8k", "rows.jsonl", False),
        ("someone/sums", "rows.jsonl", False),
        ("arithmetic", None, False),
    ],
)
def test_what_is_read_from_the_hub(name, path, remote):
    assert is_on_the_hub(SourceConfig(name=name, path=path)) is remote


def test_a_subset_of_a_data_set_on_the_hub_is_chosen_by_name(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the optional extra rlvr[hub] is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    card = "---\nconfigs:\n"
    for name in ("easy", "hard"):
        write_parquet(tmp_path / "me/sums" / f"{name}.parquet", [{"question": name, "answer": "1"}])
        card += f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}.parquet\n"
    (tmp_path / "me/sums/README.md").write_text(f"{card}---\n")
    for name in ("easy", "hard"):
        (problem,) = load_problems(SourceConfig(name="me/sums", subset=name)).problems
        assert problem.question == name


def test_a_local_copy_of_a_known_data_set_is_read_in_its_format(tmp_path):
    rows = [{"question": f"q{i}", "answer": f"so\n#### {i}"} for i in range(3)]
    write_parquet(tmp_path / "main" / "train-00000-of-00001.parquet", rows)
    problems = load_problems(SourceConfig(name="gsm8k", path=str(tmp_path / "main"))).problems
    assert [p.answer for p in problems] == ["0", "1", "2"]


def test_repeated_rows_of_dapo_are_left_out_once_each(tmp_path, caplog):
    caplog.set_level(logging.INFO)

    def row(index, answer):
        return {
            "prompt": [{"content": f"{DAPO_PREFIX}question {index}{DAPO_SUFFIX}", "role": "user"}],
            "reward_model": {"ground_truth": answer, "style": "rule"},
            "extra_info": {"index": index},
        }

    path = write_jsonl(tmp_path / "dapo.jsonl", [row("a", "1"), row("b", "2")] * 100)
    loaded = load_problems(SourceConfig(name="dapo_math_17k", path=path))
    assert [p.id for p in loaded.problems] == ["dapo_math_17k/a", "dapo_math_17k/b"]
    assert (loaded.repeated, loaded.bad_rows) == (198, ())
    assert "data source dapo_math_17k: left out 198 repeated rows" in caplog.text
    path = write_jsonl(tmp_path / "clash.jsonl", [row("a", "1"), row("a", "2")])
    with pytest.raises(DataError, match="already taken"):
        load_problems(SourceConfig(name="dapo_math_17k", path=path))


def test_without_the_datasets_library_the_error_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without_datasets(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_datasets)
    with pytest.raises(DataError, match=r"pip install 'rlvr\[hub\]'"):
        load_problems(SourceConfig(name="gsm8k"))


@pytest.mark.parametrize(
    ("name", "file", "count"), [("aime24", "aime24", 30), ("amc23", "amc23", 40), ("gsm8k", "gsm8k_600", 600)]
)
def test_real_files(name, file, count):
    path = SHARED_DATA / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    loaded = load_problems(SourceConfig(name=name, path=str(path)))
    assert len(loaded.problems) == count
    assert len({p.id for p in loaded.problems}) == count
    assert all(float(p.answer) == int(float(p.answer)) for p in loaded.problems)


def test_a_split_that_does_not_exist_is_named(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the optional extra rlvr[hub] is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "math-ai/aime25/test-0.parquet", [{"id": "0", "problem": "q", "answer": "70"}])
    with pytest.raises(DataError, match=r"cannot load split 'dev' of 'math-ai/aime25'.*set the path"):
        load_problems(SourceConfig(name="aime25", split="dev"))
