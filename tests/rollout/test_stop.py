"""What ends a response: the rule for stop texts against vLLM's own, and settings that cannot work."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlvr.config import Config
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import ConfigError
from rlvr.rollout.collect import training_sampling, truncation_note
from rlvr.rollout.stop import Ends, just_completed, stop_check, stop_problems, stop_tokens_problems
from rlvr.validate import validate
from tests.helpers.tokenizers_made_here import byte_tokenizer

pieces = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab", ""]), min_size=1, max_size=12)
texts = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.mark.slow
@given(pieces, texts)
@example(["ab", "ab"], ["abab"])
def test_a_text_ends_a_response_where_vllm_ends_it(parts, stop):
    from vllm.v1.engine.detokenizer import (
        check_stop_strings,  # seconds for every process that only looks for tests
    )

    written = ""
    for part in parts:
        before, written = written, written + part
        found = check_stop_strings(written, len(part), stop, include_in_output=True) if part else None
        assert just_completed(before, written, stop) == (found is not None)


def test_a_half_written_character_is_not_counted_as_written():
    assert just_completed("a\ufffd", "aé", ["é"])
    assert not just_completed("aé", "aéb", ["é"])
    assert just_completed("1", "10", ["10"])


@pytest.mark.parametrize(
    ("text", "stop", "min_tokens", "ends_at"),
    [
        ("first 7+3=10 then 10-5=5", ["10"], 0, "first 7+3=10"),
        ("first 7+3=10 then 10-5=5", ["n 1", "=5"], 0, "first 7+3=10 then 1"),
        ("first 7+3=10 then 10-5=5", ["10"], 9, "first 7+3=10 then 10"),
        ("first 7+3=10 then 10-5=5", ["<|endoftext|>"], 0, "first 7+3=10 then 10-5=5<|endoftext|>"),
        ("first 7+3=10 then 10-5=5", ["x", "=10 then 10-5"], 0, "first 7+3=10 then 10-5"),
        ("first 7+3=10 then 10-5=5", ["so"], 0, None),
    ],
)
def test_a_response_ends_with_the_token_that_completes_a_text(text, stop, min_tokens, ends_at):
    tokenizer = load_tokenizer("builtin")
    ids = [*tokenizer.encode(text), tokenizer.eos_token_id]
    stops = stop_check(Ends(tuple(stop), (), min_tokens), tokenizer)
    assert stops is not None
    lengths = [n for n in range(1, len(ids) + 1) if stops(ids[:n])]
    assert (tokenizer.decode(ids[: lengths[0]]) if lengths else None) == ends_at


def test_a_text_that_the_first_min_tokens_complete_ends_nothing():
    tokenizer = load_tokenizer("builtin")
    ids = tokenizer.encode("7+3=10")
    for least, ends in ((len(ids) - 1, True), (len(ids), False)):
        stops = stop_check(Ends(("10",), (), least), tokenizer)
        assert stops is not None
        assert stops(ids) == ends


@pytest.mark.parametrize("text", ["🙂🙃🙂🙃🙂", "\n\n", "答え", "é"])
def test_a_text_is_found_where_every_byte_is_a_token(text):
    tokenizer = byte_tokenizer()
    written, after = (
        tokenizer.encode(t, add_special_tokens=False) for t in (f"🙃🙂 so 7+3=10 {text}", " yes")
    )
    stops = stop_check(Ends((text,)), tokenizer)
    assert stops is not None
    ids = written + after
    assert [n for n in range(1, len(ids) + 1) if stops(ids[:n])] == [len(written)]  # once, where it is whole


def test_without_texts_nothing_is_looked_for():
    assert stop_check(Ends((), (3,), 2), load_tokenizer("builtin")) is None


def test_training_ends_responses_as_configured_and_says_what_that_leaves_out():
    cfg = Config(recipe="test")
    assert training_sampling(cfg).ends == Ends()
    assert truncation_note(cfg) is None
    cfg.rollout.stop, cfg.rollout.stop_token_ids, cfg.rollout.min_tokens = ["\n\n"], [5], 2
    assert training_sampling(cfg).ends == Ends(("\n\n",), (5,), 2)
    assert "rollout.min_tokens=2" in (truncation_note(cfg) or "")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"stop": ["", "x"]}, r"rollout\.stop: an empty text"),
        ({"min_tokens": 65}, r"rollout\.min_tokens=65: more than rollout\.max_response_tokens=64"),
        ({"min_tokens": -1}, r"rollout\.min_tokens=-1: must be at least 0"),
        ({"min_tokens": 4, "temperature": 0.8}, r"rollout\.min_tokens=4 with rollout\.temperature=0\.8"),
        ({"min_tokens": 4, "top_p": 0.9}, r"rollout\.min_tokens=4 with .*top_p=0\.9"),
        ({"min_tokens": 4, "top_k": 1}, r"rollout\.min_tokens=4 with .*top_k=1"),
    ],
)
def test_what_cannot_work_is_refused_by_name(keys, said):
    cfg = Config(recipe="test")
    for key, value in keys.items():
        setattr(cfg.rollout, key, value)
    with pytest.raises(ConfigError, match=said):
        validate(cfg)


@pytest.mark.parametrize(
    "keys", [{"stop": ["\n\n"]}, {"min_tokens": 64}, {"temperature": 0.8, "top_p": 0.9, "top_k": 5}]
)
def test_what_can_work_is_not_refused(keys):
    cfg = Config(recipe="test")
    for key, value in keys.items():
        setattr(cfg.rollout, key, value)
    assert stop_problems(cfg.rollout) == []


def test_a_correction_needs_the_log_probs_of_what_was_sampled():
    cfg = Config(recipe="test")
    cfg.rollout.min_tokens, cfg.loss.rollout_correction = 4, 2.0
    with pytest.raises(ConfigError, match=r"loss\.rollout_correction: .*min_tokens=0"):
        validate(cfg)


def test_a_stop_token_must_be_one_of_the_vocabulary():
    cfg = Config(recipe="test")
    cfg.rollout.stop_token_ids = [0, 46, 47, -1]
    assert [text.split("token ")[1] for text in stop_tokens_problems(cfg.rollout, 47)] == [
        "47 in the tokenizer's 47",
        "-1 in the tokenizer's 47",
    ]
