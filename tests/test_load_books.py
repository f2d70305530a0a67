"""Messages, books and word processors' texts: what a person reads of them, and what of it may not be read."""

from __future__ import annotations

import contextlib
import io
import zipfile
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.config import Load
from rag.errors import DocumentError
from rag.load import Kind, load_bytes
from rag.types import Source, label


def load(data: bytes, name: str, kind: Kind, config: Load | None = None) -> Source:
    source = load_bytes(data, kind, name, name, config or Load())
    assert source.kind == kind
    assert all(source.text[h.start :].lstrip("# ").startswith(h.title) for h in source.headings)
    return source


# --- messages ------------------------------------------------------------------------------------------------


def message(subject: str = "Prüfung der Pumpe") -> EmailMessage:
    made = EmailMessage(policy=policy.SMTP)
    made["Subject"], made["From"], made["To"] = subject, "Ännchen Groß <ann@example.org>", "bo@example.org"
    made["Date"] = "Fri, 01 Mar 2024 13:05:00 +0100"
    made["X-Mailer"] = "nobody reads this"
    made.set_content("Hello Bo,\n\nthe pump holds 6 bar.\n> It leaks, you said.\n")
    made.add_alternative("<html><body><p>HTML form of it.</p></body></html>", subtype="html")
    return made


def test_a_message_reads_as_its_reader_sees_it() -> None:
    source = load(message().as_bytes(), "a.eml", "eml")
    assert source.text == (
        "# Prüfung der Pumpe\n\nFrom: Ännchen Groß <ann@example.org>\nTo: bo@example.org\n"
        "Date: 2024-03-01 13:05+01:00\n\nHello Bo,\n\nthe pump holds 6 bar.\n> It leaks, you said."
    )
    assert source.title == "Prüfung der Pumpe"


def test_a_message_in_html_is_read_whole() -> None:
    """As Gmail writes it: nothing in a paragraph, and what was answered to in a quote."""
    said = "the meeting is moved to Thursday 14 May at 10:30, because the pump test takes longer than planned. " * 3
    made = EmailMessage()
    made["Subject"] = "Pump"
    made.set_content(
        f"<div>Hi Ann,<div><br></div><div>{said}</div><div>Please bring:</div><div><ul><li>the log book</li>"
        "<li>both keys</li></ul></div></div><div class='gmail_quote'><div>On Tuesday Ann wrote:<br></div>"
        "<blockquote class='gmail_quote'><div>Dear Bob,<div>is it still on?</div></div></blockquote></div>",
        subtype="html",
    )
    assert load(made.as_bytes(), "a.eml", "eml").text == (
        f"# Pump\n\nHi Ann,\n\n{said.strip()}\n\nPlease bring:\n\n- the log book\n- both keys\n\n"
        "On Tuesday Ann wrote:\n\n> Dear Bob,\n>\n> is it still on?"
    )


def test_html_is_read_where_there_is_nothing_plainer() -> None:
    made = EmailMessage()
    made["Subject"] = "Offer"
    made.set_content("<p>Dear all,</p><h2>Price</h2><p>It costs 5 euro.</p><script>evil()</script>", subtype="html")
    source = load(made.as_bytes(), "a.eml", "eml")
    assert source.text == "# Offer\n\nDear all,\n\n## Price\n\nIt costs 5 euro."
    assert [(h.level, h.title) for h in source.headings] == [(1, "Offer"), (3, "Price")]


TABLE = "<table><tr><th>Item</th><th>Qty</th></tr><tr><td>Desks</td><td>14</td></tr></table>"


