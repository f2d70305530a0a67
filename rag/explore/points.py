"""What clusters and maps are made of: things with a name, a vector and, where there is one, a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rag.batched import batched
from rag.errors import QueryError
from rag.explore.documents import PART, documents
from rag.types import label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.store import Catalog

    Floats = NDArray[np.float32]

Of = Literal["documents", "chunks"]
EXCERPT = 300  # characters
ROOT = "(top)"  # the folder of files that lie in none


def check_choice(name: str, given: object, choices: Sequence[str]) -> None:
    """For what Python's callers may have misspelt. Raises QueryError."""
    if given not in choices:
        raise QueryError(f"{name} is {given!r}", f"choices: {', '.join(choices)}")


@dataclass(frozen=True)
class Points:
    what: str  # "documents", "chunks", "vectors": for messages
    ids: tuple[str, ...]
    names: tuple[str, ...]  # for people; two chunks of a page share one
    vectors: Floats  # (n, d); of length 1 where `angular`, or zeros
    angular: bool  # near by the angle; else by the straight line
    texts: Callable[[], Iterator[tuple[int, str]]]  # (row, text), several for a row: read when they are needed
    excerpts: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # to colour by: "folder", or a key of metadata

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, rows: Sequence[int]) -> Points:
        place = {row: new for new, row in enumerate(rows)}

        def texts() -> Iterator[tuple[int, str]]:
            return ((place[row], text) for row, text in self.texts() if row in place)

        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            names=tuple(self.names[i] for i in rows),
            vectors=self.vectors[list(rows)],
            texts=texts,
            excerpts=tuple(self.excerpts[i] for i in rows),
            fields={name: tuple(values[i] for i in rows) for name, values in self.fields.items()},
        )

    def sample(self, most: int) -> Points:
        """At most so many, drawn with a fixed seed, in their order."""
        return self if len(self) <= most else self.only(drawn(len(self), most))


def drawn(n: int, most: int) -> list[int]:
    """At most `most` of the numbers below n, ascending; the same ones each time."""
    if n <= most:
        return list(range(n))
    return [int(i) for i in np.sort(np.random.default_rng(0).choice(n, most, replace=False))]


def folder(path: str) -> str:
    """
    >>> folder("reports/2024/may.pdf"), folder("notes.md")
    ('reports', '(top)')
    """
    return path.partition("/")[0] if "/" in path else ROOT


def excerpt(text: str) -> str:
    line = " ".join(text[: 2 * EXCERPT].split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"


def catalog_points(catalog: Catalog, of: Of) -> Points:
    """The documents or chunks of the published index. No model runs. Raises QueryError when there are none."""
    check_choice("of", of, get_args(Of))
    with catalog.snapshot() as generation:
        contents = catalog.contents_seen(catalog.chunk_counts(generation), generation)
        known = sorted(contents.values(), key=lambda c: c.paths)
        place = {content.id: row for row, content in enumerate(known)}
        chunks = sorted((place[content], chunk) for chunk, content, _ in catalog.content_chunks(contents))
        if not chunks:
            raise QueryError("the index holds no document", "put files into the folder and run `rag sync`")
        rows = {chunk: row if of == "documents" else n for n, (row, chunk) in enumerate(chunks)}
        ids: list[str] = []
        names: list[str] = []
        excerpts: list[str] = []
        paths: list[str] = []
        for some in batched(list(rows), PART):
            found = catalog.chunks(some)
            for chunk_id in some:
                chunk, path = found[chunk_id], contents[found[chunk_id].content_id].paths[0]
                if of == "documents" and paths and paths[-1] == path:
                    continue  # a document is shown by its first chunk
                paths.append(path)
                ids.append(path if of == "documents" else chunk.key)
                names.append(path if of == "documents" else label(path, chunk.chunk.location))
                excerpts.append(excerpt(chunk.chunk.text))
        vectors = (
            documents(catalog).vectors
            if of == "documents"
            else np.concatenate([catalog.vectors_of(some) for some in batched(list(rows), PART)])
        )

    def texts() -> Iterator[tuple[int, str]]:
        for some in batched(list(rows), PART):
            for chunk_id, chunk in catalog.chunks(some).items():
                yield rows[chunk_id], chunk.chunk.text

    folders = {"folder": tuple(map(folder, paths))}
    return Points(of, tuple(ids), tuple(names), unit(vectors), True, texts, tuple(excerpts), folders)


def unit(vectors: NDArray[Any]) -> Floats:
    """To length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)
