"""The application: every route, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from rag import __version__
from rag.build import Rag
from rag.config import Serve
from rag.errors import RagError
from rag.serve import answers, documents, health, openai, site, sync_routes
from rag.serve.desk import Desk
from rag.serve.forms import ProblemOut
from rag.serve.guard import Guard
from rag.serve.mcp.http import McpApp
from rag.serve.mcp.preparing import ServedSync
from rag.serve.mcp.tools import AT_ONCE, Library
from rag.serve.problems import Problem, answer
from rag.serve.schema import show_examples

ABOUT = """Answers from a folder of documents, with checked citations.

Every failure is `{"error": {"type", "message", "hint"}}`. Where a key is set, all but `/`, `/page/…`, `/health`
and `/ready` needs `Authorization: Bearer KEY`.
"""
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemOut, "description": "What was sent can't be read"},
    401: {"model": ProblemOut, "description": "The key is missing or wrong"},
    403: {"model": ProblemOut, "description": "Another site's page asks"},
    409: {"model": ProblemOut, "description": "There is no index yet, or another process writes it"},
    413: {"model": ProblemOut, "description": "The request is too large"},
    421: {"model": ProblemOut, "description": "The Host isn't this server"},
    422: {"model": ProblemOut, "description": "What was sent can't be worked with"},
    503: {"model": ProblemOut, "description": "The server can't answer now"},
}


def build(rag: Rag, settings: Serve, key: str | None) -> FastAPI:
    desk = Desk(rag, settings)

    asks = desk.questions.most + AT_ONCE  # those that are sent away need a thread for a moment, too
    preparing = ServedSync(rag, desk.syncing)
    library = Library(rag, turn=desk.turn, preparing=preparing, most_asks=asks, at_work=desk.calls)
    mcp = McpApp(library, hosts=None)  # the guard before it checks Host and Origin

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await desk.begin(app.state.sync_first)
        try:
            async with mcp.running():
                yield
        finally:
            await desk.end()

    app = FastAPI(
        title="rag",
        version=__version__,
        description=ABOUT,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=REFUSALS,
    )
    app.state.desk, app.state.sync_first = desk, False
    for kind in (Problem, RagError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)
    for module in (answers, openai, documents, sync_routes, health):
        module.routes(app, desk)
    site.routes(app)
    show_examples(app)
    app.router.routes.append(Route("/mcp", endpoint=mcp, include_in_schema=False))
    app.add_middleware(Guard, settings=settings, key=key, seen=desk.metrics.seen, check_room=desk.questions.check)
    return app
