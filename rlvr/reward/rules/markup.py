r"""What surrounds a value without changing it: unicode look-alikes, styles, sizes and spacing; pure text to text.

Linear in the text's length: the driver cleans answers too, where no deadline holds.
"""

import re
import unicodedata

WORDS = r"\\(?:text|textrm|mathrm|mbox)"  # what puts words into a formula
STYLE_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|mbox|bf|rm)\s*\{([^{}]*)\}"
)
_VULGAR = "½¼¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
_OTHERS = "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
_GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", f"{_SMALL} {_OTHERS}".split(), strict=True)) | {
    "µ": "mu", "ϕ": "phi", "ϵ": "epsilon", "ϑ": "theta",
}  # fmt: skip
_UNICODE = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width forms
    | dict.fromkeys("−–‐‑—﹣", "-")
    | {
        "’": "'", "“": '"', "”": '"',
        "×": r"\times ", "·": r"\cdot ", "•": r"\cdot ", "÷": "/", "⁄": "/", "∞": r"\infty ",
        "º": r"^\circ ", "˚": r"^\circ ", "′": "'", "∶": ":", "°": r"^\circ ",
        "⊂": r"\subset ", "⊆": r"\subseteq ", "⊥": r"\perp ", "∥": r"\parallel ", "∠": r"\angle ", "∉": r"\notin ",
        "⇒": r"\Rightarrow ", "∀": r"\forall ", "∃": r"\exists ", "∂": r"\partial ", "∓": r"\mp ", "⌊": r"\lfloor ",
        "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
        "√": r"\sqrt ", "、": ",", "。": ".", "…": "...",
        "∅": r"\emptyset ", "Ø": r"\emptyset ", "≡": r"\equiv ", "≈": r"\approx ", "→": r"\to ",
        "∑": r"\sum ", "∏": r"\prod ", "¬": r"\neg ", "∧": r"\wedge ", "∨": r"\vee ",
    }
    | {letter: rf"\{name} " for letter, name in _GREEK.items()}
    | {sign: r"\frac{" + unicodedata.normalize("NFKC", sign).replace("⁄", "}{") + "}" for sign in _VULGAR}
    | dict.fromkeys("\u00a0\u2007\u2009\u202f~", " ")
    | {chr(start + digit): str(digit) for start in (0x660, 0x6F0, 0x966) for digit in range(10)}  # Arabic, Hindi
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\0✅✓✔☑\ufe0f", None)
)  # fmt: skip
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "₀₁₂₃₄₅₆₇₈₉₊₋"
_LEVEL = str.maketrans(_RAISED + _LOWERED, 2 * "0123456789+-")
_CUBE_ROOT = re.compile(r"∛\s*(?:\{([^{}]*)\}|\(([^()]*)\)|([0-9]+|[A-Za-z]))")
_ROOT = re.compile(r"(?:√\s*|\\sqrt ?(?=[0-9]{2}))([0-9]+(?:\.[0-9]+)?)(?![0-9])")
_SCRIPT = re.compile(f"[{_RAISED}]+|[{_LOWERED}]+")
_SPACE = r"\\(?:[,;: ]|(?:thin|med|thick|en)space(?![A-Za-z]))"
_THIN_THOUSANDS = re.compile(rf"(?<=[0-9]){_SPACE}\s*(?=[0-9]{{3}}(?![0-9]))")
_NEGATIVE_SPACE = re.compile(r"(?<!\\)\\!\s*")
_SPACING = re.compile(
    rf"(?<!\\)(?:{_SPACE}|\\(?:quad|qquad|left|right|middle|[bB]igg?[lrm]?|(?:display|text|script)style|"
    r"[lL]arge|LARGE|[hH]uge|small|bfseries|bf|rm|it)(?![A-Za-z])|\\(?:[hv]space\*?|[hv]?phantom)\{[^{}]*\})"
)
_NAMES = {
    r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[", r"\rbrack": "]", r"\varnothing": r"\emptyset",
    r"\varepsilon": r"\epsilon", r"\vartheta": r"\theta", r"\varphi": r"\phi", r"\varrho": r"\rho", r"\prime": "'",
    r"\not=": r"\ne ", "+/-": r"\pm ", r"\checkmark": "", r"\blacksquare": "", r"\&": " and ", r"\colon": ":",
    r"\mod": r"\bmod ",
    r"\begin{smallmatrix}": r"\begin{pmatrix}", r"\end{smallmatrix}": r"\end{pmatrix}",
}  # fmt: skip
_NAME = re.compile(rf"(?:{'|'.join(map(re.escape, _NAMES))})(?![A-Za-z])")
_ACCENT = re.compile(r"\\(?:hat|vec)\s*(?:\{\s*([A-Za-z])\s*\}|\s([A-Za-z])(?![A-Za-z]))")
_UNION = re.compile(r"(?<=[)\]}]) ?U ?(?=[(\[]|\\\{)")
_COLOURED = re.compile(r"\\(?:text)?color\s*\{[A-Za-z!0-9]*\}")
# Styles of a formula, whatever they hold; those of words only around a number or a letter that stands for one.
_STYLED = re.compile(
    r"\\(?:mathbf|mathit|mathsf|mathnormal|boldsymbol|bm|underline|emph|texttt|textbf|textit)\s*"
    r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
)
_STYLED_VALUE = re.compile(rf"{WORDS}\s*(?:\{{\s*([0-9.]+|[deixyz])\s*\}}|\s([deixyz])(?![A-Za-z]))")
_ENDING = r"(?:\s*\^\s*\{?\s*)?(?:\\(?:text|mathrm)\s*\{\s*)?%s\s*\}{0,2}$"
_ORDINAL = re.compile(
    "|".join(
        f"(?<={digit}){_ENDING % ending}"
        for digit, ending in (("1", "st"), ("2", "nd"), ("3", "rd"), ("[0-9]", "th"))
    )
)
_PLACE = re.compile(r"[Tt]he ([0-9]{1,30})")  # what is left of `the 21st`
_IN_BRACES = r"[^{}]*(?:\{[^{}]*\}[^{}]*)*"
_OVER = re.compile(rf"\{{({_IN_BRACES})\\over(?![A-Za-z])({_IN_BRACES})\}}")
# Without braces TeX takes one sign for an argument: `\\frac ab`.
_ARGUMENT = rf"(?:\{{({_IN_BRACES})\}}|(\\(?!frac|sqrt|text|left|math)[A-Za-z]+|[0-9A-Za-z]))"
_FRACTION = re.compile(rf"(\\[dtc]?frac)\s*{_ARGUMENT}\s*{_ARGUMENT}")
_CHOOSE = re.compile(r"\{\s*([^{}\\]+?)\s*\\choose\s*([^{}\\]+?)\s*\}")
_WORD_INDEX = re.compile(rf"_\{{?\s*{WORDS}\s*\{{\s*([A-Za-z]{{2,12}})\s*\}}\s*\}}?(?!\}})")
_BRACED_BASE = re.compile(r"(?<![\\A-Za-z}])\{([A-Za-z])\}(?=_)")
_EXTREME_INDEX = re.compile(r"_\{?\s*\\(max|min)(?![A-Za-z])\s*\}?")
_BARE_SET = re.compile(r"\\mathbb\s*([A-Z])(?![A-Za-z])")
_BARE_PI = re.compile(r"(\\[dt]?frac)\s*\\pi\s*(?=[0-9{])")
_OF_SEVERAL = re.compile(r"\\(max|min|gcd|lcm)\s*\\\{([^{}\\]*)\\\}")
_ROW_GAP = re.compile(r"\\\\\s*\[\s*[0-9.]+\s*(?:pt|em|ex|mm|cm)\s*\]")
_SYSTEM = re.compile(
    r"(?:\\\{\s*)?\\begin\{(cases|aligned|align\*?|gathered|array)\}(?:\{[lcr]*\})?(.*)\\end\{\1\}\s*\.?",
    re.S,
)
_LEADING = (
    r"(?i:(?:so|thus|hence|therefore)\b,?(?: (?:the )?(?:final |correct )?answer(?: is|:)(?: ?:)?)?|"
    r"(?:the |my )?(?:final |correct )?(?:answer|option|choice)(?: is|:)(?: ?:)?|about|approximately|roughly)"
)
_LEAD = re.compile(
    rf"(?:{WORDS}\s*\{{\s*{_LEADING}\s*\}}\s*|{_LEADING}\s|"
    r"\\(?:approx|simeq|therefore|[Rr]ightarrow|implies)(?![A-Za-z])\s*)"
)
_STRUCK = re.compile(r"~~(?![\s~])([^~]{1,200})~~")
_TAG = re.compile(r"</?(?:b|i|em|strong|u|p|span|div|code|math|mn|center|big|small)>|<br ?/?>")
_RAISED_TAG = re.compile(r"<(sup|sub)>([^<>]{1,50})</\1>")
_ENTITIES = {
    "nbsp": " ", "ensp": " ", "thinsp": " ", "lt": "<", "gt": ">", "le": r"\le ", "ge": r"\ge ", "ne": r"\ne ",
    "amp": r"\&", "minus": "-", "times": r"\times ", "middot": r"\cdot ", "pi": r"\pi ", "radic": r"\sqrt ",
    "deg": r"^\circ ", "frac12": r"\frac{1}{2}", "infin": r"\infty ",
}  # fmt: skip
_ENTITY = re.compile(rf"&({'|'.join(_ENTITIES)});")
_BINOMIAL = re.compile(r"\\[dt]?binom\s*(?:\{([^{}]{1,50})\}|([0-9a-z]))\s*(?:\{([^{}]{1,50})\}|([0-9a-z]))")
_OPERATOR = re.compile(r"\\(?:operatorname|mathop)\*?\s*\{\s*(?:\\(?:rm|mathrm)\s*)?([A-Za-z]+)\s*\}")
_FUNCTIONS = {
    "tg": "tan", "ctg": "cot", "cotg": "cot", "arctg": "arctan", "arcctg": "arccot", "cosec": "csc",
    "sh": "sinh", "ch": "cosh",
    "th": "tanh",
}  # fmt: skip
_FUNCTION = re.compile(rf"\\({'|'.join(_FUNCTIONS)})(?![A-Za-z])")
_OPERATORS = re.compile(
    r"a(?:rc)?(?:sin|cos|tan|cot)|sin|cos|tan|cot|sec|csc|ln|log|exp|gcd|max|min|sinh|cosh|tanh"
)
_BRACED = re.compile(r"\{([^{}]*)\}")


