"""Slides, sheets and tables as text: what a person sees of them, where it stands, and files that mean harm."""

from __future__ import annotations

import contextlib
import copy
import csv
import datetime
import io
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.config import Load
from rag.errors import DocumentError, EmptyError, UnsupportedError
from rag.load import load_file
from rag.load.cells import in_words
from rag.load.csv import delimiter_of
from rag.types import Source, label


def put(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def load(path: Path, config: Load | None = None) -> Source:
    source = load_file(path, path.name, config or Load())
    assert all(source.text[h.start :].lstrip("# ").startswith(h.title) for h in source.headings)
    assert list(source.pages) == sorted(source.pages)
    assert set(source.pages[:1]) <= {0}
    return source


def saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


# --- Excel ---------------------------------------------------------------------------------------------------


def workbook() -> Any:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet["A1"] = "Price list 2024"
    sheet.merge_cells("A1:D1")
    for row in (
        [],
        ["Item", "Price", "Since", "Share"],
        ["Bolt | M6", 0.1 + 0.2, datetime.date(2024, 3, 1), 0.125],
        ["Nut", 3, datetime.datetime(2024, 3, 1, 13, 5), "=B4*2"],
        [],
        ["Screw", 4.0, None, True],
        ["Group", 1],
        [None, 2],
    ):
        sheet.append(row)
    sheet["D4"].number_format = "0.0%"
    sheet.merge_cells("A8:A9")
    hidden = book.create_sheet("Secret")
    hidden["A1"] = "hidden words"
    hidden.sheet_state = "hidden"
    book.create_sheet("Empty")
    notes = book.create_sheet("Notes")
    notes["B2"], notes["B3"] = "A lone note.", "Another."
    notes["B6"], notes["C6"] = "Name", "Size"
    notes["B7"], notes["C7"] = "x", "wide\nand\ttall"
    book.properties.title = "Our prices"
    return book


def test_a_workbook_reads_as_its_sheets_show_it(tmp_path: Path) -> None:
    source = load(put(tmp_path, "prices.xlsx", saved(workbook())))
    assert source.text == (
        "# Prices\n\nPrice list 2024\n\n"
        "| Item | Price | Since | Share |\n| --- | --- | --- | --- |\n"
        "| Bolt \\| M6 | 0.3 | 2024-03-01 | 12.5% |\n"
        "| Nut | 3 | 2024-03-01 13:05:00 | =B4*2 |\n"
        "| Screw | 4 |  | TRUE |\n"  # the empty row before it was for the eye
        "| Group | 1 |  |  |\n| Group | 2 |  |  |\n\n"  # a merged cell stands in each row it covers
        "# Notes\n\nA lone note.\nAnother.\n\n"
        "| Name | Size |\n| --- | --- |\n| x | wide and tall |"
    )
    assert (source.kind, source.title, source.pages) == ("xlsx", "Our prices", ())
    assert source.warnings == (
        "sheet 'Prices': formulas without a stored result, shown as written: 1",
        "sheet 'Secret' is hidden: left out",
    )
    assert label(source.path, source.locate(source.text.index("Nut"))) == "prices.xlsx:8 (Prices)"


def test_a_formula_shows_what_it_came_to(tmp_path: Path) -> None:
    """As Excel stores it: openpyxl writes no results."""
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(workbook()))) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"<f>B4*2</f><v", b"<f>B4*2</f><v>0.6</v><v"))
    source = load(put(tmp_path, "a.xlsx", data.getvalue()))
    assert "| Nut | 3 | 2024-03-01 13:05:00 | 0.6 |" in source.text
    assert not any("formulas" in w for w in source.warnings)


