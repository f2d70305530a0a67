"""A causal or seq2seq language model in this process, through transformers.

The model runs in its own thread and hands each token's text over as it comes; one reply at a time per model. Greedy
unless `generate.temperature` says otherwise. The model's own sampling habits (top_p, repetition penalty, beams) are
not used, so the same settings mean the same for every model. A reply that repeats a sentence of its own is stopped
there: greedy small models go on so until their last token.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rag.config import Generate
from rag.errors import ContextOverflow, GenerationError, ModelError, RagError
from rag.generate.loading import Parts, describe, load_model
from rag.generate.text import Repetition, StopStrings, estimate, estimate_text, plain_prompt
from rag.generate.thread import Halted, Put, from_thread
from rag.tokens import Tokenizer
from rag.types import Message

logger = logging.getLogger(__name__)


class LocalGenerator:
    """See `rag.generate.Generator`. `counter` counts prompts for the budget instead of the model's own tokenizer; the
    window is guarded with the model's own in any case."""

    def __init__(self, config: Generate, counter: Tokenizer | None = None) -> None:
        self.config = config
        self._counter = counter
        self._loading = threading.RLock()
        self._turn = threading.Lock()  # held by the thread that generates
        self._parts: Parts | None = None
        self._model: Any = None

    @property
    def name(self) -> str:
        return str(self.config.model)

    @property
    def max_new_tokens(self) -> int:
        return self.config.max_new_tokens

    @property
    def context_window(self) -> int:
        window = self._describe().window
        return min(window, self.config.context_window) if self.config.context_window else window

    def count(self, messages: Sequence[Message]) -> int:
        return estimate(messages, self._counter) if self._counter else len(self.encode(messages))

    def count_text(self, text: str) -> int:
        if self._counter:
            return estimate_text(text, self._counter)
        return len(self._describe().tokenizer(text, add_special_tokens=False).input_ids)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt: the tokenizer's chat template, or contents and blank lines where it has none.

        A control token written out in a message (`<|im_end|>` in a document) is broken up by a space, so that no
        text can end its own turn.
        """
        parts = self._describe()
        tokenizer, settings = parts.tokenizer, parts.settings
        specials = _special_pattern(tokenizer)
        safe = [Message(m.role, specials.sub(_break_up, m.content) if specials else m.content) for m in messages]
        if tokenizer.chat_template is None:
            ids = list(tokenizer(plain_prompt(safe)).input_ids)
            if not settings.is_encoder_decoder and ids and ids[-1] == tokenizer.eos_token_id:
                ids.pop()  # a causal model would take it for the end
            return ids
        try:
            return _apply_template(tokenizer, safe)
        except Exception as first:  # jinja's own tree: templates raise what they like
            try:  # some templates know no system role
                return _apply_template(tokenizer, _without_system(safe))
            except Exception:
                raise ModelError(f"the chat template of {self.name} failed: {first}", "try another model") from None

    def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
        """Raises ContextOverflow at once when the prompt fills the window; the reply is cut to the room there is."""
        ids = self.encode(messages)
        window = self.context_window
        encoder_decoder = self._describe().settings.is_encoder_decoder
        if len(ids) > window or (len(ids) == window and not encoder_decoder):
            raise ContextOverflow(
                f"the prompt has {len(ids)} tokens, the window of {self.name} is {window} with the reply in it",
                "lower prompt.max_tokens or retrieve.top_k, or take a model with a longer window",
            )
        new_tokens = self.max_new_tokens
        if not encoder_decoder and len(ids) + new_tokens > window:
            new_tokens = window - len(ids)
            logger.info("%s: room for %d new tokens of %d", self.name, new_tokens, self.max_new_tokens)
        return StopStrings(self.config.stop).cut(self._pieces(ids, new_tokens, cancel or threading.Event()))

    def _pieces(self, ids: list[int], new_tokens: int, cancel: threading.Event) -> Generator[str, None, None]:
        def work(emit: Put, halted: Halted) -> None:
            while not self._turn.acquire(timeout=0.05):
                if halted():
                    return
            try:
                self._generate(ids, new_tokens, emit, halted)
            except RagError:
                raise
            except BaseException as error:
                raise GenerationError(
                    f"{self.name} failed: {type(error).__name__}: {error}",
                    "a smaller prompt.max_tokens or another generate.device may help",
                ) from error
            finally:
                self._turn.release()

        return from_thread(work, cancel, "rag-generate", join=True)

    def _generate(self, ids: list[int], new_tokens: int, emit: Put, halted: Halted) -> None:
        if halted():
            return
        import torch

        model = self._weights()
        prompt = torch.tensor([ids], device=model.device)
        start = 1 if model.config.is_encoder_decoder else len(ids)
        reply, loop = _Reply(self._describe().tokenizer), Repetition()

        def watch(so_far: Any, scores: Any, **_: Any) -> Any:
            piece = reply.piece(so_far[0, start:].tolist())
            if piece:
                emit(piece)
            done = halted() or loop.feed(piece)
            return torch.full((so_far.shape[0],), done, device=so_far.device, dtype=torch.bool)

        options: dict[str, Any] = {}
        if self.config.prompt_lookup_tokens:  # never together with a cached prefix: transformers 5 answers wrongly
            options["prompt_lookup_num_tokens"] = self.config.prompt_lookup_tokens
        with torch.inference_mode(), torch.random.fork_rng(enabled=self.config.temperature > 0):
            if self.config.temperature > 0:
                torch.manual_seed(self.config.seed)
            with _left_when(halted, model):
                model.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=new_tokens,
                    stopping_criteria=[watch],
                    **options,
                )
        if rest := reply.rest():
            emit(rest)

    def _describe(self) -> Parts:
        """Tokenizer and model config: enough to count, without the weights."""
        with self._loading:
            if self._parts is None:
                self._parts = describe(self.name)
            return self._parts

    def _weights(self) -> Any:
        with self._loading:
            if self._model is None:
                self._model = load_model(self._describe(), self.config)
            return self._model


class _Halted(Exception):
    """Raised within the model's own code, to leave it."""


