"""Sync: the index becomes equal to the folder, whatever happened to the folder, and whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fakes_embed import FakeEmbedder, index_state, open_rag

import rag.sync
from rag.build import Rag
from rag.config import Documents
from rag.errors import Cancelled, ConfigError, FolderError, IndexDamaged, IndexMismatch, RagError, StoreError
from rag.store import IndexWriter
from rag.sync.scan import scan
from rag.sync.watch import changes
from rag.types import Outcome, SyncReport

Make = Callable[..., Rag]
COUNTS = ("num_added", "num_updated", "num_moved", "num_skipped", "num_deleted", "embedded")


def counts(report: SyncReport) -> dict[str, int]:
    """Those that aren't 0."""
    return {name: getattr(report, name) for name in COUNTS if getattr(report, name)}


def write(docs: Path, **texts: str) -> None:
    """`a="text"` writes a.txt."""
    for name, text in texts.items():
        (docs / f"{name}.txt").write_text(text)


def outcomes(report: SyncReport) -> dict[str, str]:
    return {f.path: f.outcome.value for f in report.files}


def reason(report: SyncReport, path: str) -> str:
    return next(f.reason or "" for f in report.files if f.path == path)


def sources(rag: Rag, question: str = "apples") -> set[str]:
    return {p.source for p in rag.search(question, k=50)}


@pytest.fixture
def three(docs: Path, rag: Rag) -> Rag:
    """A Rag over three files, synced."""
    write(docs, a="Apples in file a.", b="Apples in file b.", c="Apples in file c.")
    report = rag.sync()
    assert counts(report) == {"num_added": 3, "embedded": 3}
    assert (report.chunks, report.generation, report.ok) == (3, 1, True)
    return rag


# ---- what happened to the folder -------------------------------------------------------------------------------------


def test_nothing_changed(three: Rag) -> None:
    report = three.sync()
    assert counts(report) == {"num_skipped": 3}
    assert (report.generation, report.chunks) == (1, 3)
    assert [(f.outcome, f.chunks) for f in report.files] == [(Outcome.UNCHANGED, 1)] * 3


def test_new_changed_and_deleted(three: Rag, docs: Path) -> None:
    write(docs, a="Apples were changed in file a.", d="Apples in a new file d.")
    (docs / "b.txt").unlink()
    report = three.sync()
    assert counts(report) == {"num_added": 1, "num_updated": 1, "num_skipped": 1, "num_deleted": 1, "embedded": 2}
    assert sources(three) == {"a.txt", "c.txt", "d.txt"}
    assert "changed" in three.search("apples changed")[0].text


def test_an_edited_file_embeds_only_what_is_new_in_it(rag: Rag, docs: Path, embedder: FakeEmbedder) -> None:
    lines = [
        f"This is paragraph {i}, about apples and {i * i} pears and some more words to fill it up." for i in range(9)
    ]
    write(docs, a="\n\n".join(lines))
    first = rag.sync()
    assert first.embedded > 5
    embedder.embedded.clear()
    write(
        docs, a="\n\n".join([*lines[:4], "Something else stands here now, with other words in its place.", *lines[5:]])
    )
    report = rag.sync()
    assert report.embedded == len(embedder.embedded) <= 2
    assert report.reused == report.chunks - report.embedded


def test_moved_and_renamed_files_keep_their_vectors(three: Rag, docs: Path) -> None:
    (docs / "sub").mkdir()
    (docs / "a.txt").rename(docs / "sub" / "a.txt")
    (docs / "b.txt").rename(docs / "z.txt")
    report = three.sync()
    assert counts(report) == {"num_moved": 2, "num_skipped": 1}
    assert [f.chunks for f in report.files] == [1, 1, 1]
    assert sources(three) == {"sub/a.txt", "z.txt", "c.txt"}


def test_a_file_moved_over_another(three: Rag, docs: Path) -> None:
    (docs / "a.txt").rename(docs / "b.txt")
    assert counts(three.sync()) == {"num_updated": 1, "num_deleted": 1, "num_skipped": 1}
    assert sources(three) == {"b.txt", "c.txt"}
    assert "file a" in three.search("file apples")[0].text + three.search("file apples")[1].text


