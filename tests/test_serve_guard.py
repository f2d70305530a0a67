"""What stands before every route: each one that the application has, new ones included, is tried from outside."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_embed import open_rag
from serving import Served, served
from shell import METAL, write
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from rag.build import Rag
from rag.serve import make_app
from rag.serve.guard import HEADERS

KEY = "a-secret-of-some-length"
OPEN = {"/", "/page/{name}", "/health", "/ready"}  # whoever adds one must say so here too


@pytest.fixture(scope="module")
def rag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rag]:
    docs = write(tmp_path_factory.mktemp("papers"), metals_txt=METAL)
    with open_rag(docs, tmp_path_factory.mktemp("index"), answer__min_confidence=0) as rag:
        rag.sync()
        yield rag


@pytest.fixture(scope="module")
def locked(rag: Rag) -> Iterator[Served]:
    with served(rag, KEY) as server:
        server.app.mount("/mounted", Starlette(routes=[Route("/inner", lambda request: PlainTextResponse("in"))]))
        yield server


def doors(app: Any) -> list[tuple[str, str]]:
    """(method, path) of every route; what a mounted application has is told by a path of its own."""
    found = [("GET", "/nothing/here"), ("POST", "/"), ("GET", "/mounted/inner"), ("GET", "/mounted"), ("POST", "/mcp")]
    for route in app.routes:
        if isinstance(route, Mount):
            continue
        assert route.path, f"{route} has no path of its own: this matrix would pass it over"
        found += [(method, route.path) for method in sorted(route.methods or {"GET", "POST", "DELETE"})]
    return found


def send(server: Served, method: str, path: str, **headers: str) -> Any:
    request = server.client.build_request(method, path.replace("{name}", "app.js"))
    for name in ("authorization",):
        request.headers.pop(name, None)
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    return server.client.send(request)


def test_the_matrix_sees_the_routes(locked: Served) -> None:
    paths = {path for _, path in doors(locked.app)}
    assert {"/ask", "/search", "/sync", "/sync/events", "/health", "/metrics", "/openapi.json"} <= paths


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", KEY])
def test_no_route_opens_without_the_key(locked: Served, authorization: str | None) -> None:
    given = {} if authorization is None else {"Authorization": authorization}
    for method, path in doors(locked.app):
        response = send(locked, method, path, **given)
        if path in OPEN and method in ("GET", "HEAD"):
            assert response.status_code not in (401, 403, 421), path
        elif path not in OPEN:
            assert response.status_code == 401, (method, path)
            assert response.headers["WWW-Authenticate"] == "Bearer"
            if method != "HEAD":
                assert response.json()["error"]["type"] == "WrongKey"


def test_the_key_opens(locked: Served) -> None:
    assert locked.client.get("/status").status_code == 200
    assert locked.client.get("/mounted/inner").text == "in"
    assert send(locked, "GET", "/status", authorization=f"bearer {KEY}").status_code == 200


def test_head_is_get_without_its_body(locked: Served) -> None:
    for path in ("/", "/page/app.js", "/health", "/status", "/documents", "/openapi.json", "/nothing/here"):
        asked, bare = (send(locked, method, path, authorization=f"Bearer {KEY}") for method in ("GET", "HEAD"))
        assert bare.status_code == asked.status_code
        assert bare.content == b""
        assert bare.headers["content-length"] == asked.headers["content-length"]
        assert bare.headers["content-type"] == asked.headers["content-type"]


def test_what_is_not_there_is_named(locked: Served) -> None:
    error = locked.client.get("/nothing/here").json()["error"]
    assert (error["type"], error["message"]) == ("NotFound", "there is no /nothing/here")
    response = locked.client.get("/ask")
    assert response.json()["error"]["message"] == "/ask takes no GET"
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["type"] == "MethodNotAllowed"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.9",
             "localhost@evil.example", "[::1", "", "127.0.0.1:x", "localhost:8000:9"],
)  # fmt: skip
def test_no_route_answers_under_another_name(locked: Served, host: str) -> None:
    for method, path in doors(locked.app):
        response = send(locked, method, path, Host=host, Authorization=f"Bearer {KEY}")
        assert response.status_code in (421, 400), (method, path)  # 400: the server itself refuses what is no host


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.9:80", "[::1]:8000"])
def test_its_own_names_are_known(locked: Served, host: str) -> None:
    assert send(locked, "GET", "/health", Host=host).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    ],
    ids=str,
)
def test_no_route_answers_another_sites_page(locked: Served, headers: dict[str, str]) -> None:
    for method, path in doors(locked.app):
        response = send(locked, method, path, Authorization=f"Bearer {KEY}", **headers)
        assert response.status_code == 403, (method, path)


def test_its_own_page_and_a_link_to_it_are_let_in(locked: Served) -> None:
    own = locked.address
    assert send(locked, "GET", "/health", Origin=own, Sec_Fetch_Site="same-origin").status_code == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert send(locked, "GET", "/", **link).status_code != 403
    assert send(locked, "GET", "/health", **link).status_code == 403


def test_every_answer_carries_the_headers(locked: Served) -> None:
    for method, path in [*doors(locked.app), ("GET", "/status")]:
        for given in ({}, {"Authorization": f"Bearer {KEY}"}, {"Host": "evil.example"}):
            if path == "/sync/events" and "Authorization" in given:
                continue
            response = send(locked, method, path, **given)
            for name, value in HEADERS:
                assert response.headers[name.decode()] == value.decode(), (method, path)
            assert "cache-control" in response.headers
            assert "server" not in response.headers
            assert not any(h.startswith("access-control") for h in response.headers)


def test_a_named_host_is_let_in_where_it_is_named(rag: Rag) -> None:
    with served(rag, KEY, host="0.0.0.0", allowed_hosts=("rag.example",)) as server:
        assert send(server, "GET", "/health", Host="rag.example").status_code == 200
        assert send(server, "GET", "/health", Host="192.168.0.9:80").status_code == 200  # an address is nobody's name
        assert send(server, "GET", "/health", Host="evil.example").status_code == 421
        assert send(server, "GET", "/status", Host="rag.example").status_code == 401


# ---- sizes -------------------------------------------------------------------------------------------------------


def raw(server: Served, head: str, *bodies: bytes) -> bytes:
    """What comes back when just this is sent."""
    with socket.create_connection(server.address.removeprefix("http://").split(":")) as caller:
        caller.settimeout(10)
        caller.sendall(head.encode() + b"\r\n\r\n")
        try:
            for body in bodies:
                caller.sendall(body)
        except OSError:
            pass  # it may hang up on us
        got = b""
        try:
            while chunk := caller.recv(65536):
                got += chunk
                if b"\r\n\r\n" in got and b'"hint"' in got:
                    break
        except OSError:
            pass
        return got


HEAD = "POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"


def test_a_large_body_is_refused_by_what_it_promises(locked: Served, rag: Rag) -> None:
    with served(rag, max_body_kb=16) as server:
        assert b" 413 " in raw(server, f"{HEAD}\r\nContent-Length: 999999").partition(b"\r\n")[0]


def test_a_large_body_is_refused_by_what_arrives(rag: Rag) -> None:
    """Chunked, so that nothing is promised."""
    with served(rag, max_body_kb=16) as server:
        chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
        got = raw(server, f"{HEAD}\r\nTransfer-Encoding: chunked", chunk, chunk, chunk)
        assert b" 413 " in got.partition(b"\r\n")[0]
        assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["type"] == "TooLarge"
        small = json.dumps({"query": "copper"}).encode()
        fits = f"{HEAD}\r\nContent-Length: {len(small)}\r\nConnection: close".replace("/ask", "/search")
        assert b" 200 " in raw(server, fits, small).partition(b"\r\n")[0]


@pytest.mark.parametrize("path", ["/page/../status", "/page/%2e%2e/status", "//status", "/page/..%2fstatus", "/page/"])
def test_no_way_of_writing_a_path_gets_round_the_key(locked: Served, path: str) -> None:
    got = raw(locked, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close")
    assert got.partition(b"\r\n")[0].split()[1] in (b"401", b"404")
    assert b"embedding" not in got


def test_two_hosts_are_none(locked: Served) -> None:
    got = raw(locked, "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close")
    assert got.partition(b"\r\n")[0].split()[1] in (b"400", b"421")


# ---- nothing leaks -----------------------------------------------------------------------------------------------


def test_a_bug_says_where_and_not_what(
    make_rag: Callable[..., Rag], docs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(docs, metals_txt=METAL)
    rag = make_rag(answer__min_confidence=0)
    rag.sync()

    def stumble(*_: Any, **__: Any) -> None:
        raise RuntimeError("the document's secret words")

    def places() -> int:
        return len([r for r in caplog.records if r.getMessage().startswith("RuntimeError at ")])

    with served(rag) as server, caplog.at_level("DEBUG"):
        for name in ("retrieve", "stream", "sync"):
            monkeypatch.setattr(rag, name, stumble)
        response = server.client.post("/search", json={"query": "the question's secret words"})
        assert (response.status_code, response.json()["error"]["type"], places()) == (500, "Bug", 1)
        told = server.events("/ask", {"question": "the question's secret words", "stream": True})
        assert (told[-1][0], told[-1][1]["type"], places()) == ("error", "Bug", 2)
        server.client.post("/sync")
        while (state := server.client.get("/sync").json())["state"] == "running":
            pass
        assert (state["state"], state["error"]["type"], places()) == ("failed", "Bug", 3)
    assert "secret" not in response.text + str(told) + caplog.text
    assert "stumble" in caplog.text


def test_nothing_asked_or_answered_is_logged(rag: Rag, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), served(rag) as server:
        server.client.post("/ask", json={"question": "At what temperature does copper melt?"})
        server.client.post("/search", json={"query": "copper"})
        server.client.post("/ask", json={"question": "copper", "filter": "copper"})
        server.client.get("/documents/copper")
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("http")]  # ours, not the client's
    assert "opper" not in "\n".join(ours)


def test_an_app_can_be_made_without_a_server(rag: Rag) -> None:
    app = make_app(rag, key=KEY)
    assert app.openapi()["info"]["title"] == "rag"
