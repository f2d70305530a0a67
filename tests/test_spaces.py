"""Spaces: vectors of anything, kept in a file that is whole or refused, and searched exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shell import METAL, RIVER, write

from rag.build import Rag
from rag.cli import app
from rag.embed.similarity import METRICS, nearest
from rag.errors import IndexDamaged, QueryError, RagError, VectorError
from rag.explore import spaces as exploring
from rag.explore.spaces import read_vectors, search_space
from rag.store import spaces as storing
from rag.store.spaces import Spaces

VECTORS = np.asarray([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.2]], np.float32)
IDS = ["a", "b", "c", "d"]
ROWS = [{"kind": "bird", "n": 1}, {"kind": "bird", "n": 2}, {"kind": "metal", "n": 3}, {"kind": "metal"}]


@pytest.fixture
def spaces(tmp_path: Path) -> Spaces:
    return Spaces(tmp_path / "index")


# ---- kept ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)),
           elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(["dot", "euclidean", "manhattan"]), st.text(max_size=8),
)  # fmt: skip
def test_what_is_kept_comes_back(
    tmp_path_factory: pytest.TempPathFactory, vectors: Any, metric: str, word: str
) -> None:
    held = Spaces(tmp_path_factory.mktemp("index"))
    ids = [f"{word}{i}" for i in range(len(vectors))]
    rows = [{word: i, "b": None} for i in range(len(vectors))]
    found = held.add("s", vectors, ids, rows, metric, word)
    assert np.array_equal(found.vectors, vectors)
    assert (found.ids, found.metadata, found.metric, found.model) == (tuple(ids), tuple(rows), metric, word)
    assert held.names() == ["s"]


def test_a_space_is_replaced_whole_and_deleted(spaces: Spaces) -> None:
    before = spaces.add("s", VECTORS, IDS)
    spaces.add("s", VECTORS[:2, :2], IDS[:2])
    assert spaces.open("s").vectors.shape == (2, 2)
    assert before.vectors[3] == pytest.approx(VECTORS[3])  # who had it open keeps it
    assert [p.name for p in spaces.folder.iterdir()] == ["s.space"]
    spaces.delete("s")
    for use in (spaces.open, spaces.delete):
        with pytest.raises(QueryError, match="no space 's'"):
            use("s")


@pytest.mark.parametrize(
    ("vectors", "more", "told"),
    [
        (np.empty((0, 3)), {}, "shape"),
        ([1.0, 2.0], {}, "shape"),
        ([[1.0], [1.0, 2.0]], {}, "rows of numbers of one length"),
        ([["a"]], {}, "rows of numbers"),
        ([[1.0, 0], [np.nan, 1]], {}, "row 1 holds NaN"),
        ([[1.0, 0], [np.inf, 1]], {}, "row 1 holds NaN or infinity"),
        ([[1.0], [0.0]], {}, "row 1 is a vector of zeros"),
        ([[1.0], [2.0]], {"ids": ["x", "x"]}, "'x' is that of row 0 and of row 1"),
        ([[1.0], [2.0]], {"ids": ["x"]}, "2 vectors and 1 ids"),
        ([[1.0]], {"metadata": [{}, {}]}, "2 rows of metadata"),
        ([[1.0]], {"metadata": [{"a": float("nan")}]}, "metadata can't be kept"),
        ([[1.0]], {"metric": "taxi"}, "no metric 'taxi'"),
    ],
)
def test_what_cant_be_kept(spaces: Spaces, vectors: Any, more: Any, told: str) -> None:
    spaces.add("s", VECTORS)
    with pytest.raises(RagError, match=told):
        spaces.add("s", vectors, **more)
    assert np.array_equal(spaces.open("s").vectors, VECTORS)  # the one before stays


def test_too_much_is_refused(spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "MAX_BYTES", 40)
    with pytest.raises(VectorError, match="MB of vectors"):
        spaces.add("s", VECTORS)
    large = tmp_path / "large.npy"
    with large.open("wb") as stream:
        stream.truncate(2**31)  # a hole: it takes no room
    with pytest.raises(VectorError, match="2,048 MB, more than"):
        read_vectors(large)
    np.savez_compressed(tmp_path / "bomb.npz", v=np.zeros((1000, 100)))
    monkeypatch.setattr(exploring, "MAX_BYTES", 100_000)
    with pytest.raises(VectorError, match="inside"):
        read_vectors(tmp_path / "bomb.npz")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "documents", "Images"])
def test_names_that_cant_be(spaces: Spaces, name: str) -> None:
    with pytest.raises(QueryError):
        spaces.add(name, VECTORS)
    assert not spaces.folder.exists()


@settings(max_examples=60)
@given(st.data())
def test_a_changed_byte_or_a_cut_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    held = Spaces(tmp_path_factory.mktemp("index"))
    held.add("s", VECTORS, IDS, ROWS)
    file = held.folder / "s.space"
    whole = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole[at] ^= data.draw(st.integers(1, 255))
        file.write_bytes(whole)
    else:
        file.write_bytes(whole[:at])
    with pytest.raises(IndexDamaged, match="rag vectors add s FILE"):
        held.open("s")


# ---- searched ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_search_in_parts_is_exact(spaces: Spaces, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exploring, "PART", 7)
    vectors = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
    vectors[30] = vectors[3]  # a tie
    space = spaces.add("s", vectors, metric=metric)
    want = nearest(metric, vectors[3], vectors, 50)  # type: ignore[arg-type]
    found = search_space(space, vectors[3], 50)
    assert [int(i) for i, _ in found] == [row for row, _ in want]
    assert [s for _, s in found] == pytest.approx([s for _, s in want])
    assert "3" not in [i for i, _ in search_space(space, vectors[3], 49, without=3)]
    with pytest.raises(VectorError, match="4 dimensions"):
        search_space(space, [1.0, 2.0], 3)


# ---- files ---------------------------------------------------------------------------------------------------------


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.mark.parametrize("form", ["npz", "json", "csv", "parquet", "npy"])
def test_what_rag_embed_writes_is_read_back(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    assert run("embed", "a heron", "a nail", "--out", f"v.{form}").exit_code == 0
    done = run("vectors", "add", "things", f"v.{form}", "--docs", tmp_path)
    assert done.exit_code == 0, done.output
    with Rag.open(docs=tmp_path) as rag:
        space = rag.spaces.open("things")
        assert space.ids == (("0", "1") if form == "npy" else ("a heron", "a nail"))
        assert space.vectors == pytest.approx(rag.embedder.passage_vectors(["a heron", "a nail"]), abs=1e-5)
        known = rag.embedder.model.name
    told = run("vectors", "search", "things", "--text", "a bird", "--docs", tmp_path)
    if form in ("npz", "json"):
        assert space.model == known
        assert told.output.splitlines()[0].endswith("a heron")
    else:
        assert "nobody knows what" in told.output


def test_ids_and_metadata_of_each_form(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("code,kind,x,y\nq,bird,1,2\nr,metal,3,4\n", encoding="utf-8")
    np.savez(tmp_path / "v.npz", m=[[1, 2], [3, 4]], code=["q", "r"], kind=["bird", "metal"])
    body = [{"code": "q", "vector": [1, 2], "kind": "bird"}, {"code": "r", "vector": [3, 4], "kind": "metal"}]
    (tmp_path / "v.json").write_text(json.dumps(body), encoding="utf-8")
    files = ["v.csv", "v.npz", "v.json"]
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        pass
    else:
        parquet.write_table(pa.table({k: [row[k] for row in body] for k in body[0]}), tmp_path / "v.parquet")
        files.append("v.parquet")
    for name in files:
        table = read_vectors(tmp_path / name, "code", ["kind"] if name != "v.json" else [])
        assert np.asarray(table.vectors).tolist() == [[1, 2], [3, 4]], name
        assert table.ids == ["q", "r"]
        assert table.metadata == [{"kind": "bird"}, {"kind": "metal"}]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("v.txt", b"1 2", "unknown format '.txt'"),
        ("v.npz", b"not a zip", "can't be read as .npz"),
        ("v.npy", b"\x93NUMPY", "can't be read as .npy"),
        ("v.json", b"{", "can't be read as .json"),
        ("v.json", b"[" * 50_000, "can't be read as .json"),
        ("v.json", b'{"a": 1}', "isn't a list of objects"),
        ("v.json", b'[{"id": "a"}]', "entry 0 has no 'vector'"),
        ("v.csv", b"id,x\na,one\n", "line 2, column 'x': 'one' isn't a number"),
        ("v.csv", b"id,x,y\na,1\n", "line 2, column 'y'"),
        ("v.csv", b"\xff\xfe\x00", "can't be read as .csv"),
        ("v.parquet", b"PAR1", "can't be read as .parquet"),
        ("none.csv", None, "no file"),
    ],
)
def test_files_that_hold_no_vectors(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RagError, match=told):
        read_vectors(tmp_path / name)


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    for name, save in (("v.npy", np.save), ("v.npz", np.savez)):
        save(tmp_path / name, np.asarray([{"a": 1}], object), allow_pickle=True)
        with pytest.raises(VectorError, match="can't be read"):
            read_vectors(tmp_path / name)


# ---- on the command line -------------------------------------------------------------------------------------------


def test_from_a_file_to_neighbours_groups_and_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = ("--set", f"store.path={tmp_path / 'index'}")
    np.savez("v.npz", v=VECTORS, id=IDS, kind=[r["kind"] for r in ROWS])
    np.save("one.npy", VECTORS[2])
    for args, told in (
        (("vectors", "add", "nodes", "v.npz", "--metadata", "kind"), "nodes: 4 vectors of 3 dimensions, cosine"),
        (("vectors", "list"), "nodes  4 x 3  cosine"),
        (("vectors", "similar", "nodes", "a", "-k", "1"), "0.994  b"),
        (("vectors", "search", "nodes", "--like", "a", "-k", "1"), "0.994  b"),
        (("vectors", "search", "nodes", "--vector", "one.npy", "-k", "1"), "1.000  c"),
        (("cluster", "--in", "nodes", "-k", "2"), "bird  (2)"),
        (("map", "--in", "nodes", "--color", "kind", "--png", "m.png", "--out", "m.html"), "4 vectors drawn in m.html"),
        (("vectors", "delete", "nodes"), "nodes is deleted"),
    ):
        done = run(*args, *here)
        assert done.exit_code == 0, done.output
        assert told in done.output
    assert "bird" in Path("m.html").read_text(encoding="utf-8")
    np.save("v.npy", VECTORS)
    run("vectors", "add", "nodes", "v.npy", *here)
    for args, told in (
        (("vectors", "similar", "nodes", "z"), "no 'z' in the space nodes"),
        (("vectors", "search", "nodes", "--vector", "v.npy"), "holds 4 vectors"),
        (("vectors", "search", "nodes"), "name one of"),
        (("map", "--in", "nodes", "--color", "folder"), "no 'folder' to colour by"),
        (("map", "--in", "nodes", "--question", "q"), "not of a space"),
        (("cluster", "--in", "other"), "spaces: nodes"),
    ):
        done = run(*args, *here)
        assert done.exit_code in (1, 2)
        assert told in done.output


def test_the_index_and_its_spaces_leave_each_other_alone(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, birds_md=RIVER)
    rag = make_rag()
    rag.spaces.add("nodes", VECTORS, IDS)  # before there is an index
    rag.sync()
    write(docs, metals_txt=METAL)
    rag.sync(reindex=True)
    rag.compact()
    assert rag.spaces.open("nodes").ids == tuple(IDS)
    check = next(c for c in rag.doctor().checks if c.name == "vector spaces")
    assert check.told == "4 vectors in nodes"
    file = rag.spaces.folder / "nodes.space"
    file.write_bytes(file.read_bytes()[:-1])
    health = rag.doctor()
    assert [c.name for c in health.checks if not c.ok] == ["vector spaces"]
