"""The OpenAPI schema: true media types, and an example of each request and answer, as the server gave them over the
sample folder.

examples.json is made by tests/test_serve_examples.py, which also holds each against its schema and against what the
server answers now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from rag.serve.guard import OPEN

EXAMPLES = Path(__file__).parent / "examples.json"


def show_examples(app: FastAPI) -> None:
    """Let `app.openapi()` hold them, and where a key may be asked for."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            add_examples(plain(), json.loads(EXAMPLES.read_text(encoding="utf-8")))
            add_key(plain())
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]


def add_key(schema: dict[str, Any]) -> None:
    """Every route takes `Authorization: Bearer KEY`; {}: without one where the server has none, and at OPEN."""
    told = {"type": "http", "scheme": "bearer", "description": "Where a key is set (serve.api_key_file, RAG_API_KEY)"}
    schema["components"]["securitySchemes"] = {"key": told}
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            operation["security"] = [{}] if path in OPEN else [{"key": []}, {}]


def add_examples(schema: dict[str, Any], examples: dict[str, Any]) -> None:
    """`examples`: {"POST /ask": {"request": {"body", "query", "path"}, "answers": {status: {media type: example}}}},
    and "failures": {status: body}, which stand wherever a route has none of its own."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            told = examples.get(f"{method.upper()} {path}", {"request": {}, "answers": {}})
            asked = told["request"]
            for media in operation.get("requestBody", {}).get("content", {}).values():
                if "body" in asked:
                    media["example"] = asked["body"]
            for parameter in operation.get("parameters", []):
                value = asked.get(parameter["in"], {}).get(parameter["name"])
                if value is not None:
                    parameter["example"] = value
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if content.get("application/json") == {"schema": {}}:  # FastAPI's guess where we named another type
                    del content["application/json"]
                for kind, media in content.items():
                    example = told["answers"].get(status, {}).get(kind)
                    if example is None and kind == "application/json":
                        example = examples["failures"].get(status)
                    if example is not None:
                        media["example"] = example
