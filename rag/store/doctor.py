"""`rag doctor`: does what was derived agree with the catalog, and is the catalog what it was?

It reads only. Chroma and tantivy write into a folder when they open it, so both are looked at in a copy of the
generation, which needs as much free disk for a moment.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.batched import batched
from rag.config import Store
from rag.errors import IndexDamaged, IndexMissing, RagError, StoreError, brief
from rag.store.analyze import Analyzer
from rag.store.catalog import Catalog, reading_mode
from rag.store.copies import is_good
from rag.store.damage import REPAIR, ROOM, copies, folder_in_place, is_of_the_disk, newest_copy, ways_out
from rag.store.files import copy_to_change
from rag.store.index import PART, SPACES, chroma_folder, differences, generation_folder, served_name
from rag.store.lexical import Lexical
from rag.store.seal import is_whole
from rag.store.spaces import Spaces
from rag.store.vectors import open_embedded, open_server
from rag.types import Check, Health, Space

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

SAMPLE = 100  # chunks that are looked for by their own vector and words
REBUILD = "`rag doctor --repair` makes it anew from the catalog"
ANEW = "restore it from a copy or `rag import`, or delete the index folder and run `rag sync`"
KNOWN = frozenset({"catalog.sqlite3", "catalog.sqlite3-wal", "catalog.sqlite3-shm", "copies",
                   "generations", "writer.lock", "writer.json", "spaces"})  # fmt: skip


def examine(folder: Path, store: Store, fingerprint: dict[str, Any]) -> Health:
    """Every check there is, reading only. Raises IndexMissing, StoreError when the disk doesn't let it look, and
    IndexDamaged or IndexMismatch when the catalog can't be opened at all."""
    file = folder / "catalog.sqlite3"
    if not file.exists() and not copies(folder):
        raise IndexMissing(f"there is no index at {folder}", "run `rag sync` first")
    checks = [integrity(file)]
    if not checks[0].ok:
        return Health(tuple(checks))
    with closing(Catalog(file, readonly=True)) as catalog, catalog.snapshot() as generation:
        if not generation:
            raise IndexMissing(f"the index at {folder} was never finished", "run `rag sync`")
        ids = catalog.chunk_ids(generation)
        changed = differences(catalog.made("embedding"), fingerprint)
        told = f"made with another embedding: {changed}" if changed else str(fingerprint["model"])
        checks.append(Check("embedding", not changed, told, "`rag sync --reindex`, or restore the setting"))
        checks += _guarded("chunks", lambda: _contents(catalog, generation), ANEW)
        checks += _guarded("rows", lambda: iter([_sums(catalog)]), ANEW)
        checks += _guarded("vectors", lambda: iter([_vectors(catalog, ids)]), ANEW)
        here = generation_folder(folder, generation)
        checks += _guarded("dense index", lambda: _dense(here, catalog, catalog.without_twins(ids, generation), store))
        checks += _guarded("lexical index", lambda: _lexical(here, catalog, ids))
        for space in SPACES:
            if held := catalog.vector_ids(generation, space):
                checks += _guarded(space, partial(_dense, here, catalog, held, store, space))
        checks += _guarded("catalog's copy", lambda: iter([_copy(folder, generation, store)]))
        checks += _guarded("vector spaces", lambda: _spaces(folder), "`rag vectors add` makes it anew")
        checks += [_orphans(folder, generation), _disk(folder, store)]
    return Health(tuple(checks))


def _guarded(name: str, look: Callable[[], Iterator[Check]], hint: str = REBUILD) -> list[Check]:
    try:
        return list(look())
    except OSError as error:  # of the copy; what is wrong with a part of the index is an error of another kind
        room = "make room on the disk of temporary files (TMPDIR names another)"
        return [Check(name, False, f"couldn't be looked at: {error.strerror or error}", room)]
    except RagError as error:
        return [Check(name, False, error.message, hint)]
    except Exception as error:  # what sqlite, json, tantivy and Chroma raise over a byte that was flipped
        return [Check(name, False, brief(error, named=True), hint)]


# ---- the catalog ----------------------------------------------------------------------------------------------------


def integrity(file: Path) -> Check:
    """SQLite's own check of every page. Raises StoreError where the disk or its permissions don't let it look."""
    try:
        uri = f"{file.resolve().as_uri()}?{reading_mode(file)}"
        with closing(sqlite3.connect(uri, uri=True, timeout=10)) as database:
            said = [row[0] for row in database.execute("PRAGMA integrity_check(5)")]
    except (sqlite3.DatabaseError, ValueError) as error:  # ValueError: its words aren't UTF-8, where a name was hit
        if file.is_file() and not folder_in_place(file) and is_of_the_disk(error):
            raise StoreError(f"{file}: {error}", ROOM) from error
        said = [brief(error)]
    whole = said == ["ok"]
    return Check("catalog", whole, "every page is whole" if whole else "; ".join(said), ways_out(file))


