"""store.kind: chroma-server, against a real `chroma run`: the same code, the same answers."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes_embed import FakeEmbedder

from rag.build import Rag
from rag.config import Store
from rag.errors import StoreError
from rag.store import Catalog
from rag.store.index import collection_name
from rag.store.vectors import _chromadb, open_server

Make = Callable[..., Rag]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def chroma_run(folder: Path, port: int) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder), "--host", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--port", str(port)], **quiet) as server:  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 60
            while True:  # a listening socket is the only sign it gives
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, "chroma run ended"
                assert time.monotonic() < deadline, "chroma run doesn't listen"
                time.sleep(0.02)
            yield
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with chroma_run(tmp_path_factory.mktemp("server"), port):
        yield port


@pytest.fixture
def served(make_rag: Make, port: int) -> Rag:
    return make_rag(store__kind="chroma-server", store__port=port)


def fill(docs: Path, files: int = 15) -> None:
    for i in range(files):
        (docs / f"{i}.txt").write_text(f"Text number {i} has {i * i} apples.")


def answers(rag: Rag, question: str = "number 7 apples", **settings: Any) -> list[tuple[str, float]]:
    return [(p.source, round(p.score, 4)) for p in rag.search(question, k=6, **settings)]


def held(rag: Rag, port: int) -> set[int]:
    """Chunk ids on the server."""
    with closing(Catalog(rag.index_folder / "catalog.sqlite3", readonly=True)) as catalog:
        name = collection_name(catalog.meta("id"), 32)
    index: Any = open_server(name, 32, Store(kind="chroma-server", port=port))
    ids = index._collection.get(include=[])["ids"]
    index.close()
    return {int(i[2:]) for i in ids}


def visible(rag: Rag) -> set[int]:
    with closing(Catalog(rag.index_folder / "catalog.sqlite3", readonly=True)) as catalog:
        return set(catalog.vector_ids(catalog.generation))


def test_the_server_answers_as_the_embedded_store(
    docs: Path, served: Rag, make_rag: Make, tmp_path: Path, port: int
) -> None:
    fill(docs)
    embedded = make_rag(index=tmp_path / "embedded")
    assert served.sync().embedded == embedded.sync().embedded == 15
    for kind in ("dense", "hybrid"):
        assert answers(served, kind=kind) == answers(embedded, kind=kind)
    assert held(served, port) == visible(served)
    (docs / "7.txt").unlink()
    (docs / "new.txt").write_text("Number 7 again, with apples.")
    served.sync()
    embedded.sync()
    assert answers(served) == answers(embedded)
    assert "7.txt" not in dict(answers(served))
    assert held(served, port) == visible(served)
    assert served.sync().generation == 2


def test_rows_of_an_unpublished_sync_are_not_seen(docs: Path, served: Rag, port: int, embedder: FakeEmbedder) -> None:
    fill(docs)
    served.sync()
    before = answers(served, kind="dense")
    with closing(Catalog(served.index_folder / "catalog.sqlite3", readonly=True)) as catalog:
        name = collection_name(catalog.meta("id"), 32)
    index = open_server(name, 32, Store(kind="chroma-server", port=port))
    assert index is not None
    with closing(index):  # as a sync would, just before it publishes: all of them nearer than anything else
        index.add(range(1000, 1100), embedder.passage_vectors(["number 7 apples"] * 100))
    assert answers(served, kind="dense") == before
    assert served.sync().generation == 2  # what nobody knows of is taken away
    assert held(served, port) == visible(served)
    assert answers(served, kind="dense") == before


def at_server(served: Rag, port: int) -> tuple[Any, str]:
    """A client of the server, and the name of the index's collection there."""
    with closing(Catalog(served.index_folder / "catalog.sqlite3", readonly=True)) as catalog:
        return _chromadb().HttpClient(host="127.0.0.1", port=port), collection_name(catalog.meta("id"), 32)


def test_an_emptied_server_is_noticed_and_filled_again(docs: Path, served: Rag, port: int, make_rag: Make) -> None:
    fill(docs)
    served.sync()
    before = answers(served, kind="dense")
    client, name = at_server(served, port)
    client.delete_collection(name)
    assert answers(served, kind="dense") == before  # from the catalog's own vectors
    fresh = make_rag(store__kind="chroma-server", store__port=port)
    assert answers(fresh, kind="dense") == before
    report = fresh.sync()
    assert (report.embedded, report.generation) == (0, 2)
    assert held(served, port) == visible(served)
    assert answers(served, kind="dense") == before


def test_a_collection_of_another_space_is_made_anew(docs: Path, served: Rag, port: int) -> None:
    fill(docs)
    served.sync()
    before = answers(served, kind="dense")
    client, name = at_server(served, port)
    client.delete_collection(name)
    client.create_collection(name, embedding_function=None, configuration={"hnsw": {"space": "l2"}})
    served.sync()
    assert held(served, port) == visible(served)
    assert answers(served, kind="dense") == before


def test_from_embedded_to_server_and_back(docs: Path, make_rag: Make, port: int) -> None:
    fill(docs)
    embedded = make_rag()
    embedded.sync()
    before = answers(embedded)
    served = make_rag(store__kind="chroma-server", store__port=port)
    assert served.sync().embedded == 0
    assert answers(served) == before
    again = make_rag()
    assert again.sync().embedded == 0
    assert answers(again) == before


def test_a_server_that_is_down_is_named_before_any_work(docs: Path, make_rag: Make, embedder: FakeEmbedder) -> None:
    fill(docs)
    port = free_port()
    with pytest.raises(StoreError, match=f"the Chroma server at 127.0.0.1:{port} can't be used") as error:
        make_rag(store__kind="chroma-server", store__port=port).sync()
    assert f"chroma run --host 127.0.0.1 --port {port}" in error.value.hint
    assert embedder.embedded == []


def test_a_server_that_goes_down_and_comes_back(docs: Path, make_rag: Make, tmp_path: Path) -> None:
    fill(docs)
    port = free_port()
    rag = make_rag(store__kind="chroma-server", store__port=port)
    with chroma_run(tmp_path / "server", port):
        rag.sync()
        before = answers(rag)
    with pytest.raises(StoreError, match=f"127.0.0.1:{port} can't be used"):
        rag.search("apples")
    assert answers(rag, kind="lexical")
    with chroma_run(tmp_path / "server", port):
        assert answers(rag) == before
        assert rag.sync().generation == 1
