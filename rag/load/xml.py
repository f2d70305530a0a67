"""XML of any vocabulary as the text of its elements.

What can be told of any vocabulary: an element with words beside its children is a paragraph; one that holds words only
is a line with its name ("price: 12"), but for names that nearly all vocabularies use for prose (`p`, `para`); `title`,
`head` and their like are headings, as deep as they lie. An element with attributes stands with its name, and
with them in brackets behind it ("line (sku=B1): Desk"); only prose that says with them how it looks or is found (`id`,
`class`) is told as if it had none. Attributes of what stands within a paragraph are left out.

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
_PROSE = {"p", "para", "simpara", "paragraph", "l", "s"}
_PROSE_OR_DATA = {"text", "line", "abstract", "description", "summary", "note"}  # data if it only holds elements
_BLOCKS = _TITLES | _PROSE | _PROSE_OR_DATA
_AS_SET = {"pre", "code", "programlisting", "screen", "literallayout", "verse"}
_MARKUP = {"id", "class", "style", "role", "rend", "lang", "dir", "align"}  # attributes
_MOST_ATTRIBUTES = 12


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
        name, told = _name(element), _attributes(element)
        label = f"{name} ({told})" if told else ""
        if name in _TITLES and (title := words(element)):
            self.blocks.heading(max(1, min(depth, 6)), title)
            self._block(label)
        elif name in _AS_SET:
            self._block(label)
            self.blocks.code("".join(element.itertext()))
        elif _is_prose(element):
            self._block(": ".join(filter(None, (label, words(element)))))
        elif inner := _inner(element):
            self._gap = "\n\n"
            self._line(label)
            for child in inner:
                self.element(child, depth + 1)
            self._gap = "\n\n"
        elif (text := words(element)) or label:
            self._line(": ".join(filter(None, (label or name, text))))

    def _block(self, text: str) -> None:
        self.blocks.add(text)
        self._gap = "\n\n"

    def _line(self, text: str) -> None:
        if text:
            self.blocks.add(text, gap=self._gap)
            self._gap = "\n"


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _inner(element: Any) -> list[Any]:
    return [child for child in element if isinstance(child.tag, str)]


def _is_prose(element: Any) -> bool:
    """Words beside its children, if any; or the name of a paragraph, and no paragraphs or headings of its own, as TEI's
    `text` and JATS's `abstract` have."""
    name, inner = _name(element), _inner(element)
    if any(text and text.strip() for text in (element.text, *(child.tail for child in element))) and inner:
        return True
    if name not in _PROSE and name not in _PROSE_OR_DATA:
        return False
    within = [_name(e) for e in element.iterdescendants() if isinstance(e.tag, str)]
    return not any(e in _BLOCKS for e in within) and (name in _PROSE or len(within) <= 1)


def _attributes(element: Any) -> str:
    """Those that say something of what the element holds."""
    found = [
        (name.rpartition("}")[2], " ".join(clean(value).split()))
        for name, value in element.attrib.items()
        if value.strip() and not re.match(r"\{http://www\.w3\.org/", name)  # xml:id, xsi:type and their like
    ]
    if all(name in _MARKUP for name, _ in found) and _name(element) in _BLOCKS:
        return ""
    return ", ".join(f"{name}={value}" for name, value in found[:_MOST_ATTRIBUTES])
