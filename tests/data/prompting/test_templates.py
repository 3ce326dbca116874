"""Prompt templates, with small tokenizers built here."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlvr.data.prompting.templates import TEMPLATES, PromptForm, Shown, prompt_text, render, tokenize
from rlvr.errors import ConfigError, DataError
from rlvr.types import Message, Problem
from tests.helpers.tokenizers_made_here import byte_tokenizer

QUESTION = "What is $1+1$?"
CHAT = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def problem(question=QUESTION):
    return Problem(id="p/1", question=question, answer="2", source="p")


def test_plain_is_the_question_itself():
    tokenizer = byte_tokenizer()
    assert render("plain", QUESTION, tokenizer) == QUESTION
    prompt = tokenize(problem(), "plain", tokenizer)
    assert tokenizer.decode(prompt.token_ids) == QUESTION
    assert prompt.problem == problem()


def test_dapo_is_the_published_prompt():
    assert render("dapo_plain", QUESTION, byte_tokenizer()) == (
        "Solve the following math problem step by step. The last line of your response should be of the form "
        "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
        "What is $1+1$?\n\n"
        'Remember to put your answer on its own line after "Answer:".'
    )


def test_chat_templates_wrap_the_question_and_open_the_answer():
    tokenizer = byte_tokenizer(chat_template=CHAT)
    assert render("chat", QUESTION, tokenizer) == f"<s><user>{QUESTION}<assistant>"
    dapo = render("dapo", QUESTION, tokenizer)
    assert dapo == f"<s><user>{render('dapo_plain', QUESTION, tokenizer)}<assistant>"


def test_qwen_math_is_the_published_prompt():
    tokenizer = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"))
    text = render("qwen_math", QUESTION, tokenizer)
    assert text == (
        "<|im_start|>system\n"
        "Please reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\nWhat is $1+1$?<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenize(problem(), "qwen_math", tokenizer).token_ids
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 3


@pytest.mark.parametrize("template", [*TEMPLATES, "Q: {question}", "chat:Q: {question}"])
def test_there_is_exactly_one_bos_where_the_tokenizer_adds_one(template):
    tokenizer = byte_tokenizer(post="<s> $A", special=("<|im_start|>", "<|im_end|>"), chat_template=CHAT)
    ids = tokenize(problem(), template, tokenizer).token_ids
    expected = 0 if template == "qwen_math" else 1  # ChatML has none
    assert ids.count(tokenizer.bos_token_id) == expected


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_question_alone_is_what_the_template_makes_of_it(template):
    tokenizer = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=CHAT)
    text = tokenizer.decode(tokenize(problem(), template, tokenizer).token_ids)
    assert text == render(template, QUESTION, tokenizer)


def test_examples_stand_before_the_question_as_text_or_as_turns():
    examples = (Shown(problem("1+2="), "3"), Shown(problem("2+2=\n"), "4"))
    text = prompt_text(problem("3+3="), PromptForm("plain", examples=examples), byte_tokenizer())
    assert text == "1+2= 3\n\n2+2=\n4\n\n3+3="
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    talk = Problem("p/2", "user: a ...", "d", "p", turns)
    form = PromptForm("dapo", examples=(Shown(talk, "d"), *examples[:1]))
    asked, shown = (render("dapo_plain", question, byte_tokenizer()) for question in ("3+3=", "1+2="))
    text = prompt_text(problem("3+3="), form, byte_tokenizer(chat_template=CHAT))
    assert text == (
        f"<s><user>a<assistant>b<user>c<assistant>d<user>{shown}<assistant>3<user>{asked}<assistant>"
    )


@pytest.mark.parametrize("template", ["chat", "dapo", "chat:Q: {question}"])
def test_a_chat_template_without_a_bos_gets_none(template):
    tokenizer = byte_tokenizer(post="<s> $A", chat_template=CHAT.removeprefix("{{ bos_token }}"))
    assert tokenizer.bos_token_id not in tokenize(problem(), template, tokenizer).token_ids


def test_what_the_tokenizer_lacks_is_said():
    tokenizer = byte_tokenizer()
    with pytest.raises(DataError, match="no chat template"):
        render("chat", QUESTION, tokenizer)
    with pytest.raises(DataError, match="no chat template"):
        render("dapo", QUESTION, tokenizer)
    with pytest.raises(DataError, match=r"<\|im_start\|>"):
        render("qwen_math", QUESTION, tokenizer)


def test_unknown_template_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"data\.template=chatty: unknown; use one of plain, chat.* of your own"
    ):
        render("chatty", QUESTION, byte_tokenizer())


def test_a_prompt_that_ends_with_the_end_token_is_refused():
    with pytest.raises(DataError, match="add_eos_token"):
        tokenize(problem(), "plain", byte_tokenizer(post="<s> $A </s>"))


def test_a_prompt_that_the_vocabulary_does_not_cover_is_refused():
    """A byte-level BPE drops the bytes that it has no token for without a word."""
    inner = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate("0123456789+-=?")}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    assert tokenize(problem("1+1=?"), "plain", tokenizer).token_ids
    with pytest.raises(DataError, match=r"p/1: .* loses \d+% of the text 'What is 1\+1"):
        tokenize(problem("What is 1+1?"), "plain", tokenizer)


def test_a_prompt_without_tokens_is_refused():
    with pytest.raises(DataError, match=r"p/1: no tokens"):
        tokenize(problem(""), "plain", byte_tokenizer())


def test_a_template_may_end_with_the_end_token_itself():
    tokenizer = byte_tokenizer(chat_template="{{ messages[0].content }}</s>")
    assert tokenize(problem(), "chat", tokenizer).token_ids[-1] == tokenizer.eos_token_id
