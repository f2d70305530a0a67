"""XML of any vocabulary as the text of its elements.

What can be told of any vocabulary: an element with words beside its children is a paragraph; one that holds words only
is a line with its name ("price: 12"), but for names that nearly all vocabularies use for prose (`p`, `para`); `title`,
`head` and their like are headings, as deep as they lie. Attributes stand in brackets behind the name.

No entity is resolved, no DTD read, nothing fetched (container.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load.blocks import Blocks
from rag.load.container import parse_xml, words
from rag.load.decode import clean
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_TITLES = {"title", "head", "heading", "headline", "caption"}
_PROSE = {"p", "para", "simpara", "paragraph", "text", "line", "l", "s", "abstract", "description", "summary", "note"}
_AS_SET = {"pre", "code", "programlisting", "screen", "literallayout", "verse"}
_MOST_ATTRIBUTES = 12


def _holds_blocks(element: Any) -> bool:
    """Paragraphs or headings of its own, as TEI's `text` and JATS's `abstract` have."""
    return any(_name(e) in _PROSE or _name(e) in _TITLES for e in element.iterdescendants() if isinstance(e.tag, str))


def load(data: bytes, relative: str, config: Load) -> Source:
    from lxml import etree

    try:
        root = parse_xml(data.lstrip())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentError(f"is no readable XML: {brief(error)}", "open it in an editor that checks XML") from None
    if _name(root) == "html":
        from rag.load import html

        return html.load(data, relative, config)
    writer = _Writer()
    writer.element(root, 0)
    title = writer.blocks.headings[0].title if writer.blocks.headings else None
    return Source(relative, writer.blocks.text, "xml", title=title, headings=writer.blocks.headings)


class _Writer:
    def __init__(self) -> None:
        self.blocks = Blocks()
        self._gap = "\n\n"

    def element(self, element: Any, depth: int) -> None:
        name = _name(element)
        inner = [child for child in element if isinstance(child.tag, str)]
        if name in _TITLES and (title := words(element)):
            self.blocks.heading(max(1, min(depth, 6)), title)
            self._gap = "\n\n"
        elif name in _AS_SET:
            self.blocks.code("".join(element.itertext()))
            self._gap = "\n\n"
        elif _mixed(element) or (name in _PROSE and not _holds_blocks(element)):
            self._add(words(element), "\n\n")
            self._gap = "\n\n"
        elif not inner:
            text, attributes = words(element), _attributes(element)
            if text or attributes:
                self._add(f"{name}{f' ({attributes})' if attributes else ''}{f': {text}' if text else ''}", self._gap)
                self._gap = "\n"
        else:
            self._gap = "\n\n"
            if attributes := _attributes(element):
                self._add(f"{name} ({attributes})", self._gap)
                self._gap = "\n"
            for child in inner:
                self.element(child, depth + 1)
            self._gap = "\n\n"

    def _add(self, text: str, gap: str) -> None:
        self.blocks.add(text, gap=gap)


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _mixed(element: Any) -> bool:
    """Words beside children that are elements."""
    if not any(isinstance(child.tag, str) for child in element):
        return False
    return any(text and text.strip() for text in (element.text, *(child.tail for child in element)))


def _attributes(element: Any) -> str:
    found = [
        f"{name.rpartition('}')[2]}={' '.join(clean(value).split())}"
        for name, value in element.attrib.items()
        if value.strip() and not re.match(r"\{http://www\.w3\.org/", name)  # xml:id, xsi:type and their like
    ]
    return ", ".join(found[:_MOST_ATTRIBUTES])
