"""Pieces that a thread of their own makes, so that whoever waits for them can leave at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextvars import copy_context
from queue import Empty, SimpleQueue

LOOK_S = 0.1  # how often a wait looks whether it was cancelled

Put = Callable[[str], None]
Halted = Callable[[], bool]  # whether nobody wants more


def from_thread(
    work: Callable[[Put, Halted], None], cancel: threading.Event, name: str, join: bool = False
) -> Generator[str, None, None]:
    """What `work` puts, and then what it raises, until `cancel` is set. `join`: the thread has ended before this does;
    else it is left to notice that it is halted."""
    come: SimpleQueue[str | BaseException | None] = SimpleQueue()
    left = threading.Event()  # the consumer is gone

    def run() -> None:
        try:
            work(come.put, lambda: cancel.is_set() or left.is_set())
        except BaseException as error:  # it belongs to the consumer, not to this thread
            come.put(error)
        finally:
            come.put(None)

    thread = threading.Thread(target=copy_context().run, args=(run,), name=name, daemon=True)
    thread.start()
    try:
        while not cancel.is_set():
            try:
                piece = come.get(timeout=LOOK_S)
            except Empty:
                continue
            if piece is None or cancel.is_set():
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        left.set()
        if join:
            thread.join()
