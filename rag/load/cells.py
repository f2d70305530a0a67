"""A cell's value in words, as Excel, or PowerPoint behind a chart, shows it."""

from __future__ import annotations

import datetime
import re
from decimal import ROUND_HALF_UP, Decimal

from rag.load.decode import clean

_MOST_FORMATTED = Decimal(10) ** 15  # larger numbers are written with a power anyway
_PERCENT = re.compile(r"0(?:\.(0+))?(\s|\\ )*%")
_SUM = re.compile(
    r"(?P<before>[$€£¥])?(?P<digits>[#0][#0,]*)(?:\.(?P<places>0+))?(?P<gap>\s|\\ )?"
    r"(?P<after>[€$£¥]|[A-Z]{3}(?![A-Za-z]))?"
)


def in_words(value: object, number_format: str | None) -> str:
    """Dates as ISO 8601; shares in percent, sums with their currency and numbers with their noughts where the format
    shows them so."""
    match value:
        case None:
            return ""
        case str() as text:
            return clean(text).strip()
        case bool() as truth:
            return "TRUE" if truth else "FALSE"
        case datetime.datetime() as moment:
            return moment.date().isoformat() if moment.time() == datetime.time() else moment.isoformat(" ", "seconds")
        case datetime.date() | datetime.time() as moment:
            return moment.isoformat()
        case int() | float() as number:
            form = (number_format or "").partition(";")[0]
            plain = format(number, ".15g") if isinstance(number, float) else str(number)
            return _formatted(plain, form) or plain
        case datetime.timedelta() as time:
            minutes, seconds = divmod(round(time.total_seconds()), 60)
            return f"{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
        case other:
            return str(other)


def _formatted(plain: str, form: str) -> str:
    """As a section of a number's format shows it; empty where that is left to the number itself.

    >>> _formatted("1234.5", "$#,##0.00"), _formatted("1067", "00000"), _formatted("0.125", "0%")
    ('$1,234.50', '01067', '13%')
    """
    try:
        value = Decimal(plain)
    except ArithmeticError:
        return ""
    if not value.is_finite() or abs(value) >= _MOST_FORMATTED:
        return ""
    if percent := _PERCENT.search(form):
        return f"{_rounded(value * 100, len(percent[1] or '')):f}{' ' if percent[2] else ''}%"
    if re.fullmatch("0{2,20}", form) and value == int(value) >= 0:
        return f"{int(value):0{len(form)}}"
    told = re.sub(r"\[\$([^\]-]*)[^\]]*\]", r"\1", form)  # [$€-407]
    found = _SUM.search(re.sub(r'"([^"]*)"', r"\1", re.sub(r"[_*].", "", told)))
    if not found or not (found["before"] or found["after"]):
        return ""
    digits = f"{_rounded(abs(value), len(found['places'] or '')):{',' if ',' in found['digits'] else ''}f}"
    sign = "-" if value < 0 else ""
    return f"{sign}{found['before'] or ''}{digits}{' ' if found['gap'] else ''}{found['after'] or ''}"


def _rounded(value: Decimal, places: int) -> Decimal:
    """A format may ask for 30 places, and more than 28 digits in all are no number to Decimal."""
    return value.quantize(Decimal(1).scaleb(-min(places, 9)), ROUND_HALF_UP)
