"""Tiny random language models with real tokenizers, and a server that speaks the OpenAI protocol.

They answer nothing sensible; they have every part that can break: a chat template, special tokens, bytes that span
tokens, a window, an encoder.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rag.types import Message

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM_TEMPLATE = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + (
    CHAT_TEMPLATE
)


def tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> Any:
    """Byte-level BPE with one merge, `th`: nearly a token a byte, so that é takes two and 語 three."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocab = {token: i for i, token in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet()), "th"])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("t", "h")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    made.chat_template = chat_template
    return made


def llama(folder: Path, *, window: int = 512, chat_template: str | None = CHAT_TEMPLATE) -> Path:
    """A Llama of two layers with random, fixed weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = tokenizer(chat_template)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tok),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=window,
        bos_token_id=None,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        initializer_range=0.6,
    )
    return _save(LlamaForCausalLM(config), tok, folder)


def t5(folder: Path) -> Path:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tok = tokenizer(None)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tok),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=tok.pad_token_id,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        initializer_factor=3.0,
    )
    return _save(T5ForConditionalGeneration(config), tok, folder)


def bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    tok = tokenizer(None)
    config = BertConfig(
        vocab_size=len(tok), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return _save(BertModel(config), tok, folder)


class Scripted:
    """A generator that writes `words` and counts characters; `after` is called with each word's number."""

    name, context_window, max_new_tokens = "scripted", 1000, 100

    def __init__(self, *words: str) -> None:
        self.words, self.got, self.stopped = words, [], threading.Event()
        self.after: Any = lambda number: None

    def count(self, messages: Sequence[Message]) -> int:
        return sum(len(m.content) for m in messages)

    def count_text(self, text: str) -> int:
        return len(text)

    def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
        self.got = list(messages)
        try:
            for number, word in enumerate(self.words):
                if cancel and cancel.is_set():
                    return
                yield word
                self.after(number)
        finally:
            self.stopped.set()


def _save(model: Any, tok: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


@dataclass
class Reply:
    """What the server does with one request. `words` are streamed, then `finish`."""

    words: tuple[str, ...] = ("Hello", " from", " the server.")
    status: int = 200
    body: Any = None  # the JSON of a status other than 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0  # before the status line
    word_delay_s: float = 0.0
    finish: str | None = "stop"  # None: the stream just ends
    cut: bool = False  # the connection is dropped in the middle of a chunk
    event: str | None = None  # sent raw instead of the words


@dataclass
class Server:
    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    streamed: int = 0  # words written so far
    left: threading.Event = field(default_factory=threading.Event)  # a client has left in the middle


@contextmanager
def openai_server(*replies: Reply) -> Iterator[Server]:
    """Speaks /v1/chat/completions with server-sent events; the last reply serves all further requests."""
    queue = list(replies)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None: ...

        def do_GET(self) -> None:
            self._json(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in ("tiny", "large")]}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.requests.append(body)
                state.keys.append(self.headers.get("Authorization"))
                reply = queue.pop(0) if len(queue) > 1 else queue[0]
            time.sleep(reply.delay_s)
            if reply.status != 200:
                self._json(reply.status, reply.body or {"error": {"message": "no"}}, reply.headers)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                self._stream(reply)
            except OSError:
                state.left.set()
                self.close_connection = True

        def _stream(self, reply: Reply) -> None:
            if reply.event is not None:
                self._chunk(f"data: {reply.event}\n\n")
            else:
                for word in reply.words:
                    self._event({"content": word}, None)
                    state.streamed += 1
                    time.sleep(reply.word_delay_s)
            if reply.cut:
                self.wfile.write(b"ff\r\ndata: {")
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            if reply.finish:
                self._event({}, reply.finish)
                self._chunk("data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")

        def _event(self, delta: dict[str, str], finish: str | None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny", "choices": [choice]}
            self._chunk(f"data: {json.dumps(event)}\n\n")

        def _chunk(self, text: str) -> None:
            data = text.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def _json(self, status: int, body: Any, headers: dict[str, str]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state = Server(f"http://127.0.0.1:{httpd.server_address[1]}/v1")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def wait_until(true: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.01)
    return true()
