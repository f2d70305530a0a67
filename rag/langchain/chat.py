"""Chat models: `RagChatModel` answers from the documents, `GeneratorChatModel` only writes.

    RagChatModel        last human message ──> Rag.stream ──> the checked answer, citations in response_metadata
    GeneratorChatModel  messages ──> the configured language model ──> its words, as they come

What a LangChain program streams it can't take back, so `RagChatModel` streams sentences that were checked, once the
model has finished; `GeneratorChatModel` knows no documents and streams every piece.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict, Field

from rag.errors import Cancelled, QueryError
from rag.generate.text import StopStrings
from rag.types import Answer, Message

NO_TEXT = "only text messages can be read"


class _ChatModel(BaseChatModel):
    """`_pieces` is the one way in: a generator of chunks that stops soon after `cancel` is set."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rag: Any = Field(exclude=True, repr=False)  # rag.build.Rag
    stop: list[str] | None = None

    @property
    def model_name(self) -> str:
        raise NotImplementedError

    @property
    def _llm_type(self) -> str:
        return "rag"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        name = str(kwargs.get("model") or self.model_name)
        params = LangSmithParams(ls_provider="rag", ls_model_name=name, ls_model_type="chat")
        if stops := stop or self.stop:
            params["ls_stop"] = stops
        return params

    def _pieces(
        self, messages: list[BaseMessage], stop: Sequence[str], cancel: threading.Event
    ) -> Iterator[AIMessageChunk]:
        raise NotImplementedError

    def _stops(self, stop: list[str] | None, options: dict[str, Any]) -> Sequence[str]:
        """Another model for one call, as some providers have it, is refused rather than overlooked."""
        if (wanted := options.get("model")) not in (None, self.model_name):
            raise QueryError(f"this chat model is {self.model_name}, the call asks for {wanted}", "set generate.model")
        return stop or self.stop or ()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        cancel = threading.Event()
        try:
            for message in self._pieces(messages, self._stops(stop, kwargs), cancel):
                chunk = ChatGenerationChunk(message=message)
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            cancel.set()

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        stops = self._stops(stop, kwargs)
        async for message in in_threads(lambda cancel: self._pieces(messages, stops, cancel)):
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._joined(messages, self._stops(stop, kwargs), threading.Event())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cancel = threading.Event()
        try:
            return await run_in_executor(None, self._joined, messages, self._stops(stop, kwargs), cancel)
        except asyncio.CancelledError:
            cancel.set()
            raise

    def _joined(self, messages: list[BaseMessage], stop: Sequence[str], cancel: threading.Event) -> ChatResult:
        chunks = list(self._pieces(messages, stop, cancel))
        message = AIMessage(
            content="".join(str(c.content) for c in chunks),
            response_metadata=chunks[-1].response_metadata,
            usage_metadata=chunks[-1].usage_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class RagChatModel(_ChatModel):
    """Answers the last human message from the documents; the turns before it help to understand it (a language model
    rewrites the question, the extractive generator doesn't look at them). System messages are left out: what the model
    is told is the prompt file's affair.

    `response_metadata` holds `citations`, `abstained`, `reason`, `confidence` and `passages` as in docs/answer.md.
    Token counts are the language model's own: 0 where none wrote.
    """

    k: int | None = None
    filter: Any = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def model_name(self) -> str:
        generator = self.rag.generator
        return "extractive" if generator is None else str(generator.name)

    def _pieces(
        self, messages: list[BaseMessage], stop: Sequence[str], cancel: threading.Event
    ) -> Iterator[AIMessageChunk]:
        question, history = _conversation(messages)
        answer = self.rag.ask(question, history, self.filter, cancel, **{"top_k": self.k, **self.settings})
        cutter = StopStrings(stop)
        shown = [cutter.feed(piece) for piece in _sentences(answer)]
        for piece in (*shown, cutter.end()):
            if piece:
                yield AIMessageChunk(content=piece)
        yield _last(answer.generator, answer.tokens, _metadata(answer))


class GeneratorChatModel(_ChatModel):
    """The configured language model without documents: for a program's own prompts. Its words are checked by nobody."""

    @property
    def model_name(self) -> str:
        return str(self.rag.generator.name)

    def _pieces(
        self, messages: list[BaseMessage], stop: Sequence[str], cancel: threading.Event
    ) -> Iterator[AIMessageChunk]:
        generator, turns = self.rag.generator, _turns(messages)
        written: list[str] = []

        def pieces() -> Any:
            for piece in generator.stream(turns, cancel=cancel):
                written.append(piece)
                yield piece

        for piece in StopStrings(stop).cut(pieces()):
            yield AIMessageChunk(content=piece)
        if cancel.is_set():
            raise Cancelled("the answer was stopped", "ask again")
        tokens = {"prompt": generator.count(turns), "completion": generator.count_text("".join(written))}
        yield _last(generator.name, tokens, {})


async def in_threads(make: Callable[[threading.Event], Iterator[AIMessageChunk]]) -> AsyncIterator[AIMessageChunk]:
    """What an iterator gives, each item fetched in a thread. Leaving, by cancellation too, sets its `cancel`."""
    cancel, done = threading.Event(), AIMessageChunk(content="")
    iterator = make(cancel)
    try:
        while (item := await run_in_executor(None, next, iterator, done)) is not done:
            yield item
    finally:
        cancel.set()


def _last(model: str, tokens: dict[str, int], metadata: dict[str, Any]) -> AIMessageChunk:
    """What is known at the end. `tokens` counts "prompt" and "completion"; empty where no language model was called."""
    read, written = tokens.get("prompt", 0), tokens.get("completion", 0)
    usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
    named = {"model_name": model, "model_provider": "rag", "finish_reason": "stop", **metadata}
    return AIMessageChunk(content="", response_metadata=named, usage_metadata=usage, chunk_position="last")


def _metadata(answer: Answer) -> dict[str, Any]:
    whole = answer.to_dict()
    return {key: whole[key] for key in ("citations", "abstained", "reason", "confidence", "passages")}


def _sentences(answer: Answer) -> Iterator[str]:
    """The answer's text, cut where its statements begin. Joined it is the text."""
    starts, at = [0], 0
    for statement in answer.statements:
        found = answer.text.find(statement.text, at)
        if found > at:
            starts.append(found)
        at = max(found, at) + len(statement.text)
    for start, end in zip(starts, [*starts[1:], len(answer.text)], strict=True):
        yield answer.text[start:end]


def _conversation(messages: list[BaseMessage]) -> tuple[str, list[Message]]:
    turns = [m for m in _turns(messages) if m.role != "system"]
    if not turns or turns[-1].role != "user":
        raise QueryError(
            f"the last message is {'missing' if not turns else 'an assistant message'}, not a question",
            "end the messages with the human's question",
        )
    return turns[-1].content, turns[:-1]


def _turns(messages: list[BaseMessage]) -> list[Message]:
    """Raises QueryError for what has no text to read: tool messages, pictures, sound."""
    turns = []
    for message in messages:
        match message:
            case SystemMessage():
                role: Any = "system"
            case HumanMessage():
                role = "user"
            case AIMessage() if not message.tool_calls:
                role = "assistant"
            case _:
                raise QueryError(f"a {message.type} message with tool calls or results can't be read here", NO_TEXT)
        if others := [str(b["type"]) for b in message.content_blocks if b["type"] != "text"]:
            raise QueryError(f"a {message.type} message holds {others[0]}", NO_TEXT)
        turns.append(Message(role, str(message.text)))
    return turns
