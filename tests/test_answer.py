"""Answers: cited, checked, or declined. Models are scripted, the embedder is the real one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answer import NOT_FOUND
from rag.answer.evidence import sentences
from rag.answer.lists import MOST, lists, said
from rag.build import Rag
from rag.errors import Cancelled, GeneratorDown, QueryError
from rag.generate.attribution import strip_markers
from rag.generate.extractive import asked_for, coverage, is_named
from rag.sentences import sentence_spans
from rag.types import Location, Message, Passage, Span

HANDBOOK = """# Speech
## Windows
The window is 25 ms long. The hop size is 10 ms, so neighbouring windows share 15 ms.
## Rate
Wav2Vec2 expects a sampling rate of 16 kHz. Recordings at 44.1 kHz are resampled first.
"""
NOTES = """Backups run every night at 02:30. They are kept for 35 days in the Lisbon archive.
Maria Keller wrote the restore guide in 2019.
"""


class Scripted:
    """A generator that says what it is told to, word by word."""

    name, context_window, max_new_tokens = "scripted", 4096, 64

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.prompts: list[Sequence[Message]] = []

    def count(self, messages: Sequence[Message]) -> int:
        return sum(self.count_text(m.content) for m in messages)

    def count_text(self, text: str) -> int:
        return len(text.split())

    def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
        self.prompts.append(messages)
        for word in self.replies.pop(0).split(" "):
            if cancel is not None and cancel.is_set():
                return
            yield word + " "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    docs = tmp_path_factory.mktemp("answer") / "docs"
    docs.mkdir()
    (docs / "speech.md").write_text(HANDBOOK)
    (docs / "notes.txt").write_text(NOTES)
    return docs


@pytest.fixture
def answering(folder: Path, make_real_rag: Callable[..., Rag]) -> Callable[..., Rag]:
    def make(generator: Any = None, **settings: Any) -> Rag:
        return make_real_rag({"generator": generator}, folder, folder.parent / "index", **settings)

    return make


# ---- extractive ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "words", "label"),
    [
        ("How long is the hop size?", "10 ms", "speech.md:3 (Speech > Windows)"),
        ("Which sampling rate does Wav2Vec2 expect?", "16 kHz", "speech.md:5 (Speech > Rate)"),
        ("How many days are backups kept?", "35 days", "notes.txt:1"),
        ("Who wrote the restore guide?", "Maria Keller", "notes.txt:2"),
    ],
)
def test_the_first_sentence_answers(answering: Callable[..., Rag], question: str, words: str, label: str) -> None:
    answer = answering().ask(question)
    assert not answer.abstained
    assert words in answer.statements[0].text
    assert answer.citations[0].label == label
    assert words in answer.citations[0].quote


def test_every_citation_is_the_sources_words(answering: Callable[..., Rag]) -> None:
    rag = answering()
    answer = rag.ask("When do backups run and how long are they kept?")
    numbers = {p.number: p for p in answer.passages}
    assert answer.citations
    for citation in answer.citations:
        source = rag.source(citation.source)
        assert citation.verified
        assert citation.span.cut(source.text) == citation.quote
        assert source.line_at(citation.span.start) == citation.location.line
        assert numbers[citation.number].source == citation.source
    assert {n for s in answer.statements for n in s.citations} == {c.number for c in answer.citations}


def test_a_sentence_of_a_quote_reads_on(answering: Callable[..., Rag], folder: Path) -> None:
    (folder / "reply.txt").write_text("Fine.\n\n> The crate of ripe mangoes weighs\n> 37 kg, says Ann.\n\nBest, Tom\n")
    (folder / "rule.txt").write_text("A crate of green papayas is heavy if its weight is\n> 21 kg, says Ann.\n")
    answer = answering().ask("How much does the crate of ripe mangoes weigh?")
    assert answer.statements[0].text == "The crate of ripe mangoes weighs 37 kg, says Ann."
    assert answer.citations[0].quote == "The crate of ripe mangoes weighs\n> 37 kg, says Ann."
    answer = answering().ask("When is a crate of green papayas heavy?")
    assert answer.statements[0].text == "A crate of green papayas is heavy if its weight is > 21 kg, says Ann."


def test_no_answer_rather_than_a_wrong_one(answering: Callable[..., Rag]) -> None:
    answer = answering().ask("Which volcano erupted in Iceland in 2010?")
    assert answer.abstained
    assert answer.text == NOT_FOUND
    assert not answer.citations
    assert answer.reason is not None
    assert "min_confidence" in answer.reason


def test_the_threshold_is_the_settings(answering: Callable[..., Rag]) -> None:
    assert answering(answer__min_confidence=1.0).ask("How long is the hop size?").abstained
    assert not answering(answer__min_confidence=0.0).ask("Which volcano erupted in Iceland?").abstained


def test_confidence_falls_when_the_words_are_missing(answering: Callable[..., Rag]) -> None:
    rag = answering()
    assert rag.ask("How long is the hop size?").confidence > rag.ask("How heavy is the blue whale?").confidence


def test_a_filter_holds_for_the_answer(answering: Callable[..., Rag]) -> None:
    answer = answering(answer__min_confidence=0.0).ask("How long is the hop size?", filter="path=notes.txt")
    assert {p.source for p in answer.passages} == {"notes.txt"}


def test_lexical_search_alone_answers_too(answering: Callable[..., Rag]) -> None:
    assert "10 ms" in answering().ask("How long is the hop size?", kind="lexical").text


def test_a_quote_that_left_the_catalog_is_dropped(
    answering: Callable[..., Rag], monkeypatch: pytest.MonkeyPatch
) -> None:
    rag = answering()
    monkeypatch.setattr(rag.reader.catalog, "text_at", lambda path, generation, span: "something else")
    answer = rag.ask("How long is the hop size?")
    assert answer.abstained
    assert not answer.citations


def test_a_statement_goes_with_its_own_quote(answering: Callable[..., Rag], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when another quote of the same passage still stands."""
    rag = answering()
    whole = rag.ask("When do backups run and how long are they kept?")
    assert len({c.span for c in whole.citations if c.number == whole.citations[0].number}) > 1
    lost, catalog = whole.citations[0], rag.reader.catalog
    real = catalog.text_at
    monkeypatch.setattr(catalog, "text_at", lambda p, g, span: None if span == lost.span else real(p, g, span))
    answer = rag.ask("When do backups run and how long are they kept?")
    assert answer.dropped_quotes == 1
    assert lost.quote not in answer.text
    assert answer.citations


