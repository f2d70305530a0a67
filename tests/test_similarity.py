"""Similarity: right numbers, whatever the shapes and sizes; clear errors; `rag compare` and `rag similar`."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shell import METAL, RIVER, Shell, write

from rag.build import Rag
from rag.cli import app
from rag.embed import similarity
from rag.embed.similarity import METRICS, cosine, euclidean, measure, metrics, nearest
from rag.errors import DocumentError, QueryError, VectorError

NUMBERS = st.floats(-1e3, 1e3, allow_subnormal=False)


def pairs() -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    shapes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6))
    return shapes.flatmap(
        lambda s: st.tuples(
            arrays(np.float64, (s[0], s[2]), elements=NUMBERS), arrays(np.float64, (s[1], s[2]), elements=NUMBERS)
        )
    )


def test_examples() -> None:
    found = doctest.testmod(similarity)
    assert found.attempted > 4
    assert found.failed == 0


@given(pairs(), st.integers(1, 40))
def test_each_pair_is_what_scipy_says(ab: tuple[np.ndarray, np.ndarray], block: int) -> None:
    """Also when the work is cut into blocks of any size."""
    from scipy.spatial.distance import cdist

    a, b = ab
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "BLOCK", block)
        assert np.allclose(measure("euclidean", a, b), cdist(a, b))
        assert np.allclose(measure("manhattan", a, b), cdist(a, b, "cityblock"))
        assert np.allclose(measure("dot", a, b), a @ b.T)
        if np.abs(a).max(axis=1).all() and np.abs(b).max(axis=1).all():
            mine = measure("cosine", a, b)
            assert np.abs(mine).max() <= 1
            if min(np.linalg.norm(a, axis=1).min(), np.linalg.norm(b, axis=1).min()) > 1e-100:
                assert np.allclose(mine, 1 - cdist(a, b, "cosine"), atol=1e-6)


def test_neither_huge_nor_tiny_numbers_break_the_cosine() -> None:
    assert cosine([1e300, 0], [[1e300, 1e300], [1e-300, 0]]).round(6).tolist() == [[0.707107, 1.0]]


def test_near_points_keep_their_distance() -> None:
    assert euclidean([1e6, 1.0], [1e6, 1.0 + 1e-6])[0, 0] == pytest.approx(1e-6, rel=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_the_nearest_come_first(metric: similarity.Metric) -> None:
    rows = np.asarray([[0.3, -1.5], [1.0, 0.9], [1.2, 0.8]])
    hits = nearest(metric, [1.2, 0.8], rows, 2)
    assert [row for row, _ in hits] == [2, 1]
    assert nearest(metric, [1.2, 0.8], rows, 99)[-1][0] == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ([1, 2], [1, 2, 3], "2 and of 3 dimensions"),
        ([[1, 2], [1, np.nan]], [1, 2], "row 1 holds NaN"),
        ([1, 2], [np.inf, 2], "row 0 holds NaN or infinity"),
        ([[1, 2], [1]], [1, 2], "of one length"),
        (["cat"], [1, 2], "rows of numbers"),
        ([], [1, 2], "shape"),
        (np.ones((2, 2, 2)), [1, 2], "shape"),
    ],
)
def test_what_cant_be_compared_is_said(metric: similarity.Metric, a: object, b: object, said: str) -> None:
    with pytest.raises(VectorError, match=said):
        measure(metric, a, b)  # type: ignore[arg-type]


def test_zeros_have_no_angle_but_a_distance() -> None:
    with pytest.raises(VectorError, match="row 1 is a vector of zeros"):
        cosine([[1, 0], [0, 0]], [1, 0])
    assert euclidean([0, 0], [3, 4])[0, 0] == 5


def test_unknown_metric() -> None:
    for names in ("cosine,hamming", " , "):
        with pytest.raises(QueryError) as told:
            metrics(names)
        assert "manhattan" in told.value.hint


# ---- documents like one ------------------------------------------------------------------------------------------

RIVERS = "The heron waits in the river for fish. Fish live in the river."


def test_similar_documents(make_rag: Callable[..., Rag], docs: Path, tmp_path: Path, embedder) -> None:
    write(docs, birds_md=RIVER, rivers_txt=RIVERS, metals_txt=METAL, copy_txt=METAL)
    rag = make_rag()
    rag.sync()
    embedder.before_batch = lambda texts: pytest.fail("a document of the index is embedded again")
    found = rag.similar("birds.md")
    assert [path for path, _ in found] == ["rivers.txt", "copy.txt"]  # equal files are one; itself isn't there
    assert found[0][1] > found[1][1]
    assert rag.similar(docs / "birds.md") == found  # by its path on the disk too
    assert len(rag.similar("birds.md", 1)) == 1
    embedder.before_batch = lambda texts: None
    elsewhere = write(tmp_path / "elsewhere", mine_md=RIVER) / "mine.md"
    path, score = rag.similar(elsewhere)[0]
    assert path == "birds.md"
    assert score == pytest.approx(1, abs=1e-6)


def test_similar_says_what_is_wrong(make_rag: Callable[..., Rag], docs: Path, tmp_path: Path) -> None:
    write(docs, birds_md=RIVER)
    rag = make_rag()
    rag.sync()
    assert rag.similar("birds.md") == []
    with pytest.raises(QueryError, match=r"no file gone\.md"):
        rag.similar("gone.md")
    with pytest.raises(QueryError, match="k is 0"):
        rag.similar("birds.md", 0)
    odd = write(tmp_path / "odd", empty_txt=" ", song_mp3="x")
    for name in ("empty.txt", "song.mp3"):
        with pytest.raises(DocumentError, match=name):
            rag.similar(odd / name)


def test_similar_of_an_empty_index(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, empty_txt=" ")
    rag = make_rag()
    rag.sync(allow_empty=True)
    with pytest.raises(QueryError, match="holds no document"):
        rag.similar("empty.txt")


# ---- the commands ------------------------------------------------------------------------------------------------


def test_compare_prints_pairs_nearest_first(tmp_path: Path) -> None:
    told = Shell(tmp_path)("compare", "cat", "dog", "car", "--json")
    assert told.returncode == 0, told.stderr
    body = json.loads(told.stdout)
    first, second, _ = body["pairs"]
    assert (first["a"], first["b"]) == ("cat", "dog")
    assert first["cosine"] > second["cosine"]
    assert first["euclidean"] < second["euclidean"]
    assert body["dimension"] == 384


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["cat"], "one text"),
        (["cat", " "], "text 2 is empty"),
        (["cat", "dog", "--metric", "hamming"], "choices: cosine, dot, euclidean, manhattan"),
        (["cat", "dog", "--set", "embed.model=nothing-like-it", "--set", "embed.look_in=path"], "not found"),
    ],
)
def test_compare_says_what_is_wrong(args: list[str], said: str) -> None:
    told = CliRunner().invoke(app, ["compare", *args])
    assert told.exit_code == 1
    assert said in told.stderr
