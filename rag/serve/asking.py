"""One question on its way: a thread makes the answer, the event loop hands it on.

The thread asks for its turn before each stage that computes: retrieval runs for several questions at once, a model
writes for one. When the client leaves, `cancel` ends the waiting at once and the writing after one more token.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from rag.answer import Event
from rag.errors import Cancelled
from rag.retrieve.filters import parse_filter
from rag.serve.metrics import outcome_of
from rag.serve.problems import Problem
from rag.serve.spans import Span
from rag.serve.turns import Turns
from rag.types import Answer, Message

if TYPE_CHECKING:
    from rag.serve.desk import Desk

HISTORY = 6  # messages of a chat that a model sees of what was said before


class Asking:
    """Made by `begin`; its thread runs from then on, and gives back its place among the questions."""

    @classmethod
    async def begin(
        cls,
        desk: Desk,
        client: str,
        question: str,
        history: Sequence[Message] = (),
        filter: Any = None,
        **settings: Any,
    ) -> Self:
        """`client`: its address. Raises Problem 503 when too many wait already, 429 when too many of them are its own,
        and QueryError for what can't be asked."""
        desk.check_open()
        began = desk.questions.enter(client)  # first: sending away is what must cost least when many come
        asking = cls(desk, client, began, question, history, filter, settings)
        try:
            await asyncio.shield(desk.read(asking._start))
        except asyncio.CancelledError:
            asking.leave()
            raise
        return asking

    def __init__(
        self,
        desk: Desk,
        client: str,
        began: float,
        question: str,
        history: Sequence[Message],
        filter: Any,
        settings: dict[str, Any],
    ) -> None:
        self.cancel = threading.Event()
        self._desk = desk
        self._asked = (question, list(history)[-HISTORY:], filter)
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._out: asyncio.Queue[Event | BaseException | tuple[str, int] | None] = asyncio.Queue()
        self._held: Turns | None = None
        self._began, self._client = began, client
        self._thread = threading.Thread(target=self._work, name="rag-asking", daemon=True)

    async def events(self) -> AsyncIterator[Event | tuple[str, int]]:
        """The events of `Rag.stream`, and ("queued", number ahead) where it has to wait. Raises what it raised."""
        while (item := await self._out.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    async def answer(self) -> Answer | None:
        """The checked answer; None: it was stopped."""
        found: Answer | None = None
        async for event in self.events():
            if isinstance(event, Event) and event.kind == "answer":
                found = event.value
        return found

    def leave(self) -> None:
        self.cancel.set()

    def join(self) -> None:
        self._thread.join(timeout=10)

    # ---- in threads ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Not on the event loop: starting a thread waits until it runs, behind all that compute."""
        try:
            question, _, filter = self._asked
            self._desk.rag.retriever.check(question)
            parse_filter(filter)
        except BaseException:
            self._desk.questions.leave(self._began, self._client)
            raise
        self._desk.asking.add(self)
        self._thread.start()

    def _put(self, item: Event | BaseException | tuple[str, int] | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._out.put_nowait, item)

    def _work(self) -> None:
        outcome, began = "failed", time.perf_counter()
        try:
            with self._desk.spans.span("rag.ask") as span:
                outcome = self._make(span)
                span.note(outcome=outcome)
        except Cancelled:
            outcome = "cancelled"
        except BaseException as error:
            self._put(error)
        finally:
            self._give()
            self._desk.metrics.asked(outcome, time.perf_counter() - began)
            self._desk.asking.discard(self)
            self._desk.questions.leave(self._began, self._client)
            self._put(None)

    def _make(self, span: Span) -> str:
        """The outcome. Raises Cancelled when the client has left."""
        question, history, filter = self._asked
        outcome = "failed"
        for event in self._desk.rag.stream(question, history, filter, self.cancel, **self._settings):
            if self.cancel.is_set():
                raise Cancelled("the client left")
            if event.kind == "stage":
                span.stage("wait")
                self._take(self._desk.retrieving if event.value == "retrieve" else self._desk.generating)
                span.stage(event.value)
            elif event.kind == "passages":
                span.note(passages=len(event.value))
            elif event.kind == "answer":
                outcome = outcome_of(event.value)
                span.note(confidence=event.value.confidence, citations=len(event.value.citations))
            self._put(event)
        return outcome

    def _take(self, turns: Turns) -> None:
        self._give()
        turns.take(self.cancel, lambda ahead: self._put(("queued", ahead)))
        self._held = turns

    def _give(self) -> None:
        if self._held is not None:
            self._held.give()
            self._held = None


def stopped() -> Problem:
    """What a client hears whose answer was cut off by the server's end."""
    return Problem(503, "Stopping", "the answer was stopped", "ask again", {"Retry-After": "5"})
