"""Our splitters as LangChain `TextSplitter`s. Imported only through `rag.split.as_text_splitter`.

LangChain finds `start_index` by searching for each chunk's text from an offset in characters that it computes from
sizes in tokens (langchain#29884). Here it is the chunk's span.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from rag.types import Source

if TYPE_CHECKING:
    from rag.split import Splitter


class RagTextSplitter(TextSplitter):
    """Wraps any `Splitter`. Each document's metadata gets `start_index`, the offset of its first character.

    `metadata["source"]`, `["title"]` and `["kind"]` of the incoming document are used where they are strings.
    """

    def __init__(self, splitter: Splitter) -> None:
        super().__init__(add_start_index=True)
        self.splitter = splitter

    def split_text(self, text: str) -> list[str]:
        return [chunk.text for chunk in self.splitter.split(Source("text", text, "md"))]

    def create_documents(self, texts: list[str], metadatas: list[dict[Any, Any]] | None = None) -> list[Document]:
        documents = []
        for text, metadata in zip(texts, metadatas or [{}] * len(texts), strict=True):
            for chunk in self.splitter.split(_source(text, metadata)):
                own = {**copy.deepcopy(metadata), "start_index": chunk.span.start}
                documents.append(Document(page_content=chunk.text, metadata=own))
        return documents


def _source(text: str, metadata: dict[Any, Any]) -> Source:
    def string(key: str, otherwise: str) -> str:
        value = metadata.get(key)
        return value if isinstance(value, str) else otherwise

    return Source(string("source", "text"), text, string("kind", "md"), title=string("title", "") or None)
