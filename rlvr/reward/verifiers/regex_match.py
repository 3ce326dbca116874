"""The verifier of patterns: `reward.verifier=regex`, a regular expression that has to be found in the response.

The pattern, in Python's syntax, is the row's answer, or the column that the option `column` names; with the option
`full=true` it has to match all of the response, white space at its ends aside. What precedes the last `</think>` does
not count. A pattern with nested repetitions may take longer than reward.deadline_seconds, and then counts as timed out.
"""

from __future__ import annotations

import re

from rlvr.reward.example import Example, row_error
from rlvr.reward.extract import final_part
from rlvr.reward.verdict import Outcome, Verdict


def regex(example: Example, response: str, *, column: str | None = None, full: bool = False) -> Verdict:
    """Look for the row's pattern in the response.

    Raises:
        DataError: the row has no pattern, or one that is none.
    """
    pattern = example.answer if column is None else example[column]
    if not isinstance(pattern, str) or not pattern:
        raise row_error(example, f"the pattern is {str(pattern)[:60]!r}: expected a regular expression")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise row_error(example, f"{pattern[:60]!r} is no regular expression: {error}") from error
    text = final_part(response).strip()
    if not text:
        return Verdict("", Outcome.NO_ANSWER, None, pattern, 0.0, "the response is empty")
    found = compiled.fullmatch(text) if full else compiled.search(text)
    if found is None:
        return Verdict("", Outcome.WRONG, text, pattern, 0.0, "the pattern is not found")
    return Verdict("", Outcome.CORRECT, found.group(), pattern, 0.0)
