"""Make the documents of the sample folder that are not plain text.

Sources in a small subset of Markdown lie under ``data/sources``. Each becomes one file under
``data/documents``: PDF with reportlab, Word with python-docx, HTML with a page frame (menu,
banner, footer) around the article.

    python data/make_documents.py            write the files
    python data/make_documents.py --check    exit 1 if a file is missing or its text is out of date

Two runs with the same versions of the libraries write the same bytes: dates and zip time stamps are fixed.
``--check`` compares the extracted text, so another version of a library does not raise a false alarm.
"""

from __future__ import annotations

import argparse
import difflib
import html
import io
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
DOCUMENTS = HERE / "documents"

# What is made from what: path of the source -> path of the document.
OUTPUTS: dict[str, str] = {
    "audio/archive-index.md": "audio/archive-index.docx",
    "audio/speech-vectors.md": "audio/speech-vectors.pdf",
    "images/clip-image-vectors.md": "images/clip-image-vectors.pdf",
    "images/preparing-pictures.md": "images/preparing-pictures.html",
    "ops/sync-and-deletions.md": "ops/sync-and-deletions.docx",
    "retrieval/hybrid-retrieval.md": "retrieval/hybrid-retrieval.html",
    "text/pooling-and-normalisation.md": "text/pooling-and-normalisation.html",
}


@dataclass(frozen=True)
class Block:
    """One block of a source: heading, paragraph, list item, table or code."""

    kind: str  # "heading" | "paragraph" | "bullet" | "number" | "table" | "code"
    text: str = ""
    level: int = 0  # of a heading; the number of a numbered item
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass
class Page:
    """A parsed source: its front matter and its blocks, the title heading left out."""

    title: str
    author: str
    date: datetime
    blocks: list[Block] = field(default_factory=list)


# --- reading the sources --------------------------------------------------------------------------


def parse(text: str) -> Page:
    """Read front matter, then blocks. Lines of a paragraph or list item are joined with one blank."""
    front, _, body = text.partition("\n\n")
    meta = dict(line.split(": ", 1) for line in front.splitlines())
    page = Page(meta["title"], meta["author"], datetime.fromisoformat(meta["date"]))
    lines = body.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip():
            continue
        if line.startswith("```"):
            end = lines.index("```", at)
            page.blocks.append(Block("code", "\n".join(lines[at:end])))
            at = end + 1
        elif match := re.match(r"(#+) (.*)", line):
            if len(match[1]) > 1:
                page.blocks.append(Block("heading", match[2], len(match[1])))
        elif line.startswith("|"):
            rows = [line]
            while at < len(lines) and lines[at].startswith("|"):
                rows.append(lines[at])
                at += 1
            cells = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]
            page.blocks.append(Block("table", rows=(cells[0], *cells[2:])))
        else:
            item = re.match(r"(?:(-)|(\d+)\.) (.*)", line)
            words = [item[3] if item else line]
            while at < len(lines) and lines[at].strip() and not re.match(r"- |\d+\. |\||#|```", lines[at]):
                words.append(lines[at].strip())
                at += 1
            kind = "paragraph" if not item else "bullet" if item[1] else "number"
            page.blocks.append(Block(kind, " ".join(words), int(item[2] or 0) if item else 0))
    return page


def runs(text: str) -> list[tuple[str, str]]:
    """Split inline text into (style, text) pairs; the style is "", "bold", "italic" or "code"."""
    parts: list[tuple[str, str]] = []
    for piece in re.split(r"(\*\*.+?\*\*|\*\w.*?\*|`.+?`)", text):
        if piece.startswith("**"):
            parts.append(("bold", piece[2:-2]))
        elif re.fullmatch(r"\*\w.*\*", piece):
            parts.append(("italic", piece[1:-1]))
        elif piece.startswith("`"):
            parts.append(("code", piece[1:-1]))
        elif piece:
            parts.append(("", piece))
    return parts


def inline(text: str, code_open: str, code_close: str) -> str:
    """Inline text as markup: bold as <b>, italic as <i>, code between the given tags, the rest escaped."""
    frames = {
        "": ("", ""),
        "bold": ("<b>", "</b>"),
        "italic": ("<i>", "</i>"),
        "code": (code_open, code_close),
    }
    return "".join(frames[style][0] + html.escape(part, quote=False) + frames[style][1] for style, part in runs(text))


# --- HTML -----------------------------------------------------------------------------------------

STYLE = """\
body { font: 1rem/1.5 sans-serif; margin: 0; color: #222; }
header, footer { background: #eef1f4; padding: 0.5rem 1.5rem; }
nav a { margin-right: 1rem; }
main { max-width: 44rem; margin: 0 auto; padding: 0 1.5rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid #bbb; padding: 0.2rem 0.6rem; text-align: left; }
pre { background: #f5f5f5; padding: 0.6rem; overflow-x: auto; }"""


