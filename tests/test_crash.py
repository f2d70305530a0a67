"""SIGKILL at every commit, in every save and at random: nothing lost, nothing half, nothing done twice.

The harness is in crashes.py. `make soak` runs 1,000 kills and shows that the same killer does lose rows of a plain
Chroma collection: one that finds nothing there would prove nothing here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SOAK
from crashes import Crashes, Forker, change_folder, chroma_losses, delete_half, state_of, write_folder

FILES = 10


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker() as made:
        yield made


@pytest.fixture
def crashes(forker: Forker, tmp_path: Path) -> Crashes:
    made = Crashes(forker, tmp_path, seed=20261122)
    write_folder(made.docs, 1, FILES, made.lines)
    return made


def test_a_killed_sync_is_finished_by_the_next_and_embeds_nothing_twice(crashes: Crashes) -> None:
    """A new folder, then one where files came, changed, moved and went, then one that lost half: deletions."""
    kills = 130 if SOAK else 4
    crashes.crash("sync", kills)
    change_folder(crashes.docs, 2, crashes.lines)
    crashes.crash("sync", kills)
    delete_half(crashes.docs)
    crashes.crash("sync", kills)
    found = crashes.figures()
    assert found["kills"] == 3 * kills
    assert found["stored_texts_embedded_again"] == 0


def test_a_killed_export_leaves_the_old_file_or_the_new_one(crashes: Crashes, tmp_path: Path) -> None:
    crashes.run("sync")
    before = state_of(crashes.index)
    file = tmp_path / "index.tar.zst"
    crashes.run("export", file=file)
    old = file.read_bytes()
    change_folder(crashes.docs, 2, crashes.lines)
    crashes.run("sync")
    crashes.run("export", file=file)
    new = file.read_bytes()
    assert new != old
    seen = set()
    points = [e["point"] for e in crashes.run("export", file=file)["events"] if "point" in e]
    assert points == ["start", "name", "name: done"]
    for at, wait in [(0, 0.0), (0, 0.004), (1, 0.0), (2, 0.0)] * (60 if SOAK else 1):
        file.write_bytes(old)
        crashes.run("export", at, wait, file=file)
        held = file.read_bytes()
        assert held in (old, new)
        seen.add(held == new)
        crashes.run("export", file=file)
        assert file.read_bytes() == new
        assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []
    assert seen == {True, False}
    assert state_of(crashes.index) != before


def test_a_killed_import_leaves_the_old_index_or_the_new_one(crashes: Crashes, tmp_path: Path) -> None:
    """Into nothing, and over an index of other files."""
    kills = 130 if SOAK else 4
    crashes.run("sync")
    file = tmp_path / "index.tar.zst"
    crashes.run("export", file=file)
    carried = state_of(crashes.index)
    shutil.copytree(crashes.docs, tmp_path / "carried")
    shutil.rmtree(crashes.index)
    crashes.crash("import", kills, file=file)
    assert state_of(crashes.index) == carried
    change_folder(crashes.docs, 3, crashes.lines)
    crashes.run("sync")
    crashes.crash("import", kills, file=file)
    assert state_of(crashes.index) == carried
    assert crashes.figures()["kills"] == 2 * kills
    shutil.rmtree(crashes.docs)
    shutil.copytree(tmp_path / "carried", crashes.docs)
    assert {"embedded": 0} in crashes.run("sync")["events"]


@pytest.mark.parametrize("what", ["new", "changed", "import"])
def test_every_commit_and_every_save(what: str, crashes: Crashes, tmp_path: Path) -> None:
    """Each point once, in an order drawn; in CI a few of each operation."""
    more = {}
    if what != "new":
        crashes.run("sync")
    if what == "changed":
        change_folder(crashes.docs, 2, crashes.lines)
    if what == "import":
        more["file"] = tmp_path / "x"
        crashes.run("export", **more)
        shutil.rmtree(crashes.index)
    crashes.crash_points("import" if what == "import" else "sync", None if SOAK else 4, **more)
    assert crashes.re_embedded == 0


@pytest.mark.slow
def test_the_same_killer_finds_what_plain_chroma_loses(forker: Forker, tmp_path: Path) -> None:
    found = chroma_losses(forker, tmp_path, kills=40, seed=1)
    assert found["kills"] >= 30
    assert found["damaged"] >= 1, found
