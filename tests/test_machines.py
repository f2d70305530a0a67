"""Any history of a folder, and of a store, against plain dictionaries; and machines that do find what is broken.

`make test` runs 50 histories of each, of 25 steps, in about a minute of one core; `make soak` runs 500 of each, of 50.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import SOAK
from crashes import held, vector_keys
from fakes_embed import DIMENSION, FakeEmbedder, index_state, open_rag
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import rag.store.writer
import rag.sync
from rag.build import Rag
from rag.config import Store
from rag.errors import StoreError
from rag.store import Catalog, IndexReader, IndexWriter
from rag.store.index import generation_folder
from rag.store.keys import canonical, vector_key
from rag.store.lexical import Lexical
from rag.store.repair import compact
from rag.store.vectors import _Collection
from rag.types import Chunk, Location, Outcome, Source, Span

SIZE = settings(max_examples=500 if SOAK else 50, stateful_step_count=50 if SOAK else 25, deadline=None)


class Killed(BaseException):
    """As SIGKILL: whoever catches it can write nothing any more."""


@contextlib.contextmanager
def killed_at(commit: int) -> Iterator[None]:
    """The catalog's `commit`-th commit, and all that follow, don't come about."""
    left = [commit]
    transaction = Catalog.transaction

    @contextlib.contextmanager
    def dying(self: Catalog) -> Iterator[None]:
        with transaction(self):
            yield
            if not left[0]:
                raise Killed
            left[0] -= 1

    with mock.patch.object(Catalog, "transaction", dying), contextlib.suppress(Killed):
        yield


# ---- a folder --------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a.txt", "b.md", "sub/a.txt", "sub/c.md", "x.xyz"])
SENTENCES = st.lists(
    st.sampled_from(["Apples grow.", "Pears fall down in autumn.", "# Head", "日本語です。", "Plums, 12 of them!"]),
    max_size=5,
)
NUMBERS = st.integers(0, 9)
FAR = 10**17  # nanoseconds: three years


class FolderMachine(RuleBasedStateMachine):
    """Any history of a folder, with kills; two dictionaries say what the index must hold after each sync."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        here = Path(self.folder.name).resolve()
        self.docs, self.index, self.outside = here / "docs", here / "index", here / "outside.txt"
        self.docs.mkdir()
        self.outside.write_text("Nothing of this is in the folder.")
        self.texts: dict[str, str] = {}
        self.links: dict[str, str] = {}  # name -> name, "" for the file outside
        self.unreadable: set[str] = set()
        self.clock = 0  # nanoseconds by which the machine's clock is wrong
        self.deleted: set[str] = set()  # texts of chunks that were once found
        self.embedder = FakeEmbedder()
        self.rag = self.opened()
        self.synced = False
        self.tampered = False  # the catalog by hand: until the next sync the derived indexes hold what it doesn't

    def opened(self) -> Rag:
        return open_rag(self.docs, self.index, self.embedder)

    def teardown(self) -> None:
        self.rag.close()
        self.folder.cleanup()

    # ---- what happens to the folder --------------------------------------------------------------------------------

    def place(self, name: str) -> Path:
        """Free for a new file or link."""
        path = self.docs / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        for known in (self.texts, self.links):
            known.pop(name, None)
        self.unreadable.discard(name)
        self.synced = False
        return path

    @rule(name=NAMES, sentences=SENTENCES)
    def write(self, name: str, sentences: list[str]) -> None:
        """Create or edit."""
        self.place(name).write_text("\n\n".join(sentences))
        self.texts[name] = "\n\n".join(sentences)

    def one(self, number: int) -> str | None:
        """One of the files there are."""
        names = sorted(self.texts)
        return names[number % len(names)] if names else None

    @rule(number=NUMBERS)
    def edit_and_keep_size_and_time(self, number: int) -> None:
        name = self.one(number)
        if name and self.texts[name]:
            path = self.docs / name
            before = path.stat()
            self.texts[name] = self.texts[name][:-1] + ("?" if self.texts[name][-1] != "?" else "!")
            path.write_text(self.texts[name])
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            self.synced = False

    @rule(number=NUMBERS, other=NAMES)
    def rename(self, number: int, other: str) -> None:
        if (name := self.one(number)) not in (None, other):
            text, refused = self.texts[name], name in self.unreadable
            (self.docs / name).rename(self.place(other))
            self.texts[other] = text
            self.unreadable |= {other} if refused else set()
            self.texts.pop(name)
            self.unreadable.discard(name)

    @rule(number=NUMBERS, other=NAMES)
    def copy(self, number: int, other: str) -> None:
        if (name := self.one(number)) not in (None, other):
            shutil.copy2(self.docs / name, self.place(other))
            self.texts[other] = self.texts[name]

    @rule(name=NAMES, other=st.one_of(NAMES, st.just("")))
    def link(self, name: str, other: str) -> None:
        if name != other:
            self.place(name).symlink_to(self.docs / other if other else self.outside)
            self.links[name] = other

    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        if there := sorted({*self.texts, *self.links}):
            self.place(there[number % len(there)])

    @rule(number=NUMBERS, stamp=st.sampled_from([10**9, 10**18, 4 * 10**18]))
    def touch(self, number: int, stamp: int) -> None:
        """From 1970, 2001 or 2096."""
        if name := self.one(number):
            os.utime(self.docs / name, ns=(stamp, stamp))

    @rule(number=NUMBERS)
    def permission(self, number: int) -> None:
        """Lost or given back. The tests may run as root, whom no permission stops: see `around`."""
        if name := self.one(number):
            self.unreadable ^= {name}
            self.synced = False

    @rule(clock=st.sampled_from([-FAR, 0, FAR]))
    def set_the_clock(self, clock: int) -> None:
        self.clock = clock

    # ---- what happens to the index ---------------------------------------------------------------------------------

    @precondition(lambda self: self.synced)
    @rule(number=NUMBERS, table=st.sampled_from(["files", "contents"]))
    def remove_a_row_by_hand(self, number: int, table: str) -> None:
        name = self.one(number)
        where = "path = ?" if table == "files" else "id IN (SELECT content_id FROM files WHERE path = ?)"
        with closing(sqlite3.connect(self.index / "catalog.sqlite3")) as database, database:
            database.execute(f"DELETE FROM {table} WHERE {where}", (name,))
        self.synced, self.tampered = False, True

    @precondition(lambda self: self.synced)
    @rule()
    def lose_an_index(self) -> None:
        self.reopen()
        for part in self.index.glob("generations/*/chroma"):
            shutil.rmtree(part)

    @rule()
    def reopen(self) -> None:
        self.rag.close()
        self.rag = self.opened()

    @rule(batches=st.integers(0, 3), error=st.sampled_from([KeyboardInterrupt, RuntimeError]))
    def stop(self, batches: int, error: type[BaseException]) -> None:
        left = [batches]

        def count(texts: Sequence[str]) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise error

        self.embedder.before_batch = count
        with contextlib.suppress(KeyboardInterrupt, RuntimeError), self.around():
            self.rag.sync(allow_empty=True)
        self.embedder.before_batch = lambda texts: None
        self.synced = False

    @rule(commit=st.integers(0, 12))
    def kill(self, commit: int) -> None:
        with killed_at(commit), self.around():
            self.rag.sync(allow_empty=True)
        self.synced = False
        self.reopen()
        if (self.index / "catalog.sqlite3").exists() and not self.tampered:
            with contextlib.suppress(StoreError):  # nothing was published yet
                index_state(self.index)

    # ---- what must hold --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """The clock as it was set, and files that may not be opened."""
        refused, opening = {str(self.docs / name) for name in self.unreadable}, os.open

        def opened(path: Any, *arguments: Any, **options: Any) -> int:
            if isinstance(path, (str, Path)) and os.path.realpath(path) in refused:
                raise PermissionError(13, "Permission denied")
            return opening(path, *arguments, **options)

        clock = SimpleNamespace(time_ns=lambda: time.time_ns() + self.clock, perf_counter=time.perf_counter)
        with mock.patch.object(os, "open", opened), mock.patch.object(rag.sync, "time", clock):
            yield

    def expected(self) -> dict[str, str | None]:
        """Each file's text; None: it can't be read. A link to what lies outside isn't seen at all."""
        found: dict[str, str | None] = {}
        for name in (*self.texts, *self.links):
            if (at := self.led_to(name)) != "":
                found[name] = None if at in self.unreadable else self.texts.get(at)
        return found

    def led_to(self, name: str) -> str:
        """The name that links lead to from a name; of a circle, one of its names."""
        seen = {name}
        while name in self.links and self.links[name] not in seen:
            name = self.links[name]
            seen.add(name)
        return name

    @precondition(lambda self: not self.synced)
    @rule()
    def sync(self) -> None:
        with IndexWriter(self.index, self.rag.config.store) as writer:  # lets go what no generation sees
            known = set(writer.catalog.latest_files())
        before = vector_keys(self.index)
        self.embedder.embedded.clear()
        with self.around():
            report = self.rag.sync(allow_empty=True)
        texts = self.embedder.embedded
        assert report.embedded == len(texts) == len(set(texts))
        keys = {vector_key(canonical(self.embedder.fingerprint), text) for text in texts}
        assert not keys & before, "a text whose vector was stored was embedded again"
        expected = self.expected()
        assert {f.path for f in report.files} == set(expected)
        state = index_state(self.index)
        assert set(state) == set(expected)
        held: list[Chunk] = []
        for path, (outcome, _, chunks) in state.items():
            text = expected[path]
            if path.endswith(".xyz"):
                wanted = {"unsupported"} if self.led_to(path) in self.texts else {"failed"}
            elif text is None:  # one that settled isn't opened to see that it could not be
                wanted = {"failed", "indexed", "empty"} if path in known else {"failed"}
            else:
                wanted = {"indexed" if text.strip() else "empty"}
            assert outcome in wanted, path
            source = self.rag.source(path) if outcome == "indexed" else None
            assert source is None or text is None or source.text.split() == text.split(), path
            for _, chunk, vector in chunks:
                assert source is not None
                assert chunk.span.cut(source.text) == chunk.text
                assert self.embedder.query_vector(chunk.embedded_text).tobytes() == vector
                held.append(chunk)
        assert report.chunks == self.rag.status()["chunks"]
        self.searched(held)
        with self.around():
            again = self.rag.sync(allow_empty=True)
        assert (again.embedded, again.generation) == (0, report.generation)
        assert again.num_added == again.num_updated == again.num_moved == again.num_deleted == 0
        self.synced, self.tampered = True, False

    def searched(self, chunks: list[Chunk]) -> None:
        """Each chunk is the first that is found by its own words; what was deleted is found by none."""
        held = {chunk.text for chunk in chunks}
        for text in sorted(held):
            first, *_ = self.rag.search(text, kind="dense")
            assert np.array_equal(self.embedder.query_vector(first.text), self.embedder.query_vector(text)), text
            assert text in {p.text for p in self.rag.search(text, k=50, kind="lexical")} or not text.strip("#")
        for text in sorted(self.deleted - held):
            assert text not in {p.text for kind in ("dense", "lexical") for p in self.rag.search(text, k=50, kind=kind)}
        self.deleted |= held

    @invariant()
    def what_is_published_answers(self) -> None:
        if self.synced:
            self.rag.search("apples pears")


