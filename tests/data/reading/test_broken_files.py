"""Files that are damaged, ambiguous or hostile: each is refused by name, or costs the one row that is bad."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rlvr.config import SourceConfig
from rlvr.data.reading.parquet import labelled
from rlvr.data.sources import LoadedSource, load_problems
from rlvr.errors import DataError


def load(path) -> LoadedSource:
    return load_problems(SourceConfig(name="own", path=str(path)), on_bad_row="skip")


def answers(path) -> list[str]:
    return [problem.answer for problem in load(path).problems]


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('question,answer\na,1\nq,"2\nr,3\ns,4\n', r"begins on line 3 is no csv \(unexpected end of data\)"),
        ('question,answer\n"a\nb",1\nq,"a" b\nr,3\n', "begins on line 4 is no csv"),
        ('question,answer\nq,"a" b\n', "begins on line 2 is no csv"),
        ('question,"answer" b\nq,1\n', "begins on line 1 is no csv"),
        ("question,answer,answer\na,1,2\n", "two columns of one name: question, answer, answer"),
        ("question;answer\na;1\n", "separates its columns by ';': 'question;answer'; write it with commas"),
        ("question\tanswer\na\t1\n", r"separates its columns by '\\t'"),
    ],
)
def test_a_csv_file_whose_quotes_or_columns_do_not_fit_is_refused_with_its_line(tmp_path, text, reason):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=rf"a\.csv.* {reason}"):
        load(tmp_path / "a.csv")


def test_a_csv_file_may_have_columns_without_a_name_and_quotes_in_fields(tmp_path):
    (tmp_path / "a.csv").write_text('question,answer,,\n"a ""b"",\nc",1,,\n')
    [problem] = load(tmp_path / "a.csv").problems
    assert (problem.question, problem.answer) == ('a "b",\nc', "1")


def test_a_csv_file_may_be_empty_and_its_columns_may_have_other_marks_in_their_names(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError, match="holds no problem"):
        load(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("raw|text,question,answer\nx,q,1\n")
    assert answers(tmp_path / "a.csv") == ["1"]


def test_a_csv_file_may_have_long_fields_and_spaces_around_the_names_of_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text(f"question, answer,worked\na,1,{'x' * 200_000}\n")
    assert answers(tmp_path / "a.csv") == ["1"]
    assert csv.field_size_limit() == 131072  # the library's own stays for other readers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"question": ["a", "b"], "answer": ["1", "2"]}, "a table in one object"),
        ({"question": {"0": "a", "1": "b"}, "answer": {"0": "1", "1": "2"}}, "a table in one object"),
        (
            {"q1": {"question": "a", "answer": "1"}, "q2": {"question": "b", "answer": "2"}},
            "a table in one object",
        ),
        ({"columns": ["question", "answer"], "index": [0], "data": [["a", "1"]]}, "a table in one object"),
        ({"columns": ["question", "answer"], "data": [["a", "1"]]}, "a table in one object"),
        ({"train": [{"question": "a", "answer": "1"}], "test": [{"question": "b"}]}, "several lists of rows"),
    ],
)
def test_a_json_object_that_holds_many_rows_is_not_read_as_one(tmp_path, content, said):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"a\.json holds {said} \({', '.join(content)}\)"):
        load(tmp_path / "a.json")


def test_empty_lines_and_a_mark_at_the_beginning_are_no_rows(tmp_path):
    row = '{"question": "q", "answer": "1"}'
    (tmp_path / "a.jsonl").write_text(f"\ufeff{row}\n\n \r\n{row}\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("\ufeffquestion,answer\nq,1\n\nr,2\n", encoding="utf-8")
    for name, numbers in (("a.jsonl", [1, 4]), ("a.csv", [1, 2])):  # lines of the one, rows of the other
        loaded = load(tmp_path / name)
        assert ([problem.id for problem in loaded.problems], loaded.bad_rows) == (
            [f"own/a/{number}" for number in numbers],
            (),
        )


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [{"role": "user", "content": "q"}], "reward_model": {"ground_truth": "1"}},
        {"question": "q", "answer": "1"},
        {"question": "q", "answer": "1", "tests": [{"in": 1}]},
        {"question": "q", "answer": "1", "tags": []},
    ],
)
def test_one_row_in_a_json_object_stays_one(tmp_path, row):
    (tmp_path / "a.json").write_text(json.dumps(row))
    assert answers(tmp_path / "a.json") == ["1"]


TURNS = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q"},
        {"prompt": TURNS, "completion": TURNS},
        {"questions": ["a", "b"], "answers": ["1"]},
        {"train": [], "test": [{"question": "q"}]},
        {"rows": [{"question": "q"}], "version": 5},
    ],
)
def test_an_object_that_may_be_a_row_is_judged_as_one(tmp_path, row):
    (tmp_path / "a.json").write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"a\.json, row 1, column .* there is no column"):
        load(tmp_path / "a.json")


def test_json_of_several_lines_in_a_file_of_lines_is_told_where_it_belongs(tmp_path):
    for text, said in (
        ('{\n"question": "q",\n"answer": "1"\n}', "several lines"),
        ("[{}]", "a list of rows"),
    ):
        (tmp_path / "a.jsonl").write_text(text)
        with pytest.raises(DataError, match=rf"{said}.* belongs in a \.json file"):
            load(tmp_path / "a.jsonl")


@pytest.mark.parametrize("depth", [101, 600, 5_000, 50_000])
def test_a_deeply_nested_column_costs_its_row(tmp_path, depth):
    rows = ['{"question": "q", "answer": "1", "x": ' + "[" * n + "]" * n + "}\n" for n in (100, depth, 1)]
    for name in ("a.jsonl", "a.json"):
        (tmp_path / name).write_text("".join(rows))
        loaded = load(tmp_path / name)
        assert [problem.id for problem in loaded.problems] == ["own/a/1", "own/a/3"]
        [bad] = loaded.bad_rows
        assert f"{name}, row 2" in str(bad)
        assert "is nested" in bad.reason


def test_a_json_file_that_is_nested_too_deep_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a":' * 50_000)
    with pytest.raises(DataError, match=r"a\.json, row 1: is nested too deep"):
        load(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[" * 50_000)
    with pytest.raises(DataError, match=r"a\.json is nested too deep"):
        load(tmp_path / "a.json")


def test_a_key_that_stands_twice_in_an_object_is_no_answer(tmp_path):
    twice = '{"question": "q", "answer": "1", "answer": "2"}'
    (tmp_path / "a.jsonl").write_text(f'{{"question": "q", "answer": "3"}}\n{twice}\n')
    loaded = load(tmp_path / "a.jsonl")
    assert [problem.answer for problem in loaded.problems] == ["3"]
    assert [str(row.reason) for row in loaded.bad_rows] == ["has the key 'answer' twice"]
    (tmp_path / "a.json").write_text(f"[{twice}]")
    with pytest.raises(DataError, match=r"a\.json has an object with the key 'answer' twice"):
        load(tmp_path / "a.json")


def test_a_parquet_file_that_breaks_while_it_is_read_is_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", question=["q"] * 2000, answer=[str(i) for i in range(2000)])
    content = bytearray(path.read_bytes())
    content[4:24] = b"\xff" * 20  # the header of the first page
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet is not a readable parquet file: .*thrift"):
        load(path)


def test_dates_out_of_range_in_another_column_do_not_matter(tmp_path):
    when = pyarrow.array([0, 2**61], pyarrow.timestamp("us"))
    path = write_parquet(tmp_path / "a.parquet", question=["q", "r"], answer=["1", "2"], when=when)
    assert answers(path) == ["1", "2"]
    nested = pyarrow.array([[0], [2**61]], pyarrow.list_(pyarrow.timestamp("us")))
    path = write_parquet(tmp_path / "b.parquet", question=["q", "r"], answer=["1", "2"], when=nested)
    with pytest.raises(DataError, match=r"b\.parquet: column 'when' of type list<.*without that column"):
        load(path)


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path):
    table = pyarrow.table([["q"], ["1"], ["2"]], names=["question", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet has two columns of one name"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("kind", "digits"),
    [(pyarrow.float16(), 1.234), (pyarrow.float32(), 1234.567), (pyarrow.float64(), 1234.567890123)],
)
def test_short_numbers_of_parquet_are_what_was_written(tmp_path, kind, digits):
    numbers = pyarrow.array([0.1, 27.0, None, digits], kind)
    path = write_parquet(tmp_path / "a.parquet", question=list("abcd"), answer=numbers)
    assert answers(path) == ["0.1", "27", str(digits)]
    beside = [
        pyarrow.array([[0.1]] * 4, pyarrow.list_(kind)),
        pyarrow.array([7] * 4),
        pyarrow.array(list("wxyz")),
    ]
    record = pyarrow.StructArray.from_arrays([numbers, *beside], ["a", "b", "c", "d"])
    path = write_parquet(tmp_path / "b.parquet", prompt=list("abcd"), answer=list("1234"), record=record)
    records = [problem.columns["record"] for problem in load(path).problems]
    assert [one["a"] for one in records] == [0.1, 27.0, None, digits]
    assert records[0] == {"a": 0.1, "b": [0.1], "c": 7, "d": "w"}


def test_a_class_that_is_missing_has_no_name_and_what_is_no_place_of_one_stays():
    assert labelled([1, 0, -1, 2, "B", None], ["A", "B"]) == ["B", "A", None, 2, "B", None]
    assert labelled([1, -1], None) == [1, -1]


@pytest.mark.parametrize(
    "notes", [b"none of the library's", b"[]", b'{"info": null}', b'{"info": {"features": [1]}}']
)
def test_notes_of_a_parquet_file_that_are_not_the_librarys_are_nobodys(tmp_path, notes):
    table = pyarrow.table({"question": ["q"], "answer": ["1"]}).replace_schema_metadata(
        {b"huggingface": notes}
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert answers(tmp_path / "a.parquet") == ["1"]


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"question": "q", "answer": "1"}\n')

    def denied(self, *args, **kwargs):  # root may read whatever there is
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(DataError, match=r"data file .*a\.jsonl cannot be read: Permission denied"):
        load(tmp_path / "a.jsonl")


def test_large_numbers_are_the_shortest_decimals_that_mean_them(tmp_path):
    rows = [
        {"question": str(number), "answer": number} for number in (1e25, 123456789012345678901, -0.0, 1e15)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert answers(tmp_path / "a.jsonl") == ["1" + 25 * "0", "123456789012345678901", "0", "1" + 15 * "0"]


def test_the_end_of_a_file_name_may_be_in_capitals(tmp_path):
    (tmp_path / "Rows.JSONL").write_text('{"question": "q", "answer": "1"}\n')
    assert [problem.id for problem in load(tmp_path / "Rows.JSONL").problems] == ["own/Rows/1"]
    assert answers(tmp_path) == ["1"]
