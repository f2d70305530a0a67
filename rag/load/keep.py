"""What trafilatura would lose of a page, or take for something else, in forms that it keeps. The words stay the same.

It is made for articles on the web, and drops what there is seldom part of one: words that stand in a `div` by
themselves, lists in the cells of a table, dates in `time`, notes in an `aside`. In manuals, exports and saved mails
these hold the matter.
"""

from __future__ import annotations

import re
from typing import Any

from rag.load.elements import HEADINGS, INLINE, marks, only, put_mark, shown
from rag.load.html_raised import spell_raised, spell_struck
from rag.load.html_tables import plain_tables

_ANCHORS = {"", "¶", "#", "§", "🔗", "link"}  # what a link to a heading itself shows
_DROPPED = ("button", "label", "output", "q", "time")  # with their words
_RUNNING = ("p", "li", "dd", "dt", "td", "th", "blockquote", *HEADINGS)
_NOTE = re.compile(r"(?i)\b(?:(?:foot|end)?note|tip|hint|caution|warning|danger|important|admonition|callout)s?\b")
_BESIDE = re.compile(
    r"(?i)\b(?:nav|navbar|navigation|menu|sidebar|breadcrumbs?|header|footer|masthead|banner|cookies?|share|social|related"
    r"|comments?|adverts?|ads?|promo|widget|newsletter|subscribe|login|search|article|content|post|entry|story)\b"
)
_MOST_LINKED = 0.3
_HOLDERS = ("div", "center", "section", "article", "main", "body", "form", "td")
_LEAST = 3  # words beside links that a paragraph has; fewer are mostly navigation


def is_matter_alone(tree: Any) -> bool:
    """Nothing of the page is named as what stands beside the matter of a web page, and few of its words are links."""
    if next(tree.iter("nav", "header", "footer", "aside", "form", "article", "main"), None) is not None:
        return False
    if any(_BESIDE.search(name) for name in tree.xpath("//*/@class | //*/@id | //*/@role")):
        return False
    return not _is_linked(tree)


def _is_linked(tree: Any) -> bool:
    """As the first page of a site is."""
    return sum(_words(shown(link)) for link in tree.iter("a")) > _MOST_LINKED * _words(shown(tree))


def keep(tree: Any) -> None:
    """Changes the tree of a page."""
    simplify(tree)
    _keep_words(tree)
    _keep_notes(tree)
    _keep_lines(tree)
    _keep_marks(tree)
    _keep_paragraphs(tree)
    _keep_body(tree)


def simplify(tree: Any) -> None:
    """What has no form of its own in running text, nor in Markdown: it becomes its words."""
    spell_raised(tree)
    spell_struck(tree)
    _unlink_headings(tree)
    _spell_formulas(tree)
    plain_tables(tree)


def _unlink_headings(tree: Any) -> None:
    """trafilatura takes a heading that is a link for navigation; in documentation many are a link to themselves."""
    for heading in tree.iter(*HEADINGS):
        for link in list(heading.iter("a")):
            if not (link.get("href") or "#").startswith("#"):
                continue
            if "".join(link.itertext()).strip().casefold() in _ANCHORS:
                only(link, None)
            link.tag = "span"


def _spell_formulas(tree: Any) -> None:
    """As their author wrote them, where that is said."""
    for node in list(tree.iter("math")):
        source = node.xpath("string(.//*[local-name() = 'annotation'])")
        words = node.get("alttext") or source or node.xpath("string()")
        node.tag = "span"
        only(node, " ".join(words.split()))


def _keep_words(tree: Any) -> None:
    """Elements that are dropped with the words of a sentence in them. A date by itself is mostly the page's own."""
    for node in list(tree.iter(*_DROPPED)):
        if next(node.iterancestors(*_RUNNING), None) is not None:
            node.tag = "span"


def _keep_notes(tree: Any) -> None:
    for node in tree.iter("aside"):
        if _NOTE.search(" ".join(filter(None, map(node.get, ("class", "role", "epub:type"))))):
            node.tag = "div"
    for caption in list(tree.iter("figcaption")):
        for figure in caption.iterancestors("figure"):
            figure.tag = "div"
        caption.tag = "p"


def _keep_lines(tree: Any) -> None:
    """trafilatura takes a `pre` with one `span` in it for code, and keeps its lines; most others for a quote. In a
    list's item its lines are lines of the item."""
    for block in list(tree.iter("pre")):
        for end in block.iter("br"):
            end.tail = f"\n{end.tail or ''}"
        text = block.xpath("string()")
        if next(block.iterancestors("li", "dd"), None) is None:
            only(block, None)
            span = block.makeelement("span")
            span.text = text
            block.append(span)
            continue
        first, *more = text.strip("\n").split("\n")
        only(block, first)
        block.tag = "p"
        for line in more:
            end = block.makeelement("br")
            end.tail = line
            block.append(end)


def _keep_marks(tree: Any) -> None:
    """trafilatura leaves out where a list begins and how it counts: what a browser shows goes into the items' text."""
    for node in tree.iter("ol"):
        found = list(marks(node))
        if [mark for _, mark in found] != [f"{n}." for n in range(1, len(found) + 1)]:
            for item, mark in found:
                put_mark(item, mark)


def _keep_paragraphs(tree: Any) -> None:
    """Words that stand between blocks, or alone in an element that only holds blocks, are a paragraph."""
    for holder in list(tree.iter(*_HOLDERS)):
        if all(map(_is_inline, holder)) and next(holder.iterancestors("li", "dd"), None) is not None:
            holder.tag = "p"
            continue
        runs: list[tuple[Any, list[Any]]] = [(None, [])]  # after which block; what follows it
        for child in holder:
            if _is_inline(child):
                runs[-1][1].append(child)
            else:
                runs.append((child, []))
        for before, run in runs:
            text = holder.text if before is None else before.tail
            if _words(text) + sum(_words(n.tail) + _unlinked(n) for n in run) < _LEAST:
                continue
            paragraph = holder.makeelement("p")
            paragraph.text = text
            paragraph.extend(run)
            if before is None:
                holder.text = None
                holder.insert(0, paragraph)
            else:
                before.tail = None
                before.addnext(paragraph)


def _keep_body(tree: Any) -> None:
    """Where trafilatura sees nowhere on the page that the matter may be, it takes single paragraphs, and no lists."""
    from trafilatura.xpaths import BODY_XPATH

    body = tree.find("body")
    if body is None or any(places(tree) for places in BODY_XPATH) or _is_linked(tree):
        return
    article = body.makeelement("article")
    article.text, body.text = body.text, None
    article.extend(list(body))
    body.append(article)


def _is_inline(node: Any) -> bool:
    """Comments are, too."""
    blocks = (n for n in node.iter() if isinstance(n.tag, str) and n.tag not in INLINE and n.tag != "br")
    return next(blocks, None) is None


def _unlinked(node: Any) -> int:
    """Words in an element that stand in no link."""
    if not isinstance(node.tag, str) or node.tag == "a":
        return 0
    return _words(node.text) + sum(_unlinked(child) + _words(child.tail) for child in node)


def _words(text: str | None) -> int:
    return len((text or "").split())
