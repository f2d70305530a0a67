"""/v1/…: OpenAI's protocol, for programs that speak it. The chat model is the index, under its folder's name.

What a model writes is sent only once it was checked against the passages, as nothing can be taken back in this
protocol: a stream stays silent until then. What the protocol allows and this can't do (tools, JSON mode …) is refused
by name; settings that only tune a model's sampling are ignored.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from rag.prompt import one_line
from rag.serve.answers import BUSY, whole
from rag.serve.asking import Asking, stopped
from rag.serve.desk import Desk
from rag.serve.forms import MOST_TURNS, QUESTION, CitationOut, Filter, ProblemOut
from rag.serve.guard import address
from rag.serve.problems import Json, Problem, as_problem
from rag.serve.stream import SSE, EventStream
from rag.tame import tame
from rag.types import Answer, Message

SOURCES = "\n\nSources:\n"
TEXTS = ("text", "input_text")  # types of a message's parts; an earlier message may hold others, for another model
MOST_INPUTS = 2048
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": ProblemOut, "description": "There is no such model"}}


class Open(BaseModel):
    """Fields of the protocol that aren't named here are taken and ignored."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Part(Open):
    type: str
    text: str | None = None


class ChatMessage(Open):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(p.text for p in self.content if p.text)
        return self.content or ""


class StreamOptions(Open):
    include_usage: StrictBool = False


class Chat(Open):
    model: str = Field(examples=["documents"])
    messages: list[ChatMessage] = Field(
        min_length=1, max_length=MOST_TURNS, examples=[[{"role": "user", "content": QUESTION}]]
    )
    stream: StrictBool | None = False
    stream_options: StreamOptions | None = None
    filter: Filter = Field(None, description="Not OpenAI's: which files may be used")
    top_k: StrictInt | None = Field(None, ge=1, le=1000, description="Not OpenAI's: how many passages")


class ChatChoice(BaseModel):
    index: int
    message: dict[str, Any]
    finish_reason: str


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    citations: list[CitationOut] = Field(description="Not OpenAI's: the exact words behind each [number]")
    abstained: bool = Field(description="Not OpenAI's: the documents hold no answer")
    confidence: float
    reason: str | None