def _contents(catalog: Catalog, generation: int) -> Iterator[Check]:
    """Each chunk stands in its text where it says, and what is odd in the texts."""
    wrong, odd = [], Counter[str]()
    unshown = {name: Counter[str]() for name in _UNSHOWN}
    chunks = 0
    for number, content in catalog.contents_seen(catalog.chunk_counts(generation), generation).items():
        path = content.paths[0]
        source = catalog.source(number, path)
        rows = catalog.chunks_of(number)
        chunks += len(rows)
        if any(row.chunk.span.cut(source.text) != row.chunk.text for row in rows):
            wrong.append(path)
        if count := hidden_signs(source.text):
            odd[path] = count
        for name, counts in unshown.items():
            if count := int(source.metadata.get(name, 0)):
                counts[path] = count
    told = f"{chunks:,} stand where they say" if not wrong else f"not the text of {_some(wrong)}"
    yield Check("chunks", not wrong, told, ANEW)
    if odd:
        yield Check("hidden characters", True, f"signs that can't be seen or read in {_counted(odd)}")
    told = "; ".join(f"{_UNSHOWN[name]} {_counted(counts)}" for name, counts in unshown.items() if counts)
    if told:
        yield Check("hidden text", True, told)


_UNSHOWN = {  # what loaders count, in `Source.metadata`
    "hidden": "characters that the document doesn't show, in",
    "over_scan": "characters laid invisibly over a scanned page, as OCR does, in",
}


def _counted(counts: Counter[str]) -> str:
    return _some([f"{path} ({count:,})" for path, count in counts.most_common()])


# Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt, 17.0) without the soft hyphen and the
# joiners of Persian and emoji; other format characters; the two blanks that are no spaces; private use; what stands for
# a sign that was lost.
_UNSEEN = re.compile(
    "[\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u2800\U0001d159\ue000-\uf8ff\U000f0000-\U0010ffff\ufffd]"
)


def hidden_signs(text: str) -> int:
    """How many signs a reader doesn't see but a model does, or whose meaning nobody knows. A selector of the form of
    the emoji, symbol or ideograph before it isn't counted."""
    return sum(not _selects(found[0], text, found.start()) for found in _UNSEEN.finditer(text))


def _selects(c: str, text: str, at: int) -> bool:
    before = text[at - 1] if at else ""
    if "\ufe00" <= c <= "\ufe0f":
        keycap = before in set("#*0123456789") and text[at + 1 : at + 2] == "\u20e3"
        return bool(before) and (
            keycap or before in "\u203c\u2049" or unicodedata.category(before) in ("So", "Sm") or _han(before)
        )
    return "\U000e0100" <= c <= "\U000e01ef" and _han(before)


def _han(c: str) -> bool:
    return unicodedata.name(c, "").startswith("CJK ") if c else False


def _sums(catalog: Catalog) -> Check:
    """Each text, chunk and vector against its checksum."""
    catalog.check_census(catalog.generation)
    wrong = {table: count for table, count in catalog.altered().items() if count}
    told = ", ".join(f"{count:,} of {table}" for table, count in wrong.items())
    return Check("rows", not wrong, f"not what was stored: {told}" if wrong else "each is what was stored", REPAIR)


def _vectors(catalog: Catalog, ids: Sequence[int]) -> Check:
    hint = REPAIR
    wrong = 0
    try:
        for part in batched(ids, PART):
            vectors = catalog.vectors_of(part)
            wrong += int((~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)).sum())
    except (IndexDamaged, ValueError) as error:
        return Check("vectors", False, str(error), hint)
    return Check("vectors", not wrong, f"{len(ids):,}" if not wrong else f"{wrong:,} aren't numbers, or zero", hint)


# ---- what is derived ------------------------------------------------------------------------------------------------


