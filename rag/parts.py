"""Config becomes objects here and nowhere else: each is made when it is first asked for, and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rag.config import Config
from rag.errors import IndexMissing
from rag.store import IndexReader, index_folder
from rag.store.damage import SameProcess
from rag.types import Reading

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.language_models import BaseChatModel
    from numpy.typing import NDArray

    from rag.answer import Answerer
    from rag.embed import AudioEmbedder, ImageEmbedder, TextEmbedder, Transcriber
    from rag.evaluate.judge import Judge
    from rag.evaluate.nli import Entailment
    from rag.generate import Generator
    from rag.read import PassageReader, Rerank
    from rag.retrieve import Retriever
    from rag.split import Splitter

_TO_CLOSE = ("reader", "any_reader", "embedder", "image_embedder", "audio_embedder", "transcriber")


class Parts:
    """Embedders, splitter, index, models: safe to share between threads, and told apart after a fork."""

    def __init__(self, config: Config, llm: BaseChatModel | None = None) -> None:
        self.config = config
        self._llm = llm
        self._lock = threading.RLock()
        self._parts: dict[str, Any] = {}
        self._process = SameProcess()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back threads, files and models. Calling it again does nothing; nor does a fork's call, they are its
        parent's."""
        if not self._process:
            return
        self._close(None)

    def _close_index(self) -> None:
        self._close({"reader", "any_reader", "retriever", "answerer"})

    def _close(self, names: Collection[str] | None) -> None:
        """None: all. Nothing is closed within the lock, since a search holds the catalog's while it asks for a part."""
        with self._lock:
            parts = {name: self._parts.pop(name) for name in [*self._parts] if names is None or name in names}
        for name in _TO_CLOSE:
            if name in parts:
                parts[name].close()

    def _part(self, name: str, make: Any) -> Any:
        if not self._process:
            if self._parts:
                self._process.check()
            self._lock, self._process = threading.RLock(), SameProcess()  # nothing was opened before the fork
        with self._lock:
            if name not in self._parts:
                self._parts[name] = make()
            return self._parts[name]

    @property
    def index_folder(self) -> Path:
        return index_folder(self.config.store, self.config.documents.path)

    @property
    def embedder(self) -> TextEmbedder:
        from rag.embed import TextEmbedder

        embedder: TextEmbedder = self._part("embedder", lambda: TextEmbedder(self.config.embed))
        return embedder

    @property
    def image_embedder(self) -> ImageEmbedder:
        """Raises ConfigError where `images.kind` is none."""
        from rag.embed import ImageEmbedder

        embedder: ImageEmbedder = self._part("image_embedder", lambda: ImageEmbedder(self.config.images))
        return embedder

    @property
    def audio_embedder(self) -> AudioEmbedder:
        """Raises ConfigError where `audio.kind` is none."""
        from rag.embed import AudioEmbedder

        embedder: AudioEmbedder = self._part("audio_embedder", lambda: AudioEmbedder(self.config.audio))
        return embedder

    @property
    def transcriber(self) -> Transcriber:
        """Raises ConfigError where `audio.transcribe` is not set."""
        from rag.embed import Transcriber

        transcriber: Transcriber = self._part("transcriber", lambda: Transcriber(self.config.audio))
        return transcriber

    @property
    def splitter(self) -> Splitter:
        from rag.split import TokenLimits, make_splitter
        from rag.tokens import named_tokenizer

        def make() -> Splitter:
            embedder, split = self.embedder, self.config.split
            counter = embedder.tokenizer if split.tokenizer == "embedder" else named_tokenizer(split.tokenizer)
            special = embedder.special_tokens
            limits = TokenLimits(counter, embedder.tokenizer, embedder.limit - special, special, embedder.model.name)
            return make_splitter(split, limits, embedder.passage_vectors)

        splitter: Splitter = self._part("splitter", make)
        return splitter

    @property
    def _splitting(self) -> dict[str, Any]:
        """What a chunk depends on, for the fingerprint. Settings that this kind doesn't read are left out."""
        settings = self.config.split.model_dump(mode="json")
        if self.config.split.kind != "recursive":
            settings.pop("separators")
        return settings

    @property
    def reader(self) -> IndexReader:
        """For searching: refuses an index that another model made."""
        reader: IndexReader = self._part("reader", lambda: self._open_index(self.embedder.fingerprint))
        return reader

    @property
    def _any_reader(self) -> IndexReader:
        """For looking at what is there: needs no model, and takes an index whichever model made it."""
        reader: IndexReader = self._part("any_reader", lambda: self._open_index(None))
        return reader

    def _open_index(self, fingerprint: dict[str, Any] | None) -> IndexReader:
        if not self.index_folder.exists():
            documents = self.config.documents.path.expanduser()
            raise IndexMissing(
                f"{documents} was never indexed (no index at {self.index_folder})"
                if documents.exists()
                else f"there is no folder {documents}, and no index of it",
                "run `rag sync` for it first, or name another folder: --docs FOLDER",
            )
        return IndexReader(self.index_folder, self.config.store, fingerprint)

    @property
    def retriever(self) -> Retriever:
        from rag.retrieve import Retriever

        retriever: Retriever = self._part(
            "retriever",
            lambda: Retriever(self.config.retrieve, self.reader, self.embedder.query_vector, self._rerank),
        )
        return retriever

    def _rerank(self, name: str) -> Rerank | None:
        """A reranker by the name that `retrieve.rerank` takes; loaded once."""
        from rag.embed import resolve_model
        from rag.read import RANKS, make_rerank

        def find(name: str) -> Path:  # whole: what loads a model file by file asks the hub for each again and again
            return resolve_model(name, ("path", "hub"), "retrieve.rerank: cross-encoder", RANKS).folder

        rerank: Rerank | None = self._part(
            f"rerank {name}", lambda: make_rerank(name, lambda: self.passage_reader, find, self.config.embed.device)
        )
        return rerank

    @property
    def _read(self) -> Callable[[str, Sequence[str]], Sequence[Reading]] | None:
        """The reading model's function, or None where it is switched off or its weights aren't installed."""
        if self.config.generate.reader == "none" or not self.passage_reader.available:
            return None
        return self.passage_reader.read

    @property
    def passage_reader(self) -> PassageReader:
        """The embedded model that reads question and passage together."""
        from rag.embed import resolve_model
        from rag.read import PassageReader

        def make() -> PassageReader:
            base = resolve_model("all-MiniLM-L6-v2", self.config.embed.look_in)
            return PassageReader(base.folder, threads=self.config.embed.threads)

        reader: PassageReader = self._part("passage_reader", make)
        return reader

    @property
    def has_language_model(self) -> bool:
        """Whether a model writes the answers; it isn't loaded to tell."""
        return self._llm is not None or self.config.generate.kind != "extractive"

    @property
    def generator_name(self) -> str:
        """Who writes the answers, as the settings name it; nothing is loaded to tell."""
        if self._llm is not None:
            return "a model handed in"
        generate = self.config.generate
        return "extractive" if generate.kind == "extractive" else str(generate.model)

    @property
    def generator(self) -> Generator | None:
        """The language model, or None for the extractive default."""

        def make() -> Generator | None:
            if not self.has_language_model:
                return None
            if self._llm is not None:
                from rag.generate.chat_model import FromChatModel

                return FromChatModel(self._llm)
            from rag.generate import make_generator

            return make_generator(self.config.generate, self.config.prompt.tokenizer)

        generator: Generator | None = self._part("generator", make)
        return generator

    @property
    def judge(self) -> Judge | None:
        """Who judges answers in an evaluation, as `evaluate.judge` says. Raises ConfigError where nobody could."""
        if self.config.evaluate.judge == "none":
            return None
        from rag.evaluate.judge import make_judge

        judge: Judge = self._part("judge", lambda: make_judge(self.config, self.generator))
        return judge

    @property
    def entailment(self) -> Entailment | None:
        """The model of `evaluate.nli`, not loaded yet."""
        from rag.evaluate.nli import Entailment

        model = self.config.evaluate.nli
        entailment: Entailment | None = self._part("entailment", lambda: Entailment(model) if model else None)
        return entailment

    @property
    def answerer(self) -> Answerer:
        from rag.answer import Answerer

        def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
            return self.embedder.passage_vectors(texts)

        answerer: Answerer = self._part(
            "answerer",
            lambda: Answerer(self.config, self.retriever, self.reader, vectors, self.generator, self._read),
        )
        return answerer