class ToEmbed(Open):
    model: str = Field(examples=["all-MiniLM-L6-v2"])
    input: Annotated[str, Field(min_length=1)] | Annotated[list[Any], Field(min_length=1, max_length=MOST_INPUTS)] = (
        Field(examples=[["a heron", "an iron nail"]])
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: StrictInt | None = None


class Vector(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Vectors(BaseModel):
    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: dict[str, int]


class Model(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(BaseModel):
    object: Literal["list"]
    data: list[Model]


def routes(app: FastAPI, desk: Desk) -> None:
    began = int(time.time())

    @app.get("/v1/models", tags=["openai"], responses={200: {"model": Models}})
    async def models() -> Response:
        """The index, for chat, and the embedding model."""
        return Json({"object": "list", "data": [_model(name, began) for name in await desk.read(_names, desk)]})

    @app.get("/v1/models/{name:path}", tags=["openai"], responses={200: {"model": Model}, **UNKNOWN})
    async def model(name: str) -> Response:
        """One of them."""
        _known(name, await desk.read(_names, desk))
        return Json(_model(name, began))

    @app.post(
        "/v1/chat/completions",
        tags=["openai"],
        responses={200: {"model": Completion, "content": SSE}, **BUSY, **UNKNOWN},
    )
    async def chat(form: Chat, request: Request) -> Response:
        """The last user message is the question, those before it are the history. Instructions of a system message
        aren't followed: the answer is what the documents say."""
        _known(form.model, [desk.name])
        _refuse(form)
        question, history = _conversation(form.messages)
        asking = await Asking.begin(desk, address(request.scope), question, history, form.filter, top_k=form.top_k)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": form.model}
        if form.stream:
            with_usage = form.stream_options is not None and form.stream_options.include_usage
            return EventStream(_chunks(asking, head, with_usage), asking.leave)
        answer = await whole(asking, request)
        message = {"role": "assistant", "content": answer.text + _sources(answer), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        body = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer)}
        return Json({**body, **_extras(answer)})

    @app.post("/v1/embeddings", tags=["openai"], responses={200: {"model": Vectors}, **UNKNOWN})
    async def embeddings(form: ToEmbed) -> Response:
        """The vectors that the index is made of: the same text gives the same vector."""
        desk.check_open()
        texts = [form.input] if isinstance(form.input, str) else form.input
        if not all(isinstance(t, str) and t for t in texts):
            raise Problem(
                422,
                "Invalid",
                "input must be a text, or texts, none of them empty",
                "token numbers aren't taken: with langchain-openai set check_embedding_ctx_length=False",
            )
        vectors, tokens = await desk.work(_embed, desk, form, [str(t) for t in texts])
        data = [
            {"object": "embedding", "index": i, "embedding": _encoded(v, form.encoding_format)}
            for i, v in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Json({"object": "list", "data": data, "model": form.model, "usage": usage})


# ---- what was asked for ------------------------------------------------------------------------------------------


def _names(desk: Desk) -> list[str]:
    return [desk.name, desk.rag.embedder.model.name]


def _known(name: str, names: list[str]) -> None:
    if name not in names:
        raise Problem(404, "NotFound", f"there is no model {name[:100]!r}", f"choices: {', '.join(names)}")


def _refuse(form: Chat) -> None:
    """What the client counts on and would not get."""
    extra = form.model_extra or {}
    wanted = [name for name in ("tools", "functions", "logprobs", "audio") if extra.get(name)]
    if extra.get("n") not in (None, 1):
        wanted.append("n")
    response_format = extra.get("response_format")
    if response_format and response_format != {"type": "text"}:
        wanted.append("response_format")
    if wanted:
        raise Problem(
            422,
            "Unsupported",
            f"{wanted[0]} isn't supported: this model answers from documents",
            f"leave out {wanted[0]}",
        )


def _conversation(messages: list[ChatMessage]) -> tuple[str, list[Message]]:
    if messages[-1].role != "user":
        raise Problem(422, "Invalid", f"the last message is of role {messages[-1].role}", "end with a user message")
    history: list[Message] = []
    for each in messages[:-1]:
        if each.role in ("user", "assistant"):
            role: Literal["user", "assistant"] = "user" if each.role == "user" else "assistant"
            history.append(Message(role, each.text.partition(SOURCES)[0]))
    if isinstance(parts := messages[-1].content, list):
        other = next((p.type for p in parts if p.type not in TEXTS), None)
        if other is not None:
            told = f"the question holds {other[:40]!r}: this model reads text"
            raise Problem(422, "Unsupported", told, "leave it out")
    return messages[-1].text, history


# ---- what it gets ------------------------------------------------------------------------------------------------


async def _chunks(asking: Asking, head: dict[str, Any], with_usage: bool) -> AsyncIterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _data({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    try:
        answer = await asking.answer()
    except Exception as error:
        yield _data(as_problem(error).body())
        return
    if answer is None:
        yield _data(stopped().body())
        return
    yield chunk({"content": answer.text})
    if sources := _sources(answer):
        yield chunk({"content": sources})
    yield chunk({}, "stop", **_extras(answer))
    if with_usage:
        yield _data({**head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(answer)})
    yield "data: [DONE]\n\n"


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _sources(answer: Answer) -> str:
    """A line for each [number] of the text, for clients that show nothing else."""
    places: dict[int, list[str]] = {}
    for citation in answer.citations:
        labels = places.setdefault(citation.number, [])
        label = one_line(tame(citation.label))  # a file's name may hold line ends, and forge a source
        if label not in labels:
            labels.append(label)
    lines = [f"[{number}] {'; '.join(labels)}" for number, labels in sorted(places.items())]
    return SOURCES + "\n".join(lines) if lines else ""


def _extras(answer: Answer) -> dict[str, Any]:
    body = answer.to_dict()
    return {name: body[name] for name in ("citations", "abstained", "confidence", "reason")}


def _usage(answer: Answer) -> dict[str, int]:
    prompt, completion = answer.tokens.get("prompt", 0), answer.tokens.get("completion", 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "rag"}


def _embed(desk: Desk, form: ToEmbed, texts: list[str]) -> tuple[Any, int]:
    embedder = desk.rag.embedder
    _known(form.model, _names(desk))
    if form.dimensions not in (None, embedder.dimension):
        told = f"dimensions is {form.dimensions}, the vectors have {embedder.dimension}"
        raise Problem(422, "Unsupported", told, "leave it out")
    return embedder.passage_vectors(texts), sum(map(embedder.tokenizer.count, texts))


def _encoded(vector: Any, form: str) -> list[float] | str:
    """base64: little-endian float32, as OpenAI's client asks for and unpacks."""
    if form == "base64":
        return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
    floats: list[float] = np.asarray(vector).tolist()
    return floats
