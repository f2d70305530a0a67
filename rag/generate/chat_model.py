"""A LangChain chat model, handed in from Python, as a generator of ours."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rag.errors import GenerationError, RagError
from rag.generate.text import StopStrings, check_fits, estimate, estimate_text
from rag.tokens import Tokenizer
from rag.types import Message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage


class FromChatModel:
    """See `rag.generate.Generator`. How long its replies get and how it samples is the chat model's own affair.

    LangChain can't say a model's window, nor count tokens without fetching GPT-2's tokenizer: pass `context_window`,
    and a `counter` where four characters a token is too rough.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        context_window: int = 8192,
        max_new_tokens: int = 256,
        stop: Sequence[str] = (),
        counter: Tokenizer | None = None,
    ) -> None:
        self.model = model
        self._context_window = context_window
        self._max_new_tokens = max_new_tokens
        self._stop = tuple(stop)
        self._counter = counter

    @property
    def name(self) -> str:
        for key in ("model_name", "model"):
            if isinstance(value := getattr(self.model, key, None), str):
                return value
        return type(self.model).__name__

    @property
    def context_window(self) -> int:
        return self._context_window

    @property
    def max_new_tokens(self) -> int:
        """Left free for the reply when the prompt is cut to size; it doesn't bind the model."""
        return self._max_new_tokens

    def count(self, messages: Sequence[Message]) -> int:
        return estimate(messages, self._counter)

    def count_text(self, text: str) -> int:
        return estimate_text(text, self._counter)

    def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
        """`cancel` is looked at with each piece the model hands over."""
        hint = "lower prompt.max_tokens, or pass FromChatModel the right context_window"
        check_fits(self.count(messages), self.context_window, self.name, hint)
        return StopStrings(self._stop).cut(self._pieces(messages, cancel or threading.Event()))

    def _pieces(self, messages: Sequence[Message], cancel: threading.Event) -> Generator[str, None, None]:
        options: dict[str, Any] = {"stop": list(self._stop)} if self._stop else {}
        try:
            if cancel.is_set():
                return
            for chunk in self.model.stream(to_langchain(messages), **options):
                if cancel.is_set():
                    return
                if text := str(chunk.text):
                    yield text
        except RagError:
            raise
        except Exception as error:  # every provider has its own tree
            raise GenerationError(
                f"{self.name} failed: {type(error).__name__}: {error}", "the chat model's own documentation knows more"
            ) from error


def to_langchain(messages: Sequence[Message]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[m.role](content=m.content) for m in messages]
