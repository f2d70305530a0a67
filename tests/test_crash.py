"""SIGKILL at every commit, in every save and at random: nothing lost, nothing half, nothing done twice.

The harness is in crashes.py. `make test` kills 100 times, `make soak` 1,000 times and at every point there is. Soak
also shows that the same killer does lose rows of a plain Chroma collection: one that finds nothing there would prove
nothing here.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SOAK
from crashes import (
    Crashes,
    Forker,
    change_folder,
    chroma_losses,
    chunks_of,
    crash_everywhere,
    damage_catalog,
    delete_half,
    hurt,
    state_of,
    write_folder,
)
from fakes_media import drawn, encoded, hummed, recorded
from older import make_older


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker() as made:
        yield made


@pytest.fixture
def crashes(forker: Forker, tmp_path: Path) -> Crashes:
    return Crashes(forker, tmp_path, seed=20261122)


def test_whatever_is_killed_is_whole_and_goes_on(crashes: Crashes) -> None:
    """Sync, deletion, compact, export, import, repair: what was is there, or what was to be; the next run ends as if
    nothing had happened, and embeds nothing that was stored."""
    kills = 1000 if SOAK else 100 - sum(AIMED.values())
    crash_everywhere(crashes, kills, files=10 if SOAK else 6)
    found = crashes.figures()
    assert found["kills"] == kills
    by_operation: Counter[str] = Counter()
    for name, count in crashes.kills.items():
        by_operation[name.partition(":")[0]] += count
    assert min(by_operation[name] for name in ("sync", "compact", "export", "import", "repair")) >= kills // 7
    assert found["stored_texts_embedded_again"] == 0


AIMED = {
    "new": 4,
    "changed": 4,
    "compact": 4,
    "import": 4,
    "export": 4,
    "repair": 4,
    "restore": 4,
    "older": 4,
    "media": 2,
}


@pytest.mark.parametrize("what", AIMED)
def test_every_commit_and_every_save(what: str, crashes: Crashes) -> None:
    """Each point once; in CI a few of each operation."""
    docs, index = crashes.docs, crashes.index
    write_folder(docs, 1, 10 if SOAK or what in ("new", "changed", "compact", "import") else 4, crashes.lines)
    do, among, more = "sync", ("",), {}
    if what == "media":  # a collection each
        among = ("chroma",)
        (docs / "drawn.png").write_bytes(encoded(drawn(1)))
        (docs / "tune.wav").write_bytes(recorded(hummed(1, 16_000), 16_000))
    elif what != "new":
        crashes.run("sync")
    match what:
        case "changed":
            change_folder(docs, 2, crashes.lines)
        case "compact":
            do, before = "compact", chunks_of(state_of(index))
            delete_half(docs)
            crashes.run("sync")
            crashes.gone = [piece for chunk in before - chunks_of(state_of(index)) for piece in chunk]
        case "import" | "export":
            do, more["file"] = what, crashes.folder / "x"
            crashes.run("export", **more)
            if what == "import":
                shutil.rmtree(index)
            else:
                delete_half(docs)
                crashes.run("sync")
        case "repair":
            do, among = "repair", ("commit", "chroma", "lexical", "seal")
            hurt(index, "chroma/*/data_level0.bin")
        case "restore":  # of what was before the last sync
            do = "restore"
            shutil.copytree(index / "copies", crashes.folder / "copies")
            change_folder(docs, 2, crashes.lines)
            crashes.run("sync")
            shutil.rmtree(index / "copies")
            shutil.copytree(crashes.folder / "copies", index / "copies")
            damage_catalog(index)
        case "older":
            among = ("alter", "commit")
            make_older(index / "catalog.sqlite3", 1)
    crashes.crash_points(do, None if SOAK else AIMED[what], ("",) if SOAK else among, **more)
    assert crashes.figures()["kills"] >= AIMED[what]
    assert crashes.re_embedded == 0
    if what != "restore":
        assert {"embedded": 0} in crashes.run("sync")["events"]


@pytest.mark.slow
def test_the_same_killer_finds_what_plain_chroma_loses(forker: Forker, tmp_path: Path) -> None:
    found = chroma_losses(forker, tmp_path, kills=80, seed=1)
    assert found["kills"] >= 60
    assert found["damaged"] >= 1, found