# ---- questions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ["", "  ", "\x00\x1b", "\u200b"])
def test_questions_of_nothing(answering: Callable[..., Rag], question: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        answering().ask(question)


def test_an_overlong_question(answering: Callable[..., Rag]) -> None:
    with pytest.raises(QueryError, match="100,000"):
        answering().ask("x" * 100_000)


def test_control_characters_are_spaces(answering: Callable[..., Rag]) -> None:
    answer = answering().ask("How long is\x00 the\x1b[31m hop\nsize\ud800?")
    assert answer.question.startswith("How long is the [31m hop size")
    assert "10 ms" in answer.text


# ---- language models, held against the passages --------------------------------------------------------------------


def test_what_the_passages_say_is_kept_and_cited(answering: Callable[..., Rag]) -> None:
    answer = answering(Scripted("The hop size is 10 ms.")).ask("How long is the hop size?")
    assert answer.statements[0].text == "The hop size is 10 ms."
    assert answer.citations[0].quote.startswith("The hop size is 10 ms")
    assert answer.generator == "scripted"
    assert answer.tokens["prompt"] > 0
    assert answer.tokens["completion"] > 0


@pytest.mark.parametrize(
    "lie",
    [
        "The hop size is 12 ms.",  # another number
        "The hop size is 10 ms, said Albert Einstein.",  # a name that stands nowhere
        "Bananas are rich in potassium.",  # something else
    ],
)
def test_lies_are_dropped_and_the_documents_speak(answering: Callable[..., Rag], lie: str) -> None:
    answer = answering(Scripted(lie)).ask("How long is the hop size?")
    assert lie not in answer.text
    assert "10 ms" in answer.text
    assert answer.generator == "extractive (for scripted)"
    assert answer.reason is not None
    assert "nothing that the passages support" in answer.reason


@pytest.mark.parametrize("said", ["10 ms", "The answer is 10 ms.", "According to the text, the answer is: 10 ms."])
def test_a_short_answer_is_supported_by_the_sentence_that_answers(answering: Callable[..., Rag], said: str) -> None:
    answer = answering(Scripted(said)).ask("How long is the hop size?")
    assert (answer.generator, answer.reason) == ("scripted", None)
    assert answer.statements[0].text == said
    assert answer.citations[0].quote.startswith("The hop size is 10 ms")


@pytest.mark.parametrize(
    "said", ["12 ms", "The answer is 25 minutes.", "The answer.", "Yes.", "The hop size.", "25.", "10 million", "10 %"]
)
def test_a_short_answer_from_nowhere_is_not(answering: Callable[..., Rag], said: str) -> None:
    answer = answering(Scripted(said)).ask("How long is the hop size?")
    assert answer.generator == "extractive (for scripted)"


def test_what_is_said_twice_is_said_once(answering: Callable[..., Rag]) -> None:
    answer = answering(Scripted("The hop size is 10 ms. " * 3)).ask("How long is the hop size?")
    assert answer.text.count("hop size is 10 ms") == 1


def test_a_model_that_failed_is_timed_all_the_same(answering: Callable[..., Rag]) -> None:
    class Slow(Scripted):
        def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
            for piece in super().stream(messages, cancel=cancel):
                threading.Event().wait(0.02)  # a model's speed is what is measured here
                yield piece

    answer = answering(Slow("Bananas are rich in potassium.")).ask("How long is the hop size?")
    assert answer.generator == "extractive (for scripted)"
    assert answer.timings["generate"] >= 0.1 > answer.timings["extract"]


def test_one_lie_among_truths(answering: Callable[..., Rag]) -> None:
    said = "The hop size is 10 ms. The Eiffel Tower is 330 m high."
    dropped = answering(Scripted(said)).ask("How long is the hop size?")
    assert "Eiffel" not in dropped.text
    assert dropped.reason == "1 unsupported sentence was dropped"
    marked = answering(Scripted(said), answer__unsupported="mark").ask("How long is the hop size?")
    assert "Eiffel Tower is 330 m high. [unsupported]" in marked.text
    assert [s.supported for s in marked.statements] == [True, False]


def test_an_empty_reply(answering: Callable[..., Rag]) -> None:
    answer = answering(Scripted("")).ask("How long is the hop size?")
    assert "10 ms" in answer.text
    assert answer.reason is not None
    assert "wrote nothing" in answer.reason


def test_the_model_is_not_asked_without_evidence(answering: Callable[..., Rag]) -> None:
    model = Scripted()
    assert answering(model).ask("Which volcano erupted in Iceland in 2010?").abstained
    assert not model.prompts


def test_events_come_in_order_and_add_up(answering: Callable[..., Rag]) -> None:
    rag = answering(Scripted("The hop size is 10 ms."))
    events = list(rag.stream("How long is the hop size?"))
    kinds = [e.kind for e in events]
    assert kinds[:3] == ["stage", "passages", "stage"]
    assert kinds[-1] == "answer"
    assert "".join(e.value for e in events if e.kind == "text").strip() == "The hop size is 10 ms."


def test_stopping_ends_it(answering: Callable[..., Rag]) -> None:
    cancel = threading.Event()
    stream = answering(Scripted("The hop size is 10 ms.")).stream("How long is the hop size?", cancel=cancel)
    with pytest.raises(Cancelled):
        for event in stream:
            if event.kind == "text":
                cancel.set()


@pytest.mark.parametrize("turn", [{"role": "user", "content": "What is a window?"}, ("user", "What?"), "What?"])
def test_a_history_of_anything_but_messages_is_refused(answering: Callable[..., Rag], turn: Any) -> None:
    with pytest.raises(QueryError, match=r"history\[0\] is .+, no message") as caught:
        answering(None).ask("And the hop?", [turn])
    assert "rag.types.Message" in caught.value.hint


def test_a_follow_up_is_rewritten_with_the_history(answering: Callable[..., Rag]) -> None:
    model = Scripted("How long is the hop size?", "The hop size is 10 ms.")
    history = [Message("user", "What is a window?"), Message("assistant", "A stretch of sound.")]
    answer = answering(model).ask("And the hop?", history)
    assert answer.question == "How long is the hop size?"
    assert "What is a window?" in model.prompts[0][-1].content
    assert "10 ms" in answer.text


def test_a_server_that_is_down_is_an_error_not_an_answer(answering: Callable[..., Rag]) -> None:
    class Down(Scripted):
        def stream(self, messages: Sequence[Message], *, cancel: threading.Event | None = None) -> Iterator[str]:
            raise GeneratorDown("no server at http://127.0.0.1:1", "start it")

    with pytest.raises(GeneratorDown):
        answering(Down()).ask("How long is the hop size?")


def test_the_prompt_is_shown_as_it_is_sent(answering: Callable[..., Rag]) -> None:
    model = Scripted("The hop size is 10 ms.")
    rag = answering(model)
    shown = rag.prompt("How long is the hop size?")
    rag.ask("How long is the hop size?")
    plain = [[m.content.replace(shown.marker, "") for m in shown.messages]]
    assert len(model.prompts[0]) == len(plain[0])
    assert "The hop size is 10 ms" in shown.messages[-1].content


def test_the_extractive_generator_has_no_prompt(answering: Callable[..., Rag]) -> None:
    with pytest.raises(QueryError, match="takes no prompt"):
        answering().prompt("How long is the hop size?")


# ---- the small parts -----------------------------------------------------------------------------------------------


def passage(text: str, start: int = 0) -> Passage:
    return Passage(1, "1x", "a.md", "md", Span(start, start + len(text)), text, Location(None, 1), 0.5)


@given(text=st.text(max_size=300), start=st.integers(0, 1000))
def test_sentences_stand_where_they_say(text: str, start: int) -> None:
    found = sentences([passage(text, start)], lambda t: t.split())
    for candidate in found:
        assert text[candidate.span.start - start : candidate.span.end - start] == candidate.text
        assert candidate.text == candidate.text.strip() != ""
    assert len({c.span.start for c in found}) == len(found)


def test_markup_is_no_part_of_a_sentence() -> None:
    text = "## Hop size\n**Hop size** is a step. It is 10 ms.\n- Use **two** windows.\n1. First `x` then y."
    assert [c.text for c in sentences([passage(text)], str.split)] == [
        "**Hop size** is a step.", "It is 10 ms.", "Use **two** windows.", "First `x` then y.",
    ]  # fmt: skip
    text = '"""A backup.\n\nRuns at 2.\n"""\n\n```sh\nslope 1.03 -0.82\n```\n\n| 3 | a \\| b | |\n\n~~~\n```x 3``` a'
    assert [c.text for c in sentences([passage(text)], str.split)] == [
        "Runs at 2.", "slope 1.03 -0.82", r"3 | a \| b", "```x 3``` a",
    ]  # fmt: skip


def test_a_head_within_the_line_is_no_sentence() -> None:
    text = "**What it measures.** The angle between two vectors. **Never mix models.** It is wrong."
    assert [c.text for c in sentences([passage(text)], str.split)] == [
        "The angle between two vectors.", "Never mix models.", "It is wrong.",
    ]  # fmt: skip


def test_what_only_names_what_comes_is_no_sentence() -> None:
    text = (
        "WHAT THE RATE IS\n\nThree rules follow from it:\n\n| Rate | Hours |\n|---|---|\n| 16 kHz | 12 hours |\n\n"
        "In short.\n\n16 kHz."
    )
    assert [c.text for c in sentences([passage(text)], str.split)] == ["16 kHz | 12 hours", "16 kHz."]


def test_the_sentence_behind_a_question_answers_it() -> None:
    text = "Q1. How long is the hop? Ten milliseconds, in most tools. And the window? It is longer."
    first, second = sentences([passage(text)], str.split)
    assert (first.text, second.text) == ("Ten milliseconds, in most tools.", "It is longer.")
    assert {"How", "long"} <= first.terms
    assert "window?" in second.terms
    assert "long" not in second.terms


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_coverage_is_a_share(question: set[str], held: set[str]) -> None:
    share = coverage(question, held, dict.fromkeys("abcdef", 2.0))
    assert 0 <= share <= 1
    assert (share == 1) == (bool(question) and question <= held)


def test_markers_are_read_and_taken_off() -> None:
    assert strip_markers("It is 10 ms [1].") == ("It is 10 ms.", (1,))
    assert strip_markers("It is [see 4] so [2, 3] [2]") == ("It is [see 4] so", (2, 3))


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [("How many layers has it?", "It has 6 layers.", "It has layers."), ("When was it built?", "In 1889.", "Of iron."),
     ("Who wrote it?", "It was by Maria Keller.", "it was a draft."), ("Why is it so?", "Because it is.", "It is.")],
)  # fmt: skip
def test_what_is_asked_for(question: str, yes: str, no: str) -> None:
    wanted = asked_for(question)
    assert wanted is not None
    assert wanted.search(yes)
    assert not wanted.search(no)