def test_a_touched_file_is_no_news(three: Rag, docs: Path) -> None:
    os.utime(docs / "a.txt", (1, 1))
    report = three.sync()
    assert counts(report) == {"num_skipped": 3}
    assert report.generation == 1


def test_equal_files_are_read_and_embedded_once(three: Rag, docs: Path) -> None:
    write(docs, copy="Apples in file a.", twin1="Apples twice.", twin2="Apples twice.")
    assert counts(three.sync()) == {"num_added": 3, "num_skipped": 3, "embedded": 1}
    (hit,) = [p for p in three.search("apples twice", k=50) if "twice" in p.text]
    assert {hit.source, *hit.also_in} == {"twin1.txt", "twin2.txt"}
    (docs / "twin1.txt").unlink()
    assert counts(three.sync()) == {"num_deleted": 1, "num_skipped": 5}
    assert "twin2.txt" in sources(three, "apples twice")


def test_equal_text_of_another_kind_is_cut_as_that_kind(rag: Rag, docs: Path) -> None:
    (docs / "a.md").write_text("# Apples\n\nBody.\n")
    (docs / "a.txt").write_text("# Apples\n\nBody.\n")
    assert counts(rag.sync())["num_added"] == 2
    kinds = {p.source: (p.kind, p.location.headings) for p in rag.search("apples", fold_duplicates=False)}
    assert kinds == {"a.md": ("md", ("Apples",)), "a.txt": ("text", ())}


def test_a_file_that_turns_unsupported_and_back(three: Rag, docs: Path) -> None:
    (docs / "a.txt").rename(docs / "a.xyz")
    report = three.sync()
    assert outcomes(report)["a.xyz"] == "unsupported"
    assert reason(report, "a.xyz") == "no loader for .xyz"
    assert report.ok
    assert counts(report) == {"num_deleted": 1, "num_skipped": 2}
    assert sources(three) == {"b.txt", "c.txt"}
    assert counts(three.sync()) == {"num_skipped": 2}
    (docs / "a.xyz").rename(docs / "a.txt")
    assert three.sync().num_added == 1
    assert sources(three) == {"a.txt", "b.txt", "c.txt"}


@pytest.mark.parametrize(
    ("name", "data", "outcome", "words"),
    [
        ("empty.txt", b"", "empty", "no text"),
        ("blank.md", b" \n\n ", "empty", "no text"),
        ("lies.txt", b"%PDF-1.7\nnot really", "failed", "is a PDF"),
        ("broken.pdf", b"%PDF-1.7\ngarbage", "failed", ""),
        ("broken.docx", b"PK\x03\x04 no archive", "failed", ""),
        ("image.png", b"\x89PNG", "failed", "is no picture"),
        ("old.xls", b"\xd0\xcf", "unsupported", "no loader for .xls"),
        ("noname", b"abc", "unsupported", "without a suffix"),
    ],
)
def test_bad_files_are_reported_each_time_and_the_rest_is_indexed(
    three: Rag, docs: Path, name: str, data: bytes, outcome: str, words: str
) -> None:
    (docs / name).write_bytes(data)
    for _ in range(2):
        report = three.sync()
        assert outcomes(report) == {
            "a.txt": "unchanged", "b.txt": "unchanged", "c.txt": "unchanged", name: outcome
        }  # fmt: skip
        assert words in reason(report, name)
        assert report.ok == (outcome != "failed")
        assert report.generation == 2
    assert [(f.path, f.outcome.value) for f in three.files() if f.reason] == [(name, outcome)]


def test_a_failed_file_is_read_again_when_it_changes_or_the_limits_do(
    docs: Path, make_rag: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, a="Apples.")
    (docs / "b.txt").write_bytes(b"%PDF-1.7")
    make_rag().sync()
    read: list[str] = []
    original = rag.sync.LoaderPool.load_many

    def load_many(pool: Any, jobs: Any) -> Iterator[Any]:
        for path, loaded in original(pool, jobs):
            read.append(path)
            yield path, loaded

    monkeypatch.setattr(rag.sync.LoaderPool, "load_many", load_many)
    make_rag().sync()
    assert read == []  # nothing says that it would go better
    make_rag(load__timeout_s=99).sync()
    assert read == ["b.txt"]
    make_rag(load__timeout_s=99).sync(reindex=True)
    assert read == ["b.txt"] * 2
    (docs / "b.txt").write_text("Apples, at last.")
    report = make_rag(load__timeout_s=99).sync()
    assert read == ["b.txt"] * 3
    assert outcomes(report) == {"a.txt": "unchanged", "b.txt": "indexed"}