FolderMachine.TestCase.settings = SIZE
TestFolder = FolderMachine.TestCase


# ---- a store ---------------------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from([f"{word} {number} grow" for word in ("apples", "pears", "plums") for number in range(6)]),
    min_size=1,
    max_size=3,
    unique=True,
).map(tuple)
FILES = st.sampled_from("abcde")
EMBEDDER = FakeEmbedder()
SPLITTING = {"kind": "by hand"}


class StoreMachine(RuleBasedStateMachine):
    """Any history of a store: `now` is what was committed, `seen` what was published; file -> its pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.index = Path(self.folder.name) / "index"
        self.store = Store()
        self.now: dict[str, tuple[str, ...]] = {}
        self.seen: dict[str, tuple[str, ...]] = {}
        self.ever: set[str] = set()
        self.reader: IndexReader | None = None
        self.writer = self.opened()

    def opened(self) -> IndexWriter:
        writer = IndexWriter(self.index, self.store)
        writer.__enter__()
        writer.check_settings(EMBEDDER.fingerprint, SPLITTING, reindex=False)
        return writer

    def teardown(self) -> None:
        self.writer.__exit__()
        if self.reader:
            self.reader.close()
        self.folder.cleanup()

    # ---- what a writer does ----------------------------------------------------------------------------------------

    @rule(file=FILES, pieces=PIECES)
    def put(self, file: str, pieces: tuple[str, ...]) -> None:
        """Add or change; equal contents are stored once."""
        self.stored(file, pieces)
        self.now[file] = pieces

    def stored(self, file: str, pieces: tuple[str, ...]) -> None:
        catalog, text = self.writer.catalog, "\n".join(pieces)
        starts = [text.index(piece) for piece in pieces]
        chunks = [Chunk(p, Span(s, s + len(p)), Location(None, 1)) for p, s in zip(pieces, starts, strict=True)]
        keys = [vector_key("", piece) for piece in pieces]
        catalog.put_vectors(keys, EMBEDDER.passage_vectors(pieces))
        with catalog.transaction():
            content = catalog.find_content(text)
            if content is None:
                names = [f"1{text} {start}" for start in starts]
                content = catalog.put_content(text, Source(file, text, "text"), chunks, names, keys)
            generation = self.writer.next_generation
            catalog.put_file(generation, file, 1, 1, 1, text, content, Outcome.INDEXED, None)

    @rule(file=FILES)
    def delete(self, file: str) -> None:
        self.writer.catalog.remove_file(self.writer.next_generation, file)
        self.now.pop(file, None)

    @rule(rebuild=st.booleans())
    def publish(self, rebuild: bool) -> None:
        self.writer.publish(rebuild)
        self.seen = dict(self.now)
        self.look()

    # ---- what happens to it ----------------------------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.writer.__exit__()
        self.writer = self.opened()

    @rule(file=FILES, pieces=PIECES)
    def killed_in_a_put(self, file: str, pieces: tuple[str, ...]) -> None:
        with killed_at(1):  # the vectors are stored, the file isn't
            self.stored(file, pieces)
        self.reopen()

    @rule(where=st.sampled_from(["lexical", "chroma", "seal", "commit"]))
    def killed_in_publishing(self, where: str) -> None:
        places = {
            "lexical": (Lexical, "change"), "chroma": (_Collection, "count"), "seal": (rag.store.writer, "seal"),
            "commit": (Catalog, "set_meta"),
        }  # fmt: skip
        with mock.patch.object(*places[where], side_effect=Killed), contextlib.suppress(Killed):
            self.writer.publish()
        self.reopen()
        self.look()

    @precondition(lambda self: self.seen)
    @rule(part=st.sampled_from(["chroma", "lexical"]))
    def lose_an_index(self, part: str) -> None:
        if self.reader:
            self.reader.close()
            self.reader = None
        lost = generation_folder(self.index, self.writer.catalog.generation) / part
        shutil.rmtree(lost, ignore_errors=not lost.exists())  # it may be lost already: only publishing makes it anew
        self.look()

    @precondition(lambda self: self.seen)
    @rule()
    def compact(self) -> None:
        """Refused while work waits to be published; afterwards what was deleted is on the disk no more."""
        waiting = self.writer.catalog.has_unpublished()
        self.writer.finish_unchanged()
        self.writer.__exit__()
        if self.reader:
            self.reader.close()
            self.reader = None
        if waiting:
            with pytest.raises(StoreError, match="only a sync can finish it"):
                compact(self.index, self.store)
        else:
            compact(self.index, self.store)
            held_now = {piece for pieces in self.seen.values() for piece in pieces}
            assert held(self.index, [piece.encode() for piece in self.ever - held_now]) == []
        self.writer = self.opened()

    # ---- what must hold --------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def filter(self, data: st.DataObject) -> None:
        if self.seen:
            allowed = data.draw(st.sets(st.sampled_from(sorted(self.seen))))
            self.look(allowed)

    def look(self, files: set[str] | None = None) -> None:
        """Whatever is searched for, what is found is what the dictionary says; in all files or in some."""
        catalog = self.writer.catalog
        generation = catalog.generation
        if not generation:
            return
        assert {f.path: f.hash for f in catalog.files(generation)} == {k: "\n".join(v) for k, v in self.seen.items()}
        self.reader = self.reader or IndexReader(self.index, self.store, EMBEDDER.fingerprint)
        seen = {file: pieces for file, pieces in self.seen.items() if files is None or file in files}
        allowed = None
        if files is not None:
            contents = {f.content_id for f in catalog.files(generation) if f.path in files}
            allowed = [row.id for content in contents if content for row in catalog.chunks_of(content)]
        # Equal contents are one: each of their pieces is found once.
        held_now = sorted(piece for pieces in set(seen.values()) for piece in pieces)
        for piece in {*held_now, *sorted(self.ever)[:4]}:
            vector = EMBEDDER.query_vector(piece)
            near = self.reader.dense(vector, 99, generation, allowed)
            assert self.texts(near) == held_now
            wanted = sorted((float(EMBEDDER.query_vector(p) @ vector) for p in held_now), reverse=True)
            assert np.allclose([score for _, score in near], wanted, atol=1e-5)
            number = piece.split()[1]
            worded = self.texts(self.reader.lexical(number, 99, generation, allowed))
            assert worded == [p for p in held_now if p.split()[1] == number]
        self.ever |= set(held_now)

    def texts(self, hits: list[tuple[int, float]]) -> list[str]:
        rows = self.writer.catalog.chunks([i for i, _ in hits])
        return sorted(rows[i].chunk.text for i, _ in hits)


StoreMachine.TestCase.settings = SIZE
TestStore = StoreMachine.TestCase


# ---- can they fail? --------------------------------------------------------------------------------------------------

FORGOTTEN = {
    "a deletion": (Catalog, "remove_file", lambda self, generation, path: None),
    "what a folder lost": (rag.sync.Sync, "_remove_deleted", lambda self, before, entries: []),
    "a vector": (
        FakeEmbedder,
        "passage_vectors",
        lambda self, texts, progress=None: np.ones((len(texts), DIMENSION), np.float32),
    ),
    "that a vector is there": (Catalog, "missing_vectors", lambda self, keys: set(keys)),
    "a filter": (IndexReader, "dense", None),
    "the words": (Lexical, "change", None),
}


def broken(what: str) -> Any:
    owner, name, instead = FORGOTTEN[what]
    original = getattr(owner, name)
    if what == "a filter":
        return mock.patch.object(owner, name, lambda self, vector, k, g, allowed=None: original(self, vector, k, g))
    if what == "the words":
        return mock.patch.object(owner, name, lambda self, gone, add: original(self, gone, [(i, "") for i, _ in add]))
    return mock.patch.object(owner, name, instead)


BROKEN = [
    *((StoreMachine, what) for what in ("a deletion", "a vector", "a filter", "the words")),
    *((FolderMachine, what) for what in ("what a folder lost", "a vector", "that a vector is there", "the words")),
]


def run_through(machine: RuleBasedStateMachine) -> None:
    """A short history that passes where nothing is broken."""
    try:
        match machine:
            case StoreMachine():
                machine.put("a", ("apples 1 grow", "pears 2 grow"))
                machine.put("b", ("plums 3 grow",))
                machine.publish(False)
                machine.delete("a")
                machine.put("c", ("pears 4 grow",))
                machine.publish(False)
                machine.look({"b"})
            case FolderMachine():
                machine.write("a.txt", ["Apples grow."])
                machine.write("b.md", ["Pears fall down in autumn."])
                machine.sync()
                machine.delete(1)
                machine.write("sub/a.txt", ["Apples grow.", "", ""])
                machine.sync()
    finally:
        machine.teardown()


@pytest.mark.parametrize(("machine", "what"), BROKEN)
def test_what_is_broken_is_noticed(machine: type[RuleBasedStateMachine], what: str) -> None:
    run_through(machine())
    with broken(what), pytest.raises((AssertionError, StoreError)):
        run_through(machine())


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "what"), BROKEN)
def test_what_is_broken_is_found_by_chance(machine: type[RuleBasedStateMachine], what: str) -> None:
    few = settings(SIZE, max_examples=500, stateful_step_count=25, phases=[Phase.generate], database=None)
    with broken(what), pytest.raises((AssertionError, StoreError)):  # the first that finds it ends the search
        run_state_machine_as_test(machine, settings=few)
