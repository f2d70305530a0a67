"""Retriever: a question -> passages, with each stage's score and rank kept for `--explain`."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import ValidationError

from rag.config import Retrieve
from rag.errors import QueryError
from rag.retrieve.filters import Filter, parse_filter
from rag.retrieve.fusion import (
    best_window,
    convex,
    maximal_marginal_relevance,
    ranked,
    reciprocal_rank,
    share_of_best,
)
from rag.types import Passage, Source, Span, StageScore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


READ = 20  # candidates whose text is read for the words' proximity, and mostly all that a search shows
WINDOW = 25  # terms: about a long sentence (docs/decisions/0006: chosen with dense_weight and proximity)


class Reader(Protocol):
    """What search needs of an index; rag.store.IndexReader has it."""

    @property
    def catalog(self) -> Any: ...
    def dense(
        self, vector: Floats, k: int, generation: int, allowed: Sequence[int] | None = None
    ) -> list[tuple[int, float]]: ...
    def lexical(
        self, text: str, k: int, generation: int, allowed: Sequence[int] | None = None
    ) -> list[tuple[int, float]]: ...
    def terms(self, text: str) -> list[str]: ...
    def query_terms(self, text: str) -> list[str]: ...
    def rarity(self, terms: Sequence[str], generation: int) -> dict[str, float]: ...


@dataclass(frozen=True)
class Retrieval:
    """What a search found. `query_vector` is None when no dense stage ran."""

    question: str
    passages: tuple[Passage, ...]
    query_vector: Floats | None
    timings: dict[str, float]  # seconds: embed, dense, lexical, fuse, proximity, rerank, passages


@dataclass(frozen=True)
class Why:
    """Why a file was, or was not, among the hits."""

    path: str
    found: bool
    reason: str
    best: tuple[StageScore, ...]  # of its best chunk, in the rankings of all chunks


@dataclass
class _Candidates:
    """What the stages found: the score of each chunk id, what each stage said of it, and seconds per stage."""

    scores: dict[int, float]
    stages: dict[int, list[StageScore]]
    timings: dict[str, float]
    rows: dict[int, Any]  # those that had to be read already


def check_question(question: str, most: int) -> str:
    """The question on one line: control characters, line ends and lone surrogates become spaces.

    Raises QueryError for one that is empty then, or longer than `most` characters (`retrieve.max_question_chars`).
    """
    if not isinstance(question, str):  # a table's empty cell is a float
        raise QueryError(f"the question is {question!r}, no text", "ask something")
    if len(question) > most:
        raise QueryError(
            f"the question has {len(question):,} characters, at most {most:,} are taken",
            "shorten it, or raise retrieve.max_question_chars",
        )
    cleaned = " ".join("".join(" " if _invisible(c) else c for c in question).split())
    if not any(unicodedata.category(c) != "Cf" for c in cleaned):
        raise QueryError("the question is empty", "ask something")
    return cleaned


class Retriever:
    """Light to make; holds no state but its parts. Safe to share between threads."""

    def __init__(
        self,
        config: Retrieve,
        reader: Reader,
        embed: Callable[[str], Floats],
        make_rerank: Callable[[str], Callable[[str, Sequence[str]], Sequence[float]] | None] = lambda name: None,
    ) -> None:
        """`make_rerank`: what `retrieve.rerank` names -> a function from a question and texts to relevances, 0..1."""
        self.config, self.reader, self._embed, self._make_rerank = config, reader, embed, make_rerank

    def search(
        self, question: str, filter: str | Mapping[str, Any] | Filter | None = None, **overrides: Any
    ) -> Retrieval:
        """Passages numbered from 1, best first. `overrides` are settings of section `retrieve` for this call."""
        config = self._settings(overrides)
        question = self.check(question)
        wanted = filter if isinstance(filter, Filter) else parse_filter(filter)
        catalog = self.reader.catalog
        start = time.perf_counter()
        vector = self._embed(question) if config.kind != "lexical" else None
        embed_seconds = time.perf_counter() - start
        with catalog.snapshot() as generation:
            allowed, paths_allowed = self._allowed(wanted, generation)
            found = self._candidates(question, vector, config, generation, allowed)
            self._rerank(question, found, config)
            start = time.perf_counter()
            passages = self._passages(found, config, generation, paths_allowed)
            timings = {"embed": embed_seconds, **found.timings, "passages": time.perf_counter() - start}
        return Retrieval(question, tuple(passages), vector, timings)

    def check(self, question: str) -> str:
        """`check_question` by this retriever's own limit."""
        return check_question(question, self.config.max_question_chars)

    def _settings(self, overrides: Mapping[str, Any]) -> Retrieve:
        given = {k: v for k, v in overrides.items() if v is not None}
        if unknown := sorted(set(given) - set(Retrieve.model_fields)):
            raise QueryError(f"unknown search setting {unknown[0]!r}", f"choices: {', '.join(Retrieve.model_fields)}")
        merged = {**self.config.model_dump(), **given}
        with suppress(TypeError, ValueError, OverflowError):  # what is no whole number is refused below
            merged["candidates"] = max(int(merged["candidates"]), int(merged["top_k"]))
        try:
            return Retrieve.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "settings"
            raise QueryError(
                f"search setting {name} is {first['input']!r}: {first['msg']}", "see section retrieve in docs/config.md"
            ) from None

    def _allowed(
        self, wanted: Filter | None, generation: int
    ) -> tuple[list[int] | None, Callable[[str, str, int | None], bool]]:
        """Ids of the chunks that may be found (None: all), and which of a content's paths may name it."""
        if wanted is None:
            return None, lambda path, kind, page: True
        catalog = self.reader.catalog
        files = [f for f in catalog.files(generation) if f.content_id is not None]
        contents = catalog.contents_seen((f.content_id for f in files), generation)
        allowed = []
        for chunk_id, content_id, page in catalog.content_chunks(contents):
            content = contents[content_id]
            if any(wanted.allows(path, content.kind, page) for path in content.paths):
                allowed.append(chunk_id)
        return allowed, wanted.allows

    def _candidates(
        self, question: str, vector: Floats | None, config: Retrieve, generation: int, allowed: list[int] | None
    ) -> _Candidates:
        timings: dict[str, float] = {}
        stages: dict[int, list[StageScore]] = {}
        dense: dict[int, float] = {}
        lexical: dict[int, float] = {}
        rows: dict[int, Any] = {}
        clock = time.perf_counter
        if vector is not None:
            start = clock()
            dense = dict(self.reader.dense(vector, config.candidates, generation, allowed))
            timings["dense"] = clock() - start
            _note(stages, "dense", dense)
        if config.kind in ("lexical", "hybrid"):
            start = clock()
            lexical = dict(self.reader.lexical(question, config.candidates, generation, allowed))
            timings["lexical"] = clock() - start
            _note(stages, "lexical", lexical)
        if config.kind != "hybrid" or vector is None:
            return _Candidates(dense or lexical, stages, timings, rows)
        start = clock()
        if config.fusion == "rrf":
            scores = reciprocal_rank([ranked(dense), ranked(lexical)], config.rrf_k)
        else:
            self._complete(question, vector, dense, lexical, generation)
            words = share_of_best(lexical)
            scores = convex(dense, words, config.dense_weight)
        timings["fuse"] = clock() - start
        if config.fusion == "convex" and config.proximity:
            start = clock()
            rows = self.reader.catalog.chunks(ranked(scores)[: max(READ, config.top_k)])
            near = self._proximity(question, rows, generation)
            _note(stages, "proximity", near)
            share = config.proximity  # in a chunk that wasn't read, the words count as far apart
            words = {i: (1 - share) * words.get(i, 0.0) + share * near.get(i, 0.0) for i in scores}
            scores = convex(dense, words, config.dense_weight)
            timings["proximity"] = clock() - start
        _note(stages, "fusion", scores)
        return _Candidates(scores, stages, timings, rows)

    def _proximity(self, question: str, rows: Mapping[int, Any], generation: int) -> dict[int, float]:
        """How much of the question, by rarity, stands together in each chunk; 0..1."""
        wanted = self.reader.rarity(self.reader.query_terms(question), generation)
        return {i: best_window(self.reader.terms(r.chunk.embedded_text), wanted, WINDOW) for i, r in rows.items()}

    def _rerank(self, question: str, found: _Candidates, config: Retrieve) -> None:
        """The first candidates are read together with the question. The others keep their order behind what they had:
        as if they had been found irrelevant."""
        rerank = self._make_rerank(config.rerank)
        if rerank is None or not found.scores:
            return
        start = time.perf_counter()
        first = ranked(found.scores)[: max(config.rerank_depth, config.top_k)]
        found.rows.update(self.reader.catalog.chunks([i for i in first if i not in found.rows]))
        texts = [found.rows[i].chunk.text for i in first]
        relevance = dict(zip(first, rerank(question, texts), strict=True))
        _note(found.stages, "rerank", relevance)
        share = config.rerank_weight
        scores = found.scores if _within_one(config) else share_of_best(found.scores)
        found.scores = {i: (1 - share) * s + share * relevance.get(i, 0.0) for i, s in scores.items()}
        _note(found.stages, "reranked", found.scores)
        found.timings["rerank"] = time.perf_counter() - start

    def _complete(
        self, question: str, vector: Floats, dense: dict[int, float], lexical: dict[int, float], generation: int
    ) -> None:
        """Give each candidate the score that the other index would have given it, instead of 0: a passage that BM25
        puts second is no worse a match in meaning for being 51st there."""
        if missing := sorted(set(lexical) - set(dense)):
            dense.update(self.reader.dense(vector, len(missing), generation, missing))
        if missing := sorted(set(dense) - set(lexical)):
            lexical.update(self.reader.lexical(question, len(missing), generation, missing))

    # ---- from ids to passages -----------------------------------------------------------------------------

    def _passages(
        self,
        found: _Candidates,
        config: Retrieve,
        generation: int,
        named: Callable[[str, str, int | None], bool],
    ) -> list[Passage]:
        catalog = self.reader.catalog
        scores, rows = found.scores, dict(found.rows)
        order = ranked(scores)
        contents: dict[int, Any] = {}
        page = len(order) if config.mmr else max(16, 2 * config.top_k)  # mostly the first ones are all that is read
        kept: list[int] = []
        seen: dict[str, int] = {}
        also: dict[int, list[str]] = {}
        per_source: dict[int, int] = {}
        for place, chunk_id in enumerate(order):
            if place % page == 0:
                part = order[place : place + page]
                rows.update(catalog.chunks([i for i in part if i not in rows]))
                held = {rows[i].content_id for i in part}
                contents.update(catalog.contents_seen(held.difference(contents), generation))
            row = rows[chunk_id]
            if config.min_score is not None and scores[chunk_id] < config.min_score:
                break
            words = " ".join(row.chunk.text.split()).casefold()
            if config.fold_duplicates and words in seen:
                also.setdefault(seen[words], []).extend(contents[row.content_id].paths)
                continue
            if config.max_per_source and per_source.get(row.content_id, 0) >= config.max_per_source:
                continue
            per_source[row.content_id] = per_source.get(row.content_id, 0) + 1
            seen[words] = chunk_id
            kept.append(chunk_id)
            if len(kept) >= config.top_k and not config.mmr:
                break
        if config.mmr and kept:
            vectors = catalog.vectors_of(kept)
            picks = maximal_marginal_relevance([scores[i] for i in kept], vectors, config.top_k, config.lambda_mult)
            kept = [kept[i] for i in picks]
        passages = []
        for number, chunk_id in enumerate(kept[: config.top_k], 1):
            row, content = rows[chunk_id], contents[rows[chunk_id].content_id]
            page = row.chunk.location.page
            path = next((p for p in content.paths if named(p, content.kind, page)), content.paths[0])
            others = dict.fromkeys([*(p for p in content.paths if p != path), *also.get(chunk_id, ())])
            passage = Passage(
                number, row.key, path, content.kind, row.chunk.span, row.chunk.text, content.place(row.chunk),
                float(scores[chunk_id]), tuple(found.stages.get(chunk_id, ())), content.title, tuple(others),
                row.chunk.table_head,
            )  # fmt: skip
            passages.append(self._widen(passage, row, config.neighbours) if config.neighbours else passage)
        return _merge_overlapping(passages, catalog, rows, kept) if config.neighbours else passages

    def _widen(self, passage: Passage, row: Any, neighbours: int) -> Passage:
        """The chunks before and after are read too: one longer span of the same source."""
        siblings = self.reader.catalog.chunks_of(row.content_id)
        at = next(i for i, s in enumerate(siblings) if s.id == row.id)
        around = siblings[max(0, at - neighbours) : at + neighbours + 1]
        span = Span(min(s.chunk.span.start for s in around), max(s.chunk.span.end for s in around))
        source: Source = self.reader.catalog.source(row.content_id, passage.source)
        return replace(
            passage,
            span=span,
            text=span.cut(source.text),
            location=source.locate(span.start),
            table_head=around[0].chunk.table_head,
        )

    # ---- diagnosis ----------------------------------------------------------------------------------------

    def why(self, question: str, path: str, **overrides: Any) -> Why:
        """Where a file's best chunk stands in the rankings of everything, and what kept it out of the hits."""
        config = self._settings(overrides)
        question = self.check(question)
        catalog = self.reader.catalog
        with catalog.snapshot() as generation:
            file = catalog.file_at(path, generation)
            if file is None:
                known = [f.path for f in catalog.files(generation) if path.rpartition("/")[2] in f.path]
                return Why(
                    path, False, "no such file in the index" + (f"; did you mean {known[0]}?" if known else ""), ()
                )
            if file.content_id is None:
                return Why(path, False, f"nothing of it is indexed: {file.outcome.value} ({file.reason})", ())
            own = {i for i, _, _ in catalog.content_chunks([file.content_id])}
            if not own:
                return Why(path, False, "it holds no chunk", ())
            total = len(catalog.chunk_ids(generation))
            wide = config.model_copy(update={"candidates": max(total, 1)})
            vector = self._embed(question) if config.kind != "lexical" else None
            all_of_it = self._candidates(question, vector, wide, generation, None)
        found = next((p for p in self.search(question, **overrides).passages if path in (p.source, *p.also_in)), None)
        if found:
            return Why(path, True, f"it is passage {found.number}", found.stages)
        inside = [i for i in ranked(all_of_it.scores) if i in own]
        if not inside:
            return Why(path, False, "none of its chunks shares a term with the question", ())
        best = tuple(all_of_it.stages[inside[0]])
        last = best[-1]
        if last.rank > config.top_k:
            reason = f"its best chunk ranks {last.rank} of {total}; top_k is {config.top_k}"
        else:
            reason = "its best chunk ranks high enough, but a cap, a fold or min_score took it out"
        return Why(path, False, reason, best)


