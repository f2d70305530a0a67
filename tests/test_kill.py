"""kill -9 of a real process at random instants of a sync. The real model and 30 kills: benchmarks/kill.py."""

from __future__ import annotations

from pathlib import Path

from conftest import SOAK
from kills import kill_and_check


def test_a_killed_sync_is_finished_by_the_next_one_and_nothing_is_embedded_twice(tmp_path: Path) -> None:
    kills = 60 if SOAK else 6
    found = kill_and_check(tmp_path, kills=kills, seed=20261122)
    assert found["kills"] == kills
    assert found["states_compared"] >= 2
    assert found["texts_embedded"] > 50
