"""What can be set, section by section in the order of the flow. Each has a default that was measured or is safe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def _not_blank(value: Any) -> Any:
    """To Path "" is the folder one works in, which an unset variable doesn't mean."""
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("blank_path", "a path")
    return value


Place = Annotated[Path, BeforeValidator(_not_blank)]
Pattern = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Documents(Section):
    """Which files are taken."""

    path: Place = Path("data/documents")
    include: tuple[Pattern, ...] = ()  # gitignore-style patterns; empty: everything
    exclude: tuple[Pattern, ...] = (".*", "node_modules/", "__pycache__/", "~$*")
    max_file_mb: float = Field(100, gt=0)


class Load(Section):
    """How files become text. The limits hold in the worker process that parses untrusted formats."""

    workers: int = Field(0, ge=0, le=64)  # 0: one per core
    timeout_s: float = Field(180, gt=0)  # wall clock per file
    memory_mb: int = Field(960, ge=256)  # address space of a worker above what it starts with
    pdf: Literal["pypdfium2", "pypdf"] = "pypdfium2"  # tried first; what it can't read, the other one tries
    ocr: Literal["none", "tesseract"] = "none"  # for PDF pages without text; the program of that name
    ocr_language: str = Field("eng", pattern=r"^[A-Za-z0-9_]+(\+[A-Za-z0-9_]+)*$")  # as tesseract names it: deu+eng
    max_pages: int = Field(5000, ge=1)  # of one PDF
    max_chars: int = Field(20_000_000, ge=1000)  # of one file's text


class Split(Section):
    kind: Literal["sentence", "recursive", "markdown", "token", "document", "semantic"] = "sentence"
    max_tokens: int = Field(200, ge=8)  # counted by `tokenizer`, special tokens not included
    overlap_tokens: int = Field(0, ge=0)
    tokenizer: str = "embedder"  # or "tiktoken:cl100k_base" and its like; the embedder's limit holds anyway
    separators: tuple[str, ...] = ("\n\n", "\n", ".", "?", "!", " ", "")  # recursive only; literal strings
    prepend: Literal["none", "title", "headings", "title+headings"] = "none"  # to what is embedded

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.overlap_tokens >= self.max_tokens:
            raise ValueError(
                f"split.overlap_tokens ({self.overlap_tokens}) must be below split.max_tokens ({self.max_tokens})"
            )
        return self


class Embed(Section):
    model: str = "all-MiniLM-L6-v2"  # a name, or the path of a sentence-transformers folder
    look_in: tuple[Literal["package", "path", "hub"], ...] = ("package", "path", "hub")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: int = Field(2048, ge=256)  # padded tokens of one forward pass; measured best from 1024 to 4096
    query_prefix: str = ""
    passage_prefix: str = ""
    device: str = "cpu"
    threads: int = Field(0, ge=0)  # 0: as many as cores


class Images(Section):
    """Vectors of pictures. `descriptor` compares looks, needs no weights and knows nothing of meaning."""

    kind: Literal["none", "descriptor", "clip", "vision"] = "descriptor"
    model: str | None = None  # clip: None means openai/clip-vit-base-patch32; vision: a ResNet, ViT or their like
    batch: int = Field(16, ge=1, le=4096)  # pictures of one forward pass
    device: str = "cpu"
    max_megapixels: float = Field(100, gt=0, le=178)  # Pillow's own limit; a larger picture is refused, not decoded
    inside: int = Field(64, ge=0, le=10_000)  # pictures taken of one PDF or Word document; 0: none

    @model_validator(mode="after")
    def _model_named(self) -> Self:
        if self.kind == "vision" and not self.model:
            raise ValueError("images.kind is vision but images.model is not set (try: google/vit-base-patch16-224)")
        return self


class Audio(Section):
    """Vectors of recordings. `descriptor` compares sound, needs no weights and knows nothing of meaning."""

    kind: Literal["none", "descriptor", "wav2vec2"] = "descriptor"
    model: str | None = None  # wav2vec2: None means facebook/wav2vec2-base-960h
    window_s: float = Field(20, ge=1, le=600)  # a longer recording has one vector per window
    overlap_s: float = Field(2, ge=0)
    batch: int = Field(4, ge=1, le=256)  # windows of one forward pass
    device: str = "cpu"
    max_minutes: float = Field(180, gt=0)  # a longer recording is refused
    transcribe: str | None = None  # a speech model (CTC or Whisper): its words become text with times

    @model_validator(mode="after")
    def _overlap_below_window(self) -> Self:
        if self.overlap_s >= self.window_s:
            raise ValueError(f"audio.overlap_s ({self.overlap_s:g}) must be below audio.window_s ({self.window_s:g})")
        return self


class Store(Section):
    kind: Literal["chroma", "chroma-server"] = "chroma"
    path: Place | None = None  # None: one folder per document folder in the user's data directory
    host: str = "127.0.0.1"  # chroma-server only
    port: int = Field(8000, ge=1, le=65535)
    ssl: bool = False
    ef_search: int = Field(400, ge=10, le=10_000)
    stemmer: str = "english"  # a Snowball algorithm, or "none"
    min_free_mb: int = Field(200, ge=0)  # a sync is refused when the disk has less
    copies: int = Field(1, ge=0, le=10)  # of the catalog, kept after syncs; 0: none


