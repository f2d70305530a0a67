"""Markdown: the text as written, so that line numbers are the file's own, plus the map of its headings.

Headings come from markdown-it-py's block parser (CommonMark), which knows that `# no` in a code fence is
none: about half a second per megabyte of lists. A megabyte of items of one letter costs it 7 s and 490 MB, so larger
ones meet the worker's limits.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from rag.load.decode import decode
from rag.types import Heading, Source

if TYPE_CHECKING:
    from rag.config import Load

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:(.*)$", re.MULTILINE)
_MAY_HAVE_HEADINGS = re.compile(r"^ {0,3}(?:#{1,6}(?:[ \t]|$)|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_MARKUP = re.compile(  # possessive, and begun only where a run begins: a title's time grows with its length alone
    r"!?\[([^\[\]]*+)\]\([^()\s]*+(?:\s++\"[^\"]*+\")?\)"  # link or image: its text
    r"|(?<!`)`++([^`]++)`++|\*\*([^*]++)\*\*|__([^_]++)__|\*([^*\s][^*]*+)\*"  # code, strong, emphasis
    r"|(?<!\s)\s*+\{#[\w-]++\}\s*+$"  # {#anchor}
)


def load(data: bytes, relative: str, config: Load) -> Source:
    """The title is the front matter's, else the first heading where that is of level 1."""
    text, encoding, warnings = decode(data)
    body, title = text, None
    if front := _FRONT_MATTER.match(text):
        # blanked line for line: CommonMark would take "title: x" above the closing dashes for a heading
        body = "\n" * front[0].count("\n") + text[front.end() :]
        if found := _TITLE.search(front[1] or ""):
            title = found[1].strip().strip("\"'") or None
    starts = headings(body, text)
    if title is None and starts and starts[0].level == 1:
        title = starts[0].title
    return Source(
        relative, text, "md", title=title, headings=starts, metadata={"encoding": encoding}, warnings=warnings
    )


def headings(body: str, text: str | None = None) -> tuple[Heading, ...]:
    r"""The headings of `body`; offsets count in `text`, which has the same lines (None: the body itself).

    Those inside quotes and list items are no part of the document's outline.

    >>> headings("Intro\n=====\n```\n# no\n```\n## `pad()` [here](u)\n")
    (Heading(start=0, level=1, title='Intro'), Heading(start=25, level=2, title='pad() here'))
    """
    if not _MAY_HAVE_HEADINGS.search(body):
        return ()
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    tokens = parser.parse(body)
    at, line, found = 0, 0, []
    text = body if text is None else text
    for token, inline in pairwise(tokens):
        if token.type != "heading_open" or token.level > 0 or token.map is None:
            continue
        while line < token.map[0]:
            at, line = text.index("\n", at) + 1, line + 1
        title = " ".join(_MARKUP.sub(lambda m: next((g for g in m.groups() if g), ""), inline.content).split())
        if title:
            found.append(Heading(at, int(token.tag[1]), title))
    return tuple(found)
