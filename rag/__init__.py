"""rag: point it at a folder of documents and ask.

    folder ── load ──> sources ── split ──> chunks ── embed ──> vectors ── store
                                                                            │
    question ── retrieve (dense + lexical, fused) ──> passages ── prompt ──> generate ──> answer, citations checked

Two corridors run through the rooms: `rag.sync` (folder -> index) and `rag.answer` (question -> answer). The rooms
(`load split embed store retrieve prompt generate`) don't know each other; `rag.build` is the only place where
config.yaml becomes objects, and holds `Rag`, the object to use from Python:

    from rag import Rag
    with Rag.open(docs="papers") as rag:
        rag.sync()
        print(rag.ask("When should text be truncated?").text)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rag.build import Rag

__version__ = "0.1.0"
__all__ = ["Rag", "__version__"]


def __getattr__(name: str) -> Any:
    """`Rag` is loaded when it is asked for: importing `rag` itself stays light."""
    if name == "Rag":
        from rag.build import Rag

        return Rag
    raise AttributeError(f"module 'rag' has no attribute {name!r}")
