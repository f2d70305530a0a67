"""The page in a headless Chromium, by doing what a user does. The server is the real one, on a real socket."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_embed import FakeEmbedder, open_rag
from fakes_read import ScriptedReader
from hostile import NAMES, PAYLOADS
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from serving import Served, served
from shell import write
from test_serve_documents import pdf

from rag.build import Rag
from rag.errors import Cancelled
from rag.serve.stream import EventStream

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"

if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("no Chromium on this machine (apt-get install chromium); CI has one", allow_module_level=True)

BIRDS = """# Birds

😀 Nothing about it here. The heron is grey.

## Food

The heron eats frogs and small fish. It waits for them in shallow water.
"""
HTML = """<!doctype html><html><head><title>Herons</title><style>p { color: red }</style>
<script>fetch("http://evil.example/")</script></head><body><main><h1>Herons of &lt;the&gt; river</h1>
<p>They stand in shallow water for hours and wait, often alone.</p>
<p onclick="alert(1)">The <b>heron</b> eats <a href="http://evil.example/">frogs</a> &amp; small fish. It is grey.</p>
</main></body></html>
"""
LISTED = "## Supported browsers\n\n- Firefox\n- Chrome"
HANDBOOK = (
    ["Handbook of metals", "This page says nothing of use."],
    ["Copper melts at 1085 degrees Celsius.", "Iron melts at 1538 degrees Celsius.", "Both are metals."],
)
COPPER = "At what temperature does copper melt?"
FROGS = "What does the heron eat?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = write(tmp_path_factory.mktemp("home") / "papers", birds_md=BIRDS)
    pdf(folder / "handbook.pdf", *HANDBOOK)
    with open_rag(folder, tmp_path_factory.mktemp("index"), answer__min_confidence=0.05) as rag:
        rag.sync()
        with served(rag) as server:
            yield server


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end, nothing may have been fetched elsewhere, nor a script have failed or a box opened."""
    opened = []

    def open_page(server: Served, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        context.set_default_timeout(10_000)
        page = context.new_page()
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(f"error {error}"))
        page.on("dialog", lambda dialog: (trouble.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith((server.address, "blob:")) else trouble.append(r.url))
        page.on("console", lambda m: trouble.append(m.text) if "Content Security Policy" in m.text else None)
        opened.append((context, trouble))
        page.goto(server.address)
        return page

    yield open_page
    for context, trouble in opened:
        context.close()
        assert trouble == []


def ask(page: Page, question: str, answers: int = 1) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".answer:not([aria-busy])")).to_have_count(answers)


# ---- asking ------------------------------------------------------------------------------------------------------


def test_ask_and_open_the_citation_on_its_pdf_page(library: Served, visit: Callable[..., Page]) -> None:
    page = visit(library)
    expect(page.locator("#holds")).to_have_text("2 files · 4 chunks")
    ask(page, COPPER)
    expect(page.locator(".answer-text")).to_contain_text("Copper melts at 1085 degrees Celsius.")
    page.get_by_role("button", name=re.compile("^Source 1: handbook.pdf, page 2")).first.click()
    expect(page.locator("#panel-title")).to_have_text("handbook.pdf")
    expect(page.get_by_alt_text("Page 2 of handbook.pdf")).to_be_visible()
    box = page.locator(".box").first
    expect(box).to_be_visible()
    marked = box.bounding_box()
    sheet = page.locator(".sheet").bounding_box()
    assert marked is not None
    assert sheet is not None
    # The line was drawn at 72 of 595 and 700 of 842 points, 12 points high.
    assert abs((marked["x"] - sheet["x"]) / sheet["width"] - 72 / 595) < 0.01
    assert abs((marked["y"] - sheet["y"]) / sheet["height"] - (842 - 712) / 842) < 0.01
    assert marked["y"] < page.viewport_size["height"]  # type: ignore[index]  # in view
    page.get_by_role("button", name="Previous page").click()
    expect(page.get_by_alt_text("Page 1 of handbook.pdf")).to_be_visible()
    expect(page.locator(".box")).to_have_count(0)
    expect(page.get_by_role("button", name="Previous page")).to_be_disabled()
    page.get_by_role("button", name="As text").click()
    expect(page.locator("pre.text")).to_contain_text("Iron melts at 1538")


def test_a_citation_of_a_text_opens_at_the_exact_words(library: Served, visit: Callable[..., Page]) -> None:
    """Behind a character that JavaScript counts as two."""
    page = visit(library)
    ask(page, FROGS)
    page.get_by_role("button", name=re.compile(r"^birds\.md:7")).first.click()
    expect(page.locator("mark")).to_have_text("The heron eats frogs and small fish.")
    expect(page.locator("mark")).to_be_in_viewport()
    expect(page.locator("pre.text")).to_contain_text("😀 Nothing about it here.")


