"""The sync that a stdio server begins with: in the background, so that the client's handshake never waits for it."""

from __future__ import annotations

import threading
from typing import Any

from rag.build import Rag
from rag.errors import Cancelled, IndexMissing, RagError
from rag.serve.mcp.tools import Tell

POLL_S = 0.1


class FirstSync:
    """While it runs, calls are answered from the last sync; where there was none, they wait for this one."""

    def __init__(self, rag: Rag) -> None:
        self._rag = rag
        self._stop, self._done = threading.Event(), threading.Event()
        self._error: RagError | None = None
        self._files = self._settled = 0
        self._exists = False
        self._thread = threading.Thread(target=self._run, name="rag-first-sync", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Returns when it has stopped, or after the timeout: killing a sync costs nothing that was done."""
        self._stop.set()
        self._thread.join(timeout_s)

    @property
    def running(self) -> bool:
        return not self._done.is_set()

    @property
    def error(self) -> RagError | None:
        return self._error

    def wait(self, tell: Tell, cancel: threading.Event) -> None:
        """Returns at once where there is an index. Raises what the sync failed with, or Cancelled."""
        told = -1
        while not self._indexed():
            if self._done.is_set():
                if self._error:
                    raise self._error
                return  # what is missing is said by whoever looks for it
            if cancel.is_set():
                raise Cancelled("the call was cancelled")
            if self._settled > told:
                told = self._settled
                tell(told, max(self._files, told) or None, "indexing the folder for the first time")
            self._done.wait(POLL_S)

    def _indexed(self) -> bool:
        if not self._exists:
            try:
                self._rag.files()
            except IndexMissing:
                return False
            self._exists = True
        return True

    def _run(self) -> None:
        try:
            self._rag.sync(listener=self._hear, cancel=self._stop)
        except RagError as error:
            self._error = error
        finally:
            self._done.set()

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "scan":
            self._files = event["files"]
        elif event["event"] == "file":
            self._settled += 1
