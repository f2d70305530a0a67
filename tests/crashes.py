"""SIGKILL at chosen instants of sync, delete, compact, export, import and repair, and what must hold after each.

    Crashes (in the test)  ── what to do, where to die ──>  this file as a program: all imported, nothing opened
                           <── what was seen of it ──────     └─ fork: does it and dies there

A fork of a warmed process costs milliseconds where a new one costs seconds. The hooks exist only in that fork: they
count the points where an instant matters (each commit of the catalog before and after, each save of a derived index,
the seal, each file that takes its name), and the process kills itself at the one it was told, or is killed some
milliseconds behind it. Used by test_crash.py (model: fake) and benchmarks/kill.py (also: real).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]

from fakes_embed import DIMENSION, FakeEmbedder, index_state, open_rag  # noqa: E402

import rag.sync  # noqa: E402
from rag.config import Store  # noqa: E402
from rag.store import Catalog, IndexReader  # noqa: E402
from rag.store.index import generation_folder  # noqa: E402
from rag.store.keys import canonical, vector_key  # noqa: E402

Job = dict[str, Any]
LIMIT = 120.0  # seconds for one fork

# ---- the process that forks, and the fork ----------------------------------------------------------------------------


def serve() -> None:
    import chromadb  # noqa: F401
    import filelock  # noqa: F401
    import tantivy  # noqa: F401
    import zstandard  # noqa: F401

    import rag.split
    import rag.store.archive
    import rag.store.vectors  # noqa: F401

    for line in sys.stdin:
        sys.stdout.write(json.dumps(forked(json.loads(line))) + "\n")
        sys.stdout.flush()


def forked(job: Job) -> Job:
    """Do it in a fork. `job["after"]`: seconds behind its point at which it is killed from here."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(told)
            perform(job, tell)
            code = 0
        except BaseException:
            os.write(tell, json.dumps({"error": traceback.format_exc()}).encode() + b"\n")
        finally:
            os._exit(code)
    os.close(tell)
    seen: list[Job] = []
    left, end = b"", time.monotonic() + LIMIT
    timed_out = False
    while True:
        ready = select.select([told], [], [], max(0.0, end - time.monotonic()))[0]
        if not ready:
            timed_out = True
            os.kill(pid, signal.SIGKILL)
            break
        piece = os.read(told, 2**16)
        if not piece:
            break
        *lines, left = (left + piece).split(b"\n")
        events = [json.loads(line) for line in lines]
        seen += events
        if any("armed" in event for event in events):
            time.sleep(job["after"])
            os.kill(pid, signal.SIGKILL)
    os.close(told)
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and not timed_out
    return {"killed": killed, "status": status, "events": seen}


def perform(job: Job, tell: int) -> None:
    lock = threading.Lock()
    count = 0

    def say(**event: Any) -> None:
        os.write(tell, json.dumps(event).encode() + b"\n")

    def point(name: str) -> None:
        nonlocal count
        with lock:
            number, count = count, count + 1
        say(point=name, at=time.perf_counter())
        if number == job["at"]:
            if job["after"]:
                say(armed=name)
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    if job["do"] == "chroma":
        plain_chroma(Path(job["index"]), point, say)
        return
    if job["do"] == "look at chroma":
        look_at_chroma(Path(job["index"]), job["rows"], job["gone"], say)
        return
    hook(point)
    with open_for(job) as opened:
        embedder: Any = opened.embedder
        original = embedder.passage_vectors

        def passage_vectors(texts: list[str], progress: Any = None) -> Any:
            say(embed=list(texts), fingerprint=embedder.fingerprint)
            return original(texts, progress)

        embedder.passage_vectors = passage_vectors
        point("start")
        match job["do"]:
            case "sync":
                say(embedded=opened.sync().embedded)
            case "export":
                opened.export(job["file"], force=True)
            case "import":
                opened.import_index(job["file"], force=True)
            case "compact":
                opened.compact()
            case "repair":
                opened.repair()
            case "restore":
                opened.repair(from_copy=True)
    say(done=time.perf_counter())


