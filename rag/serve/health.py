"""/health, /ready, /status and /metrics."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from rag.errors import RagError
from rag.serve.desk import Desk
from rag.serve.forms import Health, Overview, Ready
from rag.serve.metrics import TYPE
from rag.serve.problems import Json

PLAIN = {"text/plain": {"schema": {"type": "string"}}}


def routes(app: FastAPI, desk: Desk) -> None:
    @app.get("/health", tags=["server"], responses={200: {"model": Health}})
    async def health() -> Response:
        """The process answers. Needs no key."""
        return Json({"status": "ok"})

    @app.get("/ready", tags=["server"], responses={200: {"model": Ready}, 503: {"model": Ready}})
    async def ready() -> Response:
        """Whether questions can be answered now: there is an index and the models are loaded. Needs no key. "failed":
        they can't be; the server's log and each question say why."""
        reason = None
        if desk.draining.is_set():
            reason = "stopping"
        elif not desk.warm.is_set():
            if desk.syncing.running:
                reason = "syncing"
            elif not await desk.read(desk.generation):
                reason = "no index"
            else:
                reason = "failed" if desk.trouble else "loading"
            desk.keep_warming()
        return Json({"ready": reason is None, "reason": reason}, 503 if reason else 200)

    @app.get("/status", tags=["server"], responses={200: {"model": Overview}})
    async def status() -> Response:
        """What the index holds, and what it was made with."""
        return Json(await desk.read(overview, desk))

    @app.get(
        "/metrics",
        tags=["server"],
        responses={200: {"content": PLAIN, "description": "Prometheus"}},
    )
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(await desk.read(desk.metrics.text), headers={"content-type": TYPE})


def overview(desk: Desk) -> dict[str, Any]:
    rag = desk.rag
    try:
        body = rag.status()
    except RagError:  # never synced: what is there is nothing
        body = {"generation": 0, "files": 0, "chunks": 0, "characters": 0, "outcomes": {}, "warnings": {}}
        body |= {"embedding": None, "splitting": None}
    return {
        "name": desk.name,
        "generator": rag.generator_name,
        **{k: body[k] for k in Overview.model_fields if k in body},
        "rewrites": rag.has_language_model,
        "changes": desk.settings.changes,
        "syncing": desk.syncing.running,
        "min_confidence": rag.config.answer.min_confidence,
    }