def without_markup(answer: str) -> str:
    """The answer in plain LaTeX: one space between words, nothing that only changes its looks."""
    text = _ROOT.sub(r"\\sqrt{\1}", _without_html(answer)).translate(_UNICODE)
    text = _CUBE_ROOT.sub(lambda found: rf"\sqrt[3]{{{found[found.lastindex or 0]}}}", text)
    text = _SCRIPT.sub(_script, text)
    # One space each before the rules that skip spaces on both sides of something.
    text = " ".join(_SPACING.sub(" ", _THIN_THOUSANDS.sub("", _NEGATIVE_SPACE.sub("", text))).split())
    text = _NAME.sub(lambda found: _NAMES[found.group()], _ROW_GAP.sub(r"\\\\ ", text))
    text = _BARE_SET.sub(r"\\mathbb{\1}", _UNION.sub(r"\\cup ", text))
    text = _OF_SEVERAL.sub(r"\\\1(\2)", _BARE_PI.sub(r"\1{\\pi}", text))
    if "\\" in text:
        text = _OPERATOR.sub(_operator, text)
        text = _FUNCTION.sub(lambda found: f"\\{_FUNCTIONS[found[1]]} ", text)
        text = _BINOMIAL.sub(_binomial, text)
        text = _FRACTION.sub(_fraction, text)
        if "\\over" in text:
            text = _fractions(text)
    if "_" in text:
        text = _BRACED_BASE.sub(r"\1", text)
        text = _EXTREME_INDEX.sub(r"_{\1}", _WORD_INDEX.sub(r"_{\1}", text))
    text = _STYLED_VALUE.sub(lambda found: found[1] or found[2], _STYLED.sub(r"\1", _COLOURED.sub("", text)))
    if "\\hat" in text or "\\vec" in text:
        text = _ACCENT.sub(lambda found: found[1] or found[2], text)
    if "\\choose" in text:
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    return system_as_list(" ".join(text.split()))