def test_lines_of_name_and_value_answer_each_for_itself(make_real_rag: Callable[..., Rag], docs: Path) -> None:
    docs.mkdir(exist_ok=True)
    text = "---\nservice: billing\nowner: Lena\n---\n\n# Billing\n\nIt sends the bills.\n"
    (docs / "billing.md").write_text(text, encoding="utf-8")
    answer = make_real_rag({}).ask("Who is the owner?")
    first = answer.citations[0]
    assert (first.quote, first.location.line) == ("owner: Lena", 3)


def test_a_line_that_only_names_what_is_asked_of_comes_second(make_real_rag: Callable[..., Rag], docs: Path) -> None:
    docs.mkdir(exist_ok=True)
    (docs / "pump.md").write_text("---\nname: Circulation pump\nprice: 249.90\n---\n\nIt is a quiet one.\n")
    answer = make_real_rag({}).ask("What is the price of the circulation pump?")
    assert [c.quote for c in answer.citations][:2] == ["price: 249.90", "name: Circulation pump"]


def test_a_row_is_cited_below_the_head_of_its_table(make_real_rag: Callable[..., Rag], docs: Path) -> None:
    docs.mkdir(exist_ok=True)
    rows = "".join(f"Part {n},{n} kg\n" for n in range(1, 200))
    (docs / "parts.csv").write_text(f"part,weight\n{rows}Sea anchor,17 kg\n", encoding="utf-8")
    (docs / "notes.md").write_text("The sea anchor is heavy.\n", encoding="utf-8")
    answer = make_real_rag({}).ask("What is the weight of the sea anchor?")
    heads = {c.quote: c.table_head for c in answer.citations}
    assert heads["Sea anchor | 17 kg"] == "| part | weight |"
    assert heads.get("The sea anchor is heavy.", "") == ""
    assert answer.to_dict()["citations"][0]["table_head"] == answer.citations[0].table_head


