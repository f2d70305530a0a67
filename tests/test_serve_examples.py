"""The examples in the OpenAPI schema are what the server answers over the sample folder.

`RAG_WRITE_DOCS=1 python -m pytest tests/test_serve_examples.py` makes them anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from serving import Served, served

from rag.build import Rag
from rag.errors import GenerationError
from rag.serve import make_app
from rag.serve.schema import EXAMPLES

ROOT = Path(__file__).parents[1]
QUESTION = "What does cosine similarity measure?"
JSON, EVENTS = "application/json", "text/event-stream"
WITHOUT = {("GET /documents/page.png", "image/png")}  # a picture is none in JSON
KEY = "a-secret-of-some-length"


def requests(pdf: str) -> dict[str, dict[str, Any]]:
    """What is sent, in this order; `stream` is sent a second time as a stream."""
    said = [{"role": "user", "content": QUESTION}]
    return {
        "POST /search": {"body": {"query": QUESTION, "top_k": 2, "filter": "type=md"}},
        "POST /ask": {"body": {"question": QUESTION, "top_k": 2, "history": []}, "stream": True},
        "GET /v1/models": {},
        "GET /v1/models/{name}": {"path": {"name": "documents"}},
        "POST /v1/chat/completions": {"body": {"model": "documents", "messages": said, "top_k": 2}, "stream": True},
        "POST /v1/embeddings": {
            "body": {"model": "all-MiniLM-L6-v2", "input": ["a heron", "an iron nail"], "encoding_format": "base64"}
        },
        "GET /documents": {},
        "GET /documents/text": {"query": {"path": "text/similarity.md", "start": 0, "end": 200}},
        "GET /documents/page": {"query": {"path": pdf, "page": 1, "start": 0, "end": 20}},
        "GET /documents/page.png": {"query": {"path": pdf, "page": 1, "start": 0, "end": 20, "width": 600}},
        "POST /documents": {"query": {"replace": False}, "files": {"notes.md": b"# Notes\n\nHerons are grey.\n"}},
        "GET /sync/events": {},
        "GET /sync": {},
        "POST /sync": {"body": {"reindex": False, "rebuild": False, "allow_empty": False}},
        "DELETE /documents": {"query": {"path": "notes.md"}},
        "GET /health": {},
        "GET /ready": {},
        "GET /status": {},
        "GET /metrics": {},
    }


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the server answers now, in the form of examples.json."""
    folder = tmp_path_factory.mktemp("home") / "documents"
    shutil.copytree(ROOT / "data/documents", folder)
    index = tmp_path_factory.mktemp("index")
    with Rag.open(ROOT / "config.yaml", docs=folder, store__path=index, embed__threads=1) as rag:
        rag.sync()
        with served(rag) as server:
            cold = server.client.get("/ready")
            settled(server)
            got: dict[str, Any] = {}
            pdf = next(f.path for f in rag.files() if f.path.endswith(".pdf") and f.chunks)
            for name, request in requests(pdf).items():
                got[name] = asked(server, name, request)
                if name in ("POST /documents", "POST /sync", "DELETE /documents"):
                    if name == "POST /sync":
                        got["POST /sync/stop"] = asked(server, "POST /sync/stop", {})
                    settled(server)
            got["GET /ready"]["answers"]["503"] = {JSON: cold.json()}
            got["failures"] = failures(server, rag)
        with served(rag, KEY) as server:
            got["failures"]["401"] = server.client.get("/status", headers={"Authorization": "Bearer x"}).json()
        yield got


def settled(server: Served) -> None:
    """No sync runs and the models are loaded."""
    server.events("/sync/events")
    while server.client.get("/ready").status_code != 200:
        server.desk.warm_up()


