"""What the routes share: the Rag, who may work when, the figures, and whether the server is coming to its end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rag.build import Rag
from rag.config import Serve
from rag.errors import Cancelled, IndexMissing, RagError
from rag.machine import cores
from rag.serve.metrics import Metrics, outcome_of
from rag.serve.pages import Drawing
from rag.serve.problems import Problem
from rag.serve.spans import from_environment
from rag.serve.syncing import Syncing
from rag.serve.turns import Door, Turns
from rag.types import Answer, Message

if TYPE_CHECKING:
    from rag.serve.asking import Asking

logger = logging.getLogger("rag.serve")
P = ParamSpec("P")
T = TypeVar("T")

SEARCHES_WAITING = 512
DRAWINGS_WAITING = 32
MCP = "mcp"  # calls of its tools count as one client
WARMING_S = 20.0  # what a model that is being loaded when the server stops may still take
WARM_QUESTION = "What is this about?"


class Desk:
    """One per server."""

    def __init__(self, rag: Rag, settings: Serve) -> None:
        self.rag, self.settings = rag, settings
        at_once, one_model = cores(), rag.has_language_model
        # More threads than cores gain nothing here: they would only fight the event loop for the interpreter.
        self.retrieving = Turns(at_once)
        self.generating = Turns(1 if one_model else at_once)
        self.trouble: str | None = None  # why the models can't be loaded
        self.questions = Door("questions", 1 if one_model else at_once, settings.queue, settings.share)
        self.searches = Door("searches", at_once, SEARCHES_WAITING)
        self._workers = ThreadPoolExecutor(at_once, "rag-serve")
        self._files = ThreadPoolExecutor(at_once, "rag-files")  # reading a file waits for no search
        self.syncing = Syncing(rag)
        self.drawing = Drawing(rag)
        self.drawings = Door("pages", 1, DRAWINGS_WAITING)
        self.metrics = Metrics(self)
        self.spans, self._provider = from_environment()
        self.draining = threading.Event()
        self.warm = threading.Event()
        self._warming = threading.Lock()
        self.asking: set[Asking] = set()
        self.calls: set[threading.Event] = set()  # of MCP tools: each is set to end its call

    @property
    def name(self) -> str:
        """Of the index, as a model's name: that of its document folder."""
        return self.rag.config.documents.path.expanduser().absolute().name or "documents"

    async def work(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Search or embed in a thread. Raises Problem 503 when too many wait."""

        def spanned() -> T:
            with self.spans.span("rag.search"):
                return do(*args, **kwargs)

        with self.searches.through():
            return await asyncio.get_running_loop().run_in_executor(self._workers, spanned)

    async def read(self, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Look into catalog and folder in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._files, lambda: do(*args, **kwargs))

    @contextmanager
    def turn(self, cancel: threading.Event) -> Iterator[Callable[[Answer], None]]:
        """Held while an answer is made that no route of ours asked for; what it gives hears the answer. Raises RagError
        when too many wait."""
        try:
            began = self.questions.enter(MCP)
        except Problem as full:
            raise RagError(full.message, full.hint) from None
        outcome, start = "failed", time.perf_counter()

        def hear(answer: Answer) -> None:
            nonlocal outcome
            outcome = outcome_of(answer)

        try:
            with self.spans.span("rag.ask") as span:
                self.generating.take(cancel)
                try:
                    yield hear
                finally:
                    self.generating.give()
                    span.note(outcome=outcome)
        except Cancelled:
            outcome = "cancelled"
            raise
        finally:
            self.metrics.asked(outcome, time.perf_counter() - start)
            self.questions.leave(began, MCP)

    def check_open(self) -> None:
        if self.draining.is_set():
            raise Problem(503, "Stopping", "the server is being stopped", "ask the next one", {"Retry-After": "5"})

    def generation(self) -> int:
        try:
            return self.rag.generation
        except RagError:
            return 0

    def warm_up(self) -> None:
        """Load what the first question needs. What fails is told once in the log, and to each question."""
        rag = self.rag
        with self._warming:
            if self.warm.is_set():
                return
            try:
                if not rag.has_language_model:
                    rag.ask(WARM_QUESTION)
                else:
                    rag.search(WARM_QUESTION)
                    if rag.config.generate.kind == "transformers" and rag.generator is not None:
                        next(iter(rag.generator.stream([Message("user", WARM_QUESTION)])), None)
            except IndexMissing:  # not yet
                return
            except RagError as error:
                if str(error) != self.trouble:
                    logger.error("%s", error)
                self.trouble = str(error)
                return
            self.trouble = None
            self.warm.set()

    def keep_warming(self) -> None:
        """For whoever finds it cold: there was no index before, perhaps there is one now."""
        if not self.warm.is_set() and not self._warming.locked() and not self.syncing.running:
            threading.Thread(target=self.warm_up, name="rag-warm", daemon=True).start()

    async def begin(self, sync_first: bool) -> None:
        self.syncing.attach(asyncio.get_running_loop(), self.warm_up)
        if sync_first:
            self.syncing.request()
        else:
            self.keep_warming()

    def leave(self) -> None:
        """The server was told to stop: nothing new is begun, a sync ends where it is. Called from a signal handler."""
        self.draining.set()
        self.syncing.cancel()

    def give_up(self) -> None:
        """Answers that are still being made end now; each client is told."""
        for asking in list(self.asking):
            asking.leave()
        for call in list(self.calls):
            call.set()

    def _await_warmth(self) -> None:
        """A thread that loads models still reads the index: it must not be closed under it."""
        if self._warming.acquire(timeout=WARMING_S):
            self._warming.release()

    async def end(self) -> None:
        """Stop what still runs and give everything back."""
        self.leave()
        self.give_up()
        await asyncio.to_thread(self.syncing.close)
        for asking in list(self.asking):
            await asyncio.to_thread(asking.join)
        await asyncio.to_thread(self._await_warmth)
        await asyncio.to_thread(self.drawing.close)
        self._workers.shutdown(cancel_futures=True)
        self._files.shutdown(cancel_futures=True)
        if self._provider is not None:
            await asyncio.to_thread(self._provider.shutdown)
