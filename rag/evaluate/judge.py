"""A language model as the judge of an answer: is it correct, do the passages say each of its statements?

    question, short answers ┐
    statements (fenced)     ├──prompts/judge.yaml──> model ──read_reply──> Verdict
    passages (fenced)       ┘                                   └─ or what is wrong with the reply: `invalid`

Nothing asks one unless `evaluate.judge` says so. A reply that lacks one of the verdicts wanted is invalid: it is
counted, it is shown, and nothing of it is used. A judge is fooled more easily than a rule: what it reads was written
by others, and by a model like itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from rag.config import Config
from rag.errors import Cancelled, ConfigError, ContextOverflow, GenerationError, GeneratorDown, QueryError
from rag.evaluate.judgements import Judgement
from rag.evaluate.report import Judged, Row, Verdict
from rag.generate import Generator
from rag.prompt import BuiltPrompt, build_prompt, find_prompt, load_prompt, one_line
from rag.types import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = 300  # characters of a reply
NO_ANSWER_KNOWN = "(none is known)"


class Judge:
    """Light to make: the prompt file is read, the model isn't loaded."""

    def __init__(self, config: Config, generator: Generator) -> None:
        """Raises PromptError."""
        self.generator = generator
        self._budget = config.prompt.max_tokens
        self.template = load_prompt(find_prompt(config.prompt.directory, config.prompt.judge), "judge")

    def __call__(self, j: Judgement, answer: Answer) -> Verdict:
        """Raises GeneratorDown where the model can't be reached; any other failure is a problem of this verdict."""
        wanted = [*(["correct"] if j.answers else []), *(str(n) for n, _ in enumerate(answer.statements, 1))]
        left_out = 0
        try:
            built = self._prompt(j, answer, wanted)
            left_out = len(built.left_out)
            reply = self._reply(built, wanted)
        except (GeneratorDown, Cancelled):
            raise
        except (GenerationError, QueryError) as error:
            what = "the prompt doesn't fit" if isinstance(error, ContextOverflow | QueryError) else "the model failed"
            return Verdict(problem=f"{what}: {one_line(error.message)}", left_out=left_out)
        said, problem = read_reply(reply, wanted)
        shown = one_line(reply)[:KEPT]
        if problem:
            return Verdict(problem=problem, reply=shown, left_out=left_out)
        grounded = tuple(said[key] for key in wanted if key != "correct")
        return Verdict(said.get("correct"), grounded, reply=shown, left_out=left_out)

    def summary(self, rows: Sequence[Row]) -> Judged:
        verdicts = [row.verdict for row in rows if row.verdict]
        text = f"{self.template.system}\n\n{self.template.user}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        invalid = sum(v.invalid for v in verdicts)
        return Judged(self.generator.name, self.template.name, digest, len(verdicts), invalid)

    def _prompt(self, j: Judgement, answer: Answer, wanted: Sequence[str]) -> BuiltPrompt:
        cited = {n for s in answer.statements for n in s.citations}
        statements = "\n".join(f"{n}. {one_line(s.text)}" for n, s in enumerate(answer.statements, 1))
        answers = "\n".join(map(one_line, j.answers)) or NO_ANSWER_KNOWN
        return build_prompt(
            self.template,
            one_line(j.question),
            sorted(answer.passages, key=lambda p: p.number not in cited),
            count=self.generator.count,
            budget=min(self._budget, self.generator.context_window - self.generator.max_new_tokens),
            quoted={"answers": answers, "statements": statements},
            values={"form": "\n".join(f"{key}:" for key in wanted)},
        )

    def _reply(self, built: BuiltPrompt, wanted: Sequence[str]) -> str:
        """As far as it matters: what a talkative model adds behind its last verdict isn't waited for."""
        text = ""
        stream: Any = self.generator.stream(built.messages)
        with closing(stream):
            for piece in stream:
                text += piece
                if "\n" in piece and not read_reply(text[: text.rindex("\n") + 1], wanted)[1]:
                    break
        return text


def make_judge(config: Config, generator: Generator | None) -> Judge:
    """`generator` None: the extractive one, which can't judge."""
    if generator is None:
        raise ConfigError(
            "evaluate.judge is generator, but generate.kind is extractive, which can't judge",
            "name a language model: --generator smollm2 or openai:MODEL (generate.kind and generate.model); "
            "or leave the judge out (evaluate.judge: none)",
        )
    return Judge(config, generator)


# ---- its reply ---------------------------------------------------------------------------------------------------

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_VERDICT = re.compile(  # `correct: yes`, `- **2**: No, because …`, `"1": "yes",`; but not `1: yes or no`
    r"""(?:^|[{,;\n])[\s"'*`#>\[(-]*(?:statement\s+)?(correct|\d{1,3})["'*`\])]*\s*[:=]["'*`\s]*"""
    r"""(yes|no|true|false)\b(?!["'*`]*\s*(?:/|\||or\b))""",
    re.IGNORECASE,
)


def read_reply(reply: str, wanted: Sequence[str]) -> tuple[dict[str, bool], str]:
    """The verdicts up to the last one wanted, and what is wrong with the reply ("": nothing).

    >>> read_reply("correct: Yes\\n1: no, it says 1084.", ["correct", "1"])
    ({'correct': True, '1': False}, '')
    >>> read_reply("correct: yes or no", ["correct", "1"])
    ({}, 'no verdict on correct, 1')
    """
    found: dict[str, bool] = {}
    for key, value in _verdicts(_THOUGHT.sub("", reply)):
        if key not in wanted:
            continue
        if found.setdefault(key, value) is not value:
            return {}, f"both yes and no on {key}"
        if len(found) == len(wanted):
            return found, ""
    if not reply.strip():
        return {}, "the reply is empty"
    return {}, f"no verdict on {', '.join(key for key in wanted if key not in found)}"


def _verdicts(text: str) -> Iterator[tuple[str, bool]]:
    for match in _VERDICT.finditer(text):
        key, said = match[1].casefold(), match[2].casefold()
        yield key.lstrip("0") or key, said in ("yes", "true")