def test_a_citation_of_html_opens_at_the_exact_words(
    make_rag: Callable[..., Rag], visit: Callable[..., Page], tmp_path: Path
) -> None:
    """Marked in the text that was read of it; none of its own markup, styles or scripts reaches the page."""
    folder = write(tmp_path / "site")
    (folder / "heron.html").write_text(HTML, encoding="utf-8")
    rag = make_rag(docs=folder, answer__min_confidence=0)
    rag.sync()
    with served(rag) as server:
        page = visit(server)
        ask(page, FROGS)
        page.get_by_role("button", name=re.compile(r"^heron\.html:")).first.click()
        expect(page.locator("#panel-title")).to_have_text("heron.html")
        expect(page.locator("mark")).to_have_text("The heron eats frogs & small fish.")
        expect(page.locator("mark")).to_be_in_viewport()
        expect(page.locator("pre.text")).to_contain_text("Herons of <the> river")
        assert page.locator("pre.text > :not(mark)").count() == 0
        color = page.locator("mark").evaluate("node => getComputedStyle(node).backgroundColor")
        assert color not in (
            "rgba(0, 0, 0, 0)",
            page.locator("pre.text").evaluate("n => getComputedStyle(n).backgroundColor"),
        )


def test_a_row_is_shown_below_its_head_and_a_list_as_a_sentence(
    make_rag: Callable[..., Rag], visit: Callable[..., Page], tmp_path: Path
) -> None:
    folder = write(tmp_path / "shop", parts_csv="part,weight\nSea anchor,17 kg\n", site_md=f"{BIRDS}\n{LISTED}\n")
    rag = make_rag(docs=folder, answer__min_confidence=0)
    rag.sync()
    with served(rag) as server:
        page = visit(server)
        ask(page, "What is the weight of the sea anchor?")
        expect(page.locator("button.source").first).to_contain_text(re.compile(r"part \| weight.*Sea anchor \| 17 kg"))
        page = visit(server)
        ask(page, "Which browsers are supported?")
        expect(page.locator(".answer-text").first).to_contain_text("Supported browsers: Firefox; Chrome")
        page.locator("button.marker").first.click()
        expect(page.locator("mark")).to_have_text(LISTED.removeprefix("## "), use_inner_text=False)


def test_passages_say_how_they_were_found(library: Served, visit: Callable[..., Page]) -> None:
    page = visit(library)
    ask(page, COPPER)
    page.get_by_text("passages found, with scores").click()
    first = page.locator(".passage").first
    expect(first).to_contain_text("Copper melts")
    for stage in ("dense", "lexical", "fusion"):
        expect(first.get_by_role("list", name="Why it was found")).to_contain_text(stage)
    first.get_by_role("button", name="handbook.pdf, page 1").click()
    expect(page.locator(".sheet .box").first).to_be_visible()


def test_what_is_not_there_is_said(visit: Callable[..., Page], make_rag: Callable[..., Rag], tmp_path: Path) -> None:
    folder = write(tmp_path / "few", birds_md=BIRDS)
    rag = make_rag(docs=folder, answer__min_confidence=0.99)
    rag.sync()
    with served(rag) as server:
        page = visit(server)
        ask(page, "Who composed the opera Tosca?")
        expect(page.locator(".abstained")).to_have_text("The documents don't hold an answer to this.")
        expect(page.get_by_text("answer.min_confidence")).to_be_visible()
        page.locator(".nearest button").first.click()
        expect(page.locator("mark")).to_be_visible()


def test_only_one_file_is_asked(library: Served, visit: Callable[..., Page]) -> None:
    page = visit(library)
    page.get_by_role("button", name="Files").click()
    page.get_by_role("button", name="Ask in birds.md only").click()
    expect(page.get_by_label("In", exact=True)).to_have_value("birds.md")
    ask(page, COPPER)
    page.locator(".passages summary").click()
    places = page.locator(".passage-head bdi").all_inner_texts()
    assert places
    assert all(place.startswith("birds.md") for place in places)


def test_a_short_answer_stands_before_its_sentence(
    make_rag: Callable[..., Rag], visit: Callable[..., Page], tmp_path: Path
) -> None:
    rag = make_rag(docs=write(tmp_path / "short", birds_md=BIRDS), answer__min_confidence=0, generate__reader="builtin")
    rag._parts["passage_reader"] = ScriptedReader({"frogs": 6.0})
    rag.sync()
    with served(rag) as server:
        page = visit(server)
        ask(page, "What does the heron eat?")
        expect(page.locator(".answer-text.short")).to_contain_text("frogs")
        page.locator(".answer-text.short .marker").click()
        expect(page.locator("#panel-title")).to_have_text("birds.md")
        expect(page.locator("mark")).to_have_text("frogs")


