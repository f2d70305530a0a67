"""The server: a page to ask in, a REST API and an OpenAI-compatible API over one Rag.

    socket ── guard ──> app ──┬─ answers    /search, /ask
             key, Host,       ├─ openai     /v1/…
             Origin, size     ├─ documents  /documents/…    pages.py draws PDF pages in a guarded process
                              ├─ syncing    /sync
                              ├─ health     /health, /ready, /status, /metrics
                              └─ site       /, /page/…      the page: page/*.js, *.css

    run.py       the listening socket, uvicorn, a calm end on SIGTERM
    desk.py      what the routes share: the Rag, who may work when, the figures
    asking.py    one question on its way: a thread makes the answer, the event loop hands it on
    turns.py     who may work now, who waits, who is sent away
    stream.py    server-sent events that notice when the client has left
    spans.py     OpenTelemetry, where a collector is named
    problems.py  every failure as one JSON shape
    forms.py     what comes in and goes out, for the OpenAPI schema; schema.py adds the examples of examples.json

Nothing here is loaded before `rag serve` asks for it. Everything that takes long runs in a thread: the event loop only
passes messages, so /health answers while models work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from rag.build import Rag
    from rag.config import Serve


def make_app(rag: Rag, settings: Serve | None = None, key: str | None = None) -> FastAPI:
    """The ASGI application over `rag`. `settings` None: those of its config. `key`: what clients must send; None: they
    need none, which only a loopback address should be served with."""
    from rag.serve.app import build

    return build(rag, settings or rag.config.serve, key)


__all__ = ["make_app"]
