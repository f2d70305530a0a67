"""Pages without text, read by the system's tesseract: a fake on the PATH tests the way, the real one the words."""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hostile import pdf_of
from PIL import Image, ImageDraw

from rag.config import Config, Load
from rag.errors import ConfigError, DocumentError, EmptyError
from rag.load import load_file
from rag.load.pdf import ocr
from rag.load.worker import LoaderPool
from rag.types import Source, label

OCR = Load(ocr="tesseract", workers=1)


def scan(path: Path, pages: int = 1, text: bool = True) -> Path:
    """A PDF of a page with text, where `text`, and of pages that are pictures of words."""
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path))
    if text:
        canvas.drawString(50, 700, "A page with text of its own.")
        canvas.showPage()
    for number in range(pages):
        picture = Image.new("L", (1200, 400), 255)
        ImageDraw.Draw(picture).text((40, 100), f"The heron stands {number}", fill=0, font_size=80)
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        canvas.drawImage(ImageReader(buffer), 0, 400, 590, 200)
        canvas.showPage()
    canvas.save()
    return path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`fake(body)`: a program `tesseract` whose Python has `args`, `picture` and `say`."""

    def make(body: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "tesseract"
        program.write_text(
            f"#!{sys.executable}\nimport sys, os, time\nargs, picture = sys.argv[1:], sys.stdin.buffer.read()\n"
            f"say = sys.stdout.write\n{body}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return make


def through_a_worker(path: Path, config: Load = OCR) -> Source | DocumentError:
    with LoaderPool(config) as pool:
        [(_, loaded)] = pool.load_many([(path, path.name)])
    return loaded


def test_pages_without_text_are_read_and_said_so(tmp_path: Path, fake: Any) -> None:
    fake("say(f'The heron {picture[:2].decode()} {args[3]}\\n\\nIt waits.\\n\\f')")
    source = through_a_worker(scan(tmp_path / "scan.pdf"))
    assert isinstance(source, Source)
    assert source.text == "A page with text of its own.\n\nThe heron P5 eng\n\nIt waits."
    assert source.warnings == ("page 2: read by OCR",)
    assert label("scan.pdf", source.locate(source.text.index("heron"))) == "scan.pdf, page 2 (read by OCR)"
    assert label("scan.pdf", source.locate(0)) == "scan.pdf, page 1"


def test_nothing_is_started_unless_asked(tmp_path: Path, fake: Any) -> None:
    folder = fake("open(os.path.dirname(sys.argv[0]) + '/ran', 'w')")
    source = load_file(scan(tmp_path / "scan.pdf"), "scan.pdf", Load())
    assert source.warnings == ("page 2: no text, scanned?",)
    with pytest.raises(EmptyError) as caught:
        load_file(scan(tmp_path / "b.pdf", text=False), "b.pdf", Load())
    assert "load.ocr" in caught.value.hint
    assert not (folder / "ran").exists()


def test_without_the_program_the_page_is_named_and_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = load_file(scan(tmp_path / "scan.pdf"), "scan.pdf", OCR)
    assert source.warnings == ("page 2: no text, scanned?: no OCR: there is no program `tesseract` on the PATH",)
    with pytest.raises(EmptyError, match="no program `tesseract`") as caught:
        load_file(scan(tmp_path / "b.pdf", text=False), "b.pdf", OCR)
    assert "apt-get install tesseract-ocr" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.stderr.write('Error opening data file xyz'); sys.exit(1)", "OCR failed: Error opening data file xyz"),
        ("os.kill(os.getpid(), 9)", "OCR failed: tesseract ended with status -9"),
        ("say('  \\n\\f')", "page 2: no text, scanned?"),
    ],
)
def test_a_program_that_fails_costs_only_its_page(tmp_path: Path, fake: Any, body: str, told: str) -> None:
    fake(body)
    source = load_file(scan(tmp_path / "scan.pdf"), "scan.pdf", OCR)
    assert source.text == "A page with text of its own."
    assert told in source.warnings[0]


def test_a_slow_program_is_stopped_before_the_file_is_lost(tmp_path: Path, fake: Any) -> None:
    fake("time.sleep(60)")
    source = through_a_worker(scan(tmp_path / "scan.pdf", pages=3), OCR.model_copy(update={"timeout_s": 6.0}))
    assert isinstance(source, Source)
    assert source.warnings == (f"pages 2-4: no text, scanned?: {ocr.LATE}",)


def test_a_page_of_any_size_is_drawn_small(tmp_path: Path) -> None:
    from pypdfium2 import PdfiumError

    for box in (b"0 0 14400 14400", b"0 0 1 1", b"0 0 100000 1"):
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[" + box + b"]/Contents 4 0 R>>"
        body = b"<</Length 12>>stream\n0 0 9 9 re f \nendstream"
        data = pdf_of(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, body)
        try:
            assert len(ocr.draw(data, 0)) < 1.1 * ocr.PIXELS
        except PdfiumError:
            assert box == b"0 0 100000 1"


def test_a_language_is_no_option_of_the_program() -> None:
    assert Load(ocr_language="deu+eng").ocr_language == "deu+eng"
    for bad in ("--user-words x", "eng;ls", "../x", ""):
        with pytest.raises((ConfigError, ValueError)):
            Config.model_validate({"load": {"ocr_language": bad}})


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="no tesseract on this machine")
def test_the_real_program_reads_the_words(tmp_path: Path) -> None:
    source = through_a_worker(scan(tmp_path / "scan.pdf", text=False))
    assert isinstance(source, Source), source
    assert "The heron stands" in source.text
    assert source.locate(0).ocr


def test_a_passage_and_a_citation_say_it(tmp_path: Path, docs: Path, fake: Any, make_rag: Any) -> None:
    fake("say('Copper melts at 1085 degrees.')")
    scan(docs / "scan.pdf", text=False)
    rag = make_rag(load__ocr="tesseract", answer__min_confidence=0)
    rag.sync()
    [passage] = rag.search("At what temperature does copper melt?")
    assert passage.label == "scan.pdf, page 1 (read by OCR)"
    answer = rag.ask("At what temperature does copper melt?")
    [citation] = answer.citations
    assert citation.label == "scan.pdf, page 1 (read by OCR)"
    assert citation.location.ocr
    assert answer.to_dict()["citations"][0]["ocr"] is True