@pytest.fixture
def slow(make_rag: Callable[..., Rag], tmp_path: Path) -> Iterator[Served]:
    """With a model that writes a letter at a time."""
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    folder = write(tmp_path / "slow", birds_md=BIRDS)
    rag = make_rag(docs=folder, answer__min_confidence=0)
    replies = ["The heron eats frogs and small fish. It was elected in 1998.", "What else does the heron eat?"]
    rag._llm = FakeListChatModel(responses=[replies[0], replies[1], replies[0]], sleep=0.02)
    rag.sync()
    with served(rag) as server:
        yield server


def test_what_is_written_streams_and_is_replaced_by_what_was_checked(slow: Served, visit: Callable[..., Page]) -> None:
    page = visit(slow)
    page.get_by_label("Question", exact=True).fill(FROGS)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Unchecked while it is written:")).to_be_visible()
    expect(page.locator(".draft")).to_contain_text("The heron eats")
    expect(page.locator(".answer:not([aria-busy])")).to_have_count(1)
    expect(page.locator(".answer")).to_contain_text("small fish")
    expect(page.locator(".answer")).not_to_contain_text("1998")
    expect(page.locator(".answer")).to_contain_text("1 unsupported sentence was dropped")
    ask(page, "What else?", 2)  # a follow-up is rewritten by the model
    expect(page.get_by_text("Searched for: What else does the heron eat?")).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".turn")).to_have_count(0)


def test_stop_stops(slow: Served, visit: Callable[..., Page]) -> None:
    page = visit(slow)
    page.get_by_label("Question", exact=True).fill(FROGS)
    page.keyboard.press("Enter")
    expect(page.locator(".draft")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".answer .told")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    for _ in range(200):
        if slow.desk.questions.inside == 0:
            break
        page.wait_for_timeout(10)
    assert slow.desk.questions.inside == 0


def test_a_new_conversation_has_nothing_of_the_old(slow: Served, visit: Callable[..., Page]) -> None:
    page = visit(slow)
    ask(page, FROGS)
    page.get_by_label("Question", exact=True).fill("What else?")
    page.keyboard.press("Enter")
    expect(page.locator(".draft")).to_be_visible()
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
    expect(page.locator("#said")).to_have_text("Stopped.")
    expect(page.locator("#fresh")).to_be_hidden()


def test_a_connection_that_breaks_is_told(
    library: Served, visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(stream: EventStream, send: Any) -> None:
        await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
        raise OSError  # what then is unfinished is cut off

    monkeypatch.setattr(EventStream, "_send_all", broken)
    page = visit(library)
    ask(page, COPPER)
    expect(page.locator(".answer .bad")).to_have_text("the server can't be reached (is rag serve still running?)")


# ---- the folder --------------------------------------------------------------------------------------------------


@pytest.fixture
def own(make_rag: Callable[..., Rag], tmp_path: Path) -> Iterator[tuple[Served, Rag, Path]]:
    folder = write(tmp_path / "own", birds_md=BIRDS)
    rag = make_rag(docs=folder, answer__min_confidence=0)
    rag.sync()
    with served(rag) as server:
        yield server, rag, folder


def test_files_are_added_asked_and_deleted(own: tuple[Served, Rag, Path], visit: Callable[..., Page]) -> None:
    server, _, folder = own
    page = visit(server)
    page.get_by_role("button", name="Files").click()
    chosen = {"name": "metals.txt", "mimeType": "text/plain", "buffer": b"Copper melts at 1085 degrees Celsius.\n"}
    page.get_by_label("Files to add").set_input_files(chosen)  # type: ignore[arg-type]
    expect(page.locator("#file-list")).to_contain_text("metals.txt")
    ask(page, COPPER)
    expect(page.locator(".answer-text")).to_contain_text("1085")
    page.get_by_label("Files to add").set_input_files({**chosen, "buffer": b"Copper melts at 1084 degrees.\n"})  # type: ignore
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert "1085" in (folder / "metals.txt").read_text()
    page.get_by_role("button", name="Delete metals.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#file-list")).not_to_contain_text("metals.txt")
    assert not (folder / "metals.txt").exists()


