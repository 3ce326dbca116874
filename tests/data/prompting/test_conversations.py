"""Prompts that are lists of messages, text that is no Unicode, templates that raise, and files with another's name."""

from __future__ import annotations

import json

import pytest

from rlvr.config import DataConfig, SourceConfig
from rlvr.data.catalog import DAPO_PREFIX, DAPO_SUFFIX, as_text
from rlvr.data.prompting.templates import render_messages, template_text, tokenize
from rlvr.data.sources import load_problems
from rlvr.data.stream import build_eval_sets, build_training_stream
from rlvr.errors import DataError
from rlvr.types import Message, Problem
from tests.helpers.tokenizers_made_here import byte_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMMING = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% if not loop.last %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
SYSTEM = {"role": "system", "content": "Answer in hexadecimal only."}
USER = {"role": "user", "content": "What is 1+1?"}
ASSISTANT = {"role": "assistant", "content": "2"}
THINK = {"role": "assistant", "content": "<think>\n"}


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def stream(path, tokenizer, template="chat", **data):
    cfg = DataConfig(
        train=SourceConfig(name="own", path=path), template=template, max_prompt_tokens=500, **data
    )
    cfg.eval = [SourceConfig(name="own_eval", path=path)]
    return build_training_stream(cfg, tokenizer, seed=1, eval_sets=build_eval_sets(cfg, tokenizer))


@pytest.mark.parametrize(
    "messages",
    [[SYSTEM, USER], [USER, ASSISTANT, {"role": "user", "content": "And plus 1?"}], [SYSTEM, USER, THINK]],
)
@pytest.mark.parametrize("template", [CHATML, TRIMMING])
def test_conversations_pass_whole(tmp_path, messages, template):
    tokenizer = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=template)
    path = write(tmp_path / "rows.jsonl", [{"prompt": messages, "answer": "2"}])
    [prompt] = stream(path, tokenizer, on_overlap="warn").take(0, 1)
    text = tokenizer.decode(prompt.token_ids)
    for message in messages:
        assert message["content"] in text  # the prefill with its last newline
    goes_on = messages[-1]["role"] == "assistant"
    assert text.endswith("<think>\n") if goes_on else "assistant" in text[-12:]
    assert text.count("<think>") == goes_on
    if template == CHATML:  # what transformers itself makes of the list
        expected = tokenizer.apply_chat_template(
            messages, add_generation_prompt=not goes_on, continue_final_message=goes_on, return_dict=False
        )
        assert list(prompt.token_ids) == expected
    assert prompt.problem.question == "\n\n".join(f"{m['role']}: {m['content']}" for m in messages)


def test_a_single_user_message_is_its_text_in_every_template(tmp_path):
    tokenizer = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=CHATML)
    path = write(tmp_path / "rows.jsonl", [{"prompt": [USER], "answer": "2"}])
    for template in ("plain", "chat", "qwen_math", "dapo_plain", "dapo"):
        [prompt] = stream(path, tokenizer, template).take(0, 1)
        assert prompt.problem.question == "What is 1+1?"
        assert "What is 1+1?" in tokenizer.decode(prompt.token_ids)


def test_where_a_conversation_cannot_pass_the_row_is_refused(tmp_path):
    tokenizer = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=CHATML)
    path = write(
        tmp_path / "rows.jsonl",
        [{"prompt": [USER], "answer": "2"}, {"prompt": [SYSTEM, USER], "answer": "2"}],
    )
    with pytest.raises(
        DataError, match=r"row 2, column .*conversation \(system \+ user\).*data.template=chat"
    ):
        stream(path, tokenizer, "plain")
    assert stream(path, tokenizer, "plain", on_bad_row="skip").size == 1


def test_dapos_own_rows_keep_their_messages_too(tmp_path):
    row = {"prompt": [SYSTEM, USER], "reward_model": {"ground_truth": "2"}, "extra_info": {"index": 1}}
    path = write(tmp_path / "dapo.jsonl", [row])
    [problem] = load_problems(SourceConfig(name="dapo_math_17k", path=path)).problems
    assert problem.messages == (Message("system", SYSTEM["content"]), Message("user", USER["content"]))
    with pytest.raises(DataError, match="conversation"):
        load_problems(SourceConfig(name="dapo_math_17k", path=path), conversations=False)


