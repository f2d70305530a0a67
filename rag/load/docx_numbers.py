"""The numbers that Word shows in front of paragraphs and keeps nowhere in their text: `4.2`, `(a)`, `iv.`

ECMA-376 part 1, 17.9: a paragraph names a numbering and a level; the numbering an abstract one, which says how each
level looks. Paragraphs of one abstract numbering count on, unless theirs begins anew (17.9.26).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rag.load.blocks import number
from rag.load.numerals import numeral

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
LEVELS = 9
_PLACE = re.compile(r"%([1-9])")
_MOST = 40  # characters of a mark
_MOST_START = 10**6
_FORMS = {"lowerLetter": "a", "upperLetter": "A", "lowerRoman": "i", "upperRoman": "I", "decimalZero": "01"}


def value(parent: Any, name: str) -> str:
    """What the child of that name says; an empty text where there is none."""
    found = None if parent is None else parent.find(f"{W}{name}")
    return "" if found is None else found.get(f"{W}val", "")


def toggle(element: Any) -> bool | None:
    """On where it stands, unless it says otherwise; None: it doesn't stand there."""
    return None if element is None else element.get(f"{W}val", "1") not in ("0", "false", "off")


def related(document: Any, *kinds: str) -> Iterator[tuple[str, Any]]:
    """Parts that lie beside a document's own, as `footnotes` or `numbering`: the kind and the root of its XML."""
    from docx.oxml.parser import parse_xml

    for relation in document.part.rels.values():
        kind = relation.reltype.rpartition("/")[2]
        if not relation.is_external and kind in kinds:
            yield kind, parse_xml(relation.target_part.blob)


def level_of(text: str) -> int:
    """0 is the outermost; nonsense is taken for that."""
    return min(number(text, 0), LEVELS - 1)


@dataclass(frozen=True)
class _Level:
    form: str  # decimal, lowerLetter, bullet, none, ...
    text: str  # %1 stands for the number of the outermost level
    start: int
    legal: bool  # the numbers of outer levels in digits, whatever form they have of their own


class Numbers:
    """The marks of one document, asked for in the order of its paragraphs."""

    def __init__(self, document: Any) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}
        self._abstract: dict[str, str] = {}
        self._anew: dict[str, dict[int, int]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        for _, root in related(document, "numbering"):
            abstracts = {e.get(f"{W}abstractNumId", ""): e for e in root.iterchildren(f"{W}abstractNum")}
            styled = {value(e, "styleLink"): name for name, e in abstracts.items()}
            styled.pop("", None)
            for name, abstract in abstracts.items():
                levels = {number(e.get(f"{W}ilvl", ""), 0): _level(e) for e in abstract.iterchildren(f"{W}lvl")}
                self._levels[name] = levels
            for one in root.iterchildren(f"{W}num"):
                name = one.get(f"{W}numId", "")
                own = value(one, "abstractNumId")
                # One without levels may name a style of lists instead, whose own numbering it then is (17.9.21).
                self._abstract[name] = styled.get(value(abstracts.get(own), "numStyleLink"), own)
                starts = ((e.get(f"{W}ilvl", ""), value(e, "startOverride")) for e in one.iter(f"{W}lvlOverride"))
                self._anew[name] = {number(level, 0): _start(start) for level, start in starts if start}

    def mark(self, name: str, depth: int) -> str:
        """In front of the next paragraph of numbering `name` on level `depth`, 0 the outermost; empty for a bullet."""
        abstract = self._abstract.get(name, "")
        levels = self._levels.get(abstract, {})
        level = levels.get(depth)
        if level is None or level.form in ("bullet", "none"):
            return ""
        counts = self._counts.setdefault(abstract, {})
        for begun, start in self._anew.pop(name, {}).items():  # once, by its first paragraph
            counts[begun] = start - 1
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [d for d in counts if d > depth]:
            del counts[deeper]

        def shown(place: re.Match[str]) -> str:
            at = int(place[1]) - 1
            outer = levels.get(at, level)
            form = "1" if level.legal else _FORMS.get(outer.form, "1")
            return numeral(counts.get(at, outer.start), form)

        return _PLACE.sub(shown, level.text)[:_MOST].strip()


def _start(text: str) -> int:
    return min(number(text, 0, digits=7), _MOST_START)


def _level(element: Any) -> _Level:
    start = _start(said) if (said := value(element, "start")) else 1
    legal = toggle(element.find(f"{W}isLgl")) or False
    return _Level(value(element, "numFmt") or "decimal", value(element, "lvlText"), start, legal)
