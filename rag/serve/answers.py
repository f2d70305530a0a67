"""/search and /ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response

from rag.answer import Event
from rag.serve.asking import Asking, stopped
from rag.serve.desk import Desk
from rag.serve.forms import AnswerOut, Found, ProblemOut, Question, Searching
from rag.serve.guard import address
from rag.serve.problems import Json, as_problem
from rag.serve.stream import SSE, EventStream, event, until_left
from rag.types import Answer, Message, passage_to_dict

BUSY: dict[int | str, dict[str, Any]] = {
    503: {
        "model": ProblemOut,
        "description": "Too many wait already, or the server is being stopped",
        "headers": {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}},
    },
    429: {
        "model": ProblemOut,
        "description": "Too many wait that this client asked, and others ask, too",
        "headers": {"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}},
    },
    502: {"model": ProblemOut, "description": "The language model failed"},
}
EVENTS = """Events in this order; each one's data is one line of JSON.

- `queued` {ahead}: the model is at work for others (only where it waits)
- `rewriting` {}: a model turns the follow-up into a question that stands alone (only with history and a model)
- `retrieving` {question}
- `passages` {passages}: what was found, best first
- `tokens` {text}: what is being written, unchecked: show it as provisional
- `citations` {text, short, statements, citations}: the checked answer
- `done` {answer}: all of it, as without `stream`
- `error` {type, message, hint}: instead of what would have followed
"""


def routes(app: FastAPI, desk: Desk) -> None:
    @app.post("/search", tags=["ask"], responses={200: {"model": Found}, **BUSY})
    async def search(form: Searching) -> Response:
        """The passages nearest to a query, best first, each with its score and place."""
        desk.check_open()
        settings = form.model_dump(exclude={"query", "filter", "top_k"})
        found = await desk.work(desk.rag.retrieve, form.query, form.top_k, form.filter, **settings)
        passages = [passage_to_dict(p) for p in found.passages]
        return Json({"query": form.query, "passages": passages, "timings": found.timings})

    @app.post(
        "/ask",
        tags=["ask"],
        responses={
            200: {"model": AnswerOut, "content": SSE, "description": EVENTS},
            **BUSY,
        },
    )
    async def ask(form: Question, request: Request) -> Response:
        """An answer from the documents with checked citations, or `abstained` with its reason.

        As server-sent events with `stream` true or `Accept: text/event-stream`. Closing the connection stops the model.
        """
        history = [Message(turn.role, turn.content) for turn in form.history]
        settings = form.model_dump(include={"top_k", "kind", "min_score"})
        asking = await Asking.begin(desk, address(request.scope), form.question, history, form.filter, **settings)
        if form.stream or "text/event-stream" in request.headers.get("accept", ""):
            return EventStream(told(asking, form.question), asking.leave)
        return Json((await whole(asking, request)).to_dict())


async def whole(asking: Asking, request: Request) -> Answer:
    """The answer; it is given up when the client leaves."""
    try:
        answer: Answer | None = await until_left(request.receive, asking.answer())
    finally:
        asking.leave()
    if answer is None:
        raise stopped()
    return answer


async def told(asking: Asking, question: str) -> AsyncIterator[str]:
    """An answer's events as /ask sends them."""
    try:
        async for each in asking.events():
            if not isinstance(each, Event):
                yield event("queued", {"ahead": each[1]})
                continue
            match each.kind, each.value:
                case "stage", "condense":
                    yield event("rewriting", {})
                case "stage", "retrieve":
                    yield event("retrieving", {"question": question})
                case "passages", passages:
                    yield event("passages", {"passages": [passage_to_dict(p) for p in passages]})
                case "text", text:
                    yield event("tokens", {"text": text})
                case "answer", answer:
                    body = answer.to_dict()
                    yield event("citations", {k: body[k] for k in ("text", "short", "statements", "citations")})
                    yield event("done", {"answer": body})
                    return
        yield event("error", stopped().body()["error"])
    except Exception as error:
        yield event("error", as_problem(error).body()["error"])