def test_a_formula_that_came_to_an_empty_text_shows_nothing(tmp_path: Path) -> None:
    cell, empty = b'<c r="D5"><f>B4*2</f><v', b'<c r="D5" t="str"><f>IF(B4,"",1)</f><v'
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(workbook()))) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            assert cell in old.read(name) or not name.endswith("sheet1.xml")
            new.writestr(name, old.read(name).replace(cell, empty))
    source = load(put(tmp_path, "a.xlsx", data.getvalue()))
    assert "| Nut | 3 | 2024-03-01 13:05:00 |  |" in source.text
    assert not any("formulas" in w for w in source.warnings)


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (1234.5, "$#,##0.00", "$1,234.50"),
        (-1234.5, '#,##0.00\\ "€"', "-1,234.50 €"),
        (1234.5, "#,##0.00 [$€-407]", "1,234.50 €"),
        (12, '_-* #,##0 "EUR"_-;-* #,##0 "EUR"_-', "12 EUR"),
        (1067, "00000", "01067"),
        (0.125, "0%", "13%"),
        (0.125, "0.0 %", "12.5 %"),
        (1234.567, "#,##0.00", "1234.57"),  # alone without commas: as it can be searched for
        (-1234.5, "#,##0_);[Red](#,##0)", "-1235"),
        (1234.5, "[$€-2]\\ #,##0.00", "€ 1,234.50"),
        (1234.5, '_-"kr"* #,##0.00_-', "kr 1,234.50"),
        (1234.5, "[$R$-416]\\ #,##0.00;[Red]\\-[$R$-416]\\ #,##0.00", "R$ 1,234.50"),
        (-5, '0" Cr";0" Dr"', "5 Dr"),
        (-5.25, '0.0"°C"', "-5.3°C"),
        (12345, '#,##0\\ "kWh"', "12,345 kWh"),
        (0, '#,##0.00\\ "zł";-#,##0.00\\ "zł";"-"??', "0"),
        (0, '0;-0;"none"', "none"),
        (1, '"Yes";;"No"', "Yes"),
        (2_500_000, '[>=1000000]0.0,,"M";[>=1000]0.0,"K";0', "2.5M"),
        (2025550147, "(000) 000-0000", "(202) 555-0147"),
        (0.5, "#.##", ".5"),
        (2, "0.##", "2"),
        (-7, 'General" kg"', "-7 kg"),
        (3.25, "# ?/?", "3.25"),
        (1234.5, "0.00E+00", "1234.5"),
        (5, ";;;", "5"),
        (5, '0 "', '5 "'),
        (5, "0" * 300, "5"),
        (datetime.timedelta(hours=36), "[h]:mm", "36:00"),
        (0.125, f"0.{'0' * 30}%", "12.500000000%"),
        (5, "General", "5"),
    ],
)
def test_numbers_are_told_as_the_cell_shows_them(tmp_path: Path, value: Any, form: str, shown: str) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["what", "value"])
    book.active.append(["it", value])
    book.active["B2"].number_format = form
    assert f"| it | {shown} |" in load(put(tmp_path, "a.xlsx", saved(book))).text


@given(
    value=st.one_of(st.integers(), st.floats()),
    form=st.text(st.sampled_from('0#?.,%;"\\\\_*[]$<>=-+()/ E@aGeneral5')),
)
def test_any_format_of_a_number_has_an_outcome(value: float, form: str) -> None:
    assert in_words(value, form).strip()


def test_a_workbook_without_words_is_empty(tmp_path: Path) -> None:
    import openpyxl

    with pytest.raises(EmptyError):
        load(put(tmp_path, "a.xlsx", saved(openpyxl.Workbook())))


def test_notes_on_cells_stand_below_their_sheet(tmp_path: Path) -> None:
    """Those of Excel 2019 and later, conversations, are kept a second time for older programs."""
    import openpyxl
    from openpyxl.comments import Comment

    book = openpyxl.Workbook()
    book.active.append(["Task", "Due"])
    book.active.append(["Report", "May"])
    book.active["B2"].comment = Comment("Ann:\nThe real deadline is 4 July.", "Ann")
    book.active["A2"].comment = Comment("[Threaded comment] Your version of Excel allows you to …", "tc={1}")
    book.create_sheet("Bare")["C3"].comment = Comment("Nothing yet.", "Ann")
    threads = "".join(f"<threadedComment ref='A2'><text>{said}</text></threadedComment>" for said in ("Which?", "All."))
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(book))) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            relation = b'<Relationship Type="x/threadedComment" Target="../threads.xml" Id="a"/></Relationships>'
            end = b"</Relationships>" if name.endswith("sheet1.xml.rels") else b"\0"
            new.writestr(name, old.read(name).replace(end, relation))
        new.writestr("xl/threads.xml", f"<ThreadedComments>{threads}</ThreadedComments>")
    assert load(put(tmp_path, "a.xlsx", data.getvalue())).text == (
        "# Sheet\n\n| Task | Due |\n| --- | --- |\n| Report | May |\n\n"
        "[Note on A2 (Report): Which?]\n\n[Note on A2 (Report): All.]\n\n"
        "[Note on B2 (May): Ann: The real deadline is 4 July.]\n\n# Bare\n\n[Note on C3: Nothing yet.]"
    )


