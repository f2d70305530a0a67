"""Jupyter notebooks: each cell is a page, cited as `analysis.ipynb, cell 5`. Markdown cells give the headings, code
cells are fenced, and of what a cell printed the beginning is kept, as a terminal shows it. Pictures and rich output are
left out; where they have a form in Markdown, a plain one or one in HTML, the words of the first are taken.

Formats 3 and 4 (https://nbformat.readthedocs.io/en/latest/format_description.html). Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError
from rag.load.blocks import Blocks
from rag.load.decode import clean, decode
from rag.load.html import visible
from rag.load.json import parse
from rag.load.markdown import headings
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

OUTPUT_LINES, OUTPUT_CHARS = 20, 2000  # of one cell
_NO_FORM = re.compile(r"<[\w.]{1,200} object(?: at 0x[0-9a-f]+)?>")  # what Python shows of what has none


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    try:
        cells = _cells(parse(text))
    except ValueError as error:
        raise DocumentError(f"is no notebook: no valid JSON ({str(error)[:100]})", "open it in Jupyter") from None
    blocks, cut = Blocks(), list[str]()
    for number, cell in enumerate(cells[: config.max_pages], 1):
        blocks.page()
        body = _joined(cell.get("source", cell.get("input")))
        match cell.get("cell_type"):
            case "code":
                blocks.code(body)
                outputs, whole = _outputs(cell.get("outputs"))
                if outputs:
                    blocks.add("Output:")
                    blocks.code(outputs)
                if not whole:
                    cut.append(str(number))
            case "heading":  # of format 3
                level = str(cell.get("level", 1))
                blocks.heading(int(level) if level in "123456" else 1, body)
            case "markdown":
                body = clean(body).strip("\n")
                blocks.marked(body, headings(body))
            case _:
                blocks.add(body)
    if cut:
        warnings = (*warnings, f"output after {OUTPUT_LINES} lines left out: cells {', '.join(cut[:50])}")
    if len(cells) > config.max_pages:
        warnings = (*warnings, f"cells after {config.max_pages} left out: load.max_pages")
    found = blocks.headings
    title = found[0].title if found and found[0].level == 1 else None
    return Source(relative, blocks.text, "ipynb", title, blocks.pages, found, {"encoding": encoding}, warnings)


def _cells(notebook: Any) -> list[dict[str, Any]]:
    sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    holders = sheets if isinstance(sheets, list) else [notebook]
    found = [h["cells"] for h in holders if isinstance(h, dict) and isinstance(h.get("cells"), list)]
    if not found:
        raise DocumentError("is no notebook: it has no cells", "open it in Jupyter and save it anew")
    return [cell for cells in found for cell in cells if isinstance(cell, dict)]


def _joined(text: Any) -> str:
    if isinstance(text, list):
        return "".join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""


def _outputs(outputs: Any) -> tuple[str, bool]:
    """What the cell printed, and whether that is all of it."""
    text = "\n".join(part.strip("\n") for part in map(_shown, _printed(outputs)) if part.strip())
    lines = text.split("\n")
    short = "\n".join(lines[:OUTPUT_LINES])[:OUTPUT_CHARS]
    return short, len(short) == len(text)


def _shown(printed: str) -> str:
    """Of a line that was written over, as bars of progress are, the last state."""
    lines = printed.replace("\r\n", "\n").split("\n")
    return clean("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines))


def _printed(outputs: Any) -> Iterator[str]:
    found = [output for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else []
    for stream, run in groupby(found, _stream):
        if stream is not None:  # written on where the last piece ended
            yield "".join(_joined(output.get("text")) for output in run)
        else:
            yield from map(_result, run)


def _stream(output: dict[str, Any]) -> Any:
    return output.get("name", "") if output.get("output_type") == "stream" else None


def _result(output: dict[str, Any]) -> str:
    if output.get("output_type") in ("error", "pyerr"):
        return f"{_joined(output.get('ename'))}: {_joined(output.get('evalue'))}"
    if "text" in output:
        return _joined(output["text"])
    data = output.get("data")
    if not isinstance(data, dict):
        return ""
    for form in map(_joined, (data.get("text/markdown"), data.get("text/plain"))):
        if form.strip() and not _NO_FORM.fullmatch(form.strip()):
            return form
    page = _joined(data.get("text/html"))
    return visible(page).text if page.strip() else ""
