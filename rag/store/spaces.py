"""Vectors that belong to no document, each kind in a space of its own: one file a space, beside the index.

    <index folder>/spaces/<name>.space

    MAGIC · length of the header (8 bytes) · header, JSON: dimension, metric, model, ids, metadata · padding to 64 bytes
    · (count, dimension) float32, row by row · SHA-256 of all before

A space is written whole under another name and takes its own when it is on the disk, so a reader finds the one before
or the new one. Opening reads the file once to check its hash; the vectors are then mapped, not loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from rag.errors import IndexDamaged, QueryError, StoreError, VectorError
from rag.store.files import appearing

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MAGIC = b"RAGSPC1\n"
METRICS = ("cosine", "dot", "euclidean", "manhattan")
MAX_BYTES = 2**31  # of vectors, and of a file that they are taken from
_PIECE = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = frozenset({"documents", "chunks", "text", "image", "images", "audio"})  # what is searched has these names


@dataclass(frozen=True)
class Space:
    name: str
    ids: tuple[str, ...]
    vectors: NDArray[np.float32]  # (n, d), mapped from the file
    metric: str  # of METRICS
    model: str | None  # that made the vectors, where it is known
    metadata: tuple[Mapping[str, Any], ...]  # one a row; empty where there is none

    def row(self, id_: str) -> int:
        try:
            return self.ids.index(id_)
        except ValueError:
            raise QueryError(
                f"no {id_!r} in the space {self.name}", f"its ids are like {', '.join(self.ids[:3])}"
            ) from None


class Spaces:
    """The spaces beside one index."""

    def __init__(self, index_folder: Path) -> None:
        self.folder = index_folder / "spaces"

    def names(self) -> list[str]:
        return sorted(p.stem for p in self.folder.glob("*.space")) if self.folder.is_dir() else []

    def add(
        self,
        name: str,
        vectors: ArrayLike,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        metric: str = "cosine",
        model: str | None = None,
    ) -> Space:
        """Make the space `name`, or replace it whole. `vectors`: (n, d); `ids`: None means the row's number;
        `metadata`: one mapping a row, of what JSON holds. Raises VectorError, QueryError and StoreError."""
        found = _checked(vectors, metric)
        known = [str(i) for i in (range(len(found)) if ids is None else ids)]
        rows = [dict(m) for m in metadata] if metadata is not None else [{} for _ in known]
        for what, length in (("ids", len(known)), ("rows of metadata", len(rows))):
            if length != len(found):
                raise VectorError(
                    f"{len(found)} vectors and {length} {what}", "give one for each row, in the same order"
                )
        seen: dict[str, int] = {}
        for row, id_ in enumerate(known):
            if seen.setdefault(id_, row) != row:
                raise VectorError(f"the id {id_!r} is that of row {seen[id_]} and of row {row}", "ids must be unique")
        try:
            header = json.dumps({"dimension": found.shape[1], "metric": metric, "model": model, "ids": known,
                                 "metadata": rows}, allow_nan=False).encode()  # fmt: skip
        except (TypeError, ValueError) as error:
            raise VectorError(f"the metadata can't be kept: {error}", "give texts, numbers, true and false") from None
        header += b" " * (-(len(MAGIC) + 8 + len(header)) % 64)
        self._write(self._file(name), MAGIC + struct.pack("<Q", len(header)) + header, found)
        return self.open(name)

    def open(self, name: str) -> Space:
        """Raises QueryError when there is none, IndexDamaged when the file isn't what was written."""
        file = self._file(name)
        try:
            stream = file.open("rb")
        except FileNotFoundError:
            held = ", ".join(self.names()) or "none yet: `rag vectors add NAME FILE` makes one"
            raise QueryError(f"there is no space {name!r}", f"spaces: {held}") from None
        hint = f"`rag vectors add {name} FILE` makes it anew"
        with stream:
            at = _hashed(stream, file, hint)
            stream.seek(len(MAGIC))
            (length,) = struct.unpack("<Q", stream.read(8))
            start = len(MAGIC) + 8 + length
            if start > at:
                raise IndexDamaged(f"{file}: its header is longer than the file", hint)
            header = json.loads(stream.read(length))
        n, d = len(header["ids"]), int(header["dimension"])
        if at - start != 4 * n * d:
            raise IndexDamaged(f"{file}: {at - start:,} bytes of vectors, not {4 * n * d:,}", hint)
        vectors = np.memmap(file, "<f4", "r", start, (n, d))
        return Space(name, tuple(header["ids"]), vectors, header["metric"], header["model"], tuple(header["metadata"]))

    def delete(self, name: str) -> None:
        """Raises QueryError when there is none; a damaged one goes too."""
        try:
            self._file(name).unlink()
        except FileNotFoundError:
            self.open(name)  # says which there are

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise QueryError(f"{name!r} can't name a space", "letters, digits, . _ and -, 64 at most")
        if name.lower() in RESERVED:
            raise QueryError(f"{name!r} names what is in the document folder", "choose another name")
        return self.folder / f"{name}.space"

    def _write(self, file: Path, head: bytes, vectors: NDArray[np.float32]) -> None:
        whole = hashlib.sha256(head)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with appearing(file) as stream:
                stream.write(head)
                for start in range(0, len(vectors), 4096):
                    data = vectors[start : start + 4096].astype("<f4").tobytes()
                    whole.update(data)
                    stream.write(data)
                stream.write(whole.digest())
        except OSError as error:
            raise StoreError(f"{file}: can't be written: {error.strerror or error}", "make room on the disk") from error


def _hashed(stream: BinaryIO, file: Path, hint: str) -> int:
    """Where the hash stands that the file ends with, and agrees with."""
    at = stream.seek(0, 2) - 32
    stream.seek(0)
    if at < len(MAGIC) + 8 or stream.read(len(MAGIC)) != MAGIC:
        raise IndexDamaged(f"{file}: not a space, or cut short", hint)
    whole, left = hashlib.sha256(MAGIC), at - len(MAGIC)
    while left and (piece := stream.read(min(_PIECE, left))):
        whole.update(piece)
        left -= len(piece)
    if whole.digest() != stream.read(32):
        raise IndexDamaged(f"{file}: altered or damaged: its SHA-256 isn't the one it ends with", hint)
    return at


def _checked(vectors: ArrayLike, metric: str) -> NDArray[np.float32]:
    if metric not in METRICS:
        raise QueryError(f"there is no metric {metric!r}", f"choices: {', '.join(METRICS)}")
    try:
        found = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise VectorError(
            f"the vectors aren't rows of numbers of one length ({error})", "give an (n, d) array"
        ) from None
    if found.ndim != 2 or not found.size:
        raise VectorError(f"the vectors have shape {found.shape}", "give an (n, d) array with n >= 1 and d >= 1")
    if found.nbytes > MAX_BYTES:
        raise VectorError(f"{found.nbytes >> 20:,} MB of vectors, more than {MAX_BYTES >> 20:,}", "make several spaces")
    for start in range(0, len(found), 4096):
        part = found[start : start + 4096]
        for bad, what, hint in (
            (~np.isfinite(part).all(axis=1), "holds NaN or infinity", "leave such rows out, or make them anew"),
            (
                ~part.any(axis=1) & (metric == "cosine"),
                "is a vector of zeros, which has no angle",
                "--metric euclidean",
            ),
        ):
            if bad.any():
                raise VectorError(f"row {start + int(np.argmax(bad))} {what}", hint)
    return found
