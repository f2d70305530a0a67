"""A number as its cell's format shows it (ECMA-376, part 1, 18.8.31): rounding, currency, unit, percent.

Fractions, powers of ten and dates aren't formatted here: they are left to the number itself. A number alone gets no
commas between its thousands, as it can be searched for; nor brackets for a minus.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property, lru_cache
from typing import NamedTuple

_LONGEST = 255  # characters of a format, says Excel
_MOST_PLACES = 9  # a format may ask for 30, and more than 28 digits in all are no number to Decimal
_MOST = Decimal(10) ** 15  # larger numbers are written with a power anyway

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_(?P<width>.)|\*(?P<fill>.)|\[\$(?P<sign>[^\]-]*)[^\]]*\]|\[(?P<told>[^\]]*)\]'
    r"|(?P<unknown>[0#?]/|[Ee][+-]|@)|(?P<figure>[0#?.,%]|General)|(?P<end>;)|(?P<plain>.)",
    re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)(-?\d{1,15}(?:\.\d{1,15})?)")
_COMPARED: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<>": operator.ne, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_SPACES, _DIGIT, _NOT_ZERO, _PLACE = map(re.compile, (" {2,}", r"\d", "[1-9]", r"\d,?"))
_MINUS = re.compile("[+\N{MINUS SIGN}()-]")


@dataclass
class _Section:
    """Of a format: its parts, and which of them stand for figures (`0`, `.`, `,`), not for themselves."""

    parts: list[str] = field(default_factory=list)
    figures: list[int] = field(default_factory=list)
    condition: tuple[str, Decimal] | None = None
    known: bool = True

    @cached_property
    def words(self) -> str:
        """Without signs."""
        own = (part for at, part in enumerate(self.parts) if part == "%" or at not in self.figures)
        return _MINUS.sub("", "".join(own)).strip()

    @cached_property
    def unsigned(self) -> list[str]:
        return [part if at in self.figures else _MINUS.sub("", part) for at, part in enumerate(self.parts)]

    @cached_property
    def digits(self) -> _Digits:
        return _digits(self.parts, self.figures, bool(self.words))


class _Digits(NamedTuple):
    """Where a section shows a number's digits, and how."""

    whole: list[int]  # the places of digits
    behind: list[int]  # of those behind the point
    point: int | None
    least: int  # digits that are shown though they be noughts
    least_behind: int
    power: int  # of ten, by which the number is multiplied
    grouped: bool  # thousands, by commas


def _digits(parts: list[str], figures: list[int], words: bool) -> _Digits:
    places = [at for at in figures if parts[at] in "0#?"]
    point = next((at for at in figures if parts[at] == "."), None)
    whole = [at for at in places if point is None or at < point]
    behind = [at for at in places if point is not None and at > point]
    commas = [at for at in figures if parts[at] == ","]
    grouping = [at for at in commas if whole and whole[0] < at < whole[-1]]
    least = next((len(whole) - n for n, at in enumerate(whole) if parts[at] == "0"), 0)
    least_behind = next((n for n in range(len(behind), 0, -1) if parts[behind[n - 1]] == "0"), 0)
    power = 2 * sum(parts[at] == "%" for at in figures) - 3 * (len(commas) - len(grouping))
    return _Digits(whole, behind, point, least, least_behind, power, words and bool(grouping))


def formatted(plain: str, form: str) -> str | None:
    """None where the number says it best as it is.

    >>> formatted("1234.5", "$#,##0.00"), formatted("1067", "00000"), formatted("1234.567", "#,##0.00")
    ('$1,234.50', '01067', '1234.57')
    >>> formatted("0.125", "0%"), formatted("-8", '0 "kg"_);(0 "kg")'), formatted("2500000", '0.0,,"M"')
    ('13%', '-8 kg', '2.5M')
    """
    if form == "General" or len(form) > _LONGEST:
        return None
    try:
        value = Decimal(plain)
        if not value.is_finite() or abs(value) >= _MOST:
            return None
        sections = _sections(form)
        section = _section(sections, value)
        return _filled(section, value, plain, sections[0]) if section and section.known else None
    except ArithmeticError:
        return None


@lru_cache(maxsize=256)
def _sections(form: str) -> tuple[_Section, ...]:
    sections = [_Section()]
    for token in _TOKEN.finditer(form):
        section, kind, text = sections[-1], token.lastgroup, token[token.lastgroup or 0]
        if kind == "end":
            sections.append(_Section())
        elif kind == "unknown":
            section.known = False
        elif kind == "told":  # a colour, or a condition
            if found := _CONDITION.fullmatch(text):
                section.condition = found[1], Decimal(found[2])
        else:
            if kind in ("width", "fill"):  # which stand for space
                text = " " if text == " " and (kind == "width" or "".join(section.parts)[-1:].isalpha()) else ""
            if kind == "figure":
                section.figures.append(len(section.parts))
            section.parts.append(text)
    return tuple(sections)


def _section(sections: tuple[_Section, ...], value: Decimal) -> _Section | None:
    """For positive numbers, negative ones and zero, unless they say themselves for which they are."""
    if any(section.condition for section in sections):
        fitting = (s for s in sections if not s.condition or _COMPARED[s.condition[0]](value, s.condition[1]))
        return next(fitting, None)
    wanted = 1 if value < 0 else 2 if value == 0 else 0
    return sections[wanted if wanted < min(len(sections), 3) else 0]


def _filled(section: _Section, value: Decimal, plain: str, first: _Section) -> str | None:
    signed = value < 0 and section.words == first.words  # or words tell that it is negative
    parts = list(section.unsigned if signed else section.parts)
    if section.figures and parts[section.figures[0]] == "General":
        parts[section.figures[0]] = plain.removeprefix("-")
    elif section.figures:
        _set_digits(parts, section, abs(value))
    text = _SPACES.sub(" ", "".join(parts)).strip()
    if not _DIGIT.search(text) and (section.figures or not any(c.isalpha() for c in text)):
        return None  # a dash for zero, or nothing
    return f"-{text}" if signed and _NOT_ZERO.search(text) else text


def _set_digits(parts: list[str], section: _Section, value: Decimal) -> None:
    """In the places of the figures."""
    form = section.digits
    rounded = value.scaleb(form.power).quantize(Decimal(1).scaleb(-min(len(form.behind), _MOST_PLACES)), ROUND_HALF_UP)
    digits, _, rest = f"{rounded:{',' if form.grouped else ''}f}".partition(".")
    digits = digits.lstrip("0").rjust(form.least, "0")
    rest = rest[: form.least_behind] + rest[form.least_behind :].rstrip("0")
    for at in section.figures:
        if parts[at] != "%":
            parts[at] = ""
    if form.point is not None:
        parts[form.point] = "." if rest else ""
    shown = _PLACE.findall(digits)
    for at in reversed(form.whole[1:]):
        parts[at] = shown.pop() if shown else ""
    if form.whole:
        parts[form.whole[0]] = "".join(shown)
    elif form.point is not None:
        parts[form.point] = digits + parts[form.point]
    for at, digit in zip(form.behind, rest, strict=False):
        parts[at] = digit