def test_a_long_sheet_is_cut_and_said(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for number in range(500):
        book.active.append([f"row {number}", number])
    book.create_sheet("Second")["A1"] = "more"
    source = load(put(tmp_path, "a.xlsx", saved(book)), Load(max_chars=1000))
    assert len(source.text) <= 1000
    assert any("rows after" in w for w in source.warnings)
    assert any("'Second' left out" in w for w in source.warnings)


def test_a_cell_far_away_costs_nothing(tmp_path: Path) -> None:
    import openpyxl

    near, far = '<c r="A1" t="str"><v>near</v></c>', '<c t="str"><v>far</v></c>'
    rows = f'<row r="1">{near}</row><row r="99999999">{far}</row>'
    merged = b'<mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(openpyxl.Workbook()))) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            body = old.read(name)
            if name.endswith("sheet1.xml"):
                head = body.split(b"<sheetData")[0]
                body = head + b"<sheetData>" + rows.encode() + b"</sheetData>" + merged + b"</worksheet>"
            new.writestr(name, body)
    assert load(put(tmp_path, "a.xlsx", data.getvalue())).text == "# Sheet\n\nnear"


# --- PowerPoint ----------------------------------------------------------------------------------------------


def deck() -> Any:
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "The\vplan"
    frame = first.placeholders[1].text_frame
    frame.text = "First"
    for level, text in ((1, "Deeper"), (0, "Second\vline")):
        paragraph = frame.add_paragraph()
        paragraph.text, paragraph.level = text, level
    first.notes_slide.notes_text_frame.text = "Say this."
    second = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Figures"
    table = second.shapes.add_table(3, 2, Inches(1), Inches(3), Inches(4), Inches(2)).table
    for row, words in enumerate((["Region", "Sales"], ["North", "5"], ["", "7"])):
        for column, word in enumerate(words):
            table.cell(row, column).text = word
    table.cell(1, 0).merge(table.cell(2, 0))
    group = second.shapes.add_group_shape()
    inner = group.shapes.add_group_shape()
    inner.shapes.add_textbox(Inches(1), Inches(2), Inches(1), Inches(1)).text_frame.text = "In a group"
    hidden = deck.slides.add_slide(deck.slide_layouts[6])
    hidden.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "hidden words"
    hidden._element.set("show", "0")
    last = deck.slides.add_slide(deck.slide_layouts[6])
    last.shapes.add_textbox(0, 9, 9, 9).text_frame.text = "Below"
    last.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Above"
    data = CategoryChartData()
    data.categories = ["East", "West"]
    data.add_series("2023", (1.5, 2))
    data.add_series("2024", (3, None))
    last.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 99, 99, 99, data)
    return deck


def test_slides_are_pages_in_reading_order(tmp_path: Path) -> None:
    source = load(put(tmp_path, "talk.pptx", saved(deck())))
    assert source.text == (
        "# The plan\n\n- First\n  - Deeper\n- Second\n  line\n\nNotes: Say this.\n\n"
        "# Figures\n\nIn a group\n\n| Region | Sales |\n| --- | --- |\n| North | 5 |\n| North | 7 |\n\n"
        "Above\n\nBelow\n\n|  | 2023 | 2024 |\n| --- | --- | --- |\n| East | 1.5 | 3 |\n| West | 2 |  |"
    )
    assert [source.page_at(source.text.index(w)) for w in ("First", "Say", "Figures", "Above")] == [1, 1, 2, 4]
    assert [span.cut(source.text) for span in source.page_spans][2] == ""
    assert label(source.path, source.locate(source.text.index("North"))) == "talk.pptx, slide 2"
    assert (source.title, source.warnings) == ("The plan", ("slide 3 is hidden: left out",))


