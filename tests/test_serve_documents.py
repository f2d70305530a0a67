"""Documents through the server: their text, their pages drawn, uploads, deletions, and hostile names and contents."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes_embed import open_rag
from fakes_media import drawn, encoded
from hostile import PAYLOADS
from pypdf import PdfWriter
from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfgen.canvas import Canvas
from serving import Served, served
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.serve.drawing import folded, match, png

COPPER = "At what temperature does copper melt?"


def pdf(file: Path, *pages: list[str], size: Any = A4, turn: int = 0) -> Path:
    canvas = Canvas(str(file), pagesize=size)
    for lines in pages:
        for number, line in enumerate(lines):
            canvas.drawString(72, 700 - 20 * number if size == A4 else 400 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    if turn:
        writer = PdfWriter(file)
        writer.pages[0].rotate(turn)
        writer.write(file)
    return file


HANDBOOK = (
    ["The heron stands in the river.", "It waits for fish, often for many hours, and then it", "strikes at once."],
    ["Copper melts at 1085 degrees Celsius.", "Nothing else is said here.", "Copper melts at 1085 degrees Celsius."],
)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("papers"), birds_md=RIVER, metals_txt=METAL, nothing_txt="")
    pdf(folder / "handbook.pdf", *HANDBOOK)
    pdf(folder / "turned.pdf", HANDBOOK[0], turn=90)
    pdf(folder / "wide.pdf", HANDBOOK[0], size=landscape(A4))
    pdf(folder / "tall.pdf", ["A very long page."], size=(100, 14_000))
    return folder


@pytest.fixture(scope="module")
def rag(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rag]:
    with open_rag(docs, tmp_path_factory.mktemp("index"), answer__min_confidence=0) as rag:
        rag.sync()
        yield rag


@pytest.fixture(scope="module")
def server(rag: Rag) -> Iterator[Served]:
    with served(rag) as server:
        yield server


# ---- reading -----------------------------------------------------------------------------------------------------


def test_the_files_are_those_of_the_last_sync(server: Served, rag: Rag) -> None:
    files = server.client.get("/documents").json()["files"]
    assert [f["path"] for f in files] == [f.path for f in rag.files()]
    assert {f["outcome"] for f in files} == {"indexed", "empty"}


def test_a_texts_offsets_are_the_citations(server: Served, rag: Rag) -> None:
    citation = server.client.post("/ask", json={"question": COPPER}).json()["citations"][0]
    span = {"start": citation["start"], "end": citation["end"]}
    body = server.client.get("/documents/text", params={"path": citation["source"], **span}).json()
    assert body["text"] == citation["quote"]
    assert body["line"] == citation["line"]
    whole = server.client.get("/documents/text", params={"path": "birds.md"}).json()
    assert whole["text"] == rag.source("birds.md").text
    assert whole["headings"][1] == {"start": whole["text"].index("## Food"), "level": 2, "title": "Food"}
    pages = server.client.get("/documents/text", params={"path": "handbook.pdf"}).json()["pages"]
    assert [p["page"] for p in pages] == [1, 2]
    assert pages[0]["end"] == pages[1]["start"]


@pytest.mark.parametrize(
    "path", ["../metals.txt", "/etc/passwd", "sub/metals.txt", "nothing.txt", "METALS.TXT", "\u202e", "%2e%2e/"]
)
def test_only_files_of_the_index_are_shown(server: Served, path: str) -> None:
    for route in ("/documents/text", "/documents/page", "/documents/page.png"):
        response = server.client.get(route, params={"path": path})
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "NotFound"


# ---- pages -------------------------------------------------------------------------------------------------------


def pixels(data: bytes) -> Any:
    """(rows, columns, 3) of a PNG as `png` writes it."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    columns, rows = struct.unpack(">II", data[16:24])
    packed = b"".join(m for m in [data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8]])
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(rows, columns * 3 + 1)
    return np.cumsum(lines[:, 1:], axis=0, dtype=np.uint8).reshape(rows, columns, 3)


def test_a_png_is_one() -> None:
    from PIL import Image

    shades = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(shades)))), shades)
    assert np.array_equal(pixels(png(shades)), shades)


def span_of(rag: Rag, path: str, words: str, last: bool = False) -> dict[str, int]:
    text = rag.source(path).text
    start = text.rindex(words) if last else text.index(words)
    return {"start": start, "end": start + len(words)}