def _invisible(c: str) -> bool:
    """Control characters, surrogates, and format characters but the two joiners, which Persian and emoji need."""
    return unicodedata.category(c) in {"Cc", "Cs"} or (unicodedata.category(c) == "Cf" and c not in "\u200c\u200d")


def _within_one(config: Retrieve) -> bool:
    """Are the scores of such a search cosines, or shares of one?"""
    return config.kind == "dense" or (config.kind == "hybrid" and config.fusion == "convex")


def _note(stages: dict[int, list[StageScore]], name: str, scores: Mapping[int, float]) -> None:
    for rank, item in enumerate(ranked(scores), 1):
        stages.setdefault(item, []).append(StageScore(name, float(scores[item]), rank))


def _merge_overlapping(passages: list[Passage], catalog: Any, rows: Any, kept: list[int]) -> list[Passage]:
    """Widened passages of one file that run into each other become one, at the better one's rank."""
    result: list[Passage] = []
    for passage in passages:
        twin = next(
            (i for i, p in enumerate(result) if p.source == passage.source and p.span.overlap(passage.span)), None
        )
        if twin is None:
            result.append(passage)
            continue
        first = result[twin]
        span = Span(min(first.span.start, passage.span.start), max(first.span.end, passage.span.end))
        chunk_id = kept[passage.number - 1]
        source: Source = catalog.source(rows[chunk_id].content_id, first.source)
        head = min(first, passage, key=lambda p: p.span.start).table_head
        result[twin] = replace(
            first, span=span, text=span.cut(source.text), location=source.locate(span.start), table_head=head
        )
    return [replace(p, number=n) for n, p in enumerate(result, 1)]