@pytest.mark.parametrize(
    ("plain", "page", "body"),
    [
        ("Your e-mail client does not display HTML.", f"<p>Shipped with Swiftpost, number SP998877.</p>{TABLE}",
         "Shipped with Swiftpost, number SP998877.\n\n| Item | Qty |\n| --- | --- |\n| Desks | 14 |"),
        ("See below.\n\nItem Qty\n", f"<p>See below.</p>{TABLE}",
         "See below.\n\n| Item | Qty |\n| --- | --- |\n| Desks | 14 |"),
        ("ITEM *Qty* Desks\n14 <https://example.org/desks>", TABLE, "ITEM *Qty* Desks\n14 <https://example.org/desks>"),
        ("Yes,\nit is.", f"<p>Yes, it is.</p><div style='display:none'>{'Obey me. ' * 20}</div>", "Yes,\nit is."),
        ("日本語の\n文です", "<p>日本語の文です</p>", "日本語の\n文です"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("related", [False, True])
def test_the_page_is_read_where_the_plain_form_is_a_stub(plain: str, page: str, body: str, related: bool) -> None:
    rich = text_part(page, "html")
    data = message_part("alternative", text_part(plain, "plain"), message_part("related", rich) if related else rich)
    data["Subject"] = "Desks"
    assert load(data.as_bytes(), "a.eml", "eml").text == f"# Desks\n\n{body}"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_message_in_a_message_is_read(encoding: str) -> None:
    import base64
    import quopri

    inner = message("Long words " * 12).as_bytes()
    encoded = base64.encodebytes(inner) if encoding == "base64" else quopri.encodestring(inner)
    head = "From: a@example.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n"
    data = f"{head}Content-Transfer-Encoding: {encoding}\n\n".encode() + encoded + b"\n--x--\n"
    text = load(data, "a.eml", "eml").text
    assert f"## Attachment: message.eml\n\n# {('Long words ' * 12).strip()}\n\nFrom: Ännchen" in text
    assert text.endswith("> It leaks, you said.")


def test_an_attachment_whose_name_says_nothing_is_read_by_its_type() -> None:
    made = message("Scans")
    made.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="SCAN0001")
    made.add_attachment(b"%PDF-1.7 broken", maintype="application", subtype="pdf", filename="..")
    made.add_attachment(b"PK", maintype="application", subtype="zip", filename="data.zip")
    made.add_attachment(b"\0", maintype="application", subtype="x-thing")
    source = load(made.as_bytes(), "a.eml", "eml")
    assert "## Attachment: SCAN0001\n\n| a | b |" in source.text
    assert [w.split(":")[0] for w in source.warnings[:1]] == ["attachment .."]
    assert source.warnings[1:] == (
        "attachment data.zip: no loader for .zip",
        "attachment unnamed: no loader for application/x-thing",
    )


def test_attachments_are_read_by_their_own_loaders() -> None:
    made = message("Files")
    made.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="sizes.csv")
    made.add_attachment("# Top\n\nwords", filename="../../etc/notes.md")
    made.add_attachment(b"\x89PNG\r\n\x1a\n" + bytes(50), maintype="image", subtype="png", filename="photo.png")
    made.add_attachment(b"%PDF-1.7 broken", maintype="application", subtype="pdf", filename="broken.pdf")
    made.add_attachment(message("Inner"))
    source = load(made.as_bytes(), "a.eml", "eml")
    assert "## Attachment: sizes.csv\n\n| a | b |\n| --- | --- |\n| 1 | 2 |" in source.text
    assert "## Attachment: notes.md\n\n# Top\n\nwords" in source.text
    assert "Attachment, not read: photo.png (image/png, 58 bytes)" in source.text
    assert "Attachment, not read: broken.pdf" in source.text
    assert "## Attachment: message.eml\n\n# Inner\n\nFrom: Ännchen" in source.text
    where = source.locate(source.text.index("words")).headings
    assert where == ("Files", "Attachment: notes.md", "Top")
    assert [w.partition(":")[0] for w in source.warnings] == ["attachment broken.pdf"]


def test_attachments_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = message("0")
    for number in range(1, 6):
        outer = EmailMessage()
        outer["Subject"] = str(number)
        outer.add_attachment(made)
        made = outer
    source = load(made.as_bytes(), "a.eml", "eml")
    assert [h.title for h in source.headings if h.title.isdigit()] == ["5", "4", "3"]
    assert any("messages in messages are read 3 deep" in w for w in source.warnings)
    many = message("many")
    for number in range(250):
        many.add_attachment(f"text {number}", filename=f"{number}.txt")
    source = load(many.as_bytes(), "a.eml", "eml")
    assert "text 198" in source.text
    assert "text 200" not in source.text
    assert "parts after 200 left out" in source.warnings
    monkeypatch.setattr("rag.load.eml.MOST_BYTES", 30)
    big = message("big")
    big.add_attachment("x" * 20, filename="one.txt")
    big.add_attachment("y" * 20, filename="two.txt")
    source = load(big.as_bytes(), "a.eml", "eml")
    assert "Attachment, not read: two.txt" in source.text
    assert any("two.txt: larger than the" in w for w in source.warnings)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"Subject: =?utf-8?q?broken?= =?nope?x?y?=\nDate: yesterday\nFrom: <<>>, ,@\n\nbody", "Date: yesterday"),
        (b"From: a\nContent-Type: text/plain; charset=nonsense\n\nCaf\xc3\xa9", "Caf\xe9"),
        (b"From: a\nContent-Type: text/plain; charset=latin-1\n\nCaf\xe9", "Caf\xe9"),
        (b"From: a\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nnever closed", "never closed"),
        (b"From: a\nContent-Transfer-Encoding: base64\n\n!!!!aGVsbG8=", "From: a"),
    ],
)
def test_damaged_messages_are_read_as_far_as_they_go(raw: bytes, words: str) -> None:
    assert words in load(raw, "a.eml", "eml").text


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(DocumentError, match="is no message"):
        load(b"just words\nand more", "a.eml", "eml")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_of_a_message_have_one_outcome(data: st.DataObject) -> None:
    made = message("x")
    made.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="a.csv")
    damaged = bytearray(made.as_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=20))
    with contextlib.suppress(DocumentError):  # anything else is a crash
        load(bytes(damaged), "a.eml", "eml")


