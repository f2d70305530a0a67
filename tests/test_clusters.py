"""Groups of like things: what is in them, how they are named, and what happens at the edges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.cli import app
from rag.errors import IndexMissing, QueryError
from rag.explore import clusters
from rag.explore.clusters import cluster
from rag.explore.documents import document_vector, documents
from rag.explore.points import Points, catalog_points, unit
from rag.explore.telling import telling_terms


def points(vectors: object, texts: Sequence[str] = (), angular: bool = False) -> Points:
    found = np.asarray(vectors, np.float32)
    names = tuple(f"p{i}" for i in range(len(found)))

    def read() -> Iterator[tuple[int, str]]:
        return iter(enumerate(texts))

    return Points("vectors", names, names, unit(found) if angular else found, angular, read, ("",) * len(names))


def blobs(*sizes: int, apart: float = 10.0, dimension: int = 8) -> np.ndarray:
    """Gaussian heaps around corners that are `apart`."""
    draw = np.random.default_rng(1)
    return np.concatenate([draw.normal(apart * np.eye(dimension)[i], 1, (n, dimension)) for i, n in enumerate(sizes)])


# ---- what the groups are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["kmeans", "hdbscan"])
def test_planted_groups_are_found_with_their_number(kind: clusters.Kind) -> None:
    sizes = (30, 20, 10)
    found = cluster(points(blobs(*sizes)), kind)
    assert [len(c.members) for c in found.clusters] == pytest.approx(list(sizes), abs=4)
    heap = np.repeat(range(3), sizes)
    for group in found.clusters:
        assert len({int(heap[int(m.id[1:])]) for m in group.members}) == 1
    assert found.silhouette is not None
    assert found.silhouette > 0.5
    assert cluster(points(blobs(*sizes)), kind) == found  # the same each time


@settings(max_examples=40)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(-3, 3).map(float)),
    st.sampled_from(["kmeans", "hdbscan"]),
    st.booleans(),
)
def test_everything_is_in_one_group_or_in_none(vectors: np.ndarray, kind: clusters.Kind, angular: bool) -> None:
    """Single things, equal ones, zeros: none may be lost, doubled, or stop it."""
    given_points = points(vectors, angular=angular)
    found = cluster(given_points, kind)
    ids = [m.id for c in found.clusters for m in c.members] + list(found.rest)
    assert sorted(ids) == sorted(given_points.ids)
    assert all(c.members and c.name for c in found.clusters)
    for c in found.clusters:
        scores = [m.score for m in c.members]
        assert all(one > other - 1.1e-4 for one, other in pairwise(scores))  # nearer by less than 1e-4 is as near
    if kind == "kmeans":
        assert not found.rest
        places = {
            tuple(v): n for v, n in zip(given_points.vectors.tolist(), _numbers(given_points, found), strict=True)
        }
        assert [places[tuple(v)] for v in given_points.vectors.tolist()] == _numbers(
            given_points, found
        )  # equal: together


def _numbers(given_points: Points, found: clusters.Clusters) -> list[int]:
    return [found.labels[i] for i in given_points.ids]


def test_the_nearest_to_the_centre_comes_first() -> None:
    (group,) = cluster(points([[0, 0], [4, 0], [2, 0], [2, 1]]), k=1).clusters
    assert group.members[0].id == "p2"
    assert group.members[0].score == pytest.approx(-0.25)
    assert group.name == "like p2"  # there is no text to name it by


@pytest.mark.parametrize(
    ("n", "k", "told"), [(3, 4, "k is 4, and there are 3 vectors"), (3, 0, "k is 0"), (4, 3, "only 2 of the 4")]
)
def test_a_number_that_cant_be(n: int, k: int, told: str) -> None:
    with pytest.raises(QueryError, match=told):
        cluster(points([[0.0, i // 2] for i in range(n)]), k=k)
    with pytest.raises(QueryError, match="itself"):
        cluster(points([[0.0], [1.0]]), "hdbscan", k=2)


@pytest.mark.parametrize("kind", ["kmeans", "hdbscan"])
def test_a_large_collection_is_sampled(kind: clusters.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "FITTED", 150)
    monkeypatch.setattr(clusters, "SEARCHED", 100)
    monkeypatch.setattr(clusters, "SAMPLE", 60)
    found = cluster(points(blobs(300, 200)), kind)
    assert [len(c.members) for c in found.clusters] == pytest.approx([300, 200], abs=20)


# ---- names ---------------------------------------------------------------------------------------------------------


def test_names_are_the_words_that_the_others_dont_have() -> None:
    pieces = [
        (0, "The heron stands in the river; herons fish. HERONS wait."),
        (0, "A heron eats fish of the river in 2024."),
        (1, "Copper melts, and the iron melts in the river valley."),
        (1, "The copper is a metal of the valley."),
    ]
    birds, metals = telling_terms(pieces, 2, "english")
    assert birds[0] == "heron"
    assert {"fish"} <= set(birds)
    assert metals[0] == "copper"
    assert not {"the", "2024", "in"} & {*birds, *metals}


def test_names_need_no_list_of_function_words() -> None:
    """German, Russian and Chinese: what stands everywhere tells nothing."""
    texts = {
        0: ("Der Reiher steht und der Fisch schwimmt", "цапля стоит и ждёт", "苍鹭的河"),
        1: ("Der Nagel rostet und der Hammer liegt", "медь плавится и ждёт", "铜铁的火"),
    }
    for language in range(3):
        pieces = [(c, t[language]) for c, t in texts.items() for _ in range(3)]
        for terms in telling_terms(pieces, 2, "none"):
            assert terms
            assert not {"der", "und", "ждёт", "ждет"} & set(terms)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=30)), max_size=12))
def test_any_text_has_terms_or_none(pieces: list[tuple[int, str]]) -> None:
    found = telling_terms(pieces, 3, "english")
    assert len(found) == 3
    for c, terms in enumerate(found):
        assert len(terms) == len(set(terms)) <= 4
        assert not terms or any(number == c for number, _ in pieces)


# ---- of a folder ---------------------------------------------------------------------------------------------------


def fill(docs: Path) -> None:
    for n in range(4):
        write(docs / "birds", **{f"bird{n}_md": RIVER + f"\nIt was seen {n} times in the river.\n"})
        write(docs, **{f"metal{n}_txt": METAL * (n + 1) + f"Copper bar number {n} melts.\n"})


def test_documents_and_chunks_of_a_folder(make_rag: Callable[..., Rag], docs: Path) -> None:
    fill(docs)
    rag = make_rag()
    with pytest.raises(IndexMissing):
        rag.cluster()
    rag.sync()
    found = rag.cluster()
    assert found.what == "documents"
    groups = {frozenset(m.id.partition("/")[0][:5] for m in c.members) for c in found.clusters[:2]}
    assert groups == {frozenset({"birds"}), frozenset({"metal"})}
    assert {"heron", "copper"} & {t for c in found.clusters for t in c.terms}
    chunks = rag.cluster(2, of="chunks")
    assert sum(len(c.members) for c in chunks.clusters) == rag.status()["chunks"]
    assert len({m.id for c in chunks.clusters for m in c.members}) == rag.status()["chunks"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda rag: rag.cluster(of="pages"), "of is 'pages'"),
        (lambda rag: rag.map(of="pages"), "of is 'pages'"),
        (lambda rag: rag.cluster(kind="kmean"), "kind is 'kmean'"),
        (lambda rag: rag.map(kind="tsn"), "kind is 'tsn'"),
        (lambda rag: rag.cluster("four"), "k is 'four'"),
        (lambda rag: rag.cluster(2.5), "k is 2.5"),
    ],
)
def test_what_python_misspells_is_told(rag: Rag, docs: Path, wrong: Callable[[Rag], object], told: str) -> None:
    write(docs, metals_txt=METAL)
    rag.sync()
    with pytest.raises(QueryError, match=told):
        wrong(rag)


def test_points_are_the_vectors_of_the_catalog(make_rag: Callable[..., Rag], docs: Path) -> None:
    fill(docs)
    write(docs, copy_txt=METAL + "Copper bar number 0 melts.\n")  # equal to metal0.txt: one document
    rag = make_rag()
    rag.sync()
    catalog = rag.reader.catalog
    of_documents, of_chunks = catalog_points(catalog, "documents"), catalog_points(catalog, "chunks")
    held = documents(catalog)
    assert of_documents.ids == tuple(paths[0] for paths in held.paths)
    assert len(held.paths) == 8
    assert set(of_documents.fields["folder"]) == {"birds", "(top)"}
    for row, path in enumerate(of_documents.ids):
        own = [i for i, name in enumerate(of_chunks.names) if name.startswith((f"{path}:", f"{path} "))]
        assert document_vector(of_chunks.vectors[own]) == pytest.approx(of_documents.vectors[row], abs=1e-5)
    texts = dict(of_chunks.texts())
    assert [excerpt.split() for excerpt in of_chunks.excerpts] == [texts[i].split() for i in range(len(of_chunks))]
    some = of_chunks.only([2, 0])
    assert some.ids == (of_chunks.ids[2], of_chunks.ids[0])
    assert sorted(some.texts()) == [(0, texts[2]), (1, texts[0])]


@pytest.mark.parametrize("n", [1, 2])
def test_a_folder_of_one_or_two(make_rag: Callable[..., Rag], docs: Path, n: int) -> None:
    write(docs, **dict(list({"birds_md": RIVER, "metals_txt": METAL}.items())[:n]))
    rag = make_rag()
    rag.sync()
    (group,) = rag.cluster().clusters
    assert len(group.members) == n
    assert rag.cluster().silhouette is None
    assert [len(c.members) for c in rag.cluster(n).clusters] == [1] * n


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args])


def test_on_the_command_line(tmp_path: Path) -> None:
    fill(tmp_path / "docs")
    where = ("--docs", tmp_path / "docs")
    told = run("cluster", "-k", 2, *where)
    assert told.exit_code == 0, told.output
    assert "birds/bird0.md" in told.stdout
    assert "8 documents, 2 groups; silhouette" in told.stderr
    body = json.loads(run("cluster", "--of", "chunks", "--kind", "hdbscan", "--json", *where).stdout)
    assert {"kind", "what", "clusters", "silhouette", "rest"} == set(body)
    for wrong, said in (
        ("9", "k is 9, and there are 8 documents"),
        ("many", "'many' is not a valid"),
        ("0", "0 is not"),
    ):
        done = run("cluster", "-k", wrong, *where)
        assert done.exit_code in (1, 2)
        assert said in done.stderr