def asked(server: Served, name: str, request: dict[str, Any]) -> dict[str, Any]:
    method, path = name.split()
    path = path.format(**request.get("path", {}))
    parts = [("files", (n, data)) for n, data in request.get("files", {}).items()]
    answers: dict[str, dict[str, Any]] = {}
    body = request.get("body")
    for each in [body, {**body, "stream": True}] if request.get("stream") else [body]:
        more: dict[str, Any] = {"files": parts} if parts else {} if each is None else {"json": each}
        response = server.client.request(method, path, params=request.get("query"), **more)
        assert response.is_success, (name, response.text)
        kind = response.headers.get("content-type", "").partition(";")[0]
        if kind == JSON:
            shown: Any = response.json()
        elif kind == EVENTS:
            shown = one_event(response.text)
        else:
            shown = "\n".join(response.text.splitlines()[:6]) + "\n" if kind.startswith("text/") else None
        if kind and shown is not None:
            answers.setdefault(str(response.status_code), {})[kind] = shown
    told = {k: v for k, v in request.items() if k in ("body", "query", "path")}
    if parts:
        told["body"] = {"files": [data.decode() for data in request["files"].values()]}
    return {"request": told, "answers": answers}


def one_event(text: str) -> dict[str, str]:
    """The first event of a stream as an object, as the schema has it."""
    lines = text.partition("\n\n")[0].splitlines()
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def failures(server: Served, rag: Rag) -> dict[str, Any]:
    client, ask = server.client, {"question": QUESTION}

    def stumble(*_: Any, **__: Any) -> Any:
        raise GenerationError("the server at http://localhost:11434/v1 can't be reached", "is it running?")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    upload = [("files", ("notes2.md", b"x"))]
    got = {
        400: client.post("/search", content=b"\xff", headers={"Content-Type": JSON}),
        403: client.get("/status", headers={"Origin": "http://evil.example"}),
        404: client.get("/documents/text", params={"path": "text/nothing.md"}),
        409: client.post("/sync/stop"),
        413: client.post("/search", content=b" " * 2**20 + b"  "),
        415: client.post("/documents", files=[("files", ("tool.exe", b"x"))]),
        421: client.get("/status", headers={"Host": "evil.example"}),
        422: client.post("/ask", json={"question": " "}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rag, "stream", stumble)
        got[502] = client.post("/ask", json=ask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", full)
        got[507] = client.post("/documents", files=upload)
    held = [server.desk.questions.enter() for _ in range(server.desk.questions.most)]
    got[503] = client.post("/ask", json=ask)
    for began in held:
        server.desk.questions.leave(began)
    door = server.desk.questions
    held = [door.enter("127.0.0.1") for _ in range(door.most // 2)]
    door.check("10.0.0.9")  # somebody else asks
    got[429] = client.post("/ask", json=ask)
    for began in held:
        door.leave(began, "127.0.0.1")
    assert {status: r.status_code for status, r in got.items()} == {status: status for status in got}
    return {str(status): got[status].json() for status in sorted(got)}


def shape(value: Any) -> Any:
    """Fields and types without the values; what a list holds, once.

    >>> shape({"a": [1, 2.5, None], "b": "x"})
    {'a': ["'number'", 'None'], 'b': 'text'}
    """
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted({repr(shape(v)) for v in value})
    if isinstance(value, bool) or value is None:
        return value if value is None else "truth"
    return "number" if isinstance(value, int | float) else "text"


def test_the_examples_are_what_the_server_answers_now(answered: dict[str, Any]) -> None:
    if os.environ.get("RAG_WRITE_DOCS"):
        EXAMPLES.write_text(json.dumps(answered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    kept = json.loads(EXAMPLES.read_text(encoding="utf-8"))
    assert kept.keys() == answered.keys()
    for name, now in answered.items():
        assert shape(kept[name]) == shape(now), f"{name}: RAG_WRITE_DOCS=1 makes rag/serve/examples.json anew"


def test_every_request_and_answer_has_an_example_that_its_schema_allows() -> None:
    schema = make_app(Rag.open()).openapi()
    seen = 0
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            media = [(name, kind, m) for kind, m in operation.get("requestBody", {}).get("content", {}).items()]
            for response in operation["responses"].values():
                media += [(name, kind, m) for kind, m in response.get("content", {}).items()]
            for _, kind, each in media:
                assert each["schema"], (name, kind)
                if (name, kind) in WITHOUT:
                    continue
                assert "example" in each, (name, kind)
                jsonschema.validate(each["example"], {**each["schema"], "components": schema["components"]})
                seen += 1
            for parameter in operation.get("parameters", []):
                if parameter.get("required"):
                    assert "example" in parameter, (name, parameter["name"])
    assert seen > 150
