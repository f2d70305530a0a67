"""The retriever and the embeddings as LangChain's own."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, Field

from rag.embed import TextEmbedder
from rag.types import Passage, passage_to_dict


class RagEmbeddings(Embeddings):
    """Our embedder: the same vectors as sentence-transformers, nothing cut, several times faster on a CPU."""

    def __init__(self, embedder: TextEmbedder | None = None) -> None:
        self.embedder = embedder or TextEmbedder()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embedder.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.embedder.embed_query(text)


class RagRetriever(BaseRetriever):
    """Passages as Documents, best first, with `source`, `page`, `start_index` and `score` in their metadata."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rag: Any  # rag.build.Rag; Any, since pydantic would import it for the annotation
    k: int | None = None
    filter: Any = None  # as Rag.search takes it: text, a mapping or a Filter
    settings: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return self._found(query, k)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        """In a thread, as LangChain's own does, which knows no `k`."""
        return await run_in_executor(None, self._found, query, k)

    def _found(self, query: str, k: int | None) -> list[Document]:
        most = self.k if k is None else k
        return [as_document(p) for p in self.rag.search(query, most, self.filter, **self.settings)]


def as_document(passage: Passage) -> Document:
    """>>> from rag.types import Location, Span
    >>> as_document(Passage(1, "1ab", "a.md", "md", Span(4, 7), "abc", Location(None, 2), 0.5)).metadata["start_index"]
    4
    """
    metadata = passage_to_dict(passage)
    text = metadata.pop("text")
    metadata["start_index"], metadata["end_index"] = metadata.pop("start"), metadata.pop("end")
    return Document(page_content=text, metadata=metadata, id=passage.chunk_id)
