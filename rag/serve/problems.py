"""Every failure as one JSON shape: {"error": {"type", "message", "hint"}}, which OpenAI's clients read too."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from rag import errors
from rag.agents import wrong

logger = logging.getLogger("rag.serve")
TOLD = 4  # of the things that are wrong with a request
# The first class of an error's family that stands here says its status.
STATUS: dict[type[errors.RagError], int] = {
    errors.QueryError: 422,
    errors.ContextOverflow: 422,
    errors.GenerationError: 502,
    errors.IndexLocked: 409,
    errors.IndexMismatch: 409,
    errors.IndexMissing: 409,
    errors.FolderError: 409,
    errors.DocumentError: 422,
    errors.StoreError: 503,
    errors.ModelError: 503,
    errors.RagError: 500,
}


class Json(Response):
    """JSON in UTF-8; a lone surrogate, which a file's name or a client may hold, becomes a question mark."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class Problem(Exception):
    """A refusal with its status. `kind` is a word for programs."""

    def __init__(
        self, status: int, kind: str, message: str, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.hint = status, kind, message, hint
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        return {"error": {"type": self.kind, "message": self.message, "hint": self.hint}}

    def response(self) -> Response:
        return Json(self.body(), self.status, self.headers)


def as_problem(error: Exception) -> Problem:
    """What an exception means to a client. One that isn't expected says nothing of itself: its words may be a
    document's. The log names its place."""
    match error:
        case Problem():
            return error
        case errors.RagError():
            status = next(STATUS[c] for c in type(error).__mro__ if c in STATUS)
            return Problem(status, type(error).__name__, error.message, error.hint)
        case HTTPException():
            kind = "TooLarge" if error.status_code == 413 else "BadRequest"
            hint = "/openapi.json says what is expected"
            return Problem(error.status_code, kind, str(error.detail), hint, error.headers)
        case RequestValidationError():
            return _unfit(error)
        case _:
            logger.error("%s", errors.places(error))
            return Problem(500, "Bug", "something went wrong inside", "the server's log names the place in the code")


def _unfit(error: RequestValidationError) -> Problem:
    """A request that isn't as its form says."""
    hint, found = "/openapi.json says what is expected", error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        at, why = first["loc"][-1], first["ctx"]["error"]
        return Problem(400, "BadRequest", f"body: no JSON at character {at}: {why}", hint)
    if isinstance(error.body, bytes):  # it was never looked at
        return Problem(400, "BadRequest", "body: it isn't sent as JSON", "send Content-Type: application/json")
    # More than one, as where a text or a mapping is taken each is told apart.
    told = [wrong(each, ".".join(str(part)[:60] for part in each["loc"])) for each in found[:TOLD]]
    return Problem(422, "Invalid", "; ".join(told)[:500], hint)


async def answer(request: Request, error: Exception) -> Response:
    """For FastAPI's exception handlers."""
    path, hint = request.url.path[:100], "/openapi.json lists what there is"
    match error:
        case HTTPException(status_code=404):  # the router's, which names neither path nor method
            error = Problem(404, "NotFound", f"there is no {path}", hint)
        case HTTPException(status_code=405):
            told = f"{path} takes no {request.method[:20]}"
            error = Problem(405, "MethodNotAllowed", told, hint, error.headers)
    return as_problem(error).response()
