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
    delete_half,
    state_of,
    write_folder,
)


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
    kills = 1000 if SOAK else 84
    crash_everywhere(crashes, kills, files=10 if SOAK else 6)
    found = crashes.figures()
    assert found["kills"] == kills
    by_operation: Counter[str] = Counter()
    for name, count in crashes.kills.items():
        by_operation[name.partition(":")[0]] += count
    assert min(by_operation[name] for name in ("sync", "compact", "export", "import", "repair")) >= kills // 7
    assert found["stored_texts_embedded_again"] == 0


@pytest.mark.parametrize("what", ["new", "changed", "compact", "import"])
def test_every_commit_and_every_save(what: str, crashes: Crashes) -> None:
    """Each point once; in CI a few of each operation."""
    write_folder(crashes.docs, 1, 10, crashes.lines)
    more = {}
    if what != "new":
        crashes.run("sync")
    if what == "changed":
        change_folder(crashes.docs, 2, crashes.lines)
    if what == "compact":
        before = chunks_of(state_of(crashes.index))
        delete_half(crashes.docs)
        crashes.run("sync")
        crashes.gone = [piece for chunk in before - chunks_of(state_of(crashes.index)) for piece in chunk]
    if what == "import":
        more["file"] = crashes.folder / "x"
        crashes.run("export", **more)
        shutil.rmtree(crashes.index)
    crashes.crash_points(what if what in ("compact", "import") else "sync", None if SOAK else 4, **more)
    assert crashes.figures()["kills"] >= 4
    assert crashes.re_embedded == 0
    assert {"embedded": 0} in crashes.run("sync")["events"]


@pytest.mark.slow
def test_the_same_killer_finds_what_plain_chroma_loses(forker: Forker, tmp_path: Path) -> None:
    found = chroma_losses(forker, tmp_path, kills=80, seed=1)
    assert found["kills"] >= 60
    assert found["damaged"] >= 1, found