@pytest.mark.parametrize("path", ["handbook.pdf", "turned.pdf", "wide.pdf"])
def test_the_words_are_marked_where_they_stand(server: Served, rag: Rag, path: str) -> None:
    """Inside the boxes lies ink, and the rest of that line's words lie outside."""
    span = span_of(rag, path, "often for many hours, and then it strikes at once.")
    told = server.client.get("/documents/page", params={"path": path, **span}).json()
    assert told["found"]
    assert len(told["boxes"]) == 2  # it runs over two lines
    drawn = server.client.get("/documents/page.png", params={"path": path, **span, "width": 1200})
    assert drawn.headers["content-type"] == "image/png"
    shown = pixels(drawn.content)
    rows, columns, _ = shown.shape
    marked = np.zeros((rows, columns), bool)
    for left, top, width, height in told["boxes"]:
        ys, xs = (int(top * rows), int((top + height) * rows)), (int(left * columns), int((left + width) * columns))
        inside = shown[slice(*ys), slice(*xs)]
        assert (inside.min(axis=2) < 100).mean() > 0.03  # letters
        assert (inside[:, :, 2] < 150).mean() > 0.9  # and the marker's yellow everywhere
        marked[ys[0] - 1 : ys[1] + 2, xs[0] - 1 : xs[1] + 2] = True
    plain = pixels(server.client.get("/documents/page.png", params={"path": path, "width": 1200}).content)
    assert np.array_equal(shown[~marked], plain[~marked])


def test_of_two_places_the_right_one_is_marked(server: Served, rag: Rag) -> None:
    words = "Copper melts at 1085 degrees Celsius."
    spans = [span_of(rag, "handbook.pdf", words, last) for last in (False, True)]
    first, second = (server.client.get("/documents/page", params={"path": "handbook.pdf", **s}).json() for s in spans)
    assert first["page"] == second["page"] == 2
    assert first["boxes"][0][1] < second["boxes"][0][1]


def test_what_cannot_be_found_is_said_and_not_marked(server: Served, rag: Rag) -> None:
    """A span of page 1, looked for on page 2."""
    span = span_of(rag, "handbook.pdf", "The heron stands in the river.")
    told = server.client.get("/documents/page", params={"path": "handbook.pdf", "page": 2, **span}).json()
    assert (told["found"], told["boxes"]) == (False, [])
    assert "nothing is marked" in told["note"]


def test_columns_in_another_order_are_matched_in_pieces() -> None:
    page = folded("left column one left column two RIGHT COLUMN ONE right column two")
    assert match(page, folded("left column one RIGHT column one left column two right column two"), 0)
    assert match(page, folded("something that is nowhere on this page at all"), 0) == []


def test_a_picture_is_never_larger_than_is_allowed(server: Served) -> None:
    drawn = pixels(server.client.get("/documents/page.png", params={"path": "tall.pdf", "width": 2400}).content)
    assert drawn.shape[0] * drawn.shape[1] <= 4_100_000
    for bad in (
        {"width": 100_000},
        {"page": 3},
        {"page": 0},
        {"start": 5},
        {"start": 9, "end": 2},
        {"start": 0, "end": 10**9},
    ):
        response = server.client.get("/documents/page.png", params={"path": "handbook.pdf", **bad})
        assert response.status_code == 422, bad


def test_other_formats_have_no_pages(server: Served) -> None:
    assert server.client.get("/documents/page.png", params={"path": "birds.md"}).status_code == 422


def test_a_file_that_changed_since_is_not_drawn(make_rag: Callable[..., Rag], tmp_path: Path) -> None:
    folder = write(tmp_path / "docs2")
    pdf(folder / "a.pdf", ["One heron."])
    rag = make_rag(docs=folder)
    rag.sync()
    pdf(folder / "a.pdf", ["Another heron, and more of it."])
    with served(rag) as server:
        response = server.client.get("/documents/page.png", params={"path": "a.pdf"})
        assert response.status_code == 422
        assert "rag sync" in response.json()["error"]["hint"]
        assert server.client.get("/documents/text", params={"path": "a.pdf"}).json()["text"] == "One heron."


def test_a_process_that_dies_while_drawing_is_an_error_and_the_next_page_is_drawn(server: Served) -> None:
    worker = server.desk.drawing._worker
    assert server.client.get("/documents/page.png", params={"path": "handbook.pdf"}).status_code == 200
    worker._process.kill()  # while it is idle
    worker._process.wait()
    assert server.client.get("/documents/page.png", params={"path": "handbook.pdf"}).status_code == 200
    command, worker._command = worker._command, ("false",)
    worker.stop()
    response = server.client.get("/documents/page.png", params={"path": "handbook.pdf"})
    assert response.status_code == 422
    assert "process" in response.json()["error"]["message"]
    worker._command = command
    assert server.client.get("/documents/page.png", params={"path": "handbook.pdf"}).status_code == 200


