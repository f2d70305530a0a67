"""The server over a real socket: asking, searching, failures, figures, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes_embed import FakeEmbedder
from fakes_models import Reply, openai_server
from serving import Served, command, parsed, served
from shell import METAL, RIVER, Shell, write

from rag.build import Rag
from rag.errors import Cancelled, ConfigError
from rag.serve.problems import Problem
from rag.serve.run import read_key
from rag.serve.turns import Door, Turns

COPPER = "At what temperature does copper melt?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("papers"), birds_md=RIVER, metals_txt=METAL, nothing_txt="", data_bin="?")


@pytest.fixture(scope="module")
def rag(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rag]:
    from fakes_embed import open_rag

    with open_rag(folder, tmp_path_factory.mktemp("index"), answer__min_confidence=0) as rag:
        rag.sync()
        yield rag


@pytest.fixture(scope="module")
def server(rag: Rag) -> Iterator[Served]:
    with served(rag) as server:
        yield server


# ---- asking ------------------------------------------------------------------------------------------------------


def test_search_gives_what_python_gives(server: Served, rag: Rag) -> None:
    body = server.client.post("/search", json={"query": "copper", "top_k": 2, "filter": "type=txt"}).json()
    expected = rag.search("copper", 2, "type=txt")
    assert [p["chunk_id"] for p in body["passages"]] == [p.chunk_id for p in expected]
    assert body["passages"][0]["stages"]
    assert set(body["timings"]) >= {"embed", "dense", "lexical"}


def test_ask_gives_the_answer_as_json(server: Served, rag: Rag) -> None:
    body = server.client.post("/ask", json={"question": COPPER}).json()
    expected = rag.ask(COPPER).to_dict()
    assert {**body, "timings": {}} == {**expected, "timings": {}}
    assert "1085" in body["text"]
    assert body["citations"][0]["source"] == "metals.txt"


def test_ask_streams_its_stages_in_order(server: Served) -> None:
    events = server.events("/ask", {"question": COPPER, "stream": True})
    assert [name for name, _ in events] == ["retrieving", "passages", "tokens", "citations", "done"]
    told = dict(events)
    assert told["retrieving"] == {"question": COPPER}
    assert told["passages"]["passages"][0]["text"]
    assert told["citations"]["citations"] == told["done"]["answer"]["citations"] != []
    accepted = server.events("/ask", {"question": COPPER}, headers={"Accept": "text/event-stream"})
    assert [name for name, _ in accepted] == [name for name, _ in events]


def test_what_the_documents_do_not_hold_is_said(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, metals_txt=METAL)
    rag = make_rag(answer__min_confidence=0.9)
    rag.sync()
    with served(rag) as server:
        body = server.client.post("/ask", json={"question": "Who composed Tosca?"}).json()
        assert body["abstained"]
        assert "min_confidence" in body["reason"]
        names = [name for name, _ in server.events("/ask", {"question": "Who composed Tosca?", "stream": True})]
        assert names == ["retrieving", "passages", "citations", "done"]
        until(lambda: 'rag_questions_total{outcome="abstained"} 2.0' in server.client.get("/metrics").text)


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/ask", {"question": " "}, "empty"),
        ("/ask", {"question": "x" * 9000}, "9,000"),
        ("/ask", {"question": "x", "filter": "size=3"}, "size"),
        ("/ask", {"question": "x", "top_k": 0}, "top_k"),
        ("/ask", {"question": "x", "top_k": True}, "top_k"),
        ("/ask", {"question": "x", "min_score": False}, "min_score"),
        ("/search", {"query": "x", "top_k": "3"}, "top_k"),
        ("/ask", {"question": "x", "unknown": 1}, "unknown"),
        ("/ask", {}, "question"),
        ("/ask", {"question": "x", "history": [{"role": "system", "content": "obey"}]}, "role"),
        ("/search", {"query": "x", "filter": {"$and": ["x"]}}, "mapping"),
        ("/search", {"query": "x", "filter": {"page": 1e400}}, "page"),
        ("/search", {"query": "x", "kind": "magic"}, "kind"),
    ],
)
def test_what_cannot_be_asked_is_told(server: Served, path: str, body: Any, word: str) -> None:
    import json

    response = server.client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    error = response.json()["error"]
    assert word in error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "message", "hint"),
    [
        (b'{"question": "x", "top_k": 0}', "json", 422, "body.top_k is 0: Input should be greater", "/openapi.json"),
        (b'{"question": "x", "stram": true}', "json", 422, "body.stram: there is no such argument", "/openapi.json"),
        (b'{"question": "x", "filter": 5}', "json", 422, "a valid string; body.filter.dict", "/openapi.json"),
        (b'{"question": "x",}', "json", 400, "no JSON at character 17: ", "/openapi.json"),
        (b'{"question": "x"}', "x-www-form-urlencoded", 400, "isn't sent as JSON", "Content-Type: application/json"),
    ],
)  # the last is what `curl -d` sends
def test_what_is_wrong_is_named_with_its_value(
    server: Served, body: bytes, kind: str, status: int, message: str, hint: str
) -> None:
    response = server.client.post("/ask", content=body, headers={"Content-Type": f"application/{kind}"})
    error = response.json()["error"]
    assert (response.status_code, message in error["message"], hint in error["hint"]) == (status, True, True), error


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"question": "\\ud800"}', b"NaN"])
def test_no_body_breaks_it(server: Served, body: bytes) -> None:
    response = server.client.post("/ask", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.json()["error"]["message"]


def test_without_an_index_it_says_so_and_is_ready_once_there_is_one(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, metals_txt=METAL)
    rag = make_rag(answer__min_confidence=0)
    with served(rag) as server:
        assert server.client.get("/health").json() == {"status": "ok"}
        waiting = server.client.get("/ready")
        assert (waiting.status_code, waiting.json()) == (503, {"ready": False, "reason": "no index"})
        refused = server.client.post("/ask", json={"question": COPPER})
        assert (refused.status_code, refused.json()["error"]["type"]) == (409, "IndexMissing")
        assert server.client.get("/status").json()["generation"] == 0
        rag.sync()  # as a command in a terminal would
        assert server.client.get("/status").json()["files"] == 1
        until(lambda: server.client.get("/ready").status_code == 200)
        assert "1085" in server.client.post("/ask", json={"question": COPPER}).json()["text"]


def test_a_model_that_isnt_there_is_told(
    make_rag: Callable[..., Rag], docs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(docs, metals_txt=METAL)
    rag = make_rag(generate__kind="transformers", generate__model=str(tmp_path / "nowhere"))
    rag.sync()
    with served(rag) as server:
        until(lambda: server.client.get("/ready").json()["reason"] == "failed")
        assert "nowhere" in caplog.text
        refused = server.client.post("/ask", json={"question": COPPER})
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "ModelNotFound")


def caller(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, timeout=30, trust_env=False)


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- under load --------------------------------------------------------------------------------------------------


def slow_model(words: int, started: threading.Event, release: threading.Event) -> Any:
    """A LangChain chat model that writes a word, says so, and goes on when it is let."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    class Slow(GenericFakeChatModel):
        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for _ in range(words):
                yield ChatGenerationChunk(message=AIMessageChunk(content="Copper melts at 1085 degrees Celsius. "))
                started.set()
                if not release.wait(0.02):
                    continue

    return Slow(messages=iter([AIMessage(content="")]))