def test_rows_of_other_frameworks_load_under_ones_own_label(tmp_path):
    row = {
        "prompt": [USER],
        "reward_model": {"ground_truth": "2", "style": "rule"},
        "extra_info": {"index": 1},
    }
    path = write(tmp_path / "verl.jsonl", [row])
    cfg = SourceConfig(
        name="mine", path=path, question="prompt", answer="reward_model.ground_truth", id="extra_info.index"
    )
    [problem] = load_problems(cfg).problems
    assert (problem.id, problem.question, problem.answer) == ("mine/1", "What is 1+1?", "2")


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ([{"content": "no role"}], "no message with 'role'"),
        (["text"], "no message with 'role'"),
        ([{"role": "user", "content": None}], "is missing"),
        ([{"role": "user", "content": [{"type": "image"}]}], "no text"),
        ([USER, {**ASSISTANT, "tool_calls": [{"function": {"name": "f"}}]}], "message 2 with 'tool_calls'"),
        ([USER, {**ASSISTANT, "reasoning_content": "It is easy."}], "message 2 with 'reasoning_content'"),
        ([], "is empty"),
        ([{"role": "user", "content": " "}], "is empty"),
    ],
)
def test_lists_that_are_no_conversation(tmp_path, prompt, reason):
    path = write(tmp_path / "rows.jsonl", [{"prompt": prompt, "answer": "2"}])
    with pytest.raises(DataError, match=rf"row 1, column 'prompt': .*{reason}"):
        load_problems(SourceConfig(name="own", path=path))


def test_what_a_message_could_have_but_has_not_is_no_reason_to_refuse_it(tmp_path):
    messages = [
        SYSTEM,
        {**USER, "tool_calls": None, "reasoning_content": "", "name": "Ann"},
    ]  # as parquet fills up
    path = write(tmp_path / "rows.jsonl", [{"prompt": messages, "answer": "2"}])
    [problem] = load_problems(SourceConfig(name="own", path=path)).problems
    assert problem.messages == (Message("system", SYSTEM["content"]), Message("user", USER["content"]))


@pytest.mark.parametrize(("role", "usual"), [("User", "user"), ("human", "user"), ("gpt ", "assistant")])
def test_a_role_in_another_spelling_is_refused_unless_the_template_knows_it(role, usual):
    messages = [Message("system", "Be brief."), Message(role, "1+1?"), Message("user", "Well?")]
    with pytest.raises(DataError, match=rf"message 2 has the role '{role}'.*write '{usual}'"):
        render_messages(messages, byte_tokenizer(chat_template=CHATML))
    knows = byte_tokenizer(chat_template=f"{{# {role} #}}{CHATML}")
    assert f"<|im_start|>{role}\n1+1?" in render_messages(messages, knows)


HALF = '{"question": "what is \\ud835 plus 2?", "answer": "4"}'


@pytest.mark.parametrize(
    "row",
    [
        HALF,
        '{"question": "q", "answer": "\\ud835"}',
        '{"question": "q", "answer": "1", "id": "\\udc00"}',
        '{"prompt": [{"role": "user", "content": "\\ud835"}, {"role": "assistant", "content": "a"}], "answer": "1"}',
    ],
)
def test_half_characters_are_bad_rows(tmp_path, row):
    path = write(tmp_path / "rows.jsonl", [{"question": "1+1=?", "answer": "2"}, row])
    with pytest.raises(DataError, match=r"row 2.*half a character"):
        load_problems(SourceConfig(name="own", path=path))
    assert len(load_problems(SourceConfig(name="own", path=path), on_bad_row="skip").problems) == 1


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if messages %}", "TemplateSyntaxError"),
        ("{{ messages[0]['content'] + 1 }}", "TypeError"),
        ("{{ messages[0].nothing.content }}", "UndefinedError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    ],
)
def test_templates_that_raise_are_named_with_their_words(template, words):
    tokenizer = byte_tokenizer(chat_template=template)
    with pytest.raises(DataError, match=rf"(?s)data\.template.*{words}"):
        tokenize(Problem("p/1", "q", "1", "p"), "chat", tokenizer)


def test_of_a_message_that_is_no_text_its_place_is_told(tmp_path):
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": None}]
    path = write(tmp_path / "rows.jsonl", [{"prompt": asked, "answer": "1"}])
    with pytest.raises(DataError, match=r"row 1, column 'prompt': has a message 2 whose content is missing"):
        load_problems(SourceConfig(name="own", path=path))


def test_of_several_templates_the_default_one_is_read():
    tokenizer = byte_tokenizer(chat_template={"default": CHATML, "tool_use": "tools"})
    assert template_text(tokenizer, {}) == CHATML
    assert template_text(byte_tokenizer(chat_template={"tool_use": "tools"}), {}) == ""


