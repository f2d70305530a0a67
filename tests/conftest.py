"""Shared fixtures. The fake embedding model is in fakes_embed.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Tiny models on several threads wait for each other more than they compute: minutes beside another program.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fakes_embed import FakeEmbedder, open_rag
from hypothesis import HealthCheck, settings

from rag.build import Rag

# A run started in the background (CI) inherits an ignored Ctrl-C, and would hand it on to the programs it tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

SOAK = os.environ.get("RAG_SOAK") == "1"
# `make test` draws the same examples each time, so a change is what breaks it; `make soak` draws new ones.
settings.register_profile(
    "rag", deadline=None, derandomize=not SOAK, print_blob=SOAK, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rag")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SOAK:
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: runs with `make soak`"))


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the user's data directory, whatever it forgets to set."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """An empty document folder."""
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Where the index will be."""
    return tmp_path / "index"


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def make_rag(docs: Path, index: Path, embedder: FakeEmbedder) -> Iterator[Callable[..., Rag]]:
    """`make_rag(**settings)`: a Rag over `docs` and `index` with the fake `embedder`; closed at the end."""
    made: list[Rag] = []

    def make(embedder: FakeEmbedder = embedder, docs: Path = docs, index: Path = index, **settings: Any) -> Rag:
        made.append(open_rag(docs, index, embedder, **settings))
        return made[-1]

    yield make
    for rag in made:
        rag.close()


@pytest.fixture
def rag(make_rag: Callable[..., Rag]) -> Rag:
    return make_rag()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data that lies beside the checkout on a developer's machine."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def real_embedder() -> Iterator[Any]:
    """all-MiniLM-L6-v2 itself: a second to load, so only where the fake can't say it."""
    from rag.embed import TextEmbedder

    embedder = TextEmbedder()
    yield embedder
    embedder.close()


@pytest.fixture
def make_real_rag(docs: Path, index: Path, real_embedder: Any) -> Iterator[Callable[..., Rag]]:
    """`make_real_rag(parts, **settings)`: a synced Rag with all-MiniLM-L6-v2 and those parts instead of its own; closed
    at the end."""
    made: list[Rag] = []

    def make(parts: dict[str, Any], docs: Path = docs, index: Path = index, **settings: Any) -> Rag:
        made.append(Rag.open(docs=docs, store__path=index, **settings))
        made[-1]._parts.update(embedder=real_embedder, **parts)
        made[-1].sync()
        return made[-1]

    yield make
    for rag in made:
        rag._parts.pop("embedder")  # the session's own
        rag.close()
