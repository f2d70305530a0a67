"""Text -> vectors.

    resolve.py   model name -> a folder with weights: installed package, path or hub; hashes checked
    similarity.py  cosine, dot, Euclidean, Manhattan, over all pairs
    text.py      TextEmbedder: tokenise, sort, pack, run, and what a vector means (the fingerprint)

`TextEmbedder` has LangChain's `embed_query` and `embed_documents`; `rag.langchain.RagEmbeddings` is the same as a
LangChain `Embeddings`.
"""

from rag.embed.resolve import MINILM_SHA256, ResolvedModel, resolve_model
from rag.embed.text import TextEmbedder

__all__ = ["MINILM_SHA256", "ResolvedModel", "TextEmbedder", "resolve_model"]
