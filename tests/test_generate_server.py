"""The OpenAI protocol against a local server that misbehaves on order, and LangChain chat models."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from fakes_models import Reply, openai_server, wait_until

from rag.config import Generate
from rag.errors import ConfigError, ContextOverflow, GenerationError, GeneratorDown, RagError
from rag.generate import make_generator
from rag.generate.chat_model import FromChatModel
from rag.generate.server import ServerGenerator
from rag.types import Message

CHAT = [Message("system", "Be brief."), Message("user", "Hello?"), Message("assistant", "Yes"), Message("user", "Who?")]
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, noted instead of slept."""
    import openai._base_client as client

    waits: list[float] = []
    monkeypatch.setattr(client.SyncAPIClient, "_sleep_for_retry", _noting(client, waits))
    return waits


def _noting(client: Any, waits: list[float]) -> Any:
    def sleep(self: Any, *, retries_taken: int, max_retries: int, options: Any, response: Any) -> None:
        headers = response.headers if response is not None else None
        waits.append(self._calculate_retry_timeout(max_retries - retries_taken, options, headers))

    return sleep


def at(url: str, **options: Any) -> ServerGenerator:
    return ServerGenerator(Generate(kind="openai", model="tiny", base_url=url, **{"timeout_s": 5, **options}))


def reply(url: str, **options: Any) -> str:
    return "".join(at(url, **options).stream(CHAT))


def test_streams_and_sends_what_the_config_says() -> None:
    with openai_server(Reply()) as server:
        generator = at(server.url, max_new_tokens=7, seed=3, stop=("\nUser:",))
        assert list(generator.stream(CHAT)) == ["Hello", " from", " the server."]
        assert server.requests == [
            {
                "model": "tiny",
                "messages": [{"role": m.role, "content": m.content} for m in CHAT],
                "stream": True,
                "temperature": 0.0,
                "seed": 3,
                "max_tokens": 7,
                "stop": ["\nUser:"],
            }
        ]
        assert server.keys == [f"Bearer {KEY}"]


def test_words_arrive_before_the_reply_is_complete() -> None:
    with openai_server(Reply(words=("a",) * 50, word_delay_s=0.05)) as server:
        stream = at(server.url).stream(CHAT)
        began = time.monotonic()
        assert next(stream) == "a"
        assert time.monotonic() - began < 2
        stream.close()  # type: ignore[attr-defined]
        assert server.streamed < 50


def test_stop_strings_hold_even_where_the_server_ignores_them() -> None:
    with openai_server(Reply(words=("one E", "N", "D two"))) as server:
        assert reply(server.url, stop=("END",)) == "one "


def test_cancelling_ends_the_stream() -> None:
    with openai_server(Reply(words=tuple("abcdefgh"))) as server:
        cancel = threading.Event()
        got = []
        for piece in at(server.url).stream(CHAT, cancel=cancel):
            got.append(piece)
            cancel.set()
        assert got == ["a"]
        assert list(at(server.url).stream(CHAT, cancel=cancel)) == []
        assert len(server.requests) == 1


def test_cancelling_waits_for_no_silent_server() -> None:
    with openai_server(Reply(delay_s=9)) as server:
        cancel, began = threading.Event(), time.monotonic()
        threading.Timer(0.2, cancel.set).start()
        assert list(at(server.url).stream(CHAT, cancel=cancel)) == []
        assert time.monotonic() - began < 2


def test_local_server_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with openai_server(Reply()) as server:
        assert reply(server.url) == "Hello from the server."
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        generator = make_generator(Generate(kind="openai", model="tiny"))
        assert "".join(generator.stream(CHAT)) == "Hello from the server."


def test_neither_key_nor_server_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="neither a key nor a server") as caught:
        list(make_generator(Generate(kind="openai", model="tiny")).stream(CHAT))
    assert "OPENAI_API_KEY" in caught.value.hint
    with pytest.raises(ConfigError, match="no http address"):
        reply("localhost:11434")


def test_failing_server_is_tried_again(quick_back_off: list[float]) -> None:
    with openai_server(Reply(status=500), Reply(status=503), Reply()) as server:
        assert reply(server.url) == "Hello from the server."
        assert len(server.requests) == 3
        assert 0 < quick_back_off[0] < quick_back_off[1] < 2  # it backs off


def test_retry_after_is_respected(quick_back_off: list[float]) -> None:
    with openai_server(Reply(status=429, headers={"Retry-After": "17"}), Reply()) as server:
        assert reply(server.url) == "Hello from the server."
        assert quick_back_off == [17]


CASES = [
    (
        Reply(status=429, body={"error": {"message": "slow down"}}),
        GeneratorDown,
        "too many requests .tried 2 times.*slow down",
    ),
    (Reply(status=500), GeneratorDown, "status 500: the server failed .tried 2 times"),
    (
        Reply(status=401, body={"error": {"message": f"Incorrect API key: {KEY}"}}),
        GeneratorDown,
        r"key refused.*\[key\]",
    ),
    (Reply(status=403), GeneratorDown, "key refused"),
    (Reply(status=404, body={"error": {"message": "model not found"}}), GeneratorDown, "no model 'tiny'.*large, tiny"),
    (Reply(status=400, body={"error": {"message": "maximum context length is 512"}}), ContextOverflow, "512"),
    (Reply(status=400, body={"error": {"message": "bad temperature"}}), GenerationError, "refused: .*bad temperature"),
    (Reply(finish=None), GenerationError, "ended before the reply did"),
    (Reply(cut=True), GenerationError, "broke while the reply was coming"),
    (Reply(event="{not json"), GenerationError, "not the protocol"),
    (Reply(event='{"error": {"message": "cuda died"}}'), GenerationError, "cuda died"),
    (Reply(words=(), finish=None), GenerationError, "no chat completion came back"),
]


