"""Each file of an index hurt in each way; a full disk; folders that can't be written; the catalog's copies.

The harness is in damage.py. Here a few of each kind of file; `make soak` goes through all of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from conftest import SOAK
from damage import HOWS, Damage, cases, found_by, is_healthy
from fakes_embed import DIMENSION, FakeEmbedder, index_state, open_rag
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.errors import IndexDamaged, IndexMissing, RagError, StoreError
from rag.store import Catalog, copies, writer
from rag.store.catalog import connection
from rag.store.index import generation_folder
from rag.store.vectors import _Collection

IN_CI = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Damage:
    here = tmp_path_factory.mktemp("damage")
    (here / "docs").mkdir()
    made = Damage(here / "docs", here / "whole", here / "index")
    made.make()
    return made


def test_every_file_hurt_in_every_way_harms_nothing_or_is_noticed_and_mended(whole: Damage) -> None:
    every = list(cases(whole.files(), seeds=4 if SOAK else 1))
    random.Random(20261125).shuffle(every)
    if not SOAK:  # a flipped bit in each kind of file that is in use, and some of the other ways
        before = f"generations/{min(int(name.split('/')[1]) for name in whole.files() if name.startswith('gen'))}/"
        flips: dict[str, tuple[str, str, int]] = {}
        for case in every:
            file = Path(case[0])
            if case[1] == "flip a bit" and not case[0].startswith(before):
                flips.setdefault(file.suffix if len(file.stem) == 32 else file.name, case)  # 32: a segment's name
        first = [(whole.catalog, how, 0) for how in HOWS[:2]]
        every = [*first, *flips.values(), *every[:IN_CI]]
    outcomes = Counter(whole.try_it(*case) for case in every)
    assert outcomes["mended"] >= 2, outcomes
    assert outcomes["copied back"] >= 2, outcomes


def test_a_flipped_byte_of_the_catalog_is_never_served(whole: Damage) -> None:
    """Byte after byte of pages that hold rows: an answer is the true one, or an error says what to do."""
    whole_bytes = (whole.whole / "catalog.sqlite3").read_bytes()
    draw = random.Random(7)
    refused = 0
    shutil.rmtree(whole.index, ignore_errors=True)
    shutil.copytree(whole.whole, whole.index)
    with closing(sqlite3.connect(whole.index / "catalog.sqlite3")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(400 if SOAK else 12):
        data = bytearray(whole_bytes)
        for _ in range(20):
            data[draw.randrange(100, len(data))] ^= 1 << draw.randrange(8)
        (whole.index / "catalog.sqlite3").write_bytes(data)
        with open_rag(whole.docs, whole.index) as rag:
            answers = found_by(rag)
            refused += answers is None
            assert answers in (None, whole.truth)
            for look in (rag.status, rag.files, lambda rag=rag: rag.export(whole.index.parent / "x", force=True)):
                try:
                    look()
                except RagError as error:
                    if not error.hint:
                        raise
    assert refused >= 2


@pytest.mark.parametrize("table", ["chunks", "contents"])
def test_a_row_that_only_its_own_page_lost_is_missed(rag: Rag, docs: Path, index: Path, table: str) -> None:
    """Its number is still found by an index of the catalog and by what is derived: a hit without it would be one less,
    and the next best in its place."""
    write(docs, birds_md=RIVER, metals_txt=METAL)
    rag.sync()
    (found,) = rag.search("copper", k=1)  # the census was taken before
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        where = "key = ?" if table == "chunks" else "id = (SELECT content_id FROM chunks WHERE key = ?)"
        assert database.execute(f"DELETE FROM {table} WHERE {where}", (found.chunk_id,)).rowcount == 1
    with pytest.raises(IndexDamaged, match="are missing, one"):
        rag.search("copper", k=1)


def test_a_name_in_the_catalog_that_is_no_text_any_more(rag: Rag, docs: Path, index: Path) -> None:
    """Of a table or index: SQLite then says so in bytes that Python can't decode."""
    write(docs, birds_md=RIVER)
    rag.sync()
    rag.close()
    for file in (index / "catalog.sqlite3", copies.newest_copy(index)):
        assert file is not None
        data = file.read_bytes()
        assert b"ON files(path)" in data
        file.write_bytes(data.replace(b"files_path", b"files_pa\xf4h").replace(b"ON files(path)", b"ON files(pfth)"))
        with open_rag(docs, index) as other:
            assert "decode byte 0xf4" in other.doctor().checks[0].told
            with pytest.raises(IndexDamaged, match="can't be read"):
                other.search("heron")
    with open_rag(docs, index) as other, pytest.raises(IndexDamaged, match="damaged, too"):
        other.repair(from_copy=True)