def test_a_text_that_has_the_titles_number_is_no_title(tmp_path: Path) -> None:
    """As LibreOffice writes it: it numbers none of its placeholders."""
    import pptx

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    title, text = slide.placeholders
    title.text, text.text = "Pumps", "They lift water."
    del text._element.ph.attrib["idx"]
    text._element.ph.set("type", "body")
    title._element.addprevious(text._element)
    source = load(put(tmp_path, "a.pptx", saved(presentation)))
    assert source.text == "# Pumps\n\nThey lift water."


def test_each_of_two_columns_is_read_with_its_head(tmp_path: Path) -> None:
    import pptx
    from pptx.util import Inches

    presentation = pptx.Presentation()
    layout = presentation.slide_layouts[4]
    slide = presentation.slides.add_slide(layout)
    for placeholder, words in zip(
        slide.placeholders, ("Boats", "Pros", "Fast.\nDry.", "Cons", "Dear.\nLoud."), strict=True
    ):
        placeholder.text = words
    for at, words in ((0, "Above all"), (7, "Below all")):
        slide.shapes.add_textbox(0, Inches(at), 9, 9).text_frame.text = words
    slide.shapes._spTree.insert(2, slide.shapes[-1]._element)
    for placeholder in layout.placeholders:  # date, footer and number: as PowerPoint copies them onto the slide
        if placeholder.placeholder_format.idx >= 10:
            copied = copy.deepcopy(placeholder._element)
            slide.shapes._spTree.append(copied)
            slide.shapes[-1].text_frame.text = "on the edge"
    source = load(put(tmp_path, "a.pptx", saved(presentation)))
    assert source.text == ("# Boats\n\nAbove all\n\nPros\n\n- Fast.\n- Dry.\n\nCons\n\n- Dear.\n- Loud.\n\nBelow all")


def test_slides_have_the_numbers_that_are_shown(tmp_path: Path) -> None:
    import pptx
    from pptx.oxml import parse_xml

    presentation = pptx.Presentation()
    frame = presentation.slides.add_slide(presentation.slide_layouts[6]).shapes.add_textbox(0, 0, 9, 9).text_frame
    space = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    for level, kind in enumerate(
        ("romanUcPeriod", "alphaLcParenR", "arabicParenBoth", "arabicPlain", "circleNumDbPlain")
    ):
        for words in ("one", "two"):
            paragraph = frame.add_paragraph()
            paragraph.text, paragraph.level = words, level
            paragraph._p.get_or_add_pPr().append(parse_xml(f'<a:buAutoNum {space} type="{kind}"/>'))
    lines = [line.strip() for line in load(put(tmp_path, "a.pptx", saved(presentation))).text.split("\n")]
    assert lines == ["- I. one", "- II. two", "- a) one", "- b) two", "- (1) one", "- (2) two", "- 1 one", "- 2 two",
                     "1. one", "2. two"]  # fmt: skip


def test_all_plots_of_a_chart_are_read(tmp_path: Path) -> None:
    """Bars and a line over the same months, and a plot with months of its own."""
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE as KIND

    def chart(kind: Any, months: list[str], name: str, values: tuple[float, ...]) -> Any:
        data = CategoryChartData()
        data.categories = months
        data.add_series(name, values)
        return slide.shapes.add_chart(kind, 0, 0, 9, 9, data)

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    bars = chart(KIND.COLUMN_CLUSTERED, ["May", "June"], "Rain", (1, 2))
    others = (
        chart(KIND.LINE, ["May", "June"], "Sun", (3, 4)),
        chart(KIND.AREA, ["July"], "Wind", (5,)),
    )
    for other in others:
        bars.chart.plots[0]._element.getparent().insert(2, other.chart.plots[0]._element)
        other._element.getparent().remove(other._element)
    source = load(put(tmp_path, "a.pptx", saved(presentation)))
    assert sorted(source.text.split("\n\n")) == [
        "|  | Rain | Sun |\n| --- | --- | --- |\n| May | 1 | 3 |\n| June | 2 | 4 |",
        "|  | Wind |\n| --- | --- |\n| July | 5 |",
    ]


