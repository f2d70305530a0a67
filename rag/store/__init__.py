"""The index: one truth and two derived indexes.

    catalog/     SQLite: files, texts, chunks and vectors. The truth; everything else is rebuilt from it
    vectors.py   Chroma (embedded or a server), cosine: chunk id -> vector
    lexical.py   BM25 (tantivy): chunk id -> terms; analyze.py makes the terms
    index.py     the folder on disk: where things lie, what it was made with, whether it is whole
    seal.py      a checksum of each derived file
    writer.py    the writer's lock, building and publishing a generation
    reader.py    searching the last published one
    doctor.py    whether all of it agrees; repair.py makes the derived indexes anew, and compacts

A sync writes rows of the next generation into the catalog as it goes, builds the derived indexes beside the old
ones, and publishes all of it by one commit. Readers see the last published generation until then, and after a
crash. Why so much care: docs/decisions/0002-catalog-is-the-truth.md.
"""

from rag.store.catalog import Catalog, ChunkRow, ContentRow, FileRow, MediaRow
from rag.store.index import index_folder
from rag.store.reader import IndexReader
from rag.store.writer import IndexWriter

__all__ = ["Catalog", "ChunkRow", "ContentRow", "FileRow", "IndexReader", "IndexWriter", "MediaRow", "index_folder"]
