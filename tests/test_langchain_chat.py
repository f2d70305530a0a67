"""Our chat models: the conformance suites, citations, streaming, stop, token counts, cancelling."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_embed import open_rag
from fakes_models import Scripted, llama
from hostile import NAMES, PAYLOADS
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from shell import METAL, RIVER, write

from rag import Rag
from rag.errors import Cancelled, ConfigError, QueryError
from rag.langchain import GeneratorChatModel, RagChatModel
from rag.types import Message

COPPER = "At what temperature does copper melt?"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    write(home / "docs", birds_md=RIVER, metals_txt=METAL)
    with open_rag(home / "docs", home / "index") as rag:
        rag.sync()
    return home


@pytest.fixture(scope="module")
def rag(home: Path) -> Iterator[Rag]:
    """Extractive."""
    with open_rag(home / "docs", home / "index", answer__min_confidence=0.0) as rag:
        yield rag


@pytest.fixture(scope="module")
def local(home: Path) -> Iterator[Rag]:
    """With a model of two layers that writes nonsense."""
    settings = {"generate__kind": "transformers", "generate__max_new_tokens": 8, "answer__min_confidence": 0.0}
    model = llama(home / "model", window=2048)
    with open_rag(home / "docs", home / "index", generate__model=str(model), **settings) as rag:
        yield rag


class Declared:
    """What these models can't do is what the suite takes as default: no tools, no structured output, text only."""

    documents = True

    @pytest.fixture(autouse=True)
    def _rag(self, rag: Rag) -> None:
        self.rag = rag

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RagChatModel if self.documents else GeneratorChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"rag": self.rag}


class TestAnswersStart(Declared, ChatModelUnitTests):
    pass


class TestAnswersConform(Declared, ChatModelIntegrationTests):
    pass


class WithModel(Declared):
    @pytest.fixture(autouse=True)
    def _rag(self, local: Rag) -> None:
        self.rag = local


class TestModelAnswersConform(WithModel, ChatModelIntegrationTests):
    pass


class TestGeneratorStarts(WithModel, ChatModelUnitTests):
    documents = False


class TestGeneratorConforms(WithModel, ChatModelIntegrationTests):
    documents = False


# ---- answers from the documents ----------------------------------------------------------------------------------


def test_an_answer_brings_its_citations(rag: Rag) -> None:
    message = rag.as_chat_model(k=2).invoke(COPPER)
    assert message.text == rag.ask(COPPER, top_k=2).text
    metadata = message.response_metadata
    assert metadata["citations"][0]["quote"] == "Copper melts at 1085 degrees Celsius."
    assert metadata["citations"][0]["source"] == "metals.txt"
    assert not metadata["abstained"]
    assert len(metadata["passages"]) == 2
    assert metadata["model_name"] == "extractive"
    assert message.usage_metadata == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def test_an_abstention_is_an_answer_that_says_so(rag: Rag) -> None:
    config = rag.config.model_copy(update={"answer": rag.config.answer.model_copy(update={"min_confidence": 1.0})})
    with rag.beside(config, same_index=True) as strict:
        message = strict.as_chat_model().invoke(COPPER)
    assert message.text == "The documents don't hold an answer to this."
    assert message.response_metadata["abstained"]
    assert message.response_metadata["citations"] == []


def test_what_is_streamed_is_the_checked_text(home: Path) -> None:
    """A model's invention is never shown: nothing can be taken back in a LangChain stream."""
    wrote = "Copper melts at 1085 degrees Celsius. Gold melts at 9999 degrees."
    with open_rag(home / "docs", home / "index", answer__min_confidence=0.0) as rag:
        rag._llm = FakeListChatModel(responses=[wrote])
        chunks = list(rag.as_chat_model().stream(COPPER))
    assert [c.text for c in chunks] == ["Copper melts at 1085 degrees Celsius. [1]", ""]
    last = chunks[-1]
    assert last.chunk_position == "last"
    assert last.response_metadata["reason"] == "1 unsupported sentence was dropped"
    assert last.usage_metadata is not None
    assert last.usage_metadata["input_tokens"] > 0
    assert last.usage_metadata["total_tokens"] == (
        last.usage_metadata["input_tokens"] + last.usage_metadata["output_tokens"]
    )