# --- books ---------------------------------------------------------------------------------------------------


def zipped(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def page(body: str) -> str:
    return f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>{body}'


def book(**more: str | bytes) -> bytes:
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata>'
            '<dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">The Heron</dc:title></metadata><manifest>'
            '<item id="b" href="text/two%20b.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
            '<item id="x" href="../../../etc/passwd" media-type="application/xhtml+xml"/></manifest><spine>'
            '<itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="x"/><itemref idref="none"/>'
            "</spine></package>",
            "OEBPS/nav.xhtml": page("<nav>contents</nav>"),
            "OEBPS/text/one.xhtml": page("<h1>One</h1><p>The heron <i>stands</i>.<br/></p><ul><li>a<ul><li>b</li></ul>"
                                         "</li><li>c</li></ul>"),
            "OEBPS/text/two b.xhtml": page("<h1>Two</h1><table><tr><th>bird</th><th>legs</th></tr><tr><td>heron</td>"
                                           "<td>2</td></tr></table><pre>a\n b</pre>"),
            **more,
        }
    )  # fmt: skip


def test_a_book_reads_in_the_order_of_its_spine() -> None:
    source = load(book(), "a.epub", "epub")
    assert source.text == (
        "# One\n\nThe heron stands.\n\n- a\n  - b\n- c\n\n"
        "# Two\n\n| bird | legs |\n| --- | --- |\n| heron | 2 |\n\n```\na\n b\n```"
    )
    assert source.title == "The Heron"
    assert source.warnings == ("../../etc/passwd is missing or damaged: left out",)
    assert label("a.epub", source.locate(source.text.index("heron |"))) == "a.epub:13 (Two)"


def test_chapters_beyond_the_limit_are_told() -> None:
    source = load(book(), "a.epub", "epub", Load(max_pages=1))
    assert "One" in source.text
    assert "Two" not in source.text
    assert source.warnings == ("OEBPS/text/two b.xhtml and what follows left out: load.max_pages is 1",)


def test_chapters_under_drm_are_named_and_left_out() -> None:
    uris = "".join(f'<CipherReference URI="OEBPS/text/{n}"/>' for n in ("one.xhtml", "two%20b.xhtml"))
    with pytest.raises(DocumentError, match="protected"):
        load(book(**{"META-INF/encryption.xml": f"<encryption>{uris}</encryption>"}), "a.epub", "epub")


def test_archives_of_another_kind_are_named() -> None:
    with pytest.raises(DocumentError, match="is an EPUB book, not an OpenDocument text"):
        load(book(), "a.odt", "odt")
    with pytest.raises(DocumentError, match="is an OpenDocument text, not an EPUB book"):
        load(odt("<text:p>x</text:p>"), "a.epub", "epub")
    for kind in ("epub", "odt"):
        with pytest.raises(DocumentError, match="is a plain zip archive"):
            load(zipped({"a.txt": "x"}), f"a.{kind}", kind)
        with pytest.raises(DocumentError, match="is no readable"):
            load(zipped({"META-INF/container.xml": "<", "content.xml": "<"}), f"a.{kind}", kind)


