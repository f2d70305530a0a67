"""/sync: start, follow and stop the folder's sync."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Response

from rag.serve.desk import Desk
from rag.serve.forms import ProblemOut, SyncOptions, SyncOut
from rag.serve.problems import Json
from rag.serve.stream import SSE, EventStream, event

CONFLICT: dict[int | str, dict[str, Any]] = {409: {"model": ProblemOut, "description": "One is running, or none"}}


def routes(app: FastAPI, desk: Desk) -> None:
    @app.post("/sync", tags=["sync"], status_code=202, responses={202: {"model": SyncOut}, **CONFLICT})
    async def start(form: SyncOptions | None = None) -> Response:
        """Make the index equal to the folder: only what changed is read. Searching goes on meanwhile."""
        desk.check_open()
        return Json(desk.syncing.start(**(form or SyncOptions()).model_dump()), 202)

    @app.get("/sync", tags=["sync"], responses={200: {"model": SyncOut}})
    async def state() -> Response:
        """How far the sync is, or how the last one ended. `not_indexed` lists each file that isn't, with its reason."""
        return Json(desk.syncing.state())

    @app.post("/sync/stop", tags=["sync"], status_code=202, responses={202: {"model": SyncOut}, **CONFLICT})
    async def stop() -> Response:
        """Stop it. What was done until then is published, the next sync goes on from there."""
        return Json(desk.syncing.stop(), 202)

    @app.get("/sync/events", tags=["sync"], responses={200: {"content": SSE, "description": "Events"}})
    async def events() -> Response:
        """Server-sent events until the sync has ended: `state` as of now, then `scan`, `file`, `progress`, `publish`,
        and `end` with the state as GET /sync gives it."""
        return EventStream(_told(desk), lambda: None)


async def _told(desk: Desk) -> AsyncIterator[str]:
    async for name, data in desk.syncing.events():
        yield event(name, data)