def test_a_chart_shows_dates_and_shares_as_its_sheet_does(tmp_path: Path) -> None:
    """Behind it they stand as days since 1900, or 1904, and fractions."""
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    presentation = pptx.Presentation()
    for epoch, since in (("0", datetime.date(1899, 12, 30)), ("1", datetime.date(1904, 1, 1))):
        slide = presentation.slides.add_slide(presentation.slide_layouts[6])
        for categories in (["Q1", "Q2"], [2023, 2024], [datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)]):
            data = CategoryChartData(number_format="0.0%")
            data.categories = categories
            data.add_series("Share", (0.125, None))
            chart = slide.shapes.add_chart(XL_CHART_TYPE.LINE, 0, 0, 9, 9, data).chart
            chart._chartSpace.xpath("./c:date1904")[0].set("val", epoch)
            for day, value in zip(categories, chart._chartSpace.xpath(".//c:cat//c:v"), strict=True):
                if isinstance(day, datetime.date):
                    value.text = str((day - since).days)
    source = load(put(tmp_path, "a.pptx", saved(presentation)))
    rows = [
        line for line in source.text.splitlines() if line.startswith("| ") and "---" not in line and "Share" not in line
    ]
    assert (
        rows
        == [
            "| Q1 | 12.5% |",
            "| Q2 |  |",
            "| 2023 | 12.5% |",
            "| 2024 |  |",
            "| 2024-01-01 | 12.5% |",
            "| 2024-02-01 |  |",
        ]
        * 2
    )


def test_a_scatter_chart_shows_its_points(tmp_path: Path) -> None:
    import pptx
    from pptx.chart.data import BubbleChartData, XyChartData
    from pptx.enum.chart import XL_CHART_TYPE as KIND

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    leaks, sales = XyChartData(), BubbleChartData()
    for name, points in (("Leak", [(10, 0.7), (20, 1.9)]), ("Flow", [(10, 3), (20, 4)]), ("Noise", [(15, 60)])):
        series = leaks.add_series(name)
        for x, y in points:
            series.add_data_point(x, y)
    sales.add_series("Sales").add_data_point(1, 2, 30)
    for at, (kind, data) in enumerate(((KIND.XY_SCATTER, leaks), (KIND.BUBBLE, sales))):
        slide.shapes.add_chart(kind, 0, at, 9, 9, data)
    assert load(put(tmp_path, "a.pptx", saved(presentation))).text == (
        "|  | Leak | Flow |\n| --- | --- | --- |\n| 10 | 0.7 | 3 |\n| 20 | 1.9 | 4 |\n\n"
        "|  | Noise |\n| --- | --- |\n| 15 | 60 |\n\n"
        "|  | Sales | Sales (size) |\n| --- | --- | --- |\n| 1 | 2 | 30 |"
    )


def slide_with(tmp_path: Path, body: str) -> str:
    """The text of a slide whose shapes are written by hand, for what python-pptx can't make."""
    import pptx
    from pptx.oxml import parse_xml

    presentation = pptx.Presentation()
    tree = presentation.slides.add_slide(presentation.slide_layouts[6]).shapes._spTree
    spaces = (
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
        'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
    )
    for shape in parse_xml(f"<x {spaces}>{body}</x>"):
        tree.append(shape)
    return load(put(tmp_path, "a.pptx", saved(presentation))).text


def box(top: int, runs: str, place: str = "") -> str:
    at = f'<a:xfrm><a:off x="0" y="{top}"/><a:ext cx="9" cy="9"/></a:xfrm>'
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="{top + 90}" name=""/><p:cNvSpPr/><p:nvPr>{place}</p:nvPr></p:nvSpPr>'
        f"<p:spPr>{at}</p:spPr><p:txBody><a:bodyPr/><a:p>{runs}</a:p></p:txBody></p:sp>"
    )


def run(text: str, look: str = "") -> str:
    return f"<a:r><a:rPr {look}/><a:t>{text}</a:t></a:r>"