LISTED = """# Registering

Registration takes two weeks. To register a site you need:

- a floor plan
- proof of
  insurance
- form HA-7, signed

The office is closed on Fridays.

## Steps after an accident

1. Switch off the machine.
2. Call 112.

* Firefox
* Chrome

## Why so?

- It is the law. Nobody likes it. It stays.
- Ask the manager. He knows.
"""


STOCK = (
    "# Stock\n\n| SKU | Part | Stock |\n|---|---|---|\n| HX-1003 | Pump head | 41 |\n| HX-1077 | Valve seat | 7 |\n"
    "| HX-1102 | Gear oil | 120 |\n\n# Rules\n\nThe stock of each SKU is counted on Mondays. The river Dee is brown.\n"
)


@pytest.mark.parametrize(
    ("question", "quotes"),
    [
        ("What is the stock of SKU HX-1077?", ["HX-1077 | Valve seat | 7"]),
        ("What is the stock of gear oil?", ["HX-1102 | Gear oil | 120"]),
        ("What is the stock of SKU HX-1077 and HX-1003?", ["HX-1003 | Pump head | 41", "HX-1077 | Valve seat | 7"]),
    ],
)
def test_a_row_that_is_named_answers_with_its_heads_words_and_alone(
    make_real_rag: Callable[..., Rag], docs: Path, question: str, quotes: list[str]
) -> None:
    docs.mkdir(exist_ok=True)
    (docs / "stock.md").write_text(STOCK)
    answer = make_real_rag({}).ask(question)
    assert not answer.abstained
    assert sorted(c.quote for c in answer.citations if "HX-" in c.quote) == quotes


