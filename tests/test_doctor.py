"""`rag doctor`: what it says of a healthy index, and of one that was hurt in each way."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes_embed import FakeEmbedder, index_state, open_rag
from fakes_media import drawn, encoded
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.errors import IndexDamaged, IndexMissing, StoreError
from rag.store import IndexWriter
from rag.store.analyze import Analyzer
from rag.store.index import generation_folder
from rag.store.lexical import Lexical
from rag.store.seal import seal
from rag.types import Health, Outcome


@pytest.fixture
def synced(rag: Rag, docs: Path) -> Rag:
    write(docs, birds_md=RIVER, metals_txt=METAL, hidden_txt="Pay\u202e the\u200b bill\U000e0041. " + "Words. " * 400)
    rag.sync()
    return rag


def found(health: Health) -> dict[str, str]:
    return {c.name: c.told for c in health.checks if not c.ok}


def catalog_state(index: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database:
        return database.execute(
            "SELECT c.key, c.text, v.vector FROM chunks c JOIN vectors v ON v.key = vector_key"
        ).fetchall()


def change(index: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database, database:
        assert database.execute(statement, values).rowcount


def test_a_healthy_index_is_told_to_be_so_and_isnt_touched(synced: Rag, index: Path) -> None:
    before = {p: p.read_bytes() for p in index.rglob("*") if p.is_file() and "catalog" not in p.name}
    health = synced.doctor()
    assert health.ok, health
    told = {c.name: c.told for c in health.checks}
    assert {"catalog", "chunks", "vectors", "dense index", "dense recall", "lexical index", "lexical recall"} <= set(
        told
    )
    assert told["hidden characters"] == "signs that can't be seen or read in hidden.txt (3)"
    assert {p: p.read_bytes() for p in before} == before
    assert index_state(index)


def test_no_index(rag: Rag, docs: Path) -> None:
    with pytest.raises(IndexMissing):
        rag.doctor()


@pytest.mark.parametrize("part", ["chroma", "lexical"])
@pytest.mark.parametrize("how", ["gone", "cut", "zeros"])
def test_each_derived_file_that_is_hurt_is_noticed_and_mended(
    synced: Rag, docs: Path, index: Path, embedder: FakeEmbedder, part: str, how: str
) -> None:
    here = generation_folder(index, synced.generation)
    files = [p for p in (here / part).rglob("*") if p.is_file() and p.stat().st_size > 100]
    file = max(files, key=lambda p: p.stat().st_size)
    match how:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "zeros":
            file.write_bytes(bytes(file.stat().st_size))
    wrong = found(synced.doctor())
    assert any(name.startswith({"chroma": "dense", "lexical": "lexical"}[part]) for name in wrong), wrong
    before, embedded = catalog_state(index), len(embedder.embedded)
    for path in docs.iterdir():
        path.unlink()  # no document is needed
    synced.repair()
    assert synced.doctor().ok
    assert catalog_state(index) == before
    assert len(embedder.embedded) == embedded


def test_a_chunk_that_chroma_lost_is_noticed(synced: Rag, index: Path) -> None:
    from rag.store.vectors import open_embedded

    here = generation_folder(index, synced.generation)
    with closing(open_embedded(here / "chroma", synced.embedder.dimension, synced.config.store)) as chroma:
        chroma.remove(chroma.ids()[:1])
    seal(here)
    assert found(synced.doctor())["dense index"] == "1 missing, 0 too many"


NOT_FOUND = "ASKED chunks looked for by their words: 1 not found"


def test_a_vector_that_chroma_holds_wrongly_is_noticed(synced: Rag, index: Path) -> None:
    """All ids are there, and each file is what its seal says."""
    from rag.store.vectors import open_embedded

    here = generation_folder(index, synced.generation)
    with closing(open_embedded(here / "chroma", synced.embedder.dimension, synced.config.store)) as chroma:
        ids = chroma.ids()
        chroma.add(ids[:1], -np.eye(1, synced.embedder.dimension, dtype=np.float32))
    seal(here)
    told = found(synced.doctor())
    assert told == {"dense recall": f"{len(ids)} of {len(ids)} vectors looked for by themselves: 1 not found"}


@pytest.mark.parametrize(
    ("gone", "more", "told"),
    [
        (1, [], {"lexical index": "1 missing, 0 too many", "lexical recall": NOT_FOUND}),
        (0, [(999, "words")], {"lexical index": "0 missing, 1 too many"}),
        (1, [(1, "other terms")], {"lexical recall": NOT_FOUND}),
    ],
    ids=["a chunk lost", "a chunk too many", "a chunk with other terms"],
)
def test_a_lexical_index_that_is_whole_and_wrong_is_noticed(
    synced: Rag, index: Path, gone: int, more: list[tuple[int, str]], told: dict[str, str]
) -> None:
    here = generation_folder(index, synced.generation)
    lexical = Lexical(here / "lexical", Analyzer(synced.config.store.stemmer))
    ids = lexical.ids()
    assert ids[0] == 1
    lexical.change(ids[:gone], more)
    del lexical
    seal(here)
    asked = f"{len(ids)} of {len(ids)}"
    assert found(synced.doctor()) == {name: text.replace("ASKED", asked) for name, text in told.items()}


def test_too_little_free_disk_is_told(synced: Rag, monkeypatch: pytest.MonkeyPatch) -> None:
    free = (synced.config.store.min_free_mb - 1) * 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    told = found(synced.doctor())
    assert told == {"free disk": f"{free // 2**20:,} MB; a sync wants {synced.config.store.min_free_mb:,}"}


@pytest.mark.parametrize(
    ("statement", "values", "name"),
    [
        ("UPDATE chunks SET text = 'X' || substr(text, 2) WHERE id = (SELECT min(id) FROM chunks)", (), "chunks"),
        ("UPDATE vectors SET vector = ?", (np.full(0, np.nan, np.float32),), "vectors"),
        ("UPDATE chunks SET headings = '{' WHERE id = (SELECT min(id) FROM chunks)", (), "chunks"),
        ("UPDATE contents SET text = CAST(x'ff41' AS TEXT)", (), "chunks"),
        ("DELETE FROM vectors WHERE key = (SELECT key FROM vectors LIMIT 1)", (), "vectors"),
    ],
)
def test_what_was_changed_in_the_catalog_is_noticed(
    synced: Rag, index: Path, statement: str, values: tuple[object, ...], name: str
) -> None:
    if values:
        values = (np.full(synced.embedder.dimension, np.nan, np.float32).tobytes(),)
    change(index, statement, *values)
    assert name in found(synced.doctor())


def test_a_damaged_catalog_is_refused_page_by_page(synced: Rag, index: Path) -> None:
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.execute("PRAGMA page_size").fetchone()[0]
    file = index / "catalog.sqlite3"
    data = bytearray(file.read_bytes())
    for page in range(2, len(data) // size):
        data[page * size : page * size + 200] = b"\xff" * 200
    file.write_bytes(data)
    health = synced.doctor()
    assert not health.ok
    assert "catalog" in found(health)


@pytest.mark.parametrize(
    ("statement", "rows", "read_again"),
    [
        ("UPDATE vectors SET vector = ? WHERE key = (SELECT min(key) FROM vectors)", "1 of vectors", 0),
        ("DELETE FROM vectors WHERE key = (SELECT min(key) FROM vectors)", "", 0),
        ("UPDATE chunks SET text = 'X' || substr(text, 2) WHERE id = (SELECT min(id) FROM chunks)", "1 of chunks", 1),
        ("UPDATE chunks SET key = '1f' || substr(key, 3) WHERE id = (SELECT min(id) FROM chunks)", "1 of chunks", 1),
        ("UPDATE chunks SET line = line + 1 WHERE id = (SELECT min(id) FROM chunks)", "1 of chunks", 1),
        ("UPDATE contents SET text = replace(text, 'heron', 'goose') WHERE text LIKE '%heron%'", "1 of contents", 1),
    ],
)
def test_a_row_changed_into_another_that_could_be_is_made_anew(
    synced: Rag, docs: Path, index: Path, embedder: FakeEmbedder, statement: str, rows: str, read_again: int
) -> None:
    """A finite vector, a text of the same length: nothing but a checksum can tell."""
    before, embedded = index_state(index), len(embedder.embedded)
    other = np.full(synced.embedder.dimension, 0.125, np.float32).tobytes()
    synced.close()
    change(index, statement, *([other] if "?" in statement else []))
    with open_rag(docs, index, embedder) as rag:
        wrong = found(rag.doctor())
        assert rows in wrong["rows" if rows else "vectors"]
        with pytest.raises(IndexDamaged, match=r"what was stored|isn't what its text says"):
            rag.export(index.parent / "x.tar.zst")
        for _ in range(2):  # once marked it stays so until a sync
            with pytest.raises(IndexDamaged, match="are marked"):
                rag.repair()
        report = rag.sync()
        assert report.embedded == 1 - read_again == len(embedder.embedded) - embedded
        assert sum(f.outcome is Outcome.INDEXED for f in report.files) == read_again
        assert rag.doctor().ok
        assert index_state(index) == before
        assert rag.sync().embedded == 0


def test_old_generations_are_told(synced: Rag, index: Path) -> None:
    (index / "generations" / "999").mkdir()
    assert "generations/999" in found(synced.doctor())["index folder"]


def test_another_embedding_is_told(synced: Rag, make_rag: Callable[..., Rag]) -> None:
    other = FakeEmbedder()
    other.fingerprint = {**synced.embedder.fingerprint, "model": "another"}
    assert "another embedding" in found(make_rag(embedder=other).doctor())["embedding"]


def test_half_of_a_sync_is_never_published_by_mending(synced: Rag, docs: Path, index: Path) -> None:
    before = index_state(index)
    with IndexWriter(index, synced.config.store) as writer:  # as a killed sync leaves it
        writer.catalog.set_meta(unfinished=True)
        writer.catalog.remove_file(writer.next_generation, "birds.md")
    for do in (synced.repair, synced.compact):
        with pytest.raises(StoreError, match="only a sync can finish it"):
            do()
    assert index_state(index) == before
    synced.sync()
    synced.repair()
    assert synced.doctor().ok
    assert index_state(index) == before


def test_a_disk_without_room_for_the_copy_isnt_damage(synced: Rag, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    wrong = found(synced.doctor())
    assert set(wrong) == {"dense index", "lexical index"}
    assert set(wrong.values()) == {"couldn't be looked at: No space left on device"}


# ---- compacting -----------------------------------------------------------------------------------------------------

SECRET = "The launch code of the heron is 7351 and nobody may keep it."


def held(index: Path, *needles: bytes) -> list[tuple[str, bytes]]:
    """Which files of the index hold which of these bytes."""
    files = [p for p in index.rglob("*") if p.is_file()]
    return [(str(p.relative_to(index)), needle) for p in files for needle in needles if needle in p.read_bytes()]


def term_held(index: Path, term: str) -> int:
    """In how many documents of every generation's lexical index a term is, deleted ones included: in the files it is
    compressed."""
    folders = index.glob("generations/*/lexical")
    return sum(Lexical(folder, Analyzer())._searcher.doc_freq("terms", term) for folder in folders)


def test_what_was_deleted_is_gone_from_the_disk(rag: Rag, docs: Path, index: Path, embedder: FakeEmbedder) -> None:
    """Its text, its terms, its vector, and the vector of a picture."""
    write(docs, birds_md=RIVER, secret_txt=SECRET, **{f"{i}_txt": f"Number {i}." for i in range(9)})
    for seed, name in enumerate(("kept.png", "secret.png")):
        (docs / name).write_bytes(encoded(drawn(seed)))
    rag.sync()
    (picture,) = rag.image_embedder.vectors([drawn(1)])
    needles = (b"launch code", embedder.query_vector(SECRET).tobytes(), picture.tobytes())
    assert {needle for _, needle in held(index, *needles)} == set(needles)
    assert term_held(index, "7351") == 1
    assert "7351" in rag.search("launch code")[0].text
    for name in ("secret.txt", "secret.png"):
        (docs / name).unlink()
    rag.sync()
    assert all("7351" not in p.text for p in rag.search("launch code"))  # at once
    assert [p.source for p in rag.search(image=docs / "kept.png", k=5)] == ["kept.png"]
    assert {needle for _, needle in held(index, *needles)} == set(needles)
    assert term_held(index, "7351") >= 1  # so few were deleted that the indexes went on from the last ones
    rag.close()
    with open_rag(docs, index, embedder) as other:
        before, after = other.compact()
        assert after <= before
        assert held(index, *needles) == []
        assert term_held(index, "7351") == 0
        assert other.doctor().ok
        assert other.search("heron")[0].source == "birds.md"
        assert other.sync().embedded == 0


FOUND = b"\xaa" * 64  # glibc gives memory out filled with this, below


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc fills memory on request")
@pytest.mark.parametrize("rows", [0, 3, 120])
def test_no_file_of_an_index_holds_memory_as_it_was_found(rows: int, docs: Path, index: Path) -> None:
    """What a deleted vector came back by: hnswlib writes room for 100 elements when it begins, uninitialised."""
    lines = [f"Number {i} has {i * i} apples." for i in range(rows)]  # one file: parsing is slow with filled memory
    write(docs, **({"apples_txt": "\n\n".join(lines)} if rows else {}))
    program = (
        "import sys; from pathlib import Path; from fakes_embed import open_rag; index = Path(sys.argv[2])\n"
        "with open_rag(Path(sys.argv[1]), index, split__max_tokens=10) as rag:\n"
        "    for do in (lambda: rag.sync(allow_empty=True), rag.compact, lambda: rag.search('apples')): do()\n"
        "    print(sum(f.chunks for f in rag.files()))\n"
        "with open_rag(Path(sys.argv[1]), index, split__max_tokens=10) as reader: reader.search('apples')\n"
    )
    filled = {"GLIBC_TUNABLES": "glibc.malloc.perturb=85", "MALLOC_PERTURB_": "85"}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environ = {**os.environ, **filled, "PYTHONPATH": path}
    told = subprocess.check_output([sys.executable, "-c", program, docs, index], env=environ, text=True)
    assert int(told) == rows
    assert held(index, FOUND) == []


def test_a_reader_that_holds_what_was_deleted_is_named(rag: Rag, docs: Path, index: Path) -> None:
    write(docs, birds_md=RIVER, secret_txt=SECRET)
    rag.sync()
    with closing(sqlite3.connect(index / "catalog.sqlite3")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM chunks").fetchone()
        (docs / "secret.txt").unlink()
        rag.sync()
        with pytest.raises(StoreError, match="another program is reading"):
            rag.compact()
    rag.compact()
    assert held(index, b"launch code") == []


def test_compacting_wants_room(rag: Rag, docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(docs, birds_md=RIVER)
    rag.sync()
    room = rag.config.store.min_free_mb * 2**20 + 10
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=room))
    with pytest.raises(StoreError, match="compacting wants"):
        rag.compact()


def test_nothing_to_mend_or_compact(rag: Rag) -> None:
    for do in (rag.repair, rag.compact):
        with pytest.raises(IndexMissing):
            do()