# ---- changing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def own(make_rag: Callable[..., Rag], tmp_path: Path) -> Iterator[tuple[Served, Path]]:
    folder = write(tmp_path / "own", metals_txt=METAL)
    rag = make_rag(docs=folder, answer__min_confidence=0)
    rag.sync()
    with served(rag, max_upload_mb=1) as server:
        yield server, folder


def put(server: Served, *files: tuple[str, bytes], **params: Any) -> Any:
    return server.client.post("/documents", files=[("files", file) for file in files], params=params)


def synced(server: Served) -> dict[str, Any]:
    end: dict[str, Any] = server.events("/sync/events")[-1][1]
    assert end["state"] == "done", end
    return end


def test_an_uploaded_file_is_found_and_a_deleted_one_is_not(own: tuple[Served, Path]) -> None:
    server, folder = own
    stored = put(server, ("birds.md", RIVER.encode()), ("Straße 1.txt", b"A road."))
    assert (stored.status_code, [s["path"] for s in stored.json()["stored"]]) == (201, ["birds.md", "Straße 1.txt"])
    synced(server)
    assert server.client.post("/ask", json={"question": "Where does the heron stand?"}).json()["citations"]
    assert server.client.delete("/documents", params={"path": "birds.md"}).status_code == 204
    synced(server)
    assert not (folder / "birds.md").exists()
    assert all(f["path"] != "birds.md" for f in server.client.get("/documents").json()["files"])
    for path in ("Straße 1.txt", "metals.txt"):  # the last one, too
        assert server.client.delete("/documents", params={"path": path}).status_code == 204
        synced(server)
    assert server.client.get("/documents").json() == {"files": []}
    assert server.client.delete("/documents", params={"path": "metals.txt"}).status_code == 404
    assert list(folder.iterdir()) == []  # nothing half-written stays


def test_a_picture_is_taken_where_pictures_are_read(make_rag: Callable[..., Rag], tmp_path: Path) -> None:
    rag = make_rag(docs=write(tmp_path / "own", metals_txt=METAL), images__kind="descriptor", audio__kind="none")
    rag.sync()
    with served(rag) as server:
        assert put(server, ("drawn.png", encoded(drawn(0)))).status_code == 201
        synced(server)
        [picture] = [f for f in server.client.get("/documents").json()["files"] if f["path"] == "drawn.png"]
        assert (picture["outcome"], picture["pictures"]) == ("indexed", 1)
        refused = put(server, ("talk.wav", b"RIFF"))
        assert (refused.status_code, refused.json()["error"]["hint"]) == (
            415,
            "recordings (audio.kind) aren't read here",
        )


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../x.txt", 422), ("a/b.txt", 422), ("a\\b.txt", 422), ("..", 422), (".hidden.txt", 422), ("x.exe", 415),
        ("x", 415), ("a\u202egnp.txt", 422), (" x.txt", 422), ("x" * 300 + ".txt", 422), ("~$x.docx", 422),
        ("x.txt.", 422),
    ],
)  # fmt: skip
def test_bad_names_are_refused_and_nothing_is_written(own: tuple[Served, Path], name: str, status: int) -> None:
    server, folder = own
    response = put(server, ("good.txt", b"Good."), (name, b"Bad."))
    assert response.status_code == status, response.text
    assert response.json()["error"]["hint"]
    assert [p.name for p in folder.iterdir()] == ["metals.txt"]
    assert [p.name for p in folder.parent.glob("*.txt")] == []


def test_a_file_is_replaced_only_when_that_is_said(own: tuple[Served, Path]) -> None:
    server, folder = own
    new = METAL.replace("1085", "1084").encode()
    assert put(server, ("metals.txt", new)).status_code == 409
    assert (folder / "metals.txt").read_text() == METAL
    assert put(server, ("metals.txt", new), replace="true").status_code == 201
    synced(server)
    assert "1084" in server.client.post("/ask", json={"question": COPPER}).json()["text"]
    (folder / "link.txt").symlink_to(folder.parent / "outside.txt")
    assert put(server, ("link.txt", b"x"), replace="true").status_code == 409
    assert not (folder.parent / "outside.txt").exists()
    assert put(server, ("a.txt", b"1"), ("a.txt", b"2")).status_code == 422
    refused = put(server, ("metals.txt", b"1"), ("new.txt", b"2"), ("link.txt", b"3"))
    assert refused.json()["error"]["message"] == "'metals.txt', 'link.txt' are there already"  # all that would go