def _fraction(found: re.Match[str]) -> str:
    command, *arguments = found.groups()
    top, bottom = (braced or bare or "" for braced, bare in zip(arguments[::2], arguments[1::2], strict=True))
    return f"{command}{{{top}}}{{{bottom}}}"


def _fractions(text: str) -> str:
    r"""`{a+b \over 2}` as `\frac{a+b}{2}`: without its braces it would be a and half of b."""
    text = _OVER.sub(r"\\frac{\1}{\2}", text)
    whole = _OVER.fullmatch(f"{{{text}}}")
    return rf"\frac{{{whole[1]}}}{{{whole[2]}}}" if whole else text


def _operator(found: re.Match[str]) -> str:
    name = _FUNCTIONS.get(found[1], found[1])
    return f"\\{name} " if _OPERATORS.fullmatch(name) else found.group()


def _binomial(found: re.Match[str]) -> str:
    return rf"\binom{{{found[1] or found[2]}}}{{{found[3] or found[4]}}}"


def _without_html(text: str) -> str:
    """Marks of a web page or of Markdown as LaTeX; what is struck out as `\\cancel{}`, which is no value."""
    if "~~" in text:
        text = _STRUCK.sub(r"\\cancel{\1}", text)
    if "<" in text and ">" in text:
        text = _TAG.sub("", _RAISED_TAG.sub(_script_of_tag, text))
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text) if "&" in text else text


