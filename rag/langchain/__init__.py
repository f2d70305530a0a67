"""What a LangChain program needs of us: our parts as subclasses of LangChain's own narrow interfaces.

    parts.py   the retriever and the embeddings
    tool.py    search and ask as tools of an agent
    chat.py    a chat model that answers from the documents, and one that only writes

Loaded only when asked for (`Rag.as_retriever()` and its like), so the product itself doesn't pay for the import.
"""

from __future__ import annotations

from rag.langchain.chat import GeneratorChatModel, RagChatModel
from rag.langchain.parts import RagEmbeddings, RagRetriever, as_document
from rag.langchain.tool import AskTool, SearchTool

__all__ = [
    "AskTool",
    "GeneratorChatModel",
    "RagChatModel",
    "RagEmbeddings",
    "RagRetriever",
    "SearchTool",
    "as_document",
]