@pytest.mark.parametrize("key", ["embedding", "splitting", "analyzer"])
def test_an_index_that_lost_what_it_was_made_with_is_damaged(rag: Rag, docs: Path, index: Path, key: str) -> None:
    """A flipped bit of the name that it is kept under is enough."""
    write(docs, birds_md=RIVER)
    rag.sync()
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        assert database.execute("UPDATE meta SET key = 'x' || key WHERE key = ?", (key,)).rowcount == 1
    with pytest.raises(IndexDamaged, match=f"settings aren't what was written|doesn't say its {key}"):
        rag.status() if key == "splitting" else rag.search("heron")
    assert not is_healthy(rag) or key == "splitting"


@pytest.mark.parametrize("key", ["embedding", "generation", "census", "id"])
def test_a_setting_of_the_catalog_that_became_another_is_damage(docs: Path, index: Path, key: str) -> None:
    """Of the embedding's, one bit would have every text embedded again."""
    write(docs, birds_md=RIVER)
    with open_rag(docs, index) as rag:
        rag.sync()
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        (value,) = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        at = max(i for i, sign in enumerate(value) if sign.isalnum())
        other = f"{value[:at]}{chr(ord(value[at]) ^ 1)}{value[at + 1 :]}"
        database.execute("UPDATE meta SET value = ? WHERE key = ?", (other, key))
    embedder = FakeEmbedder()
    with open_rag(docs, index, embedder) as other_rag:
        for door in (other_rag.sync, other_rag.status, lambda: other_rag.search("heron"), other_rag.doctor):
            with pytest.raises(IndexDamaged, match="settings aren't what was written"):
                door()
        other_rag.repair(from_copy=True)
        assert other_rag.sync().embedded == 0
        assert other_rag.search("heron")[0].source == "birds.md"
    assert not embedder.embedded


@pytest.mark.parametrize("name", ["writer.lock", "writer.json"])
def test_a_folder_in_the_place_of_the_lock_stops_nobody(rag: Rag, docs: Path, index: Path, name: str) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    (index / name).unlink(missing_ok=True)
    (index / name).mkdir()
    assert rag.sync().embedded == 0
    assert is_healthy(rag)


@pytest.mark.parametrize("what", [b"", b"\0" * 8192, b"not a database" * 500, "folder", None])
def test_a_catalog_that_is_none_is_refused_by_every_door(
    rag: Rag, docs: Path, index: Path, what: bytes | str | None
) -> None:
    write(docs, birds_md=RIVER, metals_txt=METAL)
    rag.sync()
    rag.close()
    file = index / "catalog.sqlite3"
    file.unlink()
    if isinstance(what, bytes):
        file.write_bytes(what)
    elif what:
        file.mkdir()
    with open_rag(docs, index) as other:
        doors: list[Callable[[], object]] = [
            lambda: other.search("heron"),
            other.status,
            other.files,
            other.repair,
            other.sync,
            other.compact,
            lambda: other.export(index.parent / "x.tar.zst"),
            lambda: other.ask("heron?"),
        ]
        for door in doors:
            with pytest.raises(StoreError) as caught:
                door()
            assert "--from-copy" in caught.value.hint
        assert not is_healthy(other)
        assert other.repair(from_copy=True) > 1
        assert other.sync().embedded == 0
        assert is_healthy(other)
        assert other.search("heron")[0].source == "birds.md"
    assert len(index_state(index)) == 2


