r"""Find an answer that no box holds: between tags, behind words that announce it, or alone on the last line.

Linear in the text's length: only the end of a response is read, with single spaces.
"""

import re

_REACH = 2000  # an announcement is at the end; the cut bounds the regular expressions' work
_BLANKS = re.compile(r"[ \t]+")
_EMPHASIS = re.compile(r"\*\*+|__+")
_SLANTED = re.compile(r"(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])")
_VALUE = (
    r"\n*(\$\$[^$]+\$\$|\$[^$\n]+\$|\\\([^\n]+?\\\)|\\\[[^\]]+?\\\]|[^\n]+?)"
    r"(?=\.?\s*(?:\n|$)|\.\s|[。．]|，(?![ ]?[-0-9$]))"
)
_ANNOUNCED = re.compile(rf"(?i:answer|correct (?:option|choice))[ ]?(?:[:：=]|(?i:is)\b:?)[ ]?{_VALUE}")
# Words that announce an answer where none of the above does: weaker ones, several values, and other languages.
_OTHERS = (
    r"(?i:\bans[ ]?[.:=]|\banswer [-–—](?= )|\banswers?(?: are|[ ]?:))",
    r"(?i:\banswer (?:equals|(?:should|must|would|will|has to|seems to|turns out to) be|"
    r"to (?:the|this) [a-z]{4,12} is)\b)",
    r"(?i:\b(?:final )?(?:solution|result|value)s?[ ]?(?::| is\b:?| are\b:?))",
    r"(?i:\b(?:antwort|lösung|ergebnis|respuesta|réponse|resposta|risposta|solución|resultado|jawaban|svar(?:et)?|antwoord|"
    r"odpowiedź|odpověď|cevap|răspuns|válasz|vastaus|đáp án|απάντηση|תשובה|ответ|відповідь|الجواب|الإجابة|उत्तर|คำตอบ)"
    r"(?: (?:finale?|correcta?|correcte|corretta|akhir))?[ ]?"
    r"(?:[:：=]|(?:ist|lautet|es|est|é|è|adalah|är|jest|là|is|είναι|היא)\b:?))",
    r"(?:答案|答え|解答|正解|정답|답)[ ]?(?:[:：]|[是为為は은][:：]?)|(?:^|\n)答[:：]|选[:：]?(?=[ ]?\(?[A-J])",
)
_OTHER_WORDS = re.compile(rf"(?:{'|'.join(_OTHERS)})[ ]?{_VALUE}")
_IN_JSON = re.compile(r'"(?:final_)?answer"\s*:\s*(?:"([^"\n]*)"|([^\s,}"]+))')
_OPTION_IS = re.compile(
    r"(?i:\boption|\bchoice) \(?([A-J])\)? (?:is|must be) (?:the )?(?:correct|right|answer)"
)
_MARKED = re.compile(r"(?:^|\n)####[ ]?(\$?-?[0-9][0-9,]*(?:\.[0-9]+)?%?)[ ]?(?=\n|$)")
_IS_THE_ANSWER = re.compile(
    r"(\$[^$\n]+\$|\\\([^\n]+?\\\)|(?<![0-9A-Za-z.,/$-])-?[0-9][0-9.,/]*|\(?\b[A-J]\b\)?) is (?:the|our|my) "
    r"(?:final |correct |right )?(?:answer|result)(?=\s*(?:[.!,]|\n|$))"
)
_POLITE = re.compile(r"(?<=[0-9A-J)}$])\s*(?:选项|項|番|번|です|である|입니다|이다|だ|となります)$")
# An announcement that begins a line or a sentence; "is" needs a value behind it, which a sentence may lack.
_LATER_WORD = re.compile(
    r"(?:^|\n|[.!?)] )[ #>*-]*(?i:(?:(?:actually|wait|no|but|so|thus|hence|therefore|correction)[,:]? )?"
    r"(?:the |my )?(?:(?:(?:final|correct) )?answer[ ]?:(?=\s*[^\s])(?! ?see\b)|"
    r"(?:(?<=actually )|(?<=actually, )|(?<=actually the )|(?<=actually, the )|(?<=correction: the )|"
    r"(?:final|correct) )"
    r"answer is:?[ \n]?(?=[$(\\+-]*[0-9]|\\\(|\(?[A-J]\)?(?:[.\s]|$))))"
)
# Behind an announced value, words that take it back.
_TAKEN_BACK = re.compile(
    r"[\s.,;:!?*$…)\]-]*(?i:(?:(?:wait|oops|hmm|scratch that|correction)\b|no[,.:;—–]|"
    r"(?:but |which |and )?(?:that|this|it)?(?:'s| is| was)? ?(?:wrong|incorrect|false|not (?:right|correct|true))\b))"
)
_REMARK = re.compile(
    r"(?<=\S) \([A-Za-z][A-Za-z ,'-]+\)$|(?<=[0-9$)}%]),? (?:as|which|so)\b[^0-9$\\]*$|"
    r"(?:(?<=[0-9$)}%])|(?<=\b[A-J])),? (?:since|because)\b.*$"
)
_ADVERB = re.compile(
    r"^(?i:about|approximately|roughly|around|thus|therefore|hence|simply|just|then|indeed|clearly|exactly),? "
)
_TAG = r"(?:final_)?answer"
_TAGGED = re.compile(
    rf"<({_TAG})>((?:(?!<{_TAG}>).)*?)</\1>|\[answer\]((?:(?!\[answer\]).)*?)\[/answer\]", re.S | re.I
)
_END_MARK = re.compile(r"(?:\s*(?:</s>|<\|[a-z_]{1,20}\|>|<end_of_turn>))+\s*$")
_NUMBER = r"-?[0-9][0-9.,/]*\s*(?:\\?%)?|-?\\d?frac\{[^{}]+\}\{[^{}]+\}"
_BARE_LINE = re.compile(
    rf"\$\$?[^$\n]+\$\$?|\\\([^\n]+\\\)|\\\[[^\n]+\\\]|(?:[A-Za-z]? ?= ?)?(?:{_NUMBER})|"
    r"(?i:option )?\(?[A-J]\)?"
)


