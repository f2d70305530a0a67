"""A side room: what vectors are good for beside answering.

catalog ──documents──> one vector a document ──similar──> (path, cosine), best first
                  ──points──> names, vectors, texts ──clusters──> groups, named by their telling words
words, picture, clip ──everything──> passages of every space, by rank
texts, files ──embedding──> one matrix for each kind ──write──> npz, npy, json, csv, parquet
texts ──tokens──> what a tokenizer makes of them, padded and cut
"""

from rag.explore.documents import Documents, document_vector, documents, similar

__all__ = ["Documents", "document_vector", "documents", "similar"]
