"""Tables of text: a column is its head and what it shows, and Markdown keeps a bar inside its cell."""

from __future__ import annotations

from rlvr.analysis.tables import TextTable, text_table


def test_a_column_shows_every_record_and_heads_may_repeat() -> None:
    made = text_table(
        "Squares.", [2, 3], ("n", str), ("square", lambda n: str(n * n)), ("n", lambda n: f"{n}!")
    )
    assert made == TextTable(("n", "square", "n"), (("2", "4", "2!"), ("3", "9", "3!")), "Squares.")


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert TextTable(("a", "b"), (("x|y", "1"),), "Said.").as_markdown() == [
        "Said.",
        "",
        "| a | b |",
        "| --- | --- |",
        "| x\\|y | 1 |",
    ]