def _dense(here: Path, catalog: Catalog, ids: list[int], store: Store, space: Space | None = None) -> Iterator[Check]:
    """The vectors of the texts, or of a space, in Chroma as in the catalog."""
    name, recall = ("dense index", "dense recall") if space is None else (space, f"{space} recall")
    dimension = int(catalog.made(space or "embedding")["dimension"])
    with tempfile.TemporaryDirectory(prefix="rag-doctor-") as copy:
        if store.kind == "chroma-server":
            served = served_name(catalog, space)
            index = open_server(served, dimension, store) if served else None
            if index is None:
                raise StoreError(f"the Chroma server has lost the {space or 'index'}", REBUILD)
        else:
            kept = chroma_folder(here, space)
            if not is_whole(here, f"{kept.name}/"):
                yield Check(name, False, "a file is missing, cut short or altered: exact search answers", REBUILD)
                return
            copy_to_change(kept, Path(copy) / kept.name)
            index = open_embedded(Path(copy) / kept.name, dimension, store, space=space)
        with closing(index):
            yield _same(name, index.ids(), ids, "vectors", extra=store.kind == "chroma-server" and space is None)
            sample = _sample(ids)
            lost = 0
            for vector in catalog.vectors_of(sample, "chunks" if space is None else "media"):
                best = index.search(vector, 1)
                lost += not best or best[0][1] < _own(vector)
        told = f"{len(sample)} of {len(ids):,} vectors looked for by themselves: {lost} not found"
        yield Check(recall, not lost, told, REBUILD)


def _own(vector: NDArray[np.float32]) -> float:
    """The least cosine that a vector has with itself in an index: rounding takes a little."""
    return 0.9999 if np.isfinite(vector).all() else 2.0


def _lexical(here: Path, catalog: Catalog, ids: list[int]) -> Iterator[Check]:
    if not is_whole(here, "lexical/"):
        yield Check("lexical index", False, "a file is missing, cut short or altered: memory answers", REBUILD)
        return
    analyzer = Analyzer(catalog.made("analyzer").partition(":")[2])
    with tempfile.TemporaryDirectory(prefix="rag-doctor-") as copy:
        copy_to_change(here / "lexical", Path(copy) / "lexical")
        index = Lexical(Path(copy) / "lexical", analyzer)
        yield _same("lexical index", index.ids(), ids)
        sample, lost, asked = _sample(ids), 0, 0
        for chunk, text in zip(sample, catalog.chunk_texts(sample), strict=True):
            if analyzer.terms(text):
                asked += 1
                lost += not index.search(text, 1, [chunk])
    told = f"{asked} of {len(ids):,} chunks looked for by their words: {lost} not found"
    yield Check("lexical recall", not lost, told, REBUILD)


def _same(name: str, held: list[int], ids: list[int], what: str = "chunks", extra: bool = False) -> Check:
    """`extra`: a server may hold more for a moment, which nobody sees."""
    missing, more = set(ids) - set(held), set() if extra else set(held) - set(ids)
    told = f"{len(missing)} missing, {len(more)} too many" if missing | more else f"{len(ids):,} {what}, the catalog's"
    return Check(name, not missing | more, told, REBUILD)


def _sample(ids: Sequence[int]) -> list[int]:
    drawn = np.random.default_rng(0).permutation(len(ids))[:SAMPLE]
    return [ids[i] for i in sorted(drawn.tolist())]


# ---- the folder -----------------------------------------------------------------------------------------------------


def _orphans(folder: Path, generation: int) -> Check:
    """Files that nobody uses. The generation before is kept for readers that still hold it."""
    ours = ("generations", "catalog.sqlite3.damaged")
    strange = [p.name for p in folder.iterdir() if p.name not in KNOWN and not p.name.startswith(ours)]
    kept = {str(generation), str(generation - 1)}
    older = [f"generations/{p.name}" for p in (folder / "generations").glob("*") if p.name not in kept]
    found = sorted(strange) + sorted(older)
    told = f"nobody uses {_some(found)}" if found else "nothing that nobody uses"
    return Check("index folder", not older, told, "the next `rag sync` removes old generations")


def _copy(folder: Path, generation: int, store: Store) -> Check:
    name, found = "catalog's copy", newest_copy(folder)
    if found is None:
        return Check(name, True, "none yet" if store.copies else "none is kept (store.copies)")
    told = f"of generation {found.stem.removeprefix('catalog-')}; the catalog is at {generation}"
    good = is_good(found)
    return Check(name, good, told if good else f"damaged, {told}", "`rag doctor --repair` makes another")


def _disk(folder: Path, store: Store) -> Check:
    if not os.access(folder, os.W_OK):
        return Check("free disk", True, "the index can't be written here: it can be searched, a sync is refused")
    free = shutil.disk_usage(folder).free // 2**20
    hint = "make room, move the index (store.path), or lower store.min_free_mb"
    return Check("free disk", free >= store.min_free_mb, f"{free:,} MB; a sync wants {store.min_free_mb:,}", hint)


def _spaces(folder: Path) -> Iterator[Check]:
    """Each file has the hash it ends with."""
    held = Spaces(folder)
    if names := held.names():
        rows = sum(len(held.open(name).ids) for name in names)
        yield Check("vector spaces", True, f"{rows:,} vectors in {_some(names)}")


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
