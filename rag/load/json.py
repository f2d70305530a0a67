"""Data as text (json, jsonl): one line a value with its key, records of one form as a table.

    {"name": "pump", "limits": {"bar": 6}, "parts": [{"id": 1, "price": 2}, {"id": 2, "price": 3}]}

    name: pump          an object or list under a key is a section with the key as its heading
    # limits            beyond DEEPEST, keys are written as a path: a.b[2].c
    bar: 6
    # parts
    | id | price |      records with plain, short values, or lists of one length, the first of words and figures below
    ...

Numbers stand as written: nothing is rounded. What is no JSON after all (comments, a trailing comma) is read as the text
that it is, with a warning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError
from rag.load.blocks import Blocks
from rag.load.decode import clean, decode
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

DEEPEST = 3  # levels of headings
_SHORT = 100  # characters of a value in a table
_COLUMNS = 20
_LINES = (".jsonl", ".ndjson")
_NAMES = ("title", "name", "label", "id", "key")  # what a record is called by, the first that it has


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    blocks = Blocks()
    if relative.lower().endswith(_LINES):
        values, unread = _values(text)
        if unread and not values:
            raise DocumentError("no line of it is JSON", "a .jsonl file has one JSON value a line")
        _Writer(blocks, config.max_chars).value(values, "", 0)
        if unread:
            warnings = (*warnings, f"{unread} lines are no JSON: left out")
    else:
        try:
            value = parse(text)
        except ValueError as error:
            where = str(error).removeprefix("Expecting ")[:100]
            blocks.add(text)
            warnings = (*warnings, f"no valid JSON ({where}): read as plain text")
        else:
            _Writer(blocks, config.max_chars).value(value, "", 0)
    metadata = {"encoding": encoding}
    return Source(relative, blocks.text, "json", headings=blocks.headings, metadata=metadata, warnings=warnings)


def parse(text: str) -> Any:
    """Numbers stay the words that they are written as: no rounding, and no time spent on one of a million digits.
    Raises ValueError, RecursionError."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _values(text: str) -> tuple[list[Any], int]:
    values, unread = [], 0
    for line in text.split("\n"):
        if line.strip():
            try:
                values.append(parse(line))
            except ValueError:
                unread += 1
    return values, unread


class _Writer:
    def __init__(self, blocks: Blocks, most: int) -> None:
        self._blocks = blocks
        self._most = most
        self._gap = "\n\n"

    def value(self, value: Any, path: str, depth: int) -> None:
        """`path`: the keys below the last heading; "" directly under it."""
        if len(self._blocks) > self._most:  # the rest would be cut off anyway
            return
        match value:
            case dict():
                self._object(value, path, depth)
            case list():
                self._list(value, path, depth)
            case _:
                self._line(path, _plain(value))

    def _object(self, value: dict[str, Any], path: str, depth: int) -> None:
        for key, inner in value.items():  # plain values first: below a heading they would seem to belong to it
            if not _nested(inner):
                self.value(inner, f"{path}.{key}" if path else key, depth)
        for key, inner in value.items():
            if _nested(inner):
                self._section(key, inner, f"{path}.{key}" if path else key, depth)

    def _list(self, value: list[Any], path: str, depth: int) -> None:
        if rows := table(value) or grid(value):
            self._blocks.table(rows)
            self._gap = "\n\n"
        elif not any(_nested(inner) or (inner and isinstance(inner, list)) for inner in value):
            if len(_plain(value)) <= _SHORT:
                self._line(path, _plain(value))
            else:
                if path:
                    self._blocks.add(f"{path}:", gap=self._gap)
                for number, word in enumerate(filter(None, map(_plain, value))):
                    self._blocks.item(word, first=not number and not path)
                self._gap = "\n\n"
        else:
            for number, inner in enumerate(value, 1):
                name = _name(inner)
                here = f"{path}[{number}]"
                if isinstance(inner, dict):
                    self._section(f"{number}: {name}" if name else str(number), inner, here, depth)
                else:
                    self.value(inner, here, depth)

    def _section(self, title: str, value: Any, path: str, depth: int) -> None:
        self._gap = "\n\n"
        if depth < DEEPEST:
            self._blocks.heading(depth + 1, title)
            self.value(value, "", depth + 1)
        else:
            self.value(value, path, depth)
        self._gap = "\n\n"

    def _line(self, path: str, text: str) -> None:
        if path and not text:
            return
        broken = "\n" in text.strip("\n")
        self._blocks.add(f"{path}:{chr(10) if broken else ' '}{text}" if path else text, gap=self._gap)
        self._gap = "\n\n" if broken else "\n"


def _nested(value: Any) -> bool:
    """Whether it takes more than a line."""
    if isinstance(value, list):
        return any(isinstance(v, dict | list) for v in value) or len(_plain(value)) > _SHORT
    return isinstance(value, dict) and bool(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_plain, value)))
    if value is None or isinstance(value, dict):
        return ""
    return clean(value) if isinstance(value, str) else str(value).lower()


def _name(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    found = next((value[key] for key in _NAMES if isinstance(value.get(key), str) and value[key].strip()), "")
    return " ".join(found.split())[:_SHORT]


def table(values: list[Any]) -> list[list[str]]:
    """Head and rows of two and more objects with short plain values and mostly the same keys; [] where they aren't."""
    if len(values) < 2 or not all(isinstance(value, dict) for value in values):
        return []
    columns = dict.fromkeys(key for value in values for key in value)
    if not 1 <= len(columns) <= _COLUMNS or sum(map(len, values)) < 0.7 * len(columns) * len(values):
        return []
    if any(_nested(v) or len(_plain(v)) > _SHORT or "\n" in _plain(v) for value in values for v in value.values()):
        return []
    return [list(columns), *_rows(values, list(columns))]


def grid(values: list[Any]) -> list[list[str]]:
    """The rows of two and more lists of short plain values, of one length, whose first one is a head: words, with
    numbers somewhere below. [] where they aren't."""
    if len(values) < 2 or not all(isinstance(value, list) and len(value) == len(values[0]) for value in values):
        return []
    if not 2 <= len(values[0]) <= _COLUMNS or any(isinstance(cell, dict | list) for value in values for cell in value):
        return []
    head, *rows = ([_plain(cell) for cell in value] for value in values)
    if any(len(cell) > _SHORT or "\n" in cell for row in (head, *rows) for cell in row):
        return []
    figures = any(_is_number(cell) for row in rows for cell in row)
    return [head, *rows] if figures and all(head) and not any(map(_is_number, head)) else []


def _is_number(text: str) -> bool:
    """Also of a text that says one: `parse` leaves numbers as they are written."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(values: list[dict[str, Any]], columns: list[str]) -> Iterator[list[str]]:
    for value in values:
        yield [_plain(value.get(column)) for column in columns]
