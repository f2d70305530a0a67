"""rag export and import: what is carried, what is refused, and that nothing is ever half there."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from fakes_embed import FakeEmbedder, index_state, open_rag
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import METAL, Shell, write

from rag.build import Rag
from rag.errors import ArchiveError, IndexDamaged, IndexLocked, IndexMismatch, IndexMissing, RagError, StoreError
from rag.store import IndexWriter
from rag.store.archive import container, rows
from rag.store.archive.container import MARK, ArchiveReader, ArchiveWriter
from rag.store.archive.rows import VectorPart, read_parts

Make = Callable[..., Rag]


@pytest.fixture
def synced(docs: Path, rag: Rag) -> Rag:
    """Files of each outcome, two of them equal, some chunks with the same text."""
    for i in range(6):
        (docs / f"{i}.txt").write_text(f"File {i} speaks of {i * 7} apples. " * 4 + "\n\nThe same words everywhere.")
    (docs / "sub").mkdir()
    shutil.copy(docs / "1.txt", docs / "sub" / "copy of 1.txt")
    (docs / "Grüße 🎈.md").write_text("# Über Äpfel\n\nÄpfel und Birnen, 東京。\n")
    (docs / "empty.txt").write_text("")
    (docs / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    rag.sync()
    return rag


@pytest.fixture
def exported(synced: Rag, tmp_path: Path) -> Path:
    synced.export(tmp_path / "index.tar.zst")
    return tmp_path / "index.tar.zst"


def test_an_index_is_carried_whole_and_the_next_sync_embeds_nothing(
    synced: Rag, exported: Path, docs: Path, tmp_path: Path, make_rag: Make
) -> None:
    there = FakeEmbedder()
    copied = Path(shutil.copytree(docs, tmp_path / "elsewhere"))  # new dates, as on another machine
    for path in copied.rglob("*.txt"):
        os.utime(path, (1, 1))
    other = make_rag(there, docs=copied, index=tmp_path / "other")
    report = other.import_index(exported)
    assert index_state(other.index_folder) == index_state(synced.index_folder)
    assert (report.files, report.bytes) == (10, exported.stat().st_size)
    question = "apples of file 3"
    theirs, ours = ({(p.source, p.score) for p in r.search(question, 50)} for r in (other, synced))
    assert theirs == ours  # equal scores come in the order of chunk ids, which an import deals anew
    assert other.source("Grüße 🎈.md") == synced.source("Grüße 🎈.md")
    assert other.status()["outcomes"] == synced.status()["outcomes"]
    again = other.sync()
    assert (again.embedded, again.reused, again.num_skipped, again.generation) == (0, 0, 10, 1)
    assert there.embedded == []
    assert other.files() == synced.files()


def test_equal_indexes_give_equal_bytes(
    synced: Rag, exported: Path, docs: Path, tmp_path: Path, make_rag: Make
) -> None:
    """Whatever their history: another order of the files, a content that came and went, another machine's dates."""
    synced.export(tmp_path / "again.zst")
    assert (tmp_path / "again.zst").read_bytes() == exported.read_bytes()
    (docs / "0 first.txt").write_text("It was here before the others.")
    other = make_rag(index=tmp_path / "other")
    other.sync()
    (docs / "0 first.txt").unlink()
    (docs / "1.txt").touch()
    other.sync()
    other.export(tmp_path / "other.zst")
    assert (tmp_path / "other.zst").read_bytes() == exported.read_bytes()
    third = make_rag(index=tmp_path / "third")
    third.import_index(exported)
    third.export(tmp_path / "third.zst")
    assert (tmp_path / "third.zst").read_bytes() == exported.read_bytes()


def test_any_tar_with_zstd_reads_it(exported: Path) -> None:
    with zstandard.ZstdDecompressor().stream_reader(exported.read_bytes(), read_across_frames=True) as stream:
        inflated = stream.read()
    with tarfile.open(fileobj=io.BytesIO(inflated)) as tar:
        parts = ["vectors/00000.bin", "contents/00000.jsonl", "files/00000.jsonl"]
        assert tar.getnames() == ["manifest.json", *parts, "end.json"]
        assert {m.mode for m in tar} == {0o600}