def make_html(page: Page) -> bytes:
    """A page as a small web site would serve it: the article inside menus, a cookie banner and a footer."""
    menu = "".join(
        f'<a href="../{target}">{name}</a>'
        for name, target in (("Home", ""), ("Text", "text/"), ("Images", "images/"), ("Audio", "audio/"))
    )
    out: list[str] = []
    open_list = ""
    for block in page.blocks:
        wanted = {"bullet": "ul", "number": "ol"}.get(block.kind, "")
        if open_list != wanted:
            out += [f"</{open_list}>"] if open_list else []
            out += [f"<{wanted}>"] if wanted else []
            open_list = wanted
        text = inline(block.text, "<code>", "</code>")
        match block.kind:
            case "heading":
                out.append(f"<h{block.level}>{text}</h{block.level}>")
            case "paragraph":
                out.append(f"<p>{text}</p>")
            case "bullet" | "number":
                out.append(f"<li>{text}</li>")
            case "code":
                out.append(f"<pre><code>{html.escape(block.text, quote=False)}</code></pre>")
            case "table":
                out.append("<table>")
                for index, row in enumerate(block.rows):
                    tag = "td" if index else "th"
                    cells = "".join(f"<{tag}>{inline(cell, '<code>', '</code>')}</{tag}>" for cell in row)
                    out.append(f"<tr>{cells}</tr>")
                out.append("</table>")
    if open_list:
        out.append(f"</{open_list}>")
    title = html.escape(page.title)
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="author" content="{html.escape(page.author)}">',
        f"<title>{title}</title>",
        f"<style>\n{STYLE}\n</style>",
        "</head>",
        "<body>",
        f'<header><p>The Vector Handbook</p><nav aria-label="Main">{menu}</nav></header>',
        '<aside class="cookie-banner"><p>This site keeps no cookies.</p><button>Close</button></aside>',
        "<main>",
        "<article>",
        f"<h1>{title}</h1>",
        *out,
        "</article>",
        "</main>",
        '<aside class="related"><h4>See also</h4><ul><li><a href="../glossary.md">Glossary</a></li>'
        '<li><a href="../retrieval/metrics.md">Metrics</a></li></ul></aside>',
        '<footer><p>Imprint | Privacy | Print this page</p><p><a href="#">Back to top</a></p></footer>',
        "</body>",
        "</html>",
    ]
    return ("\n".join(lines) + "\n").encode()


# --- PDF ------------------------------------------------------------------------------------------


def make_pdf(page: Page) -> bytes:
    """An A4 document with a title in its metadata and the page number in the footer."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.platypus import (
        BaseDocTemplate,
        Frame,
        KeepTogether,
        PageTemplate,
        Paragraph,
        Preformatted,
        Spacer,
        Table,
        TableStyle,
    )

    body = ParagraphStyle("body", fontName="Helvetica", fontSize=11.5, leading=17.5, spaceAfter=9)
    item = ParagraphStyle("item", body, leftIndent=18, bulletIndent=4, spaceAfter=4)
    cell = ParagraphStyle("cell", body, fontSize=10, leading=14, spaceAfter=0)
    code = ParagraphStyle("code", fontName="Courier", fontSize=9, leading=12, leftIndent=8, spaceAfter=10)
    title = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=21, leading=26, spaceAfter=14)
    head = ParagraphStyle("head", body, fontName="Helvetica-Bold", keepWithNext=1)
    heads = {
        2: ParagraphStyle("h2", head, fontSize=15, leading=19, spaceBefore=14),
        3: ParagraphStyle("h3", head, fontSize=12.5, spaceBefore=6),
    }
    lines = TableStyle(
        [
            ("GRID", (0, 0), (-1, -1), 0.5, HexColor("#aaaaaa")),
            ("BACKGROUND", (0, 0), (-1, 0), HexColor("#e8ecf0")),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
    )

    def markup(text: str) -> str:
        return inline(text, '<font face="Courier">', "</font>")

    # The bullet of lists is a dash: the standard fonts hold the round one at a code that pypdf reads wrongly.
    story: list = [Paragraph(markup(page.title), title)]
    width = A4[0] - 56 * mm
    for block in page.blocks:
        match block.kind:
            case "heading":
                story.append(Paragraph(markup(block.text), heads[block.level]))
            case "paragraph":
                story.append(Paragraph(markup(block.text), body))
            case "bullet":
                story.append(Paragraph(markup(block.text), item, bulletText="\u2013"))
            case "number":
                story.append(Paragraph(markup(block.text), item, bulletText=f"{block.level}."))
            case "code":
                story.append(Preformatted(block.text, code))
            case "table":
                rows = [[Paragraph(markup(text), cell) for text in row] for row in block.rows]
                columns = zip(*block.rows, strict=True)
                longest = [min(30, max(len(text) for text in column) + 3) for column in columns]
                widths = [width * size / sum(longest) for size in longest]
                table = Table(rows, colWidths=widths, hAlign="LEFT", repeatRows=1)
                table.setStyle(lines)
                story += [KeepTogether(table), Spacer(1, 10)]

    def footer(canvas, document) -> None:
        canvas.setFont("Helvetica", 8.5)
        canvas.setFillColor(HexColor("#555555"))
        canvas.drawString(28 * mm, 14 * mm, "The Vector Handbook")
        canvas.drawRightString(A4[0] - 28 * mm, 14 * mm, f"Page {document.page}")

    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        title=page.title,
        author=page.author,
        subject="A chapter of the vector handbook",
        invariant=1,
    )
    # The footer is drawn when a page ends, so that extracted text has it after the text of the page.
    frame = Frame(28 * mm, 26 * mm, width, A4[1] - 50 * mm, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate("page", [frame], onPageEnd=footer))
    document.build(story)
    return buffer.getvalue()


# --- Word -----------------------------------------------------------------------------------------


def make_docx(page: Page) -> bytes:
    """A Word document with heading styles, list styles and ruled tables."""
    import docx
    from docx.shared import Pt

    document = docx.Document()
    document.styles["Normal"].font.name = "Calibri"
    document.styles["Normal"].font.size = Pt(11)
    properties = document.core_properties
    properties.title = page.title
    properties.author = properties.last_modified_by = page.author
    properties.created = properties.modified = page.date
    properties.revision = 1
    properties.comments = ""

    def fill(paragraph, text: str) -> None:
        for style, part in runs(text):
            run = paragraph.add_run(part)
            run.bold = True if style == "bold" else None
            run.italic = True if style == "italic" else None
            if style == "code":
                run.font.name = "Courier New"

    document.add_heading(page.title, level=0)
    for block in page.blocks:
        match block.kind:
            case "heading":
                document.add_heading(block.text, level=block.level - 1)
            case "paragraph":
                fill(document.add_paragraph(), block.text)
            case "bullet":
                fill(document.add_paragraph(style="List Bullet"), block.text)
            case "number":
                # The number is written out: automatic numbering would go on counting across lists.
                fill(document.add_paragraph(), f"{block.level}. {block.text}")
            case "code":
                document.add_paragraph(block.text, style="No Spacing")
            case "table":
                table = document.add_table(rows=0, cols=len(block.rows[0]), style="Light Grid Accent 1")
                for row in block.rows:
                    for target, text in zip(table.add_row().cells, row, strict=True):
                        fill(target.paragraphs[0], text)
                document.add_paragraph()
    buffer = io.BytesIO()
    document.save(buffer)
    return with_fixed_times(buffer.getvalue())


def with_fixed_times(archive: bytes) -> bytes:
    """The same zip archive with every time stamp set to 1980-01-01, the earliest one that zip knows."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3
            new.writestr(info, old.read(name))
    return buffer.getvalue()


