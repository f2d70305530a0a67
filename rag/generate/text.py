"""What the generators share: stop strings, prompts for models without a chat template, token estimates."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing

from rag.errors import ContextOverflow
from rag.tokens import Tokenizer
from rag.types import Message

CHARS_PER_TOKEN = 4  # English prose in today's vocabularies; code and other scripts run lower
TOKENS_PER_MESSAGE = 4  # role and separators, as OpenAI documents for its chat models


class StopStrings:
    """Cuts a stream of pieces at the first stop string, which is never let through.

    A piece that could be the beginning of a stop string is held back until the next one decides.

    >>> cutter = StopStrings(("END",))
    >>> [cutter.feed(piece) for piece in ("one E", "N", "ough E", "ND two")], cutter.found
    (['one ', '', 'ENough ', ''], True)
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(s for s in stops if s)
        self._pattern = re.compile("|".join(re.escape(s) for s in self._stops)) if self._stops else None
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """What may be shown now."""
        if self.found or self._pattern is None:
            return "" if self.found else piece
        text = self._held + piece
        if match := self._pattern.search(text):
            self.found, self._held = True, ""
            return text[: match.start()]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """What was held back, once nothing more will come."""
        held, self._held = self._held, ""
        return held

    def cut(self, pieces: Generator[str, None, None]) -> Iterator[str]:
        """The pieces up to the first stop string, without the empty ones. Closes `pieces` in any case."""
        with closing(pieces):
            for piece in pieces:
                if shown := self.feed(piece):
                    yield shown
                if self.found:
                    return
            if rest := self.end():
                yield rest


class Repetition:
    """Notices a reply that goes round in circles: a finished sentence of some length that it has written before.

    Small models do that when they decode greedily, until their last token. A line counts as a sentence.

    >>> loop = Repetition()
    >>> [loop.feed(piece) for piece in ("It is a measure. ", "So it is. It is", " a measure.", " And")]
    [False, False, False, True]
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._open = ""

    def feed(self, piece: str) -> bool:
        """Whether the sentence that ended in this piece is an old one. It ends where the next one begins."""
        *finished, self._open = _ENDS.split(self._open + piece)
        again = False
        for sentence in finished:
            words = " ".join(sentence.split()).casefold()
            again = again or words in self._seen
            if words.count(" ") >= LEAST_REPEATED - 1:
                self._seen.add(words)
        return again


LEAST_REPEATED = 4  # words: a shorter line may well stand twice in a list
_ENDS = re.compile(r"(?<=[.!?。！？])\s+|\s*\n\s*")


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def plain_prompt(messages: Sequence[Message]) -> str:
    """Contents with blank lines between them: for models that never saw a chat template."""
    return "\n\n".join(m.content for m in messages if m.content)


def estimate(messages: Sequence[Message], counter: Tokenizer | None) -> int:
    """Tokens of a chat whose template isn't known: `counter`'s tokens, or characters / 4, and 4 a message."""
    return sum(estimate_text(m.content, counter) + TOKENS_PER_MESSAGE for m in messages)


def check_fits(tokens: int, window: int, name: str, hint: str) -> None:
    """For models whose tokens are estimated: raises ContextOverflow when the prompt leaves no room for a reply."""
    if tokens >= window:
        raise ContextOverflow(f"the prompt has about {tokens} tokens, the window of {name} is {window}", hint)


def estimate_text(text: str, counter: Tokenizer | None) -> int:
    return counter.count(text) if counter else -(-len(text) // CHARS_PER_TOKEN)