# ---- the catalog's copies -------------------------------------------------------------------------------------------


def test_a_damaged_catalog_names_its_copy_and_is_put_back(rag: Rag, docs: Path, index: Path) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    rag.repair()
    file = index / "catalog.sqlite3"
    rag.close()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged = file.read_bytes()[:4096] + b"\xff" * 40_000
    file.write_bytes(damaged)
    write(docs, metals_txt=METAL)  # synced never
    embedder = FakeEmbedder()
    with open_rag(docs, index, embedder) as other:
        with pytest.raises(IndexDamaged) as caught:
            other.sync()
        assert f"`rag doctor --repair --from-copy` puts back {index / 'copies' / 'catalog-2.sqlite3'}" in str(
            caught.value
        )
        assert other.repair(from_copy=True) == 4  # put back as 3, of which nothing is derived, then made anew
        assert (index / "catalog.sqlite3.damaged").read_bytes() == damaged
        assert other.search("heron")[0].source == "birds.md"
        assert other.sync().embedded == len(embedder.embedded) > 0
        assert all("Birds" not in text for text in embedder.embedded)
        assert is_healthy(other)
        other.compact()
    assert not (index / "catalog.sqlite3.damaged").exists()


def test_what_was_damaged_first_is_kept_whoever_puts_copies_back_again(rag: Rag, docs: Path, index: Path) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    rag.close()
    file, first = index / "catalog.sqlite3", index / "catalog.sqlite3.damaged"
    for hurt in (b"one" * 9000, b"one" * 9000, b"two" * 9000):
        file.write_bytes(hurt)
        copies.restore(index)
    assert first.read_bytes() == b"one" * 9000
    assert first.with_name(f"{first.name}-2").read_bytes() == b"two" * 9000
    copies.restore(index)  # of a catalog that is well
    assert len(list(index.glob("catalog.sqlite3.damaged*"))) == 3
    with open_rag(docs, index) as other:
        assert other.sync().embedded == 0
        assert is_healthy(other)
        other.compact()
    assert not list(index.glob("catalog.sqlite3.damaged*"))