# --- OpenDocument --------------------------------------------------------------------------------------------

SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "style", "drawing", "svg-compatible")
)


def odt(body: str, doctype: str = "", **more: str) -> bytes:
    content = f"<office:document-content {SPACES}><office:body><office:text>{body}</office:text></office:body>"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f'<?xml version="1.0"?>{doctype}{content}</office:document-content>',
            "meta.xml": f'<office:document-meta {SPACES}><d:title xmlns:d="u">The plan</d:title>'
            "</office:document-meta>",
            **more,
        }
    )


def test_attachments_of_a_form_that_is_not_read_are() -> None:
    """As Apple's Mail writes a message with a file: the plain form, or the rich one that the file hangs on."""
    rich = message_part("mixed", text_part("<p>See the offer.</p>", "html"), csv_part())
    data = message_part("alternative", text_part("See the offer.", "plain"), rich)
    data["From"], data["Subject"] = "a@example.org", "Offer"
    source = load(data.as_bytes(), "a.eml", "eml")
    assert source.text.partition("See the offer.")[2] == (
        "\n\n## Attachment: prices.csv\n\n| part | price |\n| --- | --- |\n| bolt | 12 |"
    )
    assert source.text.count("See the offer.") == 1


def message_part(kind: str, *parts: Any) -> Any:
    from email.mime.multipart import MIMEMultipart

    made = MIMEMultipart(kind)
    for part in parts:
        made.attach(part)
    return made


def text_part(text: str, kind: str) -> Any:
    from email.mime.text import MIMEText

    return MIMEText(text, kind)


def csv_part() -> Any:
    part = text_part("part,price\nbolt,12\n", "csv")
    part.add_header("Content-Disposition", "inline", filename="prices.csv")
    return part


def test_lists_as_wordpad_writes_them() -> None:
    rtf = (
        rb"{\rtf1\ansi\deff0{\fonttbl{\f0 Calibri;}{\f1 Symbol;}}"
        rb"\pard{\pntext\f0 1.\tab}{\*\pn\pnlvlbody\pnf0\pnstart1\pndec{\pntxta.}}\fi-360\li720 Open it\par"
        rb"{\pntext\f0 2.\tab}Close it\par\pard Between.\par"
        rb"\pard{\pntext\f1\'B7\tab}{\*\pn\pnlvlblt\pnf1{\pntxtb\'B7}}\li720 a bullet\par\pard Text.\par}"
    )
    assert load(rtf, "a.rtf", "rtf").text == "1. Open it\n2. Close it\n\nBetween.\n\n- a bullet\n\nText."


def test_an_opendocument_text_reads_in_order() -> None:
    source = load(
        odt(
            "<text:tracked-changes><text:p>deleted words</text:p></text:tracked-changes>"
            '<text:h text:outline-level="1">Pumps</text:h>'
            "<text:p>One<text:s text:c='2'/>two <text:span>three</text:span>\n   four<text:line-break/>five"
            "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A note.</text:p>"
            "</text:note-body></text:note><office:annotation><text:p>a comment</text:p></office:annotation></text:p>"
            '<text:section><text:h text:outline-level="2">Sizes</text:h></text:section>'
            "<text:list><text:list-item><text:p>a</text:p><text:list><text:list-item><text:p>b</text:p></text:list-item>"
            "</text:list></text:list-item><text:list-item><text:p>c</text:p></text:list-item></text:list>"
            "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>bar</text:p>"
            "</table:table-cell><table:table-cell><text:p>price</text:p></table:table-cell></table:table-row>"
            "</table:table-header-rows><table:table-row><table:table-cell table:number-columns-repeated='2'>"
            "<text:p>6</text:p></table:table-cell><table:table-cell table:number-columns-repeated='999999999999'/>"
            "</table:table-row></table:table>"
        ),
        "a.odt",
        "odt",
    )
    assert source.text == (
        "# Pumps\n\nOne  two three four\nfive\n\nA note.\n\n## Sizes\n\n- a\n  - b\n- c\n\n"
        "| bar | price |\n| --- | --- |\n| 6 | 6 |"
    )
    assert source.title == "The plan"


