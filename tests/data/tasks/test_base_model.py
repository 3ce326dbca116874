"""The shipped base model of the built-in task, its tokenizer, and the command that rebuilds them."""

import os
import random
import re

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.data.models.tokenizer import BUILTIN_FOLDER
from rlvr.data.tasks.arithmetic import ArithmeticStyle, held_out, mixed_answer, step_by_step, train_problem
from rlvr.data.tasks.build_base import (
    BuildOptions,
    build,
    measure_accuracy,
    parse_options,
    sample_responses,
)
from rlvr.data.tasks.build_tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(BUILTIN_FOLDER)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(BUILTIN_FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def accuracy(model, tokenizer):
    torch.manual_seed(0)
    return measure_accuracy(model, tokenizer, held_out(200), samples=4)


def test_tokenizer_round_trips_every_text_of_the_task(tokenizer):
    rng = random.Random(0)
    style = ArithmeticStyle(slip=0.2, stop_early=0.2, no_box=0.2)
    for index in range(500):
        problem = train_problem(0, index)
        for text in (problem.question, mixed_answer(problem, rng, style), step_by_step(problem, rng)):
            assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_question_and_response_tokenise_apart_as_they_do_together(tokenizer):
    for index in range(200):
        problem = train_problem(0, index)
        answer = step_by_step(problem, random.Random(0))
        together = tokenizer(problem.question + answer).input_ids
        assert together == tokenizer(problem.question).input_ids + tokenizer(answer).input_ids


def test_tokenizer_gives_one_token_a_word_and_a_digit(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(r"first 7+3=10 so \boxed{10}").input_ids)
    assert tokens == ["first", "Ġ", "7", "+", "3", "=", "1", "0", "Ġso", "Ġ\\", "boxed", "{", "1", "0", "}"]
    assert 32 <= len(tokenizer) <= 64


def test_saved_tokenizer_is_the_one_that_the_build_writes(tokenizer, tmp_path):
    build_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((BUILTIN_FOLDER / "config.json").read_text())
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_end_and_padding_tokens_agree_everywhere(model, tokenizer):
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    for config in (model.config, model.generation_config):
        assert config.eos_token_id == tokenizer.eos_token_id
        assert config.pad_token_id == tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer)


def test_checkpoint_is_small_untied_and_fp32(model):
    assert model.config.architectures == ["Qwen2ForCausalLM"]
    assert not model.config.tie_word_embeddings
    assert model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()
    assert 0.5e6 <= sum(parameter.numel() for parameter in model.parameters()) <= 1.5e6
    assert model.config.max_position_embeddings >= 256
    assert sum(os.path.getsize(path) for path in BUILTIN_FOLDER.iterdir()) <= 3_000_000


@pytest.mark.slow
def test_base_accuracy_leaves_room_to_learn(accuracy):
    assert 0.25 <= accuracy.accuracy <= 0.45


@pytest.mark.slow
def test_base_guesses_mostly_wrong_and_works_mostly_right(accuracy):
    assert 0.33 <= accuracy.step_by_step <= 0.47
    assert accuracy.step_by_step_accuracy >= 0.5
    assert accuracy.quick_accuracy <= 0.25
    assert accuracy.mean_tokens < 25


@pytest.mark.slow
def test_greedy_work_is_nearly_always_right(model, tokenizer):
    """The skill is there: told to work step by step, the most likely tokens give the right answer."""
    problems = held_out(200)
    prompts = [problem.question + "first" for problem in problems]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    tokens = model.generate(
        **inputs, max_new_tokens=64, do_sample=False, temperature=None, top_p=None, top_k=None
    )
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    right = [re.search(r"boxed\{(\d+)\}", text) for text in texts]
    share = sum(m is not None and m[1] == p.answer for m, p in zip(right, problems, strict=True)) / len(
        problems
    )
    assert share >= 0.95


@pytest.mark.slow
def test_sampled_responses_end_within_the_budget(model, tokenizer):
    torch.manual_seed(1)
    responses = sample_responses(model, tokenizer, [p.question for p in held_out(50)], samples=4)
    lengths = [len(tokenizer(text).input_ids) for texts in responses for text in texts]
    assert [len(texts) for texts in responses] == [4] * 50
    assert max(lengths) < 64


def test_options_name_what_is_wrong():
    assert parse_options(["output=/tmp/x", "steps=3", "learning_rate=1e-4"]).learning_rate == 1e-4
    with pytest.raises(ValueError, match="no output folder"):
        parse_options(["steps=3"])
    with pytest.raises(ValueError, match="'step=3'"):
        parse_options(["output=/tmp/x", "step=3"])


@pytest.mark.slow
def test_a_short_build_learns_the_form_of_answers_and_repeats_exactly(tmp_path):
    runs = [build(BuildOptions(output=str(tmp_path / name), steps=40, batch=64)) for name in ("a", "b")]
    assert runs[0] == runs[1]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    assert AutoTokenizer.from_pretrained(tmp_path / "a").get_vocab() == build_tokenizer().get_vocab()
    assert 0 < runs[0].mean_tokens < 64
