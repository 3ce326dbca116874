"""The shipped model of both built-in tasks and its tokenizer."""

from __future__ import annotations

import os
import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.data.models.tokenizer import BUILTIN_FOLDERS
from rlvr.data.tasks import arithmetic, instructions
from rlvr.data.tasks.build_base import BuildOptions, build, measure_accuracy, measure_instructions
from rlvr.data.tasks.build_tokenizer import SENTENCE_WORDS, build_tokenizer, word_merges

FOLDER = BUILTIN_FOLDERS["builtin_two_tasks"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


def test_tokenizer_round_trips_every_text_of_both_tasks(tokenizer):
    rng = random.Random(0)
    for index in range(300):
        asked = instructions.train_instructions(0, index)
        problem = arithmetic.train_problem(0, index)
        for question, answer in (
            (asked.question, instructions.mixed_answer(asked, rng, instructions.InstructionStyle())),
            (problem.question, arithmetic.mixed_answer(problem, rng, arithmetic.ArithmeticStyle())),
        ):
            prompt, response = tokenizer(question).input_ids, tokenizer(answer).input_ids
            assert tokenizer.decode(prompt) == question
            assert tokenizer.decode(response) == answer
            assert tokenizer(question + answer).input_ids == prompt + response


def test_a_word_is_one_token_alone_and_after_a_space(tokenizer):
    for word in SENTENCE_WORDS:
        assert len(tokenizer(word).input_ids) == len(tokenizer(f" {word}").input_ids) == 1
    asked = "write 6 words without red, ending in fox:"
    assert tokenizer.convert_ids_to_tokens(tokenizer(asked).input_ids) == [
        *("write", "Ġ", "6", "Ġwords", "Ġwithout", "Ġred", ",", "Ġending", "Ġin", "Ġfox", ":"),
    ]


def test_its_vocabulary_begins_with_that_of_the_first_task(tokenizer):
    first, both = AutoTokenizer.from_pretrained(BUILTIN_FOLDERS["builtin"]), tokenizer.get_vocab()
    assert first.get_vocab().items() <= both.items()
    assert build_tokenizer(2).get_vocab() == both
    assert build_tokenizer(1).get_vocab() == first.get_vocab()
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (first.eos_token_id, first.pad_token_id)


def test_merges_make_words_of_any_words_whole():
    words = ("aab", "abab", "aabab", "b")
    ranks = word_merges(words, [("a", "b")])
    assert len(set(ranks)) == len(ranks)
    assert {"".join(pair) for pair in ranks} >= {*words[:-1], "Ġaab", "Ġb"}


def test_checkpoint_is_small_untied_and_fp32(model, tokenizer):
    assert not model.config.tie_word_embeddings
    assert 0.5e6 <= sum(parameter.numel() for parameter in model.parameters()) <= 0.75e6
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert sum(os.path.getsize(path) for path in FOLDER.iterdir()) <= 3_000_000


@pytest.mark.slow
def test_base_accuracy_leaves_room_to_learn_in_both_tasks(model, tokenizer):
    torch.manual_seed(0)
    assert 0.25 <= measure_instructions(model, tokenizer) <= 0.45
    assert 0.2 <= measure_accuracy(model, tokenizer, arithmetic.held_out(200)).accuracy <= 0.45


@pytest.mark.slow
def test_a_short_build_of_both_tasks_repeats_exactly(tmp_path):
    runs = [
        build(BuildOptions(output=str(tmp_path / name), steps=10, batch=16, tasks=2)) for name in ("a", "b")
    ]
    assert runs[0] == runs[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
