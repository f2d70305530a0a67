"""The map: where dots lie, what the page lets happen, and the picture."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from shell import METAL, RIVER, write
from test_clusters import blobs, fill, points

from rag.build import Rag
from rag.cli import app
from rag.errors import QueryError
from rag.explore import mapping
from rag.explore.clusters import cluster
from rag.explore.map_page import page
from rag.explore.map_picture import png
from rag.explore.mapping import Map, draw_map, layout

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
ROOT = Path(__file__).parents[1]
HOSTILE = '<img src=x onerror="alert(1)">.md'
SCRIPT = "</script><script>alert(2)</script> <!-- & \u2028 ]]> "


def size(picture: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        return image.size


# ---- places --------------------------------------------------------------------------------------------------------


def test_pca_is_scikit_learns() -> None:
    from sklearn.decomposition import PCA

    vectors = blobs(30, 20, 10).astype(np.float32)
    found, told = layout(vectors, "pca")
    theirs = PCA(2, svd_solver="full").fit(vectors)
    assert np.abs(found) == pytest.approx(np.abs(theirs.transform(vectors)), abs=1e-3)
    assert f"{100 * theirs.explained_variance_ratio_.sum():.0f} %" in told[0]
    with_question, _ = layout(np.vstack([vectors, 100 * np.ones(8, np.float32)]), "pca", asked=True)
    assert with_question[:-1] == pytest.approx(found, abs=1e-4)  # the question moves nothing


@pytest.mark.parametrize("kind", ["tsne", "umap"])
def test_neighbours_stay_neighbours(kind: mapping.Kind) -> None:
    if kind == "umap":
        pytest.importorskip("umap")
    heap = np.repeat([0, 1], [30, 25])
    found, _ = layout(blobs(30, 25, apart=30).astype(np.float32), kind)
    distance = np.linalg.norm(found[:, None] - found[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (heap[distance.argmin(axis=1)] == heap).mean() > 0.95
    again, _ = layout(blobs(30, 25, apart=30).astype(np.float32), kind)
    assert again == pytest.approx(found)


@settings(max_examples=25)
@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=st.integers(-2, 2).map(float)))
def test_every_dot_is_on_the_map(vectors: np.ndarray) -> None:
    """One thing, equal things, one dimension: all lie in the frame, and page and groups hold each."""
    found = points(vectors)
    drawn = draw_map(found, "t", color="cluster", clusters=cluster(found))
    assert [d.id for d in drawn.dots] == list(found.ids)
    assert all(0 <= d.x <= 1 and 0 <= d.y <= 1 and d.group < len(drawn.groups) for d in drawn.dots)
    assert len(re.findall(r'data-row="\d', page(drawn))) == len(vectors)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_few_things_have_a_map_of_each_kind(n: int) -> None:
    for kind in ("pca", "tsne"):
        assert len(draw_map(points(np.ones((n, 3))), "t", kind, "cluster", cluster(points(np.ones((n, 3))))).dots) == n


def test_a_large_collection_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "SHOWN", 20)
    found = points(blobs(50, 50))
    hits = [("p99", 0.9), ("p3", 0.5)]
    drawn = draw_map(found, "t", color="cluster", clusters=cluster(found, k=2), question=("q", np.ones(8), hits))
    assert 18 <= len(drawn.dots) <= 20
    assert drawn.asked is not None
    assert [(drawn.dots[row].id, score) for row, score in drawn.asked.near] == hits  # what it found is there
    assert "of 100 vectors are shown" in drawn.notes[-1]
    with pytest.raises(QueryError, match="no 'taste' to colour by"):
        draw_map(found, "t", color="taste")


# ---- of a folder ---------------------------------------------------------------------------------------------------


def test_a_question_is_on_the_map_with_what_it_finds(make_rag: Callable[..., Rag], docs: Path) -> None:
    fill(docs)
    rag = make_rag()
    rag.sync()
    for of in ("documents", "chunks"):
        drawn = rag.map("copper melts", of=of)  # type: ignore[arg-type]
        assert drawn.asked is not None
        wanted = [p.source if of == "documents" else p.chunk_id for p in rag.search("copper melts")]
        assert [drawn.dots[row].id for row, _ in drawn.asked.near] == list(dict.fromkeys(wanted))
        assert set(drawn.groups) == {"birds", "(top)"}
    with pytest.raises(QueryError, match="empty"):
        rag.map(" ")


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "docs", birds_md=RIVER, metals_txt=METAL)

    def run(*args: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["map", *args])
        return done.exit_code, done.output

    code, told = run("--docs", "docs", "--png", "m.png", "--color", "cluster")
    assert (code, "picture in m.png" in told) == (0, True), told
    assert size(Path("m.png").read_bytes()) == (1600, 1000)
    assert not Path("map.html").exists()
    assert run("--docs", "docs")[0] == 0
    assert "metals.txt" in Path("map.html").read_text(encoding="utf-8")
    for wrong, said in ((["--out", "map.pdf"], "not a .html file"), (["--png", "no/m.png"], "no folder no")):
        code, told = run("--docs", "docs", *wrong)
        assert (code, said in told) == (2, True)


# ---- the page ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Map:
    from fakes_embed import open_rag

    folder = tmp_path_factory.mktemp("home") / "papers"
    write(folder, birds_md=RIVER, metals_txt=METAL)
    (folder / HOSTILE).write_text(f"# {SCRIPT}\n\nA heron \u202e {SCRIPT}\n", encoding="utf-8")
    with open_rag(folder, tmp_path_factory.mktemp("index")) as rag:
        rag.sync()
        return rag.map(f"heron {SCRIPT}")


def test_names_and_texts_are_no_markup(hostile: Map) -> None:
    text = page(hostile)
    assert text.count("<script") == text.count("</script") == 2  # ours
    assert "<img" not in text
    assert "\u202e" not in text
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/2000/svg", "", text)  # nothing to fetch
    assert size(png(hostile)) == (1600, 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("no Chromium on this machine (apt-get install chromium); CI has one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def test_the_page_in_a_browser(browser: object, hostile: Map, tmp_path: Path) -> None:
    from playwright.sync_api import Browser, expect

    assert isinstance(browser, Browser)
    file = tmp_path / "map.html"
    file.write_text(page(hostile), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(10_000)
    view = context.new_page()
    trouble: list[str] = []
    view.on("pageerror", lambda error: trouble.append(f"error {error}"))
    view.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
    view.on("request", lambda r: None if r.url == file.as_uri() else trouble.append(r.url))
    view.on("console", lambda message: trouble.append(message.text))
    view.goto(file.as_uri())
    expect(view.locator(".dot")).to_have_count(3)

    row = next(n for n, d in enumerate(hostile.dots) if d.id == HOSTILE)
    dot = view.locator(f"[data-dot='{row}']")
    dot.hover(force=True)
    expect(view.locator("#tip b")).to_have_text(HOSTILE)  # as text
    expect(view.locator("#tip")).to_contain_text("<script>alert(2)</script>")
    dot.click(force=True)
    expect(view.locator("#told b")).to_have_text(HOSTILE)

    other = next(n for n, d in enumerate(hostile.dots) if d.id == "birds.md")
    view.locator(".question ~ ol button, details summary").first.focus()
    view.locator("details summary").first.press("Enter")
    view.locator(f"details [data-row='{other}']").focus()  # by keyboard
    expect(view.locator("#told b")).to_have_text("birds.md")
    expect(view.locator("#told")).to_contain_text("heron stands")

    before = dot.get_attribute("transform")
    view.locator("#map").press("+")
    assert dot.get_attribute("transform") != before
    view.mouse.move(300, 400)
    view.mouse.down()
    view.mouse.move(360, 430)
    view.mouse.up()
    view.locator("#map").press("0")
    assert dot.get_attribute("transform") == before
    assert view.locator("img").count() == 0
    assert trouble == []
    context.close()


@pytest.mark.skipif(os.environ.get("RAG_WRITE_DOCS") != "1", reason="makes the pictures of docs/vectors.md")
def test_pictures_of_the_guide(browser: object, tmp_path: Path) -> None:
    from playwright.sync_api import Browser

    assert isinstance(browser, Browser)
    with Rag.open(docs=ROOT / "data/documents", store__path=tmp_path / "index") as rag:
        rag.sync()
        drawn = rag.map("How large is the hop size?", of="chunks", color="cluster")
    file = tmp_path / "map.html"
    file.write_text(page(drawn), encoding="utf-8")
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 1280, "height": 780}, color_scheme=scheme)
        view = context.new_page()
        view.goto(file.as_uri())
        assert drawn.asked is not None
        view.locator(f"[data-dot='{drawn.asked.near[0][0]}']").hover(force=True)
        view.screenshot(path=ROOT / f"docs/images/map-{scheme}.png")
        context.close()
