"""Kinds of files, and rows as other frameworks write them."""

from __future__ import annotations

import gzip
import json

import pytest

from rlvr.config import Config, SourceConfig
from rlvr.data.sources import load_problems
from rlvr.errors import ConfigError, DataError
from rlvr.runtime.inputs import read_inputs
from rlvr.types import Message
from rlvr.validate import validate

ROWS = [{"question": f"{i}+1=?", "answer": str(i + 1)} for i in range(3)]
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1=?"}


def load(path, **more):
    return load_problems(SourceConfig(name="own", path=str(path), **more))


def questions(path, **more):
    return [problem.question for problem in load(path, **more).problems]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


# Files


@pytest.mark.parametrize(
    "text",
    [json.dumps(ROWS), json.dumps({"data": ROWS}, indent=2), lines(ROWS), "\ufeff" + json.dumps(ROWS)],
)
def test_json_files_hold_a_list_or_an_object_a_line(tmp_path, text):
    (tmp_path / "rows.json").write_text(text, encoding="utf-8")
    loaded = load(tmp_path / "rows.json")
    assert [(p.id, p.question) for p in loaded.problems] == [
        (f"own/rows/{i + 1}", row["question"]) for i, row in enumerate(ROWS)
    ]


def test_packed_lines_are_lines(tmp_path):
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines([*ROWS, {"question": "q"}]).encode()))
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz, row 4, column 'answer'"):
        load(tmp_path / "rows.jsonl.gz")
    assert load(tmp_path / "rows.jsonl.gz", limit=3).problems[0].id == "own/rows/1"
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines(ROWS).encode())[:-9])
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz is not a readable gzip file"):
        load(tmp_path / "rows.jsonl.gz")
    (tmp_path / "rows.jsonl.gz").write_text(lines(ROWS))
    with pytest.raises(DataError, match="not a readable gzip file"):
        load(tmp_path / "rows.jsonl.gz")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("3", "is a JSON int"), ("[1]", "row 1: is a JSON int"), ("{", "is not JSON")],
)
def test_json_that_holds_no_rows(tmp_path, text, reason):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        load(tmp_path / "rows.json")


def test_a_folder_is_read_without_what_is_said_about_its_data(tmp_path):
    (tmp_path / "train-1.json").write_text(json.dumps(ROWS[:1]))
    (tmp_path / "train-2.jsonl.gz").write_bytes(gzip.compress(lines(ROWS[1:]).encode()))
    (tmp_path / "dataset_info.json").write_text('{"features": {}}')
    assert questions(tmp_path) == [row["question"] for row in ROWS]
    assert questions(tmp_path, split="train-2") == [row["question"] for row in ROWS[1:]]


# Rows

VERL = {
    "data_source": "a",
    "prompt": [SYSTEM, USER],
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 0, "split": "train"},
}
TRL = {"prompt": [SYSTEM, USER], "solution": r"so \boxed{2}"}
OPENRLHF = {"datasource": "a", "context_messages": [SYSTEM, USER], "label": 2}
PLAIN = {"problem": [SYSTEM, USER], "answer": "2"}


@pytest.mark.parametrize(
    ("form", "row", "gold"),
    [("verl", VERL, "2"), ("trl", TRL, r"so \boxed{2}"), ("openrlhf", OPENRLHF, "2"), ("plain", PLAIN, "2")],
)
def test_rows_tell_their_format(tmp_path, form, row, gold):
    (tmp_path / "rows.jsonl").write_text(lines([row, row]))  # the same index twice: rows have numbers for ids
    loaded = load(tmp_path / "rows.jsonl")
    assert loaded.format == form
    assert [p.id for p in loaded.problems] == ["own/rows/1", "own/rows/2"]
    assert loaded.problems[0].messages == (Message("system", "Be brief."), Message("user", "1+1=?"))
    assert loaded.problems[0].answer == gold
    assert load(tmp_path / "rows.jsonl", format=form) == loaded  # named, it is the same


def test_a_copy_of_a_known_set_and_a_built_in_one_have_no_format(tmp_path):
    (tmp_path / "rows.jsonl").write_text(lines([{"question": "q", "answer": "so\n#### 1"}]))
    assert load_problems(SourceConfig(name="gsm8k", path=str(tmp_path / "rows.jsonl"))).format == ""
    assert load_problems(SourceConfig(name="sums", limit=1)).format == ""


def test_columns_with_other_names_may_be_named_in_any_format(tmp_path):
    (tmp_path / "rows.jsonl").write_text(lines([VERL | {"gold": "7"}]))
    [problem] = load(tmp_path / "rows.jsonl", answer="gold", id="extra_info.index").problems
    assert (problem.id, problem.answer) == ("own/0", "7")
    assert problem.columns["data_source"] == "a"


@pytest.mark.parametrize(
    ("form", "column"),
    [("verl", "reward_model.ground_truth"), ("openrlhf", "label"), ("trl", "solution"), ("plain", "answer")],
)
def test_rows_without_the_columns_of_the_format_that_is_named_say_what_it_looks_for(tmp_path, form, column):
    (tmp_path / "rows.jsonl").write_text(lines([{"prompt": "1+1=?", "gold": "2"}]))
    with pytest.raises(DataError, match=rf"row 1, column '{column}': there is no column '{column}'"):
        load(tmp_path / "rows.jsonl", format=form)


def test_a_format_that_does_not_exist_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_text(lines(ROWS))
    with pytest.raises(DataError, match="format is 'sharegpt'; expected plain, verl, trl, openrlhf, or null"):
        load(tmp_path / "rows.jsonl", format="sharegpt")


