"""Reading problems: local files, bad rows, and tasks that are made."""

import csv
import re

import pytest

from rlvr.config import SourceConfig
from rlvr.data.sources import load_problems
from rlvr.data.tasks.arithmetic import is_held_out
from rlvr.errors import DataError
from tests.helpers.row_files import write_jsonl, write_parquet

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


def test_a_csv_row_is_bad_whichever_of_its_fields_is_missing(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("question,answer,note\nq,1,n\nq,1\nq,1,n,x\n")
    with pytest.raises(DataError) as error:
        load_problems(SourceConfig(name="x", path=str(file)))
    for number in (2, 3):
        assert f"{file}, row {number}: has more or fewer fields than the header" in str(error.value)
    assert "row 1" not in str(error.value)


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
    assert len(load_problems(SourceConfig(name="arithmetic_heldout")).problems) == 200
    assert all(is_held_out(p.question.removesuffix("=?")) for p in held_out)
    assert len(load_problems(SourceConfig(name="arithmetic", limit=3)).problems) == 3
    with pytest.raises(DataError, match="endless"):
        load_problems(SourceConfig(name="arithmetic"))
