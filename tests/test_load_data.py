"""Data, markup and notebooks as text: what a person would read of them, and where it stands."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.config import Load
from rag.errors import DocumentError, EmptyError
from rag.load import Kind, load_bytes
from rag.types import Source, label


def load(data: bytes | str, name: str, kind: Kind, config: Load | None = None) -> Source:
    source = load_bytes(data.encode() if isinstance(data, str) else data, kind, name, name, config or Load())
    assert source.kind in (kind, "html")
    assert all(source.text[h.start :].lstrip("# ").startswith(h.title) for h in source.headings)
    assert list(source.pages) == sorted(source.pages)
    return source


# --- json ----------------------------------------------------------------------------------------------------

PUMP = """{
  "name": "pump", "price": 1.50, "mass": 12345678901234567890.123, "note": "two\\nlines",
  "limits": {"bar": 6, "deep": {"er": {"x": {"y": [1, 2]}}}},
  "tags": ["a", "b"], "spare": true, "gone": null,
  "parts": [{"id": 1, "price": 0.10}, {"id": 2, "price": 3e5}],
  "people": [{"name": "Ann", "rooms": [{"no": 1}]}, {"name": "Bo", "rooms": []}]
}"""


def test_json_reads_as_lines_sections_and_tables() -> None:
    source = load(PUMP, "pump.json", "json")
    assert source.text == (
        "name: pump\nprice: 1.50\nmass: 12345678901234567890.123\nnote:\ntwo\nlines\n\ntags: a, b\nspare: true\n\n"
        "# limits\n\nbar: 6\n\n## deep\n\n### er\n\nx.y: 1, 2\n\n"
        "# parts\n\n| id | price |\n| --- | --- |\n| 1 | 0.10 |\n| 2 | 3e5 |\n\n"
        "# people\n\n## 1: Ann\n\nname: Ann\n\n### rooms\n\n[1].no: 1\n\n## 2: Bo\n\nname: Bo"
    )
    assert label("pump.json", source.locate(source.text.index("[1].no"))) == "pump.json:36 (people > 1: Ann > rooms)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([[1, 2], [3, 4]], "[1]: 1, 2\n[2]: 3, 4"),
        ({"at": [[[1, 2], [3, 4]], []]}, "# at\n\n[1][1]: 1, 2\n[1][2]: 3, 4"),
        ([["name", "age"], ["Ann", 5], ["Bo", None]], "| name | age |\n| --- | --- |\n| Ann | 5 |\n| Bo |  |"),
        ([["Ann", "Bo"], ["Cleo", "Dan"]], "[1]: Ann, Bo\n[2]: Cleo, Dan"),
        ([["a", 1], [], ["c"]], "[1]: a, 1\n[3]: c"),
    ],
)
def test_lists_in_a_list_stay_apart(value: Any, text: str) -> None:
    assert load(json.dumps(value), "a.json", "json").text == text


def test_jsonl_has_a_record_a_line() -> None:
    source = load('{"q": "a", "r": 1}\n\n{"q": "b", "r": 2}\nbroken\n', "a.jsonl", "json")
    assert source.text == "| q | r |\n| --- | --- |\n| a | 1 |\n| b | 2 |"
    assert source.warnings == ("1 lines are no JSON: left out",)
    long = load("\n".join(json.dumps({"title": f"T{n}", "text": "word " * 60}) for n in range(3)), "a.jsonl", "json")
    assert [h.title for h in long.headings] == ["1: T0", "2: T1", "3: T2"]
    with pytest.raises(DocumentError, match="no line of it is JSON"):
        load("a\nb", "a.jsonl", "json")


def test_what_is_no_json_is_read_as_text() -> None:
    source = load('{\n  // a comment\n  "strict": true,\n}', "tsconfig.json", "json")
    assert '"strict": true' in source.text
    assert source.warnings[0].startswith("no valid JSON (")
    with pytest.raises(EmptyError):
        load("{}", "a.json", "json")


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
VALUES = st.recursive(
    WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


def leaves(value: Any) -> list[str]:
    match value:
        case dict():
            return [leaf for inner in value.values() for leaf in leaves(inner)]
        case list():
            return [leaf for inner in value for leaf in leaves(inner)]
        case None:
            return []
        case bool():
            return [str(value).lower()]
    return [str(value)]


@settings(max_examples=40)
@given(VALUES)
def test_every_value_stands_in_the_text(value: Any) -> None:
    expected = leaves(value)
    try:
        source = load(json.dumps(value), "a.json", "json")
    except EmptyError:
        assert not expected
        return
    text = source.text.replace(r"\|", "|")
    assert all(word in text for word in expected)


# --- xml -----------------------------------------------------------------------------------------------------

FEED = """<?xml version="1.0" encoding="iso-8859-1"?><!-- no --><?pi no?>
<rss xmlns:x="urn:x"><channel><title>Caf\xe9 news</title>
  <item id="5" xml:lang="en"><title>One</title><x:price unit="EUR">12</x:price><link href="http://u"/><empty/>
    <body>Words <b>in</b>
      the middle.</body><pre>a
  b</pre></item></channel></rss>""".encode("latin-1")


def test_xml_reads_as_the_text_of_its_elements() -> None:
    source = load(FEED, "news.xml", "xml")
    assert source.text == (
        "## Café news\n\nitem (id=5)\n\n### One\n\nprice (unit=EUR): 12\nlink (href=http://u)\n\n"
        "Words in the middle.\n\n```\na\n  b\n```"
    )
    assert source.title == "Café news"
    page = load('<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>A page.</p></body></html>',
                "a.xml", "xml")  # fmt: skip
    assert (page.text, page.kind) == ("A page.", "html")
    with pytest.raises(DocumentError, match="is no readable XML"):
        load("just words", "a.xml", "xml")


def test_paragraphs_within_a_text_stay_paragraphs() -> None:
    tei = "<text><body><div><head>Letter</head><p>Dear Anna.</p><p>It <hi>rains</hi>.</p></div></body></text>"
    assert load(f"<TEI>{tei}</TEI>", "a.xml", "xml").text.endswith("# Letter\n\nDear Anna.\n\nIt rains.")


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ('<line sku="B1" amount="300">Desk</line>', "line (sku=B1, amount=300): Desk"),
        ('<note from="Ann"/>', "note (from=Ann)"),
        ('<item id="5">Words <b>beside</b></item>', "item (id=5): Words beside"),
        ('<title year="1951">Foundation</title>', "# Foundation\n\ntitle (year=1951)"),
        ('<code language="py">x = 1</code>', "code (language=py)\n\n```\nx = 1\n```"),
        (
            '<p id="P12" class="x">It rains.</p><line id="7" qty="2">Desk</line>',
            "It rains.\n\nline (id=7, qty=2): Desk",
        ),
        ("<line><sku>B1</sku><qty>3</qty></line><p><b>a</b><i>b</i></p>", "sku: B1\nqty: 3\n\nab"),
        ("<note><hi>Beware</hi></note>", "Beware"),
    ],
)
def test_xml_shows_attributes_behind_the_name_of_any_element(element: str, text: str) -> None:
    assert load(f"<doc>{element}</doc>", "a.xml", "xml").text == text


def test_entities_of_xml_stay_closed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame")
    doctype = f'<!DOCTYPE d [<!ENTITY e SYSTEM "file://{tmp_path}/secret"><!ENTITY a "boom">]>'
    source = load(f"{doctype}<d>open &e; now &a;</d>", "a.xml", "xml")
    assert "sesame" not in source.text
    assert "open" in source.text


# --- notebooks -----------------------------------------------------------------------------------------------


def notebook() -> dict[str, Any]:
    return {
        "nbformat": 4,
        "cells": [
            {"cell_type": "markdown", "source": ["# Sales\n", "By `region`.\n", "## North"]},
            {
                "cell_type": "code",
                "source": "total = 5\ntotal",
                "outputs": [
                    {"output_type": "stream", "text": ["counting\n"]},
                    {"output_type": "execute_result", "data": {"text/plain": ["5"], "image/png": "iVBOR"}},
                    {"output_type": "error", "ename": "ValueError", "evalue": "too few", "traceback": ["\x1b[0m"]},
                ],
            },
            {"cell_type": "code", "source": "", "outputs": [{"output_type": "stream", "text": "row\n" * 30}]},
            {"cell_type": "raw", "source": "raw words"},
        ],
    }


def test_cells_are_pages_and_outputs_short() -> None:
    source = load(json.dumps(notebook()), "sales.ipynb", "ipynb")
    assert source.text == (
        "# Sales\nBy `region`.\n## North\n\n```\ntotal = 5\ntotal\n```\n\n"
        "Output:\n\n```\ncounting\n5\nValueError: too few\n```\n\n"
        f"Output:\n\n```\n{chr(10).join(['row'] * 20)}\n```\n\nraw words"
    )
    assert [h.title for h in source.headings] == ["Sales", "North"]
    assert label("sales.ipynb", source.locate(source.text.index("total"))) == "sales.ipynb, cell 2"
    assert label("sales.ipynb", source.locate(source.text.index("raw"))) == "sales.ipynb, cell 4"
    assert (source.title, source.warnings) == ("Sales", ("output after 20 lines left out: cells 3",))
    assert len(load(json.dumps(notebook()), "a.ipynb", "ipynb", Load(max_pages=2)).pages) == 2


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        ([{"output_type": "stream", "text": ["  0%|  |\r", " 50%|# |\r", "100%|##|\n", "\x1b[32mdone\x1b[0m\r\n"]}],
         "100%|##|\ndone"),
        ([{"output_type": "stream", "name": "stderr", "text": "\r 1/2"},
          {"output_type": "stream", "name": "stderr", "text": "\r 2/2"},
          {"output_type": "stream", "name": "stdout", "text": "ok"}], " 2/2\nok"),
        ([{"output_type": "display_data", "data": {"text/markdown": ["**Best**: 0.93"],
                                                   "text/plain": "<IPython.core.display.Markdown object>"}},
          {"output_type": "display_data", "data": {"text/html": "<b>7</b><script>y()",
                                                   "text/plain": "<IPython.core.display.HTML object>"}},
          {"output_type": "execute_result", "data": {"text/plain": "<5 objects>"}}], "**Best**: 0.93\n7\n<5 objects>"),
    ],
)  # fmt: skip
def test_outputs_are_those_that_a_terminal_shows(outputs: Any, text: str) -> None:
    cell = {"cell_type": "code", "source": "", "outputs": outputs}
    assert load(json.dumps({"cells": [cell]}), "a.ipynb", "ipynb").text == f"Output:\n\n```\n{text}\n```"


def test_format_3_is_read_and_what_is_no_notebook_refused() -> None:
    cells = [{"cell_type": "heading", "level": 2, "source": "Old"}, {"cell_type": "code", "input": ["x = 1"]}]
    source = load(json.dumps({"worksheets": [{"cells": cells}]}), "a.ipynb", "ipynb")
    assert source.text == "## Old\n\n```\nx = 1\n```"
    for text, reason in (("{}", "has no cells"), ("[1]", "has no cells"), ("{", "no valid JSON")):
        with pytest.raises(DocumentError, match=reason):
            load(text, "a.ipynb", "ipynb")


@settings(max_examples=40)
@given(VALUES, VALUES)
def test_cells_of_any_form_have_one_outcome(source: Any, outputs: Any) -> None:
    cell = {"cell_type": "code", "source": source, "outputs": outputs, "level": outputs}
    with contextlib.suppress(DocumentError):
        load(json.dumps({"cells": [cell, {**cell, "cell_type": "heading"}, source]}), "a.ipynb", "ipynb")