def test_a_raised_limit_reads_what_it_cut(docs: Path, make_rag: Make) -> None:
    write(docs, a="Apples and pears. " * 100)
    short = make_rag(load__max_chars=1000)
    short.sync()
    assert "a.txt" in short.status()["warnings"]
    long = make_rag(load__max_chars=5000)
    assert long.sync().num_updated == 1
    assert long.status()["warnings"] == {}


def test_a_change_that_keeps_size_and_time_is_noticed(rag: Rag, docs: Path) -> None:
    """By the inode's change time, which nobody can set back."""
    path = docs / "a.txt"
    path.write_text("Apples here.")
    os.utime(path, ns=(10**18, 10**18))
    rag.sync()
    path.write_text("Melons here.")
    os.utime(path, ns=(10**18, 10**18))
    report = rag.sync()
    assert counts(report) == {"num_updated": 1, "embedded": 1}
    assert rag.search("melons")[0].text == "Melons here."


def test_a_clock_set_back_and_files_from_the_future(rag: Rag, docs: Path) -> None:
    path = docs / "a.txt"
    for stamp, text in ((2 * 10**18, "From the future."), (10**9, "From the past.."), (3 * 10**18, "Future again")):
        path.write_text(text)
        os.utime(path, ns=(stamp, stamp))
        assert rag.sync().embedded == 1
        assert rag.sync().embedded == 0
        assert rag.search("from future past again")[0].text == text


def test_a_clock_that_ran_ahead_hides_no_change(rag: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at in 2029 isn't older than that look because it is 2026 again."""
    path = docs / "a.txt"
    path.write_text("Apples here.")
    os.utime(path, ns=(10**18, 10**18))
    with monkeypatch.context() as patch:
        now = time.time_ns
        patch.setattr(time, "time_ns", lambda: now() + 10**17)
        rag.sync()
    path.write_text("Melons here.")
    os.utime(path, ns=(10**18, 10**18))
    assert counts(rag.sync()) == {"num_updated": 1, "embedded": 1}


def test_a_clock_ahead_of_the_file_systems_hides_no_change(
    rag: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a server of files whose clock is behind: a change that keeps size and time lies before the last look."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10**17)
    path = docs / "a.txt"
    for text in ("Apples here.", "Melons here.", "Pears there!"):
        path.write_text(text)
        os.utime(path, ns=(10**18, 10**18))
        assert rag.sync().embedded == 1
        assert rag.search("apples melons pears here there")[0].text == text


@pytest.mark.parametrize(("table", "embedded"), [("files", 0), ("contents", 0), ("chunks", 0), ("vectors", 1)])
def test_a_row_of_the_catalog_removed_by_hand(three: Rag, docs: Path, index: Path, table: str, embedded: int) -> None:
    before = index_state(index)
    column = "key" if table == "vectors" else "id"
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        first = f"DELETE FROM {table} WHERE {column} = (SELECT min({column}) FROM {table})"
        assert database.execute(first).rowcount == 1
    assert not three.doctor().ok
    assert three.sync().embedded == embedded
    assert index_state(index) == before
    assert sources(three) == {"a.txt", "b.txt", "c.txt"}
    assert counts(three.sync()) == {"num_skipped": 3}
    assert three.doctor().ok


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE contents SET key = 'x' || substr(key, 2) WHERE id = (SELECT min(id) FROM contents)",
        "UPDATE files SET hash = 'x' || substr(hash, 2) WHERE id = (SELECT min(id) FROM files)",
        "UPDATE files SET content_id = (SELECT max(id) FROM contents) WHERE id = (SELECT min(id) FROM files)",
        "UPDATE files SET content_id = NULL, outcome = 'failed' WHERE id = (SELECT min(id) FROM files)",
    ],
)
def test_a_name_in_the_catalog_that_became_another_is_noticed_and_made_anew(
    three: Rag, make_rag: Make, index: Path, change: str
) -> None:
    before = index_state(index)
    three.close()
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        assert database.execute(change).rowcount == 1
    again = make_rag()
    with pytest.raises(IndexDamaged, match="run `rag sync`"):
        again.search("apples")
    assert again.sync().embedded == 0
    assert index_state(index) == before
    assert again.doctor().ok


