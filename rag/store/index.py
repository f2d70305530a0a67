"""The index folder on disk, as reader.py and writer.py find it.

    <folder>/catalog.sqlite3          the truth
    <folder>/generations/<n>/chroma   dense index of generation n      } derived: made beside the old ones, never
    <folder>/generations/<n>/chroma-images  of its pictures, if any    } changed once published (Chroma's own marks of
    <folder>/generations/<n>/chroma-audio   of its recordings, if any  } who opened it aside)
    <folder>/generations/<n>/lexical  lexical index of generation n    }
    <folder>/generations/<n>/sizes.json  size and checksum of each of its files (seal.py)
    <folder>/writer.lock, writer.json who is writing (lock.py)

A generation's derived indexes start as a copy of the last ones plus what changed, or from nothing when much did.
They are complete, closed and on the disk before the catalog's one commit names them; a crash leaves at most a folder
that the next writer removes. What is damaged later is noticed by its checksum, before it is opened: readers then
search the catalog's own vectors and texts, and the next sync builds the derived indexes anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from rag.batched import batched
from rag.config import Store
from rag.errors import IndexMismatch
from rag.store.catalog import Catalog
from rag.types import Space

SPACES: tuple[Space, ...] = get_args(Space)  # beside the texts'
PART = 5000  # rows of the catalog that are in memory at once
MEND = "run `rag sync --rebuild`; if that fails too, check the disk's free space"


def index_folder(store: Store, documents: Path) -> Path:
    """`store.path`, or a folder of its own per document folder in the user's data directory.

    Nothing is ever written into the document folder.
    """
    if store.path is not None:
        return store.path.expanduser()
    base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "rag"
    resolved = documents.expanduser().resolve()
    digest = hashlib.blake2b(str(resolved).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return base / f"{resolved.name or 'root'}-{digest}"


def generation_folder(folder: Path, generation: int) -> Path:
    return folder / "generations" / str(generation)


def collection_name(index_id: str, dimension: int, space: Space | None = None) -> str:
    """One collection per index, space and dimension: a server refuses vectors of another length."""
    return f"rag-{index_id}-{dimension}" if space is None else f"rag-{index_id}-{space}-{dimension}"


def chroma_folder(folder: Path, space: Space | None = None) -> Path:
    """Of a generation's folder: where Chroma keeps the texts, or that space."""
    return folder / ("chroma" if space is None else f"chroma-{space}")


def served_name(catalog: Catalog, space: Space | None = None) -> str:
    """The published collection on a Chroma server; empty: there is none."""
    if space is not None:
        name: str = catalog.meta("server_spaces", {}).get(space, "")
        return name
    return collection_name(catalog.made("id"), int(catalog.made("embedding")["dimension"]))


def compare_fingerprint(
    before: dict[str, Any], now: dict[str, Any], folder: Path, what: str = "another embedding"
) -> None:
    if changed := differences(before, now):
        raise IndexMismatch(
            f"the index at {folder} was made with {what} ({changed})",
            "run `rag sync --reindex` to make it anew (vectors that still hold are kept), or restore the setting",
        )


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Each setting that isn't the same, with both values; empty when all are."""
    before, now = as_stored(before), as_stored(now)
    changed = [k for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
    return "; ".join(f"{k}: {before.get(k)!r} then, {now.get(k)!r} now" for k in changed)


def as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    """As the catalog gives it back: tuples have become lists."""
    stored: dict[str, Any] = json.loads(json.dumps(settings))
    return stored


def texts_of(catalog: Catalog, ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    for part in batched(ids, PART):
        yield from zip(part, catalog.chunk_texts(part), strict=True)
