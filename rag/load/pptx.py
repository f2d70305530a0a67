"""PowerPoint presentations: each slide is a page; its title a heading; text, tables, charts' figures and notes.

Text in pictures and SmartArt isn't read. A hidden slide keeps its number and is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load.blocks import Blocks, number
from rag.load.cells import in_words
from rag.load.container import open_container
from rag.load.decode import clean
from rag.load.equation import PARTS, M, in_line
from rag.load.numerals import numeral
from rag.load.raised import joined, raised
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_NO_TITLE = {"powerpoint presentation", "presentation", "slide 1", ""}
# How `buAutoNum` names the looks of numbers: `alphaLcParenR` is `a)`.
_FORMS = {"alphaLc": "a", "alphaUc": "A", "romanLc": "i", "romanUc": "I"}
_SIGNS = {"ParenBoth": ("(", ")"), "ParenR": ("", ")"), "arabicPlain": ("", "")}
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_BESIDE = {f"{_A}pPr", f"{_A}rPr", f"{_A}endParaRPr"}  # in a paragraph: how it looks


def load(data: bytes, relative: str, config: Load) -> Source:
    import pptx

    open_container(data, "a PowerPoint presentation", config)
    try:
        deck = pptx.Presentation(BytesIO(data))
    except (KeyError, ValueError) as error:
        raise DocumentError(f"is no readable presentation: {brief(error)}", "open it and save it anew") from None
    blocks, warnings = Blocks(), list[str]()
    for at, slide in enumerate(deck.slides, 1):
        if at > config.max_pages:
            warnings.append(f"slides after {config.max_pages} left out: load.max_pages")
            break
        blocks.page()
        if slide._element.get("show") in ("0", "false"):
            warnings.append(f"slide {at} is hidden: left out")
            continue
        _slide(slide, blocks)
    title = " ".join(clean(deck.core_properties.title or "").split())
    if title.lower() in _NO_TITLE:
        title = blocks.headings[0].title if blocks.headings else ""
    return Source(
        relative,
        blocks.text,
        "pptx",
        title=title or None,
        pages=blocks.pages,
        headings=blocks.headings,
        metadata={"pages": len(blocks.pages)},
        warnings=tuple(warnings),
    )


def _slide(slide: Any, blocks: Blocks) -> None:
    _choose(slide._element)
    title = _title(slide)
    if title is not None:
        blocks.heading(1, _text(title.text_frame))
    shown = (s for s in slide.shapes if not (title is not None and s.shape_id == title.shape_id) and not _repeated(s))
    for shape in _in_order(shown):
        _shape(shape, blocks)
    if slide.has_notes_slide:
        _choose(slide.notes_slide._element)
        frame = slide.notes_slide.notes_text_frame
        if notes := "" if frame is None else _text(frame).strip():
            blocks.add(f"Notes: {notes}")


def _choose(slide: Any) -> None:
    """Of the forms in which a shape is there, for programs that know more or less (one with an equation, say), the
    first that has words takes its place; python-pptx passes over all of them."""
    for shape in list(slide.iter(f"{_MC}AlternateContent")):
        for element in list(max(shape, key=_has_words, default=())):
            shape.addprevious(element)
        shape.getparent().remove(shape)


def _has_words(element: Any) -> bool:
    return any(t.text and not t.text.isspace() for t in element.iter(f"{_A}t", f"{M}t"))


def _title(slide: Any) -> Any:
    """python-pptx takes what has number 0; of slides that LibreOffice wrote that is often the text."""
    from pptx.enum.shapes import PP_PLACEHOLDER as KIND

    titles = (KIND.TITLE, KIND.CENTER_TITLE, KIND.VERTICAL_TITLE)
    return next((s for s in slide.placeholders if s.placeholder_format.type in titles and s.has_text_frame), None)


def _repeated(shape: Any) -> bool:
    """The date, the number and what else stands on the edge of every slide."""
    from pptx.enum.shapes import PP_PLACEHOLDER as KIND

    kinds = (KIND.DATE, KIND.FOOTER, KIND.SLIDE_NUMBER)
    return bool(shape.is_placeholder and shape.placeholder_format.type in kinds)


def _in_order(shapes: Iterable[Any]) -> Iterator[Any]:
    """From top to bottom, then left to right; members of a group together, where the group stands. Placeholders in the
    order of the file: in two columns each head goes before its own list. Another shape comes as soon as it lies above
    all those that are left."""

    placed = list[tuple[tuple[int, int], Any]]()
    least: tuple[int, int] | None = None  # of the placeholders from here to the end
    for shape in reversed(list(shapes)):
        at = (shape.top or 0, shape.left or 0)
        if shape.is_placeholder:
            at = least = min(at, least or at)
        placed.append((at, shape))
    placed.reverse()  # equal ones in the order of the file
    for _, shape in sorted(placed, key=itemgetter(0)):
        members = getattr(shape, "shapes", None)
        if members is None:
            yield shape
        else:
            yield from _in_order(members)


def _shape(shape: Any, blocks: Blocks) -> None:
    if getattr(shape, "has_table", False):
        blocks.table(_table(shape.table))
    elif getattr(shape, "has_chart", False):
        _chart(shape.chart, blocks)
    elif shape.has_text_frame:
        said = ((p, clean(_line(p._p))) for p in shape.text_frame.paragraphs)
        paragraphs = [(p, text) for p, text in said if text.strip()]
        listed = shape.is_placeholder and len(paragraphs) > 1
        counts = dict[int, int]()
        for index, (paragraph, text) in enumerate(paragraphs):
            mark = _mark(paragraph, counts)
            if listed or paragraph.level or mark:
                blocks.item(text, depth=paragraph.level, first=index == 0, mark=mark)
            else:
                blocks.add(text, gap="\n\n" if index == 0 else "\n")


def _text(frame: Any) -> str:
    return "\n".join(_line(p._p) for p in frame.paragraphs)


def _line(node: Any) -> str:
    """The words of a paragraph, or of a part of an equation."""
    pieces: list[tuple[str, bool]] = []

    def walk(element: Any) -> None:
        for child in element:
            if child.tag == f"{_A}t":
                look = element.find(f"{_A}rPr")
                look = {} if look is None else look.attrib
                up, words = number(look.get("baseline", ""), 0), child.text or ""
                pieces.append((raised(words) if up else words, look.get("strike", "noStrike") != "noStrike"))
            elif child.tag == f"{M}t":
                pieces.append((child.text or "", False))
            elif child.tag == f"{_A}br":
                pieces.append(("\n", False))
            elif child.tag in PARTS:
                pieces.append((in_line(child, _line), False))
            elif child.tag not in _BESIDE:
                walk(child)

    walk(node)
    return joined(pieces)


def _mark(paragraph: Any, counts: dict[int, int]) -> str:
    """The number that is shown in front of it. `counts`, by level, go on while no shallower paragraph comes between."""
    found = paragraph._p.find(f"{_A}pPr/{_A}buAutoNum")
    for deeper in [level for level in counts if level > paragraph.level - (found is None)]:
        del counts[deeper]
    if found is None:
        return ""
    begin = number(found.get("startAt", "1"), 1)
    counts[paragraph.level] = counts.get(paragraph.level, begin - 1) + 1
    kind = found.get("type", "")
    form = next((form for name, form in _FORMS.items() if kind.startswith(name)), "1")
    before, after = next((signs for name, signs in _SIGNS.items() if kind.endswith(name)), ("", "."))
    return f"{before}{numeral(counts[paragraph.level], form)}{after}"


def _table(table: Any) -> list[list[str]]:
    """Rows of words; those of a merged cell stand in each row that it covers."""
    down: dict[tuple[int, int], str] = {}
    rows = []
    for top, row in enumerate(table.rows):
        words = []
        for column, cell in enumerate(row.cells):
            text = down.get((top, column), "") if cell.is_spanned else _text(cell.text_frame)
            if cell.is_merge_origin:
                down.update({(top + below, column): text for below in range(1, min(cell.span_height, 1000))})
            words.append(text)
        rows.append(words)
    return rows


def _chart(chart: Any, blocks: Blocks) -> None:
    """The figures behind it, as a table for all plots that share their categories; what is damaged costs nothing but
    itself."""
    tables: dict[tuple[str, ...], list[tuple[str, list[str]]]] = {}
    with contextlib.suppress(Exception):
        if chart.has_title and chart.chart_title.has_text_frame:
            blocks.add(_text(chart.chart_title.text_frame))
        from_1904 = chart._chartSpace.xpath("./c:date1904/@val") in (["1"], ["true"])
        for plot in chart.plots:
            with contextlib.suppress(Exception):
                for along, columns in _plotted(plot, from_1904):
                    tables.setdefault(along, []).extend(columns)
    for categories, series in tables.items():
        rows = [["", *(name for name, _ in series)]]
        for index, category in enumerate(categories):
            rows.append([category, *(figures[index] if index < len(figures) else "" for _, figures in series)])
        if series and categories:
            blocks.table(rows)


def _plotted(plot: Any, from_1904: bool) -> Iterator[tuple[tuple[str, ...], list[tuple[str, list[str]]]]]:
    """What its figures stand along, and each column of them with its name."""
    if plot._element.xpath("./c:ser/c:yVal"):
        yield from (_points(series, from_1904) for series in plot.series)
    else:
        columns = [(str(each.name or ""), _figures(each, from_1904)) for each in plot.series]
        yield tuple(_categories(plot, from_1904)), columns


def _categories(plot: Any, from_1904: bool) -> list[str]:
    form = _format(plot._element, "./c:ser[1]/c:cat/c:numRef")
    if form is None:  # words
        return [str(category) for category in plot.categories]
    return [_cell(float(category) if category else None, form, from_1904) for category in plot.categories]


def _figures(series: Any, from_1904: bool) -> list[str]:
    form = _format(series._element, "./c:val/c:numRef") or ""
    return [_cell(value, form, from_1904) for value in series.values]


def _points(series: Any, from_1904: bool) -> tuple[tuple[str, ...], list[tuple[str, list[str]]]]:
    """Those of a scatter chart: how far along they lie, and as columns how high, and how large bubbles are."""

    def cached(name: str) -> dict[int, str]:
        form, points = _format(series._element, f"./c:{name}/c:numRef"), series._element.xpath(f"./c:{name}//c:pt")
        found = {number(point.get("idx", ""), 0): point.findtext("{*}v", "") for point in points}
        return found if form is None else {at: _cell(float(v), form, from_1904) for at, v in found.items()}

    x, y, size = map(cached, ("xVal", "yVal", "bubbleSize"))
    name, places = str(series.name or ""), sorted(y)
    columns = [(name, [y[at] for at in places])]
    if size:
        columns.append((f"{name} (size)".strip(), [size.get(at, "") for at in places]))
    return tuple(x.get(at, "") if x else str(at + 1) for at in places), columns


def _format(element: Any, of: str) -> str | None:
    """That of the cells in which a chart's numbers stand."""
    if not element.xpath(of):
        return None
    return str(element.xpath(f"string({of}/c:numCache/c:formatCode)")) or "General"


def _cell(value: float | None, form: str, from_1904: bool) -> str:
    from openpyxl.styles.numbers import is_date_format
    from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

    if value is not None and is_date_format(form):
        return in_words(from_excel(value, MAC_EPOCH if from_1904 else WINDOWS_EPOCH), form)
    return in_words(value, form)