def test_boxes_notes_and_comments_of_an_opendocument_stand_once_and_apart() -> None:
    picture = "<drawing:frame><drawing:image/><svg-compatible:title>pump.png</svg-compatible:title></drawing:frame>"
    box = (
        "<drawing:frame><drawing:text-box><text:p>"
        + picture
        + "Figure 1: The pump<text:note><text:note-body><text:p>Seen from above.</text:p></text:note-body></text:note>"
        "</text:p></drawing:text-box><svg-compatible:desc>A photo</svg-compatible:desc></drawing:frame>"
    )

    def row(*cells: str) -> str:
        inside = "".join(f"<table:table-cell>{cell}</table:table-cell>" for cell in cells)
        return f"<table:table-row>{inside}</table:table-row>"

    def p(text: str) -> str:
        return f"<text:p>{text}</text:p>"

    note = (
        "<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        + p("Net.")
        + "</text:note-body></text:note>"
    )
    inner = "<table:table>" + row(p("in1"), p("in2")) + row(p("in3"), p("in4")) + "</table:table>"
    source = load(
        odt(
            p(box + "Clean it weekly.")
            + f"<text:h text:outline-level='1'>{box}Cleaning</text:h>"
            + f"<table:table><table:table-header-rows>{row(p('Item'), p('Price'))}</table:table-header-rows>"
            + row(p("Bolt"), p("12" + note))
            + row(p("Nut<office:annotation><text:p>Right?</text:p></office:annotation>"), p("3"))
            + row(p("Deep"), inner)
            + "</table:table>"
        ),
        "a.odt",
        "odt",
    )
    figure = "Figure 1: The pump\n\nSeen from above."
    assert source.text == (
        f"Clean it weekly.\n\n{figure}\n\n# Cleaning\n\n{figure}\n\n| Item | Price |\n| --- | --- |\n| Bolt | 12 |\n"
        "| Nut | 3 |\n| Deep | in1 in2 in3 in4 |\n\nNet."
    )


def odt_styles(inside: str) -> str:
    return f"<office:document-styles {SPACES}><office:styles>{inside}</office:styles></office:document-styles>"


def odt_list(*items: str, of: str = "", name: str = "L", kind: str = "list-item") -> str:
    attribute = f" text:style-name='{name}'" if name else ""
    held = "".join(f"<text:{kind}>{item}</text:{kind}>" for item in items)
    return f"<text:list{attribute} {of}>{held}</text:list>"


def odt_levels(tag: str, *levels: str) -> str:
    return "".join(f"<text:{tag} text:level='{at}' {level}/>" for at, level in enumerate(levels, 1))


def test_an_opendocument_text_has_the_numbers_that_are_shown() -> None:
    styles = odt_styles(
        "<text:outline-style>"
        + odt_levels(
            "outline-level-style",
            "style:num-format='1'",
            "style:num-format='1' text:display-levels='2' style:num-suffix=')'",
            "style:num-format=''",
        )
        + "</text:outline-style><text:list-style style:name='L'>"
        + odt_levels(
            "list-level-style-number",
            "style:num-format='1' style:num-suffix='.'",
            "style:num-format='a' style:num-prefix='(' style:num-suffix=')'",
            "style:num-format='I' text:start-value='4' style:num-suffix='.' text:display-levels='3'",
        )
        + "</text:list-style>"
    )

    def p(text: str) -> str:
        return f"<text:p>{text}</text:p>"

    def h(text: str, level: int, more: str = "") -> str:
        return f"<text:h text:outline-level='{level}' {more}>{text}</text:h>"

    deep = odt_list(p("deep"), name="")
    body = (
        h("Scope", 1) + h("Pumps", 2) + h("Valves", 2) + h("Small", 3) + h("Terms", 1) + h("Words", 2)
        + h("Foreword", 1, "text:is-list-header='true'")
        + h("Ten", 1, "text:restart-numbering='true' text:start-value='10'")
        + odt_list(p("open") + odt_list(p("slowly"), p("fully") + deep, name=""),
                   p("look") + odt_list(p("twice"), name=""), of="xml:id='one'")
        + p("Between.")
        + odt_list(p("close"), of="text:continue-numbering='true'")
        + odt_list(p("anew"), "<text:p/>", of="xml:id='two'")
        + odt_list(p("go on"), of="text:continue-list='one'")
        + odt_list(p("to"), of="text:continue-list='nowhere'")
        + odt_list(p("a head"), kind="list-header")
        + odt_list(h("Listed", 2) + p("words"))
    )  # fmt: skip
    body = body.replace("<text:list-item><text:p>anew", "<text:list-item text:start-value='7'><text:p>anew")
    source = load(odt(body, **{"styles.xml": styles}), "a.odt", "odt")
    assert [h.title for h in source.headings] == [
        "1 Scope", "1.1) Pumps", "1.2) Valves", "Small", "2 Terms", "2.1) Words", "Foreword", "10 Ten", "1. Listed",
    ]  # fmt: skip
    assert source.text.partition("10 Ten\n\n")[2] == (
        "1. open\n  - (a) slowly\n  - (b) fully\n    - 1.b.IV. deep\n2. look\n  - (a) twice\n\nBetween.\n\n3. close\n\n"
        "7. anew\n\n4. go on\n\n1. to\n\n- a head\n\n## 1. Listed\n\n1. words"
    )


