"""Words that answers are: those that say that there is no solution, yes or no, and one for another; pure text."""

import re

NO_SOLUTION = frozenset(
    {
        "no solution",
        "no solutions",
        "no real solution",
        "no real solutions",
        "none",
        "empty set",
        "the empty set",
        "no solutions exist",
        "no solution exists",
        "there is no solution",
        "there are no solutions",
        "no real roots",
        "no such values exist",
    }
)
ASSENT = frozenset({"yes", "no", "true", "false"})
TAKEN_BACK = re.compile(
    r"\b(?:yes|no|true|false|if|unless|when|except|but|maybe|perhaps|otherwise|wait|actually|or|sometimes)\b"
)
SAME_WORDS = {
    "dne": "does not exist", "infinitely many solutions": "infinitely many",
    "mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday", "thurs": "thursday",
    "fri": "friday", "sat": "saturday", "sun": "sunday",
    "no solutions": "no solution", "no real solutions": "no real solution",
}  # fmt: skip
# Words about a formula, which math-verify leaves out.
DOUBTED = re.compile(
    r"\b(?:is|are|was|were) (?:not (?:right|correct|true)|wrong|incorrect|false)\b|\bis not the answer\b|"
    r"\b(?:maybe|perhaps|possibly)\b|\bor (?:more|less|fewer|greater|higher|lower|above|below)\b"
)
