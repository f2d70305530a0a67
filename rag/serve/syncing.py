"""The folder's sync as the server runs it: one at a time, in a thread; whoever looks hears how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from rag.build import Rag
from rag.errors import Cancelled
from rag.serve.problems import Problem, as_problem

LISTED = 1000  # files that aren't indexed, shown with their reasons; `rag status` has all


class Syncing:
    def __init__(self, rag: Rag) -> None:
        self._rag = rag
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._again: dict[str, bool] | None = None  # the options of one that is to follow
        self._closed = False
        self._state: dict[str, Any] = {"state": "idle", "number": 0, **_blank()}
        self._listeners: set[asyncio.Queue[tuple[str, dict[str, Any]] | None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._after: Callable[[], None] = lambda: None

    def attach(self, loop: asyncio.AbstractEventLoop, after: Callable[[], None]) -> None:
        """`after` is called in the sync's thread when one has finished."""
        self._loop, self._after = loop, after

    @property
    def running(self) -> bool:
        return self._thread is not None

    def state(self) -> dict[str, Any]:
        with self._lock:
            return {**self._state, "not_indexed": list(self._state["not_indexed"])}

    def start(self, **options: bool) -> dict[str, Any]:
        """Raises Problem 409 while one runs."""
        with self._lock:
            started = self._start(options)
        if not started:
            raise Problem(
                409, "SyncRunning", "a sync is running", "GET /sync tells how far it is, POST /sync/stop stops it"
            )
        return self.state()

    def request(self, allow_empty: bool = False) -> None:
        """The folder was changed: sync now, or once more after the one that runs."""
        options = {"allow_empty": True} if allow_empty else {}
        with self._lock:  # throughout: the one that runs may be about to end
            if not self._start(options) and not self._closed:
                self._again = {**(self._again or {}), **options}

    def stop(self) -> dict[str, Any]:
        """What is done until then is published. Raises Problem 409 when none runs."""
        with self._lock:
            if self._thread is None:
                raise Problem(409, "NoSync", "no sync is running", "POST /sync starts one")
            self._again = None
            self._state["state"] = "stopping"
            self._cancel.set()
        self._tell("state", self.state())
        return self.state()

    def cancel(self) -> None:
        """No more syncs; one that runs ends where it is. Takes no lock: a signal may come at any time."""
        self._closed, self._again = True, None
        self._cancel.set()

    def close(self) -> None:
        self.cancel()
        if (thread := self._thread) is not None:
            thread.join(timeout=10)
        for listener in list(self._listeners):
            self._call(listener.put_nowait, None)

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """What stands now, then what happens, until the sync has ended."""
        listener: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue()
        self._listeners.add(listener)  # before the look: an end that comes between is heard
        try:
            state = self.state()
            yield "state", state
            if state["state"] not in ("running", "stopping"):
                return
            while (item := await listener.get()) is not None:
                yield item
                if item[0] == "end" and not self.running:  # otherwise one more follows
                    return
        finally:
            self._listeners.discard(listener)

    # ---- in the thread ------------------------------------------------------------------------------------

    def _start(self, options: dict[str, bool]) -> bool:
        """With the lock held."""
        if self._closed or self._thread is not None:
            return False
        self._cancel.clear()
        self._begin()
        self._thread = threading.Thread(target=self._work, args=(options,), name="rag-sync", daemon=True)
        self._thread.start()
        return True

    def _begin(self) -> None:
        """With the lock held. Told to those, too, who are still listening to the sync before."""
        self._again = None
        self._state = {"state": "running", "number": self._state["number"] + 1, **_blank()}
        self._tell("state", {**self._state, "not_indexed": []})

    def _work(self, options: dict[str, bool]) -> None:
        while True:
            ended: dict[str, Any] = {}
            try:
                report = self._rag.sync(listener=self._listen, cancel=self._cancel, **options)
                ended = {"state": "done", "report": {"ok": report.ok, **report.counts()}}
            except Cancelled as error:
                ended = {"state": "stopped", "error": as_problem(error).body()["error"]}
            except Exception as error:
                ended = {"state": "failed", "error": as_problem(error).body()["error"]}
            if ended["state"] == "done":
                self._after()
            with self._lock:
                self._state.update(ended)
                more, options = self._again is not None and not self._cancel.is_set(), self._again or {}
                if not more:
                    self._thread = None
            self._tell("end", self.state())
            if not more:
                return
            with self._lock:
                self._begin()

    def _listen(self, event: dict[str, Any]) -> None:
        name, told = event["event"], {k: v for k, v in event.items() if k != "event"}
        with self._lock:
            match name:
                case "scan":
                    self._state["files"] = told["files"]
                case "file":
                    self._state["settled"] += 1
                    if told["reason"] and len(self._state["not_indexed"]) < LISTED:
                        self._state["not_indexed"].append(told)
                case "progress":
                    self._state.update({k: told[k] for k in ("tokens", "bytes", "total_bytes")})
        if name != "done":  # "end" says it, with the report
            self._tell(name, told)

    def _tell(self, name: str, told: dict[str, Any]) -> None:
        for listener in list(self._listeners):
            self._call(listener.put_nowait, (name, told))

    def _call(self, do: Callable[[Any], None], value: Any) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(do, value)


def _blank() -> dict[str, Any]:
    counts = {"files": 0, "settled": 0, "tokens": 0, "bytes": 0, "total_bytes": 0}
    return {**counts, "not_indexed": [], "report": None, "error": None}
