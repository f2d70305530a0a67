"""The pieces of a sentence that a question can ask for: numbers that count or measure, dates, names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rag.evaluate.questions.verbs import finite, verb_like
from rag.types import Span

Piece = Literal["number", "date", "name", "meaning"]


@dataclass(frozen=True, slots=True)
class Cloze:
    lead: str  # "Complete: " before a gap, or nothing
    text: str
    answers: tuple[str, ...]  # the first is the blanked text itself
    piece: Piece
    worded: bool  # a question in words, not a sentence with a gap

    @property
    def question(self) -> str:
        return self.lead + self.text


@dataclass(frozen=True)
class Words:
    """What is known of the folder's words."""

    is_common: Callable[[str], bool]
    names_in: Callable[[str], Sequence[Span]]


UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_UNITS = (
    r"(?:%|percent|per cent|[kMG]?Hz|kilohertz|dB|[munµ]?s|[kMGT]i?B|kbit/s|[kcmµn]?m|[km]?g|[mk]?[VW]"
    r"|°\s?[CF]|degrees(?: Celsius| Fahrenheit)?|km/h|mph|ft|kPa|kJ|eV)(?![\w/])"
)
_SCALE = r"(?:\s(?:thousand|million|billion|trillion|hundred))?"
NUMBER = re.compile(
    rf"(?<![\w.,:/$€£\-–])(?:(?P<money>[$€£]\s?)?(?P<number>-?\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?){_SCALE})"
    rf"(?P<unit>\s?{_UNITS})?(?![\w/:–-]|[.,]\d|\s?[-–]\s?\d)"
)
MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_FULL = rf"\d{{1,2}} {MONTH},? \d{{4}}|{MONTH} \d{{1,2}}, \d{{4}}|{MONTH} \d{{4}}"
_YEAR = r"(?:1\d|20)\d\d"
DATE = rf"(?:{_FULL}|{_YEAR})"
_DATE = re.compile(rf"\b(?:{_FULL})\b|(?:(?<=\b[Ii]n )|(?<=\b(?:since|until) )){_YEAR}\b(?![-–/]|s\b| and \d| to \d)")
_OTHER_NUMBER = re.compile(  # for scripts without spaces, and languages whose units aren't known here
    r"(?<![\w.,:/\-–])\d+(?:[.,]\d+)*(?:\s?(?:%|[kMG]?Hz|km|kg|m|°C))?(?![\w.,:/\-–]\d|[-–/])"
)
_HAN_UNITS = (
    "平方公里|平方米|平方英里|公里|千米|英里|海里|英尺|英寸|厘米|毫米|公斤|千克|公吨|美元|英镑|欧元|小时|分钟|个月|人|个|座|次|场|分|码|岁|名|位|种|"
    "层|家|项|级|台|艘|吨|米|天|周岁|周|件|篇|条|所|部"
)
_HAN_DATE = re.compile(
    r"(?<![\d.到至和或、])\d{4}\s?年(?:\s?\d{1,2}\s?月(?:\s?\d{1,2}\s?日)?)?(?![代\s\d月]|\s?[-–至到和或、])"
)
_HAN_NUMBER = re.compile(
    rf"(?<![\d.,A-Za-z第图到至和或、±\-–])\d+(?:[.,]\d+)*\s?(?:%|多?[百千]?[万亿]?多?(?:{_HAN_UNITS})|[百千]?[万亿])(?![\d.,A-Za-z\-–月至到]|\s*\d)"
)
_HAN_TITLE = re.compile(r"《[^《》]{2,30}》")


def pieces(text: str, language: str, words: Words) -> Iterator[tuple[Span, Piece]]:
    """Where a gap can be. What stands in brackets is left out: it says again what stands before."""
    found = _unspaced(text) if UNSPACED.search(text) else _pieces(text, language, words)
    for span, piece in found:
        before = text[: span.start]
        if sum(before.count(c) for c in "(（[《") == sum(before.count(c) for c in ")）]》"):
            yield span, piece


def _unspaced(text: str) -> Iterator[tuple[Span, Piece]]:
    expressions: tuple[tuple[re.Pattern[str], Piece], ...] = (
        (_HAN_DATE, "date"), (_HAN_NUMBER, "number"), (_HAN_TITLE, "name"),
    )  # fmt: skip
    for expression, piece in expressions:
        yield from ((Span(*m.span()), piece) for m in expression.finditer(text))


def _pieces(text: str, language: str, words: Words) -> Iterator[tuple[Span, Piece]]:
    if language != "en":
        yield from ((Span(*m.span()), "number") for m in _OTHER_NUMBER.finditer(text))
        return
    dates = [Span(*m.span()) for m in _DATE.finditer(text)]
    for span in dates:
        yield span, "date"
    for found in NUMBER.finditer(text):
        span = Span(*found.span())
        if not any(span.overlap(d) for d in dates) and _is_told(text, found, words):
            yield span, "number"
    for span in words.names_in(text):
        if is_whole(text, span):
            yield span, "name"


_NO_NAMES = frozenset(["Inc", "Corp", "Ltd", "LLC", "LP", "Mr", "Mrs", "Dr", "St", "Hz", "kHz", "MB", "GB"])
_SPOKEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _is_told(text: str, found: re.Match[str], words: Words) -> bool:
    """It counts or measures something: no year, no version, no end of a range, no number for a number's sake."""
    before, after = text[: found.start()].split(), text[found.end() :].split()
    last = before[-1].strip(",") if before else ""
    if re.fullmatch(r"(?:1[5-9]|20)\d\d|[01]", found["number"]) and not found["unit"]:
        return False
    if not before or re.search(r"\b(?:may|might|could|would|if|between)\b", text[: found.start()]):
        return False
    if not found["money"] and (any(c.isdigit() for c in last) or (len(before) > 1 and last[:1].isupper())):
        return False
    if last in ("±", "×") or after[:1] == ["×"] or (last == "to" and "from" in before):
        return False
    joined = ("to", "and", "or", "of")
    if last in joined and len(before) > 1 and any(c.isdigit() for c in before[-2]):
        return False
    if len(after) > 1 and after[0] in joined and (re.match(r"[$€£]?\d", after[1]) or after[1] in _SPOKEN):
        return False
    if found["unit"] or found["money"] or not found["number"].isdigit():
        return True
    return bool(after) and re.fullmatch(r"[a-z][a-z-]{2,}[.,;]?", after[0]) is not None and not verb_like(after[0])


def is_whole(text: str, span: Span) -> bool:
    """The name isn't an adjective of what follows ("the French army"), nor a part of a longer thing."""
    name, before, after = span.cut(text), text[: span.start], text[span.end :]
    if (
        before[-1:] in tuple('(-/"“$&.')
        or after[:1] in tuple('-/"”&')
        or re.match(r"[.,]?\s?(?:&|et al|Inc)|\.\s*\S", after)
    ):
        return False
    if re.search(r"(?:\d|&)\s$", before) or name in _NO_NAMES:
        return False
    behind = re.match(r"\s*([\w'’-]+|[^\w\s])?", after)
    word = (behind[1] if behind else "") or "."
    known = "and or of in on at for from to with by as that which who where when while than but into over under through"
    return not word[0].isalnum() or word in known.split() or finite(word) or word.endswith("ed")