def _script_of_tag(found: re.Match[str]) -> str:
    return f"{'^' if found[1] == 'sup' else '_'}{{{found[2]}}}"


def without_ends(text: str) -> str:
    """The text without braces around it, an equals sign before it, and punctuation and ordinal endings after it."""
    braced = _BRACED.fullmatch(text.strip())
    text = (braced[1] if braced else text).lstrip("= ").rstrip(".;,\\ ")
    return _place(_ORDINAL.sub("", text)) if text[-1:].isalpha() or text[-1:] == "}" else text


def _place(text: str) -> str:
    found = _PLACE.fullmatch(text)
    return found[1] if found else text


def without_lead(text: str) -> str:
    r"""The value behind `\text{The answer is }`, `\approx` and the like; other text as it is."""
    if not text[:1].isalpha() and text[:1] != "\\":
        return text
    found = _LEAD.match(text)
    return text[found.end() :] if found is not None and found.end() < len(text) else text


def system_as_list(text: str) -> str:
    r"""The equations of `\begin{cases} x=1 \\ y=2 \end{cases}` with commas between them; other text as it is."""
    found = _SYSTEM.fullmatch(text)
    rows = [row.replace("&", "").strip(" ,") for row in found[2].split(r"\\")] if found else []
    equations = [row for row in rows if row]
    aligned = found is not None and all(
        "&" not in row or "&=" in row.replace(" ", "") for row in found[2].split(r"\\")
    )
    is_system = aligned and equations and all(row.count("=") == 1 for row in equations)
    return ", ".join(equations) if is_system else text


def _script(found: re.Match[str]) -> str:
    mark = "^" if found.group()[0] in _RAISED else "_"
    return f"{mark}{{{found.group().translate(_LEVEL)}}}"