def test_sentences_are_streamed_one_by_one(rag: Rag) -> None:
    chunks = [c.text for c in rag.as_chat_model().stream("At what temperature do copper and iron melt?")]
    assert len(chunks) >= 3
    assert "".join(chunks) == rag.ask("At what temperature do copper and iron melt?").text


def test_stop_cuts_the_answer(rag: Rag) -> None:
    assert rag.as_chat_model().invoke(COPPER, stop=["1085"]).text == "Copper melts at "
    assert RagChatModel(rag=rag, stop=["1085"]).invoke(COPPER).text == "Copper melts at "


def test_payloads_stay_the_documents_words(tmp_path: Path) -> None:
    """Through the retriever, a chain's template, both kinds of answers, and the prompt that a model gets."""
    from langchain_core.prompts import ChatPromptTemplate

    docs = tmp_path / "docs"
    docs.mkdir()
    names = [NAMES[n % len(NAMES)].replace(".txt", f" {n}.txt") for n in range(len(PAYLOADS))]
    for n, payload in enumerate(PAYLOADS):
        (docs / names[n]).write_text(f"Herons number {n} say {payload} here.\n", encoding="utf-8")
    template = ChatPromptTemplate.from_messages([("system", "Answer."), ("human", "{context} {question}")])
    with open_rag(docs, tmp_path / "index", answer__min_confidence=0.0, split__max_tokens=100) as rag:
        rag.sync()
        for n, payload in enumerate(PAYLOADS):
            asked = f"What do herons number {n} say?"
            only: Any = {"k": 1, "filter": {"path": names[n]}}
            (found,) = rag.as_retriever(**only).invoke(asked)
            assert found.metadata["source"] == names[n]
            assert all(line in found.page_content for line in payload.split("\n"))
            source, metadata = rag.source(found.metadata["source"]), found.metadata
            assert source.text[metadata["start_index"] : metadata["end_index"]] == found.page_content
            filled = template.invoke({"context": found.page_content, "question": payload}).to_messages()
            assert filled[1].content == f"{found.page_content} {payload}"
            message = rag.as_chat_model(**only).invoke(asked)
            cited = message.response_metadata["citations"]
            assert all(source.text[c["start"] : c["end"]] == c["quote"] for c in cited)
            assert message.text == " ".join(f"{' '.join(c['quote'].split())} [{c['number']}]" for c in cited)
            with rag.beside(rag.config, same_index=True) as beside:
                beside._parts["generator"] = generator = Scripted("Nothing.")
                beside.as_chat_model(**only).invoke(asked)
            system, human = (m.content for m in generator.got)
            (marker,) = re.findall(r"^<(\w+)>$", human, re.MULTILINE)
            fenced = human.partition(f"<{marker}>\n")[2].partition(f"\n</{marker}>\n")[0]
            assert marker in system
            assert found.page_content in fenced
            assert all(line not in human.replace(fenced, "") for line in payload.split("\n") if line.strip())
            assert human.count(marker) == 2


def test_filter_and_turns(rag: Rag, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = rag.answerer.ask
    monkeypatch.setattr(rag.answerer, "ask", lambda *args, **more: (asked.append(args), real(*args, **more))[1])
    talk = [SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hi."), HumanMessage(COPPER)]
    message = rag.as_chat_model(filter="type=md").invoke(talk)
    assert {p["source"] for p in message.response_metadata["passages"]} == {"birds.md"}
    assert asked[0][:2] == (COPPER, [Message("user", "Hello"), Message("assistant", "Hi.")])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([AIMessage("Hello")], "the last message is an assistant message"),
        ([SystemMessage("Be brief.")], "the last message is missing"),
        ([HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])], "holds image"),
        ([HumanMessage("x"), ToolMessage("y", tool_call_id="1")], "tool calls or results"),
        ([HumanMessage(" ")], "the question is empty"),
    ],
)
def test_what_is_no_question(rag: Rag, messages: list[Any], told: str) -> None:
    with pytest.raises(QueryError, match=told):
        rag.as_chat_model().invoke(messages)