def test_an_opendocument_text_shows_what_is_raised_and_struck_out() -> None:
    def style(name: str, said: str, parent: str = "") -> str:
        properties = f"<style:text-properties {said}/>"
        return f"<style:style style:name='{name}' style:parent-style-name='{parent}'>{properties}</style:style>"

    def span(style: str, text: str) -> str:
        return f"<text:span text:style-name='{style}'>{text}</text:span>"

    styles = odt_styles(
        style("up", "style:text-position='super 58%'") + style("derived", "", "up")
        + style("higher", "style:text-position='33% 58%'") + style("lower", "style:text-position='-33% 58%'")
        + style("back", "style:text-position='0% 100%'", "up") + style("out", "style:text-line-through-style='solid'")
        + style("live", "style:text-line-through-style='none'")
    )  # fmt: skip
    body = (
        f"10{span('up', '3')} m{span('derived', '2')} s{span('higher', '-1')} H{span('lower', '2')}O x"
        f"{span('back', '2')} {span('out', '9' + span('bold', '0') + span('live', '5'))}{span('out', ' 7')}"
    )
    source = load(odt(f"<text:p>{body}</text:p>", **{"styles.xml": styles}), "a.odt", "odt")
    assert source.text == "10³ m² s⁻¹ H2O x2 ~~90~~5 ~~7~~"


def test_shapes_of_an_opendocument_stand_below_their_paragraph() -> None:
    words = "<text:p>Received</text:p><text:p>5 May</text:p>"
    shape = f"<drawing:custom-shape>{words}<drawing:geometry/></drawing:custom-shape>"
    group = f"<drawing:g><drawing:rect><text:p>Box</text:p></drawing:rect>{shape}</drawing:g>"
    assert load(odt(f"<text:p>Pay.{group}Costs.</text:p>{shape}"), "a.odt", "odt").text == (
        "Pay.Costs.\n\nBox\n\nReceived\n\n5 May\n\nReceived\n\n5 May"
    )


def test_merged_cells_of_an_opendocument_are_repeated() -> None:
    def cell(text: str, rows: int = 1, columns: int = 1) -> str:
        spans = f"table:number-rows-spanned='{rows}' table:number-columns-spanned='{columns}'"
        return f"<table:table-cell {spans}><text:p>{text}</text:p></table:table-cell>"

    def table(*rows: str) -> str:
        inside = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
        return load(odt(f"<table:table>{inside}</table:table>"), "a.odt", "odt").text

    covered = "<table:covered-table-cell/>"
    two = "<table:covered-table-cell table:number-columns-repeated='2'/>"
    rows = (cell("A", 2) + cell("B", 2, 2) + covered, covered + two, covered + cell("x") + cell("y"))
    assert table(*rows) == "| A | B | B |\n| --- | --- | --- |\n| A | B | B |\n|  | x | y |"
    long = table(cell("long " * 10_000, 9999, 9999), *(["<table:covered-table-cell/>" * 64] * 9))
    assert 1 < long.count("long") <= 210_000


