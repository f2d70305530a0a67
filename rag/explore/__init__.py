"""A side room: what vectors are good for beside answering.

catalog ──documents──> one vector a document ──similar──> (path, cosine), best first
"""

from rag.explore.documents import Documents, document_vector, documents, similar

__all__ = ["Documents", "document_vector", "documents", "similar"]