def test_a_row_is_named_by_most_words_and_every_figure() -> None:
    said = Passage(1, "1x", "a.md", "md", Span(0, len(STOCK)), STOCK, Location(None, 1), 0.5)

    def terms(text: str) -> list[str]:
        return re.findall(r"\w+", text.casefold())

    rows = {c.text[:7]: c for c in sentences([said], terms) if c.head}
    assert set(rows) == {"HX-1003", "HX-1077", "HX-1102"}
    rarity = dict.fromkeys(["hx", "1077", "1078", "stock", "sku", "gear", "oil", "warehouse"], 1.0)

    def named(question: str) -> set[str]:
        return {name for name, row in rows.items() if is_named(row, set(terms(question)), rarity)}

    assert named("stock sku") == set(rows)  # nothing but the head's words: any row may be meant
    assert named("sku HX-1077 stock") == {"HX-1077"}
    assert named("sku HX-1078 stock") == set()
    assert named("stock gear oil warehouse") == {"HX-1102"}
    assert named("stock warehouse") == set()


def test_a_list_is_one_with_what_leads_into_it() -> None:
    found = [c for c in sentences([passage(LISTED, 50)], str.split) if c.listed]
    assert [LISTED[c.span.start - 50 : c.span.end - 50] for c in found] == [c.text for c in found]
    assert [said(c.text) for c in found] == [
        "To register a site you need: a floor plan; proof of insurance; form HA-7, signed",
        "Steps after an accident: 1. Switch off the machine. 2. Call 112.",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("It works.\nBROWSERS\n--------\n\n- Firefox\n- Chrome\n", ["BROWSERS: Firefox; Chrome"]),
        ("Which ones?\n1) Firefox\n2) Chrome", ["Which ones? 1) Firefox; 2) Chrome"]),
        ("It works\nin Firefox\n- it does\n- it does", []),
        ("It works.\n- Firefox\n- Chrome", []),
        ("- Safari\n\nIt works.\n\n- Firefox\n- Chrome", []),
        ("Browsers\n\nAll of these.\n\n- Firefox\n- Chrome", []),
        ("Browsers:\n- Firefox", []),
        ("Need:\n- A\n- B\nIs it?\n1. C\n2. D", ["Need: A; B", "Is it? 1. C; 2. D"]),
    ],
)
def test_what_leads_into_a_list(text: str, told: list[str]) -> None:
    assert [said(s.cut(text)) for s in lists(text, sentence_spans(text))] == told


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            ["- a", "* b c", "1. d", "(b) e", "  more", "and on", "# H", "Need:", "Is it?", "F. G.", "", " "]
        )
    )
)
def test_lists_begin_with_what_leads_in_and_hold_two_items(lines: list[str]) -> None:
    text = "\n".join(lines)
    spans = sentence_spans(text)
    found = [*lists(text, spans)]
    assert all(a.end <= b.start for a, b in pairwise(found))
    for span in found:
        inside = span.cut(text).split("\n")
        items = [line for line in inside if line.lstrip().startswith(("-", "*", "1", "("))]
        assert 1 < len(items) < len([*filter(str.strip, inside)])
        assert span.cut(text) == span.cut(text).strip()
        assert [c for c in said(span.cut(text)) if c.isalnum()] == [c for c in span.cut(text) if c.isalnum()]


def test_a_long_list_is_cut_behind_an_item() -> None:
    text = "Parts:\n" + "".join(f"- part number {n}\n" for n in range(200))
    (span,) = lists(text, sentence_spans(text))
    assert MOST - 30 < span.end - span.start <= MOST
    assert text[span.end] == "\n"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What do I need to register a site?", "need: a floor plan; proof of insurance; form HA-7, signed [1]"),
        ("What are the steps after an accident?", "accident: 1. Switch off the machine. 2. Call 112."),
        ("When is the office closed?", "The office is closed on Fridays. [1]"),
    ],
)
def test_a_list_answers_whole(make_real_rag: Callable[..., Rag], docs: Path, question: str, words: str) -> None:
    docs.mkdir(exist_ok=True)
    (docs / "sites.md").write_text(LISTED.replace("\n* Firefox\n* Chrome\n", ""), encoding="utf-8")
    rag = make_real_rag({})
    answer = rag.ask(question)
    assert words in answer.text
    source = rag.source("sites.md")
    assert all(c.span.cut(source.text) == c.quote for c in answer.citations)
    assert ("floor plan" in answer.text) == ("floor plan" in words)
