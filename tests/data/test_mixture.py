"""Mixtures: shares, order, epochs, and what holds for all sources of a stream together."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlvr.cli.overrides.shorthand import several_sources
from rlvr.config import Config, DataConfig, SourceConfig
from rlvr.data.mixture import place_in_mixture, whole_weights
from rlvr.data.stream import EpochSource, MixtureSource, PromptStream, build_eval_sets, build_training_stream
from rlvr.data.tasks.arithmetic import train_problem
from rlvr.errors import ConfigError, DataError
from rlvr.types import Problem, Prompt
from rlvr.validate import validate
from tests.helpers.tokenizers_made_here import byte_tokenizer

WEIGHTS = st.lists(st.integers(0, 50), min_size=1, max_size=5).filter(any)


@given(weights=WEIGHTS, prompts=st.integers(0, 400))
def test_every_place_of_every_source_comes_once_and_in_order(weights, prompts):
    met = [place_in_mixture(position, weights) for position in range(prompts)]
    for source in range(len(weights)):
        places = [place for chosen, place in met if chosen == source]
        assert places == list(range(len(places)))


@given(weights=WEIGHTS, prompts=st.integers(1, 400))
def test_shares_are_those_of_the_weights(weights, prompts):
    counts = Counter(place_in_mixture(position, weights)[0] for position in range(prompts))
    for source, weight in enumerate(weights):
        assert abs(counts[source] - Fraction(weight * prompts, sum(weights))) < source + 1
    whole = sum(weights) * (1 + prompts // sum(weights))
    assert Counter(place_in_mixture(p, weights)[0] for p in range(whole)) == {
        source: weight * whole // sum(weights) for source, weight in enumerate(weights) if weight
    }


@given(weights=WEIGHTS, position=st.integers(0, 10**15))
def test_a_place_far_on_needs_nothing_before_it(weights, position):
    source, place = place_in_mixture(position, weights)
    share = Fraction(weights[source], sum(weights))
    assert abs(place - position * share) <= len(weights)


def test_weights_are_proportions_as_they_are_written():
    assert whole_weights([0.7, 0.3]) == (7, 3)
    assert whole_weights([2.0, 4.0, 0.0]) == (1, 2, 0)
    assert whole_weights([1e-3, 1.0]) == (1, 1000)
    for wrong in ([0.0, 0.0], [1.0, -1.0], [float("nan"), 1.0], [float("inf"), 1.0]):
        with pytest.raises(DataError, match="weight"):
            whole_weights(wrong)


def finite(name, size, seed, shuffle):
    prompts = tuple(Prompt(Problem(f"{name}/{i}", str(i), "1", name), (i + 1,)) for i in range(size))
    return PromptStream(name, EpochSource(prompts, seed, shuffle))


@pytest.mark.slow
@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    weights=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    start=st.integers(0, 200),
    cuts=st.lists(st.integers(0, 9), max_size=8),
    shuffle=st.booleans(),
)
def test_a_mixture_goes_on_anywhere_and_each_source_as_it_would_alone(
    sizes, weights, seed, start, cuts, shuffle
):
    weights = weights[: len(sizes)]
    assume(any(weights))
    parts = tuple(finite(f"s{i}", size, seed, shuffle) for i, size in enumerate(sizes))
    stream = PromptStream("m", MixtureSource(parts, tuple(weights)))
    whole = stream.take(0, start + sum(cuts))
    taken, position = [], start
    for count in cuts:
        taken += stream.take(position, count)
        position += count
    assert taken == whole[start:]
    for part in parts:
        own = [prompt for prompt in whole if prompt.problem.source == part.name]
        assert own == part.take(0, len(own))  # its own order, epoch after epoch: none lost, none doubled
    assert len({prompt.id for prompt in whole}) == len(whole)


# Built from a configuration


def rows(path, questions, **more):
    path.write_text("".join(json.dumps({"question": q, "answer": "1"}) + "\n" for q in questions))
    return SourceConfig(name=path.stem, path=str(path), **more)


def mixture(*sources, **data):
    data = {"eval": [SourceConfig(name="arithmetic_heldout", limit=2)], "max_prompt_tokens": 40} | data
    return DataConfig(train=SourceConfig(name="mixture", sources=list(sources)), **data)


def build(cfg, seed=3):
    tokenizer = byte_tokenizer()
    return build_training_stream(cfg, tokenizer, seed=seed, eval_sets=build_eval_sets(cfg, tokenizer))


def test_endless_and_finite_sources_mix(tmp_path):
    own = rows(tmp_path / "own.jsonl", ["a", "b", "c"], weight=2)
    stream = build(mixture(own, SourceConfig(name="arithmetic")))
    assert (stream.name, stream.size) == ("own+arithmetic", None)
    assert [(part.name, part.size) for part in stream.parts] == [("own", 3), ("arithmetic", None)]
    taken = [prompt.problem for prompt in stream.take(0, 30)]
    assert [p for p in taken if p.source == "arithmetic"] == [train_problem(3, i) for i in range(10)]
    epochs = [p for p in taken if p.source == "own"]
    assert [sorted(p.question for p in epochs[i : i + 3]) for i in (0, 3)] == [["a", "b", "c"]] * 2
    assert [p.id.rpartition("#")[2] for p in epochs[3:9:3]] == ["1", "2"]


def test_one_source_alone_is_the_stream_that_it_was(tmp_path):
    own = rows(tmp_path / "own.jsonl", ["a", "b", "c"])
    alone = build(DataConfig(train=own, eval=[], max_prompt_tokens=40))
    listed = build(mixture(own))
    assert listed == alone
    assert alone.parts == (alone,)


def test_overlap_bad_rows_and_long_prompts_are_found_in_every_source(tmp_path):
    first = rows(tmp_path / "first.jsonl", ["1+1=?", "short"])
    second = rows(tmp_path / "second.jsonl", ["2 + 2 = ?", "x" * 50, "fine"])
    with open(second.path, "a") as file:
        file.write("{\n")
    held = rows(tmp_path / "held.jsonl", ["$1+1$ = ?", "2+2=?"])
    cfg = mixture(first, second, eval=[held])
    with pytest.raises(DataError, match=r"data source 'second': 1 bad rows"):
        build(cfg)
    cfg.on_bad_row, cfg.on_overlap = "skip", "refuse"
    with pytest.raises(
        DataError, match=r"2 of 5 training questions.*first/first/1 = .*second/second/1 = held"
    ):
        build(cfg)
    cfg.on_overlap = "drop"
    with pytest.raises(DataError, match=r"second/second/2 \(50 tokens\)"):
        build(cfg)
    cfg.on_long_prompt = "skip"
    stream = build(cfg)
    assert {p.problem.question for p in stream.take(0, 8)} == {"short", "fine"}
    left_out = [part.left_out for part in stream.parts]
    assert [len(part.overlaps) for part in left_out] == [1, 1]
    assert [len(part.bad_rows) for part in left_out] == [0, 1]
    assert [part.long_prompts for part in left_out] == [(), ("second/second/2",)]


def test_a_source_that_overlap_leaves_empty_is_named(tmp_path):
    first, second = rows(tmp_path / "first.jsonl", ["a"]), rows(tmp_path / "second.jsonl", ["b"])
    cfg = mixture(first, second, eval=[rows(tmp_path / "held.jsonl", ["b"])], on_overlap="drop")
    with pytest.raises(DataError, match=r"data source 'second'.*leaves none"):
        build(cfg)


def test_the_fingerprint_covers_all_of_every_source(tmp_path):
    def of(first="abc", second=range(100), seed=3):
        sources = (
            rows(tmp_path / "first.jsonl", list(first)),
            rows(tmp_path / "second.jsonl", list(map(str, second))),
        )
        return build(mixture(*sources), seed).fingerprint

    assert of() == of()
    assert of().size == 103
    assert len({of().ids, of(seed=4).ids, of(first="abcd").ids, of(second=range(101)).ids}) == 4
    assert of(second=[*range(99), "other"]).prompts != of().prompts  # beyond the first prompts of the mixture
    endless = build(mixture(rows(tmp_path / "a.jsonl", "x"), SourceConfig(name="arithmetic")))
    assert endless.fingerprint.size is None


# Settings


def refusal(data):
    cfg = Config(recipe="test", data=data)
    with pytest.raises(ConfigError) as error:
        validate(cfg)
    return str(error.value)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_none_are_refused_by_name(weight):
    cfg = mixture(SourceConfig(name="arithmetic"), SourceConfig(name="sums", weight=weight))
    assert "data.train source sums: weight=" in refusal(cfg)


def test_weights_that_sum_to_zero_are_refused():
    cfg = mixture(SourceConfig(name="arithmetic", weight=0), SourceConfig(name="sums", weight=0))
    assert "(arithmetic, sums) are 0" in refusal(cfg)
    cfg.train.sources[0].weight = 1  # one may be off
    validate(Config(recipe="test", data=cfg))


def test_what_would_not_be_read_is_refused():
    sums, more = SourceConfig(name="sums"), SourceConfig(name="sums", limit=3)
    assert "several sources are called sums" in refusal(mixture(sums, more))
    assert "data.train.sources sums: has sources of its own" in refusal(
        mixture(SourceConfig(name="sums", sources=[more]), SourceConfig(name="arithmetic"))
    )
    beside = mixture(sums)
    beside.train.path = "rows.jsonl"
    assert "data.train.path=rows.jsonl: not read beside data.train.sources" in refusal(beside)
    assert "data.eval source held: weight=2" in refusal(DataConfig(eval=[SourceConfig("held", weight=2)]))


def test_a_list_on_the_command_line_is_several_sources():
    assert several_sources(["seed=1", "data.train=[{name:a},{name:b}]", "data.train.limit=2"]) == [
        "seed=1",
        "data.train.path=null",
        "data.train.sources=[{name:a},{name:b}]",
        "data.train.limit=2",
    ]