def announced_answer(response: str) -> str | None:
    """The answer that a response without a box gives at its end, or None."""
    tail = _END_MARK.sub("", response[-_REACH:])
    tagged = list(_TAGGED.finditer(tail))
    if tagged and not re.search(
        r"####|(?i:answer)", tail[tagged[-1].end() :]
    ):  # which would be the later word
        content = _said_in_tag(tagged[-1])
        return announced_answer(content) or content or None
    tail = _BLANKS.sub(" ", without_emphasis(tail))
    last_line = tail.rstrip("`\n ").rsplit("\n", 1)[-1].strip().rstrip(".")
    if last_line.startswith("####"):
        marked = last_line.lstrip("#").strip()
        return (
            _innermost(marked) if _ANNOUNCED.match(marked.removeprefix("The ")) else _REMARK.sub("", marked)
        )
    announced = list(_ANNOUNCED.finditer(tail))
    if announced:
        if _TAKEN_BACK.match(tail, announced[-1].end()):
            return None
        return _innermost(announced[-1][1])
    if _BARE_LINE.fullmatch(last_line):
        return last_line
    if option := _OPTION_IS.findall(tail):
        return str(option[-1])
    if with_mark := _MARKED.findall(tail):
        return str(with_mark[-1])
    if said := _IS_THE_ANSWER.findall(tail):
        return str(said[-1])
    if in_json := _IN_JSON.findall(tail):
        return "".join(in_json[-1])
    others = _OTHER_WORDS.findall(tail)
    return _innermost(_POLITE.sub("", others[-1].strip()), _OTHER_WORDS) if others else None


def is_announced_later(after_box: str) -> bool:
    """Whether what follows a box announces another answer: the later word, such as all that follows a `</think>`."""
    _, thought, final = after_box.rpartition("</think>")
    if thought and announced_answer(final) is not None:
        return True
    rest = _END_MARK.sub("", after_box[-_REACH:]).rstrip()
    if _MARKED.search(rest.rpartition("\n")[2]) or any(map(_said_in_tag, _TAGGED.finditer(rest))):
        return True
    return _LATER_WORD.search(without_emphasis(rest)) is not None


def _said_in_tag(found: re.Match[str]) -> str:
    return (found[2] or found[3] or "").strip()


def without_emphasis(text: str) -> str:
    """A text without the marks of bold and slanted words."""
    return _SLANTED.sub(r"\1", _EMPHASIS.sub("", text))


def _innermost(announced: str, announcement: re.Pattern[str] = _ANNOUNCED) -> str:
    """The value in "The final answer is $100$", without what leads to it and remarks behind it."""
    found = announced.strip()
    while within := announcement.findall(found):
        found = within[-1].strip()
    return _ADVERB.sub("", _REMARK.sub("", found.strip("*_` ")))