# --- extraction and the command line --------------------------------------------------------------


def extract(name: str, content: bytes) -> str:
    """The text of a document, read with a common library for its format; ``name`` decides by its ending."""
    match Path(name).suffix:
        case ".pdf":
            import pypdf

            return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
        case ".docx":
            import docx
            from docx.table import Table

            document = docx.Document(io.BytesIO(content))
            parts: list[str] = []
            for element in document.iter_inner_content():
                if isinstance(element, Table):
                    parts += ["\t".join(cell.text for cell in row.cells) for row in element.rows]
                else:
                    parts.append(element.text)
            return "\n".join(parts)
        case ".html":
            import trafilatura

            return trafilatura.extract(content.decode(), include_tables=True, include_comments=False) or ""
        case _:
            return content.decode()


MAKERS: dict[str, Callable[[Page], bytes]] = {".pdf": make_pdf, ".docx": make_docx, ".html": make_html}


def make(source: str) -> bytes:
    """The bytes of the document that belongs to a source."""
    page = parse((SOURCES / source).read_text(encoding="utf-8"))
    return MAKERS[Path(OUTPUTS[source]).suffix](page)


def check() -> list[str]:
    """One line for each document that is missing or whose text differs from its source."""
    problems: list[str] = []
    known = {str(path.relative_to(SOURCES).as_posix()) for path in SOURCES.rglob("*.md")}
    problems += [f"sources/{name}: no output is named in OUTPUTS" for name in sorted(known - OUTPUTS.keys())]
    for source, target in OUTPUTS.items():
        path = DOCUMENTS / target
        if not path.is_file():
            problems.append(f"documents/{target}: missing")
            continue
        there, fresh = extract(target, path.read_bytes()), extract(target, make(source))
        if there != fresh:
            lines = difflib.ndiff(there.splitlines(), fresh.splitlines())
            changed = next((line for line in lines if line.startswith(("- ", "+ "))), "line ends")
            problems.append(f"documents/{target}: out of date, first difference: {changed}")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Write all documents, or check them."""
    parser = argparse.ArgumentParser(description="Make the PDF, Word and HTML files of data/documents.")
    parser.add_argument("--check", action="store_true", help="compare the text, write nothing")
    if parser.parse_args(arguments).check:
        problems = check()
        print("\n".join(problems) or f"{len(OUTPUTS)} documents are up to date")
        return 1 if problems else 0
    for source, target in OUTPUTS.items():
        path = DOCUMENTS / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(source))
        print(f"documents/{target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
