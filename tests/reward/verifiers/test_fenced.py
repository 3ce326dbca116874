"""Blocks of backticks in responses as models write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.reward.verifiers.fenced import fenced_blocks


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```sh\na\n```\nb\n```python\nc\n```", [("sh", "a\n"), ("python", "c\n")]),
        ("```\r\na\r\n```\r\n", [("", "a\r\n")]),
        ("So: ```py\nx = 1```", [("py", "x = 1")]),
        ("<answer>```python\na\n```</answer>", [("python", "a\n")]),
        ("```\na\n``` That is all.\n```\nb\n```", [("", "a\n"), ("", "b\n")]),
        ("````md\n```python\na\n```\n````", [("md", "```python\na\n```\n")]),
        ('```json\n{"a": "```"}\n```', [("json", '{"a": "```"}\n')]),
        ("```{.python .numbered}\na\n```", [("python", "a\n")]),
        ("```python:a.py\na\n```", [("python", "a\n")]),
        ("Put it into ``` please, or `x` and ```x```\n```py\na\n```", [("py", "a\n")]),
        ("- ```py\n  a\n\n    b\n  ```", [("py", "a\n\n  b\n")]),
        ("```py\nx = '''\n  \n'''\n```", [("py", "x = '''\n  \n'''\n")]),  # no margin: as it is
        ("```py\nnever closed", []),
        ("", []),
    ],
)
def test_blocks_have_a_language_and_a_content(text, blocks):
    assert [(block.language, block.content) for block in fenced_blocks(text)] == blocks


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "json", "c++"]), st.lists(st.sampled_from(["a", "", "`b`", "x"])))
    )
)
def test_what_is_written_in_blocks_is_read_from_them(blocks):
    text = "\n".join(
        f"Then:\n```{kind}\n" + "".join(f"{line}\n" for line in lines) + "```" for kind, lines in blocks
    )
    assert [(b.language, b.content) for b in fenced_blocks(text)] == [
        (kind, "".join(f"{line}\n" for line in lines)) for kind, lines in blocks
    ]
