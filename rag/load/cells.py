"""A cell's value in words, as Excel, or PowerPoint behind a chart, shows it."""

from __future__ import annotations

import datetime

from rag.load.decode import clean
from rag.load.number_format import formatted


def in_words(value: object, number_format: str | None) -> str:
    """Dates as ISO 8601; numbers as their format shows them."""
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
            plain = format(number, ".15g") if isinstance(number, float) else str(number)
            return formatted(plain, number_format or "General") or plain
        case datetime.timedelta() as time:
            minutes, seconds = divmod(round(time.total_seconds()), 60)
            return f"{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")
        case other:
            return str(other)
