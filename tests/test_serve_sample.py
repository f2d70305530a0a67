"""The real `rag serve` over documents of the sample folder, asked by each client that programs use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from serving import command, mcp_client
from shell import Shell

DOCUMENTS = Path(__file__).parents[1] / "data" / "documents"
QUESTION, WORDS, FILE = "For how long does a tombstone stay?", "30 days", "ops/sync-and-deletions.docx"
PDF, PAGE = "audio/speech-vectors.pdf", 2
ON_PAGE, PAGES_WORDS = "Which layer of wav2vec does the handbook average for a clip?", "The handbook averages layer 7."


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("sample")
    folder = home / "documents"
    folder.mkdir()
    for part in ("ops", "text"):  # a part of it is enough
        shutil.copytree(DOCUMENTS / part, folder / part)
    (folder / PDF).parent.mkdir()
    shutil.copy(DOCUMENTS / PDF, folder / PDF)
    with command(Shell(home), "--sync", "--docs", folder) as (address, _):
        with (
            httpx.Client(base_url=address, trust_env=False, timeout=60) as client,
            client.stream("GET", "/sync/events") as events,  # ends with the sync that --sync began
        ):
            list(events.iter_lines())
        yield address


def test_the_openai_client(address: str) -> None:
    client = openai.OpenAI(
        base_url=f"{address}/v1", api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False)
    )
    got = client.chat.completions.create(model="documents", messages=[{"role": "user", "content": QUESTION}])
    assert WORDS in (got.choices[0].message.content or "")
    assert got.model_extra["citations"][0]["source"] == FILE  # type: ignore[index]
    got = client.chat.completions.create(model="documents", messages=[{"role": "user", "content": ON_PAGE}])
    (cited, *_) = (c for c in got.model_extra["citations"] if PAGES_WORDS in c["quote"])  # type: ignore[index]
    assert (cited["source"], cited["page"]) == (PDF, PAGE)
    assert f"{PDF}, page {PAGE}" in (got.choices[0].message.content or "")
    parts = client.chat.completions.create(
        model="documents", messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    assert WORDS in "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


def test_langchain_openai_alone_and_in_an_agent(address: str) -> None:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="documents", base_url=f"{address}/v1", api_key="none")  # type: ignore[arg-type]
    agent = create_agent(model, tools=[])
    for question, *told in ((QUESTION, WORDS, FILE), (ON_PAGE, PAGES_WORDS, f"{PDF}, page {PAGE}")):
        messages: Any = [("user", question)]
        for said in (model.invoke(question), agent.invoke({"messages": messages})["messages"][-1]):
            assert all(words in said.text for words in told)


async def test_an_agent_uses_a_tool_of_the_server(address: str) -> None:
    """`create_agent` with a model that calls what it is given: the server's own search and ask, with their schemas."""
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, ToolMessage
    from langchain_core.tools import StructuredTool

    bound: list[str] = []

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            bound.extend(tool.name for tool in tools)
            return self

    async with mcp_client(address) as client:

        def as_tool(tool: Any) -> StructuredTool:
            async def call(**arguments: Any) -> tuple[str, Any]:
                result: Any = await client.call_tool(tool.name, arguments)
                assert not result.is_error
                return result.content[0].text, result.structured_content

            return StructuredTool(
                name=tool.name,
                description=tool.description,
                args_schema=tool.input_schema,
                coroutine=call,
                response_format="content_and_artifact",
            )

        calls = [("search", {"query": ON_PAGE, "type": "pdf"}), ("ask", {"question": ON_PAGE})]
        script = [
            AIMessage("", tool_calls=[{"name": name, "args": args, "id": name, "type": "tool_call"}])
            for name, args in calls
        ]
        model = Scripted(messages=iter([*script, AIMessage("Layer 7.")]))
        agent = create_agent(model, tools=[as_tool(tool) for tool in (await client.list_tools()).tools])
        messages: Any = [("user", ON_PAGE)]
        said = (await agent.ainvoke({"messages": messages}))["messages"]
    assert {"search", "ask", "get"} <= set(bound)
    found, answered = (m for m in said if isinstance(m, ToolMessage))
    assert (PDF, PAGE) in {(p["file"], p["page"]) for p in found.artifact["passages"]}
    assert {p["file"] for p in found.artifact["passages"]} == {PDF}
    (cited, *_) = (c for c in answered.artifact["citations"] if PAGES_WORDS in c["quote"])
    assert (cited["file"], cited["page"], cited["verified"]) == (PDF, PAGE, True)
    assert f'{PDF}, page {PAGE}: "' in answered.text
    assert said[-1].text == "Layer 7."


async def test_the_mcp_client(address: str) -> None:
    async with mcp_client(address) as client:
        answer: Any = (await client.call_tool("ask", {"question": QUESTION})).structured_content
        assert WORDS in answer["answer"]
        cited = answer["citations"][0]
        assert cited["file"] == FILE
        found: Any = (await client.call_tool("search", {"query": QUESTION})).structured_content
        assert FILE in {passage["file"] for passage in found["passages"]}
        answer = (await client.call_tool("ask", {"question": ON_PAGE})).structured_content
        (cited, *_) = (c for c in answer["citations"] if PAGES_WORDS in c["quote"])
        assert (cited["file"], cited["page"]) == (PDF, PAGE)
        page: Any = (await client.call_tool("get", {"path": PDF, "page": PAGE})).structured_content
        assert PAGES_WORDS in " ".join(page["text"].split())
