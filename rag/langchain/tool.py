"""Search and ask as tools of an agent.

Two tools, not one with a choice: each has one form of result, and a model that picks wrongly between two names does so
more rarely than between values of an argument. `SearchTool` is what `Rag.as_tool()` gives: an agent brings a model of
its own, which writes better from passages than from another model's answer, and may search several times. `AskTool` is
for a short answer whose every quote was looked up, and for a clear "not in the documents".
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import ArgsSchema, BaseTool, ToolException
from pydantic import Field, ValidationError

from rag import agents
from rag.errors import RagError
from rag.types import passage_to_dict

T = TypeVar("T")


class _Tool(BaseTool):
    """An expected error is told to the agent (`ToolException`), and so is a wrong argument; anything else is raised."""

    rag: Any = Field(exclude=True, repr=False)  # rag.build.Rag
    k: int | None = None
    filter: Any = None  # of the program that made the tool: a call can only narrow it
    settings: dict[str, Any] = Field(default_factory=dict)  # of section retrieve
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        if not self.handle_validation_error:
            self.handle_validation_error = self._told

    def _told(self, error: Any) -> str:
        assert isinstance(error, ValidationError)
        schema: Any = self.args_schema
        return agents.problems(error, schema)

    def _wanted(self, k: int | None, path: str | None, type: str | None) -> dict[str, Any]:
        filter: str | Mapping[str, Any] | None = self.filter
        most = self.k if k is None else k
        settings = {**self.settings, **({} if most is None else {"top_k": most})}
        return {"filter": agents.narrowed(filter, path, type), **settings}


class SearchTool(_Tool):
    """Content: numbered passages with their places. Artifact: the same as dictionaries, as in docs/answer.md: LangGraph
    gives anything else back from a checkpoint as something else than went in (Documents as dictionaries)."""

    name: str = "search_documents"
    description: str = agents.SEARCH
    args_schema: ArgsSchema | None = agents.Search

    def _run(
        self, query: str, k: int | None = None, path: str | None = None, type: str | None = None
    ) -> tuple[str, list[dict[str, Any]]]:
        wanted = self._wanted(k, path, type)
        passages = _told_as_tool(lambda: self.rag.retriever.search(query, **wanted).passages)
        return agents.passages_text(passages), [passage_to_dict(p) for p in passages]


class AskTool(_Tool):
    """Content: the answer with its quotes. Artifact: `Answer.to_dict()`."""

    name: str = "ask_documents"
    description: str = agents.ASK
    args_schema: ArgsSchema | None = agents.Ask

    def _run(
        self, question: str, k: int | None = None, path: str | None = None, type: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        return self._ask(question, k, path, type, None)

    async def _arun(
        self, question: str, k: int | None = None, path: str | None = None, type: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """In a thread. A cancelled call stops the model that writes, too."""
        cancel = threading.Event()
        try:
            return await run_in_executor(None, self._ask, question, k, path, type, cancel)
        except asyncio.CancelledError:
            cancel.set()
            raise

    def _ask(
        self, question: str, k: int | None, path: str | None, type: str | None, cancel: threading.Event | None
    ) -> tuple[str, dict[str, Any]]:
        wanted = self._wanted(k, path, type)
        answer = _told_as_tool(lambda: self.rag.ask(question, cancel=cancel, **wanted))
        return agents.answer_text(answer), answer.to_dict()


def _told_as_tool(work: Callable[[], T]) -> T:
    try:
        return work()
    except RagError as error:
        raise ToolException(agents.error_text(error)) from error
