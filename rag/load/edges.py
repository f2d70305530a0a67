"""Head and foot lines of a document's pages: often the only place of a number, a date or an address."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rag.load.blocks import Blocks
from rag.load.decode import clean

# What stands beside the number of a page, which the loaders leave out.
_OF_PAGES = frozenset(
    "page pages pg p of seite seiten s von pagina pagine pag página pág de du di da sur su van strona str z ze"  # noqa: SIM905
    " stran strana sida side av af sivu страница стр из sayfa oldal σελίδα από 第 页 頁 共 ページ 페이지 쪽".split()
)


def framed(heads: Iterable[str], body: Blocks, feet: Iterable[str], title: str | None) -> Blocks:
    """The body below the head lines and above the foot lines, each different one once. Those are left out that hold a
    page's number alone, or repeat the title; in `heads` and `feet` a tab parts what stands left, right and between."""
    titles = [title or "", *(heading.title for heading in body.headings[:1])]
    seen = {"", *(" ".join(one.split()).casefold() for one in titles)}
    framed = Blocks()

    def add(lines: Iterable[str]) -> None:
        for line in lines:
            parts = (" ".join(clean(part).split()) for part in line.split("\t"))
            text = "\t".join(part for part in parts if not _OF_PAGES.issuperset(re.findall(r"\w+", part.lower())))
            if text.casefold() not in seen:
                seen.add(text.casefold())
                framed.add(text)

    add(heads)
    framed.marked(body.text, body.headings)
    add(feet)
    return framed
