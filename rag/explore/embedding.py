"""Texts and files -> one matrix of vectors for each kind of thing: each model has a space of its own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np

from rag.errors import ConfigError, QueryError
from rag.load import KINDS
from rag.load.worker import LoaderPool, source_or_error
from rag.media import PICTURES, SOUNDS
from rag.sentences import sentence_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.config import Config
    from rag.embed import AudioEmbedder, ImageEmbedder, TextEmbedder
    from rag.embed.text import Pooling

    Floats = NDArray[np.float32]

Level = Literal["document", "sentence", "token"]
FORMATS = ("npz", "npy", "json", "csv", "parquet")


@dataclass(frozen=True)
class Matrix:
    """Vectors of one space: row i is of `names[i]`."""

    kind: Literal["text", "image", "audio"]
    model: str
    names: tuple[str, ...]
    vectors: Floats  # (len(names), dimension)
    note: str = ""


@dataclass(frozen=True)
class Sorted:
    texts: tuple[tuple[str, str], ...]  # (name, text)
    pictures: tuple[Path, ...]
    sounds: tuple[Path, ...]


def sort_out(items: Sequence[str], config: Config) -> Sorted:
    """Which of the items are files, and what is in them. Raises QueryError, DocumentError for a file that can't be read
    as text; pictures and sounds are decoded later."""
    texts: list[tuple[str, str] | Path] = []
    pictures, sounds = [], []
    for item in items:
        path, suffix = Path(item).expanduser(), Path(item).suffix.lower()
        if not item.strip():
            raise QueryError("an empty text has no vector", "give it some words")
        if len(item) > 1000 or "\n" in item or not path.is_file():
            if " " not in item and suffix in {*KINDS, *PICTURES, *SOUNDS}:
                raise QueryError(f"no file {item}", "check the path; a text that looks like a file name needs a space")
            texts.append((item, item))
        elif suffix in PICTURES:
            pictures.append(path)
        elif suffix in SOUNDS:
            sounds.append(path)
        else:
            texts.append(path)
    files = [t for t in texts if isinstance(t, Path)]
    read = {}
    if files:
        with LoaderPool(config.load) as pool:  # untrusted, as any document
            for path, (_, source) in zip(files, pool.load_many([(f, f.name) for f in files]), strict=True):
                read[path] = source_or_error(path, source).text
    named = tuple((str(t), read[t]) if isinstance(t, Path) else t for t in texts)
    return Sorted(named, tuple(pictures), tuple(sounds))


def text_matrix(
    texts: Sequence[tuple[str, str]], embedder: TextEmbedder, level: Level = "document", pooling: Pooling | None = None
) -> Matrix:
    """(name, text) pairs -> one vector a text, a sentence or a token. `pooling` None: the model's own."""
    model = embedder.model.name
    match level:
        case "token":
            if pooling is not None:
                raise QueryError(f"pooling is {pooling!r}, but tokens aren't pooled", "leave --pooling out")
            found = embedder.token_vectors([text for _, text in texts])
            encodings = [embedder.tokenizer.backend.encode(text) for _, text in texts]
            names = tuple(token for e in encodings for token in e.tokens)
            return Matrix("text", model, names, np.concatenate(found), "one vector a token, in its context")
        case "sentence":
            pieces = [span.cut(text) for _, text in texts for span in sentence_spans(text)]
            note = "one vector a sentence"
        case "document":
            pieces = [text for _, text in texts]
            counts = [embedder.tokenizer.count(p) + embedder.special_tokens for p in pieces]
            long = sum(c > embedder.limit for c in counts)
            note = (
                f"{long} longer than the {embedder.limit} tokens the model reads: the mean of their windows"
                if long
                else ""
            )
        case _:
            assert_never(level)
    vectors = embedder.passage_vectors(pieces) if pooling is None else embedder.pooled_vectors(pieces, pooling)
    names = tuple(n for n, _ in texts) if level == "document" else tuple(pieces)
    return Matrix("text", model, names, vectors, note)


def media_matrices(
    pictures: Sequence[Path],
    sounds: Sequence[Path],
    seeing: Callable[[], ImageEmbedder],
    hearing: Callable[[], AudioEmbedder],
) -> list[Matrix]:
    found = []
    if pictures:
        eye = seeing()
        found.append(Matrix("image", eye.name, tuple(map(str, pictures)), eye.vectors(pictures)))
    if sounds:
        ear = hearing()
        found.append(Matrix("audio", ear.name, tuple(map(str, sounds)), ear.vectors(sounds)))
    return found


# ---- files ----------------------------------------------------------------------------------------------------------


def write(matrices: Sequence[Matrix], out: Path) -> None:
    """By the suffix of `out`. npz and json hold several kinds; the others one. Raises ConfigError, QueryError."""
    form = out.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise ConfigError(f"{out}: unknown format {out.suffix!r}", f"choices: {', '.join('.' + f for f in FORMATS)}")
    if form not in {"npz", "json"} and len(matrices) > 1:
        kinds = ", ".join(f"{m.kind} ({m.vectors.shape[1]} dimensions)" for m in matrices)
        raise QueryError(f"{out.name} holds one matrix, and there are {len(matrices)}: {kinds}", "write .npz or .json")
    if not out.parent.is_dir():
        raise ConfigError(f"no folder {out.parent}", "make it first")
    temporary = out.with_name(f".{out.name}.part")
    try:
        temporary.write_bytes(_bytes(matrices, form))
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _bytes(matrices: Sequence[Matrix], form: str) -> bytes:
    first, buffer = matrices[0], io.BytesIO()
    match form:
        case "npz":
            arrays = {m.kind: m.vectors for m in matrices}
            names = {f"{m.kind}_names": np.asarray(m.names) for m in matrices}
            models = {f"{m.kind}_model": np.asarray(m.model) for m in matrices}
            np.savez_compressed(buffer, allow_pickle=False, **arrays, **names, **models)
        case "npy":
            np.save(buffer, first.vectors, allow_pickle=False)
        case "json":
            told = [
                {"kind": m.kind, "model": m.model, "names": m.names, "vectors": m.vectors.tolist()} for m in matrices
            ]
            return json.dumps(told, ensure_ascii=False).encode()
        case "csv":
            lines = io.StringIO()
            writer = csv.writer(lines)
            writer.writerow(["name", *(f"v{i}" for i in range(first.vectors.shape[1]))])
            writer.writerows([name, *row] for name, row in zip(first.names, first.vectors.tolist(), strict=True))
            return lines.getvalue().encode()
        case "parquet":
            try:
                import pyarrow as pa
                from pyarrow import parquet
            except ImportError:
                raise ConfigError("parquet needs the package pyarrow", "pip install 'rag-folder[parquet]'") from None
            flat = pa.FixedSizeListArray.from_arrays(pa.array(first.vectors.ravel()), first.vectors.shape[1])
            parquet.write_table(pa.table({"name": list(first.names), "vector": flat}), buffer)
    return buffer.getvalue()
