"""Models that cannot be trained are refused by name before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import Cohere2Config, Gemma2Config, LlamaConfig, PhiConfig, PretrainedConfig, T5Config

from rlvr.config import Config
from rlvr.data.models.tokenizer import load_tokenizer
from rlvr.errors import ConfigError
from rlvr.runtime.inputs import read_inputs
from rlvr.runtime.model_checks import ids_beyond, warn_of_chat_template
from tests.helpers.tokenizers_made_here import byte_tokenizer

ROWS = 512


def folder_of(config: PretrainedConfig, folder: Path) -> str:
    """A model without its weights, which nobody has asked for yet."""
    config.save_pretrained(folder)
    load_tokenizer("builtin").save_pretrained(folder)
    (folder / "model.safetensors").touch()
    return str(folder)


def run_with(policy: str, base: str | None = None) -> Config:
    cfg = Config(recipe="test")
    cfg.model.path, cfg.model.base_path = policy, base
    return cfg


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (T5Config(vocab_size=ROWS), "not a causal language model: transformers has none of type t5"),
        (PhiConfig(vocab_size=ROWS, architectures=["PhiForCausalLM"]), "head of PhiForCausalLM has a bias"),
        (Gemma2Config(vocab_size=ROWS), "attn_logit_softcapping"),
        (Cohere2Config(vocab_size=ROWS, sliding_window=64), "vLLM one more.*model.max_length to at most 64"),
        (
            LlamaConfig(vocab_size=ROWS, quantization_config={"quant_method": "gptq", "bits": 4}),
            r"quantised \(gptq\)",
        ),
        (LlamaConfig(vocab_size=8), "its tokenizer has the id 8 .* its head 8 rows"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_by_name(tmp_path, config, said):
    folder = folder_of(config, tmp_path / "model")
    with pytest.raises(ConfigError, match=f"model.path={folder}: .*{said}"):
        read_inputs(run_with(folder))
    good = folder_of(LlamaConfig(vocab_size=ROWS), tmp_path / "good")
    with pytest.raises(ConfigError, match=f"model.base_path={folder}: .*{said}"):
        read_inputs(run_with(good, folder))


def test_a_base_with_another_head_is_refused(tmp_path):
    policy = folder_of(LlamaConfig(vocab_size=ROWS), tmp_path / "policy")
    base = folder_of(LlamaConfig(vocab_size=ROWS + 64), tmp_path / "base")
    with pytest.raises(ConfigError, match=f"{policy} has 512 and .*{base} has 576 words"):
        read_inputs(run_with(policy, base))
    read_inputs(run_with(policy, policy))


def test_special_tokens_that_no_prompt_holds_may_lie_beyond_the_head():
    tokenizer = byte_tokenizer(special=("<image>",))
    rows = tokenizer.convert_tokens_to_ids("<image>")
    assert ids_beyond(tokenizer, rows) is None
    tokenizer.chat_template = "<image>{{ messages }}"
    assert "<image>" in ids_beyond(tokenizer, rows)
    tokenizer.chat_template = None
    tokenizer.add_tokens(["word"])
    assert "'word'" in ids_beyond(tokenizer, rows)
    assert "'</s>'" in ids_beyond(byte_tokenizer(), 257)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "settings", "warned"),
    [
        (CHATML, {}, True),
        (CHATML.replace("<|im_end|>", "</s>"), {}, False),  # the end token itself
        (CHATML.replace("<|im_end|>", ""), {}, False),
        (
            "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}{{ messages[0].content }}",
            {},
            False,
        ),
        (CHATML, {"stop_token_ids": [259]}, False),
        (CHATML, {"stop": ["<|im_end|>"]}, False),
    ],
)
def test_a_chat_template_that_ends_answers_with_a_token_that_ends_nothing(caplog, template, settings, warned):
    tokenizer = byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=template)
    cfg = Config(recipe="test")
    for name, value in settings.items():
        setattr(cfg.rollout, name, value)
    warn_of_chat_template(cfg, tokenizer)
    assert not caplog.records  # a plain prompt has no turns
    cfg.data.template = "chat"
    warn_of_chat_template(cfg, tokenizer)
    said = "ends an answer with '<|im_end|>' (259), which ends no response here"
    assert (said in caplog.text) is warned
    assert ("set rollout.stop_token_ids=[259]" in caplog.text) is warned


@pytest.mark.parametrize(
    ("template", "missing"),
    [
        (CHATML, ""),
        (CHATML.partition("{% if add_generation_prompt")[0], "<|im_start|>assistant"),
        (  # as Mistral has it: what ends the question opens the answer
            "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}"
            "</s>{% endif %}{% endfor %}",
            "",
        ),
        (
            "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}{{ messages[0].content }}",
            "",
        ),
    ],
)
def test_a_chat_template_that_never_opens_an_answer_is_warned_about(caplog, template, missing):
    cfg = Config(recipe="test")
    cfg.data.template = "chat"
    warn_of_chat_template(cfg, byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=template))
    said = f"writes {missing!r} before an answer, but not at the end of a prompt"
    assert (said in caplog.text) is bool(missing)
    assert ("before an answer" in caplog.text) is bool(missing)


def test_the_end_tokens_of_a_models_settings_of_generation_count(tmp_path, caplog):
    cfg = run_with(folder_of(LlamaConfig(vocab_size=ROWS), tmp_path))
    cfg.data.template = "chat"
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 259]}')
    warn_of_chat_template(cfg, byte_tokenizer(special=("<|im_start|>", "<|im_end|>"), chat_template=CHATML))
    assert not [record for record in caplog.records if record.name.startswith("rlvr")]


def test_a_chat_template_that_writes_todays_date_is_warned_about_unless_the_date_is_given(caplog):
    dated = "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    tokenizer = byte_tokenizer(
        chat_template=dated + "{{ date_string }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    cfg = Config(recipe="test")
    cfg.data.template = "chat"
    cfg.data.chat_template_kwargs = {"date_string": "26 Jul 2024"}
    warn_of_chat_template(cfg, tokenizer)
    assert not caplog.records
    cfg.data.chat_template_kwargs = {}
    warn_of_chat_template(cfg, tokenizer)
    assert "writes today's date into every prompt" in caplog.text
