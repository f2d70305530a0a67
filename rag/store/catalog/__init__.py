"""The catalog: one SQLite file that holds files, texts, chunks and vectors.

Visibility is by generation, on `files` alone: a row is seen by generation g when added <= g < removed. A content (a
file's text as loaded and split) is seen when a seen file points to it, so a moved file keeps its chunks, and two
equal files share them. Rows of the next generation are committed while a sync runs: work done isn't done again
after a crash, and nobody sees it before it is published.
"""

from rag.store.catalog.catalog import Catalog
from rag.store.catalog.connection import reading_mode
from rag.store.catalog.rows import ChunkRow, ContentRow, FileRow, MediaRow
from rag.store.catalog.tables import FORMAT

__all__ = ["FORMAT", "Catalog", "ChunkRow", "ContentRow", "FileRow", "MediaRow", "reading_mode"]
