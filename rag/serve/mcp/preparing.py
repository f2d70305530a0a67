"""A sync beside the calls: the one that a stdio server begins with, in the background, so that the client's handshake
never waits for it; or those of `rag serve`."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rag.build import Rag
from rag.errors import Cancelled, IndexMissing, RagError
from rag.serve.mcp.tools import Tell

if TYPE_CHECKING:
    from rag.serve.syncing import Syncing  # stdio goes without HTTP

POLL_S = 0.1


class Awaited(ABC):
    """While a sync runs, calls are answered from the last one; where there was none, they wait for it."""

    def __init__(self, rag: Rag) -> None:
        self._rag = rag
        self._exists = False

    @property
    @abstractmethod
    def running(self) -> bool: ...

    @property
    @abstractmethod
    def error(self) -> RagError | None:
        """What it failed with."""

    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """Files seen so far, and files that are done with."""

    def wait(self, tell: Tell, cancel: threading.Event) -> None:
        """Returns at once where there is an index. Raises what the sync failed with, or Cancelled."""
        told = -1
        while not self._indexed():
            if not self.running:
                if self.error:
                    raise self.error
                return  # what is missing is said by whoever looks for it
            if cancel.wait(POLL_S):
                raise Cancelled("the call was cancelled")
            files, settled = self.counts()
            if settled > told:
                told = settled
                tell(told, max(files, told) or None, "indexing the folder for the first time")

    def _indexed(self) -> bool:
        if not self._exists:
            try:
                self._rag.files()
            except IndexMissing:
                return False
            self._exists = True
        return True


class ServedSync(Awaited):
    """Those of `rag serve`, which tells of a failed one by itself."""

    def __init__(self, rag: Rag, syncing: Syncing) -> None:
        super().__init__(rag)
        self._syncing = syncing

    @property
    def running(self) -> bool:
        return self._syncing.running

    @property
    def error(self) -> RagError | None:
        told = self._syncing.state()["error"]
        return RagError(told["message"], told["hint"]) if told else None

    def counts(self) -> tuple[int, int]:
        state = self._syncing.state()
        return state["files"], state["settled"]


class FirstSync(Awaited):
    def __init__(self, rag: Rag) -> None:
        super().__init__(rag)
        self._stop, self._done = threading.Event(), threading.Event()
        self._error: RagError | None = None
        self._files = self._settled = 0
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

    def counts(self) -> tuple[int, int]:
        return self._files, self._settled

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
