"""`Rag`: what the parts do together. How each is made stands in rag/parts.py."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from rag.config import Config, load_config
from rag.errors import ConfigError, DocumentError, IndexMissing, QueryError
from rag.parts import Parts
from rag.store import IndexWriter
from rag.types import (
    Answer,
    ArchiveReport,
    FileReport,
    Health,
    Message,
    Passage,
    Source,
    Space,
    Span,
    SyncReport,
    Within,
)

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool
    from langchain_text_splitters import TextSplitter

    from rag.answer import Event
    from rag.evaluate.judgements import Dataset
    from rag.evaluate.report import Report
    from rag.explore.clusters import Clusters
    from rag.explore.everything import Everything
    from rag.explore.mapping import Map
    from rag.explore.points import Of, Points
    from rag.prompt import BuiltPrompt
    from rag.retrieve import Filter, Retrieval, Why
    from rag.store.spaces import Spaces
    from rag.sync import Listener

    Filters = str | Mapping[str, Any] | Filter | None

MEDIA_NAMES: Mapping[Space, str] = {"images": "pictures", "audio": "windows"}  # as `status` counts them


class Rag(Parts):
    """A document folder that answers. Parts are loaded when first used; safe to share between threads.

    >>> with Rag.open(docs="papers") as rag:                        # doctest: +SKIP
    ...     rag.sync()
    ...     answer = rag.ask("When should text be truncated?")
    ...     print(answer.text, [c.label for c in answer.citations])
    """

    @classmethod
    def open(
        cls,
        config: Config | Path | str | None = None,
        docs: Path | str | None = None,
        llm: BaseChatModel | None = None,
        **overrides: Any,
    ) -> Self:
        """`config`: a file, or None for the one `rag config` shows. `docs`: the document folder. `llm`: any LangChain
        chat model, instead of `generate`. Settings are overridden by name: `open(retrieve__top_k=3)`.

        Nothing is read or loaded yet. Raises ConfigError.
        """
        if llm is not None and not callable(getattr(llm, "stream", None)):
            told = f"llm is {str(llm)[:60]!r} ({type(llm).__name__}), not a LangChain chat model"
            raise ConfigError(told, "make one, such as ChatOllama(model=…), or set generate.kind and generate.model")
        dotted = {k.replace("__", ".", 1): v for k, v in overrides.items()}
        if docs is not None:
            dotted["documents.path"] = docs
        if isinstance(config, Config):
            if dotted:
                raise ConfigError("settings can't be overridden on a finished Config", "name a config file instead")
            return cls(config, llm)
        return cls(load_config(config, dotted, origin="Rag.open"), llm)

    # ---- what it does -------------------------------------------------------------------------------------

    def sync(
        self,
        *,
        reindex: bool = False,
        rebuild: bool = False,
        allow_empty: bool = False,
        listener: Listener | None = None,
        cancel: threading.Event | None = None,
    ) -> SyncReport:
        """Make the index equal to the folder.

        `reindex`: the model or the splitter changed, make the index anew with the new settings. `rebuild`: make the
        derived indexes anew from the catalog, reading no document. `allow_empty`: an empty folder is meant.
        `cancel`: once set, the sync publishes what is done and raises Cancelled.
        """
        from rag.sync import Sync
        from rag.sync.media import MediaParts
        from rag.sync.scan import check_folder

        # What can't work is refused before an index folder is made: a mistyped folder, a chunk size over the model's.
        check_folder(self.config.documents)
        _ = self.splitter
        with IndexWriter(self.index_folder, self.config.store) as writer:
            run = Sync(
                self.config, writer, self.embedder, lambda: self.splitter, self._splitting,
                MediaParts(lambda: self.image_embedder, lambda: self.audio_embedder, lambda: self.transcriber),
                listener, cancel,
            )  # fmt: skip
            return run.run(reindex, rebuild, allow_empty)

    def doctor(self) -> Health:
        """Whether catalog, Chroma and lexical index agree, and the folder is in order. Reads only. Raises IndexMissing,
        IndexDamaged and IndexMismatch where there is nothing to look at."""
        from rag.store.doctor import examine

        return examine(self.index_folder, self.config.store, self.embedder.fingerprint)

    def repair(self, *, from_copy: bool = False) -> int:
        """Make the derived indexes anew from the catalog, reading no document; the new generation's number.

        `from_copy`: the catalog is damaged, and its last good copy takes its place. The next sync does again what was
        synced since. Close other programs that read the index first.
        """
        from rag.store.repair import repair, restore_copy

        if from_copy:
            self._close_index()  # what is open is of the damaged one
            restore_copy(self.index_folder, self.config.store)
            return int(self.status()["generation"])
        return repair(self.index_folder, self.config.store)

    def compact(self) -> tuple[int, int]:
        """Take from the disk what was deleted from the index. Its bytes before and after."""
        from rag.store.repair import compact

        return compact(self.index_folder, self.config.store)

    def export(self, path: Path | str, *, force: bool = False) -> ArchiveReport:
        """Write the index, as last published, to one file (`index.tar.zst`): for another machine, or to keep. It holds
        the documents' text. `force`: a file that exists is replaced. Raises StoreError."""
        from rag.store.archive import export_index

        with closing(self._open_index(None)) as reader:
            return export_index(reader.catalog, Path(path).expanduser(), force)

    def import_index(self, path: Path | str, *, force: bool = False) -> ArchiveReport:
        """Make the index of this document folder from a file that `export` wrote; the next sync embeds only what
        differs. `force`: an index that exists is replaced. Raises ArchiveError when the file isn't whole, IndexMismatch
        when it was made with another model, other settings or by another version, and StoreError."""
        from rag.load import LOADER_VERSION
        from rag.store.archive import import_index

        splitting = {**self._splitting, "loader": LOADER_VERSION}
        config = self.config.store
        file = Path(path).expanduser()
        return import_index(file, self.index_folder, config, self.embedder.fingerprint, splitting, force)

    def search(
        self,
        question: str | None = None,
        k: int | None = None,
        filter: Filters = None,
        *,
        image: Path | str | None = None,
        audio: Path | str | None = None,
        within: Sequence[Within] | None = None,
        **settings: Any,
    ) -> list[Passage]:
        """The passages nearest to the question, best first. `settings` are those of section `retrieve`.

        `image`, `audio`: files to find pictures and recordings by, alone or beside the question. `within`: the spaces
        that are searched; None: texts by words, pictures by a picture, recordings by a recording. A question is about
        pictures too where `images.kind` is clip and `within` has "images". Raises QueryError, DocumentError.
        """
        if image is None and audio is None and within is None:
            return list(self.retrieve(question or "", k, filter, **settings).passages)
        most = self.config.retrieve.top_k if k is None else k
        return self._everything(settings).search(question, image, audio, within, most, filter)

    def _everything(self, settings: Mapping[str, Any]) -> Everything:
        from rag.explore.everything import Everything

        def texts(question: str, k: int, filter: Filters) -> Sequence[Passage]:
            return self.retrieve(question, k, filter, **settings).passages

        return Everything(
            self.config, lambda: self._any_reader, texts, lambda: self.image_embedder, lambda: self.audio_embedder
        )

    def retrieve(self, question: str, k: int | None = None, filter: Filters = None, **settings: Any) -> Retrieval:
        """`search` with the query's vector and the time of each stage."""
        return self.retriever.search(question, filter, top_k=k, **settings)

    def why(self, question: str, path: Path | str, **settings: Any) -> Why:
        """Why a file is, or isn't, among the hits for a question."""
        return self.retriever.why(question, _name(path), **settings)

    def ask(
        self,
        question: str,
        history: Sequence[Message] = (),
        filter: Filters = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> Answer:
        """An answer from the documents with checked citations, or `abstained` with its reason."""
        return self.answerer.ask(question, history, filter, cancel, **settings)

    def stream(
        self,
        question: str,
        history: Sequence[Message] = (),
        filter: Filters = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> Iterator[Event]:
        """The same, as it is made; the last event holds the Answer."""
        return self.answerer.stream(question, history, filter, cancel, **settings)

    def similar(self, file: Path | str, k: int = 5) -> list[tuple[str, float]]:
        """(path, cosine similarity) of the documents most like `file`, best first. A document of the index isn't
        embedded again; any other file is read as a sync would. Of a picture or a recording: the pictures or recordings
        most like it. Raises QueryError, DocumentError."""
        from rag.explore import document_vector, documents, similar
        from rag.load.media import media_kind_of
        from rag.load.worker import load_one

        root = self.config.documents.path.expanduser().resolve()

        def within(path: Path) -> str | None:  # the folder: as the index names it
            path = path.resolve()
            return path.relative_to(root).as_posix() if path.is_relative_to(root) else None

        path = Path(file).expanduser()
        if media_kind_of(path):
            full = path if path.is_file() else root / path
            here = within(full)
            near = self._everything({}).nearest_to(full, k + 1)
            return [(p.source, p.score) for p in near if here not in (p.source, *p.also_in)][:k]
        held = documents(self.reader.catalog)
        for name in (str(file), within(path)):
            row = held.at(name) if name else None
            if row is not None:
                return similar(held, held.vectors[row], k, row)
        if not path.is_file():
            raise QueryError(f"no file {file} in the index, nor on the disk", "`rag list` shows the files")
        chunks = self.splitter.split(load_one(path, self.config.load))
        vectors = self.embedder.passage_vectors([c.embedded_text for c in chunks])
        return similar(held, document_vector(vectors), k)

    def cluster(
        self,
        k: int | Literal["auto"] = "auto",
        *,
        kind: Literal["kmeans", "hdbscan"] = "kmeans",
        of: Of = "documents",
        space: str | None = None,
    ) -> Clusters:
        """Groups of documents or chunks, or of what is in a space, that lie near each other, named by their most
        telling words. No model runs; the same index gives the same groups. Raises QueryError."""
        from rag.explore.clusters import cluster

        return cluster(self._points(of, space), kind, k, self.config.store.stemmer)

    @property
    def spaces(self) -> Spaces:
        """Vectors of anything else, beside the index."""
        from rag.store.spaces import Spaces

        return Spaces(self.index_folder)

    def map(
        self,
        question: str | None = None,
        *,
        kind: Literal["pca", "tsne", "umap"] = "pca",
        color: str = "folder",
        of: Of = "documents",
        space: str | None = None,
    ) -> Map:
        """Documents or chunks as dots of a plane, near ones near each other, coloured by "folder" or "cluster"; with
        the question and the passages it finds. `rag.explore.map_page.page` and `rag.explore.map_picture.png` draw it.
        Raises QueryError."""
        from rag.explore.clusters import cluster
        from rag.explore.mapping import draw_map

        points = self._points(of, space)
        clusters = cluster(points, stemmer=self.config.store.stemmer) if color == "cluster" else None
        asked = None
        if question is not None:
            if not question.strip():
                raise QueryError("the question is empty", "ask something, or leave it out")
            if space is not None:
                raise QueryError("a question is asked of the documents, not of a space", "leave one of them out")
            found = self.search(question)
            near: dict[str, float] = {}
            for passage in found:
                near.setdefault(passage.source if of == "documents" else passage.chunk_id, passage.score)
            asked = (question, self.embedder.query_vector(question), list(near.items()))
        title = space or self.config.documents.path.expanduser().resolve().name
        return draw_map(points, title, kind, color, clusters, asked)

    def _points(self, of: Of, space: str | None) -> Points:
        from rag.explore.points import catalog_points
        from rag.explore.spaces import space_points

        if space is not None:
            return space_points(self.spaces.open(space))
        return catalog_points(self._any_reader.catalog, of)

    def prompt(self, question: str, filter: Filters = None, **settings: Any) -> BuiltPrompt:
        """The exact prompt that the generator would get. Needs a language model as generator."""
        answerer = self.answerer
        return answerer.build_prompt(question, self.retriever.search(question, filter, **settings).passages)

    # ---- how good it is -----------------------------------------------------------------------------------

    def evaluate(
        self,
        judgements: Dataset | Path | str,
        *,
        metrics: str | Sequence[str] = "",
        answers: bool = True,
        sample: int | None = None,
        seed: int = 0,
        judged: bool = True,
        listener: Listener | None = None,
    ) -> Report:
        """Search and ask every judged question. `judgements`: a set, or the path of one in any form that
        rag/evaluate/formats.py reads.

        A set without documents is about this folder as last synced; one that brings its own is indexed with these
        settings in a folder of the user's data directory. `metrics` such as "ndcg@10 recall@5", "": all that the
        evidence allows. `answers` False: only search. `sample`: so many questions, drawn by `seed`. `judged` False:
        whatever section `evaluate` says, no model judges.
        """
        from rag.evaluate.folder import written
        from rag.evaluate.formats import read_dataset
        from rag.evaluate.judgements import cleaned
        from rag.evaluate.run import evaluate
        from rag.load.decode import clean

        judge, nli = (self.judge, self.entailment) if answers and judged else (None, None)
        if nli:
            nli.load()  # what is wrong with a model is said first
        dataset = read_dataset(Path(judgements)) if isinstance(judgements, str | Path) else judgements
        threshold = self.config.answer.min_confidence
        answer = self.config.answer.model_copy(update={"min_confidence": 0.0})
        config = self.config.model_copy(update={"answer": answer})
        if dataset.documents is not None:
            dataset = cleaned(dataset, clean)
            folder = written(dataset)
            documents = config.documents.model_copy(update={"path": folder, "include": (), "exclude": ()})
            store = config.store.model_copy(update={"path": folder.parent / "index"})
            config = config.model_copy(update={"documents": documents, "store": store})
        with self.beside(config, same_index=dataset.documents is None) as other:
            if dataset.documents is not None:
                other.sync(reindex=True, listener=listener)
            other.embedder.forget_questions()
            return evaluate(
                other,
                dataset,
                metrics=metrics if isinstance(metrics, str) else " ".join(map(str, metrics)),
                answers=answers,
                threshold=threshold,
                sample=sample,
                seed=seed,
                judge=judge,
                nli=nli,
                listener=listener,
            )

    @contextmanager
    def beside(self, config: Config, *, same_index: bool) -> Iterator[Rag]:
        """Another Rag with those models of this one that `config` names too, and with its open index if it is the same.
        What is borrowed stays open when the other is closed."""
        borrowed = {
            "embedder": config.embed == self.config.embed,
            "generator": config.generate == self.config.generate and config.prompt == self.config.prompt,
            "reader": same_index,
            "passage_reader": config.embed == self.config.embed and "passage_reader" in self._parts,
        }
        names = [name for name, fits in borrowed.items() if fits]
        other = Rag(config, self._llm)
        other._parts.update({name: getattr(self, name) for name in names})
        try:
            yield other
        finally:
            for name in names:
                other._parts.pop(name, None)
            other.close()

    # ---- what is in it ------------------------------------------------------------------------------------

    def files(self) -> list[FileReport]:
        """Every file of the last sync with its outcome, sorted by path."""
        catalog = self._any_reader.catalog
        with catalog.snapshot() as generation:
            rows = catalog.files(generation)
            held, media = catalog.chunk_counts(generation), catalog.media_counts(generation)
        return [
            FileReport(
                r.path, r.outcome, r.reason, held.get(r.content_id or -1, 0),
                *(media.get(r.content_id or -1, {}).get(space, 0) for space in ("images", "audio")),
            )
            for r in rows
        ]  # fmt: skip

    def status(self) -> dict[str, Any]:
        """What the index holds and what it was made with."""
        catalog = self._any_reader.catalog
        with catalog.snapshot() as generation:
            outcomes: dict[str, int] = {}
            for row in catalog.files(generation):
                outcomes[row.outcome.value] = outcomes.get(row.outcome.value, 0) + 1
            return {
                "documents": str(self.config.documents.path),
                "index": str(self.index_folder),
                "generation": generation,
                **catalog.counts(generation),
                **{name: len(catalog.media_ids(space, generation)) for space, name in MEDIA_NAMES.items()},
                "outcomes": outcomes,
                "embedding": catalog.made("embedding"),
                "splitting": catalog.made("splitting"),
                "images": catalog.meta("images"),
                "audio": catalog.meta("audio"),
                "warnings": {path: list(w) for path, w in catalog.warnings(generation).items()},
            }

    @property
    def generation(self) -> int:
        """Of the index that is served now; 0: there is none."""
        try:
            catalog = self._any_reader.catalog
        except IndexMissing:
            return 0
        with catalog.snapshot() as generation:
            return generation

    def original(self, path: Path | str) -> Path:
        """The file that `source(path)` was read from. Raises QueryError when there is none in the index, and
        DocumentError when it isn't any more what was read."""
        name = self.source(path).path
        catalog = self._any_reader.catalog
        with catalog.snapshot() as generation:
            row = catalog.file_at(name, generation)
        root = self.config.documents.path.expanduser().resolve()
        full = (root / name).resolve()
        try:
            status = full.stat() if full.is_relative_to(root) else None
        except OSError:
            status = None
        if row is None or status is None or (status.st_size, status.st_mtime_ns) != (row.size, row.mtime_ns):
            raise DocumentError(f"{name} isn't any more what was read at the last sync", "run `rag sync`")
        return full

    def source(self, path: Path | str) -> Source:
        """A file's text as it was loaded, with its map of pages, lines and headings. `path`: as in `files`, or the end
        of one that no other has. Raises QueryError."""
        path = _name(path).encode("utf-8", "replace").decode()  # half a character is in no name, and SQLite takes none
        catalog = self._any_reader.catalog
        with catalog.snapshot() as generation:
            row = catalog.file_at(path, generation)
            if row is None:
                near = [f for f in catalog.files(generation) if f.path.endswith("/" + path)]
                if len(near) != 1:
                    names = ", ".join(f.path for f in near[:3])
                    choices = f"did you mean {names}?" if near else "`rag list` shows the files"
                    raise QueryError(f"no file {path} in the index", choices)
                row = near[0]
            if row.content_id is None:
                raise QueryError(
                    f"{row.path} holds no text: {row.outcome.value} ({row.reason})", "`rag status` lists such files"
                )
            return catalog.source(row.content_id, row.path)

    def get(
        self, path: Path | str, first: int | None = None, last: int | None = None, page: int | None = None
    ) -> tuple[Source, Span]:
        """Lines first..last of a file, or a page, or all of it: its source and the span in it."""
        source = self.source(path)
        if not source.text:
            what = {"image": "a picture", "audio": "a recording"}.get(source.kind, "a file")
            told = ", ".join(f"{name} {value}" for name, value in source.metadata.items())
            raise QueryError(
                f"{source.path} is {what} ({told}): it holds no text", "`rag similar` shows what is like it"
            )
        try:
            if page is not None:
                if not 1 <= page <= len(source.pages):
                    has = f"pages 1..{len(source.pages)}" if source.pages else "no pages"
                    raise ValueError(f"{source.path} has {has}, asked for page {page}")
                return source, source.page_spans[page - 1]
            whole = Span(0, len(source.text))
            return source, whole if first is None else source.line_span(first, last)
        except ValueError as error:
            raise QueryError(str(error), "`rag get FILE` without a line prints all of it") from None

    def neighbours(self, chunk_id: str, before: int = 1, after: int = 1) -> list[Passage]:
        """The chunk that a passage came from with those around it, in reading order. They are numbered as in the file,
        from 1; nothing was searched, so their score is 0. Raises QueryError for an id that the index doesn't know, and
        for a number below 0."""
        if before < 0 or after < 0:
            name, value = ("before", before) if before < 0 else ("after", after)
            raise QueryError(f"{name} is {value}", "ask for 0 or more chunks")
        chunk_id = chunk_id.encode("utf-8", "replace").decode()
        catalog = self._any_reader.catalog
        with catalog.snapshot() as generation:
            content_id = catalog.content_of_chunk(chunk_id)
            content = catalog.contents([content_id], generation).get(content_id) if content_id is not None else None
            if content is None:
                raise QueryError(f"no chunk {chunk_id[:80]!r} in the index", "its file may have changed: search again")
            chunks = catalog.chunks_of(content.id)
        at = next(i for i, c in enumerate(chunks) if c.key == chunk_id)
        first, (path, *others) = max(0, at - before), content.paths
        return [
            Passage(
                n, c.key, path, content.kind, c.chunk.span, c.chunk.text, content.place(c.chunk), 0.0,
                title=content.title, also_in=tuple(others), table_head=c.chunk.table_head,
            )
            for n, c in enumerate(chunks[first : at + after + 1], first + 1)
        ]  # fmt: skip

    # ---- LangChain ----------------------------------------------------------------------------------------

    def as_retriever(self, k: int | None = None, filter: Filters = None, **settings: Any) -> BaseRetriever:
        """A LangChain retriever over this index."""
        from rag.langchain import RagRetriever

        return RagRetriever(rag=self, k=k, filter=filter, settings=settings)

    def as_tool(
        self,
        kind: Literal["search", "ask"] = "search",
        *,
        k: int | None = None,
        filter: Filters = None,
        name: str | None = None,
        description: str | None = None,
        **settings: Any,
    ) -> BaseTool:
        """A tool for a LangChain agent: `search` gives its model passages to cite, `ask` a finished, checked answer.

        `filter` bounds what every call may find; the agent's own path and type only narrow it. `name` and
        `description` are what the agent's model reads; `settings` are those of section `retrieve`. Raises QueryError.
        """
        from rag.agents import narrowed
        from rag.langchain import AskTool, SearchTool

        if kind not in ("search", "ask"):
            raise QueryError(f"there is no tool {kind!r}", "choices: search, ask")
        told = {key: text for key, text in (("name", name), ("description", description)) if text}
        tool = SearchTool if kind == "search" else AskTool
        return tool(rag=self, k=k, filter=narrowed(filter, None, None), settings=settings, **told)

    def as_chat_model(
        self, *, documents: bool = True, k: int | None = None, filter: Filters = None, **settings: Any
    ) -> BaseChatModel:
        """A LangChain chat model that answers from the documents, with citations in `response_metadata`.

        `documents` False: the configured language model alone, for a program's own prompts. Raises ConfigError where
        there is none.
        """
        from rag.langchain import GeneratorChatModel, RagChatModel

        if documents:
            return RagChatModel(rag=self, k=k, filter=filter, settings=settings)
        if self.generator is None:
            raise ConfigError(
                "the extractive generator writes nothing without documents",
                "choose a language model: generate.kind in config.yaml, or llm=… in Rag.open",
            )
        return GeneratorChatModel(rag=self)

    def as_embeddings(self) -> Embeddings:
        """The embedder as LangChain `Embeddings`."""
        from rag.langchain import RagEmbeddings

        return RagEmbeddings(self.embedder)

    def as_text_splitter(self) -> TextSplitter:
        """The configured splitter as a LangChain `TextSplitter` with a right `start_index`."""
        from rag.split import as_text_splitter

        return as_text_splitter(self.splitter)


def _name(path: Path | str) -> str:
    """As an index names its files."""
    return path.as_posix() if isinstance(path, Path) else path