def test_parts_are_cut_and_put_together(
    synced: Rag, exported: Path, tmp_path: Path, make_rag: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "PART", 300)
    synced.export(tmp_path / "parts.zst")
    names = [name for name, _ in members(tmp_path / "parts.zst")]
    assert len(names) > 15
    other = make_rag(index=tmp_path / "other")
    other.import_index(tmp_path / "parts.zst")
    assert index_state(other.index_folder) == index_state(synced.index_folder)


def test_an_empty_index_is_carried_too(docs: Path, rag: Rag, make_rag: Make, tmp_path: Path) -> None:
    rag.sync(allow_empty=True)
    rag.sync(rebuild=True, allow_empty=True)
    rag.export(tmp_path / "x")
    other = make_rag(index=tmp_path / "other")
    assert other.import_index(tmp_path / "x").files == 0
    assert other.status()["files"] == 0


def test_an_import_replaces_what_was_there_only_when_told_to(
    synced: Rag, exported: Path, tmp_path: Path, make_rag: Make
) -> None:
    before = index_state(synced.index_folder)
    elsewhere = write(tmp_path / "others", z_txt="Something else about plums.", y_txt="File 1 speaks of pears.")
    other = make_rag(docs=elsewhere, index=tmp_path / "other")
    other.sync()
    with make_rag(docs=elsewhere, index=tmp_path / "other") as reader:
        assert [p.source for p in reader.search("plums", k=1)] == ["z.txt"]
        with pytest.raises(StoreError, match=r"an index at .*other already \(2 files, 2 chunks\)"):
            other.import_index(exported)
        other.import_index(exported, force=True)
        assert index_state(other.index_folder) == before
        found = reader.search("plums apples", k=20)  # a reader that was open sees the new generation
        assert {p.source for p in found} <= set(before)
    assert other.sync().num_deleted == len(before)
    assert other.files() == other.files()
    assert set(index_state(other.index_folder)) == {"z.txt", "y.txt"}


def test_unfinished_work_in_the_target_is_no_index(synced: Rag, exported: Path, tmp_path: Path, make_rag: Make) -> None:
    target = tmp_path / "other"
    with IndexWriter(target, synced.config.store) as writer:
        writer.catalog.put_file(1, "left behind.txt", 1, 1, 1, "h", None, rows.Outcome.FAILED, "a killed sync's")
    other = make_rag(index=target)
    other.import_index(exported)
    assert index_state(target) == index_state(synced.index_folder)


# ---- what is refused -------------------------------------------------------------------------------------------------


def refuse(file: Path, target: Path, docs: Path, match: str, error: type[RagError] = ArchiveError, **more: Any) -> None:
    """Nothing at all may be written."""
    with open_rag(docs, target, **more) as rag, pytest.raises(error, match=match):
        rag.import_index(file)
    assert not target.exists()


