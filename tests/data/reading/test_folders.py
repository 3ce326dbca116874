"""Folders as the hub, the `datasets` library and people lay them out: which files are data, and of which split."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rlvr.config import SourceConfig
from rlvr.data.sources import load_problems
from rlvr.errors import DataError

ROWS = [{"question": f"{n}+1=?", "answer": str(n + 1)} for n in range(3)]


def write(file: Path, rows=ROWS) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    if file.suffix == ".parquet":
        pyarrow.parquet.write_table(table, file)
    elif file.suffix == ".arrow":
        with pyarrow.ipc.new_stream(str(file), table.schema) as stream:
            stream.write_table(table)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def questions(path: Path, split: str | None = None) -> list[str]:
    return [p.question for p in load_problems(SourceConfig(name="own", path=str(path), split=split)).problems]


@pytest.mark.parametrize(
    "names",
    [
        ("default/train/0000.parquet", "default/test/0000.parquet"),  # the hub's own conversion
        (
            "train/data-00000-of-00001.arrow",
            "test/data-00000-of-00001.arrow",
        ),  # save_to_disk of several splits
        ("gsm8k-train.arrow", "gsm8k-test.arrow"),  # the library's cache
        ("gsm8k-train-00000-of-00001.parquet", "gsm8k-test-00000-of-00001.parquet"),
        ("math_train.jsonl", "math_test.jsonl"),
    ],
)
def test_splits_are_told_by_folders_and_by_the_ends_of_names_too(tmp_path, names):
    write(tmp_path / names[0])
    write(tmp_path / names[1], [{"id": "t", "question": "9+9=?", "answer": "18"}])
    assert questions(tmp_path, "train") == ["0+1=?", "1+1=?", "2+1=?"]
    assert questions(tmp_path, "test") == ["9+9=?"]
    assert questions(tmp_path / names[1]) == ["9+9=?"]
    with pytest.raises(DataError, match="holds the splits test, train; set the source's split"):
        questions(tmp_path)
    with pytest.raises(
        DataError, match=r"holds no .* files of the split 'dev', by the names of files and folders"
    ):
        questions(tmp_path, "dev")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val.jsonl", "val"),
        ("dev/0.jsonl", "dev"),
        ("math_valid.jsonl", "valid"),
        ("eval-00000-of-00001.parquet", "eval"),
    ],
)
def test_held_out_rows_under_a_short_name_are_not_read_beside_those_to_train_on(tmp_path, name, split):
    write(tmp_path / "train.jsonl")
    write(tmp_path / name, [{"id": "t", "question": "9+9=?", "answer": "18"}])
    both = ", ".join(sorted((split, "train")))
    with pytest.raises(DataError, match=f"holds the splits {both}; set the source's split"):
        questions(tmp_path)
    assert questions(tmp_path, "train") == ["0+1=?", "1+1=?", "2+1=?"]
    assert questions(tmp_path, split) == questions(tmp_path / name) == ["9+9=?"]


def test_a_name_that_only_begins_like_a_held_out_split_is_that_of_a_part(tmp_path):
    write(tmp_path / "train.jsonl")
    for name in ("values", "developed", "devices_new", "evaluated"):
        write(tmp_path / f"{name}.jsonl", [{"id": name, "question": name, "answer": "1"}])
    assert len(questions(tmp_path)) == 7


def test_a_data_set_that_was_saved_to_disk_is_read_as_it_stands(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(str(tmp_path / "one"))
    write(tmp_path / "one" / "cache-2d0a802b78a30b76.arrow", [{"question": "left of a map", "answer": "1"}])
    datasets.DatasetDict({"train_sft": saved, "test_sft": saved}).save_to_disk(str(tmp_path / "two"))
    assert questions(tmp_path / "one") == [row["question"] for row in ROWS]
    assert questions(tmp_path / "two", "train_sft") == [row["question"] for row in ROWS]


def test_classes_are_read_by_their_names_and_not_by_their_places(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    kinds = {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["A", "B", "C", "D"])}
    rows = {"question": ["p", "q", "r"], "answer": [1, 0, 3]}  # as MMLU has it
    saved = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    saved.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "owner" / "mmlu").mkdir(parents=True)
    saved.to_parquet(str(tmp_path / "owner" / "mmlu" / "train-00000-of-00001.parquet"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)  # where a folder stands in for the hub
    for name, path in (("own", "saved"), ("own", "owner/mmlu"), ("owner/mmlu", None)):
        loaded = load_problems(SourceConfig(name=name, path=path, split="train" if path is None else None))
        assert [problem.answer for problem in loaded.problems] == ["B", "A", "D"]


def test_whatever_the_hubs_library_raises_is_told_with_what_was_asked_of_it(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def scripted(*args, **kwargs):
        raise RuntimeError("Dataset scripts are no longer supported, but found x.py")

    monkeypatch.setattr(datasets, "load_dataset", scripted)
    with pytest.raises(
        DataError, match=r"cannot load split 'train' of 'owner/x' .*scripts are no longer supported"
    ):
        load_problems(SourceConfig(name="owner/x"))


def test_an_arrow_file_with_an_index_is_read_and_a_damaged_one_named(tmp_path):
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as file:
        file.write_table(table)
    assert questions(tmp_path / "a.arrow") == [row["question"] for row in ROWS]
    (tmp_path / "b.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"b\.arrow is not a readable arrow file"):
        questions(tmp_path / "b.arrow")


def test_hidden_files_and_folders_are_no_data(tmp_path):
    write(tmp_path / "train.jsonl")
    for name in (
        "._train.jsonl",
        ".ipynb_checkpoints/train-checkpoint.jsonl",
        ".cache/huggingface/test.json",
    ):
        write(tmp_path / name, [{"id": name, "question": "a copy", "answer": "1"}])
    assert questions(tmp_path) == [row["question"] for row in ROWS]


def test_a_row_whose_id_another_file_has_names_that_file(tmp_path):
    for name in ("main", "socratic"):
        write(tmp_path / name / "train-00000-of-00001.parquet")
    with pytest.raises(
        DataError, match=r"is already taken by an earlier row of .*/main/train-00000-of-00001"
    ):
        questions(tmp_path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "its path is empty"),
        (" ", "its path is empty"),
        ("hf://datasets/openai/gsm8k/main", "no address: download it first"),
        ("https://example.org/a.jsonl", "no address: download it first"),
        ("data/*.jsonl", "Patterns and lists are not read"),
        ("a.jsonl,b.jsonl", "Patterns and lists are not read"),
    ],
)
def test_a_path_that_is_none_says_what_to_give(tmp_path, monkeypatch, path, said):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rows.jsonl")  # an empty path would be this folder
    with pytest.raises(DataError, match=said):
        load_problems(SourceConfig(name="own", path=path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "a.csv", "a.arrow"])
@pytest.mark.parametrize(
    ("first", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "a pointer of Git LFS",
        ),
        (b"<!DOCTYPE html>\n<html></html>", "a web page"),
        ('{"question":"q","answer":"1"}\n'.encode("utf-16"), "text in UTF-16; write it in UTF-8"),
        (b"PK\x03\x04...", "a zip archive"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path, name, first, said):
    (tmp_path / name).write_bytes(first)
    with pytest.raises(DataError, match=rf"{name} is {said}"):
        questions(tmp_path)


def test_a_file_without_rows_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\n")
    with pytest.raises(DataError, match=r"holds no problem: .*a\.csv has 0 bad rows and no other"):
        questions(tmp_path / "a.csv")
