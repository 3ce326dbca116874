"""Model paths and tokenizers, saved to disk and loaded as a run does."""

import json
import logging
import shutil

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rlvr.data.models.tokenizer import BUILTIN_FOLDER, load_tokenizer, model_folder
from rlvr.errors import DataError


def saved(folder, **special):
    vocabulary = {"<s>": 0, "</s>": 1, "<pad>": 2, "1": 3, "+": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return str(folder)


def test_a_tokenizer_without_padding_token_pads_with_its_end_token(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="rlvr")
    tokenizer = load_tokenizer(saved(tmp_path, eos_token="</s>"))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1
    assert "padding with its end token '</s>'" in caplog.text


def test_a_padding_token_is_kept(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="rlvr")
    tokenizer = load_tokenizer(saved(tmp_path, eos_token="</s>", pad_token="<pad>"))
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (2, 1)
    assert not [record for record in caplog.records if record.name.startswith("rlvr")]


def test_a_tokenizer_without_end_token_is_refused(tmp_path):
    with pytest.raises(DataError, match="no end token"):
        load_tokenizer(saved(tmp_path))


def test_a_tokenizer_that_transformers_rebuilds_differently_is_warned_about(tmp_path, caplog):
    folder = saved(tmp_path, eos_token="</s>", unk_token="<s>")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "GPT2Tokenizer", "eos_token": "</s>"}'
    )
    load_tokenizer(folder)
    assert "the tokenizer that transformers builds" in caplog.text


@pytest.mark.parametrize(
    "path", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "a/b/c", "runs\\x", "a/", ""]
)
def test_a_local_path_that_does_not_exist_is_refused(path):
    with pytest.raises(DataError, match=r"does not exist.*builtin"):
        model_folder(path)


def test_a_relative_path_under_an_existing_folder_is_not_taken_for_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(DataError, match="does not exist"):
        model_folder("runs/policy")
    shutil.copytree(BUILTIN_FOLDER, tmp_path / "runs" / "policy")
    assert model_folder("runs/policy") == str(tmp_path / "runs" / "policy")  # actors may run elsewhere


@pytest.mark.parametrize(
    "name", ["gpt2", "Qwen/Qwen2.5-Math-1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"]
)
def test_hub_names_pass(name):
    assert model_folder(name) == name


def test_the_built_in_model(tmp_path):
    if not (BUILTIN_FOLDER / "config.json").is_file():
        with pytest.raises(DataError, match="reinstall"):
            model_folder("builtin")
        return
    tokenizer = load_tokenizer("builtin")
    text = r"7+3-5=? first 7+3=10 then 10-5=5 so \boxed{5}"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_another_chat_template_goes_with_the_tokenizer(tmp_path):
    (tmp_path / "own.jinja").write_text("{{ messages[0].content }}!")
    load_tokenizer("builtin", chat_template=str(tmp_path / "own.jinja")).save_pretrained(tmp_path / "saved")
    turn = [{"role": "user", "content": "7+3=?"}]
    assert load_tokenizer(str(tmp_path / "saved")).apply_chat_template(turn, tokenize=False) == "7+3=?!"
    with pytest.raises(DataError, match=r"data\.chat_template=.*gone\.jinja: cannot be read"):
        load_tokenizer("builtin", chat_template=str(tmp_path / "gone.jinja"))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "tokenizer.json",
            '{"model": {"type": "Nope"}}',
            "cannot be loaded .*files that belong to the model",
        ),
        ("tokenizer_config.json", '{"extra_special_tokens": "x"}', "cannot be loaded .TypeError: .*list"),
        ("config.json", '{"dtype": "float8_e9"}', "cannot be loaded .AttributeError"),
    ],
)
def test_a_tokenizer_that_the_libraries_cannot_read_is_named_with_their_words(tmp_path, file, content, said):
    shutil.copytree(BUILTIN_FOLDER, tmp_path / "model")
    whole = json.loads((tmp_path / "model" / file).read_text())
    (tmp_path / "model" / file).write_text(json.dumps(whole | json.loads(content)))
    with pytest.raises(DataError, match=said):
        load_tokenizer(str(tmp_path / "model"))


def test_a_tokenizer_with_code_of_its_own_says_which_key_lets_it_run(monkeypatch):
    def refused(*args, **kwargs):
        raise ValueError("contains custom code ... Please pass the argument `trust_remote_code=True`")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", refused)
    with pytest.raises(DataError, match=r"'builtin' cannot be loaded .*; set model\.trust_remote_code=true"):
        load_tokenizer("builtin")
