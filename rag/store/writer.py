"""The one writer: its lock, and how a generation is built and published."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rag.batched import batched
from rag.config import Store
from rag.errors import IndexDamaged, IndexMismatch, StoreError
from rag.store.analyze import Analyzer
from rag.store.catalog import Catalog
from rag.store.copies import keep_copy
from rag.store.damage import SameProcess
from rag.store.index import (
    MEND,
    PART,
    SPACES,
    as_stored,
    chroma_folder,
    collection_name,
    compare_fingerprint,
    generation_folder,
    texts_of,
)
from rag.store.lexical import Lexical
from rag.store.lock import WriterLock
from rag.store.seal import SIZES, is_whole, seal
from rag.store.vectors import VectorIndex, blank_unused, drop_from_server, open_embedded, open_server
from rag.types import Space

NO_SPACES: Mapping[Space, dict[str, Any] | None] = MappingProxyType({})
REBUILD_SHARE = 0.3  # of rows removed since the last rebuild, above which copying would carry too much dead weight


class IndexWriter:
    """The one writer. A context manager: entering takes the lock, leaving gives it back."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self._server_differs = self._server_unusable = False
        self.lock = WriterLock(folder)
        self._process = SameProcess()

    def __enter__(self) -> IndexWriter:
        self._check_disk()
        self.lock.acquire()
        catalog = None
        try:
            catalog = self.catalog = Catalog(self.folder / "catalog.sqlite3")
            if catalog.meta("id") is None:
                catalog.set_meta(id=uuid.uuid4().hex)
            self._is_whole = catalog.mark_lost()
            catalog.collect_garbage()
            self._remove_old_generations()
        except BaseException:
            if catalog is not None:
                catalog.close()
            self.lock.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._process:  # in a fork, giving the lock back would take it from the parent
            return
        self.catalog.close()
        self.lock.release()

    def _check_disk(self) -> None:
        """Before anything is written, the folder itself included."""
        there = next(p for p in (self.folder, *self.folder.absolute().parents) if p.exists())
        if there == self.folder and not os.access(there, os.W_OK):  # said first: a read-only disk has no room, either
            raise StoreError(
                f"{self.folder}: can't be written: searching goes on, nothing can be changed",
                "choose another folder with store.path",
            )
        free = shutil.disk_usage(there).free // 2**20
        if free < self.store.min_free_mb:
            raise StoreError(
                f"{self.folder}: {free} MB free on the disk, at least {self.store.min_free_mb} MB are wanted",
                "make room, move the index (store.path), or lower store.min_free_mb",
            )

    @property
    def next_generation(self) -> int:
        return self.catalog.generation + 1

    def check_settings(
        self,
        embedding: dict[str, Any],
        splitting: dict[str, Any],
        reindex: bool,
        spaces: Mapping[Space, dict[str, Any] | None] = NO_SPACES,
        fills: bool = True,
    ) -> None:
        """Compare with what the index was made with; IndexMismatch names the differences unless `reindex`. What would
        stop the publishing stops the sync here, before its work: the stemmer's name, a server that doesn't answer.

        `spaces`: what pictures and recordings are embedded with, None: they aren't any more. Those left out stay as
        they are. `fills`: rows follow, which a kill would leave unfinished. Making the derived indexes anew leaves
        nothing."""
        seen: dict[str, Any] = {space: as_stored(made) if made else None for space, made in spaces.items()}
        now: dict[str, Any] = {"embedding": as_stored(embedding), "splitting": as_stored(splitting), **seen}
        before = {name: self.catalog.meta(name) for name in now}
        if not reindex:
            if before["embedding"] is not None:
                compare_fingerprint(before["embedding"], embedding, self.folder)
            if before["splitting"] is not None:
                compare_fingerprint(before["splitting"], splitting, self.folder, "other settings")
            for space, made in spaces.items():
                if made is not None and before[space] is not None:
                    compare_fingerprint(before[space], made, self.folder, f"other {space} vectors")
        # Published with the generation they belong to: until then readers compare with the old ones.
        self._staged = now
        self.same_settings = all(was is None or was == now[name] for name, was in before.items())
        self._analyzer.terms("words")
        if self._served:
            try:
                with contextlib.closing(self._server()) as server:
                    self._server_differs = server.count() != len(self.catalog.vector_ids(self.catalog.generation))
            except IndexMismatch:
                self._server_unusable = True
        if fills:
            self.catalog.set_meta(unfinished=True)

    @property
    def needs_publishing(self) -> bool:
        """Whether a generation would differ from the published one, or its derived indexes must be made anew."""
        changed = any(self.catalog.meta(k) != v for k, v in self._staged.items())
        if changed or self.catalog.has_unpublished() or self._must_rebuild() or self._server_differs:
            return True
        return not self._is_whole or self.catalog.meta("census") is None

    def finish_unchanged(self) -> None:
        self.catalog.set_meta(unfinished=False)

    def keep_copy(self, at_once: bool = False) -> None:
        """Of the catalog as published, if one is due (copies.py)."""
        keep_copy(self.catalog, self.store, at_once)

    def publish(self, rebuild: bool = False, finished: bool = True) -> int:
        """Build the next generation's derived indexes and make it the current one. Returns its number.

        `finished=False`: of a sync that was stopped. Vectors whose file wasn't reached are kept for the next one.
        """
        catalog, generation = self.catalog, self.next_generation
        old, new = catalog.chunk_ids(generation - 1), catalog.chunk_ids(generation)
        chunks = _Rows.between(old, new)
        vectors = _Rows.between(catalog.without_twins(old, generation - 1), catalog.without_twins(new, generation))
        dead = int(catalog.meta("dead_rows", 0)) + len(chunks.removed)
        rebuild = rebuild or self._must_rebuild() or dead > REBUILD_SHARE * max(len(chunks.all), 1)
        if not rebuild:
            try:
                self._build(chunks, vectors, anew=False)
            except (IndexDamaged, IndexMismatch):  # the last one can't be carried on; the catalog has all it held
                rebuild = True
        if rebuild:
            dead = 0
            self._build(_Rows.between([], chunks.all), _Rows.between([], vectors.all), anew=True)
        if self._served:
            self._add_to_server(vectors.all, rebuild)
        spaces_before = catalog.meta("server_spaces", {})
        catalog.set_meta(
            **self._staged,
            generation=generation,
            census=catalog.census(generation),
            analyzer=self._analyzer.name,
            dead_rows=dead,
            kind=self._kind,
            server_spaces=self._server_spaces,
            unfinished=not finished,
        )
        if self._served:
            self._remove_from_server(vectors.all)
            for name in set(spaces_before.values()).difference(self._server_spaces.values()):
                drop_from_server(name, self.store)
        self._remove_old_generations()
        return generation

    @property
    def _analyzer(self) -> Analyzer:
        return Analyzer(self.store.stemmer)

    @property
    def _served(self) -> bool:
        return self.store.kind == "chroma-server"

    @property
    def _kind(self) -> str:
        """What the dense index is, with the setting that an existing collection keeps as it was, and what a row is."""
        return f"{self.store.kind}, ef_search {self.store.ef_search}, each vector once"

    def _must_rebuild(self) -> bool:
        catalog = self.catalog
        same = (catalog.meta("analyzer"), catalog.meta("kind")) == (self._analyzer.name, self._kind)
        same = same and catalog.meta("embedding") == self._staged["embedding"]  # a collection has one dimension
        return not same or self._server_unusable or not self._is_there

    @property
    def _is_there(self) -> bool:
        """Not the checksums: a reader in this process may have the files open. They are looked at in the copy."""
        return is_whole(generation_folder(self.folder, self.catalog.generation), quick=True)

    def _build(self, chunks: _Rows, vectors: _Rows, anew: bool) -> None:
        """The next generation's folder, from nothing or from a copy of the last one."""
        target = generation_folder(self.folder, self.next_generation)
        try:
            shutil.rmtree(target, ignore_errors=True)
            if anew:
                target.mkdir(parents=True)
            else:
                before = generation_folder(self.folder, self.catalog.generation)
                shutil.copytree(before, target)
                if not is_whole(target):  # else damage would be carried on, and sealed
                    raise IndexDamaged(f"{before}: a file was altered", MEND)
                (target / SIZES).unlink()
            lexical = Lexical(target / "lexical", self._analyzer)
            lexical.change(chunks.removed, texts_of(self.catalog, chunks.added))
            _check_count(target / "lexical", lexical.count(), chunks.all)
            self._build_spaces(target, anew)
            if not self._served:
                self._build_embedded(target / "chroma", vectors)
            for dense in target.glob("chroma*"):
                blank_unused(dense)
            seal(target)
        except OSError as error:
            raise StoreError(f"{target}: {error}", "check the disk's free space and permissions") from error

    def _build_embedded(self, folder: Path, rows: _Rows) -> None:
        index = open_embedded(folder, self._dimension, self.store, create=True)
        with contextlib.closing(index):
            index.remove(rows.removed)
            for part in batched(rows.added, PART):
                index.add(part, self.catalog.vectors_of(part))
            _check_count(folder, index.count(), rows.all)
            index.widen(len(rows.all))

    def _build_spaces(self, target: Path, anew: bool) -> None:
        """The dense indexes of pictures and recordings. One that must forget something is made anew."""
        catalog, generation = self.catalog, self.next_generation
        self._server_spaces: dict[str, str] = {}
        for space in SPACES:
            ids, folder = catalog.vector_ids(generation, space), chroma_folder(target, space)
            old = set(catalog.vector_ids(generation - 1, space))
            name = catalog.meta("server_spaces", {}).get(space) if self._served else None
            held = name is not None if self._served else folder.is_dir()
            if anew or not held or not old <= set(ids) or self._made(space) != catalog.meta(space):
                shutil.rmtree(folder, ignore_errors=True)
                old, name = set(), None
            added = [i for i in ids if i not in old]
            if not ids:
                continue
            index = self._open_space(space, folder, name)
            with contextlib.closing(index):
                for part in batched(added, PART):
                    index.add(part, catalog.vectors_of(part, "media"))
                _check_count(folder, index.count(), ids)
                index.widen(len(ids))

    def _open_space(self, space: Space, folder: Path, name: str | None) -> VectorIndex:
        """`name`: of the collection on the server that goes on; None: a new one, since others still read the old."""
        dimension = int((self._made(space) or {})["dimension"])
        if not self._served:
            return open_embedded(folder, dimension, self.store, create=True, space=space)
        made = collection_name(self.catalog.meta("id"), dimension, space)
        self._server_spaces[space] = name = name or f"{made}-{self.next_generation}"
        index = open_server(name, dimension, self.store, create=True)
        assert index is not None
        return index

    def _made(self, space: Space) -> dict[str, Any] | None:
        """What a space's vectors are made with, from the next generation on."""
        staged: dict[str, Any] | None = self._staged[space] if space in self._staged else self.catalog.meta(space)
        return staged

    def _add_to_server(self, wanted: Sequence[int], anew: bool) -> None:
        """Rows go there before the generation is published and are seen only through the catalog."""
        held = self.catalog.server_rows()
        with contextlib.closing(self._server(emptied=anew)) as vectors:
            if anew or vectors.count() < sum(held.values()):  # an emptied server, or another one
                self.catalog.mark_server_rows(list(held), present=None)
                held = {}
            for part in batched([i for i in wanted if not held.get(i)], PART):
                self.catalog.mark_server_rows(part, present=False)
                vectors.add(part, self.catalog.vectors_of(part))
                self.catalog.mark_server_rows(part, present=True)
            vectors.widen(len(wanted))

    def _remove_from_server(self, wanted: Sequence[int]) -> None:
        with contextlib.closing(self._server()) as vectors:
            for part in batched(sorted(set(self.catalog.server_rows()).difference(wanted)), PART):
                vectors.remove(part)
                self.catalog.mark_server_rows(part, present=None)
            differs = vectors.count() != len(wanted)
        if differs:  # rows that this catalog knows nothing of: it was restored from an older copy
            self._add_to_server(wanted, anew=True)

    @property
    def _dimension(self) -> int:
        return int(self._staged["embedding"]["dimension"])

    def _server(self, emptied: bool = False) -> VectorIndex:
        name = collection_name(self.catalog.meta("id"), self._dimension)
        made = open_server(name, self._dimension, self.store, create=True, emptied=emptied)
        assert made is not None
        return made

    def _remove_old_generations(self) -> None:
        """Keeps the published one and the one before it, which a reader may still hold."""
        current = self.catalog.generation
        for folder in (self.folder / "generations").glob("*"):
            if not folder.name.isdigit() or int(folder.name) not in (current, current - 1):
                shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Rows:
    """Ids that a derived index holds in the next generation, and what changes from the last one."""

    all: list[int]
    added: list[int]
    removed: list[int]

    @classmethod
    def between(cls, old: list[int], new: list[int]) -> _Rows:
        before = set(old)
        return cls(new, [i for i in new if i not in before], sorted(before.difference(new)))


def _check_count(folder: Path, held: int, wanted: Sequence[int]) -> None:
    if held != len(wanted):
        raise IndexDamaged(f"{folder}: holds {held} rows of {len(wanted)}", MEND)
