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

logger = logging.getLogger("rag.serve")
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
            kind = {404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge"}.get(error.status_code, "BadRequest")
            hint = "says what is expected" if kind == "BadRequest" else "lists what there is"
            return Problem(error.status_code, kind, str(error.detail), f"/openapi.json {hint}", error.headers)
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part)[:60] for part in first["loc"])
            return Problem(422, "Invalid", f"{where}: {first['msg']}"[:500], "/openapi.json says what is expected")
        case _:
            logger.error("%s", errors.places(error))
            return Problem(500, "Bug", "something went wrong inside", "the server's log names the place in the code")


async def answer(request: Request, error: Exception) -> Response:
    """For FastAPI's exception handlers."""
    return as_problem(error).response()
