"""What ended responses in a run ends them where the policy is used."""

from __future__ import annotations

import json

import pytest
from transformers import AutoTokenizer, GenerationConfig

from rlvr.data.models.end_tokens import add_end_tokens, generation_ends, save_tokenizer
from rlvr.errors import ConfigError
from tests.helpers.tokenizers_made_here import byte_tokenizer


@pytest.mark.parametrize(
    ("there", "ends", "expected"),
    [
        (7, [7], 7),
        (7, [9], [7, 9]),  # a tokenizer that ends otherwise than the base it was made for
        ([7, 8], [8, 9, 9], [7, 8, 9]),
        (None, [9], 9),
    ],
)
def test_end_tokens_are_added_to_those_of_the_model(tmp_path, there, ends, expected):
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"eos_token_id": there, "temperature": 0.6}))
    add_end_tokens(tmp_path, ends)
    assert json.loads(file.read_text()) == {"eos_token_id": expected, "temperature": 0.6}
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == expected


def test_a_file_that_has_them_all_stays_as_it_is(tmp_path):
    file = tmp_path / "generation_config.json"
    file.write_text('{"eos_token_id":  [7, 8]}')
    add_end_tokens(tmp_path, [8, 7])
    assert file.read_text() == '{"eos_token_id":  [7, 8]}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"eos_token_id": 1,}', "is no JSON (Expecting property name"),
        (b'{"eos_token_id": 1, "x": "\xe9"}', "is no JSON ('utf-8' codec"),
        (b"[1]", "is no JSON object; copy or download it again"),
        (
            b'{"eos_token_id": {"a": 1}}',
            "its eos_token_id is {'a': 1}, expected the number of a token or a list",
        ),
        (b'{"eos_token_id": [1, "</s>"]}', "its eos_token_id is [1, '</s>'], expected the number of a token"),
    ],
)
def test_damaged_settings_are_named_and_not_taken_for_none(tmp_path, text, said):
    file = tmp_path / "generation_config.json"
    file.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        generation_ends(str(tmp_path))
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "ends"), [("{}", set()), ('{"eos_token_id": [1, 2]}', {1, 2}), (None, set())]
)
def test_whole_settings_give_their_end_tokens(tmp_path, text, ends):
    if text is not None:
        (tmp_path / "generation_config.json").write_text(text)
    assert generation_ends(str(tmp_path)) == ends


def test_a_model_without_settings_gets_some(tmp_path):
    add_end_tokens(tmp_path, [3, 4])
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"eos_token_id": [3, 4]}


def test_a_policys_tokenizer_is_saved_with_the_end_tokens_of_its_run(tmp_path):
    tokenizer = byte_tokenizer()
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 7}')
    save_tokenizer(tokenizer, tmp_path, [9])
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == [7, tokenizer.eos_token_id, 9]
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (again.get_vocab(), again.eos_token) == (tokenizer.get_vocab(), "</s>")