def test_a_shape_in_several_forms_is_read_once_where_it_stands(tmp_path: Path) -> None:
    def forms(choice: str, fallback: str) -> str:
        choice = f"<mc:Choice Requires='a14'>{choice}</mc:Choice>"
        return f"<mc:AlternateContent>{choice}<mc:Fallback>{fallback}</mc:Fallback></mc:AlternateContent>"

    power = "<m:sSup><m:e><m:r><m:t>10</m:t></m:r></m:e><m:sup><m:r><m:t>3</m:t></m:r></m:sup></m:sSup>"
    equation = f"{run('A load of ')}<a14:m><m:oMath>{power}</m:oMath></a14:m>{run(' kg.')}"
    title = forms(box(9, run("Loads"), '<p:ph type="title"/>'), box(9, run(" "), '<p:ph type="title"/>'))
    body = box(30, run("Below.")) + forms(box(20, equation), box(20, run(" "))) + title
    old = forms(box(40, run(" ")), box(40, run("As others know it.")))
    nested = forms(forms(box(50, run("Within.")), box(50, run("Not this."))), box(50, run("Nor this.")))
    assert slide_with(tmp_path, body + old + nested) == (
        "# Loads\n\nA load of 10^3 kg.\n\nBelow.\n\nAs others know it.\n\nWithin."
    )


def test_slides_show_what_is_raised_and_struck_out(tmp_path: Path) -> None:
    runs = (
        run("10") + run("3", 'baseline="30000"') + run(" kg of H") + run("2", 'baseline="-25000"')
        + run("O, the 2") + run("nd", 'baseline="30000"') + run(", costs ") + run("9", 'strike="sngStrike"')
        + run("00 ", 'strike="dblStrike"') + run("950", 'strike="noStrike" baseline="0"')
    )  # fmt: skip
    assert slide_with(tmp_path, box(0, runs)) == "10³ kg of H2O, the 2nd, costs ~~900~~ 950"


def test_too_many_slides_are_cut_and_said(tmp_path: Path) -> None:
    source = load(put(tmp_path, "a.pptx", saved(deck())), Load(max_pages=1))
    assert (len(source.pages), source.warnings) == (1, ("slides after 1 left out: load.max_pages",))


# --- csv -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "lines"),
    [
        ("a.csv", '\ufeffname;price\r\n"Bolt; ""M6""\r\nlong";0,12\r\n\r\nNut;0,05\r\n',
         ["| name | price |", "| --- | --- |", '| Bolt; "M6" long | 0,12 |', "| Nut | 0,05 |"]),
        ("a.tsv", "a, b\tc\n1\t2,5\n", ["| a, b | c |", "| --- | --- |", "| 1 | 2,5 |"]),
        ("a.csv", "sep=|\nx|y,z\n1|2\n", ["| x | y,z |", "| --- | --- |", "| 1 | 2 |"]),
        ("a.csv", "Größe,Preis\n1,2\n".encode("cp1252"), ["| Größe | Preis |", "| --- | --- |", "| 1 | 2 |"]),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), ["| a | b |", "| --- | --- |", "| 1 | 2 |"]),
        ("a.csv", "a,b,c\n1\n1,2,3,4\n", ["| a | b | c |  |", "| --- | --- | --- | --- |", "| 1 |  |  |  |",
                                          "| 1 | 2 | 3 | 4 |"]),
        ("a.csv", "one\ntwo words\n", ["one", "two words"]),
    ],
)  # fmt: skip
def test_csv_becomes_rows(tmp_path: Path, name: str, data: str | bytes, lines: list[str]) -> None:
    source = load(put(tmp_path, name, data))
    assert source.text.split("\n") == lines
    assert source.warnings == ()


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        ('x,y\n"open,1\n2,3\n', ["| x | y |", '| "open | 1 |', "| 2 | 3 |"]),
        ('x,y\n"A" class,good\n"two\nlines",1\n', ["| x | y |", '| "A" class | good |', "| two lines | 1 |"]),
        ('x,y\n"two\nlines",1\n"12" pipe",2\n', ["| x | y |", "| two lines | 1 |", '| "12" pipe" | 2 |']),
    ],
)
def test_a_stray_quote_is_a_letter_in_its_line_alone(tmp_path: Path, data: str, rows: list[str]) -> None:
    source = load(put(tmp_path, "a.csv", data))
    assert source.text.split("\n") == [rows[0], "| --- | --- |", *rows[1:]]
    assert source.warnings == ("quotes of 1 lines don't match: read as if they were letters",)