def test_files_are_dropped_in(own: tuple[Served, Rag, Path], visit: Callable[..., Page]) -> None:
    server, _, folder = own
    page = visit(server)
    expect(page.locator("#holds")).to_contain_text("1 file")
    data = page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["Tin melts at 232 degrees."], "tin.txt"));
            return data;
        }"""
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": data})
    expect(page.get_by_text("Drop files to add them")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": data})
    expect(page.locator("#file-list")).to_contain_text("tin.txt")
    assert (folder / "tin.txt").read_text() == "Tin melts at 232 degrees."


def test_a_sync_lists_what_failed_and_why(own: tuple[Served, Rag, Path], visit: Callable[..., Page]) -> None:
    server, _, folder = own
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    page = visit(server)
    page.get_by_role("button", name="Files").click()
    page.get_by_role("button", name="Sync now").click()
    failures = page.locator(".failures")
    expect(failures).to_contain_text("broken.pdf")
    expect(failures).to_contain_text("failed")
    expect(page.locator(".note.bad")).to_contain_text("1 file could not be read")
    expect(page.locator("#sync-told")).to_contain_text("unchanged")


class Endless(FakeEmbedder):
    """Embeds for ever, ten tokens at a time; one that is stopped ends when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.end = threading.Event()

    def passage_vectors(self, texts: Any, progress: Callable[[int], None] | None = None) -> Any:
        try:
            while progress and not self.end.wait(0.02):
                progress(10)
        except Cancelled:
            assert self.end.wait(30)
            raise
        return super().passage_vectors(texts, progress)


def test_a_sync_shows_how_far_it_is_and_stops(own: tuple[Served, Rag, Path], visit: Callable[..., Page]) -> None:
    """And whoever goes by keyboard keeps the place meanwhile."""
    server, rag, folder = own
    rag._parts["embedder"] = embedder = Endless()
    write(folder, tin_txt="Tin melts at 232 degrees Celsius.")
    page = visit(server)
    page.get_by_role("button", name="Files").press("Enter")
    page.get_by_role("button", name="Sync now").press("Enter")
    told, bar = page.locator("#sync-told"), page.get_by_role("progressbar", name="Sync progress")
    stop = page.locator("#sync-box").get_by_role("button", name="Stop")
    expect(told).to_contain_text("Syncing: 2 files seen, ")
    expect(bar).to_have_attribute("max", str(len("Tin melts at 232 degrees Celsius.") + len(BIRDS.encode())))
    button = stop.element_handle()
    assert button is not None
    tokens = [0]
    while len(tokens) < 4:
        expect(told).not_to_have_text(re.compile(f"seen, {tokens[-1]:,} tokens embedded"))
        tokens.append(int(re.sub(r"\D", "", told.inner_text().partition("seen")[2])))
    assert tokens == sorted(set(tokens))
    assert button.evaluate("node => node.isConnected")  # one that is made anew can't be clicked while it is pressed
    expect(stop).to_be_focused()
    expect(page.locator("#holds")).to_have_text("syncing…")
    page.keyboard.press("Enter")
    expect(told).to_have_text("Stopping…")
    expect(stop).to_be_focused()
    page.keyboard.press("Enter")  # does nothing more
    embedder.end.set()
    expect(told).to_have_text("Stopped; what was done is kept.")
    expect(bar).to_have_count(0)
    expect(page.get_by_role("button", name="Sync now")).to_be_focused()
    page.keyboard.press("Enter")
    expect(told).to_contain_text("1 added")
    expect(page.locator("#file-list")).to_contain_text("tin.txt")


def test_a_sync_made_elsewhere_is_seen_within_five_seconds(
    own: tuple[Served, Rag, Path], visit: Callable[..., Page]
) -> None:
    server, rag, folder = own
    page = visit(server)
    expect(page.locator("#holds")).to_contain_text("1 file")
    (folder / "new.txt").write_text("Zinc melts at 420 degrees.")
    with Rag(rag.config) as other:  # as a command in a terminal has it
        other._parts["embedder"] = rag.embedder
        other.sync()
    expect(page.locator("#holds")).to_contain_text("2 files", timeout=5000)
    expect(page.locator(".note")).to_contain_text("The index was updated")


def test_a_server_started_over_another_folder_shows_its_files(
    visit: Callable[..., Page], make_rag: Callable[..., Rag], tmp_path: Path
) -> None:
    port = 0
    for name, holds in (("one", "tin_txt"), ("two", "lead_txt")):
        rag = make_rag(docs=write(tmp_path / name, **{holds: "It melts."}), index=tmp_path / f"index-{name}")
        rag.sync()
        with served(rag, port=port) as server:
            if not port:
                port = int(server.address.rpartition(":")[2])
                page = visit(server)
                page.get_by_role("button", name="Files").click()
            expect(page.locator("#file-list .file")).to_contain_text(holds.replace("_", "."))
            expect(page.locator("#name")).to_have_text(name)


def test_the_index_is_told(library: Served, visit: Callable[..., Page]) -> None:
    page = visit(library)
    expect(page.locator("#holds")).to_contain_text("files")
    page.get_by_role("button", name="Index").click()
    told = page.locator(".facts-table")
    for word in ("papers", "fake, 32 dimensions, cosine", "sentence, at most 24 tokens", "extractive", "2 indexed"):
        expect(told).to_contain_text(word)