@contextmanager
def _left_when(halted: Halted, model: Any) -> Iterator[None]:
    """The model is left between two layers, too: a long prompt is read in one pass, before any criterion is asked."""
    from transformers.modeling_layers import GradientCheckpointingLayer as Layer

    def look(*_: Any) -> None:
        if halted():
            raise _Halted

    looks = [module.register_forward_pre_hook(look) for module in model.modules() if isinstance(module, Layer)]
    try:
        yield
    except _Halted:
        pass
    finally:
        for hook in looks:
            hook.remove()


class _Reply:
    """Turns the growing list of new tokens into pieces of text that, joined, are the decoded whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._text = ""
        self._shown = 0

    def piece(self, tokens: list[int]) -> str:
        """A character may span several tokens: its half decodes to U+FFFD and waits."""
        self._text = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return self._upto(len(self._text.rstrip("\ufffd")))

    def rest(self) -> str:
        return self._upto(len(self._text))

    def _upto(self, end: int) -> str:
        piece = self._text[self._shown : end]
        self._shown = max(self._shown, end)
        return piece


def _apply_template(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=False))


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system text at the head of the first user turn."""
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    rest = [m for m in messages if m.role != "system"]
    first = next((i for i, m in enumerate(rest) if m.role == "user"), None)
    if system and first is not None:
        rest[first] = Message("user", f"{system}\n\n{rest[first].content}")
    return rest


def _special_pattern(tokenizer: Any) -> re.Pattern[str] | None:
    written = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special and len(t.content) > 1}
    return re.compile("|".join(re.escape(w) for w in sorted(written, key=len, reverse=True))) if written else None


def _break_up(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:]}"