def test_a_copy_costs_a_bounded_part_of_the_time(
    rag: Rag, docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held() -> list[str]:
        return [p.name for p in copies.copies(index)]

    clock = [1000.0]
    monkeypatch.setattr(copies.time, "time", lambda: clock[0])
    write(docs, birds_md=RIVER)
    rag.sync()
    assert held() == ["catalog-1.sqlite3"]
    made = (index / "copies" / "made.json").read_text()
    seconds = copies.json.loads(made)["seconds"]
    write(docs, metals_txt=METAL)
    rag.sync()
    assert held() == ["catalog-1.sqlite3"]  # too soon
    clock[0] += copies.REST * seconds + 1
    rag.sync()  # nothing changed, yet the copy is of an older generation
    assert held() == ["catalog-2.sqlite3"]
    clock[0] += 1e6
    before = (index / "copies" / "catalog-2.sqlite3").stat().st_mtime_ns
    rag.sync()
    assert (index / "copies" / "catalog-2.sqlite3").stat().st_mtime_ns == before
    with open_rag(docs, index, store__copies=2) as more:
        for i in range(2):
            write(docs, **{f"{i}_txt": f"Number {i}."})
            clock[0] += 1e6
            more.sync()
        assert held() == ["catalog-4.sqlite3", "catalog-3.sqlite3"]
    with open_rag(docs, index, store__copies=0) as none:
        none.sync()
    assert held() == []


def test_a_damaged_catalog_never_replaces_a_good_copy(rag: Rag, docs: Path, index: Path) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    kept = (index / "copies" / "catalog-1.sqlite3").read_bytes()
    rag.close()
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        database.execute("UPDATE vectors SET vector = zeroblob(length(vector))")
    write(docs, metals_txt=METAL)
    with open_rag(docs, index) as other:
        shutil.rmtree(index / "copies" / "x", ignore_errors=True)
        (index / "copies" / "made.json").unlink()
        other.sync()
    assert [p.name for p in copies.copies(index)] == ["catalog-1.sqlite3"]
    assert (index / "copies" / "catalog-1.sqlite3").read_bytes() == kept


def test_no_copy_is_told(rag: Rag, docs: Path, index: Path) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    copies.drop_copies(index)
    with pytest.raises(IndexMissing, match="holds no copy"):
        rag.repair(from_copy=True)
    assert rag.doctor().ok
    (index / "copies").mkdir()
    (index / "copies" / "catalog-1.sqlite3").write_bytes(b"\0" * 5000)
    assert not is_healthy(rag)
    with pytest.raises(IndexDamaged, match="damaged, too"):
        rag.repair(from_copy=True)
    rag.repair()
    assert is_healthy(rag)


# ---- while it is mended ---------------------------------------------------------------------------------------------


def test_search_is_exact_while_the_dense_index_is_made_anew(
    rag: Rag, docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, birds_md=RIVER, metals_txt=METAL)
    rag.sync()
    before = [(p.source, round(p.score, 4)) for p in rag.search("heron")]
    here = generation_folder(index, 1)
    rag.close()
    next(here.glob("chroma/*/data_level0.bin")).write_bytes(b"")
    building, asked = threading.Event(), threading.Event()
    original = _Collection.add

    def add(self: _Collection, *args: object) -> None:
        building.set()
        assert asked.wait(30)
        original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(_Collection, "add", add)
    with open_rag(docs, index) as mending, open_rag(docs, index) as reading:
        thread = threading.Thread(target=mending.repair)
        thread.start()
        try:
            assert building.wait(30)
            assert [(p.source, round(p.score, 4)) for p in reading.search("heron")] == before
            assert reading.reader._opened["vectors"][1].__class__.__name__ == "_Exact"
        finally:
            asked.set()
            thread.join()
        assert [(p.source, round(p.score, 4)) for p in reading.search("heron")] == before
        assert reading.reader._opened["vectors"][0] == 2


# ---- a disk that is full, or read-only ------------------------------------------------------------------------------


FILL = """
import resource, sys, traceback
from pathlib import Path
import chromadb, tantivy
from fakes_embed import open_rag
from rag.errors import RagError
docs, index, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_rag(docs, index, load__workers=1) as rag:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        rag.import_index(index.parent / "x", force=True) if sys.argv[4] == "import" else getattr(rag, sys.argv[4])()
        print("done")
    except RagError as error:
        print("refused", error.__class__.__name__, error.hint)
"""


def limited(docs: Path, index: Path, limit: int, do: str = "sync") -> str:
    """In a process that may not write a file beyond `limit` bytes: to SQLite, Chroma and tantivy the disk is full."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", FILL, str(docs), str(index), str(limit), do]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout.strip().splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE")
def test_a_full_disk_is_told_and_loses_nothing(rag: Rag, docs: Path, index: Path, embedder: FakeEmbedder) -> None:
    write(docs, birds_md=RIVER, metals_txt=METAL)
    rag.sync()
    rag.close()
    before = index_state(index)
    for i in range(30):
        (docs / f"{i}.txt").write_text("".join(f"Number {i} has {i * j} apples.\n" for j in range(40)))
    limits = [2**10, 2**14, 2**16, 150_000, 200_000, 400_000] if SOAK else [200_000]
    told = [limited(docs, index, limit) for limit in limits]
    assert all(t == "done" or (t.startswith("refused") and "free space" in t) for t in told), told
    assert told[0] != "done"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with open_rag(docs, index, embedder) as other:
        if all(t != "done" for t in told):
            assert index_state(index) == before
        other.sync()
        assert is_healthy(other)
        assert {**index_state(index), **before} == index_state(index)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE")
@pytest.mark.parametrize("do", ["compact", "repair", "import"])
def test_a_disk_that_fills_while_mending_loses_nothing(rag: Rag, docs: Path, index: Path, do: str) -> None:
    """Making anew and importing write more than they leave. An import goes over another index."""
    write(docs, **{f"f{i}_txt": "".join(f"Number {i} has {i * j} apples.\n" for j in range(40)) for i in range(12)})
    rag.sync()
    rag.export(index.parent / "x")
    if do == "import":
        (docs / "f1.txt").unlink()
        rag.sync()
    rag.close()
    before = index_state(index)
    limits = [2**10, 2**14, 2**16, 100_000, 150_000, 200_000] if SOAK else [2**14, 100_000]
    told = [limited(docs, index, limit, do) for limit in limits]
    assert all(t.startswith("refused") and "free space" in t for t in told[:2]), told
    if all(t != "done" for t in told):
        assert index_state(index) == before
    with open_rag(docs, index) as other:
        other.sync()
        other.repair()
        assert is_healthy(other)


def test_no_room_in_the_middle_of_publishing_leaves_what_was(
    rag: Rag, docs: Path, index: Path, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    before = index_state(index)
    write(docs, metals_txt=METAL)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("seal", "Lexical"):
        with monkeypatch.context() as patch:
            patch.setattr(writer, name, full)
            with pytest.raises(StoreError, match="No space left") as caught:
                rag.sync()
            assert "free space" in caught.value.hint
        assert index_state(index) == before
        assert rag.search("heron")[0].source == "birds.md"
    embedded = len(embedder.embedded)
    rag.sync()
    assert len(embedder.embedded) == embedded
    assert is_healthy(rag)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """pytest's own folders are their owner's only."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="takes root to give it up")
def test_folders_that_cannot_be_written_are_named_and_left_alone(open_to_all: Path) -> None:
    """As another user, who may read everything and write nothing."""
    docs, index = open_to_all / "docs", open_to_all / "index"
    write(docs, birds_md=RIVER)
    with open_rag(docs, index) as rag:
        rag.sync()
    before = {p: p.read_bytes() for p in index.rglob("*") if p.is_file()}
    program = FILL.replace("resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))", "import os; os.setuid(65534)")
    for folder in (index, *index.rglob("*"), docs, *docs.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    for do in ("sync", "repair", "compact") if SOAK else ("sync",):
        ended = subprocess.run(
            [sys.executable, "-c", program, str(docs), str(index), "0", do],
            env={**os.environ, "PYTHONPATH": path, "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.stdout.startswith("refused"), ended.stderr[-2000:]
    assert {p: p.read_bytes() for p in before} == before


LOOK = """
import sys
from pathlib import Path
from fakes_embed import open_rag
from rag.errors import StoreError
docs, *indexes = map(Path, sys.argv[1:])
for index in indexes:
    with open_rag(docs, index) as rag:
        for name, do in (
            ("search", lambda: rag.search("copper")[0].source),
            ("ask", lambda: bool(rag.ask("At what temperature does copper melt?").citations)),
            ("status", lambda: rag.status()["generation"]),
            ("doctor", lambda: [c for c in rag.doctor().checks if not c.ok]),
            ("opened", lambda: sorted(type(v).__name__ for _, v in rag.reader._opened.values())),
            ("sync", rag.sync), ("repair", rag.repair), ("compact", rag.compact),
        ):
            try:
                print(index.name, name, do())
            except StoreError as error:
                print(index.name, name, "refused:", error.message)
"""
ALTER_ANYTHING = 1  # CAP_DAC_OVERRIDE: what lets root write what nobody may


def without_the_rights_of_root() -> None:
    """In a child, before it becomes the program: what it may not write by the modes of files it can't."""
    if os.getuid() == 0:
        ctypes.CDLL(None, use_errno=True).prctl(24, ALTER_ANYTHING, 0, 0, 0)  # PR_CAPBSET_DROP


def left_by_a_reader(index: Path, docs: Path, **files: str) -> None:
    """One more generation, in the log: a reader that outlives the writer leaves it there."""
    write(docs, **files)
    with closing(sqlite3.connect(f"file:{index / 'catalog.sqlite3'}?mode=ro", uri=True)) as reader:
        reader.execute("SELECT count(*) FROM files").fetchone()
        with open_rag(docs, index) as rag:
            rag.sync()
    assert (index / "catalog.sqlite3-wal").stat().st_size


@pytest.mark.skipif(sys.platform != "linux", reason="the modes of files, and what root is without its rights")
def test_an_index_that_cannot_be_written_is_searched_and_looked_at(tmp_path: Path, docs: Path) -> None:
    """Nothing is put beside the catalog, and what Chroma and tantivy write as they open goes into a copy. A log that
    SQLite can't read there holds what was committed last: it isn't passed over."""
    docs_before = write(tmp_path / "docs before", birds_md=RIVER)
    closed, logged, lost = indexes = [tmp_path / name for name in ("closed", "logged", "lost")]
    write(docs, birds_md=RIVER, metals_txt=METAL)
    with open_rag(docs, closed) as rag:
        rag.sync()
    with open_rag(docs_before, logged) as rag:
        rag.sync()
    left_by_a_reader(logged, docs, metals_txt=METAL)
    shutil.copytree(logged, lost)
    (lost / "catalog.sqlite3-shm").unlink()
    (temporary := tmp_path / "temporary").mkdir()
    all_of_it = [path for index in indexes for path in (index, *index.rglob("*"))]
    before = {path: path.read_bytes() for path in all_of_it if path.is_file()}
    for path in all_of_it:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        modules = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        ended = subprocess.run(
            [sys.executable, "-c", LOOK, str(docs), *map(str, indexes)],
            env={**os.environ, "PYTHONPATH": modules, "TMPDIR": str(temporary)}, preexec_fn=without_the_rights_of_root,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    finally:
        for path in all_of_it:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = ended.stdout.splitlines()
    for index, generation in ((closed, 1), (logged, 2)):
        name = index.name
        assert told[:5] == [
            f"{name} search metals.txt", f"{name} ask True", f"{name} status {generation}",
            f"{name} doctor []", f"{name} opened ['Lexical', '_Collection', 'dict']",
        ]  # fmt: skip
        assert all(line.startswith(f"{name} ") and f"refused: {index}: can't be written" in line for line in told[5:8])
        told = told[8:]
    assert all("catalog.sqlite3-wal in it holds what" in line for line in told[:4]), told
    assert not list(temporary.iterdir())
    now = {path for index in indexes for path in index.rglob("*")}
    assert now == set(all_of_it) - set(indexes)
    assert {path: path.read_bytes() for path in before} == before


def test_what_another_writes_into_a_folder_that_we_can_only_read_is_seen(
    rag: Rag, docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that nobody was writing is read without locks: so whoever begins to is noticed."""
    write(docs, birds_md=RIVER)
    rag.sync()
    rag.close()
    monkeypatch.setattr(connection, "reading_mode", lambda file: connection.STILL)
    with open_rag(docs, index) as reading, open_rag(docs, index) as writing:
        assert reading.search("copper")[0].source == "birds.md"
        with pytest.raises(StoreError, match="was written while it was read"), reading.reader.catalog.snapshot():
            write(docs, metals_txt=METAL)
            writing.sync()
        assert reading.search("copper")[0].source == "metals.txt"
        assert len(reading.files()) == 2


def test_the_catalog_is_read_where_nothing_may_be_written(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "catalog.sqlite3")) as catalog:
        catalog.put_vectors([b"v"], np.ones((1, DIMENSION), np.float32))
    with closing(Catalog(tmp_path / "catalog.sqlite3", readonly=True, still=True)) as catalog:
        assert catalog.generation == 0
    assert [p.name for p in tmp_path.iterdir()] == ["catalog.sqlite3"]