def test_quotes_that_reach_far_and_fail_cost_no_square() -> None:
    from rag.load.csv import _rows

    start = time.monotonic()
    rows, stray = _rows(['a",x"y,"c'] * 100_001, ",")
    assert (len(rows), stray) == (100_001, 100_001)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Konto:;DE12;;\nVon;1.3.;\n\nTag;Was;Sum\n3.;Strom;87\n\n5.;Brot;12\n",
         "Konto: DE12\nVon 1.3.\n\n| Tag | Was | Sum |\n| --- | --- | --- |\n| 3. | Strom | 87 |\n| 5. | Brot | 12 |"),
        ("Sales;;\n2024\nDay;Sum;\n1;2;3\n", "Sales\n2024\n\n| Day | Sum |  |\n| --- | --- | --- |\n| 1 | 2 | 3 |"),
        (",x\n0,5\n", "|  | x |\n| --- | --- |\n| 0 | 5 |"),
        ("name,\nAnn,5\n", "| name |  |\n| --- | --- |\n| Ann | 5 |"),
        ("a,b\n\n1,2\n", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
    ],
)  # fmt: skip
def test_lines_above_the_head_of_a_table_are_lines(tmp_path: Path, data: str, text: str) -> None:
    assert load(put(tmp_path, "a.csv", data)).text == text


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)