def test_another_model_for_one_call_is_refused(rag: Rag) -> None:
    assert rag.as_chat_model().invoke(COPPER, model="extractive").text
    with pytest.raises(QueryError, match="this chat model is extractive, the call asks for gpt-5"):
        rag.as_chat_model().invoke(COPPER, model="gpt-5")


# ---- the model alone ---------------------------------------------------------------------------------------------


def scripted(rag: Rag, *words: str) -> tuple[Scripted, GeneratorChatModel]:
    other = Rag(rag.config)
    other._parts["generator"] = generator = Scripted(*words)
    model = other.as_chat_model(documents=False)
    assert isinstance(model, GeneratorChatModel)
    return generator, model


def test_the_model_alone_gets_the_messages_as_they_are(rag: Rag) -> None:
    generator, model = scripted(rag, "Iron ", "melts.")
    message = model.invoke([SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hi."), HumanMessage("Iron?")])
    assert message.text == "Iron melts."
    assert [m.role for m in generator.got] == ["system", "user", "assistant", "user"]
    assert message.usage_metadata == {"input_tokens": 22, "output_tokens": 11, "total_tokens": 33}
    assert message.response_metadata["model_name"] == "scripted"
    assert [c.text for c in model.stream("x")] == ["Iron ", "melts.", ""]


def test_a_stop_string_stops_the_model(rag: Rag) -> None:
    generator, model = scripted(rag, "one E", "ND", " two")
    assert model.invoke("x", stop=["END"]).text == "one "
    assert generator.stopped.is_set()


def test_there_is_no_model_without_documents_when_none_is_configured(rag: Rag) -> None:
    with pytest.raises(ConfigError, match="writes nothing without documents"):
        rag.as_chat_model(documents=False)


# ---- asynchronous ------------------------------------------------------------------------------------------------


async def test_the_event_loop_goes_on_while_the_model_writes(rag: Rag) -> None:
    """Between two words the model waits for something that only the loop can do."""
    generator, model = scripted(rag, "Iron ", "melts.")
    loop = asyncio.get_running_loop()

    def wait_for_the_loop(number: int) -> None:
        done = threading.Event()
        loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    generator.after = wait_for_the_loop
    assert [c.text async for c in model.astream("x")] == ["Iron ", "melts.", ""]
    assert (await model.ainvoke("x")).text == "Iron melts."


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
async def test_a_cancelled_call_stops_the_model(rag: Rag, way: str) -> None:
    generator, model = scripted(rag, *("word " for _ in range(10_000)))
    writing, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def after(number: int) -> None:
        if number == 3:
            loop.call_soon_threadsafe(writing.set)
            go_on.wait(10)

    generator.after = after

    async def use() -> None:
        if way == "ainvoke":
            await model.ainvoke("x")
        async for _ in model.astream("x"):
            pass

    task = asyncio.create_task(use())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await asyncio.to_thread(generator.stopped.wait, 5)


def test_leaving_a_stream_stops_the_model(rag: Rag) -> None:
    generator, model = scripted(rag, *("word " for _ in range(10_000)))
    for _ in model.stream("x"):
        break
    assert generator.stopped.wait(5)


def test_a_stopped_answer_is_no_answer(rag: Rag) -> None:
    generator, model = scripted(rag, "one", "two", "three")
    cancel = threading.Event()
    generator.after = lambda number: cancel.set()
    with pytest.raises(Cancelled):
        list(model._pieces([HumanMessage("x")], (), cancel))