def test_another_model_or_other_settings_are_refused(exported: Path, docs: Path, tmp_path: Path) -> None:
    other = FakeEmbedder(version=2)
    refuse(exported, tmp_path / "t", docs, "another embedding than here .version: 1 then, 2 now", IndexMismatch,
           embedder=other)  # fmt: skip
    refuse(exported, tmp_path / "t", docs, "other settings than here .max_tokens: 24 then, 30 now", IndexMismatch,
           split__max_tokens=30)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", r"cut short \(0 bytes\)"),
        (b"x" * 5000, "isn't an index archive"),
        (zstandard.compress(b"nothing"), "isn't an index archive"),
    ],
)
def test_other_files_are_refused(data: bytes, match: str, docs: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    refuse(tmp_path / "x", tmp_path / "t", docs, match)
    refuse(tmp_path / "none", tmp_path / "t", docs, "can't be read: No such file")
    refuse(tmp_path, tmp_path / "t", docs, "can't be read: Is a directory")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """An archive of two files, and a place to put altered ones."""
    here = tmp_path_factory.mktemp("small")
    with open_rag(write(here / "docs", a_txt="Apples fall. " * 9, b_txt="Pears don't."), here / "index") as rag:
        rag.sync()
        rag.export(here / "x")
    return (here / "x").read_bytes(), here


def whole(file: Path) -> list[Any]:
    """The parts of an archive, in a form that compares: arrays don't."""
    with file.open("rb") as stream:
        parts = list(read_parts(ArchiveReader(stream, file)))
    return [(p.keys, p.vectors.shape, p.vectors.tobytes()) if isinstance(p, VectorPart) else p for p in parts]


@settings(max_examples=600 if os.environ.get("RAG_SOAK") == "1" else 150)
@given(st.data())
def test_any_changed_byte_and_any_truncation_is_refused(small: tuple[bytes, Path], data: st.DataObject) -> None:
    good, here = small
    at = data.draw(st.integers(0, len(good) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
    bad = {
        "flip": good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :],
        "cut": good[:at],
        "insert": good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at:],
        "drop": good[:at] + good[at + 1 :],
    }[how]
    (here / "bad").write_bytes(bad)
    with pytest.raises(ArchiveError):
        whole(here / "bad")
    (here / "bad").write_bytes(good)
    assert len(whole(here / "bad")) == 6


@settings(max_examples=300 if os.environ.get("RAG_SOAK") == "1" else 80)
@given(st.data())
def test_what_is_altered_inside_is_refused_though_it_is_sealed_again(
    small: tuple[bytes, Path], data: st.DataObject
) -> None:
    """Somebody who can seal a file can make one; but no byte of it leads to anything but rows or a refusal."""
    good, here = small
    inflated = zstandard.ZstdDecompressor().decompressobj().decompress(good)
    at = data.draw(st.integers(0, len(inflated) - 1))
    altered = inflated[:at] + bytes([inflated[at] ^ data.draw(st.integers(1, 255))]) + inflated[at + 1 :]
    (here / "altered").write_bytes(seal(zstandard.compress(altered), len(altered)))
    with pytest.raises((ArchiveError, IndexMismatch)) as error:
        header_only = whole(here / "altered")
        assert header_only == whole_of(good, here)  # a byte of a header that says nothing: the mode, the owner
        raise ArchiveError("the same rows")
    assert error.value.message


def whole_of(good: bytes, here: Path) -> list[Any]:
    (here / "good").write_bytes(good)
    return whole(here / "good")


def seal(packed: bytes, inside: int) -> bytes:
    body = packed + container._SKIPPABLE + MARK + struct.pack("<Q", inside)
    return body + sha256(body).digest()


def members(file: Path) -> list[tuple[str, bytes]]:
    with file.open("rb") as stream:
        return list(ArchiveReader(stream, file).members())


def forged(file: Path, put: Sequence[tuple[str, bytes]], **counts: int) -> Path:
    """A file whose every checksum is right."""
    with file.open("wb") as stream:
        archive = ArchiveWriter(stream)
        for name, data in put:
            archive.put(name, data)
        archive.close(**counts)
    return file


COUNTS = {"files": 2, "contents": 2, "chunks": 3, "vectors": 3, "media": 0}


def forgeries(good: list[tuple[str, bytes]]) -> Iterator[tuple[list[tuple[str, bytes]], str]]:
    manifest, vectors, contents, _ = (data for _, data in good)
    content, *rest = contents.splitlines()
    names = [name for name, _ in good]

    def instead(name: str, data: bytes) -> list[tuple[str, bytes]]:
        return [(n, data if n == name else d) for n, d in good]

    def text(change: Callable[[list[Any]], Any]) -> list[tuple[str, bytes]]:
        row = json.loads(content)
        change(row)
        return instead(names[2], b"\n".join([json.dumps(row).encode(), *rest]))

    def file(*values: Any) -> list[tuple[str, bytes]]:
        return instead(names[3], json.dumps(values).encode())

    yield good[1:], "begins with 'vectors"
    yield [], "begins with 'nothing'"
    yield [good[0], good[2], good[1], good[3]], "isn't expected there"
    yield [*good, ("../../etc/passwd", b"x")], "isn't expected there"
    yield [*good, good[3]], "isn't expected there"
    yield good[:3], "and says"
    yield [*good[:1], *good[2:]], "and says"
    yield instead("manifest.json", b"[]"), "manifest can't be read"
    yield instead("manifest.json", b"{" * 100_000), "manifest can't be read"
    said = json.loads(manifest)
    yield instead("manifest.json", json.dumps({**said, "embedding": {}}).encode()), "KeyError"
    yield instead("manifest.json", json.dumps({**said, "embedding": {"dimension": 10**9}}).encode()), "ValueError"
    yield instead(names[1], vectors[:-1]), "ValueError"
    yield instead(names[1], vectors[:-4] + struct.pack("<f", float("nan"))), "numbers that are none"
    size = len(vectors) // 3
    yield instead(names[1], vectors[size : 2 * size] + vectors[:size] + vectors[2 * size :]), "in no order"
    yield instead(names[2], b"\n".join([content, content])), "in no order"
    yield instead(names[2], b"[" * 100_000), "RecursionError"
    yield instead(names[2], b"1" * 10_000), "ValueError"
    yield text(lambda row: row.__setitem__(3, 7)), "TypeError"
    yield text(lambda row: row.__setitem__(3, "\ud800" + row[3])), "UnicodeEncodeError"
    yield text(lambda row: row[9][0].__setitem__(1, 10**9)), "a span"
    yield text(lambda row: row[9][0].__setitem__(0, -1)), "a span"
    yield text(lambda row: row[9][0].__setitem__(3, 2**70)), "too large"
    yield text(lambda row: row[9].append(row[9][0])), "stands there twice"
    yield text(lambda row: row[10].append(["text", 0, "00" * 16, None, 0, [], None])), "'text'"
    yield text(lambda row: row[10].append(["images", 0, "00", None, 0, [], None])), "'images'"
    yield text(lambda row: row[10].append(["images", 0, "00" * 16, None, 0, [], -1])), "-1 seconds"
    yield text(lambda row: row[8].append([0, True])), "True seconds"
    yield [*good[:2], ("images/00000.bin", vectors), *good[2:]], "isn't told of"
    for path in ("/etc/passwd", "a/../../b", "..", "", "a\0b"):
        yield file(path, 1, None, None, "failed", "why"), "no path within a folder"
    yield file("a", True, None, None, "failed", "why"), "TypeError"
    yield file("a", 1, None, None, "splendid", "why"), "ValueError"


def test_forged_archives_are_refused_before_anything_is_written(small: tuple[bytes, Path], tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(small[0])
    good = members(tmp_path / "good")
    docs = small[1] / "docs"
    assert len(whole(forged(tmp_path / "same", good, **COUNTS))) == 6
    for number, (put, match) in enumerate(forgeries(good)):
        refuse(forged(tmp_path / f"{number}", put, **COUNTS), tmp_path / "target", docs, match)


def test_a_text_without_its_vector_leaves_the_index_as_it_was(
    small: tuple[bytes, Path], tmp_path: Path, rag: Rag, docs: Path
) -> None:
    """What only the rows together show is found while they are put; the transaction takes them back."""
    write(docs, mine_txt="My own text.")
    rag.sync()
    before = index_state(rag.index_folder)
    (tmp_path / "good").write_bytes(small[0])
    good = members(tmp_path / "good")
    row = json.loads(good[2][1].splitlines()[0])
    row[3] = row[3].replace("e", "o")
    texts = b"\n".join([json.dumps(row).encode(), *good[2][1].splitlines()[1:]])
    file = forged(tmp_path / "x", [*good[:2], (good[2][0], texts), good[3]], **COUNTS)
    with pytest.raises(ArchiveError, match="has no vector"):
        rag.import_index(file, force=True)
    files = json.dumps(["a.txt", 1, "h", "no such content", "indexed", None]).encode()
    file = forged(tmp_path / "y", [*good[:3], (good[3][0], files)], **{**COUNTS, "files": 1})
    with pytest.raises(ArchiveError, match=r"the text of a\.txt is missing"):
        rag.import_index(file, force=True)
    assert index_state(rag.index_folder) == before
    assert rag.sync().embedded == 0
    assert index_state(rag.index_folder) == before


def test_another_version_is_named(small: tuple[bytes, Path], tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(small[0])
    (name, data), *others = members(tmp_path / "good")
    for change, match in (({"version": 3}, "in version 3, here"), ({"format": "tar"}, "is 'tar'")):
        later = forged(tmp_path / "x", [(name, json.dumps({**json.loads(data), **change}).encode()), *others], **COUNTS)
        refuse(later, tmp_path / "t", small[1] / "docs", match, IndexMismatch)


def tarred(*headers: tuple[tarfile.TarInfo, bytes]) -> bytes:
    blocks = [h.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512) for h, data in headers]
    return b"".join(blocks) + bytes(1024)


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, link
    return made


@pytest.mark.parametrize(
    ("inflated", "match"),
    [
        (tarred((member("a", 2, tarfile.SYMTYPE, "/etc/passwd"), b"ab")), "isn't a plain member"),
        (tarred((member("a", 0, tarfile.DIRTYPE), b"")), "isn't a plain member"),
        (tarred((member("n" * 300, 2), b"ab")), "isn't a plain member"),  # GNU's long names
        (tarred((member("a", 2**33), b"ab")), "claims 8,589,934,592 bytes"),
        (tarred((member("a", 2000), b"ab")), "claims 2,000 bytes"),
        (tarred((member("end.json", 2), b"{}"))[:-512], "something behind its end"),
        (tarred((member("end.json", 2), b"{}")), "can't be read"),
        (tarred((member("end.json", 2), b"{}")) + bytes(512), "something behind its end"),
        (member("a", 2).tobuf() + b"ab" + b"x" * 510 + bytes(1024), "something behind a"),
        (b"x" * 4096, "no header"),
        (b"", "too early"),
    ],
)
def test_what_tar_could_say_otherwise_is_refused(inflated: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(seal(zstandard.compress(inflated), len(inflated)))
    with pytest.raises(ArchiveError, match=match):
        whole(tmp_path / "x")


BOMB = """
    import resource, sys
    from pathlib import Path
    from rag.errors import ArchiveError
    from rag.store.archive.container import ArchiveReader
    from rag.store.archive.rows import read_parts
    import numpy, zstandard
    resource.setrlimit(resource.RLIMIT_AS, (800 * 2**20, 800 * 2**20))
    try:
        with open(sys.argv[1], "rb") as stream:
            for _ in read_parts(ArchiveReader(stream, Path("x"))):
                pass
    except ArchiveError as error:
        print(error.message)
"""


@pytest.mark.parametrize(
    ("claimed", "inside", "match"),
    [
        (2048, 3 * 2**30, "claims"),  # 3 GB of zeros come out of a file that says it holds 2 KB
        (3 * 2**30, 3 * 2**30, "claims"),  # and of one that says so: its one member is too large
    ],
)
def test_a_bomb_takes_neither_memory_nor_time(claimed: int, inside: int, match: str, tmp_path: Path) -> None:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    packed = packer.compress(member("manifest.json", inside).tobuf(tarfile.GNU_FORMAT))
    for _ in range(inside >> 24):
        packed += packer.compress(bytes(2**24))
    (tmp_path / "x").write_bytes(seal(packed + packer.flush(), claimed))
    command = [sys.executable, "-c", "\n".join(line[4:] for line in BOMB.splitlines()), str(tmp_path / "x")]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert match in told.stdout, told.stderr


def test_a_window_beyond_what_we_write_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27, write_content_size=False)
    inflated = b"x" * 2**20
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = packed.compress(inflated) + packed.flush()
    (tmp_path / "x").write_bytes(seal(data, len(inflated)))
    with pytest.raises(ArchiveError, match="memory"):
        whole(tmp_path / "x")


def test_what_does_not_fit_the_disk_is_refused_at_once(exported: Path, docs: Path, tmp_path: Path) -> None:
    refuse(exported, tmp_path / "t", docs, "MB are free", StoreError, store__min_free_mb=10**9)


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_an_export_replaces_a_file_only_when_told_to(synced: Rag, exported: Path, tmp_path: Path) -> None:
    good = exported.read_bytes()
    with pytest.raises(StoreError, match="is there already"):
        synced.export(exported)
    exported.write_bytes(b"old")
    synced.export(exported, force=True)
    assert exported.read_bytes() == good
    with pytest.raises(StoreError, match="is a folder"):
        synced.export(tmp_path, force=True)
    with pytest.raises(StoreError, match="can't be written: No such file"):
        synced.export(tmp_path / "no" / "such")
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["docs", "index", "index.tar.zst"]


def test_a_failed_export_leaves_the_old_file(
    synced: Rag, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = exported.read_bytes()
    for error, expected in ((OSError(28, "No space left on device"), StoreError), (KeyboardInterrupt(), BaseException)):

        def fail(*given: Any, error: BaseException = error, **more: Any) -> None:
            raise error

        with monkeypatch.context() as patch, pytest.raises(expected):
            patch.setattr(ArchiveWriter, "close", fail)
            synced.export(exported, force=True)
    assert exported.read_bytes() == good
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_what_a_killed_export_left_is_removed_and_a_running_one_is_not(synced: Rag, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    stale = tmp_path / f".[x].{gone.pid}-0123abcd.part"
    running, other = tmp_path / f".[x].{os.getppid()}-0123abcd.part", tmp_path / ".x.1-0123abcd.part"
    for file in (stale, running, other):
        file.write_bytes(b"half")
    synced.export(tmp_path / "[x]")
    assert (stale.exists(), running.exists(), other.exists()) == (False, True, True)


def test_a_catalog_that_contradicts_itself_is_not_carried_on(synced: Rag, tmp_path: Path) -> None:
    import sqlite3

    synced.close()
    file = synced.index_folder / "catalog.sqlite3"
    kept = file.read_bytes()
    for change, match in (
        ("UPDATE chunks SET text = 'other' WHERE id = 2", "chunk 2 isn't what was stored"),
        ("UPDATE chunks SET start = start + 1 WHERE id = 2", "chunk 2 isn't what was stored"),
        ("UPDATE chunks SET vector_key = (SELECT vector_key FROM chunks WHERE id = 1) WHERE id = 2", "isn't what"),
        (
            "UPDATE vectors SET vector = x'00' WHERE key = (SELECT min(key) FROM vectors)",
            "a vector isn't what was stored",
        ),
        ("DELETE FROM vectors WHERE key = (SELECT min(key) FROM vectors)", "vectors are missing"),
    ):
        file.write_bytes(kept)
        with closing(sqlite3.connect(file)) as db:
            db.execute(change)
            db.commit()
        with pytest.raises(IndexDamaged, match=match):
            synced.export(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_missing_index_and_a_second_writer_are_named(docs: Path, rag: Rag, small: tuple[bytes, Path]) -> None:
    with pytest.raises(IndexMissing):
        rag.export(docs / "x")
    with IndexWriter(rag.index_folder, rag.config.store), pytest.raises(IndexLocked):
        rag.import_index(small[1] / "x")
    assert rag.import_index(small[1] / "x").files == 2


def test_an_export_is_one_instant_while_a_sync_publishes(synced: Rag, docs: Path, tmp_path: Path, make_rag: Make,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    expected = index_state(synced.index_folder)
    put = ArchiveWriter.put
    writer = make_rag()

    def put_and_sync(archive: ArchiveWriter, name: str, data: bytes) -> None:
        put(archive, name, data)
        if name == "manifest.json":
            (docs / "0.txt").unlink()
            (docs / "new.txt").write_text("Written meanwhile.")
            writer.sync()
            writer.sync()

    with monkeypatch.context() as patch:
        patch.setattr(ArchiveWriter, "put", put_and_sync)
        synced.export(tmp_path / "x")
    other = make_rag(index=tmp_path / "other")
    other.import_index(tmp_path / "x")
    assert index_state(other.index_folder) == expected


# ---- from the command line -------------------------------------------------------------------------------------------


def test_from_one_machine_to_another(tmp_path: Path) -> None:
    here, there = Shell(tmp_path / "here"), Shell(tmp_path / "there")
    docs = write(tmp_path / "docs", metals_txt=METAL)
    file = tmp_path / "index.tar.zst"
    assert here("sync", "--docs", docs).returncode == 0
    told = here("export", file, "--docs", docs)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.startswith("1 files, 1 chunks, 1 vectors · 0.0 MB")
    told = there("import", file, "--docs", docs, "--json")
    assert json.loads(told.stdout).items() >= {"files": 1, "chunks": 1, "vectors": 1}.items()
    assert "1085" in there("search", "melting point of copper", "--docs", docs, "--no-sync").stdout
    assert there("import", file, "--docs", docs).returncode == 1
    file.write_bytes(file.read_bytes()[:-100])
    told = there("import", file, "--docs", docs, "--force")
    assert (told.returncode, told.stderr.partition("(")[0]) == (
        1,
        f"error: {file}: isn't an index archive, or was cut short ",
    )