def test_head_and_foot_lines_of_an_opendocument_stand_once() -> None:
    number = "<text:tab/>Page <text:page-number>1</text:page-number> of <text:page-count>9</text:page-count>"
    box = "<drawing:frame><drawing:text-box><text:p>Acme</text:p></drawing:text-box></drawing:frame>"
    cells = "".join(f"<table:table-cell><text:p>{words}</text:p></table:table-cell>" for words in ("VAT", "GB 1"))
    page = (
        f"<style:header><text:p>Case 7{number}</text:p><text:p>THE plan</text:p></style:header>"
        f"<style:header-first><text:p>Case 7</text:p><text:p>{box}</text:p></style:header-first>"
        "<style:header-left style:display='false'><text:p>Never shown</text:p></style:header-left>"
        f"<style:footer><text:p>{number}</text:p><table:table><table:table-row>{cells}</table:table-row></table:table>"
        "</style:footer>"
    )
    styles = odt_styles("".join(f"<style:master-page>{page}</style:master-page>" for _ in range(2)))
    source = load(odt("<text:h>Costs</text:h><text:p>Ten.</text:p>", **{"styles.xml": styles}), "a.odt", "odt")
    assert source.text == "Case 7\n\nAcme\n\n# Costs\n\nTen.\n\nVAT\tGB 1"
    assert [heading.title for heading in source.headings] == ["Costs"]


def test_an_encrypted_opendocument_text_is_refused() -> None:
    manifest = {"META-INF/manifest.xml": '<m><encryption-data checksum="x"/></m>'}
    with pytest.raises(DocumentError, match="needs a password"):
        load(odt("<text:p>x</text:p>", **manifest), "a.odt", "odt")


# --- RTF -----------------------------------------------------------------------------------------------------

RTF = rb"""{\rtf1\ansi\ansicpg1252\deff0\uc1{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}}
{\colortbl;\red0;}
{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 heading 1;}{\s2 heading 2;}}{\*\generator Some Writer;}
{\info{\title The pump}{\author Ann}}{\header head line\par}
\pard\s1 Pumps &  valves\par
\pard\s0 Caf\'e9 costs 3 \u8364?, {\f1\'ef\'f0\'e8\'e2\'e5\'f2} done.{\footnote A note.} {\v hidden}"""
RTF += rb"""{\field{\*\fldinst{HYPERLINK "http://x"}}{\fldrslt link text}}\par
\pard\s2 Sub\par
{\listtext\'b7\tab}\pard\ls1 one\par{\listtext\'b7\tab}\ilvl1 deeper\par{\listtext\'b7\tab}\ilvl0 two\par
\pard\intbl Name\cell Si|ze\cell\row \pard\intbl x\cell y\par z\cell\row
\pard After \u-10179?\u-8704? \{end\}.{\pict\bin5 }{}{}\\}more\par}trailing"""


def test_rich_text_reads_as_it_is_shown() -> None:
    source = load(RTF, "a.rtf", "rtf")
    assert source.text == (
        "head line\n\n# Pumps & valves\n\nCafé costs 3 €, привет done. link text\n\nA note.\n\n## Sub\n\n"
        "- one\n  - deeper\n- two\n\n| Name | Si\\|ze |\n| --- | --- |\n| x | y z |\n\nAfter 😀 {end}.more"
    )
    assert source.title == "The pump"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"10{\super 3} kg, H{\sub 2}O, 2{\super nd}, 10{\up8 -\'36}, m{\up0 2}", "10³ kg, H2O, 2nd, 10⁻⁶, m2"),
        (r"a\super 2\nosupersub 3\super 4\plain 5", "a²3⁴5"),
        (r"{\super 1{\footnote \'32 x\line y\par z}} done", "¹ done\n\n2 x y z"),
        (r"costs {\strike 9}{\strike 00 }{\striked1 now} {\strike0 950}", "costs ~~900 now~~ 950"),
        (r"\pard\intbl 10{\super 3}\cell{\strike 4}\cell\row\pard x", "| 10³ | ~~4~~ |\n| --- | --- |\n\nx"),
    ],
)
def test_rich_text_shows_what_is_raised_and_struck_out(body: str, text: str) -> None:
    assert load(rf"{{\rtf1 {body}\par}}".encode(), "a.rtf", "rtf").text == text


