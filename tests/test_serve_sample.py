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


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("sample")
    folder = home / "documents"
    folder.mkdir()
    for part in ("ops", "text"):  # a part of it is enough
        shutil.copytree(DOCUMENTS / part, folder / part)
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
    parts = client.chat.completions.create(
        model="documents", messages=[{"role": "user", "content": QUESTION}], stream=True
    )
    assert WORDS in "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


def test_langchain_openai_alone_and_in_an_agent(address: str) -> None:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="documents", base_url=f"{address}/v1", api_key="none")  # type: ignore[arg-type]
    messages: Any = [("user", QUESTION)]
    for said in (model.invoke(QUESTION), create_agent(model, tools=[]).invoke({"messages": messages})["messages"][-1]):
        assert WORDS in said.text
        assert FILE in said.text


async def test_the_mcp_client(address: str) -> None:
    async with mcp_client(address) as client:
        answer: Any = (await client.call_tool("ask", {"question": QUESTION})).structured_content
        assert WORDS in answer["answer"]
        cited = answer["citations"][0]
        assert cited["file"] == FILE
        found: Any = (await client.call_tool("search", {"query": QUESTION})).structured_content
        assert FILE in {passage["file"] for passage in found["passages"]}
