"""The training stream as a pure function of (seed, position), and the evaluation sets."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.prompting.lengths import IDS_LISTED
from rlvr.data.stream import EpochSource, PromptStream, build_eval_sets, build_training_stream
from rlvr.data.tasks.arithmetic import train_problem
from rlvr.errors import DataError
from rlvr.types import Problem, Prompt
from tests.helpers.paths import SHARED_DATA


@pytest.fixture(scope="module")
def tokenizer():
    """One token per byte."""
    alphabet = {char: index for index, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.add_special_tokens(["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")


def source(path, questions, name="own"):
    path.write_text("".join(json.dumps({"question": q, "answer": "1"}) + "\n" for q in questions))
    return SourceConfig(name=name, path=str(path))


def stream_of(size, seed=0, shuffle=True):
    prompts = tuple(Prompt(Problem(f"p/{i}", str(i), "1", "p"), (i + 1,)) for i in range(size))
    return PromptStream("p", EpochSource(prompts, seed, shuffle))


def ids(prompts):
    return [prompt.id for prompt in prompts]


@settings(max_examples=50)
@given(
    size=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(0, 100),
    cuts=st.lists(st.integers(0, 9), max_size=8),
    shuffle=st.booleans(),
)
def test_any_way_of_taking_gives_the_same_prompts(size, seed, start, cuts, shuffle):
    stream = stream_of(size, seed, shuffle)
    taken, position = [], start
    for count in cuts:
        taken += stream.take(position, count)
        position += count
    assert taken == stream.take(start, sum(cuts))
    assert len(set(ids(taken))) == len(taken)  # unique within a run


@given(size=st.integers(1, 30), seed=st.integers(0, 1000), epoch=st.integers(0, 5), shuffle=st.booleans())
def test_an_epoch_holds_every_problem_once(size, seed, epoch, shuffle):
    taken = stream_of(size, seed, shuffle).take(epoch * size, size)
    questions = [prompt.problem.question for prompt in taken]
    assert sorted(questions, key=int) == [str(i) for i in range(size)]
    if not shuffle:
        assert questions == [str(i) for i in range(size)]


def test_epochs_and_seeds_differ_in_order():
    stream = stream_of(50)
    first = [p.problem.question for p in stream.take(0, 50)]
    second = [p.problem.question for p in stream.take(50, 50)]
    assert first != second
    assert first != [p.problem.question for p in stream_of(50, seed=1).take(0, 50)]


def test_the_order_is_fixed_for_ever():
    """A run must resume with the prompts that it would have seen, also after an upgrade."""
    assert ids(stream_of(5, seed=7).take(3, 4)) == ["p/3", "p/0", "p/3#1", "p/2#1"]


def test_prompt_ids_carry_the_epoch_from_the_second_on():
    assert ids(stream_of(2, shuffle=False).take(0, 5)) == ["p/0", "p/1", "p/0#1", "p/1#1", "p/0#2"]


def test_negative_positions_are_refused():
    with pytest.raises(ValueError, match="position=-1"):
        stream_of(2).take(-1, 1)
    with pytest.raises(ValueError, match="count=-1"):
        stream_of(2).take(0, -1)


def test_seeds_are_those_of_the_generator(tokenizer):
    for seed in (0, 2**32 - 1):
        assert build_training_stream(DataConfig(), tokenizer, seed=seed, eval_sets=()).take(0, 1)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed is {seed}"):
            build_training_stream(DataConfig(), tokenizer, seed=seed, eval_sets=())


def test_arithmetic_position_is_the_problem_index(tokenizer):
    stream = build_training_stream(DataConfig(), tokenizer, seed=3, eval_sets=())
    assert stream.size is None
    assert [p.problem for p in stream.take(40, 3)] == [train_problem(3, i) for i in (40, 41, 42)]


def test_an_endless_source_is_graded_as_it_says(tokenizer):
    cfg = DataConfig(train=SourceConfig(name="arithmetic", verifier="last_number", policy="strict"))
    (prompt,) = build_training_stream(cfg, tokenizer, seed=3, eval_sets=()).take(0, 1)
    assert (prompt.problem.rules.verifier, prompt.problem.rules.policy) == ("last_number", "strict")


def test_arithmetic_with_a_limit_is_a_finite_set(tokenizer):
    cfg = DataConfig(train=SourceConfig(name="arithmetic", limit=4))
    assert build_training_stream(cfg, tokenizer, seed=3, eval_sets=()).size == 4


def test_long_prompts_are_refused_by_id_with_the_remedy(tokenizer, tmp_path):
    cfg = DataConfig(train=source(tmp_path / "a.jsonl", ["short", "x" * 40, "y" * 50]), eval=[])
    with pytest.raises(
        ValueError, match=r"2 of 3 prompts.*own/a/2 \(40 tokens\).*data.max_prompt_tokens is 32"
    ):
        build_training_stream(cfg, tokenizer, seed=0, eval_sets=())
    cfg.max_prompt_tokens = 100
    with pytest.raises(
        ValueError, match=r"1 of 3 .*own/a/3.*max_length 100 .*max_response_tokens 58 leaves 42"
    ):
        build_training_stream(cfg, tokenizer, seed=0, eval_sets=(), context=100, max_response_tokens=58)
    assert (
        build_training_stream(cfg, tokenizer, seed=0, eval_sets=(), context=100, max_response_tokens=50).size
        == 3
    )


def test_of_many_long_prompts_the_first_are_listed(tokenizer, tmp_path):
    train = source(tmp_path / "a.jsonl", ["short", *("x" * (40 + i) for i in range(IDS_LISTED + 1))])
    with pytest.raises(DataError) as error:
        build_training_stream(DataConfig(train=train, eval=[]), tokenizer, seed=0, eval_sets=())
    last = f"own/a/{IDS_LISTED + 1} ({39 + IDS_LISTED} tokens), ...."
    assert f"{IDS_LISTED + 1} of {IDS_LISTED + 2} prompts are too long: own/a/2 (40 tokens), " in str(
        error.value
    )
    assert last in str(error.value)


def test_long_prompts_can_be_skipped_and_are_counted(tokenizer, tmp_path):
    train = source(tmp_path / "a.jsonl", ["short", "x" * 40])
    cfg = DataConfig(train=train, eval=[train], on_long_prompt="skip", on_overlap="warn")
    stream = build_training_stream(cfg, tokenizer, seed=0, eval_sets=())
    assert (stream.size, stream.left_out.long_prompts) == (1, ("own/a/2",))
    (chosen,) = build_eval_sets(cfg, tokenizer)
    assert (ids(chosen.prompts), chosen.left_out.long_prompts) == (["own/a/1"], ("own/a/2",))
    cfg.max_prompt_tokens = 2
    with pytest.raises(DataError, match=r"2 of 2 prompts are too long: .* is 2; raise it$"):
        build_eval_sets(cfg, tokenizer)
    cfg.on_long_prompt = "cut"
    with pytest.raises(DataError, match="on_long_prompt is 'cut'"):
        build_eval_sets(cfg, tokenizer)


def test_arithmetic_prompts_that_cannot_fit_fail_at_construction(tokenizer):
    with pytest.raises(DataError, match=r"max_length 64 .* leaves 0"):
        build_training_stream(
            DataConfig(), tokenizer, seed=0, eval_sets=(), context=64, max_response_tokens=64
        )


def test_overlap_with_the_evaluation_sets(tokenizer, tmp_path):
    cfg = DataConfig(
        train=source(tmp_path / "a.jsonl", ["1+1=?", "2+2=?"]),
        eval=[source(tmp_path / "b.jsonl", ["$2 + 2$ = ?"], name="held_out")],
        on_overlap="drop",
    )
    sets = build_eval_sets(cfg, tokenizer)
    stream = build_training_stream(cfg, tokenizer, seed=0, eval_sets=sets)
    assert ids(stream.take(0, 1)) == ["own/a/1"]
    assert [(pair.train_id, pair.eval_id) for pair in stream.left_out.overlaps] == [
        ("own/a/2", "held_out/b/1")
    ]
    cfg.on_overlap = "refuse"
    with pytest.raises(DataError, match=r"own/a/2 = held_out/b/1"):
        build_training_stream(cfg, tokenizer, seed=0, eval_sets=sets)


def test_bad_rows_are_reported_with_the_stream(tokenizer, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "q", "answer": "1"}\n{\n')
    cfg = DataConfig(train=SourceConfig(name="own", path=str(path)), eval=[], on_bad_row="skip")
    assert [
        row.row for row in build_training_stream(cfg, tokenizer, seed=0, eval_sets=()).left_out.bad_rows
    ] == [2]


def test_evaluation_sets_need_distinct_names(tokenizer):
    twice = [SourceConfig(name="arithmetic_heldout", limit=n) for n in (1, 2)]
    with pytest.raises(DataError, match="arithmetic_heldout more than once"):
        build_eval_sets(DataConfig(eval=twice), tokenizer)


def test_the_default_evaluation_set(tokenizer):
    (chosen,) = build_eval_sets(DataConfig(), tokenizer)
    assert (chosen.name, len(chosen.prompts)) == ("arithmetic_heldout", 200)


def test_unusable_seeds_are_refused(tokenizer):
    with pytest.raises(DataError, match="seed is -1"):
        build_training_stream(DataConfig(), tokenizer, seed=-1, eval_sets=())


@pytest.mark.slow
def test_real_files_make_a_stream_and_sets(tokenizer):
    if not (SHARED_DATA / "gsm8k_600.jsonl").is_file():
        pytest.skip(f"{SHARED_DATA} is absent")
    cfg = DataConfig(
        train=SourceConfig(name="gsm8k", path=str(SHARED_DATA / "gsm8k_600.jsonl")),
        eval=[
            SourceConfig(name=name, path=str(SHARED_DATA / f"{name}.jsonl")) for name in ("aime24", "amc23")
        ],
        template="dapo_plain",
        max_prompt_tokens=4096,
        on_overlap="refuse",
    )
    sets = build_eval_sets(cfg, tokenizer)
    assert [(chosen.name, len(chosen.prompts)) for chosen in sets] == [("aime24", 30), ("amc23", 40)]
    stream = build_training_stream(cfg, tokenizer, seed=1, eval_sets=sets)
    assert stream.size == len({p.problem.question for p in stream.take(600, 600)}) == 600


@pytest.mark.slow
def test_the_data_modules_import_no_engine_and_no_torch():
    modules = "sources, catalog, prompting.templates, stream, overlap, models.tokenizer"
    code = (
        f"import sys; {'; '.join(f'import rlvr.data.{name}' for name in modules.split(', '))}; "
        "print({'torch', 'transformers', 'ray', 'vllm', 'deepspeed', 'datasets'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "set()"