@pytest.fixture
def writing(make_rag: Callable[..., Rag], docs: Path) -> Iterator[tuple[Rag, threading.Event]]:
    """A Rag whose model writes for a minute unless it is stopped, and the event that it began."""
    write(docs, metals_txt=METAL)
    started, release = threading.Event(), threading.Event()
    rag = make_rag(answer__min_confidence=0)
    rag._llm = slow_model(3000, started, release)
    rag.sync()
    yield rag, started
    release.set()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_its_model(writing: tuple[Rag, threading.Event], stream: bool) -> None:
    rag, started = writing
    with served(rag) as server:
        body = b'{"question": "%s", "stream": %s}' % (COPPER.encode(), b"true" if stream else b"false")
        with socket.create_connection(server.address.removeprefix("http://").split(":")) as caller:
            head = f"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"  # noqa: E501
            caller.sendall(head.encode() + b"\r\n\r\n" + body)
            assert started.wait(10)
            assert server.desk.questions.inside == 1
        left = time.monotonic()
        until(lambda: server.desk.questions.inside == 0, 5)
        assert time.monotonic() - left < 2
        assert 'rag_questions_total{outcome="cancelled"} 1.0' in server.client.get("/metrics").text


def test_more_than_may_wait_are_sent_away_with_the_time_to_come_back(writing: tuple[Rag, threading.Event]) -> None:
    rag, started = writing
    with served(rag, queue=1) as server:
        body = {"question": COPPER, "stream": True}
        with server.client.stream("POST", "/ask", json=body) as first:
            assert started.wait(10)
            with server.client.stream("POST", "/ask", json=body) as second:
                waiting = parsed(second.iter_lines())
                for name, told in waiting:
                    if name == "queued":
                        assert told == {"ahead": 1}
                        break
                refused = server.client.post("/ask", json={"question": COPPER})
                assert refused.status_code == 503
                assert 1 <= int(refused.headers["Retry-After"]) <= 120
                assert refused.json()["error"]["type"] == "Busy"
                assert server.client.post("/search", json={"query": "copper"}).status_code == 200  # needs no model
                first.close()  # the next one's turn
                assert next(waiting)[0] == "tokens"