@pytest.mark.parametrize(("bad", "kind", "says"), CASES, ids=[c[2][:30] for c in CASES])
def test_bad_replies(bad: Reply, kind: type[RagError], says: str) -> None:
    import re

    with openai_server(bad) as server:
        with pytest.raises(kind) as caught:
            reply(server.url, max_retries=1)
        text = str(caught.value)
        assert re.search(says, text, re.DOTALL)
        assert server.url in text
        assert KEY not in text
        assert caught.value.hint
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_slow_server_is_given_up() -> None:
    with openai_server(Reply(delay_s=1.5)) as server:
        began = time.monotonic()
        with pytest.raises(GeneratorDown, match=r"nothing came for 0\.2 s .tried 2 times"):
            reply(server.url, timeout_s=0.2, max_retries=1)
        assert time.monotonic() - began < 1.4


def test_server_that_falls_silent_is_given_up() -> None:
    with openai_server(Reply(words=("a", "b"), word_delay_s=1.0)) as server:
        got = []
        with pytest.raises(GeneratorDown, match=r"nothing came for 0\.2 s"):
            got.extend(at(server.url, timeout_s=0.2).stream(CHAT))
        assert got == ["a"]
        assert len(server.requests) == 1  # words were shown: not tried again


def test_no_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(GeneratorDown, match=r"no connection.*refused.*tried 2 times") as caught:
        reply(f"http://user:{KEY}@127.0.0.1:{port}/v1", max_retries=1)
    assert f"http://127.0.0.1:{port}/v1: " in caught.value.message
    assert KEY not in str(caught.value)
    assert "generate.base_url" in caught.value.hint


def test_window_is_checked_before_sending() -> None:
    with openai_server(Reply()) as server:
        generator = at(server.url, context_window=128)
        assert generator.context_window == 128
        assert at(server.url).context_window == 8192
        with pytest.raises(ContextOverflow, match=r"about 1004 tokens.* is 128"):
            generator.stream([Message("user", "x" * 4000)])
        assert not server.requests


def test_counted_by_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    tables = Path(__file__).parents[2] / "shared" / "tiktoken"
    if not tables.is_dir():
        pytest.skip("the shared tiktoken tables are not here")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tables))
    config = Generate(kind="openai", model="tiny", base_url="http://127.0.0.1:1/v1")
    generator = make_generator(config, "tiktoken:cl100k_base")
    assert generator.count_text("hello world") == 2
    assert generator.count([Message("user", "hello world")]) == 6
    assert make_generator(config).count_text("hello world") == 3
    with pytest.raises(ConfigError, match="unknown tokenizer"):
        make_generator(config, "tiktoken:nope")


def test_openai_itself_gets_its_own_name_for_the_limit() -> None:
    generator = ServerGenerator(Generate(kind="openai", model="gpt-x", max_new_tokens=9))
    assert generator.url == "https://api.openai.com/v1"
    assert generator._request(CHAT)["max_completion_tokens"] == 9


# --- LangChain chat models -------------------------------------------------------------------------------------------


def test_any_chat_model_streams() -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
    from langchain_core.messages import AIMessage

    letters = FromChatModel(FakeListChatModel(responses=["Hello there"]))
    assert list(letters.stream(CHAT)) == list("Hello there")
    blocks = FromChatModel(GenericFakeChatModel(messages=iter([AIMessage(content="Hello there")])), stop=("er",))
    assert "".join(blocks.stream(CHAT)) == "Hello th"
    assert blocks.name == "GenericFakeChatModel"
    assert (blocks.context_window, blocks.max_new_tokens) == (8192, 256)
    assert letters.count([Message("user", "x" * 8)]) == 6


def test_chat_model_gets_the_same_roles() -> None:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    seen: list[Any] = []

    class Seeing(BaseChatModel):
        model: str = "seer"

        @property
        def _llm_type(self) -> str:
            return "seer"

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            seen.append((messages, stop))
            return ChatResult(generations=[ChatGeneration(message=AIMessage(content=[{"type": "text", "text": "ok"}]))])

    generator = FromChatModel(Seeing(), stop=("END",))
    assert list(generator.stream(CHAT)) == ["ok"]
    assert generator.name == "seer"
    messages, stop = seen[0]
    assert [(m.type, m.content) for m in messages] == [
        ("system", "Be brief."),
        ("human", "Hello?"),
        ("ai", "Yes"),
        ("human", "Who?"),
    ]
    assert stop == ["END"]


def test_chat_model_cancels_overflows_and_fails_like_ours() -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    cancel = threading.Event()
    got = []
    for piece in FromChatModel(FakeListChatModel(responses=["Hello"])).stream(CHAT, cancel=cancel):
        got.append(piece)
        cancel.set()
    assert got == ["H"]
    with pytest.raises(ContextOverflow, match="window of FakeListChatModel is 10"):
        FromChatModel(FakeListChatModel(responses=["Hello"]), context_window=10).stream(CHAT)
    failing = FakeListChatModel(responses=["Hello"], error_on_chunk_number=2)
    with pytest.raises(GenerationError, match="FakeListChatModel failed: FakeListChatModelError"):
        list(FromChatModel(failing).stream(CHAT))


def test_nothing_is_left_running() -> None:
    before = threading.active_count()
    with openai_server(Reply()) as server:
        reply(server.url)
    assert wait_until(lambda: threading.active_count() <= before)
