"""A sync's progress bar for people, on stderr."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 0.4  # most syncs find nothing to do: they end before a bar would appear, and before rich is imported


@contextmanager
def shown() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields the listener of a sync. The bar moves by bytes read; files, tokens and the time left stand beside it."""
    bar = _Bar()
    timer = threading.Timer(PATIENCE_S, bar.appear)
    timer.daemon = True
    timer.start()
    try:
        yield bar.listen
    finally:
        timer.cancel()
        bar.vanish()


class _Bar:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gone = False
        self._drawn: Any = None  # rich.progress.Progress
        self._state: dict[str, Any] = {"description": "looking", "completed": 0, "total": None, "told": ""}
        self._files = self._settled = 0

    def appear(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with self._lock:
            if not self._gone:
                self._drawn = Progress(*columns, console=Console(stderr=True), transient=True)
                self._task = self._drawn.add_task(**self._state)
                self._drawn.start()

    def vanish(self) -> None:
        with self._lock:
            self._gone = True
            if self._drawn is not None:
                self._drawn.stop()

    def listen(self, event: dict[str, Any]) -> None:
        with self._lock:
            match event["event"]:
                case "scan":
                    self._files = event["files"]
                    self._state.update(description="reading", told=f"{self._files:,} files")
                case "file":
                    self._settled += 1
                    self._state.update(told=f"{self._settled:,} of {self._files:,} files")
                case "progress":
                    told = f"{event['files']:,} of {self._files:,} files · {event['tokens']:,} tokens"
                    if event.get("media"):
                        told += f" · {event['media']:,} pictures and sounds, {event['media_per_s']:g}/s"
                    self._state.update(
                        description="embedding", completed=event["bytes"], total=event["total_bytes"], told=told
                    )
                case "publish":
                    self._state.update(description="indexing", completed=1, total=1)
            if self._drawn is not None:
                self._drawn.update(self._task, **self._state)
