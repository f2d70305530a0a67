"""Vectors from elsewhere: read from a file, kept in a space, searched by example."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rag.embed.similarity import Metric, higher_is_nearer, matrix, measure
from rag.errors import ConfigError, QueryError, RagError, VectorError, brief
from rag.explore.points import Points, excerpt, unit
from rag.store.spaces import MAX_BYTES, Space

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FORMATS = (".npz", ".npy", ".parquet", ".csv", ".json")
PART = 4096  # rows measured at once
IDS = ("id", "ids", "name", "names")


@dataclass(frozen=True)
class Table:
    """What a file holds."""

    vectors: Any  # (n, d)
    ids: Sequence[str] | None = None
    metadata: Sequence[Mapping[str, Any]] | None = None
    model: str | None = None


def read_vectors(file: Path, ids: str | None = None, metadata: Sequence[str] = (), array: str | None = None) -> Table:
    """`ids`: the column or array with the ids; `metadata`: those that are no part of the vector; `array`: which matrix,
    where there are several. Reads what `rag embed --out` writes. Raises VectorError, QueryError, ConfigError."""
    form = file.suffix.lower()
    if form not in FORMATS:
        raise ConfigError(f"{file}: unknown format {form!r}", f"choices: {', '.join(FORMATS)}")
    if not file.is_file():
        raise QueryError(f"no file {file}", "check the path")
    if file.stat().st_size >= MAX_BYTES:
        raise VectorError(f"{file}: {file.stat().st_size >> 20:,} MB, more than {MAX_BYTES >> 20:,}", "split it")
    try:
        match form:
            case ".npy":
                return Table(np.load(file, allow_pickle=False, mmap_mode="r"))
            case ".npz":
                return _npz(file, ids, metadata, array)
            case ".json":
                return _json(json.loads(file.read_text(encoding="utf-8")), ids, array)
            case ".csv":
                return _csv(file, ids, metadata)
            case _:
                return _parquet(file, ids, metadata)
    except RagError:
        raise
    except Exception as error:  # numpy, zipfile, json, csv and pyarrow each have their own, and it is any file
        told = brief(error) or type(error).__name__
        raise VectorError(f"{file}: can't be read as {form}: {told}", "see that it is what its name says") from None


def one_vector(file: Path) -> NDArray[np.float32]:
    """(d,) of a file that holds no more."""
    found = np.asarray(read_vectors(file).vectors, np.float32)
    if found.ndim == 2 and len(found) != 1:
        raise VectorError(f"{file}: holds {len(found)} vectors", "give a file with one")
    return found.reshape(-1)


def _npz(file: Path, ids: str | None, metadata: Sequence[str], array: str | None) -> Table:
    with zipfile.ZipFile(file) as members:
        if (inside := sum(m.file_size for m in members.infolist())) >= MAX_BYTES:
            raise VectorError(f"{file}: {inside >> 20:,} MB inside, more than {MAX_BYTES >> 20:,}", "split it")
    with np.load(file, allow_pickle=False) as held:
        matrices = [key for key in held.files if held[key].ndim == 2]
        key = _one_of(file, matrices, array)
        named = ids or next((n for n in (f"{key}_names", *IDS) if n in held.files), None)
        for wanted in [*([named] if named else []), *metadata]:
            if wanted not in held.files:
                raise QueryError(f"{file}: no array {wanted!r}", f"it has {', '.join(held.files)}")
        rows = _rows({m: held[m].tolist() for m in metadata})
        model = str(held[f"{key}_model"]) if f"{key}_model" in held.files else None
        return Table(held[key], [str(i) for i in held[named].tolist()] if named else None, rows, model)


def _json(body: Any, ids: str | None, array: str | None) -> Table:
    if not isinstance(body, list) or not body or not all(isinstance(row, dict) for row in body):
        raise VectorError("the JSON isn't a list of objects", 'for example [{"id": "a", "vector": [1, 2]}]')
    if "vectors" in body[0]:  # what rag embed writes: a matrix each
        kinds = [str(m.get("kind")) for m in body]
        chosen = body[kinds.index(_one_of(Path("the JSON"), kinds, array))]
        return Table(chosen["vectors"], chosen.get("names"), None, chosen.get("model"))
    named = ids or next((n for n in IDS if n in body[0]), None)
    for row, entry in enumerate(body):
        if "vector" not in entry or (named and named not in entry):
            raise VectorError(
                f"entry {row} has no {'vector' if 'vector' not in entry else named!r}", "give every entry one"
            )
    rest = [{k: v for k, v in entry.items() if k not in ("vector", named)} for entry in body]
    return Table([e["vector"] for e in body], [str(e[named]) for e in body] if named else None, rest)


def _csv(file: Path, ids: str | None, metadata: Sequence[str]) -> Table:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = list(reader.fieldnames or ())
        named = ids or next((c for c in columns if c.lower() in IDS), None)
        for wanted in [*([named] if named else []), *metadata]:
            if wanted not in columns:
                raise QueryError(f"{file}: no column {wanted!r}", f"it has {', '.join(columns[:10])}")
        numbers = [c for c in columns if c != named and c not in metadata]
        known, rows, vectors = [], [], []
        for line, entry in enumerate(reader, 2):
            try:
                vectors.append([float(entry[c]) for c in numbers])
            except (TypeError, ValueError):
                wrong = next(c for c in numbers if not _is_number(entry[c]))
                told = f"{file}: line {line}, column {wrong!r}: {entry[wrong]!r} isn't a number"
                raise VectorError(told, "--metadata names the columns that are no part of the vector") from None
            known.append(entry[named] if named else "")
            rows.append({m: entry[m] for m in metadata})
    return Table(vectors, known if named else None, rows)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _parquet(file: Path, ids: str | None, metadata: Sequence[str]) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("parquet needs the package pyarrow", "pip install 'rag-folder[parquet]'") from None
    table = parquet.read_table(file)
    named = ids or next((c for c in table.column_names if c.lower() in IDS), None)
    lists = [f.name for f in table.schema if "list" in str(f.type)]
    column = _one_of(file, lists, "vector" if "vector" in lists else None)
    for wanted in [*([named] if named else []), *metadata]:
        if wanted not in table.column_names:
            raise QueryError(f"{file}: no column {wanted!r}", f"it has {', '.join(table.column_names)}")
    kept = metadata or [c for c in table.column_names if c not in (named, column)]
    rows = _rows({m: table[m].to_pylist() for m in kept})
    return Table(table[column].to_pylist(), [str(i) for i in table[named].to_pylist()] if named else None, rows)


def _one_of(file: Path, choices: Sequence[str], wanted: str | None) -> str:
    if wanted is None and len(choices) == 1:
        return choices[0]
    if wanted is not None and wanted in choices:
        return wanted
    if not choices:
        raise VectorError(f"{file}: holds no matrix of vectors", "give rows of numbers of one length")
    told = f"no matrix {wanted!r}" if wanted else f"{len(choices)} matrices"
    raise QueryError(f"{file}: {told}", f"--array names one: {', '.join(choices)}")


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]] | None:
    """A dictionary for each row, of columns."""
    return (
        [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] if columns else None
    )


# ---- what is in one ------------------------------------------------------------------------------------------------


def search_space(space: Space, query: ArrayLike, k: int, without: int | None = None) -> list[tuple[str, float]]:
    """(id, score or distance by the space's metric) of the k nearest to `query` (d,), nearest first. Exact; PART rows
    are in memory at a time. Raises VectorError for another dimension, NaN, zeros."""
    if k < 1:
        raise QueryError(f"k is {k}", "ask for 1 or more")
    metric = cast(Metric, space.metric)
    vector = matrix(query, "the query")
    sign = -1.0 if higher_is_nearer(metric) else 1.0
    best: list[tuple[float, int]] = []
    for start in range(0, len(space.ids), PART):
        found = sign * measure(metric, vector, space.vectors[start : start + PART])[0]
        order = np.argsort(found, kind="stable")[: k + 1]
        best = sorted([*best, *((float(found[i]), start + int(i)) for i in order)])[: k + 1]
    return [(space.ids[row], sign * value) for value, row in best if row != without][:k]


def space_points(space: Space) -> Points:
    """Coloured by any key of the metadata; named by the texts in it."""
    angular = space.metric in ("cosine", "dot")
    rows = space.metadata

    def texts() -> Iterator[tuple[int, str]]:
        for row, entry in enumerate(rows):
            if words := " ".join(v for v in entry.values() if isinstance(v, str)):
                yield row, words

    told = tuple(excerpt(" · ".join(f"{k}: {v}" for k, v in entry.items())) for entry in rows)
    keys = list(dict.fromkeys(k for entry in rows for k in entry))
    fields = {k: tuple(str(entry.get(k, "(none)")) for entry in rows) for k in keys}
    vectors = unit(space.vectors) if angular else np.asarray(space.vectors)
    return Points("vectors", space.ids, space.ids, vectors, angular, texts, told, fields)
