"""A sync in a process of its own, to be killed at a random instant; and what must hold after that.

    python tests/kills.py DOCS INDEX [fake|real] [seconds per batch]      runs the sync, events as JSON lines

Used by test_kill.py (fake model, few kills) and benchmarks/kill.py (real model, 30 kills).
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]

from fakes_embed import FakeEmbedder, index_state, open_rag  # noqa: E402

import rag.sync  # noqa: E402
from rag.build import Rag  # noqa: E402


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def open_for(docs: Path, index: Path, model: str, wait: float = 0.0) -> Rag:
    """With small groups, so that a small folder has many commits."""
    rag.sync.GROUP_CHARS, rag.sync.SLICE_CHARS = 4000, 1500
    if model == "real":
        return Rag.open(docs=docs, store__path=index)
    embedder = FakeEmbedder()
    embedder.before_batch = lambda texts: time.sleep(wait)
    return open_rag(docs, index, embedder)


def child(docs: Path, index: Path, model: str, wait: float) -> None:
    """Says `stored` once vectors are committed: from then on they must never be embedded again."""
    with open_for(docs, index, model, wait) as opened:
        embedder: Any = opened.embedder
        original = embedder.passage_vectors
        from rag.store import Catalog

        put = Catalog.put_vectors
        last: list[Sequence[str]] = []

        def passage_vectors(texts: Sequence[str], progress: Any = None) -> Any:
            say(event="embed", texts=list(texts))
            last[:] = [texts]
            return original(texts, progress)

        def put_vectors(catalog: Catalog, keys: Any, vectors: Any) -> None:
            put(catalog, keys, vectors)
            say(event="stored", texts=list(last[0]))

        embedder.passage_vectors = passage_vectors
        Catalog.put_vectors = put_vectors  # type: ignore[method-assign]
        say(event="ready")
        opened.sync(listener=lambda event: say(**event))


@dataclass
class Trial:
    """One folder and index; `run` is a sync, killed after `seconds` or let through."""

    docs: Path
    index: Path
    model: str = "fake"
    wait: float = 0.02
    embedded: list[str] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    again: Counter[str] = field(default_factory=Counter)  # embedded although they were stored

    def run(self, seconds: float | None = None) -> tuple[bool, str, float]:
        """(finished, last event, seconds from the start of the sync to its end)."""
        command = [sys.executable, str(HERE / "kills.py"), *map(str, (self.docs, self.index, self.model, self.wait))]
        last, start = "", 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            killer = None
            for event in self._events(process.stdout):
                last = event["event"]
                if last == "ready":
                    start = time.perf_counter()
                    if seconds is not None:
                        killer = Timer(seconds, process.kill)
                        killer.start()
            process.wait(timeout=120)
            if killer is not None:
                killer.cancel()
            assert process.stderr is not None
            errors = process.stderr.read()
        if process.returncode not in (0, -9):
            raise AssertionError(f"the sync ended with {process.returncode}:\n{errors}")
        return process.returncode == 0, last, time.perf_counter() - start

    def _events(self, lines: Any) -> Iterator[dict[str, Any]]:
        for line in lines:
            if not line.endswith("\n"):
                return  # cut by the kill
            event = json.loads(line)
            if event["event"] == "embed":
                self.embedded += event["texts"]
                self.again.update(set(event["texts"]) & self.stored)
            elif event["event"] == "stored":
                self.stored.update(event["texts"])
            yield event


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


def kill_and_check(folder: Path, kills: int, seed: int, model: str = "fake", files: int = 24) -> dict[str, Any]:
    """Syncs of a changing folder, each killed at a random instant, some again and again, then let through. Raises
    AssertionError when the state differs from that of a sync which nobody disturbed, or stored work was done twice.

    Returns how many kills hit, and after which event.
    """
    chance = random.Random(seed)
    trial = Trial(folder / "docs", folder / "index", model)
    lines = 6 if model == "fake" else 80  # several chunks a file, of 24 tokens or of 200
    write_folder(trial.docs, seed, files, lines)
    hits: Counter[str] = Counter()
    missed = states = 0
    while sum(hits.values()) < kills:
        undisturbed, seconds = undisturbed_sync(trial, folder / "undisturbed")
        killed = True
        while killed and sum(hits.values()) < kills:
            finished, last, _ = trial.run(chance.uniform(0, 1.02 * seconds))
            hits.update([last] * (not finished))
            missed += finished
            killed = not finished and chance.random() < 0.6
        finished, _, _ = trial.run()
        assert finished
        check_same(undisturbed, index_state(trial.index), exact=model == "fake")
        assert not trial.again, f"{len(trial.again)} stored texts were embedded again"
        states += 1
        change_folder(trial.docs, seed + states, lines)
    return {
        "kills": sum(hits.values()),
        "after": dict(sorted(hits.items())),
        "finished_before_the_kill": missed,
        "states_compared": states,
        "files": len(undisturbed),
        "texts_embedded": len(trial.embedded),
        "stored_texts_embedded_again": sum(trial.again.values()),
    }


def undisturbed_sync(trial: Trial, index: Path) -> tuple[dict[str, Any], float]:
    """State after a sync of the same folder, from a copy of the same index, and its seconds."""
    if trial.index.exists():
        shutil.copytree(trial.index, index)
    finished, _, seconds = Trial(trial.docs, index, trial.model, trial.wait).run()
    assert finished
    state = index_state(index)
    shutil.rmtree(index)
    return state, seconds


def check_same(one: dict[str, Any], other: dict[str, Any], exact: bool) -> None:
    """Files, outcomes, chunks, ids and vectors. Not `exact`: a real model's vectors differ in the third decimal with
    what they were batched with."""
    assert set(one) == set(other)
    for path, (outcome, reason, chunks) in one.items():
        assert (outcome, reason) == other[path][:2], path
        assert [c[:2] for c in chunks] == [c[:2] for c in other[path][2]], path
        for (_, _, mine), (_, _, theirs) in zip(chunks, other[path][2], strict=True):
            if exact:
                assert mine == theirs, path
            else:
                assert float(np.frombuffer(mine, "<f4") @ np.frombuffer(theirs, "<f4")) > 0.999, path


if __name__ == "__main__":
    child(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
