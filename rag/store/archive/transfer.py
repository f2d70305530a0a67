"""An index into a file, and a file into an index.

Export reads one snapshot of the catalog, so a sync may run meanwhile, and the file takes its name when it is whole and
on the disk. Import proves the whole file before it touches an index; then the rows go in as those of the next
generation, in one transaction, and are published as a sync's are. A kill at any instant leaves the index as it was or
as it was to be.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from rag.config import Store
from rag.errors import ArchiveError, IndexMismatch, IndexMissing, StoreError
from rag.store.archive.container import ArchiveReader, ArchiveWriter
from rag.store.archive.rows import ContentPart, FilePart, Manifest, VectorPart, members_of, read_parts
from rag.store.catalog import Catalog
from rag.store.files import appearing
from rag.store.index import differences
from rag.store.writer import IndexWriter
from rag.types import ArchiveReport

ROOM = 3  # bytes on the disk for one inside the file: the catalog, its journal, the derived indexes


# ---- export ----------------------------------------------------------------------------------------------------------


def export_index(catalog: Catalog, target: Path, force: bool = False) -> ArchiveReport:
    """The published generation of `catalog` as the file `target`. Raises StoreError when that exists already, unless
    `force`, or can't be written; IndexDamaged when the catalog contradicts itself."""
    start = time.perf_counter()
    if target.is_dir() or (target.exists() and not force):
        problem, hint = (
            ("is a folder", "name a file") if target.is_dir() else ("is there already", "--force replaces it")
        )
        raise StoreError(f"{target}: {problem}", hint)
    counts: dict[str, int] = {}
    try:
        with appearing(target) as stream, catalog.snapshot() as generation:
            archive = ArchiveWriter(stream)
            for name, data in members_of(catalog, generation, counts):
                archive.put(name, data)
            size = archive.close(**counts)
    except OSError as error:
        raise StoreError(
            f"{target}: can't be written: {error.strerror or error}", "name another file, or make room"
        ) from error
    return ArchiveReport(counts["files"], counts["chunks"], counts["vectors"], size, time.perf_counter() - start)


# ---- import ----------------------------------------------------------------------------------------------------------


def import_index(
    source: Path,
    folder: Path,
    store: Store,
    embedding: dict[str, Any],
    splitting: dict[str, Any],
    force: bool = False,
) -> ArchiveReport:
    """Make the index at `folder` equal to the one in `source`. Raises ArchiveError when the file isn't whole,
    IndexMismatch when it was made with other settings or by another version, StoreError when there is an index already,
    unless `force`: then what it holds is replaced."""
    start = time.perf_counter()
    _refuse_existing(folder, force)
    try:
        stream = source.open("rb")
    except OSError as error:
        raise ArchiveError(
            f"{source}: can't be read: {error.strerror}", "name a file that `rag export` wrote"
        ) from None
    with stream:
        archive = ArchiveReader(stream, source)
        parts = read_parts(archive)
        manifest = next(parts)
        assert isinstance(manifest, Manifest)
        _compare(source, manifest, embedding, splitting)
        for _ in parts:  # all of it, before anything is written
            pass
        _check_room(folder, archive, store)
        with IndexWriter(folder, store) as writer:
            if not force and writer.catalog.generation:
                _refuse_existing(folder, force)  # another process was faster
            writer.check_settings(manifest.embedding, manifest.splitting, reindex=True, spaces=manifest.spaces)
            _put(writer, archive)
            writer.publish()
        size = stream.seek(0, os.SEEK_END)
    end = archive.end
    return ArchiveReport(end["files"], end["chunks"], end["vectors"], size, time.perf_counter() - start)


def _refuse_existing(folder: Path, force: bool) -> None:
    if force or not (folder / "catalog.sqlite3").is_file():
        return
    with contextlib.suppress(IndexMissing), closing(Catalog(folder / "catalog.sqlite3", readonly=True)) as catalog:
        if catalog.generation:
            held = catalog.counts(catalog.generation)
            raise StoreError(
                f"there is an index at {folder} already ({held['files']} files, {held['chunks']} chunks)",
                "--force replaces what it holds",
            )


def _compare(source: Path, manifest: Manifest, embedding: dict[str, Any], splitting: dict[str, Any]) -> None:
    pairs = (("another embedding", manifest.embedding, embedding), ("other settings", manifest.splitting, splitting))
    for what, before, now in pairs:
        if changed := differences(before, now):
            raise IndexMismatch(
                f"{source}: was made with {what} than here ({changed})",
                "set what it was made with, or sync the folder here",
            )


def _check_room(folder: Path, archive: ArchiveReader, store: Store) -> None:
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free, wanted = shutil.disk_usage(there).free, ROOM * archive.inside + store.min_free_mb * 2**20
    if free < wanted:
        raise StoreError(
            f"{archive.name}: holds {archive.inside / 2**20:,.0f} MB and needs {wanted / 2**20:,.0f} MB at {folder}; "
            f"{free / 2**20:,.0f} MB are free",
            "make room, or move the index (store.path)",
        )


def _put(writer: IndexWriter, archive: ArchiveReader) -> None:
    """The rows of the next generation: nobody sees them before it is published. Dates are left out, so the next sync
    compares every file's hash once."""
    catalog, generation = writer.catalog, writer.next_generation
    contents: dict[str, int] = {}
    with catalog.transaction():
        for path in catalog.latest_files():
            catalog.remove_file(generation, path)
        for part in read_parts(archive):
            match part:
                case Manifest():
                    catalog.set_meta(limits=part.limits)
                case VectorPart():
                    catalog.put_vectors(part.keys, part.vectors)
                case ContentPart():
                    if catalog.missing_vectors([*part.vector_keys, *(row.vector_key for row in part.media)]):
                        raise archive.altered(f"the text of {part.key} has no vector")
                    if known := catalog.find_content(part.key):
                        contents[part.key] = known
                        continue
                    contents[part.key] = catalog.put_content(
                        part.key, part.source, part.chunks, part.chunk_keys, part.vector_keys
                    )
                    catalog.put_media(contents[part.key], part.media)
                case FilePart():
                    if part.content_key is not None and part.content_key not in contents:
                        raise archive.altered(f"the text of {part.path} is missing")
                    content = contents[part.content_key] if part.content_key is not None else None
                    catalog.put_file(
                        generation, part.path, part.size, 0, 0, part.hash, content, part.outcome, part.reason
                    )
