"""Mending and compacting: the derived indexes made anew from the catalog. No document is read, no model runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from rag.config import Store
from rag.errors import IndexDamaged, IndexMissing, StoreError
from rag.store.copies import drop_copies, restore
from rag.store.damage import ROOM, copies
from rag.store.doctor import integrity
from rag.store.index import generation_folder
from rag.store.writer import IndexWriter


def repair(folder: Path, store: Store) -> int:
    """Build both derived indexes anew and publish them; the new generation's number. Readers go on with the old ones
    meanwhile, or with the catalog's own vectors where those are damaged. Raises IndexLocked, IndexMissing, IndexDamaged
    (of the catalog, from which nothing can be made) and StoreError (a sync that was stopped has to be finished first).
    """
    with _opened(folder, store) as writer:
        vectors, texts = writer.catalog.mark_altered()
        if vectors or texts:
            raise IndexDamaged(
                f"{writer.catalog.file}: {vectors} vectors and {texts} texts aren't what was stored, and are marked",
                "run `rag sync`: it embeds those chunks again, reads those files again, and makes the rest anew",
            )
        generation = _rebuilt(writer)
        writer.keep_copy(at_once=True)
        return generation


def restore_copy(folder: Path, store: Store) -> Path:
    """Put the catalog's newest good copy in its place and make the derived indexes anew; which copy it was. What was
    synced since is done again by the next sync. Raises IndexLocked, IndexMissing, IndexDamaged and StoreError."""
    if not folder.is_dir():
        raise IndexMissing(f"there is no index at {folder}", "run `rag sync` first")
    writer = IndexWriter(folder, store)
    writer.lock.acquire()
    try:
        copy = restore(folder)
    except OSError as error:
        raise StoreError(f"{folder}: {error}", ROOM) from error
    finally:
        writer.lock.release()
    repair(folder, store)
    return copy


def compact(folder: Path, store: Store) -> tuple[int, int]:
    """Take from the disk what was deleted from the index: its text, its vectors, and the room. Bytes before and after.

    Everything is written anew beside the old and published by one commit, then the old is removed; a crash leaves
    either, and compacting again finishes it. Raises IndexLocked, IndexMissing and StoreError: too little room, or a
    program that still reads what was deleted.
    """
    with _opened(folder, store) as writer:
        before = _size(folder)
        free = shutil.disk_usage(folder).free
        if free < before + store.min_free_mb * 2**20:
            raise StoreError(
                f"{folder}: {free // 2**20:,} MB free on the disk, compacting wants {before // 2**20 + 1:,} MB beside "
                f"store.min_free_mb ({store.min_free_mb:,})",
                "make room, or move the index (store.path)",
            )
        current = generation_folder(folder, _rebuilt(writer))
        for old in current.parent.iterdir():
            if old != current:
                shutil.rmtree(old, ignore_errors=True)
        drop_copies(folder)
        if not writer.catalog.vacuum():
            raise StoreError(
                "another program is reading the index, so what was deleted is still in the catalog's log",
                "stop `rag serve` and other readers, then `rag compact` again",
            )
        writer.keep_copy(at_once=True)
    return before, _size(folder)


def _opened(folder: Path, store: Store) -> IndexWriter:
    if not (folder / "catalog.sqlite3").exists() and not copies(folder):
        raise IndexMissing(f"there is no index at {folder}", "run `rag sync` first")
    if not (catalog := integrity(folder / "catalog.sqlite3")).ok:
        raise IndexDamaged(f"{folder / 'catalog.sqlite3'}: {catalog.told}", catalog.hint)
    return IndexWriter(folder, store)


def _rebuilt(writer: IndexWriter) -> int:
    catalog = writer.catalog
    if not catalog.generation:
        raise IndexMissing(f"the index at {writer.folder} was never finished", "run `rag sync`")
    if catalog.meta("unfinished", False) or catalog.has_unpublished():
        # Publishing would show half of what that sync did, perhaps with another model's vectors. A sync mends, too.
        raise StoreError(
            "the last sync was stopped, or the catalog lost something since: only a sync can finish it",
            "run `rag sync` (it makes what is damaged anew), then this again",
        )
    writer.check_settings(catalog.made("embedding"), catalog.made("splitting"), reindex=False, fills=False)
    return writer.publish(rebuild=True)


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