def test_too_large_an_upload_is_refused(own: tuple[Served, Path]) -> None:
    server, folder = own
    assert put(server, ("big.txt", b"x" * 2_000_000)).status_code == 413
    assert [p.name for p in folder.iterdir()] == ["metals.txt"]


def test_an_upload_is_counted_as_it_arrives(own: tuple[Served, Path]) -> None:
    """Chunked, so that nothing is promised: two files that are whole, and one that goes on."""
    server, folder = own

    def body() -> Iterator[bytes]:
        for name in ("a.txt", "b.txt", "c.txt"):
            yield f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nText.\r\n'.encode()
        for _ in range(20):
            yield b"x" * 2**16
        yield b"\r\n--edge--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    request = server.client.build_request("POST", "/documents", content=body(), headers=kind)
    assert request.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in request.headers
    refused = server.client.send(request)
    assert (refused.status_code, refused.json()["error"]["type"]) == (413, "TooLarge")
    assert refused.json()["error"]["hint"] == "serve.max_upload_mb sets it"
    assert [p.name for p in folder.iterdir()] == ["metals.txt"]
    assert server.client.get("/sync").json()["state"] == "idle"  # none follows


def test_where_one_file_cant_be_stored_none_is(own: tuple[Served, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    server, folder = own
    real, calls = os.link, list[Any]()

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(os, "link", full)
    refused = put(server, ("a.txt", b"One."), ("b.txt", b"Two."))
    assert (refused.status_code, refused.json()["error"]["type"]) == (507, "NotStored")
    assert [p.name for p in folder.iterdir()] == ["metals.txt"]


def test_a_server_without_changes_takes_none(rag: Rag) -> None:
    with served(rag, changes=False) as server:
        assert put(server, ("a.txt", b"x")).status_code == 403
        assert server.client.delete("/documents", params={"path": "birds.md"}).status_code == 403
        assert server.client.get("/status").json()["changes"] is False


# ---- hostile contents --------------------------------------------------------------------------------------------


def test_payloads_come_through_every_door_as_the_text_they_are(make_rag: Callable[..., Rag], tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for number, payload in enumerate(PAYLOADS):
        (folder / f"file{number}.txt").write_text(f"Herons number {number} say: {payload}\n", encoding="utf-8")
    named = "<img src=x onerror=alert(1)> {{7*7}}.txt"
    (folder / named).write_text("Herons of a file with a bad name.\n")
    rag = make_rag(docs=folder, answer__min_confidence=0, split__max_tokens=100)
    rag.sync()
    with served(rag) as server:
        for number in range(len(PAYLOADS)):
            path = f"file{number}.txt"
            text = rag.source(path).text
            request = {"question": f"What do herons number {number} say?", "filter": f"path={path}"}
            for route in ("/ask", "/search"):
                asked = request if route == "/ask" else {"query": request["question"], "filter": request["filter"]}
                response = server.client.post(route, json=asked)
                assert response.headers["content-type"] == "application/json"
                passages = response.json()["passages"]
                assert {p["source"] for p in passages} == {path}
                assert all(p["text"] == text[p["start"] : p["end"]] for p in passages)
                assert all(line in " ".join(p["text"] for p in passages) for line in PAYLOADS[number].split("\n"))
            events = server.events("/ask", {**request, "stream": True})
            assert [n for n, _ in events] == ["retrieving", "passages", "tokens", "citations", "done"]  # none forged
            shown = server.client.get("/documents/text", params={"path": path})
            assert shown.json()["text"] == text
            assert shown.headers["content-type"] == "application/json"
            chat = server.client.post(
                "/v1/chat/completions",
                json={
                    "model": "hostile",
                    "messages": [{"role": "user", "content": request["question"]}],
                    "stream": True,
                },
            )
            data = [line for line in chat.text.split("\n") if line]
            assert all(line.startswith("data: ") for line in data)
            assert data[-1] == "data: [DONE]"
            assert all(json.loads(line.removeprefix("data: ")) for line in data[:-1])
        listed = server.client.get("/documents").json()["files"]
        assert named in [f["path"] for f in listed]
        assert "<img" not in server.client.get("/metrics").text
        header = server.client.get("/documents/text", params={"path": named}).headers
        assert "script-src 'self'" in header["content-security-policy"]
        assert not re.search("unsafe-(inline|eval)", header["content-security-policy"])
