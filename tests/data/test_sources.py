"""Reading problems: local files, the hub's layout on disk, and bad rows."""

import builtins
import csv
import json
import re

import pyarrow
import pyarrow.parquet
import pytest

from rlvr.config import SourceConfig
from rlvr.data.catalog import CATALOG, DAPO_PREFIX, DAPO_SUFFIX
from rlvr.data.sources import load_problems
from rlvr.data.tasks.arithmetic import is_held_out
from rlvr.errors import DataError
from tests.helpers.paths import SHARED_DATA


def write_jsonl(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def write_parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


# ---- local files


def test_a_file_of_any_label_with_ids_generated_from_the_row(tmp_path):
    path = write_jsonl(
        tmp_path / "mine.jsonl", [{"question": "1+1?", "answer": 2}, "", {"prompt": "p", "answer": "a"}]
    )
    loaded = load_problems(SourceConfig(name="own", path=path))
    assert [(p.id, p.question, p.answer, p.source) for p in loaded.problems] == [
        ("own/mine/1", "1+1?", "2", "own"),
        ("own/mine/3", "p", "a", "own"),
    ]


def test_configured_columns_step_into_nested_records(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"in": {"text": "q"}, "out": "a", "key.with.dot": 9}])
    cfg = SourceConfig(name="own", path=path, question="in.text", answer="out", id="key.with.dot")
    assert load_problems(cfg).problems[0].id == "own/9"


IFEVAL = [{"prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]
VERL = [{"prompt": [{"role": "user", "content": "p"}], "reward_model": {"ground_truth": "7"}}]


@pytest.mark.parametrize(
    ("rows", "keys", "verifier", "answers"),
    [
        (IFEVAL, {"verifier": "instruction"}, None, [""]),
        (IFEVAL, {}, "instruction", [""]),
        (IFEVAL, {"verifier": "instruction", "format": "plain"}, None, [""]),
        ([{"prompt": "p", "answer": None}], {}, "regex", [""]),
        (VERL, {}, "instruction", ["7"]),  # an answer that is there is never left out
    ],
)
def test_a_verifier_of_whole_rows_needs_no_answer(tmp_path, rows, keys, verifier, answers):
    source = SourceConfig(name="own", path=write_jsonl(tmp_path / "x.jsonl", rows), **keys)
    assert [p.answer for p in load_problems(source, verifier=verifier).problems] == answers


@pytest.mark.parametrize(
    ("keys", "verifier"),
    [
        ({}, None),
        ({"verifier": "math"}, "instruction"),
        ({"verifier": "last_number"}, None),
        ({"answer": "solution"}, "instruction"),
    ],
)
def test_any_other_verifier_needs_one_and_so_does_a_column_that_is_named(tmp_path, keys, verifier):
    source = SourceConfig(name="own", path=write_jsonl(tmp_path / "x.jsonl", IFEVAL), **keys)
    with pytest.raises(DataError, match=r"there is no column 'answer'|there is no column 'solution'"):
        load_problems(source, verifier=verifier)


def test_the_three_formats_hold_the_same_problems(tmp_path):
    rows = [{"id": str(i), "question": f'q "{i}",\nnext line é', "answer": str(i)} for i in range(5)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_parquet(tmp_path / "a.parquet", rows)
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "question", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    formats = [
        load_problems(SourceConfig(name="x", path=str(tmp_path / f"a.{suffix}"))).problems
        for suffix in ("jsonl", "parquet", "csv")
    ]
    assert formats[0] == formats[1] == formats[2]
    assert len(formats[0]) == 5


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    write_parquet(tmp_path / "b.parquet", [{"question": "second", "answer": "2"}])
    write_jsonl(tmp_path / "a.jsonl", [{"question": "first", "answer": "1"}])
    (tmp_path / "notes.txt").write_text("not data")
    problems = load_problems(SourceConfig(name="x", path=str(tmp_path))).problems
    assert [(p.id, p.question) for p in problems] == [("x/a/1", "first"), ("x/b/1", "second")]


def test_a_folder_with_several_splits_asks_for_one(tmp_path):
    for split in ("train", "test"):
        write_jsonl(tmp_path / f"{split}-0.jsonl", [{"question": split, "answer": "1"}])
    with pytest.raises(DataError, match=r"splits test, train.*split"):
        load_problems(SourceConfig(name="x", path=str(tmp_path)))
    assert (
        load_problems(SourceConfig(name="x", path=str(tmp_path), split="test")).problems[0].question == "test"
    )
    with pytest.raises(DataError, match="of the split 'dev'"):
        load_problems(SourceConfig(name="x", path=str(tmp_path), split="dev"))


@pytest.mark.parametrize(
    ("file", "split", "own"),
    [
        ("mine.jsonl", "train", None),
        ("test-00000.jsonl", "test", None),
        ("dev.jsonl", "dev", None),
        ("mine.jsonl", "test", "train"),
        ("train.jsonl", "test", "train"),
        ("test.jsonl", "train", "test"),
        ("train.jsonl", "train[:10%]", "train"),
    ],
)
def test_a_file_is_the_split_that_it_is_named_after(tmp_path, file, split, own):
    path = write_jsonl(tmp_path / file, [{"question": "q", "answer": "1"}])
    source = SourceConfig(name="x", path=path, split=split)
    if own is None:
        assert len(load_problems(source).problems) == 1
    else:
        with pytest.raises(DataError, match=rf"{file} is the split '{own}'.*not '{re.escape(split)}'; leave"):
            load_problems(source)


def test_limit_stops_reading(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"question": "q", "answer": "1"}] * 3 + ["broken"])
    assert len(load_problems(SourceConfig(name="x", path=path, limit=2)).problems) == 2
    with pytest.raises(DataError, match="limit is 0"):
        load_problems(SourceConfig(name="x", path=path, limit=0))


@pytest.mark.parametrize(("name", "file"), [("x", "missing.jsonl"), ("x", "a.txt"), ("x", ".")])
def test_unusable_paths(tmp_path, name, file):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=r"does not exist|ends in|holds no"):
        load_problems(SourceConfig(name=name, path=str(tmp_path / file)))


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no")
    (tmp_path / "a.csv").write_bytes(b"question,answer\n\xff\xfe,1\n")
    for file in ("a.parquet", "a.csv"):
        with pytest.raises(DataError, match=file):
            load_problems(SourceConfig(name="x", path=str(tmp_path / file)))


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match=r"unknown data set 'gsm9k'.*gsm8k"):
        load_problems(SourceConfig(name="gsm9k"))