def test_the_key_is_asked_for(library: Served, visit: Callable[..., Page]) -> None:
    with served(library.desk.rag, "a-secret-of-some-length") as server:
        page = visit(server)
        page.locator("#key-field").fill("a-wrong-secret-of-length")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That key is wrong.")).to_be_visible()
        page.locator("#key-field").fill("a-secret-of-some-length")
        page.keyboard.press("Enter")
        expect(page.locator("#holds")).to_contain_text("2 files")
        ask(page, COPPER)
        page.locator("button.source").first.click()
        expect(page.locator(".sheet img")).to_be_visible()  # pictures carry the key as well


def test_the_key_is_asked_for_until_it_is_right(library: Served, visit: Callable[..., Page]) -> None:
    """Whatever is typed or pressed: nothing of it may leave a page that asks no more and shows nothing."""
    with served(library.desk.rag, "a-secret-of-some-length") as server:
        page = visit(server)
        field = page.locator("#key-field")
        expect(field).to_be_focused()
        for _ in range(3):  # the first can be refused by the page, a browser lets the second through
            page.keyboard.press("Escape")
        expect(field).to_be_visible()
        field.fill("ein-schlüssel-ключ-鍵")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That key is wrong.")).to_be_visible()
        field.fill("a-secret-of-some-length")
        page.keyboard.press("Enter")
        expect(page.locator("#holds")).to_contain_text("2 files")
        expect(page.get_by_role("dialog")).to_have_count(0)


# ---- everybody can use it ----------------------------------------------------------------------------------------