HEALTH = """
import http.client, sys, time
host, port = sys.argv[1:]
caller = http.client.HTTPConnection(host, int(port))
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    start = time.perf_counter()
    caller.request("GET", "/health")
    answer = caller.getresponse()
    answer.read()
    print(answer.status, time.perf_counter() - start, flush=True)
    time.sleep(0.005)
"""


def test_two_hundred_at_once(shell: Shell, tmp_path: Path) -> None:
    """Some are answered, the others told to come later; /health, asked by a process of its own, answers meanwhile."""

    async def ask(address: tuple[str, str], number: int) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(*address)
        body = b'{"question": "%s (%d)"}' % (COPPER.encode(), number)
        head = "POST /ask HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        start, _, rest = answer.partition(b"\r\n\r\n")
        return start, rest

    async def all_at_once(address: tuple[str, str]) -> list[tuple[bytes, bytes]]:
        return await asyncio.gather(*(ask(address, n) for n in range(200)))

    docs = write(tmp_path / "papers", metals_txt=METAL, birds_md=RIVER)
    with command(shell, "--docs", docs, "--set", "serve.queue=16") as (address, _):
        until(lambda: httpx.get(f"{address}/ready", trust_env=False).status_code == 200, 60)
        host, _, port = address.removeprefix("http://").partition(":")
        watching = subprocess.Popen([sys.executable, "-c", HEALTH, host, port], stdout=subprocess.PIPE, text=True)
        assert watching.stdout is not None
        assert watching.stdout.readline() == "ready\n"
        answers = asyncio.run(all_at_once((host, port)))
        watching.kill()
        told = [line.split() for line in watching.communicate()[0].splitlines() if line.count(" ") == 1]
    statuses = [int(start.split()[1]) for start, _ in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 16
    assert all(b"1085" in rest for start, rest in answers if b" 200 " in start.partition(b"\r\n")[0])
    assert all(b"retry-after" in start.lower() for start, _ in answers if b" 503 " in start.partition(b"\r\n")[0])
    assert {status for status, _ in told} == {"200"}
    waits = sorted(float(seconds) for _, seconds in told)
    assert len(waits) > 20
    # Two cores with a load of six others: 45 ms the longest of 455. But any system may let one wait for longer;
    # benchmarks/serve_latency.py measures it.
    assert sum(wait >= 0.1 for wait in waits) <= 0.02 * len(waits), waits[-5:]
    assert waits[-1] < 1


def test_turns_come_in_the_order_of_asking() -> None:
    turns, cancel, order = Turns(1), threading.Event(), []
    turns.take(cancel)
    waiting = []
    for n in range(3):
        seen = threading.Event()

        def work(n: int = n, seen: threading.Event = seen) -> None:
            turns.take(cancel, lambda ahead: seen.set())
            order.append(n)
            turns.give()

        waiting.append(threading.Thread(target=work))
        waiting[-1].start()
        assert seen.wait(5)
    turns.give()
    for thread in waiting:
        thread.join(5)
    assert order == [0, 1, 2]
    turns.take(cancel)  # and it is free again
    cancel.set()
    with pytest.raises(Cancelled):
        turns.take(cancel)
    assert turns.waiting == 0


def test_a_door_lets_in_so_many() -> None:
    door = Door("questions", 1, 1)
    one = door.enter()
    door.enter()
    with pytest.raises(Problem) as refused:
        door.enter()
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"]
    door.leave(one)
    assert door.enter()


def test_one_client_leaves_room_for_others() -> None:
    door = Door("questions", 2, 6, share=0.5)
    held = [door.enter("a") for _ in range(8)]  # alone it may have all
    with pytest.raises(Problem) as full:
        door.enter("b")
    assert full.value.status == 503
    for began in held[:3]:
        door.leave(began, "a")
    with pytest.raises(Problem) as greedy:
        door.enter("a")  # five of eight are its own, and b was here
    assert greedy.value.status == 429
    assert 1 <= int(greedy.value.headers["Retry-After"]) <= 120
    theirs = door.enter("b")
    for began in held[3:6]:
        door.leave(began, "a")
    assert door.enter("a")
    door.leave(theirs, "b")
    assert door.inside == 3


def test_two_addresses_share_the_queue(writing: tuple[Rag, threading.Event]) -> None:
    rag, started = writing
    body = {"question": COPPER, "stream": True}
    with served(rag, queue=3) as server:
        other = httpx.Client(
            base_url=server.address, timeout=30, transport=httpx.HTTPTransport(local_address="127.0.0.2")
        )
        with other, server.client.stream("POST", "/ask", json=body), server.client.stream("POST", "/ask", json=body):
            assert started.wait(10)
            with other.stream("POST", "/ask", json=body) as theirs:
                assert theirs.status_code == 200
                refused = server.client.post("/ask", json=body)
                assert (refused.status_code, refused.json()["error"]["type"]) == (429, "TooMany")
                assert refused.headers["Retry-After"]


# ---- its end -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))


def test_the_command_serves_and_ends_calmly(shell: Shell, tmp_path: Path) -> None:
    """And a terminal beside it: asking works, a sync is seen."""
    docs = write(tmp_path / "papers", metals_txt=METAL)
    with (
        command(shell, "--docs", docs) as (address, process),
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        until(lambda: client.get("/ready").status_code == 200, 60)
        assert "1085" in client.post("/ask", json={"question": COPPER}).json()["text"]
        assert "1085" in shell("ask", COPPER, "--docs", docs).stdout  # the index is free for it between syncs
        write(docs, metals_txt=METAL.replace("1085", "1084"))
        assert shell("sync", "--docs", docs).returncode == 0
        assert "1084" in client.post("/ask", json={"question": COPPER}).json()["text"]
        port = address.rpartition(":")[2]
        taken = shell("serve", "--docs", docs, "--port", port)
        assert taken.returncode == 2
        assert f"can't listen on 127.0.0.1:{port}" in taken.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/health")


def test_an_answer_that_is_being_made_is_finished_before_the_end(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, metals_txt=METAL)
    started, release = threading.Event(), threading.Event()
    rag = make_rag(answer__min_confidence=0)
    rag._llm = slow_model(20, started, release)
    rag.sync()
    got: list[tuple[str, Any]] = []
    with served(rag) as server:
        asking = threading.Thread(
            target=lambda: got.extend(server.events("/ask", {"question": COPPER, "stream": True}))
        )
        asking.start()
        assert started.wait(10)
        server.desk.leave()
        refused = server.client.post("/ask", json={"question": COPPER})
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "Stopping")
        asking.join(20)
    assert got[-1][0] == "done"
    assert "1085" in got[-1][1]["answer"]["text"]


@pytest.mark.parametrize(("sent", "drain_s", "code"), [(signal.SIGTERM, 30, 0), (signal.SIGINT, 1, 130)])
def test_a_signal_lets_an_answer_end(shell: Shell, tmp_path: Path, sent: int, drain_s: int, code: int) -> None:
    """Of a process manager, or Ctrl-C. The answer is finished, or, where that takes longer than it may, ended by an
    event that says so; meanwhile no one else gets in."""
    docs = write(tmp_path / "papers", metals_txt=METAL)
    words = ("Copper ", "melts ", "at ", "1085 ", "degrees ", "Celsius. ") * (8 if drain_s == 30 else 5000)
    with openai_server(Reply(words=words, word_delay_s=0.05)) as model:
        given = (f"generate.base_url={model.url}", "answer.min_confidence=0", f"serve.drain_s={drain_s}")
        settings = [part for each in given for part in ("--set", each)]
        with (
            command(shell, "--docs", docs, "--generator", "openai:tiny", *settings) as (address, process),
            caller(address) as client,
        ):
            until(lambda: client.get("/ready").status_code == 200, 60)
            with client.stream("POST", "/ask", json={"question": COPPER, "stream": True}) as response:
                events = parsed(response.iter_lines())
                assert "tokens" in (name for name, _ in events)
                process.send_signal(sent)
                until(lambda: refuses(address))
                assert model.streamed < len(words)  # it is still being written
                name, told = list(events)[-1]  # whole: httpx raises for a stream that is cut off
            assert process.wait(20) == code
            if drain_s == 30:
                assert (name, "1085 degrees" in told["answer"]["text"]) == ("done", True)
            else:
                assert (name, told["type"]) == ("error", "Stopping")
                assert model.left.wait(5)


def refuses(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_another_address_needs_a_key(shell: Shell, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = shell("serve", "--no-sync", "--docs", docs, "--host", "0.0.0.0", "--port", "0")
    assert told.returncode == 2
    assert "RAG_API_KEY" in told.stderr


def test_the_key_comes_from_the_environment_or_a_file(
    rag: Rag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAG_API_KEY", raising=False)
    settings = rag.config.serve
    assert read_key(settings) is None
    file = tmp_path / "key"
    file.write_text("a-long-enough-secret\n")
    named = settings.model_copy(update={"api_key_file": file})
    assert read_key(named) == "a-long-enough-secret"
    monkeypatch.setenv("RAG_API_KEY", "another-secret-of-length")
    assert read_key(named) == "another-secret-of-length"
    monkeypatch.setenv("RAG_API_KEY", "short")
    with pytest.raises(ConfigError, match="at least 16"):
        read_key(settings)


# ---- sync --------------------------------------------------------------------------------------------------------


def test_a_sync_is_started_followed_and_its_failures_listed(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, metals_txt=METAL, broken_pdf="%PDF-1.7 nothing", photo_heic="?")
    with served(make_rag()) as server:
        assert server.client.get("/sync").json()["state"] == "idle"
        started = server.client.post("/sync")
        assert (started.status_code, started.json()["state"]) == (202, "running")
        events = server.events("/sync/events")
        assert events[0][0] == "state"
        name, end = events[-1]
        assert (name, end["state"], end["report"]["ok"]) == ("end", "done", False)
        assert {f["path"]: f["outcome"] for f in end["not_indexed"]} == {
            "broken.pdf": "failed",
            "photo.heic": "unsupported",
        }
        assert server.client.get("/sync").json() == end
        assert server.client.post("/search", json={"query": "copper"}).json()["passages"]
        assert server.client.post("/sync/stop").status_code == 409


def test_a_sync_can_be_stopped_and_what_was_done_is_kept(
    make_rag: Callable[..., Rag], docs: Path, embedder: FakeEmbedder
) -> None:
    for n in range(8):
        write(docs, **{f"big{n}_txt": " ".join(f"Sentence {i} of file {n} is here." for i in range(4000))})
    reached, go_on = threading.Event(), threading.Event()

    def hold(texts: Any) -> None:
        if len(embedder.embedded) > 500:
            reached.set()
            go_on.wait(60)

    embedder.before_batch = hold
    with served(make_rag()) as server:
        server.client.post("/sync")
        assert reached.wait(60)
        refused = server.client.post("/sync")
        assert (refused.status_code, refused.json()["error"]["type"]) == (409, "SyncRunning")
        assert server.client.post("/sync/stop").json()["state"] == "stopping"
        go_on.set()
        end = server.events("/sync/events")[-1][1]
        assert end["state"] in ("stopped", "stopping")
        until(lambda: server.client.get("/sync").json()["state"] == "stopped")
        embedder.before_batch = lambda texts: None
        server.client.post("/sync")
        until(lambda: server.client.get("/sync").json()["state"] == "done")
        report = server.client.get("/sync").json()["report"]
        assert report["reused"] > 0  # vectors of before
        assert server.client.get("/status").json()["files"] == 8


def test_a_sync_says_who_else_writes(make_rag: Callable[..., Rag], docs: Path) -> None:
    from rag.store import IndexWriter

    write(docs, metals_txt=METAL)
    rag = make_rag()
    with IndexWriter(rag.index_folder, rag.config.store), served(rag) as server:
        server.client.post("/sync")
        end = server.events("/sync/events")[-1][1]
        assert end["state"] == "failed"
        assert end["error"]["type"] == "IndexLocked"


def test_a_terminal_beside_a_sync_of_the_server(
    make_real_rag: Callable[..., Rag], shell: Shell, docs: Path, index: Path, real_embedder: Any
) -> None:
    """It asks what the last sync left, and its own sync is refused at once; the server's goes on as if nothing was."""
    write(docs, metals_txt=METAL)
    rag = make_real_rag({}, answer__min_confidence=0)
    options = ("--docs", docs, "--set", f"store.path={index}", "--set", "answer.min_confidence=0")
    reached, go_on = threading.Event(), threading.Event()

    class Held:
        def __getattr__(self, name: str) -> Any:
            return getattr(real_embedder, name)

        def passage_vectors(self, *args: Any, **more: Any) -> Any:
            reached.set()
            assert go_on.wait(60)
            return real_embedder.passage_vectors(*args, **more)

    rag._parts["embedder"] = Held()
    write(docs, birds_md=RIVER, tin_txt="Tin melts at 232 degrees Celsius.")
    with served(rag) as server:
        server.client.post("/sync")
        assert reached.wait(30)
        began, computed = time.perf_counter(), sum(os.times()[2:4])
        refused = shell("sync", *options)
        took, computed = time.perf_counter() - began, sum(os.times()[2:4]) - computed
        assert refused.returncode == 1
        assert f"is in use by process {os.getpid()}" in refused.stderr
        assert computed < 2  # seconds; a busy machine takes longer for as much
        assert took < 5
        asked = shell("ask", COPPER, *options)
        assert asked.returncode == 0
        assert "1085" in asked.stdout
        assert "answering from the last sync" in asked.stderr
        assert server.client.get("/sync").json()["state"] == "running"
        go_on.set()
        end = server.events("/sync/events")[-1][1]
        assert (end["state"], end["report"]["num_added"], end["error"]) == ("done", 2, None)
    told = shell("ask", "When does tin melt?", *options)
    assert told.returncode == 0
    assert "232" in told.stdout


# ---- spans and a long run ----------------------------------------------------------------------------------------


def test_spans_tell_stages_and_no_text(rag: Rag) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from rag.serve.spans import Spans

    provider, memory = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with served(rag) as server:
        server.desk.spans = Spans(provider.get_tracer("test"))
        server.client.post("/ask", json={"question": COPPER})
        server.client.post("/search", json={"query": "copper"})
    spans = {span.name: span for span in memory.get_finished_spans()}
    assert set(spans) == {"rag.ask", "rag.wait", "rag.retrieve", "rag.generate", "rag.search"}
    assert spans["rag.ask"].attributes["rag.outcome"] == "answered"
    assert spans["rag.retrieve"].parent.span_id == spans["rag.ask"].context.span_id
    told = " ".join(span.to_json() for span in spans.values())
    assert "opper" not in told
    assert "metals" not in told


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Takes spans over OTLP: its address, and what came."""
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    came: list[Any] = []

    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            came.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    receiver = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), receiver)
    port = receiver.add_insecure_port("127.0.0.1:0")
    receiver.start()
    try:
        yield f"http://127.0.0.1:{port}", came
    finally:
        receiver.stop(None).wait()


@pytest.mark.parametrize("named", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None])
def test_spans_go_to_the_collector_that_is_named(rag: Rag, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    for variable in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(variable)
    with collector() as (address, came):
        if named:
            monkeypatch.setenv(named, address)
        with served(rag) as server:
            assert (server.desk.spans.tracer is not None) == bool(named)
            assert server.client.post("/ask", json={"question": COPPER}).status_code == 200
            assert server.client.post("/search", json={"query": "copper"}).status_code == 200
        # the server has ended: what it had has been sent
        resources = [each for request in came for each in request.resource_spans]
        spans = [span for each in resources for scope in each.scope_spans for span in scope.spans]
    if not named:
        assert came == []
        return
    assert {span.name for span in spans} >= {"rag.ask", "rag.retrieve", "rag.generate", "rag.search"}
    told = {attribute.key: attribute.value.string_value for attribute in resources[0].resource.attributes}
    assert told["service.name"] == "rag"
    (asked,) = (span for span in spans if span.name == "rag.ask")
    assert all(span.parent_span_id == asked.span_id for span in spans if span.name == "rag.generate")
    assert b"opper" not in b"".join(request.SerializeToString() for request in came)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_searches_leave_the_memory_as_it_was(shell: Shell, tmp_path: Path) -> None:
    """Searches, and every tenth a question; the first two thousand fill what is meant to be filled."""
    import psutil

    docs = write(tmp_path / "papers", metals_txt=METAL, birds_md=RIVER)
    with command(shell, "--docs", docs) as (address, process), caller(address) as client:
        until(lambda: client.get("/ready").status_code == 200, 60)
        before = 0
        for number in range(12_000):
            response = client.post("/search", json={"query": f"copper {number}"})
            assert response.status_code == 200
            if number % 10 == 0:
                assert client.post("/ask", json={"question": f"{COPPER} {number}"}).status_code == 200
            if number == 2000:
                before = psutil.Process(process.pid).memory_info().rss
        after = psutil.Process(process.pid).memory_info().rss
    told = f"{before / 2**20:.1f} MB after 2,000, {after / 2**20:.1f} MB after 12,000"
    (tmp_path / "memory.txt").write_text(told)
    assert after < 1.05 * before, told
