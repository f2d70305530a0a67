"""The server's sync by itself: what is asked for while one is about to end."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from rag.serve.syncing import Syncing


class Syncs:
    """Of a `Rag`: each ends when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Event()

    def sync(self, **options: Any) -> Any:
        self.begun += 1
        assert self.go_on.wait(10)
        return SimpleNamespace(ok=True, counts=dict)


def test_what_is_asked_for_while_a_sync_ends_is_done_by_the_next() -> None:
    """Or a file deleted just then would stay in the index."""
    rag = Syncs()
    syncing = Syncing(rag)  # type: ignore[arg-type]
    syncing.start()
    first, start = syncing._thread, syncing._start
    assert first is not None

    def refused(options: dict[str, bool]) -> bool:
        started = start(options)
        rag.go_on.set()
        first.join(0.3)  # now, if it can
        return started

    syncing._start = refused  # type: ignore[method-assign]
    syncing.request()
    first.join(10)
    assert rag.begun == 2


def test_who_still_listens_hears_of_the_sync_after() -> None:
    rag = Syncs()
    syncing = Syncing(rag)  # type: ignore[arg-type]
    told: list[tuple[str, Any]] = []
    syncing._tell = lambda name, state: told.append((name, state["number"]))  # type: ignore[method-assign]
    syncing.start()
    syncing.request()
    rag.go_on.set()
    thread = syncing._thread
    assert thread is not None
    thread.join(10)
    assert told == [("state", 1), ("end", 1), ("state", 2), ("end", 2)]
