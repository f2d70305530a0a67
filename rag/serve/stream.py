"""Server-sent events that notice when the client has left, even while nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import Response

from rag.serve.guard import Receive, Scope, Send

# For the OpenAPI schema: of one event. `data` is JSON, or "[DONE]" at the end of an OpenAI stream.
_EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
SSE: dict[str, Any] = {"text/event-stream": {"schema": _EVENT}}
BEAT_S = 10.0  # a comment now and then keeps what stands between from closing a silent connection


def event(name: str, data: Any) -> str:
    """One event. JSON holds no line end, so no text can end it early or begin another.

    >>> event("tokens", {"text": "a\\n\\nevent: done"})
    'event: tokens\\ndata: {"text": "a\\\\n\\\\nevent: done"}\\n\\n'
    """
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


class EventStream(Response):
    """Sends what `events` yields. `leave` is called when the client has left, and in any case at the end."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], leave: Callable[[], None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._leave = events, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await until_left(receive, self._send_all(send))
        except OSError:
            pass  # the connection broke while something was sent
        finally:
            self._leave()

    async def _send_all(self, send: Send) -> None:
        waiting: asyncio.Task[str] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(_next(self._events))
                done, _ = await asyncio.wait({waiting}, timeout=BEAT_S)
                text = ": still here\n\n"
                if done:
                    try:
                        text, waiting = waiting.result(), None
                    except StopAsyncIteration:
                        break
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        finally:
            if waiting is not None:
                waiting.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_left(receive: Receive, work: Awaitable[Any]) -> Any:
    """The result of `work`; it is cancelled, and None returned, when the client leaves first."""

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _next(events: AsyncIterator[str]) -> str:
    # a StopAsyncIteration raised in a task is fine; a StopIteration would not be
    return await anext(events)
