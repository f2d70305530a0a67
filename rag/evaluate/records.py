"""JSON as typed fields. Whatever is wrong becomes a JudgementError that names file, line and field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import JudgementError

A_LINE = "each line has to be one whole JSON object"


def shown(value: object, longest: int = 60) -> str:
    """A value as an error message quotes it."""
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object and where it stands: `place` is file and line, `path` the fields above it, dot at the end."""

    place: str
    path: str
    body: Mapping[str, Any]

    def error(self, key: str, problem: str, hint: str) -> JudgementError:
        return JudgementError(f"{self.place}: {self.path}{key}: {problem}", hint)

    def _get(self, key: str, kind: type, words: str, required: bool) -> Any:
        value = self.body.get(key)
        if value is None:
            if required:
                raise self.error(key, "is missing", f"it has to be {words}")
            return None
        if type(value) is not kind:  # not isinstance: true is no whole number here
            raise self.error(key, f"is {shown(value)}", f"it has to be {words}")
        return value

    def _whole(self, key: str, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = f"character {error.start} is half of a surrogate pair"
            raise self.error(key, problem, "write the character itself, or its pair") from None
        return text

    def text(self, key: str) -> str:
        return self._whole(key, self._get(key, str, "a text", required=True))

    def filled(self, key: str) -> str:
        """A text that isn't blank."""
        value = self.text(key)
        if not value.strip():
            raise self.error(key, "is blank", "it has to be a text")
        return value

    def maybe_text(self, key: str) -> str | None:
        value: str | None = self._get(key, str, "a text, or left out", required=False)
        return None if value is None else self._whole(key, value)

    def number(self, key: str) -> int:
        value: int = self._get(key, int, "a whole number", required=True)
        return value

    def maybe_number(self, key: str) -> int | None:
        value: int | None = self._get(key, int, "a whole number, or left out", required=False)
        return value

    def maybe_flag(self, key: str) -> bool | None:
        value: bool | None = self._get(key, bool, "true or false, or left out", required=False)
        return value

    def identity(self, key: str) -> str:
        """An id: a text, or a whole number, which some sets use."""
        value = self.body.get(key)
        return str(value) if type(value) is int else self.filled(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; none where the field is left out."""
        values: list[Any] = self._get(key, list, "a list of texts", required=False) or []
        for i, value in enumerate(values):
            if type(value) is not str:
                raise self.error(f"{key}[{i}]", f"is {shown(value)}", "it has to be a text")
        return tuple(self._whole(f"{key}[{i}]", v) for i, v in enumerate(values))

    def records(self, key: str) -> list[Record]:
        values: list[Any] = self._get(key, list, "a list of objects", required=True)
        return [self.below(f"{key}[{i}]", value) for i, value in enumerate(values)]

    def below(self, key: str, value: object) -> Record:
        if not isinstance(value, dict):
            raise self.error(key, f"is {shown(value)}", "it has to be an object")
        return Record(self.place, f"{self.path}{key}.", value)

    @property
    def origin(self) -> str:
        """`dev.json: data[0].paragraphs[3]`."""
        return f"{self.place}: {self.path}".rstrip(".: ")


def read_text(path: Path) -> str:
    """The whole file, which has to be UTF-8 (with or without BOM)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise JudgementError(f"{path}: no such file", "give the path of a set of judged questions") from None
    except OSError as error:
        raise JudgementError(f"{path}: {error.strerror or error}", "check the path and its permissions") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JudgementError(
            f"{path.name}:{line}: not UTF-8: byte 0x{data[error.start]:02x}", "save the file as UTF-8"
        ) from None


def parse(text: str, file: str, first_line: int = 1, hint: str = "mend the line") -> Any:
    """JSON, or an error with file, line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{file}:{first_line + error.lineno - 1}"
        raise JudgementError(
            f"{place}: column {error.colno}: not JSON: {error.msg}", f"{hint}; `python -m json.tool` checks one"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise JudgementError(f"{file}:{first_line}: not JSON: {shown(str(error))}", hint) from None


def json_lines(text: str, file: str) -> Iterator[Record]:
    """One object a line; blank lines are skipped. Lines end in \\n only: JSON texts may hold U+2028 and its like."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            value = parse(line, file, number, A_LINE)
            if not isinstance(value, dict):
                raise JudgementError(f"{file}:{number}: is {shown(value)}", A_LINE)
            yield Record(f"{file}:{number}", "", value)
