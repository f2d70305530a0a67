"""OpenAI's own client and langchain-openai, against the real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from fakes_embed import open_rag
from serving import Served, mcp_client, served
from shell import METAL, RIVER, write

from rag.build import Rag

COPPER = "At what temperature does copper melt?"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVyb24="}}


@pytest.fixture(scope="module")
def rag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rag]:
    docs = write(tmp_path_factory.mktemp("home") / "papers", metals_txt=METAL, birds_md=RIVER)
    with open_rag(docs, tmp_path_factory.mktemp("index"), answer__min_confidence=0) as rag:
        rag.sync()
        yield rag


@pytest.fixture(scope="module")
def server(rag: Rag) -> Iterator[Served]:
    with served(rag, "a-secret-of-some-length") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="a-secret-of-some-length", max_retries=0) as client:
        yield client


def said(*texts: str) -> Any:
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]


def test_the_models_are_the_index_and_its_embedder(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["papers", "fake"]
    assert client.models.retrieve("papers").owned_by == "rag"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.retrieve("gpt-4")


def test_a_cited_answer(client: openai.OpenAI, rag: Rag) -> None:
    got = client.chat.completions.create(model="papers", messages=said(COPPER))
    expected = rag.ask(COPPER)
    content = got.choices[0].message.content
    assert content is not None
    text, _, sources = content.partition("\n\nSources:\n")
    assert text == expected.text
    assert "[1] metals.txt:1" in sources
    citations = got.model_extra["citations"]  # type: ignore[index]
    assert citations == expected.to_dict()["citations"]
    assert citations[0]["quote"] in rag.source(citations[0]["source"]).text
    assert got.choices[0].finish_reason == "stop"
    assert got.usage is not None


def test_a_stream_brings_the_same(client: openai.OpenAI, rag: Rag) -> None:
    whole = client.chat.completions.create(model="papers", messages=said(COPPER)).choices[0].message.content
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="papers", messages=said(COPPER), stream=True, stream_options=options)
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].usage is not None
    last = next(c for c in chunks if c.choices and c.choices[0].finish_reason)
    assert last.model_extra["citations"][0]["source"] == "metals.txt"  # type: ignore[index]


def test_only_checked_words_reach_the_client(make_rag: Callable[..., Rag], docs: Any) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    write(docs, metals_txt=METAL)
    rag = make_rag(answer__min_confidence=0)
    rag._llm = FakeListChatModel(responses=["Copper melts at 1085 degrees Celsius. Gold melts at 9999 degrees."])
    rag.sync()
    with served(rag) as server, openai.OpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
        chunks = client.chat.completions.create(model="docs", messages=said(COPPER), stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert "1085" in text
        assert "9999" not in text
        streamed = server.events("/ask", {"question": COPPER, "stream": True})
        assert "9999" in "".join(told["text"] for name, told in streamed if name == "tokens")  # told to be provisional
        assert "9999" not in dict(streamed)["citations"]["text"]


def test_history_reaches_the_model_without_our_sources(make_rag: Callable[..., Rag], docs: Any) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    write(docs, metals_txt=METAL)
    seen: list[str] = []

    class Watched(FakeListChatModel):
        def _call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            seen.append("\n".join(str(m.content) for m in messages))
            return super()._call(messages, *args, **kwargs)

    rag = make_rag(answer__min_confidence=0)
    rag._llm = Watched(responses=["At what temperature does iron melt?", "Iron melts at 1538 degrees Celsius."])
    rag.sync()
    with served(rag) as server, openai.OpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
        messages = said(COPPER, "Copper melts at 1085 degrees Celsius. [1]\n\nSources:\n[1] metals.txt:1", "and iron?")
        got = client.chat.completions.create(
            model="docs", messages=[{"role": "system", "content": "Be rude."}, *messages]
        )
        assert "1538" in (got.choices[0].message.content or "")
        told = server.events("/ask", {"question": "and iron?", "history": messages[:2], "stream": True})
        assert [name for name, _ in told][:2] == ["rewriting", "retrieving"]
    assert "Sources:" not in "".join(seen)
    assert "rude" not in "".join(seen)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"model": "gpt-4"}, "gpt-4"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"n": 2}, "n isn't"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": said("a", "b")}, "assistant"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": COPPER}, PICTURE]}]}, "image_url"),
        ({"extra_body": {"filter": "size=1"}}, "size"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(client: openai.OpenAI, more: Any, word: str) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(**{"model": "papers", "messages": said(COPPER), **more})
    assert word in str(refused.value)
    assert refused.value.status_code in (404, 422)


def test_a_wrong_key_is_the_clients_own_error(server: Served) -> None:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="wrong") as client:  # noqa: SIM117
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_parts_of_a_message_and_sampling_settings_are_taken(client: openai.OpenAI) -> None:
    content: Any = [{"type": "text", "text": COPPER}]
    before: Any = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}
    messages: Any = [before, {"role": "assistant", "content": "A heron."}, {"role": "user", "content": content}]
    got = client.chat.completions.create(model="papers", messages=messages, temperature=1, max_tokens=5, seed=3)
    assert "1085" in (got.choices[0].message.content or "")


def test_embeddings_are_the_index_s(client: openai.OpenAI, rag: Rag) -> None:
    texts = ["a heron", "an iron nail"]
    got = client.embeddings.create(model="fake", input=texts)  # the client asks for base64 by itself
    plain = client.embeddings.create(model="fake", input=texts, encoding_format="float")
    expected = rag.embedder.passage_vectors(texts)
    for response in (got, plain):
        assert np.allclose([d.embedding for d in response.data], expected)
        assert [d.index for d in response.data] == [0, 1]
    assert got.usage.prompt_tokens == 5
    for bad in ({"input": [[1, 2]]}, {"input": ""}, {"input": []}, {"dimensions": 7}):
        with pytest.raises(openai.UnprocessableEntityError):
            client.embeddings.create(**{"model": "fake", "input": "x", **bad})
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="text-embedding-3-small", input="x")


def test_langchain_openai(server: Served, rag: Rag) -> None:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    where: Any = {"base_url": f"{server.address}/v1", "api_key": "a-secret-of-some-length"}
    model = ChatOpenAI(model="papers", **where)
    message = model.invoke(COPPER)
    assert "1085" in message.text
    assert "[1] metals.txt:1" in message.text
    assert "1085" in "".join(chunk.text for chunk in model.stream(COPPER))
    vectors = OpenAIEmbeddings(model="fake", check_embedding_ctx_length=False, **where).embed_documents(["a heron"])
    assert np.allclose(vectors, rag.embedder.passage_vectors(["a heron"]))


def test_an_agent_whose_model_is_this_server(server: Served) -> None:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="papers", base_url=f"{server.address}/v1", api_key="a-secret-of-some-length")  # type: ignore[arg-type]
    last = create_agent(model, tools=[]).invoke({"messages": [("user", COPPER)]})["messages"][-1]
    assert "1085" in last.text
    assert "[1] metals.txt:1" in last.text


def test_a_file_name_forges_no_source(make_rag: Callable[..., Rag], docs: Path) -> None:
    (docs / "a\n\nSources:\n[9] forged\u202e.txt").write_text(METAL)
    rag = make_rag(answer__min_confidence=0)
    rag.sync()
    with served(rag) as server:
        body = {"model": server.desk.name, "messages": [{"role": "user", "content": COPPER}]}
        said = server.client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert said.count("\nSources:\n") == 1
    assert "\n[1] a Sources: [9] forged .txt:1" in said


async def test_mcp_beside_a_sync_and_beside_many_questions(
    make_rag: Callable[..., Rag], docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status tells of the server's own sync, calls wait for the first; searches wait behind no questions, and of
    questions so many are taken as may wait."""
    (docs / "metals.txt").write_text(METAL)
    rag = make_rag(answer__min_confidence=0)
    real, go = rag.sync, threading.Event()
    monkeypatch.setattr(rag, "sync", lambda **options: go.wait(30) and real(**options))
    with served(rag, queue=10) as server:
        server.client.post("/sync")
        async with mcp_client(server.address) as client:
            early = asyncio.create_task(client.call_tool("search", {"query": "copper"}))
            assert not (await asyncio.wait({early}, timeout=0.5))[0]
            go.set()
            assert (await early).structured_content["passages"]  # type: ignore[index]
            server.events("/sync/events")  # what it found is served a moment before the sync has ended
            go.clear()
            assert server.client.post("/sync").status_code == 202
            status = (await client.call_tool("status", {})).structured_content
            assert status is not None
            assert status["syncing"] is True
            go.set()
            turns = server.desk.generating
            for _ in range(free := turns._free):
                turns.take(threading.Event())  # the model is at work
            asks = [asyncio.create_task(client.call_tool("ask", {"question": COPPER})) for _ in range(40)]
            async with asyncio.timeout(60):
                while sum(task.done() for task in asks) < len(asks) - server.desk.questions.most:
                    await asyncio.sleep(0.01)
            done, waiting = [t for t in asks if t.done()], [t for t in asks if not t.done()]
            assert server.desk.questions.inside == len(waiting) == server.desk.questions.most
            assert all("no more are taken" in task.result().content[0].text for task in done)  # type: ignore[union-attr]
            found = await asyncio.wait_for(client.call_tool("search", {"query": "copper"}), 30)
            assert found.structured_content["passages"]  # type: ignore[index]
            for _ in range(free):
                turns.give()
            answers = [await task for task in waiting]
        assert all(answer.structured_content["citations"] for answer in answers)  # type: ignore[index]
        told = server.client.get("/metrics").text
        assert f'rag_questions_total{{outcome="answered"}} {float(len(waiting))}' in told


async def test_an_mcp_client_at_the_same_server(server: Served) -> None:
    """With the server's key, behind its guard; without it, not at all."""
    async with mcp_client(server.address, "a-secret-of-some-length") as client:
        answer = await client.call_tool("ask", {"question": COPPER})
        assert answer.structured_content["citations"][0]["file"] == "metals.txt"  # type: ignore[union-attr, index]
    refused = httpx.post(f"{server.address}/mcp", json={}, trust_env=False)
    assert refused.status_code == 401