def test_the_first_row_decides_and_a_named_format_is_held_to(tmp_path):
    (tmp_path / "rows.jsonl").write_text(lines([VERL, ROWS[0]]))
    with pytest.raises(DataError, match=r"row 2.*prompt"):
        load(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match=r"row 1, column 'answer'"):
        load(tmp_path / "rows.jsonl", format="plain")
    (tmp_path / "none.jsonl").write_text(lines([{"text": "q", "gold": "2"}]))
    with pytest.raises(
        DataError, match=r"the row has text, gold(.|\n)*verl: prompt, and reward_model\.ground_truth"
    ):
        load(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (VERL | {"reward_model": {"ground_truth": ["2"]}}, r"'reward_model\.ground_truth': is of type list"),
        (VERL | {"reward_model": {"ground_truth": None}}, r"'reward_model\.ground_truth': is missing"),
        (VERL | {"reward_model": None}, r"'reward_model\.ground_truth': .* and 'reward_model' is null"),
        (VERL | {"reward_model": "2"}, "and 'reward_model' is '2', no record"),
        (VERL | {"reward_model": '{"ground_truth": 2'}, "and 'reward_model' is '{.*, no record"),
        (VERL | {"reward_model": {"style": "rule"}}, "and 'reward_model' is a record with style"),
        ({"input": "1+1", "label": None}, "column 'label': is missing"),
    ],
)
def test_a_row_that_none_can_read_is_judged_by_the_format_of_its_columns(tmp_path, row, reason):
    (tmp_path / "rows.jsonl").write_text(lines([row]))
    with pytest.raises(DataError, match=reason):
        load(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("question", ["", " \n", [], [{"role": "user", "content": " "}]])
def test_a_question_without_a_word_is_none(tmp_path, question):
    (tmp_path / "rows.jsonl").write_text(lines([{"question": question, "answer": "1"}]))
    with pytest.raises(DataError, match="row 1, column 'question': is empty"):
        load(tmp_path / "rows.jsonl")


def test_a_bad_row_before_good_ones_does_not_hide_their_format(tmp_path):
    (tmp_path / "rows.jsonl").write_text(lines([{"foo": 1}, VERL | {"reward_model": None}, VERL, VERL]))
    loaded = load_problems(SourceConfig(name="own", path=str(tmp_path / "rows.jsonl")), on_bad_row="skip")
    assert (loaded.format, len(loaded.problems)) == ("verl", 2)
    assert [row.row for row in loaded.bad_rows] == [1, 2]


def test_records_and_messages_may_be_written_as_json(tmp_path):
    as_text = {name: " " + json.dumps(value) for name, value in VERL.items()}
    (tmp_path / "rows.jsonl").write_text(lines([as_text]))
    loaded = load(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").write_text(lines([VERL]))
    [same] = load(tmp_path / "rows.jsonl").problems
    [problem] = loaded.problems
    assert loaded.format == "verl"
    assert (problem.answer, problem.messages) == (same.answer, same.messages)
    (tmp_path / "rows.jsonl").write_text(lines([as_text | {"reward_model.ground_truth": "5"}]))
    assert load(tmp_path / "rows.jsonl").problems[0].answer == "5"  # a column of that very name comes first
    (tmp_path / "rows.jsonl").write_text(
        lines([{"question": '[{"a": 1}] has how many keys?', "answer": "1"}])
    )
    assert questions(tmp_path / "rows.jsonl") == ['[{"a": 1}] has how many keys?']


def test_messages_as_python_prints_them_are_no_question(tmp_path):
    row = {"prompt": str(VERL["prompt"]), "answer": "1"}  # of a data frame that was saved as csv
    (tmp_path / "rows.jsonl").write_text(lines([row]))
    with pytest.raises(DataError, match=r"column 'prompt': is a list of messages as Python prints it"):
        load(tmp_path / "rows.jsonl")


def test_a_format_that_does_not_exist_is_refused_with_the_key():
    cfg = Config(recipe="test")
    cfg.data.eval[0].format = "trlx"
    with pytest.raises(
        ConfigError, match=r"data\.eval\[0\]\.format=trlx: use one of plain, verl, trl, openrlhf"
    ):
        validate(cfg)


def test_a_run_says_which_rows_are_not_plain(tmp_path):
    for name, row in (
        ("a", {"prompt": "1+1=?", "solution": "2"}),
        ("b", {"question": "2+1=?", "answer": "3"}),
    ):
        (tmp_path / f"{name}.jsonl").write_text(lines([row]))
    cfg = Config(recipe="test")
    cfg.data.train = SourceConfig(
        sources=[SourceConfig(name=name, path=str(tmp_path / f"{name}.jsonl")) for name in "ab"]
    )
    assert read_inputs(cfg).formats == "rows: a as trl writes them"
    cfg.data.train = SourceConfig(name="arithmetic")
    assert read_inputs(cfg).formats == ""


# The hub


@pytest.mark.slow
def test_any_data_set_of_the_hub_loads_with_its_columns_named(tmp_path, monkeypatch):
    """`load_dataset("owner/name")` prefers a folder of that name in the working directory to the hub."""
    pytest.importorskip("datasets", reason="the optional extra rlvr[hub] is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it tries for 23 seconds
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "someone" / "sums"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(lines([{"ask": f"{split}?", "key": {"value": 4}}]))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: small\n  data_files:\n  - split: train\n    path: train.jsonl\n"
        "  - split: test\n    path: test.jsonl\n---\n"
    )
    source = SourceConfig(name="someone/sums", subset="small", question="ask", answer="key.value")
    [problem] = load_problems(source).problems
    assert (problem.id, problem.question, problem.answer) == ("someone/sums/train/1", "train?", "4")
    [held] = load_problems(source, evaluation=True).problems
    assert held.question == "test?"
    with pytest.raises(DataError, match=r"cannot load split 'train' of 'someone/none'"):
        load_problems(SourceConfig(name="someone/none"))