# ---- bad rows

BAD_ROWS = [
    {"question": "good", "answer": "1"},
    '{"question": "cut off',  # 2
    {"question": "", "answer": "1"},  # 3
    {"question": "q", "answer": None},  # 4
    {"question": "q", "answer": ["1"]},  # 5
    {"question": "q"},  # 6
    "[1, 2]",  # 7
    {"question": "good too", "answer": "0"},
    {"question": True, "answer": "1"},  # 9
]


def test_bad_rows_are_refused_with_place_and_remedy(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", BAD_ROWS)
    with pytest.raises(DataError, match="7 bad rows") as error:
        load_problems(SourceConfig(name="x", path=path))
    message = str(error.value)
    assert f"{path}, row 2: is not JSON" in message
    assert "several lines" not in message
    assert "row 3, column 'question': is empty" in message
    assert "row 5, column 'answer': is of type list" in message
    assert "row 6, column 'answer': there is no column 'answer'; the row has question" in message
    assert "row 7" not in message
    assert "and 2 more" in message
    assert "data.on_bad_row=skip" in message


def test_bad_rows_are_skipped_counted_and_returned(tmp_path, caplog):
    loaded = load_problems(
        SourceConfig(name="x", path=write_jsonl(tmp_path / "x.jsonl", BAD_ROWS)), on_bad_row="skip"
    )
    assert [p.id for p in loaded.problems] == ["x/x/1", "x/x/8"]
    assert [row.row for row in loaded.bad_rows] == [2, 3, 4, 5, 6, 7, 9]
    assert "skipped 7 bad rows" in caplog.text


def test_rows_that_are_not_utf8_or_not_of_the_header(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"question": "q", "answer": "1"}\n{"question": "\xff", "answer": "1"}\n'
    )
    (tmp_path / "a.csv").write_text("question,answer\nq,1\nq\nq,1,2\n")
    for file, bad in (("a.jsonl", [2]), ("a.csv", [2, 3])):
        loaded = load_problems(SourceConfig(name="x", path=str(tmp_path / file)), on_bad_row="skip")
        assert [row.row for row in loaded.bad_rows] == bad


def test_duplicate_ids_are_bad_rows(tmp_path):
    rows = [{"id": "a", "question": "q", "answer": "1"}, {"id": "a", "question": "other", "answer": "1"}]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    with pytest.raises(DataError, match="row 2, column 'id': the id 'x/a' is already taken"):
        load_problems(SourceConfig(name="x", path=path))
    assert len(load_problems(SourceConfig(name="x", path=path), on_bad_row="skip").problems) == 1


def test_a_source_without_any_problem_is_refused(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", ["{"])
    with pytest.raises(DataError, match="no problem"):
        load_problems(SourceConfig(name="x", path=path), on_bad_row="skip")
    with pytest.raises(DataError, match="on_bad_row is 'ignore'"):
        load_problems(SourceConfig(name="x", path=path), on_bad_row="ignore")


# ---- arithmetic


def test_arithmetic_sources():
    held_out = load_problems(SourceConfig(name="arithmetic_heldout", limit=20)).problems
    assert len(held_out) == 20
    assert all(is_held_out(p.question.removesuffix("=?")) for p in held_out)
    assert len(load_problems(SourceConfig(name="arithmetic", limit=3)).problems) == 3
    with pytest.raises(DataError, match="endless"):
        load_problems(SourceConfig(name="arithmetic"))


# ---- known data sets


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


def test_a_local_copy_of_a_known_data_set_is_read_in_its_format(tmp_path):
    rows = [{"question": f"q{i}", "answer": f"so\n#### {i}"} for i in range(3)]
    write_parquet(tmp_path / "main" / "train-00000-of-00001.parquet", rows)
    problems = load_problems(SourceConfig(name="gsm8k", path=str(tmp_path / "main"))).problems
    assert [p.answer for p in problems] == ["0", "1", "2"]


def test_repeated_rows_of_dapo_are_left_out_once_each(tmp_path):
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
