"""Prompt -> text, one piece at a time.

    messages ──┬─ extractive.py   the documents' own sentences; needs no language model
               ├─ local.py        a causal or seq2seq model in this process <── loading.py <── weights.py (files)
               ├─ server.py       any server that speaks the OpenAI protocol
               └─ chat_model.py   a LangChain BaseChatModel handed in from Python
                        └── text.py: stop strings, plain prompts, token estimates; thread.py: pieces as they come
    attribution.py checks what was written, whoever wrote it

The three language models are `Generator`s. `make_generator` builds the first two from the config; nothing is loaded
before the first call that needs it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Protocol, assert_never

from rag.config import Generate
from rag.types import Message


class Generator(Protocol):
    """A language model as the answer step sees it."""

    @property
    def name(self) -> str: ...

    @property
    def context_window(self) -> int:
        """Tokens the model reads and writes together; for seq2seq models the tokens it reads."""
        ...

    @property
    def max_new_tokens(self) -> int: ...

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt as it is sent, the chat template's own included."""
        ...

    def count_text(self, text: str) -> int:
        """Tokens of a bare text, e.g. of a finished answer."""
        ...

    def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
        """Pieces of the reply as they are made, none of them empty. Joined they are the reply.

        Cancelling is no error: once `cancel` is set the stream ends, after at most one more token. Closing the
        iterator stops the model too. Raises GenerationError and its kin; ContextOverflow before anything is generated.
        """
        ...


def make_generator(config: Generate, prompt_tokenizer: str = "generator") -> Generator:
    """The language model that `config` names. `prompt_tokenizer` is `prompt.tokenizer`: who counts the prompt."""
    from rag.tokens import named_tokenizer

    counter = None if prompt_tokenizer == "generator" else named_tokenizer(prompt_tokenizer)
    match config.kind:
        case "transformers":
            from rag.generate.local import LocalGenerator

            return LocalGenerator(config, counter)
        case "openai":
            from rag.generate.server import ServerGenerator

            return ServerGenerator(config, counter)
        case "extractive":
            raise ValueError("the extractive generator is no language model: build it from rag.generate.extractive")
        case _:
            assert_never(config.kind)
