"""Dates and times of day in the notations that answers have: pure text."""

import re

_MONTHS = [
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
]
_MONTH = rf"({'|'.join(name[:3] + f'(?:{name[3:]})?' for name in _MONTHS)}|sept)\.?"
_DAY = r"([0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,? ([0-9]{4}))?"
_NUMERIC = re.compile(r"([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})")
_IN_NUMBERS = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})")
_PART_OF_DAY = re.compile(
    r"([0-9]{1,2}(?::[0-9]{2})?)(?: o'clock)? in the (?:(morning)|afternoon|evening)", re.I
)
_MONTH_FIRST = re.compile(rf"{_MONTH} (?:the )?{_DAY}{_YEAR}", re.I)
_DAY_FIRST = re.compile(rf"(?:the )?{_DAY} (?:of )?{_MONTH}{_YEAR}", re.I)
_TIME = re.compile(r"([0-9]{1,2})(?:[:.]([0-9]{2}))? ?([ap])\.? ?m\.?", re.I)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_NAMED = {"noon": "12:00 pm", "midnight": "12:00 am"}
_ON_THE_CLOCK = re.compile(r"[0-9]{1,2}:0[0-9]")  # no ratio is written so


def same_date(gold: str, answer: str) -> bool | None:
    """Compare dates and times of day without wrappers of words; None where the gold answer is neither."""
    dates = [_date(text) for text in (gold, answer)]
    if dates[0] is not None:
        # A year that was not asked for does no harm.
        return dates[1] is not None and dates[0][1:] == dates[1][1:] and dates[0][0] in (None, dates[1][0])
    gold, answer = (
        _PART_OF_DAY.sub(lambda found: f"{found[1]} {'a' if found[2] else 'p'}m", text)
        for text in (gold, answer)
    )
    times = [_TIME.fullmatch(text) for text in (gold, answer)]
    times = [
        time or _TIME.fullmatch(_NAMED.get(text, ""))
        for time, text in zip(times, (gold, answer), strict=True)
    ]
    if times[0] is not None and times[1] is not None:
        return _clock(times[0]) == _clock(times[1])
    plain = _CLOCK.fullmatch(answer if times[0] is not None else gold)
    if times[0] is None and times[1] is not None and plain is not None:
        times.reverse()
    if times[0] is not None and plain is not None:  # `15:00`, or `3:00` with the half of the day left out
        hour, minute, half = _clock(times[0])
        return int(plain[2]) == minute and int(plain[1]) in (hour, hour % 12 + 12 * (half == "p"))
    if _ON_THE_CLOCK.fullmatch(gold) and re.fullmatch("[0-9]{1,2}:[0-9]{1,2}", answer):
        return gold.zfill(5) == answer.zfill(5)
    return None


def _date(text: str) -> tuple[int | None, int, int] | None:
    """(year, month, day), the year None where there is none."""
    if found := _NUMERIC.fullmatch(text):
        return int(found[1]), int(found[3]), int(found[4])
    if found := _IN_NUMBERS.fullmatch(text):
        first, second = int(found[1]), int(found[2])
        # Month and day have another order in America; above 12 there is one reading only.
        if first == second or (first <= 12 < second) or (second <= 12 < first):
            return int(found[3]), min(first, second), max(first, second)
        return None
    if found := _MONTH_FIRST.fullmatch(text):
        month, day, year = found.groups()
    elif found := _DAY_FIRST.fullmatch(text):
        day, month, year = found.groups()
    else:
        return None
    number = next(place for place, name in enumerate(_MONTHS, start=1) if name.startswith(month[:3].lower()))
    return int(year) if year else None, number, int(day)


def _clock(time: re.Match[str]) -> tuple[int, int, str]:
    return int(time[1]), int(time[2] or 0), time[3].lower()
