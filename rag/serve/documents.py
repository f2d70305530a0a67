"""/documents: the files, their text, PDF pages as pictures, uploads and deletions."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, File, Query, Response, UploadFile

from rag.errors import QueryError
from rag.serve.desk import Desk
from rag.serve.folder import delete, store
from rag.serve.forms import Files, PageOut, ProblemOut, Stored, TextOut
from rag.serve.pages import Drawn
from rag.serve.problems import Json, Problem
from rag.types import Source, Span

WINDOW = 100_000  # characters of a text that one request gets

MISSING: dict[int | str, dict[str, Any]] = {404: {"model": ProblemOut, "description": "There is no such file"}}
PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": PNG, "description": "PNG"}, **MISSING}
CHANGES: dict[int | str, dict[str, Any]] = {
    403: {"model": ProblemOut, "description": "serve.changes is off, or another site's page asks"},
    **MISSING,
}
UPLOADS: dict[int | str, dict[str, Any]] = {
    201: {"model": Stored},
    **CHANGES,
    415: {"model": ProblemOut, "description": "No loader for this format"},
    507: {"model": ProblemOut, "description": "It can't be written"},
}

Name = Annotated[
    str, Query(min_length=1, max_length=4000, examples=["text/similarity.md"], description="As in the list")
]
Offset = Annotated[int | None, Query(ge=0, description="Characters, as in a citation")]
PageNumber = Annotated[
    int | None, Query(ge=1, le=1_000_000, description="From 1; default: the one where the span begins")
]


def routes(app: FastAPI, desk: Desk) -> None:
    drawing = desk.drawing

    @app.get("/documents", tags=["documents"], responses={200: {"model": Files}})
    async def files() -> Response:
        """The files of the last sync, each with its outcome, reason and what is held of it."""
        return Json({"files": await desk.read(lambda: [asdict(f) for f in desk.rag.files()])})

    @app.get("/documents/text", tags=["documents"], responses={200: {"model": TextOut}, **MISSING})
    async def text(path: Name, start: Offset = None, end: Offset = None) -> Response:
        """A file's text as it was read, with the places of its pages and headings; at most 100,000 characters from
        `start`. Offsets are those of citations and passages."""
        return Json(await desk.read(_text, desk, path, start or 0, end))

    @app.get("/documents/page", tags=["documents"], responses={200: {"model": PageOut}, **MISSING})
    async def page(path: Name, page: PageNumber = None, start: Offset = None, end: Offset = None) -> Response:
        """Where the words from `start` to `end` stand on a PDF page, as boxes in fractions of it. `found` false: they
        can't be found there, and nothing is marked."""
        drawn = await _draw(path, page, _span(start, end), 0, False)
        return Json(drawn.to_dict())

    @app.get("/documents/page.png", tags=["documents"], responses=PICTURE)
    async def picture(
        path: Name,
        page: PageNumber = None,
        start: Offset = None,
        end: Offset = None,
        width: Annotated[int, Query(ge=50, le=2400, description="Pixels; less where the page is very tall")] = 1000,
    ) -> Response:
        """A PDF page as a picture, with the words from `start` to `end` marked where they can be found."""
        drawn = await _draw(path, page, _span(start, end), width, True)
        return Response(drawn.png, media_type="image/png")

    @app.post("/documents", tags=["documents"], status_code=201, responses=UPLOADS)
    async def upload(
        files: Annotated[list[UploadFile], File(description="One or more files; their names are kept")],
        replace: Annotated[bool, Query(description="Replace files of the same names")] = False,
    ) -> Response:
        """Put files into the document folder; a sync follows by itself. All are stored, or none."""
        _may_change()
        given = [(file.filename or "", file.file) for file in files]
        stored = await desk.read(store, desk.rag, given, replace)
        desk.syncing.request()
        return Json({"stored": stored}, 201)

    @app.delete("/documents", tags=["documents"], status_code=204, responses=CHANGES)
    async def remove(path: Name) -> Response:
        """Delete a file from the document folder; the sync that follows takes it out of the index."""
        _may_change()
        await desk.read(delete, desk.rag, path)
        desk.syncing.request(allow_empty=True)
        return Response(status_code=204)

    def _may_change() -> None:
        desk.check_open()
        if not desk.settings.changes:
            raise Problem(403, "ReadOnly", "this server changes no files", "serve.changes allows it")

    async def _draw(path: str, page: int | None, span: Span | None, width: int, mark: bool) -> Drawn:
        await desk.read(_source, desk, path)
        with desk.drawings.through():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(drawing.thread, drawing.draw, path, page, span, width, mark)


def _span(start: int | None, end: int | None) -> Span | None:
    if start is None and end is None:
        return None
    if start is None or end is None or end <= start:
        raise Problem(422, "Invalid", "a span needs start and end, end behind start", "as a citation has them")
    return Span(start, end)


def _source(desk: Desk, path: str) -> Source:
    """Raises Problem 404 unless the index holds the text of a file of just this path."""
    try:
        source = desk.rag.source(path)
    except QueryError as error:
        raise Problem(404, "NotFound", error.message[:500], error.hint) from None
    if source.path != path:
        raise Problem(404, "NotFound", f"no file {path[:200]} in the index", f"did you mean {source.path}?")
    return source


def _text(desk: Desk, path: str, start: int, end: int | None) -> dict[str, Any]:
    source = _source(desk, path)
    if start > len(source.text):
        raise QueryError(f"{path} has {len(source.text)} characters, asked for {start}", "start lower")
    end = min(end if end is not None else len(source.text), start + WINDOW, len(source.text))
    window = Span(start, max(start, end))
    return {
        "path": source.path,
        "kind": source.kind,
        "title": source.title,
        "characters": len(source.text),
        "start": window.start,
        "end": window.end,
        "line": source.line_at(window.start),
        "text": window.cut(source.text),
        "pages": [{"page": n, "start": s.start, "end": s.end} for n, s in enumerate(source.page_spans, 1)],
        "headings": [{"start": h.start, "level": h.level, "title": h.title} for h in source.headings],
        "times": [{"start": c.start, "seconds": c.seconds} for c in source.times],
        "warnings": list(source.warnings),
    }