def open_for(job: Job) -> Any:
    """With small groups, so that a small folder has many commits."""
    rag.sync.GROUP_CHARS, rag.sync.SLICE_CHARS = 2500, 1500
    docs, index = Path(job["docs"]), Path(job["index"])
    if job["model"] == "real":
        return rag.Rag.open(docs=docs, store__path=index)
    return open_rag(docs, index, FakeEmbedder())


def hook(point: Callable[[str], None]) -> None:
    """Where an instant matters. In the fork only."""
    from rag.store import vectors, writer
    from rag.store.archive.container import ArchiveWriter
    from rag.store.lexical import Lexical

    prepared, transaction, replace = Catalog._prepare, Catalog.transaction, os.replace

    def prepare(self: Catalog, readonly: bool) -> Any:
        names = {"COMMIT": "commit", "ALTER": "alter"}  # the latter while an older format is brought up to date
        self._db.set_trace_callback(lambda sql: point(names[word]) if (word := sql.split(" ")[0]) in names else None)
        return prepared(self, readonly)

    @contextlib.contextmanager
    def committing(self: Catalog) -> Iterator[None]:
        outer = not self._db.in_transaction
        with transaction(self):
            yield
        if outer:
            point("committed")

    def pointed(owner: Any, name: str, called: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            point(called)
            made = original(*args, **more)
            point(f"{called}: done")
            return made

        setattr(owner, name, call)

    Catalog._prepare = prepare  # type: ignore[method-assign]
    Catalog.transaction = committing  # type: ignore[method-assign]
    pointed(Lexical, "change", "lexical")
    for name in ("add", "remove", "close"):
        pointed(vectors._Collection, name, "chroma")
    pointed(writer, "seal", "seal")
    pointed(ArchiveWriter, "put", "member")
    pointed(Catalog, "vacuum", "vacuum")
    pointed(shutil, "rmtree", "remove")

    def replacing(*args: Any, **more: Any) -> None:
        point("name")
        replace(*args, **more)
        point("name: done")

    os.replace = replacing


# ---- plain Chroma under the same killer ------------------------------------------------------------------------------

ROWS, BATCH, WIDE = 3000, 500, 64


def vector_of(row: int) -> Any:
    return np.random.default_rng(row).standard_normal(WIDE).astype(np.float32)


def plain_chroma(folder: Path, point: Callable[[str], None], say: Callable[..., None]) -> None:
    """As its documentation shows: a persistent client, rows added in batches, then every third one deleted."""
    import chromadb

    point("start")
    collection = chromadb.PersistentClient(str(folder)).get_or_create_collection("rows", embedding_function=None)
    for first in range(0, ROWS, BATCH):
        rows = range(first, first + BATCH)
        collection.add(ids=[str(r) for r in rows], embeddings=[vector_of(r) for r in rows])
        say(added=[first, first + BATCH])
    for first in range(0, ROWS, BATCH):
        gone = list(range(first, first + BATCH, 3))
        say(deleting=gone)
        collection.delete(ids=[str(r) for r in gone])
    say(done=time.perf_counter())


def look_at_chroma(folder: Path, rows: list[int], gone: list[int], say: Callable[..., None]) -> None:
    """How many rows that were reported as added can't be found by their own vector, or have none any more."""
    import chromadb

    collection = chromadb.PersistentClient(str(folder)).get_or_create_collection("rows", embedding_function=None)
    present = set(collection.get(include=[])["ids"])
    sample = [r for r in rows if r not in set(gone)]
    lost = [r for r in sample if str(r) not in present]
    unfound = 0
    for row in sample[:: max(1, len(sample) // 150)]:
        found = collection.query(query_embeddings=[vector_of(row)], n_results=1, include=[])["ids"][0]
        unfound += found != [str(row)]
    say(lost=len(lost), unfound=unfound)


# ---- in the test -----------------------------------------------------------------------------------------------------


class Forker:
    """The warmed process."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "crashes.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def __call__(self, do: str, at: int | None = None, after: float = 0.0, **job: Any) -> Job:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": do, "at": at, "after": after, **job}, default=str) + "\n")
        stdin.flush()
        seen: Job = json.loads(stdout.readline())
        return seen


@dataclass
class Crashes:
    """Kills of one operation after another on a folder that changes, and what was found."""

    forker: Forker
    folder: Path
    seed: int
    model: str = "fake"
    lines: int = 6
    kills: Counter[str] = field(default_factory=Counter)  # by operation and point
    missed: int = 0  # it was through before the kill
    re_embedded: int = 0
    gone: list[bytes] = field(default_factory=list)  # deleted texts and vectors: not on the disk after compacting

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self.docs, self.index = self.folder / "docs", self.folder / "index"
        self.exact = self.model == "fake"

    def run(self, do: str, at: int | None = None, after: float = 0.0, **more: Any) -> Job:
        """One run, killed or not; a text that is embedded though its vector was committed before counts."""
        held = vector_keys(self.index)
        seen = self.forker(do, at, after, docs=self.docs, index=self.index, model=self.model, **more)
        errors = [event["error"] for event in seen["events"] if "error" in event]
        assert not errors, errors[0]
        assert seen["killed"] or seen["status"] == 0, seen["status"]
        for event in seen["events"]:
            if "embed" in event:
                keys = {vector_key(canonical(event["fingerprint"]), text) for text in event["embed"]}
                self.re_embedded += len(keys & held)
        return seen

    def crash(self, do: str, kills: int, chain: float = 0.6, **more: Any) -> None:
        """Kill `do` again and again, at commits, within saves and at random, now and then what follows a kill too."""
        with self._restored(do, more) as (events, again):
            points = [event for event in events if "point" in event]
            ends = [p["at"] for p in points[1:]] + [events[-1]["done"]]
            gaps = [end - p["at"] for p, end in zip(points, ends, strict=True)]
            end = sum(self.kills.values()) + kills
            while sum(self.kills.values()) < end:
                again(self._chance.random() >= chain, *self._aim(points, gaps, ends[-1] - points[0]["at"]))

    def crash_points(self, do: str, most: int | None, among: tuple[str, ...] = ("",), **more: Any) -> None:
        """Kill `do` at each of its points (or `most` of them, of those whose names begin so), each time from the same
        start."""
        with self._restored(do, more) as (events, again):
            names = [event["point"] for event in events if "point" in event]
            numbers = [number for number, name in enumerate(names) if name.startswith(among)]
            for at in numbers if most is None else self._chance.sample(numbers, most):
                again(True, at, 0.0)

    @contextlib.contextmanager
    def _restored(self, do: str, more: Job) -> Iterator[tuple[list[Job], Callable[[bool, int, float], None]]]:
        """What an undisturbed run tells, and a function that runs `do` to be killed, then, if told to, lets it through
        and goes back to the start. After a kill the index (of an export: the file) is what it was before or what it is
        to become, whole; after a run that was let through it is that."""
        kept, target = self.folder / "kept", Path(more["file"]) if do == "export" else self.index

        def look() -> Any:
            match do:
                case "export":
                    return target.read_bytes()
                case "repair":  # of an index that is damaged
                    return answers(self.index)
                case "restore":  # of a catalog that is
                    return answers(self.index) if is_readable(self.index) else "damaged"
            state = state_of(self.index)
            if state and "format" not in state:
                answers(self.index)
            return state

        copy(target, kept)
        before = look()
        undisturbed = self.run(do, **more)
        after, whole = look(), state_of(self.index)
        copy(kept, target)

        def again(finish: bool, at: int, wait: float) -> None:
            seen = self.run(do, at, wait, **more)
            if seen["killed"]:
                last = next((e["point"] for e in reversed(seen["events"]) if "point" in e), "start")
                self.kills[f"{do}: {'at random' if wait and not at else last}"] += 1
                self._same(look(), before, after)
            else:
                self.missed += 1
            if finish or not seen["killed"]:
                through()
                copy(kept, target)

        def through() -> None:
            self.run(do, **more)
            if do == "compact":
                left = held(self.index, self.gone)
                assert not left, f"what was deleted is still in {left}"
            self._same(state_of(self.index), whole)
            check_vectors(self.index)
            if do == "export":
                assert look() == after
                assert not list(target.parent.glob(".*.part")), "half a file was left"

        yield undisturbed["events"], again
        through()
        remove(kept)

    def _aim(self, points: list[Job], gaps: list[float], total: float) -> tuple[int, float]:
        """(point, seconds behind it): a commit, the time that a save takes, or any instant."""
        chance = self._chance
        commits = [i for i, p in enumerate(points) if p["point"].startswith(("commit", "name"))]
        saves = [i for i, p in enumerate(points) if p["point"] in ("lexical", "chroma", "seal", "vacuum", "member")]
        kind = chance.choice(["commit", "save", "any"])
        if kind == "commit" and commits:
            return chance.choice(commits), 0.0
        if kind == "save" and saves:
            at = chance.choice(saves)
            return at, chance.uniform(0.00001, gaps[at])
        return 0, chance.uniform(0.00001, total)

    def _same(self, found: Any, *allowed: Any) -> None:
        assert any(same(found, state, self.exact) for state in allowed), "neither what it was nor what it was to be"

    def figures(self) -> dict[str, Any]:
        return {
            "kills": sum(self.kills.values()),
            "at": dict(sorted(self.kills.items())),
            "finished_before_the_kill": self.missed,
            "stored_texts_embedded_again": self.re_embedded,
        }


def crash_everywhere(crashes: Crashes, kills: int, files: int = 10) -> None:
    """Kills of each operation in turn, about as many each: sync of a new folder, of a changed one and of one that lost
    half; compact; export over an older file; import over another index; repair of three damages."""
    docs, index, archive = crashes.docs, crashes.index, crashes.folder / "index.tar.zst"
    shares = [kills // 7 + (i < kills % 7) for i in range(7)]
    write_folder(docs, crashes.seed, files, crashes.lines)
    crashes.crash("sync", shares[0])
    crashes.run("export", file=archive)
    change_folder(docs, crashes.seed + 1, crashes.lines)
    crashes.crash("sync", shares[1])
    crashes.crash("export", shares[2], file=archive)
    before = chunks_of(state_of(index))
    delete_half(docs)
    crashes.crash("sync", shares[3])
    crashes.gone = [piece for chunk in before - chunks_of(state_of(index)) for piece in chunk]
    assert held(index, crashes.gone), "compacting would have nothing to do"
    crashes.crash("compact", shares[4])
    crashes.crash("import", shares[5], file=archive)
    for number, part in enumerate(("chroma/chroma.sqlite3", "chroma/*/data_level0.bin", "lexical/meta.json")):
        hurt(index, part)
        crashes.crash("repair", shares[6] // 3 + (number < shares[6] % 3))


def hurt(index: Path, part: str) -> None:
    with closing(Catalog(index / "catalog.sqlite3", readonly=True)) as catalog:
        (file,) = generation_folder(index, catalog.generation).glob(part)
    file.write_bytes(b"\0" * file.stat().st_size if part.endswith("sqlite3") else file.read_bytes()[:10])


def held(index: Path, needles: list[bytes]) -> list[str]:
    """The files of an index that hold one of these bytes."""
    files = [(p.relative_to(index).as_posix(), p.read_bytes()) for p in index.rglob("*") if p.is_file()]
    return [name for name, data in files if any(needle in data for needle in needles)]


def chunks_of(state: dict[str, Any]) -> set[tuple[bytes, bytes]]:
    """(text, vector) of every chunk."""
    return {(chunk.text.encode(), vector) for _, _, chunks in state.values() for _, chunk, vector in chunks}


def answers(index: Path) -> Any:
    """What the catalog holds; each chunk is found by its own vector and words, whatever became of what is derived."""
    with closing(IndexReader(index, Store())) as reader, reader.catalog.snapshot() as generation:
        ids = reader.catalog.chunk_ids(generation)
        vectors, texts = reader.catalog.vectors_of(ids), reader.catalog.chunk_texts(ids)
        for i, vector, text in zip(ids, vectors, texts, strict=True):
            near = reader.dense(vector, 5, generation)
            assert near[0][1] > 0.9999
            assert any(j == i or s > 0.9999 for j, s in near), "not found by its own vector"
            assert i in {j for j, _ in reader.lexical(text, 5, generation)}, "not found by its own words"
        return [(f.path, f.outcome, f.reason, f.hash) for f in reader.catalog.files(generation)], ids, vectors.tobytes()


def copy(source: Path, target: Path) -> None:
    remove(target)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def has_catalog(index: Path) -> bool:
    """Whether a reader could open it: the maker of a new one may have been killed before it had any table."""
    from rag.errors import IndexMissing

    try:
        Catalog(index / "catalog.sqlite3", readonly=True).close()
    except IndexMissing:
        return False
    return True


def is_readable(index: Path) -> bool:
    from rag.errors import IndexDamaged

    try:
        return has_catalog(index)
    except IndexDamaged:
        return False


def state_of(index: Path) -> Any:
    """With the vectors of pictures and recordings; of an older format, that it is one."""
    from rag.errors import IndexMismatch

    try:
        if not (index / "catalog.sqlite3").exists() or not has_catalog(index):
            return {}
    except IndexMismatch:  # from the first to today's there is more than one step
        return {"format": "an older one"}
    return {**index_state(index), **media_state(index)}


def media_state(index: Path) -> dict[str, Any]:
    """As `index_state`, by the public id of each picture and window. Asserts that Chroma holds the catalog's."""
    from rag.store.index import SPACES, chroma_folder
    from rag.store.vectors import open_embedded

    found: dict[str, Any] = {}
    with closing(Catalog(index / "catalog.sqlite3", readonly=True)) as catalog:
        generation = catalog.generation
        for space in SPACES:
            if not (ids := catalog.media_ids(space, generation)):
                continue
            here = chroma_folder(generation_folder(index, generation), space)
            with closing(open_embedded(here, int(catalog.meta(space)["dimension"]), Store(), space=space)) as dense:
                assert dense.ids() == catalog.vector_ids(generation, space)
            for row, vector in zip(catalog.media(ids).values(), catalog.vectors_of(ids, "media"), strict=True):
                found[f"{space} {row.key}"] = (space, None, [(row.key, row.location, vector.tobytes())])
    return found


def vector_keys(index: Path) -> set[bytes]:
    """Of any format; none of a catalog that can't be read."""
    if not (index / "catalog.sqlite3").exists():
        return set()
    with closing(sqlite3.connect(f"file:{index / 'catalog.sqlite3'}?mode=ro", uri=True)) as database:
        try:
            return {row[0] for row in database.execute("SELECT key FROM vectors")}
        except sqlite3.DatabaseError:
            return set()


def damage_catalog(index: Path) -> None:
    """Its pages; what its log holds goes into it first."""
    file = index / "catalog.sqlite3"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * (file.stat().st_size - 4096))


def check_vectors(index: Path) -> None:
    """Chroma's vectors are the catalog's."""
    from rag.store.vectors import open_embedded

    with closing(Catalog(index / "catalog.sqlite3", readonly=True)) as catalog:
        ids = catalog.vector_ids(catalog.generation)
        wanted = catalog.vectors_of(ids)
        folder = generation_folder(index, catalog.generation) / "chroma"
    dimension = wanted.shape[1] or DIMENSION
    made: Any = open_embedded(folder, dimension, Store())
    with closing(made):
        held = made._collection.get(include=["embeddings"])
    found = {int(i[2:]): v for i, v in zip(held["ids"], held["embeddings"], strict=True)}
    assert sorted(found) == sorted(ids)
    if ids:
        assert np.allclose(np.stack([found[i] for i in ids]), wanted, atol=1e-6), "wrong vectors"


def same(one: dict[str, Any], other: dict[str, Any], exact: bool) -> bool:
    """Files, outcomes, chunks, ids and vectors. Not `exact`: a real model's vectors differ in the third decimal with
    what they were batched with."""
    if exact or set(one) != set(other):
        return one == other
    for path, (outcome, reason, chunks) in one.items():
        if (outcome, reason) != other[path][:2] or [c[:2] for c in chunks] != [c[:2] for c in other[path][2]]:
            return False
        for (_, _, mine), (_, _, theirs) in zip(chunks, other[path][2], strict=True):
            if float(np.frombuffer(mine, "<f4") @ np.frombuffer(theirs, "<f4")) <= 0.999:
                return False
    return True


def chroma_losses(forker: Forker, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Plain Chroma killed at random: how often rows that it had taken are gone, or not found by their own vector."""
    chance = random.Random(seed)
    undisturbed = forker("chroma", index=folder / "undisturbed")
    seconds = undisturbed["events"][-1]["done"] - undisturbed["events"][0]["at"]
    found = {"kills": 0, "rows gone": 0, "rows not found": 0, "unreadable": 0, "damaged": 0}
    for number in range(kills):
        index = folder / f"{number}"
        seen = forker("chroma", at=0, after=chance.uniform(0.1, 1.0) * seconds, index=index)
        if not seen["killed"]:
            continue
        found["kills"] += 1
        rows = [r for e in seen["events"] if "added" in e for r in range(*e["added"])]
        gone = [r for e in seen["events"] if "deleting" in e for r in e["deleting"]]
        look = forker("look at chroma", index=index, rows=rows, gone=gone)
        said = next((e for e in look["events"] if "lost" in e), None)
        found["unreadable"] += said is None
        found["rows gone"] += bool(said and said["lost"])
        found["rows not found"] += bool(said and said["unfound"])
        found["damaged"] += said is None or bool(said["lost"] or said["unfound"])
        shutil.rmtree(index)
    return found


# ---- folders that change ---------------------------------------------------------------------------------------------


def write_folder(docs: Path, seed: int, files: int, lines: int) -> None:
    """Distinct sentences, some equal files."""
    shuffled = random.Random(seed)
    words = ["apple", "pear", "plum", "cherry", "grape", "lemon", "melon", "olive", "peach", "fig", "date", "lime"]
    docs.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        text = [f"File {i} of {seed}, line {j}: {' '.join(shuffled.choices(words, k=9))}." for j in range(lines)]
        (docs / f"{i:03}.txt").write_text("\n\n".join(text))
    for i in range(0, files, 10):
        shutil.copy(docs / f"{i:03}.txt", docs / f"copy of {i:03}.txt")


def change_folder(docs: Path, seed: int, lines: int) -> None:
    """Some files new, edited, moved and deleted: the second kind of sync that is killed."""
    files = sorted(docs.glob("[0-9]*.txt"))
    write_folder(docs / f"new {seed}", seed, max(len(files) // 3, 3), lines)
    for path in files[::5]:
        path.write_text(path.read_text() + f"\n\nAdded later, {seed}, to {path.name}.")
    for path in files[1::5]:
        path.rename(path.with_name(f"moved {path.name}"))
    for path in files[2::5]:
        path.unlink()


def delete_half(docs: Path) -> None:
    for path in sorted(docs.rglob("*.txt"))[::2]:
        path.unlink()


if __name__ == "__main__":
    serve()