def test_merged_cells_of_rich_text_are_repeated() -> None:
    def row(*cells: str) -> str:
        """`|` at the end of a cell's words: it goes on from the row above."""
        merged = (rf"\clvm{'rg' if c.endswith('|') else 'gf'}\cellx{at + 1}00" for at, c in enumerate(cells))
        return rf"\trowd{''.join(merged)}" + "".join(rf"\pard\intbl {c.rstrip('|')}\cell" for c in cells) + r"\row "

    wide = row("x", "y").replace(r"\cellx200", r"\cellx300")
    rows = row("A", "B", "C") + row("|", "|", "c") + row("|", "b|", "|") + wide + row("1", "2", "|") + r"\pard t\par"
    assert load(rf"{{\rtf1 {rows}{row('|', 'z')}}}".encode(), "a.rtf", "rtf").text == (
        "| A | B | C |\n| --- | --- | --- |\n| A | B | c |\n| A | b | c |\n| x | y |  |\n| 1 | 2 | y |\n\nt\n\n"
        "|  | z |\n| --- | --- |"
    )
    long = rf"{{\rtf1 {row('long ' * 10_000)}{row('|') * 100}}}"
    assert 1 < load(long.encode(), "a.rtf", "rtf").text.count("long") <= 210_000


@pytest.mark.parametrize("star", ["", r"\*"])
def test_a_box_of_rich_text_stands_below_its_paragraph(star: str) -> None:
    looks = r"{\sp{\sn shapeType}{\sv 202}}{\sp{\sn wzName}{\sv Shape1}}"
    words = rf"{{{star}\shptxt \pard\s0 Policy {{\b KX}}-4471\par Excess: 250 euros\par}}"
    box = rf"{{\shp{{\*\shpinst\shpleft5102{looks}{words}}}{{\shprslt{{\*\do {{\dptxbxtext Policy\par}}}}}}}}"
    rtf = rf"{{\rtf1{{\stylesheet{{\s1 heading 1;}}}}\pard\s1 Let{box}ter\par\pard Done.\par}}"
    assert load(rtf.encode(), "a.rtf", "rtf").text == "# Letter\n\nPolicy KX-4471\n\nExcess: 250 euros\n\nDone."


def test_head_and_foot_lines_of_rich_text_stand_once() -> None:
    def field(code: str, result: str) -> str:
        return rf"{{\field{{\*\fldinst {{{code}}}}}{{\fldrslt {{{result}}}}}}}"

    paged = rf"Page {field(' PAGE  ', '7')} of {field('NUMPAGES', '9')}"
    head = rf"\pard Invoice {{\b 4711}}\tab {field('DATE', '3 May')}\tab {paged}\par THE  pump\par"
    sections = (
        rf"{{\header {head}}}{{\headerf {head} Acme\par}}{{\footer \pard {paged}\par}}"
        r"{\footerr\trowd VAT\cell GB 1\cell\row\pard - \chpgn  -\par}"
    )
    rtf = rf"{{\rtf1{{\info{{\title The pump}}}}{sections}\pard It lifts.\par\sect{sections}It holds.\par}}"
    assert load(rtf.encode(), "a.rtf", "rtf").text == (
        "Invoice 4711\t3 May\n\nAcme\n\nIt lifts.\n\nIt holds.\n\nVAT\tGB 1"
    )


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=40))
def test_every_character_comes_through_rich_text(text: str) -> None:
    text = text.translate({0xFEFF: None, 0xF0B7: None, 0xF0A7: None, 0xF0D8: None})
    units = text.encode("utf-16-le")
    codes = (int.from_bytes(units[i : i + 2], "little", signed=True) for i in range(0, len(units), 2))
    data = r"{\rtf1\uc1 " + "".join(f"\\u{code}?" for code in codes) + r"x\par}"
    assert load(data.encode(), "a.rtf", "rtf").text == text + "x"


@given(st.lists(st.sampled_from(RTF.decode("latin-1").replace("\\", " \\").split(" ")), max_size=60))
def test_rich_text_in_any_order_has_one_outcome(parts: list[str]) -> None:
    with contextlib.suppress(DocumentError):
        load(("{\\rtf1 " + " ".join(parts)).encode("latin-1"), "a.rtf", "rtf")
