"""The page: plain files, read once, found by name in a table. A name that isn't in it can't become a path."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Response

from rag.serve.problems import Problem

FOLDER = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def routes(app: FastAPI) -> None:
    files = {f.name: (f.read_bytes(), TYPES[f.suffix]) for f in FOLDER.iterdir() if f.suffix in TYPES}

    def file(name: str) -> Response:
        if name not in files:
            raise Problem(404, "NotFound", f"there is no {name[:100]!r} on the page", "it begins at /")
        body, kind = files[name]
        return Response(body, headers={"Content-Type": f"{kind}; charset=utf-8", "Cache-Control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return file("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return file(name)