class Retrieve(Section):
    kind: Literal["hybrid", "dense", "lexical"] = "hybrid"
    top_k: int = Field(5, ge=1, le=1000)
    candidates: int = Field(50, ge=1, le=5000)  # fetched from each index before fusion
    fusion: Literal["convex", "rrf"] = "convex"
    dense_weight: float = Field(0.6, ge=0, le=1)  # convex: the lexical part gets 1 - this
    proximity: float = Field(0.75, ge=0, le=1)  # convex: so much of the lexical part is the question's words together
    rrf_k: int = Field(60, ge=1)
    rerank: str = Field("none", min_length=1)  # none, builtin (the embedded reader), or a cross-encoder's path or name
    rerank_depth: int = Field(20, ge=1, le=200)  # candidates that are read with the question
    rerank_weight: float = Field(0.2, ge=0, le=1)  # of the reranker's relevance; the rest is the fused score
    mmr: bool = False  # rerank for diversity (maximal marginal relevance)
    lambda_mult: float = Field(0.5, ge=0, le=1)  # mmr: 1 is relevance only, 0 diversity only
    min_score: float | None = None
    max_per_source: int = Field(0, ge=0)  # 0: no cap
    fold_duplicates: bool = True
    neighbours: int = Field(0, ge=0, le=10)  # chunks added before and after each hit
    max_question_chars: int = Field(8000, ge=16)  # longer questions are refused

    @model_validator(mode="after")
    def _candidates_cover_top_k(self) -> Self:
        if self.candidates < self.top_k:
            raise ValueError(f"retrieve.candidates ({self.candidates}) must be >= retrieve.top_k ({self.top_k})")
        return self


class Prompt(Section):
    directory: Place | None = None  # None: the packaged prompts
    answer: str = "answer"
    condense: str = "condense"
    judge: str = "judge"
    max_tokens: int = Field(1500, ge=64)  # budget of the whole prompt, in the generator's tokens
    tokenizer: str = "generator"  # or "tiktoken:cl100k_base" and its like


class Generate(Section):
    kind: Literal["extractive", "transformers", "openai"] = "extractive"
    model: str | None = None  # transformers: "smollm2", a path, a .gguf file or a hub name; openai: the server's name
    max_new_tokens: int = Field(256, ge=1)
    max_sentences: int = Field(3, ge=1, le=20)  # extractive
    reader: Literal["none", "builtin"] = "none"  # extractive: builtin puts a short answer in front of its sentence
    temperature: float = Field(0.0, ge=0, le=2)  # 0: greedy
    stop: tuple[str, ...] = ()
    prompt_lookup_tokens: int = Field(0, ge=0)  # transformers: prompt-lookup decoding, 0: off
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "cpu"
    seed: int = 0
    base_url: str | None = None  # openai; None: OPENAI_BASE_URL or the client's own default
    context_window: int | None = Field(None, ge=128)  # openai: None means 8192
    timeout_s: float = Field(60, gt=0)
    max_retries: int = Field(2, ge=0, le=10)

    @model_validator(mode="after")
    def _model_named(self) -> Self:
        if self.kind == "transformers" and not self.model:
            raise ValueError("generate.kind is transformers but generate.model is not set (try: smollm2)")
        if self.kind == "openai" and not self.model:
            raise ValueError("generate.kind is openai but generate.model is not set (the server's model name)")
        return self


class AnswerSection(Section):
    min_confidence: float = Field(0.3, ge=0, le=1)  # below it the answer is "not in the documents"
    unsupported: Literal["mark", "drop"] = "drop"  # a generator's sentences that no passage supports


class Evaluate(Section):
    """What `rag evaluate` asks beside the judgements; nothing by default."""

    judge: Literal["none", "generator"] = "none"  # generator: the language model of section generate
    nli: str | None = None  # a natural language inference model: folder or hub name


class Serve(Section):
    """The server. Its key is no setting: it comes from the environment variable RAG_API_KEY or from a file."""

    host: str = Field("127.0.0.1", min_length=1)  # any other than this machine's own needs a key
    port: int = Field(8000, ge=0, le=65535)  # 0: one that is free
    api_key_file: Place | None = None
    allowed_hosts: tuple[Pattern, ...] = ()  # names under which it is reached, beside addresses and localhost
    changes: bool = True  # files may be uploaded and deleted
    max_body_kb: int = Field(1024, ge=16, le=1_000_000)  # of a request that isn't an upload
    max_upload_mb: float = Field(100, gt=0)  # of an upload, all its files together
    queue: int = Field(32, ge=0, le=10_000)  # questions that may wait; the next one is told to come later
    share: float = Field(0.5, gt=0, le=1)  # of the places that one address may hold while others ask, too
    drain_s: float = Field(30, ge=0)  # what answers that are being made get when the server is told to stop


class Config(Section):
    documents: Documents = Documents()
    load: Load = Load()
    split: Split = Split()
    embed: Embed = Embed()
    images: Images = Images()
    audio: Audio = Audio()
    store: Store = Store()
    retrieve: Retrieve = Retrieve()
    prompt: Prompt = Prompt()
    generate: Generate = Generate()
    answer: AnswerSection = AnswerSection()
    evaluate: Evaluate = Evaluate()
    serve: Serve = Serve()