def test_a_template_that_drops_a_message_is_refused():
    tokenizer = byte_tokenizer(
        chat_template="{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
    )
    with pytest.raises(DataError, match="leaves out the system message"):
        render_messages((Message("system", "Be brief."), Message("user", "q")), tokenizer)


def test_a_template_may_drop_what_the_assistant_thought_before():
    """Qwen3's does so; questions are whole all the same."""
    tokenizer = byte_tokenizer(
        chat_template="{% for m in messages %}{{ m.content.split('</think>')[-1] }}|{% endfor %}"
    )
    turns = (Message("user", "q"), Message("assistant", "<think>t</think>a"), Message("user", "r"))
    assert render_messages(turns, tokenizer) == "q|a|r|"


def test_the_last_newline_of_a_rendered_prompt_stays(tmp_path):
    tokenizer = byte_tokenizer()
    text = "Question: 1+1?\nAnswer:\n"
    path = write(tmp_path / "rows.jsonl", [{"prompt": text, "answer": "2"}])
    [prompt] = stream(path, tokenizer, "plain").take(0, 1)
    assert tokenizer.decode(prompt.token_ids) == text
    chatml = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=CHATML)
    for template in ("chat", "qwen_math"):
        ids = tokenize(Problem("p/1", "q", "1", "p"), template, chatml).token_ids
        assert chatml.decode(ids).endswith("<|im_start|>assistant\n")


def test_a_prompt_rendered_before_has_one_bos():
    tokenizer = byte_tokenizer(post="<s> $A")
    ids = tokenize(Problem("p/1", "<s>q", "1", "p"), "plain", tokenizer).token_ids
    assert ids.count(tokenizer.bos_token_id) == 1
    tokenizer.bos_token = None
    ids = tokenize(Problem("p/2", "None of these?", "1", "p"), "plain", tokenizer).token_ids
    assert tokenizer.decode(ids) == "<s>None of these?"


@pytest.mark.parametrize(
    ("name", "row", "answer"),
    [
        ("gsm8k", {"question": "q", "answer": "18"}, "18"),
        ("math", {"question": "q", "answer": "2"}, "2"),
        ("math", {"problem": "q", "solution": "two", "answer": "2"}, "2"),
        ("dapo_math_17k", {"question": "q", "answer": "34"}, "34"),
        ("olympiadbench", {"question": "q", "answer": "7"}, "7"),
    ],
)
def test_ones_own_file_may_have_the_name_of_a_known_set(tmp_path, caplog, name, row, answer):
    path = write(tmp_path / "rows.jsonl", [row])
    [problem] = load_problems(SourceConfig(name=name, path=path)).problems
    assert (problem.question, problem.answer) == ("q", answer)
    assert "no copy of that data set" in caplog.text


def test_named_columns_are_read_as_they_stand(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"problem": "q", "solution": r"\boxed{1}", "result": "no box 2"}])
    [problem] = load_problems(SourceConfig(name="math", path=path, answer="result")).problems
    assert problem.answer == "no box 2"
    [problem] = load_problems(SourceConfig(name="math", path=path)).problems
    assert problem.answer == "1"


def test_a_known_sets_own_columns_are_read_in_its_way_though_they_are_named(tmp_path):
    asked = [{"role": "user", "content": f"{DAPO_PREFIX}q{DAPO_SUFFIX}"}]
    path = write(tmp_path / "rows.jsonl", [{"prompt": asked, "reward_model": {"ground_truth": "1"}}])
    [problem] = load_problems(SourceConfig(name="dapo_math_17k", path=path, question="prompt")).problems
    assert problem.question == "q"
    path = write(tmp_path / "math.jsonl", [{"problem": "q", "solution": r"so \boxed{1}"}])
    [problem] = load_problems(SourceConfig(name="math", path=path, answer="solution")).problems
    assert problem.answer == "1"


def test_a_copy_with_a_bad_row_stays_a_copy(tmp_path):
    rows = [{"question": "q", "answer": "so\n#### 1"}, {"question": "q2", "answer": "no mark"}]
    with pytest.raises(DataError, match=r"row 2.*####"):
        load_problems(SourceConfig(name="gsm8k", path=write(tmp_path / "rows.jsonl", rows)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.00001, "0.00001"),
        (1e-7, "0.0000001"),
        (1.5e16, "15000000000000000"),
        (2.5e-3, "0.0025"),
        (-1e-5, "-0.00001"),
    ],
)
def test_numbers_have_no_exponent(number, text):
    assert as_text(number) == text