def test_by_keyboard_alone(library: Served, visit: Callable[..., Page]) -> None:
    page = visit(library)
    expect(page.get_by_label("Question", exact=True)).to_be_focused()
    page.keyboard.type(FROGS)
    page.keyboard.press("Enter")
    expect(page.locator(".answer:not([aria-busy])")).to_have_count(1)
    expect(page.get_by_label("Question", exact=True)).to_be_focused()
    marker = page.locator(".marker").first
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if marker.evaluate("node => node === document.activeElement"):
            break
    expect(marker).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_be_focused()
    expect(page.locator("mark")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    expect(marker).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Question", exact=True)).to_be_focused()


def reach(page: Page, what: Locator, key: str = "Tab") -> None:
    """Press the key until `what` has the focus, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press(key)
        if what.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError(f"{key} never reaches {what}")


def test_files_are_kept_by_keyboard_alone(own: tuple[Served, Rag, Path], visit: Callable[..., Page]) -> None:
    """Found, added, asked in, replaced and deleted; the focus is never lost."""
    server, _, folder = own
    page = visit(server)
    page.on("filechooser", lambda chooser: None)  # from now on: what asks for it at the last moment may come too late
    expect(page.locator("#holds")).to_contain_text("1 file")
    reach(page, page.get_by_role("button", name="Files"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_be_focused()
    files, dialog = page.locator("#file-list"), page.get_by_role("dialog")
    pick = page.get_by_label("Files to add")
    reach(page, pick)
    assert pick.evaluate("node => getComputedStyle(node.previousElementSibling).outlineStyle") == "solid"  # to be seen
    for text in ("Tin melts at 232 degrees Celsius.", "Tin melts at 231.9 degrees Celsius."):
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files({"name": "tin.txt", "mimeType": "text/plain", "buffer": text.encode()})
        if "231.9" in text:
            expect(dialog).to_contain_text("'tin.txt' is there already")
            reach(page, dialog.get_by_role("button", name="Replace"))
            page.keyboard.press("Enter")
        expect(page.locator(".note", has_text="1 file added")).to_have_count(1 + ("231.9" in text))
        expect(files).to_contain_text("tin.txt")
        expect(pick).to_be_focused()
    assert "231.9" in (folder / "tin.txt").read_text()
    search = page.get_by_label("Find a file")
    reach(page, search, "Shift+Tab")
    page.keyboard.type("tin")
    expect(files.locator("li")).to_have_count(1)
    reach(page, page.get_by_role("button", name="Ask in tin.txt only"))
    page.keyboard.press("Enter")
    expect(page.get_by_label("Question", exact=True)).to_be_focused()
    expect(page.get_by_label("In", exact=True)).to_have_value("tin.txt")
    reach(page, page.get_by_role("button", name="Files"), "Shift+Tab")
    page.keyboard.press("Enter")
    delete = page.get_by_role("button", name="Delete tin.txt")
    reach(page, delete)
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("tin.txt is deleted from the folder")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#panel")).to_be_visible()  # that Escape was the dialog's
    expect(delete).to_be_focused()
    page.keyboard.press("Enter")
    reach(page, dialog.get_by_role("button", name="Delete"))
    page.keyboard.press("Enter")
    expect(files).not_to_contain_text("tin.txt")
    assert not (folder / "tin.txt").exists()
    expect(page.get_by_role("button", name="Delete birds.md")).to_be_focused()  # what stands nearest
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    expect(page.get_by_role("button", name="Files")).to_be_focused()


@pytest.mark.parametrize("name", ["Files", "Index"])
def test_a_panel_opened_before_the_server_has_answered_is_filled_then(
    own: tuple[Served, Rag, Path], visit: Callable[..., Page], name: str
) -> None:
    server, *_ = own
    page = visit(server)
    held: list[Any] = []
    silent = [True]
    page.route("**/status", lambda route: held.append(route) if silent else route.continue_())
    page.reload()
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#panel-title")).to_have_text(name)
    expect(page.locator("#panel").get_by_text("Add files")).to_be_hidden()
    while not held:
        page.wait_for_timeout(10)
    silent.clear()
    for route in held:
        route.continue_()
    if name == "Files":
        expect(page.get_by_text("Add files")).to_be_visible()
        expect(page.locator("#file-list li")).to_have_count(1)
    else:
        expect(page.locator(".facts-table")).to_contain_text("1 indexed")


def test_a_list_drawn_anew_behind_a_question_gives_the_focus_back(
    own: tuple[Served, Rag, Path], visit: Callable[..., Page]
) -> None:
    """What asked stands there as another button by then, or is gone."""
    server, rag, folder = own
    write(folder, tin_txt="Tin melts at 232 degrees Celsius.")
    rag.sync()
    page = visit(server)
    page.get_by_role("button", name="Files").press("Enter")
    delete, dialog = page.get_by_role("button", name="Delete tin.txt"), page.get_by_role("dialog")
    for name, heir in (("new.txt", delete), ("tin.txt", page.get_by_role("button", name="Delete new.txt"))):
        delete.press("Enter")
        expect(dialog).to_be_visible()
        before = delete.element_handle()
        assert before is not None
        if name == "tin.txt":
            (folder / name).unlink()
        else:
            write(folder, new_txt="Zinc melts at 420 degrees.")
        assert server.client.post("/sync").status_code == 202
        page.wait_for_function("node => !node.isConnected", arg=before)
        expect(dialog).to_be_visible()
        page.keyboard.press("Escape")
        expect(heir).to_be_focused()


def test_what_changes_while_the_end_of_a_sync_is_taken_in_is_followed_too(
    own: tuple[Served, Rag, Path], visit: Callable[..., Page]
) -> None:
    server, _, folder = own
    page = visit(server)
    page.get_by_role("button", name="Files").press("Enter")
    expect(page.locator("#file-list li")).to_have_count(1)
    held: list[Any] = []
    page.route("**/documents", lambda route: held.append(route) if not held else route.continue_())
    write(folder, tin_txt="Tin melts at 232 degrees Celsius.")
    page.get_by_role("button", name="Sync now").press("Enter")
    expect(page.locator("#sync-told")).to_contain_text("1 added")
    while not held:
        page.wait_for_timeout(10)
    (folder / "tin.txt").unlink()
    page.get_by_role("button", name="Sync now").press("Enter")  # what it changed hasn't been fetched yet
    expect(page.locator("#sync-told")).to_contain_text("1 added")
    held[0].continue_()
    expect(page.locator("#sync-told")).to_contain_text("1 deleted")
    expect(page.locator("#file-list li")).to_have_count(1)


def test_on_a_phone(library: Served, visit: Callable[..., Page]) -> None:
    page = visit(library, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    ask(page, COPPER)
    for opened in (False, True):
        if opened:
            page.locator("button.source").first.tap()
            expect(page.locator(".sheet img")).to_be_visible()
            panel = page.locator("#panel").bounding_box()
            assert panel is not None
            assert panel["width"] == 360
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Close").tap()
    expect(page.locator(".answer-text")).to_be_in_viewport()
    assert float(page.locator(".answer-text").evaluate("n => getComputedStyle(n).fontSize").removesuffix("px")) >= 16


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_the_systems_until_it_is_chosen(library: Served, visit: Callable[..., Page], system: str) -> None:
    page = visit(library, color_scheme=system)

    def is_dark() -> bool:
        color = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3])) < 3 * 128

    assert is_dark() == (system == "dark")
    for expected in ("light", "dark"):
        page.get_by_role("button", name=re.compile("^Theme")).click()
        assert is_dark() == (expected == "dark")
    page.reload()
    assert is_dark()


@pytest.fixture
def axe(browser: Browser) -> Iterator[Callable[..., tuple[Page, Callable[[str], None]]]]:
    """Opens a page where axe may run; and what looks for serious faults of the page as it is now."""
    from axe_playwright_python.sync_playwright import Axe

    contexts = []

    def open_page(server: Served, **options: Any) -> tuple[Page, Callable[[str], None]]:
        contexts.append(browser.new_context(bypass_csp=True, **options))
        page = contexts[-1].new_page()
        page.goto(server.address)

        def check(where: str) -> None:
            found = Axe().run(page).response["violations"]
            serious = [v for v in found if v["impact"] in ("serious", "critical")]
            told = [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in serious]
            assert not told, where

        return page, check

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(library: Served, axe: Callable[..., Any], scheme: str) -> None:
    page, check = axe(library, color_scheme=scheme)
    expect(page.locator("#holds")).to_contain_text("files")
    if scheme == "light":
        check("at first")
    ask(page, COPPER)
    page.locator(".passages summary").click()
    check("with an answer")
    page.locator("button.source").first.click()
    expect(page.locator(".sheet img")).to_be_visible()
    if scheme == "light":
        check("with a page")
    page.get_by_role("button", name="As text").click()
    expect(page.locator("mark")).to_be_visible()
    check("with a text")
    page.get_by_role("button", name="Files").click()
    check("with the files")
    page.get_by_role("button", name="Delete birds.md").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check("with a question that must be answered")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Index").click()
    check("with the index")


def test_axe_while_it_is_written(slow: Served, axe: Callable[..., Any]) -> None:
    page, check = axe(slow)
    page.get_by_label("Question", exact=True).fill(FROGS)
    page.keyboard.press("Enter")
    expect(page.locator(".draft")).to_be_visible()
    check("while it is written")
    expect(page.locator(".answer[aria-busy]")).to_have_count(1)  # still
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".answer .told")).to_have_text("Stopped.")
    check("stopped")


def test_axe_where_the_key_is_asked_for_and_on_a_phone(library: Served, axe: Callable[..., Any]) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    with served(library.desk.rag, "a-secret-of-some-length") as server:
        page, check = axe(server, **phone)
        page.locator("#key-field").fill("a-wrong-secret-of-length")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That key is wrong.")).to_be_visible()
        check("with the key's dialog")
        page.locator("#key-field").fill("a-secret-of-some-length")
        page.keyboard.press("Enter")
        ask(page, COPPER)
        page.locator(".passages summary").tap()
        check("with an answer")
        page.locator("button.source").first.tap()
        expect(page.locator(".sheet img")).to_be_visible()
        check("with a page")
        page.get_by_role("button", name="Close").tap()
        page.get_by_role("button", name="Files").tap()
        check("with the files")


# ---- hostile documents -------------------------------------------------------------------------------------------


def as_shown(text: str) -> str:
    """Marks that turn the reading direction are named, not obeyed."""
    return re.sub("[\u202a-\u202e]", lambda m: f"⟦U+{ord(m[0]):04X}⟧", text)


def lines(text: str) -> list[str]:
    return [line.strip() for line in as_shown(text).splitlines() if line.strip()]


def test_payloads_are_shown_as_text(make_rag: Callable[..., Rag], tmp_path: Path, visit: Callable[..., Page]) -> None:
    """In questions, passages, quotes, names and texts; those with several lines, too. `visit` sees to it that nothing
    was fetched elsewhere and no box opened."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    named = [NAMES[n % len(NAMES)].replace(".txt", f" {n}.txt") for n in range(len(PAYLOADS))]
    texts = [f"Herons number {n} say {payload} here.\n" for n, payload in enumerate(PAYLOADS)]
    for name, text in zip(named, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    rag = make_rag(docs=folder, answer__min_confidence=0, split__max_tokens=200)
    rag.sync()
    with served(rag) as server:
        page = visit(server)
        for number, (name, text) in enumerate(zip(named, texts, strict=True)):
            ask(page, f"What do herons number {number} say? {PAYLOADS[number]}".replace("\n", " "), number + 1)
            turn = page.locator(".turn").last
            for line in lines(f"What do herons number {number} say? {PAYLOADS[number]}".replace("\n", " ")):
                expect(turn.locator(".question")).to_have_text(line)
            turn.locator(".passages summary").click()
            mine = turn.locator(".passage", has_text=f"Herons number {number} say").first
            for line in lines(text):
                expect(mine).to_contain_text(line)
            mine.locator(".passage-head button").click()
            told = page.locator("pre.text")
            expect(told).to_contain_text(f"Herons number {number}")
            assert told.text_content() == as_shown(text)
            assert as_shown(name) == page.locator("#panel-title").text_content()
        assert page.locator(".turns img, .turns script, .turns a, .turns iframe, .turns svg").count() == 0
        page.get_by_role("button", name="Files").click()
        for name in named:
            expect(page.locator("#file-list")).to_contain_text(as_shown(name))
        page.get_by_role("button", name=re.compile(r"^Ask in javascript:alert\(1\) 1\.txt only")).click()
        ask(page, "What do herons say?", len(PAYLOADS) + 1)
        expect(page.locator(".turn").last.locator(".passage")).to_have_count(1)
        page.get_by_role("button", name="Index").click()
        expect(page.locator(".facts-table")).to_contain_text("indexed")
        for kind in ("img", "script", "a", "iframe", "svg"):
            assert page.locator(f"#panel-body {kind}, #turns {kind}").count() == 0


def test_a_hostile_pdf_is_a_picture_and_a_text(
    make_rag: Callable[..., Rag], tmp_path: Path, visit: Callable[..., Page]
) -> None:
    """Its scripts aren't run, its links aren't there, its attachments aren't opened."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.annotations import Link
    from pypdf.generic import DictionaryObject, NameObject, TextStringObject

    folder = tmp_path / "hostile"
    folder.mkdir()
    said = [line for payload in PAYLOADS for line in lines(payload) if line.isascii()]
    writer = PdfWriter(
        PdfReader(pdf(tmp_path / "plain.pdf", ["Herons say on this page:", *said], ["And nothing here."]))
    )
    script = {"/S": NameObject("/JavaScript"), "/JS": TextStringObject("app.launchURL('http://evil.example/js', true)")}
    writer.root_object[NameObject("/OpenAction")] = DictionaryObject({NameObject(k): v for k, v in script.items()})
    writer.add_annotation(0, Link(rect=(0, 0, 595, 842), url="http://evil.example/link"))
    writer.add_annotation(0, Link(rect=(0, 0, 595, 842), url="javascript:alert(1)"))
    writer.add_attachment("<img src=x onerror=alert(1)>.html", b"<script>alert(1)</script>")
    writer.add_metadata({"/Title": "<img src=x onerror=alert(1)>"})
    writer.write(folder / "javascript:alert(1).pdf")
    rag = make_rag(docs=folder, answer__min_confidence=0, split__max_tokens=200)
    rag.sync()
    with served(rag) as server:
        page = visit(server)
        ask(page, "What do herons say on this page?")
        page.locator("button.source").first.click()
        expect(page.get_by_alt_text("Page 1 of javascript:alert(1).pdf")).to_be_visible()
        expect(page.locator(".box").first).to_be_visible()
        assert page.locator("#panel a, #panel iframe, #panel embed, #panel object, #panel script").count() == 0
        page.locator(".sheet img").click()  # where the links lie
        assert page.url == f"{server.address}/"
        page.get_by_role("button", name="As text").click()
        for line in said:
            expect(page.locator("pre.text")).to_contain_text(line)
        expect(page.locator(".tools").last).to_contain_text("<img src=x onerror=alert(1)>")  # its title
        assert page.locator("#panel a, #panel iframe, #panel img, #panel script").count() == 0


def test_the_policy_stops_what_would_slip_through(library: Served, visit: Callable[..., Page]) -> None:
    """Even a fault of ours that put text into markup would run nothing."""
    page = visit(library)
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>x</b>'; return 'put' } catch (e) { return e.name } }"
    )
    assert refused == "TypeError"


def test_no_file_of_the_page_reaches_elsewhere_or_makes_markup() -> None:
    files = sorted((ROOT / "rag/serve/page").iterdir())
    assert len(files) > 10
    for file in files:
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), (
            file.name
        )
        assert not re.search(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=\"", text), file.name


# ---- for the documents -------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.environ.get("RAG_WRITE_DOCS") != "1", reason="RAG_WRITE_DOCS=1 makes the pictures anew")
def test_pictures(browser: Browser, tmp_path: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
    wide: dict[str, Any] = {"viewport": {"width": 1280, "height": 820}}
    with Rag.open(ROOT / "config.yaml", docs=ROOT / "data/documents", store__path=tmp_path / "index") as rag:
        rag.sync()
        with served(rag) as server:
            for name, options in (("light", wide), ("dark", {**wide, "color_scheme": "dark"}), ("phone", phone)):
                context = browser.new_context(**options)
                page = context.new_page()
                page.goto(server.address)
                ask(page, "How large is the standard error of an 80 % hit rate over 50 questions?")
                if name != "phone":
                    ask(page, "Which copies does a perceptual hash find?", 2)
                    page.locator(".turn").nth(1).locator("button.source").first.click()
                    expect(page.locator(".sheet img")).to_be_visible()
                page.wait_for_timeout(500)
                page.screenshot(path=IMAGES / f"page-{name}.png")
                context.close()