def test_pages_that_arent_whole_are_not_written_on(three: Rag, make_rag: Make, index: Path) -> None:
    """What can't be found by its index isn't lost: a sync that took it for gone would make it so."""
    three.close()
    file = index / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root, size = (
            database.execute(query).fetchone()[0]
            for query in ("SELECT rootpage FROM sqlite_master WHERE name = 'files_path'", "PRAGMA page_size")
        )
    data = bytearray(file.read_bytes())
    at = data.index(b"b.txt", (root - 1) * size, root * size)
    data[at] ^= 8
    file.write_bytes(data)
    again = make_rag()
    for _ in range(2):
        with pytest.raises(IndexDamaged, match="--from-copy"):
            again.sync()
    assert file.read_bytes() == data


def test_what_settled_files_cost(three: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a file is older than the clock's grain, it isn't opened any more."""
    for name in "abc":
        os.utime(docs / f"{name}.txt", (1, 1))
    monkeypatch.setattr(rag.sync, "CLOCK_GRAIN_NS", -(10**12))  # as if all of it were long ago
    three.sync()
    monkeypatch.setattr("rag.sync.hashlib.file_digest", None)
    assert counts(three.sync()) == {"num_skipped": 3}


# ---- what can't be read ----------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_opened_fails_and_comes_back(
    three: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, a="Apples, longer now.")
    original = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if Path(path).name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments, **options)

    with monkeypatch.context() as patch:  # the tests may run as root, whom no permission stops
        patch.setattr(os, "open", refuse)
        report = three.sync()
    assert outcomes(report)["a.txt"] == "failed"
    assert reason(report, "a.txt") == "can't be read: Permission denied"
    assert sources(three) == {"b.txt", "c.txt"}
    assert three.sync().num_added == 1


def test_what_the_machine_could_not_read_is_read_by_the_next_sync(
    rag: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, a="Apples here.", b="Apples here.")
    for name in "ab":
        os.utime(docs / f"{name}.txt", (1, 1))

    def refuse(*arguments: Any, **more: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("rag.load.worker.subprocess.Popen", refuse)
        report = rag.sync()
    for name in ("a.txt", "b.txt"):
        assert "can't be started: Resource temporarily unavailable" in reason(report, name)
    report = rag.sync()
    assert outcomes(report) == {"a.txt": "indexed", "b.txt": "indexed"}
    (docs / "a.txt").write_text("Melons here, and more.")
    with monkeypatch.context() as patch:
        patch.setattr("rag.load.worker.subprocess.Popen", refuse)
        assert outcomes(rag.sync()) == {"a.txt": "failed", "b.txt": "unchanged"}
    assert rag.source("a.txt").text == "Apples here."  # what it held stays until it is read again
    assert outcomes(rag.sync()) == {"a.txt": "indexed", "b.txt": "unchanged"}


def test_a_folder_of_files_without_text_is_no_news_either(rag: Rag, docs: Path) -> None:
    write(docs, a="", b=" ")
    assert rag.sync(allow_empty=True).generation == rag.sync(allow_empty=True).generation == 1


@pytest.mark.parametrize("table", ["contents", "chunks"])
def test_a_row_lost_between_a_stopped_sync_and_the_next(
    rag: Rag, docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Nothing was published that could be missed: the rows say themselves what they had."""

    def interrupted(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    write(docs, a="Apples here. Pears there.", b="Melons here.")
    with monkeypatch.context() as patch:
        patch.setattr(IndexWriter, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rag.sync()
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        assert database.execute(f"DELETE FROM {table} WHERE id = (SELECT min(id) FROM {table})").rowcount == 1
    assert rag.sync().embedded == 0
    assert sources(rag) == {"a.txt", "b.txt"}
    assert rag.doctor().ok


def test_a_folder_that_cannot_be_read_keeps_its_files(rag: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(docs, a="Apples above.")
    (docs / "sub").mkdir()
    write(docs / "sub", b="Apples below.")
    rag.sync()
    original = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        report = rag.sync()
    assert outcomes(report) == {"a.txt": "unchanged", "sub": "failed"}
    assert report.num_deleted == 0
    assert "the folder can't be read" in reason(report, "sub")
    assert sources(rag) == {"a.txt", "sub/b.txt"}
    assert outcomes(rag.sync()) == {"a.txt": "unchanged", "sub/b.txt": "unchanged"}


def test_a_file_that_changes_while_it_is_read(three: Rag, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = rag.sync.LoaderPool.load_many

    def load_many(pool: Any, jobs: Any) -> Iterator[Any]:
        for path, loaded in original(pool, jobs):
            write(docs, d="Apples, and something written while it was being read.")
            yield path, loaded

    write(docs, d="Apples.")
    with monkeypatch.context() as patch:
        patch.setattr(rag.sync.LoaderPool, "load_many", load_many)
        report = three.sync()
    assert outcomes(report)["d.txt"] == "failed"
    assert "changed while it was read" in reason(report, "d.txt")
    assert outcomes(three.sync())["d.txt"] == "indexed"


def test_files_that_become_something_else_between_the_scan_and_the_reading(
    rag: Rag, docs: Path, tmp_path: Path
) -> None:
    """None of them blocks, none is read as what it isn't, and each has one outcome."""
    write(
        docs, gone="Apples.", pipe="Apples.", device="Apples.", folder="Apples.", stays="Apples in the one that stays."
    )

    def change(event: dict[str, Any]) -> None:
        if event["event"] != "scan":
            return
        for name in ("gone", "pipe", "device", "folder"):
            (docs / f"{name}.txt").unlink()
        os.mkfifo(docs / "pipe.txt")
        (docs / "device.txt").symlink_to("/dev/zero")
        (docs / "folder.txt").mkdir()

    report = rag.sync(listener=change)
    assert outcomes(report) == {f"{name}.txt": "failed" for name in ("gone", "pipe", "device", "folder")} | {
        "stays.txt": "indexed"
    }
    assert reason(report, "gone.txt") == "can't be read: No such file or directory"
    assert {reason(report, f"{name}.txt") for name in ("pipe", "device")} == {"not a regular file"}
    assert reason(report, "folder.txt")
    assert sources(rag) == {"stays.txt"}
    assert outcomes(rag.sync()) == {"stays.txt": "unchanged"}  # they aren't files: passed over


def test_links_pipes_and_odd_names(rag: Rag, docs: Path, tmp_path: Path) -> None:
    write(docs, a="Apples.")
    write(tmp_path, secret="Apples outside of the folder.")
    (docs / "out.txt").symlink_to(tmp_path / "secret.txt")
    (docs / "inside.txt").symlink_to(docs / "a.txt")
    (docs / "loop.txt").symlink_to(docs / "loop.txt")
    (docs / "dangling.txt").symlink_to(docs / "nowhere.txt")
    (docs / "folder").symlink_to(tmp_path)
    os.mkfifo(docs / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        with contextlib.suppress(OSError):  # too long for a socket's name
            listening.bind(str(docs / "s.txt"))
        (docs / "strange \n name 日本.txt").write_text("Apples of a strange name.")
        for name in (b"caf\xe9.txt", b"caf\xe8.txt"):
            Path(os.fsdecode(os.fsencode(docs) + b"/" + name)).write_text("Apples of a name in Latin-1.")
        report = rag.sync()
    assert outcomes(report) == {
        "a.txt": "indexed",
        "inside.txt": "indexed",
        "loop.txt": "failed",
        "dangling.txt": "failed",
        "strange \n name 日本.txt": "indexed",
        r"caf\xe9.txt": "failed",
        r"caf\xe8.txt": "failed",
    }
    assert reason(report, r"caf\xe9.txt") == "its name is not valid UTF-8"
    assert counts(rag.sync()) == {"num_skipped": 3}
    assert len(rag.files()) == 7


def test_a_folder_that_is_missing_a_file_or_empty(docs: Path, tmp_path: Path, make_rag: Make) -> None:
    with pytest.raises(FolderError, match="there is no folder"):
        make_rag(docs=tmp_path / "none").sync()
    write(tmp_path, file="x")
    with pytest.raises(FolderError, match="is a file, not a folder"):
        make_rag(docs=tmp_path / "file.txt").sync()
    with pytest.raises(FolderError, match=r"\(0 files seen\)"):
        make_rag().sync()
    (docs / "a.xyz").write_bytes(b"x")
    with pytest.raises(FolderError, match=r"\(1 files seen\)"):
        make_rag().sync()


def test_an_emptied_folder_is_believed_only_when_told(three: Rag, docs: Path) -> None:
    shutil.rmtree(docs)
    docs.mkdir()
    with pytest.raises(FolderError, match="the index is left as it was"):
        three.sync()
    assert len(sources(three)) == 3
    report = three.sync(allow_empty=True)
    assert counts(report) == {"num_deleted": 3}
    assert (report.chunks, report.files) == (0, ())
    assert sources(three) == set()


def test_patterns_and_the_index_inside_the_folder(docs: Path, make_rag: Make) -> None:
    write(docs, a="Apples.")
    (docs / "node_modules").mkdir()
    write(docs / "node_modules", x="Apples of others.")
    (docs / ".hidden.txt").write_text("Apples.")
    inside = make_rag(index=docs / "my index")
    assert set(outcomes(inside.sync())) == {"a.txt"}
    assert inside.sync().generation == 1
    with pytest.raises(ConfigError, match="is the document folder itself"):
        make_rag(index=docs).sync()


def test_include_and_exclude(docs: Path) -> None:
    for path in ("a.md", "b.txt", "sub/c.md", "skip/d.md"):
        (docs / path).parent.mkdir(exist_ok=True)
        (docs / path).write_text("x")
    assert [e.path for e in scan(Documents(path=docs, include=("*.md",), exclude=("skip/",)))] == ["a.md", "sub/c.md"]


def test_a_full_disk_is_refused(docs: Path, make_rag: Make, index: Path, embedder: FakeEmbedder) -> None:
    write(docs, a="Apples.")
    with pytest.raises(StoreError, match="MB free on the disk, at least 1000000000 MB are wanted"):
        make_rag(store__min_free_mb=10**9).sync()
    assert not index.exists()
    assert embedder.embedded == []


# ---- settings --------------------------------------------------------------------------------------------------------


def test_reindexing_cuts_anew_and_reuses_only_equal_texts(docs: Path, make_rag: Make, embedder: FakeEmbedder) -> None:
    write(docs, a=" ".join(f"Sentence {i} is about apples." for i in range(10)), b="Short.")
    make_rag().sync()
    other = make_rag(split__max_tokens=10)
    with pytest.raises(IndexMismatch, match="max_tokens"):
        other.sync()
    embedder.embedded.clear()
    report = other.sync(reindex=True)
    assert counts(report) == {"num_updated": 2, "embedded": len(embedder.embedded)}
    assert "Short." not in embedder.embedded  # the same text under the same model
    with TemporaryDirectory() as fresh, open_rag(docs, Path(fresh), split__max_tokens=10) as clean:
        clean.sync()
        assert index_state(Path(fresh)) == index_state(other.index_folder)
    assert counts(other.sync()) == {"num_skipped": 2}


def test_another_model_embeds_everything_anew(docs: Path, make_rag: Make) -> None:
    write(docs, a="Apples.", b="Pears.")
    make_rag().sync()
    second = FakeEmbedder(version=2)
    assert make_rag(second).sync(reindex=True).embedded == 2
    assert sorted(second.embedded) == ["Apples.", "Pears."]


def test_a_stopped_reindex_goes_on_or_back(docs: Path, make_rag: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rag.sync, "GROUP_CHARS", 100)
    for i in range(12):
        write(docs, **{f"f{i:02}": f"File {i} is about apples. It also has pears, number {i * 7}. " * 3})
    before = make_rag()
    before.sync()
    state = index_state(before.index_folder)
    embedder = FakeEmbedder(version=2)
    new = make_rag(embedder, split__max_tokens=12)
    embedder.before_batch = stop_after(4)
    with pytest.raises(KeyboardInterrupt):
        new.sync(reindex=True)
    assert index_state(before.index_folder) == state  # readers have the old one, whole
    assert len(sources(before)) == 12
    with pytest.raises(IndexMismatch):
        new.sync()
    done = len(embedder.embedded)
    assert before.sync().embedded == 0  # the old settings are back: so is everything
    assert index_state(before.index_folder) == state
    embedder.before_batch = lambda texts: None
    report = new.sync(reindex=True)
    assert done > 0
    assert report.num_updated == 12
    assert len(sources(new)) == 12


# ---- Ctrl-C, errors, other threads -----------------------------------------------------------------------------------


def stop_after(batches: int, error: BaseException | type[BaseException] = KeyboardInterrupt) -> Callable[..., None]:
    left = [batches]

    def count(texts: Sequence[str]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error

    return count


def many(docs: Path, files: int = 20) -> None:
    for i in range(files):
        write(
            docs,
            **{f"f{i:02}": f"File {i} is about apples, and {i * 7} pears. Number {i + 100} says it again. " + "x" * 40},
        )


@pytest.mark.parametrize("batches", [0, 1, 5])
def test_ctrl_c_leaves_a_usable_index_and_the_next_sync_goes_on(
    batches: int, docs: Path, rag: Rag, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.sync.GROUP_CHARS", 300)
    many(docs)
    embedder.before_batch = stop_after(batches)
    with pytest.raises(KeyboardInterrupt):
        rag.sync()
    embedder.before_batch = lambda texts: None
    if batches:
        assert sources(rag) == {f.path for f in rag.files() if f.outcome is Outcome.INDEXED} != set()
        index_state(rag.index_folder)
    report = rag.sync()
    assert len(embedder.embedded) == len(set(embedder.embedded)) == report.chunks
    assert len(sources(rag)) == 20


@pytest.mark.parametrize("event", ["scan", "file", "publish"])
def test_ctrl_c_anywhere_loses_nothing(
    event: str, docs: Path, rag: Rag, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.sync.GROUP_CHARS", 300)
    many(docs)
    rag.sync()
    (docs / "f00.txt").rename(docs / "moved.txt")
    (docs / "f01.txt").unlink()
    write(docs, new="Apples in a new file.", x1="Apples in x1.", x2="Apples in x2.")

    def listener(said: dict[str, Any]) -> None:
        if said["event"] == event:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rag.sync(listener=listener)
    index_state(rag.index_folder)
    embedder.embedded += ["(the second run)"]
    report = rag.sync()
    assert len(embedder.embedded) == len(set(embedder.embedded))
    assert len(sources(rag)) == len(report.files) == 22
    with TemporaryDirectory() as fresh, open_rag(docs, Path(fresh)) as clean:
        clean.sync()
        assert index_state(Path(fresh)) == index_state(rag.index_folder)


def test_a_second_ctrl_c_waits_for_nobody_and_breaks_nothing(docs: Path, index: Path, tmp_path: Path) -> None:
    """Two signals, the second while the first is being handled; a real process, as only one can be signalled."""
    many(docs, 60)
    code = f"""
import sys, os, signal, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
import rag.sync
from pathlib import Path
from fakes_embed import FakeEmbedder, open_rag
rag.sync.GROUP_CHARS = 300
embedder = FakeEmbedder()
at = threading.Event()
def slow(texts):
    print("batch", flush=True)
    at.wait(0.15)
embedder.before_batch = slow
open_rag(Path({str(docs)!r}), Path({str(index)!r}), embedder).sync()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        for _ in range(3):
            process.send_signal(2)
            time.sleep(0.02)
        process.wait(timeout=30)
    assert process.returncode != 0
    with open_rag(docs, index) as rag:
        rag.sync()
        assert len(index_state(index)) == 60


def test_an_error_of_the_model_stops_the_sync_and_keeps_the_work(
    docs: Path, rag: Rag, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.sync.GROUP_CHARS", 300)
    many(docs)
    embedder.before_batch = stop_after(3, RagError("the model broke"))
    with pytest.raises(RagError, match="the model broke"):
        rag.sync()
    embedder.before_batch = lambda texts: None
    done = len(embedder.embedded)
    assert done > 0
    assert rag.sync().embedded == 20 - done


def test_equal_files_found_while_the_first_is_being_stored(
    docs: Path, rag: Rag, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twins meet the flushing thread at every instant: none may be lost, or stored twice."""
    monkeypatch.setattr("rag.sync.GROUP_CHARS", 1)
    for i in range(150):
        (docs / f"{i:03}.txt").write_text(f"Apples, kind {i // 3 % 20}.")
    previous = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        report = rag.sync()
    finally:
        sys.setswitchinterval(previous)
    assert counts(report) == {"num_added": 150, "embedded": 20}
    assert len(index_state(rag.index_folder)) == 150


def test_memory_is_bounded_by_groups(
    docs: Path, rag: Rag, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.sync.GROUP_CHARS", 1000)
    monkeypatch.setattr("rag.sync.SLICE_CHARS", 500)
    many(docs, 80)
    batches: list[int] = []
    embedder.before_batch = lambda texts: batches.append(sum(map(len, texts)))
    rag.sync()
    assert len(batches) >= 8
    assert max(batches) < 700


def test_reading_goes_on_while_a_group_is_embedded(
    docs: Path, rag: Rag, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.sync.GROUP_CHARS", 300)
    many(docs)
    read_on = threading.Event()
    original = rag.splitter.split

    class Watching:
        def split(self, source: Any) -> Any:
            if source.path > "f10":
                read_on.set()
            return original(source)

    rag._parts["splitter"] = Watching()
    waited: list[bool] = []

    def wait(texts: Sequence[str]) -> None:
        if not waited:
            monkeypatch.setattr("rag.sync.GROUP_CHARS", 10**9)  # what is read meanwhile is the second group
            waited.append(read_on.wait(20))

    embedder.before_batch = wait
    rag.sync()
    assert waited == [True]


def test_stopped_syncs_say_so(rag: Rag, docs: Path) -> None:
    from rag.sync import Sync

    sync = Sync.__new__(Sync)
    sync._stop, sync._cancel = threading.Event(), threading.Event()
    sync._check_stop()
    for event in (sync._stop, sync._cancel):
        event.set()
        with pytest.raises(Cancelled):
            sync._check_stop()
        event.clear()


def test_a_sync_that_is_told_to_stop_publishes_what_is_done(rag: Rag, docs: Path, embedder: FakeEmbedder) -> None:
    cancel = threading.Event()
    write(docs, a="One.", b="Two.")
    rag.sync()
    (docs / "a.txt").unlink()
    write(docs, c="Three.")
    embedder.before_batch = lambda texts: cancel.set()
    with pytest.raises(Cancelled):
        rag.sync(cancel=cancel)
    assert [f.path for f in rag.files()] == ["b.txt"]  # what was gone is gone; the new one comes with the next sync
    embedder.before_batch = lambda texts: None
    rag.sync()
    assert [f.path for f in rag.files()] == ["b.txt", "c.txt"]


# ---- watching --------------------------------------------------------------------------------------------------------


def test_watching_yields_at_once_and_then_each_burst(docs: Path) -> None:
    (docs / ".rag").mkdir()
    stop = threading.Event()
    watching = changes(Documents(path=docs), docs / "index", stop)
    assert next(watching) == 0
    (docs / ".rag" / "x.txt").write_text("passed over")
    (docs / "index").mkdir()
    (docs / "index" / "catalog.sqlite3").write_text("its own")
    write(docs, a="Apples.")
    assert next(watching) == 1
    (docs / "a.txt").unlink()
    assert next(watching) == 1
    stop.set()
    assert next(watching, None) is None
