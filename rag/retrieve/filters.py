"""Which chunks may be found: by file type, path and page.

On the command line: `type=pdf`, `path=reports/*`, `path!=drafts/*`, `path="meeting notes.md"`, `page=3`, `page=3-7`,
`page>=10`, joined by spaces or commas (all must hold). `path=reports/` is all that is in that folder. From Python,
LangChain's and Chroma's form: `{"type": "pdf", "page": {"$gte": 3}}` with
$eq $ne $gt $gte $lt $lte $in $nin $and $or.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rag.errors import QueryError

FIELDS = ("type", "path", "page")
DEPTH = 16  # of $and and $or in each other: a filter may come from a stranger
_ALIASES = {"source": "path", "file": "path", "kind": "type"}

Predicate = Callable[[str, str, int | None], bool]  # (path, type, page) -> may it be found


@dataclass(frozen=True)
class Filter:
    allows: Predicate
    text: str  # as it was written, for messages

    def __str__(self) -> str:
        return self.text


def parse_filter(given: str | Mapping[str, Any] | None) -> Filter | None:
    """None or an empty one means no filter. Raises QueryError, which names the part and the choices."""
    if not given:
        return None
    if isinstance(given, str):
        parts = [_clause(part) for part in _PART.findall(given)]
        return Filter(lambda path, kind, page: all(p(path, kind, page) for p in parts), given) if parts else None
    return Filter(_mapping(given), str(dict(given)))


_PART = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,\s])+""")  # quotes hold spaces and commas together
_CLAUSE = re.compile(r"(\w+)(!=|>=|<=|=|>|<)(.+)", re.DOTALL)
_RANGE = re.compile(r"(\d+)(?:-|\.\.)(\d+)")
_OPERATORS = {"=": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}


def _clause(part: str) -> Predicate:
    match = _CLAUSE.fullmatch(part)
    if match is None:
        raise QueryError(
            f"filter {part!r} is not FIELD=VALUE",
            f'fields: {", ".join(FIELDS)}; for example: type=pdf page>=3 path="meeting notes.md"',
        )
    name, operator, value = match.groups()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    between = _RANGE.fullmatch(value)
    if _field(name) == "page" and operator == "=" and between:
        low, high = int(between[1]), int(between[2])
        return lambda path, kind, page: page is not None and low <= page <= high
    return _condition(name, _OPERATORS[operator], value)


def _field(name: str) -> str:
    field = _ALIASES.get(name, name)
    if field not in FIELDS:
        raise QueryError(f"there is no field {name!r} to filter by", f"fields: {', '.join(FIELDS)}")
    return field


def _mapping(given: Any, depth: int = 0) -> Predicate:
    if not isinstance(given, Mapping):
        raise QueryError(f"a filter is a mapping, got {given!r}", 'for example {"type": "pdf"}')
    if depth > DEPTH:
        raise QueryError(f"the filter is nested deeper than {DEPTH}", "write it flatter")
    parts: list[Predicate] = []
    for name, value in given.items():
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise QueryError(
                    f"{name} needs a list of filters, got {value!r}", f'for example {{"{name}": [{{"type": "pdf"}}]}}'
                )
            inner = [_mapping(v, depth + 1) for v in value]
            parts.append(_all(inner) if name == "$and" else _any(inner))
        elif isinstance(value, Mapping):
            parts.extend(_condition(name, operator, wanted) for operator, wanted in value.items())
        else:
            parts.append(_condition(name, "$eq", value))
    return _all(parts)


def _all(parts: list[Predicate]) -> Predicate:
    return lambda path, kind, page: all(p(path, kind, page) for p in parts)


def _any(parts: list[Predicate]) -> Predicate:
    return lambda path, kind, page: any(p(path, kind, page) for p in parts)


def _condition(name: str, operator: str, wanted: Any) -> Predicate:
    field = _field(name)
    if operator in ("$in", "$nin"):
        if not isinstance(wanted, (list, tuple, set)):
            raise QueryError(
                f"{operator} on {name} needs a list, got {wanted!r}", 'for example {"type": {"$in": ["pdf"]}}'
            )
        anywhere = _any([_condition(name, "$eq", w) for w in wanted])
        return anywhere if operator == "$in" else lambda path, kind, page: not anywhere(path, kind, page)
    if operator not in _OPERATORS.values():
        raise QueryError(
            f"unknown filter operator {operator!r}", f"choices: {', '.join(_OPERATORS.values())}, $in, $nin, $and, $or"
        )
    if field == "page":
        try:
            number = int(wanted)
        except (TypeError, ValueError, OverflowError):
            raise QueryError(f"page must be a number, got {wanted!r}", "for example page>=3 or page=3-7") from None
        compare = _COMPARE[operator]
        return lambda path, kind, page: page is not None and compare(page, number)
    if operator not in ("$eq", "$ne"):
        raise QueryError(
            f"{name} can't be compared with {operator}", "text fields take = and != (with * as a wildcard)"
        )
    named = str(wanted)
    if field == "type":
        named = named.lower().removeprefix(".")
    pattern = re.compile(fnmatch.translate(f"{named}*" if field == "path" and named.endswith("/") else named))
    found: Predicate = (
        (lambda path, kind, page: path == named or bool(pattern.match(path)))  # a name may hold brackets
        if field == "path"
        else (lambda path, kind, page: any(map(pattern.match, (kind, path.rpartition(".")[2].lower()))))
    )
    return found if operator == "$eq" else lambda path, kind, page: not found(path, kind, page)


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}
