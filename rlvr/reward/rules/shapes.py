r"""Vectors, intervals and residues in other notations than the gold answer's, such as a column: pure text."""

import re

from rlvr.reward.rules.named import split_list

_COLUMN = re.compile(r"\\begin\{([pb]?matrix)\}([^&]*)\\end\{\1\}")
_ANGLES = re.compile(r"\\langle(?![A-Za-z])(.*)\\rangle")
_IN_PARENTHESES = re.compile(r"\((.*)\)")
_NAMED_POINT = re.compile(
    r"[A-Z]\s*=?\s*(\(.*\))|(\(.*\))\s*\^\s*\{?\s*(?:T|\\top|\\intercal)\s*\}?|\\\{\s*(\(.*\))\s*\\\}"
)
_ONE_TUPLE = re.compile(r"\\\{\s*(\([^()]*\))\s*\\\}")
_ROWS = re.compile(r"^\[\s*(\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])+)\s*\]$")
_SEMICOLON = re.compile(r"(?<=[\[\](])([^\[\](),;]+);([^\[\](),;]+)(?=[\[\])])")
_CALCULATOR = re.compile(r"\[\s*([^\[\](){};]+(?:;[^\[\](){};]+)+)\]")  # `[1 2; 3 4]`
_POINTED = re.compile(r"<\s*([^<>=]+(?:,[^<>=]+)+)>")
_ROW_TURNED = re.compile(r"\[([^\[\];]+)\]\s*\^\s*\{?\s*(?:T|\\top|\\intercal)\s*\}?")
_ALONG = re.compile(
    r"([+-]?)\s*([0-9./]*|\\[dt]?frac\{[0-9]+\}\{[0-9]+\}|\\sqrt\{[0-9]+\})\s*([ijk])(?![A-Za-z])\s*"
)
_BARE = re.compile(r"[^=<>()\[\]{}|]*(?:\{[^=<>()\[\]|]*\}[^=<>()\[\]{}|]*)*")
_NEITHER = re.compile(r"^[(\[{]|^\\\{|[<>=∣|]|\\(?:l|g|n|in|not|cup|cap|mathbb|infty)[a-z]*(?![A-Za-z])")
_OUTWARD = re.compile(r"([\[\]])([^\[\](),]+),([^\[\](),]+)([\[\]])")
_SIGN = re.compile(r"\\[A-Za-z]+|[0-9.]+|\S")
_ONE_BRACED = re.compile(r"([\^_])\s*\{\s*([0-9A-Za-z])\s*\}(?!\s*[0-9A-Za-z])")
_RESIDUE = re.compile(
    r"(?:[a-z]\s*\\equiv\s*)?([^=\\]+?)\s*(?:\\pmod\s*\{?\s*[0-9]+\s*\}?|\(\\?(?:bmod|mod) [0-9]+\))"
)


def in_one_shape(gold: str, answer: str) -> tuple[str, str]:
    """Both as tuples where the gold answer is a vector or a tuple and the answer writes one in another way."""
    gold, answer = (_SEMICOLON.sub(r"\1,\2", text) for text in (gold, answer))
    if (alone := _ONE_TUPLE.fullmatch(gold)) and len(split_list(alone[1])) == 1:
        gold = alone[1]
    if gold.startswith("\\begin"):
        answer = _ROWS.sub(_matrix, _CALCULATOR.sub(_calculator_matrix, answer))
        answer = _ROW_TURNED.sub(r"(\1)", answer)
    if gold.startswith(("(", "\\begin", "\\langle")):
        answer = _along_axes(answer, gold) or _POINTED.sub(r"(\1)", answer)
    if (
        gold.startswith(("(", "\\begin"))
        and (point := _NAMED_POINT.fullmatch(answer))
        and len(split_list(answer)) == 1
    ):
        answer = next(filter(None, point.groups()))
    golds, answers = _entries(gold), _entries(answer)
    if golds is None:
        residue = _RESIDUE.fullmatch(gold)
        return (residue[1], answer) if residue and "mod" not in answer else (gold, answer)
    is_tuple = gold.startswith("(")
    if answers is None and _BARE.fullmatch(answer):  # `2, 1` has an order beside `(1,2)`
        answers = split_list(answer)
    if answers is None or len(answers) < 2 or (is_tuple and answer.startswith("(")):
        return gold, answer
    return f"({', '.join(golds)})", f"({', '.join(answers)})"


def same_formula_signs(gold: str, answer: str) -> bool:
    """Whether two formulas differ in spaces and in braces around one index or exponent only."""
    if not any(sign in gold for sign in "\\^_"):
        return False
    signs = [_SIGN.findall(_ONE_BRACED.sub(r"\1\2", text)) for text in (gold, answer)]
    return signs[0] == signs[1]


def _matrix(found: re.Match[str]) -> str:
    rows = r" \\ ".join(row.replace(",", " & ") for row in re.findall(r"\[([^\[\]]*)\]", found[1]))
    return rf"\begin{{pmatrix}}{rows}\end{{pmatrix}}"


def _calculator_matrix(found: re.Match[str]) -> str:
    rows = [" & ".join(row.replace(",", " ").split()) for row in found[1].split(";")]
    return r"\begin{pmatrix}" + r" \\ ".join(rows) + r"\end{pmatrix}"


def _along_axes(text: str, gold: str) -> str | None:
    """`2i-j+5k` as `(2,-1,5)` beside a vector of as many entries; None for anything else."""
    golds = _entries(gold)
    if golds is None or len(golds) not in (2, 3) or "i" not in text or "j" not in text:
        return None
    parts, end = {}, 0
    while (found := _ALONG.match(text, end)) and found[3] not in parts and (found[1] or not end):
        parts[found[3]] = ("-" if found[1] == "-" else "") + (found[2] or "1")
        end = found.end()
    if end < len(text) or len(parts) < 2 or (len(golds) == 2 and "k" in parts):
        return None
    return f"({', '.join(parts.get(axis, '0') for axis in 'ijk'[: len(golds)])})"


def is_plain_list(text: str) -> bool:
    """Whether a text is several values in no brackets and no inequalities."""
    return len(split_list(text)) > 1 and _NEITHER.search(text) is None


def depth(text: str) -> int:
    """How many brackets of any kind are open at once at most."""
    deepest = opened = 0
    for char in text:
        opened += (char in "([{") - (char in ")]}")
        deepest = max(deepest, opened)
    return deepest


def turned_inward(text: str) -> str:
    """The intervals `]0,1[` and `[0,1[`, whose brackets leave out an end, as `(0,1)` and `[0,1)`."""
    if not text.startswith("]") and not text.endswith("["):
        return text
    return _OUTWARD.sub(
        lambda found: f"{'[('[found[1] == ']']}{found[2]},{found[3]}{'])'[found[4] == '[']}", text
    )


def _is_closed(inside: str) -> bool:
    """Whether brackets open before they close, unlike within the outermost ones of `(0,1) \\cup (1,2)`."""
    depth = 0
    for char in inside:
        depth += (char in "([") - (char in ")]")
        if depth < 0:
            return False
    return True


def _entries(text: str) -> list[str] | None:
    if column := _COLUMN.fullmatch(text):
        rows = [row.strip() for row in column[2].split(r"\\")]
        return [row for row in rows if row]
    inside = _ANGLES.fullmatch(text)
    if inside is None and len(split_list(text)) == 1:
        inside = _IN_PARENTHESES.fullmatch(text)
    if inside is None or not _is_closed(inside[1]):
        return None
    entries = split_list(inside[1])
    return entries if len(entries) > 1 else None
