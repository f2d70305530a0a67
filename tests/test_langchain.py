"""Our parts as LangChain's own: its conformance suites, and a program that uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from shell import METAL, RIVER, write

from rag import Rag
from rag.errors import QueryError
from rag.langchain import RagEmbeddings, RagRetriever


@pytest.fixture(scope="module")
def rag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rag]:
    home = tmp_path_factory.mktemp("home")
    docs = write(home / "docs", birds_md=RIVER, metals_txt=METAL, words_txt="Words are tokens.", fish_txt="Trout swim.")
    with Rag.open(docs=docs, store__path=home / "index") as rag:
        rag.sync()
        yield rag


class TestRetrieverConforms(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _rag(self, rag: Rag) -> None:
        self.rag = rag

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return RagRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"rag": self.rag}

    @property
    def retriever_query_example(self) -> str:
        return "Which bird stands in the river?"


class TestEmbeddingsConform(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return RagEmbeddings


class TestEmbeddingsStart(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return RagEmbeddings


def test_documents_say_where_they_stand(rag: Rag) -> None:
    found = rag.as_retriever(k=1).invoke("copper")
    assert [type(d) for d in found] == [Document]
    metadata = found[0].metadata
    assert metadata["source"] == "metals.txt"
    assert rag.source("metals.txt").text[metadata["start_index"] : metadata["end_index"]] == found[0].page_content
    assert found[0].id == metadata["chunk_id"]
    assert {"page", "line", "headings", "score", "stages"} <= set(metadata)


def test_filter_settings_and_k(rag: Rag) -> None:
    assert {d.metadata["source"] for d in rag.as_retriever(filter="type=md").invoke("copper")} == {"birds.md"}
    assert len(rag.as_retriever(k=3).invoke("copper", k=1)) == 1
    stages = rag.as_retriever(kind="lexical").invoke("copper")[0].metadata["stages"]
    assert [s["stage"] for s in stages] == ["lexical"]
    with pytest.raises(QueryError, match="unknown search setting 'speed'"):
        rag.as_retriever(speed="high").invoke("copper")


async def test_awaited_it_takes_the_same(rag: Rag) -> None:
    from rag.retrieve import parse_filter

    assert len(await rag.as_retriever(k=3).ainvoke("copper", k=1)) == 1
    retriever = rag.as_retriever(filter=parse_filter("type=md"))
    assert {d.metadata["source"] for d in await retriever.ainvoke("copper")} == {"birds.md"}


def test_none_at_all_is_no_number_to_ask_for(rag: Rag) -> None:
    with pytest.raises(QueryError, match="top_k is 0"):
        rag.as_retriever(k=3).invoke("copper", k=0)
    with pytest.raises(QueryError, match="k is 0"):
        rag.search("copper", k=0, within=["text"])
    assert "top_k is 0" in rag.as_tool(k=0).invoke({"query": "copper"})


def test_in_a_chain(rag: Rag) -> None:
    chain = rag.as_retriever(k=1) | RunnableLambda(lambda found: found[0].metadata["source"])
    assert chain.invoke("At what temperature does iron melt?") == "metals.txt"
    assert chain.batch(["Which bird stands in the river?", "trout"]) == ["birds.md", "fish.txt"]


def test_the_embedder_is_the_index_own(rag: Rag) -> None:
    embeddings = rag.as_embeddings()
    assert embeddings.embed_query("heron") == rag.embedder.query_vector("heron").tolist()
    one, two = embeddings.embed_documents(["heron", "copper"])
    assert len(one) == len(two) == 384
    assert embeddings.embed_documents([]) == []


def test_text_splitter_start_index_is_exact(rag: Rag) -> None:
    text = "# Naïve 語\n\n" + "The heron waits. The heron waits. 🐟 Fish swim by.\n\n" * 60
    splitter = rag.as_text_splitter()
    made = splitter.create_documents([text, "short"], [{"source": "a"}, {"source": "b"}])
    assert len(made) > 3
    for document in made:
        whole = text if document.metadata["source"] == "a" else "short"
        start = document.metadata["start_index"]
        assert whole[start : start + len(document.page_content)] == document.page_content
        assert rag.embedder.tokenizer.count(document.page_content) <= rag.config.split.max_tokens
    starts = [d.metadata["start_index"] for d in made if d.metadata["source"] == "a"]
    assert starts == sorted(set(starts))
    assert splitter.split_text("short") == ["short"]


def test_a_chat_model_takes_the_generators_place(rag: Rag) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    model = FakeListChatModel(responses=["Copper melts at 1085 degrees Celsius. [1]"])
    with Rag(rag.config, llm=model) as other:
        answer = other.ask("At what temperature does copper melt?")
    assert not answer.abstained
    assert answer.citations[0].quote == "Copper melts at 1085 degrees Celsius."


def test_open_refuses_to_change_a_finished_config(tmp_path: Path, rag: Rag) -> None:
    from rag.errors import ConfigError

    with pytest.raises(ConfigError, match="finished Config"):
        Rag.open(rag.config, docs=tmp_path)
    with pytest.raises(ConfigError, match=r"^llm is 'gpt' \(str\), not a LangChain chat model"):
        Rag.open(rag.config, llm="gpt")  # type: ignore[arg-type]


def test_open_says_that_what_is_wrong_was_given_to_it() -> None:
    from rag.errors import ConfigError

    with pytest.raises(ConfigError, match=r"^Rag\.open: retrieve\.top_k is 'x', should be a valid integer"):
        Rag.open(retrieve__top_k="x")
    with pytest.raises(ConfigError, match=r"^Rag\.open: documents\.path is '', should be a path"):
        Rag.open(docs="")
