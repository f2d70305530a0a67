"""An agent that searches your documents: LangChain's `create_agent` with our tool.

    python examples/agent.py "How long are tombstones kept?" --docs data/documents
    python examples/agent.py "How long are tombstones kept?" --docs papers --model openai:gpt-5-mini

Without --model a stand-in plays the model, so that the example runs without an account or a network: it calls the tool
once with your question and quotes the best passage. Any chat model with tool calling takes its place; LangChain's
`init_chat_model` reads its name and the provider's package (here langchain-openai) its key from the environment.
"""

from __future__ import annotations

import argparse
from typing import Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from rag import Rag

INSTRUCTIONS = (
    "Answer from the user's documents. Search them before you answer, in other words again if the first search doesn't "
    "help. After each statement name its place in brackets, such as [notes.md, line 12]. If they don't say, say so."
)


class StandIn(BaseChatModel):
    """Calls the first tool with the user's question, then quotes the best passage with its place."""

    tool: str = ""

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Any, **kwargs: Any) -> StandIn:
        return StandIn(tool=tools[0].name)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        last = messages[-1]
        if isinstance(last, HumanMessage):
            call = {"name": self.tool, "args": {"query": last.text}, "id": "1", "type": "tool_call"}
            message = AIMessage("", tool_calls=[call])
        elif isinstance(last, ToolMessage) and last.artifact:
            best = last.artifact[0]
            place = f"page {best['page']}" if best["page"] else f"line {best['line']}"
            message = AIMessage(f"{best['text']} [{best['source']}, {place}]")
        else:
            message = AIMessage(f"I found nothing: {last.text}")
        return ChatResult(generations=[ChatGeneration(message=message)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An agent that searches your documents.")
    parser.add_argument("question")
    parser.add_argument("--docs", default="data/documents", help="the document folder")
    parser.add_argument("--model", help="such as openai:gpt-5-mini; default: a stand-in")
    given = parser.parse_args(arguments)
    model = init_chat_model(given.model) if given.model else StandIn()
    with Rag.open(docs=given.docs) as rag:
        rag.sync()
        agent = create_agent(model, tools=[rag.as_tool()], system_prompt=INSTRUCTIONS)
        for step in agent.stream({"messages": [HumanMessage(given.question)]}, stream_mode="updates"):
            for update in step.values():
                for message in update["messages"]:
                    message.pretty_print()


if __name__ == "__main__":
    main()