@given(st.sampled_from(",;\t|"), st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=2, max_size=8))
def test_whatever_csv_writes_is_read_back(delimiter: str, rows: list[list[str]]) -> None:
    """Every cell's words stand in the text, in order, one line to a row."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    assert delimiter_of(out.getvalue().split("\n")) in ",;\t|"
    from rag.load import csv as loader

    source = loader.load(f"sep={delimiter}\n{out.getvalue()}".encode(), "a.csv", Load())
    kept = [row for row in rows if any(cell.replace("\ufeff", "").strip() for cell in row)]
    lines = [line for line in source.text.split("\n") if line and not re.fullmatch(r"\|( --- \|)+", line)]
    assert len(lines) == len(kept)
    for row, line in zip(kept, (line.replace(r"\|", "|") for line in lines), strict=True):
        at = 0
        for cell in row:
            words = " ".join(cell.replace("\ufeff", "").split())
            at = line.index(words, at) + len(words)


# --- files that mean harm, and files that are something else ---------------------------------------------------


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


TYPES = b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'


STRICT = (
    b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="a" '
    b'Type="http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument" Target="x"/></Relationships>'
)


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx"])
def test_bombs_are_refused_unopened(tmp_path: Path, suffix: str) -> None:
    bomb = zipped({"[Content_Types].xml": TYPES, "word/document.xml": b"0" * (80 << 20)})
    assert len(bomb) < 1 << 20
    with pytest.raises(DocumentError, match=r"unpacks from [\d,]+ bytes to [\d,]+, more than is safe"):
        load(put(tmp_path, f"a.{suffix}", bomb))
    many = zipped({f"{n}": b"" for n in range(10_001)})
    with pytest.raises(DocumentError, match="holds 10001 files"):
        load(put(tmp_path, f"b.{suffix}", many))
    with pytest.raises(DocumentError, match="is a plain zip archive, not a"):
        load(put(tmp_path, f"c.{suffix}", zipped({"../../etc/passwd": b"x", "readme.txt": b"y"})))


def test_members_outside_and_entities_are_harmless(tmp_path: Path) -> None:
    secret = put(tmp_path, "secret", "sesame")
    evil = (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}"><!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
        + "]>"
    ).encode()
    for name, document, part in (
        ("a.xlsx", workbook(), "xl/worksheets/sheet1.xml"),
        ("b.xlsx", workbook(), "xl/sharedStrings.xml"),
        ("c.xlsx", workbook(), "xl/workbook.xml"),
        ("a.pptx", deck(), "ppt/slides/slide1.xml"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(saved(document))) as old, zipfile.ZipFile(buffer, "w") as new:
            new.writestr("../../../evil.txt", "zip slip")
            for member in old.namelist():
                body = old.read(member)
                if member == part:
                    body = evil + body[body.index(b"?>") + 2 :] if body.startswith(b"<?xml") else evil + body
                    body = body.replace(b">Price list 2024<", b">&e;&j;<").replace(b">First<", b">&e;&j;<")
                new.writestr(member, body)
        try:
            text = load(put(tmp_path, name, buffer.getvalue())).text
        except DocumentError:
            text = ""
        assert "sesame" not in text
        assert "aaaaaaaaaaa" not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pptx", "a.xlsx", "b.xlsx", "c.xlsx", "secret"]
    assert not [up for start in (tmp_path, Path.cwd()) for up in start.parents if (up / "evil.txt").exists()]


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504


@pytest.mark.parametrize(
    ("name", "data", "reason", "hint"),
    [
        ("a.xlsx", OLE + "Workbook".encode("utf-16-le"), "is an old Excel workbook", "save it as .xlsx"),
        ("a.pptx", OLE + "PowerPoint Document".encode("utf-16-le"), "is an old PowerPoint", "save it as .pptx"),
        ("a.docx", OLE + "WordDocument".encode("utf-16-le"), "is an old Word document", "save it as .docx"),
        ("a.xlsx", OLE + "EncryptedPackage".encode("utf-16-le"), "is an encrypted Office", "without a password"),
        ("a.csv", b"PK\x03\x04" + b"\0" * 40, "is a zip archive, not what .csv says", "right suffix"),
        ("a.csv", b"<!doctype html><p>404", "is an HTML page, not what .csv says", "right suffix"),
        ("a.csv", b"%PDF-1.4", "is a PDF", "right suffix"),
        ("a.pptx", zipped({"xl/workbook.xml": b"x"}), "is an Excel workbook, not a PowerPoint", "right suffix"),
        ("a.xlsx", zipped({"xl/workbook.bin": b"x"}), "is a binary Excel workbook", "right suffix"),
        ("a.xlsx", zipped({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}), "is an OpenDocument s", ""),
        *(
            (f"a.{kind}", zipped({main: b"", "_rels/.rels": STRICT}), "in the strict form of Open XML", "not as Strict")
            for kind, main in (("docx", "word/document.xml"), ("pptx", "ppt/presentation.xml"))
        ),
        ("a.xlsx", zipped({"[Content_Types].xml": TYPES}), "can't be read as xlsx", "save it anew"),
        ("a.pptx", zipped({"[Content_Types].xml": b"<"}), "can't be read as pptx", "save it anew"),
        ("a.pptx", b"PK\x03\x04 cut short", "can't be read as a PowerPoint", "save it anew"),
    ],
)
def test_mislabelled_and_damaged_files_say_so(tmp_path: Path, name: str, data: bytes, reason: str, hint: str) -> None:
    with pytest.raises(DocumentError, match=reason) as caught:
        load(put(tmp_path, name, data))
    assert hint in caught.value.hint


@pytest.mark.parametrize(("suffix", "program"), [("doc", "Word"), ("xls", "Excel"), ("ppt", "PowerPoint")])
def test_old_formats_are_named(tmp_path: Path, suffix: str, program: str) -> None:
    with pytest.raises(UnsupportedError, match=f"no loader for .{suffix}, the old {program} format") as caught:
        load(put(tmp_path, f"a.{suffix.upper()}", OLE))
    assert caught.value.hint == f"save it as .{suffix}x"


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_bytes_have_one_outcome(tmp_path_factory: pytest.TempPathFactory, suffix: str, data: Any) -> None:
    """Each file ends in a Source or one DocumentError, whatever was done to it."""
    whole = WHOLE.setdefault(suffix, make(suffix))
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
    with contextlib.suppress(DocumentError):  # anything else is a crash
        load(put(tmp_path_factory.mktemp("damaged"), f"a.{suffix}", bytes(damaged)))


WHOLE: dict[str, bytes] = {}


def make(suffix: str) -> bytes:
    if suffix == "docx":
        import docx

        document = docx.Document()
        document.add_heading("One", 1)
        document.add_paragraph("Words.")
        return saved(document)
    return saved(deck() if suffix == "pptx" else workbook())
