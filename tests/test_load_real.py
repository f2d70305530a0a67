"""One document as pandoc and LibreOffice write it (tests/files/make.sh): nothing is lost, and it keeps its form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rag.config import Load
from rag.load import load_file
from rag.types import Source, label

FILES = Path(__file__).parent / "files"
SAID = (  # in the order of reading
    "The bilge pump moves 40 litres a minute.",
    "checked",
    "every 14 days; see",
    "Grüße, naïve café,",
    "Ω, 漢字, “quoted” – and a footnote.",
    "Oil the bearing",
    "with light oil",
    "Close the valve",
    "Open the hatch",
    "Read the gauge",
    "Pressure is never above 3 bar.",
    "litres(minutes):",
    "# not a heading",
    "return 40 * minutes",
    "A valve that opens one way is called a check valve.",
    "The end of the handbook.",
)
TABLE = "| Pump | Litres a minute | Price |\n| --- | --- | --- |\n| Small | 40 | € 120 |\n| Large | 1,250 | € 4,900 |"
NO_OUTLINE = {"pandoc.pptx"}  # its slides have titles, none of level 2
HANDBOOKS = sorted(p.name for p in FILES.glob("pandoc.*")) + sorted(p.name for p in FILES.glob("writer.*"))


def load(name: str) -> Source:
    return load_file(FILES / name, name, Load())


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", HANDBOOKS)
def test_all_of_it_is_there_once_and_in_order(name: str) -> None:
    source, at = load(name), 0
    text = flat(source.text.replace("**", "").replace("*must*", "must"))  # of the notebook, which is Markdown
    for words in SAID:
        assert words in text[at:], words
        at = text.index(words, at) + len(words)
    for once in ("bilge", "check valve", "€ 4,900", "never run it dry", "What pumps cost"):
        assert text.count(once) == 1, once


@pytest.mark.parametrize("name", HANDBOOKS)
def test_its_headings_and_its_table(name: str) -> None:
    source = load(name)
    outline = [(h.level, h.title) for h in source.headings if h.title not in ("The Harbour Handbook", "Notes")]
    if name in NO_OUTLINE:
        assert [title for _, title in outline] == ["Pumps", "Valves"]
    else:
        assert outline == [(1, "Pumps"), (2, "Sizes"), (1, "Valves")]
    rows = [flat(line.replace("-:", "").strip("|")) for line in source.text.split("\n") if line.startswith("|")]
    assert [row for row in rows if set(row) - set("-| ")] == [
        flat(line.strip("|")) for line in TABLE.split("\n") if "---" not in line
    ]
    where = label(name, source.locate(source.text.index("check valve")))
    told = {"pandoc.pptx": "slide 4", "pandoc.ipynb": "cell 1"}
    assert told.get(name, "(Valves)") in where, where


@pytest.mark.parametrize("name", [n for n in HANDBOOKS if not n.endswith((".html", ".ipynb"))])
def test_a_list_in_a_list_lies_deeper(name: str) -> None:
    lines = load(name).text.split("\n")
    at = lines.index("- Oil the bearing")
    assert lines[at + 1 : at + 3] == ["  - with light oil", "- Close the valve"]


@pytest.mark.parametrize("name", HANDBOOKS)
def test_steps_keep_their_numbers(name: str) -> None:
    assert re.search(r"^1\. +Open the hatch\n2\. +Read the gauge$", load(name).text, re.MULTILINE)


@pytest.mark.parametrize("name", ["pandoc.docx", "pandoc.odt", "pandoc.rtf", "pandoc.epub", "writer.odt", "writer.rtf"])
def test_code_keeps_its_lines_and_indents(name: str) -> None:
    assert "def litres(minutes):\n    # not a heading\n    return 40 * minutes" in load(name).text


def test_a_sheet_of_calc() -> None:
    text = load("calc.xlsx").text
    head = "| Pump | Litres | Bought | Works |\n| --- | --- | --- | --- |\n"
    rows = "| Small | 40 | 2024-03-01 | TRUE |\n| Large | 1250.5 | 2025-12-24 | FALSE |\n| Grüße |  |  |  |"
    assert text == f"# stock\n\n{head}{rows}"
    assert load("stock.csv").text == head + rows
