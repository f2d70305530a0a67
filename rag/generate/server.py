"""Any server that speaks the OpenAI chat protocol: Ollama, vLLM, llama.cpp, a cloud. Streamed.

The key comes from the environment variable OPENAI_API_KEY only, never from a file, and never stands in an error.
Before the first word the client itself retries (connection errors, 408, 409, 429, 5xx) up to `generate.max_retries`
times, waiting 0.5 s, 1 s, 2 s … or what the server's Retry-After says. Once words came, a broken stream is an error.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from rag.config import Generate
from rag.errors import ConfigError, ContextOverflow, GenerationError, GeneratorDown, RagError
from rag.generate.text import StopStrings, check_fits, estimate, estimate_text
from rag.generate.thread import Halted, Put, from_thread
from rag.tokens import Tokenizer
from rag.types import Message

if TYPE_CHECKING:
    from openai import OpenAI

DEFAULT_WINDOW = 8192
CLOUD = "https://api.openai.com/v1"
_OVERFLOW = re.compile(r"context[ _](length|window|size)|maximum context|too many tokens", re.IGNORECASE)


class ServerGenerator:
    """See `rag.generate.Generator`. A server's tokenizer is its own secret: without `counter` a token counts as four
    characters, which is near enough for English prose and too low for code and other scripts."""

    def __init__(self, config: Generate, counter: Tokenizer | None = None) -> None:
        self.config = config
        self._counter = counter

    @property
    def name(self) -> str:
        return str(self.config.model)

    @property
    def context_window(self) -> int:
        return self.config.context_window or DEFAULT_WINDOW

    @property
    def max_new_tokens(self) -> int:
        return self.config.max_new_tokens

    def count(self, messages: Sequence[Message]) -> int:
        return estimate(messages, self._counter)

    def count_text(self, text: str) -> int:
        return estimate_text(text, self._counter)

    def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
        """`cancel` ends it at once, also while the server is silent; that is given up after `generate.timeout_s`."""
        hint = "lower prompt.max_tokens, or set generate.context_window to what the server really has"
        check_fits(self.count(messages), self.context_window, self.name, hint)
        return StopStrings(self.config.stop).cut(self._pieces(messages, cancel or threading.Event()))

    def _pieces(self, messages: Sequence[Message], cancel: threading.Event) -> Generator[str, None, None]:
        # From a thread: nothing else ends a wait for a server that says nothing.
        return from_thread(partial(self._fetch, messages), cancel, "rag-fetch")

    def _fetch(self, messages: Sequence[Message], put: Put, halted: Halted) -> None:
        client = self._client
        began = finished = False
        try:
            if halted():
                return
            stream = client.chat.completions.create(**self._request(messages))
            with stream:
                for chunk in stream:
                    if halted():
                        return
                    for choice in chunk.choices[:1]:
                        finished = finished or choice.finish_reason is not None
                        if choice.delta and choice.delta.content:
                            began = True
                            put(choice.delta.content)
        except Exception as error:
            raise self._explain(error, began) from None  # the chain would show headers, and with them the key
        if not finished:
            raise self._broken("the stream ended before the reply did" if began else "no chat completion came back")

    def _request(self, messages: Sequence[Message]) -> dict[str, Any]:
        # OpenAI's newer models refuse max_tokens; other servers know nothing else.
        limit = "max_completion_tokens" if self.url.startswith(CLOUD) else "max_tokens"
        request: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
            "temperature": self.config.temperature,
            "seed": self.config.seed,
            limit: self.config.max_new_tokens,
        }
        if self.config.stop:
            request["stop"] = list(self.config.stop[:4])  # the protocol's limit; the rest is cut here
        return request

    @property
    def url(self) -> str:
        """Where requests go, without a user and password that may stand in the address."""
        parts = urlsplit(self.config.base_url or os.environ.get("OPENAI_BASE_URL") or CLOUD)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @cached_property
    def _client(self) -> OpenAI:
        try:
            from openai import OpenAI
        except ImportError:
            raise ConfigError(
                "generate.kind is openai, but the package openai is not installed", "pip install 'rag[openai]'"
            ) from None
        base_url = self.config.base_url or os.environ.get("OPENAI_BASE_URL")
        key = os.environ.get("OPENAI_API_KEY")
        if not key and not base_url:
            raise ConfigError(
                "generate.kind is openai, but neither a key nor a server is given",
                "set OPENAI_API_KEY, or generate.base_url to your own server (Ollama: http://localhost:11434/v1)",
            )
        if base_url and not base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"generate.base_url is {base_url!r}, which is no http address",
                "write it like http://localhost:11434/v1",
            )
        return OpenAI(
            api_key=key or "none",  # a local server asks for none, the client insists on one
            base_url=base_url,
            timeout=self.config.timeout_s,
            max_retries=self.config.max_retries,
        )

    def _explain(self, error: Exception, began: bool) -> RagError:
        """The client's error as ours: the address, what happened, what to do."""
        import openai

        tries = f" (tried {self.config.max_retries + 1} times)" if self.config.max_retries else ""
        match error:
            case RagError():
                return error
            case openai.APITimeoutError():
                return GeneratorDown(
                    f"{self.url}: nothing came for {self.config.timeout_s:g} s{'' if began else tries}",
                    "raise generate.timeout_s, or take a smaller model or prompt",
                )
            case openai.APIConnectionError() if began:
                return self._broken("the connection broke while the reply was coming")
            case openai.APIConnectionError():
                cause = error.__cause__ or error
                return GeneratorDown(
                    f"{self.url}: no connection: {self._clean(cause)}{tries}",
                    "start the server, or set generate.base_url (OPENAI_BASE_URL) to where it listens",
                )
            case openai.APIStatusError(status_code=code):
                return self._refused(code, self._clean(error), tries)
            case openai.APIError():  # an error event inside the stream
                return self._broken(self._clean(error))
            case _:
                return self._broken(f"not the protocol: {type(error).__name__}: {self._clean(error)}")

    def _refused(self, code: int, said: str, tries: str) -> RagError:
        where = f"{self.url}: status {code}"
        if code in (401, 403):
            hint = "check" if os.environ.get("OPENAI_API_KEY") else "set"
            return GeneratorDown(f"{where}: key refused: {said}", f"{hint} the environment variable OPENAI_API_KEY")
        if code == 404:
            offered = ", ".join(self._offered())
            hint = (
                f"choices for generate.model: {offered}"
                if offered
                else "check generate.base_url (often it ends in /v1)"
            )
            return GeneratorDown(f"{where}: no model {self.name!r} there: {said}", hint)
        if code == 429:
            return GeneratorDown(f"{where}: too many requests{tries}: {said}", "wait, or raise generate.max_retries")
        if code >= 500:
            return GeneratorDown(f"{where}: the server failed{tries}: {said}", "look at the server's own log")
        if _OVERFLOW.search(said):
            return ContextOverflow(
                f"{where}: {said}", "lower prompt.max_tokens, and set generate.context_window to the server's"
            )
        return GenerationError(f"{where}: the request was refused: {said}", "check generate.model and its settings")

    def _broken(self, what: str) -> GenerationError:
        return GenerationError(f"{self.url}: {what}", "ask again; if it stays, look at the server's own log")

    def _offered(self) -> list[str]:
        try:
            models = self._client.with_options(timeout=5, max_retries=0).models.list()
            return sorted(m.id for m in models.data)[:20]
        except Exception:  # it was only to help
            return []

    def _clean(self, error: BaseException) -> str:
        """The text of an error on one line, without the key, wherever a server echoed it."""
        text = " ".join(str(error).split()) or type(error).__name__
        key = os.environ.get("OPENAI_API_KEY")
        return (text.replace(key, "[key]") if key else text)[:500]
