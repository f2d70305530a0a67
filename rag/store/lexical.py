"""BM25 over chunk ids: a tantivy index whose terms we make ourselves (analyze.py).

tantivy commits are atomic and its segments immutable; k1 = 1.2 and b = 0.75 are fixed in it (Robertson & Zaragoza
2009, "The Probabilistic Relevance Framework: BM25 and Beyond").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rag.errors import IndexDamaged
from rag.store.analyze import Analyzer
from rag.store.index import MEND

_HEAP = 30_000_000  # bytes; tantivy asks for at least 15 MB a thread


class Lexical:
    """One index folder, or memory (None). Opened for reading or writing by the same class; only a writer holds
    tantivy's lock."""

    def __init__(self, folder: Path | None, analyzer: Analyzer) -> None:
        import tantivy

        self.folder, self.analyzer = folder, analyzer
        self._t = tantivy
        self._schema = (
            tantivy.SchemaBuilder()
            .add_unsigned_field("id", indexed=True, fast=True)
            .add_text_field("terms", tokenizer_name="whitespace", index_option="freq")
            .build()
        )
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            self._index = tantivy.Index(self._schema, path=str(folder) if folder else None)
            self._searcher = self._index.searcher()
        except (ValueError, OSError) as error:
            raise IndexDamaged(f"{folder}: the lexical index can't be opened: {error}", MEND) from None

    def change(self, remove: Iterable[int], add: Iterable[tuple[int, str]]) -> None:
        """Remove ids, add (id, text); one commit."""
        try:
            writer: Any = self._index.writer(_HEAP, 1)
            if gone := list(remove):  # delete_documents_by_term takes an int for signed and finds nothing
                writer.delete_documents_by_query(self._t.Query.term_set_query(self._schema, "id", gone))
            for chunk_id, text in add:
                document = self._t.Document()
                document.add_unsigned("id", chunk_id)
                document.add_text("terms", " ".join(self.analyzer.terms(text)))
                writer.add_document(document)
            writer.commit()
            writer.wait_merging_threads()
            self._index.reload()
            self._searcher = self._index.searcher()
        except (ValueError, OSError) as error:
            raise IndexDamaged(f"{self.folder}: the lexical index can't be written: {error}", MEND) from error

    def search(self, text: str, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """(chunk id, BM25 score), best first. `allowed` limits the hits, not the term statistics."""
        query = self._t.Query
        terms = self.analyzer.query_terms(text)
        if not terms or not k:
            return []
        should = self._t.Occur.Should
        wanted = query.boolean_query([(should, query.term_query(self._schema, "terms", t, "freq")) for t in terms])
        if allowed is not None:
            only = query.const_score_query(query.term_set_query(self._schema, "id", list(allowed)), 0.0)
            wanted = wanted.and_must_match(only)
        hits = self._searcher.search(wanted, k, count=False).hits
        ids = self._searcher.fast_field_values("id", [address for _, address in hits])
        ranked = [(int(i), float(score)) for i, (score, _) in zip(ids, hits, strict=True)]
        return sorted(ranked, key=lambda hit: (-hit[1], hit[0]))  # equal scores in a fixed order

    def rarity(self, terms: Iterable[str]) -> dict[str, float]:
        """ln(1 + (N - n + 0.5) / (n + 0.5)) with n of N documents holding the term."""
        total = self._searcher.num_docs
        held = {t: self._searcher.doc_freq("terms", t) for t in set(terms)}
        return {t: math.log1p((max(total - n, 0) + 0.5) / (n + 0.5)) for t, n in held.items()}

    def count(self) -> int:
        return int(self._searcher.num_docs)

    def ids(self) -> list[int]:
        """Of every document, ascending."""
        if not self._searcher.num_docs:
            return []
        hits = self._searcher.search(self._t.Query.all_query(), self._searcher.num_docs).hits
        return sorted(int(i) for i in self._searcher.fast_field_values("id", [address for _, address in hits]))
