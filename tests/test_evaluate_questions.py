"""Questions from a folder: which are made, which are dropped, that each is what it says, and the command."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes_embed import FakeEmbedder
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import write

from rag.cli import app
from rag.errors import JudgementError
from rag.evaluate.judgements import Judgement, check_ids, located, read_jsonl, repeated, write_jsonl
from rag.evaluate.questions import KINDS, Made, make_questions
from rag.evaluate.questions.cloze import clozes
from rag.evaluate.questions.corpus import Folder, Tools, holds, plain
from rag.evaluate.questions.pieces import Cloze, Words
from rag.evaluate.questions.verbs import FORMS
from rag.sentences import guess_language, sentence_spans
from rag.store.analyze import Analyzer
from rag.types import Heading, Location, Passage, Source, Span

ANALYZER = Analyzer("english")


def source(path: str, text: str, title: str | None = None) -> Source:
    """Markdown, as the loader would have it."""
    found = re.finditer(r"^(#+) (.+)$", text, re.MULTILINE)
    return Source(path, text, "md", title, headings=tuple(Heading(m.start(), len(m[1]), m[2]) for m in found))


def tools(sources: Sequence[Source]) -> Tools:
    """A search over paragraphs, by the number of words in common."""
    passages = [
        Passage(1, f"{s.path}{m.start()}", s.path, "md", Span(*m.span()), m[0], Location(None, 1), 0.0)
        for s in sources
        for m in re.finditer(r"[^\n]+", s.text)
    ]

    def search(question: str, k: int) -> list[Passage]:
        wanted = set(ANALYZER.query_terms(question))
        return sorted(passages, key=lambda p: -len(wanted & set(ANALYZER.terms(p.text))))[:k]

    return Tools(sentence_spans, guess_language, ANALYZER.terms, ANALYZER.query_terms, search)


def make(*sources: Source, n: int = 100, **more: Any) -> Made:
    return make_questions(sources, tools(sources), n, **more)


def asked(made: Made, kind: str = "cloze") -> dict[str, tuple[str, ...]]:
    return {j.question: j.answers for j in made.judgements if j.kind == kind}


def of(sentence: str, around: str = "", language: str = "en") -> list[Cloze]:
    """All that is asked of a sentence, in a folder that holds it and `around`."""
    sources = [source("a.md", f"{sentence}\n\n{around}")]
    folder = Folder(sources, tools(sources))
    return clozes(plain(sentence), language, Words(folder.is_common, folder.names_in))


# ---- a question in words -----------------------------------------------------------------------------------------

# what is seen of the names elsewhere in the folder: a capital inside a sentence is what makes a name
SEEN = (
    "People know Marie Curie and the Heron Archive and Jane Doe. They use the hop size, a full rebuild and tombstones."
)
WORDED = {
    "The hop size is 10 ms.": ("What is the hop size?", "10 ms"),
    "The hop size is about 10 ms for speech.": ("What is the hop size for speech?", "10 ms"),
    "A full rebuild takes 19 hours on Curlew.": ("How many hours does a full rebuild take on Curlew?", "19"),
    "There are 12 narrow tables in the reading room.": ("How many narrow tables are there in the reading room?", "12"),
    "The Heron Archive was founded in 1987.": ("When was the Heron Archive founded?", "1987"),
    "In May 1990, the Heron Archive moved to Aarhus.": ("When did the Heron Archive move to Aarhus?", "May 1990"),
    "The index format was designed by Jane Doe.": ("Who or what was the index format designed by?", "Jane Doe"),
    "A tombstone is the mark of a file that was deleted.": (
        "What is a tombstone?",
        "the mark of a file that was deleted",
    ),
    "Marie Curie discovered radium in a shed at the school.": (
        "Who or what discovered radium in a shed at the school?",
        "Marie Curie",
    ),
    "A model can hold 256 tokens in one pass.": ("How many tokens can a model hold in one pass?", "256"),
}


@pytest.mark.parametrize(("sentence", "wanted"), WORDED.items())
def test_a_safe_shape_becomes_a_question(sentence: str, wanted: tuple[str, str]) -> None:
    found = {c.question: c.answers[0] for c in of(sentence, SEEN) if c.worded}
    assert found.get(wanted[0]) == wanted[1], found


NOT_WORDED = [
    "The first tower built by Doe was the Heron Archive in 1902.",  # "built" isn't the predicate
    "A telephone call at 8 kHz that is cut to 16 kHz fits the model.",
    "By 1931 the tram company operated 47 streetcars over narrow track.",
]


@pytest.mark.parametrize("sentence", NOT_WORDED)
def test_what_no_rule_is_sure_of_stays_a_sentence(sentence: str) -> None:
    assert [c.question for c in of(sentence, SEEN) if c.worded] == []


def test_a_gap_leaves_the_rest_of_the_sentence() -> None:
    (found,) = [c for c in of("Tombstones, marks of what is gone, are kept for 30 days.", SEEN) if c.piece == "number"]
    assert found.question == "Complete: Tombstones, marks of what is gone, are kept for ____ days."


@pytest.mark.parametrize(
    ("sentence", "language", "gap"),
    [
        (
            "纽卡斯尔的市场在1835年开业时是欧洲最大的市场之一。",
            "zh",
            "填空：纽卡斯尔的市场在____开业时是欧洲最大的市场之一。",
        ),
        (
            "Archive halten etwa 40 Gespräche in drei Sprachen.",
            "de",
            "Ergänze: Archive halten etwa ____ Gespräche in drei Sprachen.",
        ),
        ("Архив хранит около 40 бесед на трёх языках.", "ru", "Архив хранит около ____ бесед на трёх языках."),
    ],
)
def test_other_languages_get_gaps(sentence: str, language: str, gap: str) -> None:
    assert [c.question for c in of(sentence, language=language)] == [gap]


LEFT_OUT = [
    "It takes 19 hours to make the index anew.",  # what does?
    "This rebuild takes 19 hours on the workstation.",
    "The company was founded in 1987 by Jane Doe.",  # which company?
    "However, a full rebuild takes 19 hours.",
    "As said above, a full rebuild takes 19 hours.",
    "A full rebuild takes as long as in the previous section, 19 hours.",
    "We keep every tombstone for 30 days.",
    "He founded the Heron Archive in 1987.",
    "Takes 19 h.",
    "A full rebuild takes 19 hours",  # a heading, a cell
    "Does a full rebuild take 19 hours?",
    "Heron Archive Certification pursuant to Rule 13 of Jane Doe.",  # no verb
    "Sales costs Sales costs include 40 trips to Aarhus.",  # a heading that ran into the text
    " ".join(["A full rebuild takes 19 hours and"] * 7) + " ends.",
]


@pytest.mark.parametrize("sentence", LEFT_OUT)
def test_what_needs_its_context_is_not_asked(sentence: str) -> None:
    assert of(sentence, SEEN) == []


@pytest.mark.parametrize(
    ("sentence", "piece"),
    [
        ("A good alpha lies between 0.6 and 0.7 for most folders.", "number"),  # one end of a range
        ("The model called Heron 2.0 reads speech and music.", "number"),  # a version
        ("A mean loss of 30 days (4 weeks) was reported for tapes.", None),
        ("Tapes may last for 30 days in a warm room.", "number"),  # perhaps
        ("The army of the old kings was fought by the Heron soldiers of old.", "name"),  # an adjective
    ],
)
def test_pieces_that_cannot_be_checked_are_no_gaps(sentence: str, piece: str | None) -> None:
    found = of(sentence, SEEN)
    if piece is None:
        assert [c.answers[0] for c in found] == ["30"]  # and not the 4 in brackets
    else:
        assert [c for c in found if c.piece == piece] == []


def test_a_gap_whose_words_stand_elsewhere_in_the_sentence_is_none() -> None:
    found = of("Jane Doe showed Jane Heron the way from Aarhus in May 1990.", SEEN + " We know Jane Heron of Aarhus.")
    assert {c.answers[0] for c in found} == {"Aarhus", "May 1990"}


def test_verb_forms() -> None:
    assert FORMS["takes"] == ("does", "take")
    assert FORMS["carried"] == ("did", "carry")
    assert FORMS["stopped"] == ("did", "stop")
    assert "set" not in FORMS  # past or present can't be told


# ---- against the folder ------------------------------------------------------------------------------------------

REBUILD = "A full rebuild takes 19 hours on Curlew."
ASKED = "How many hours does a full rebuild take on Curlew?"


def test_another_answer_elsewhere_drops_the_question() -> None:
    other = source("b.md", "On old Curlew a full rebuild used to take 25 hours, as hours went.")
    assert ASKED in asked(make(source("a.md", REBUILD)))
    assert ASKED not in asked(make(source("a.md", REBUILD), other))


def test_the_same_answer_elsewhere_is_evidence_too() -> None:
    other = source("b.md", "On Curlew one may take 19 hours for a full rebuild.")
    made = make(source("a.md", REBUILD), other)
    (judgement,) = [j for j in made.judgements if j.question == ASKED]
    assert [e.source for e in judgement.places] == ["a.md", "b.md"]


def test_a_sentence_that_stands_twice_is_asked_once_with_both_places() -> None:
    made = make(source("a.md", REBUILD), source("b.md", f"# Copy\n\n{REBUILD}"))
    (judgement,) = made.judgements
    assert [(e.source, e.span) for e in judgement.places] == [("a.md", Span(0, 40)), ("b.md", Span(8, 48))]


def test_markdown_is_quoted_as_it_stands_and_asked_without() -> None:
    made = make(source("a.md", "- A **full rebuild** takes 19 hours\n  on `Curlew`."))
    (judgement,) = made.judgements
    assert judgement.question == ASKED
    assert next(judgement.places).quote == "A **full rebuild** takes 19 hours\n  on `Curlew`."


def test_code_tables_and_headings_are_not_asked() -> None:
    text = f"# {REBUILD}\n\n```\n{REBUILD[:-1]} in code.\n```\n\n| {REBUILD[:-1]} in a table. |\n"
    with pytest.raises(JudgementError, match="0 sentences of prose"):
        make(source("a.md", text))
    with pytest.raises(JudgementError):
        make(replace(source("a.py", REBUILD), kind="code"))


def test_ids_and_questions_stay_when_other_files_come() -> None:
    more = source("b.md", "A narrow tape lasts 40 years in a cold room.")
    before, after = make(source("a.md", REBUILD)), make(source("a.md", f"Prelude goes here.\n\n{REBUILD}"), more)
    ids = {j.question: j.id for j in after.judgements}
    assert len(ids) == 2
    assert ids[ASKED] == before.judgements[0].id


def test_a_question_of_too_few_words_is_dropped() -> None:
    made = make(source("a.md", "There were tapes made in 1962. The hop size is 10 ms. Nobody sees a hop."))
    assert set(asked(made)) == {"What is the hop size?"}  # and not "There were tapes made in ____."


# ---- headings ----------------------------------------------------------------------------------------------------

LONG = "The rate says how many times a second the pressure was measured, and nothing else at all about it."


def test_a_heading_is_asked_for_with_its_text_as_evidence() -> None:
    text = (
        f"# Audio\n\n## Sampling rate\n\n{LONG}\n\n## Notes\n\n{LONG}\n\n## Short\n\nToo short.\n\n## HNSW\n\n{LONG}\n"
    )
    made = make(source("a.md", text + "\nOne sampling after the other.\n"), kinds=["heading"])
    assert set(asked(made, "heading")) == {
        "What does “Audio” say about sampling rate?",
        "What does “Audio” say about HNSW?",  # as written, while "Notes" says too little and "Short" is too short
    }
    (place,) = next(j for j in made.judgements if "rate" in j.question).places
    assert place.quote == LONG


def test_headings_that_name_two_places_are_not_asked_for() -> None:
    text = f"# Audio\n\n## Sampling\n\n{LONG}\n\n## Sampling\n\n{LONG}\n\n## Levels\n\n{LONG}\n"
    assert set(asked(make(source("a.md", text), kinds=["heading"]), "heading")) == {
        "What does “Audio” say about Levels?"
    }


def test_a_document_without_a_title_has_no_heading_questions() -> None:
    with pytest.raises(JudgementError, match="no question"):
        make(source("a.md", f"## One\n\n{LONG}\n\n## Two\n\n{LONG}\n"), kinds=["heading"])


# ---- unanswerable ------------------------------------------------------------------------------------------------


def founded(name: str, *years: int) -> str:
    rest = f"Many people visit {name} in summer. Everyone likes {name} in winter."
    return " ".join(f"{name} was founded in {year}." for year in years) + " " + rest


def test_a_name_is_swapped_for_one_of_another_file() -> None:
    heron, plover = source("h.md", founded("Heron House", 1987)), source("p.md", founded("Plover House"))
    wren = source("w.md", "The Wren Trust was praised in 1990. Plover House was praised in 1991.")
    made = make(heron, plover, wren, kinds=["unanswerable"])
    (judgement,) = [j for j in made.judgements if "founded" in j.question]
    assert judgement.question == "When was Plover House founded?"
    assert "“Heron House” became “Plover House”" in (judgement.note or "")


def test_what_the_folder_does_answer_is_not_called_unanswerable() -> None:
    heron, plover = source("h.md", founded("Heron House", 1987)), source("p.md", founded("Plover House", 1990))
    for kinds in (["unanswerable"], KINDS):
        try:
            made = make(heron, plover, kinds=kinds)
        except JudgementError:
            continue
        assert [j for j in made.judgements if not j.answerable and "founded" in j.question] == []


def test_the_full_text_is_asked_and_not_only_the_search() -> None:
    sources = [source("h.md", founded("Heron House", 1987)), source("p.md", founded("Plover House", 1990))]
    blind = replace(tools(sources), search=lambda question, k: [])
    with pytest.raises(JudgementError, match="no question"):
        make_questions(sources, blind, 10, kinds=["unanswerable"])


def test_a_heading_is_not_asked_of_a_file_that_holds_most_of_its_words() -> None:
    one = source("a.md", f"# Audio\n\n## Sampling grid zones\n\n{LONG}\n")
    two = source("t.md", "# Text\n\nA sampling grid is of no use here, and is not asked about in this text.\n")
    with pytest.raises(JudgementError, match="no question"):
        make(one, two, kinds=["unanswerable"])
    three = source("i.md", "# Images\n\nAll pictures have one size here.\n")
    (judgement,) = make(one, two, three, kinds=["unanswerable"]).judgements
    assert judgement.group == "i.md"


def test_a_heading_of_another_file_is_asked_only_where_most_of_its_words_are_missing() -> None:
    audio = source("a.md", f"# Audio\n\n## Sampling grid\n\n{LONG}\n")
    images = source("i.md", f"# Images\n\n## Cropping borders\n\n{LONG}\n\n## People\n\n{LONG} Few people read it.\n")
    text = source(
        "t.md", f"# Text\n\n## Token budget\n\n{LONG} A sampling grid of cropping borders is no matter here.\n"
    )
    made = make(audio, images, text, kinds=["unanswerable"])
    pairs = {
        (m[1], m[2].lower()) for q in asked(made, "unanswerable") if (m := re.match(r".*“(.+)” say about (.+)\?", q))
    }
    assert len(pairs) == 3  # none about people: a word that any text may hold
    assert pairs <= {
        ("Audio", "cropping borders"),
        ("Audio", "token budget"),
        ("Images", "sampling grid"),
        ("Images", "token budget"),
    }


def test_headings_that_point_at_the_text_above_are_not_asked_for() -> None:
    text = f"# Audio\n\n## Why they agree\n\n{LONG}\n\n## Sampling grid\n\n{LONG}\n"
    assert set(asked(make(source("a.md", text), kinds=["heading"]), "heading")) == {
        "What does “Audio” say about Sampling grid?"
    }


# ---- properties --------------------------------------------------------------------------------------------------

nouns = st.sampled_from(["copper wire", "signal lamp", "paper tape", "glass valve", "brass wheel", "steel spring"])
places = st.sampled_from(["Aarhus", "Bergen", "Calgary", "Dresden", "Espoo"])
sentence = st.one_of(
    st.builds("The {} length is {} mm in the {} store.".format, nouns, st.integers(2, 999), places),
    st.builds("A {} lasts {} years in a dry room at {}.".format, nouns, st.integers(2, 99), places),
    st.builds("In {}, the {} was sold to {} for scrap.".format, st.integers(1900, 1999), nouns, places),
    st.builds("It costs **{}** crowns in {}.".format, st.integers(2, 99), places),
    st.builds("Workers in {} polished every {} by hand.".format, places, nouns),
)
section = st.builds(
    lambda heading, body: f"## {heading}\n\n{' '.join(body)}\n", nouns.map(str.title), st.lists(sentence, max_size=4)
)
files = st.lists(st.lists(section, min_size=1, max_size=3), min_size=1, max_size=4).map(
    lambda all_: [source(f"{i}.md", f"# Store {'ABCD'[i]}\n\n" + "\n".join(s)) for i, s in enumerate(all_)]
)


def made_of(sources: Sequence[Source], **more: Any) -> Made | None:
    """None: the folder gives nothing, and that was said."""
    try:
        return make(*sources, **more)
    except JudgementError as error:
        if "can be made of" not in error.message:
            raise
        return None


@settings(max_examples=80)
@given(files, st.integers(1, 30), st.integers(0, 3))
def test_each_question_is_what_it_says(
    tmp_path_factory: pytest.TempPathFactory, sources: list, n: int, seed: int
) -> None:
    made = made_of(sources, n=n, seed=seed)
    if made is None:
        return
    texts = {s.path: s.text for s in sources}
    assert 0 < len(made.judgements) <= n
    assert sum(made.counts.values()) == len(made.judgements)
    assert located(made.judgements, texts.get) == list(made.judgements)  # each quote stands at its span
    check_ids(made.judgements)
    assert repeated(made.judgements) == []
    for j in made.judgements:
        check_one(j, texts)
    path = tmp_path_factory.getbasetemp() / "made.jsonl"
    write_jsonl(path, made.judgements)
    assert read_jsonl(path).judgements == made.judgements


def check_one(j: Judgement, texts: dict[str, str]) -> None:
    quotes = [" ".join(e.quote.split()) for e in j.places]
    assert j.kind in KINDS
    assert j.answerable == bool(quotes) == (j.kind != "unanswerable")
    assert bool(j.answers) == (j.kind == "cloze")
    assert bool(j.note) == (j.kind == "unanswerable")
    if j.kind == "cloze":
        assert j.answers[0] in quotes[0]
        assert all(holds(quote, j.answers) for quote in quotes)
        assert not holds(j.question, j.answers)
        assert "It costs" not in j.question
    for negative in j.hard_negatives:
        assert negative.span is not None
        assert not any(e.source == negative.source and e.span and e.span.overlap(negative.span) for e in j.places)
        assert not holds(negative.span.cut(texts[negative.source]), j.answers)


@settings(max_examples=30)
@given(files, st.integers(0, 3))
def test_the_same_folder_and_seed_give_the_same(sources: list, seed: int) -> None:
    once, again = made_of(sources, seed=seed), made_of(sources[::-1], seed=seed)
    assert once == again or (once and again and sorted_by_id(once) == sorted_by_id(again))


def sorted_by_id(made: Made) -> list[tuple[str, str, tuple[str, ...]]]:
    """Without the negatives, whose order among equals is the search's own."""
    return [(j.id, j.question, j.answers) for j in made.judgements]


def many(count: int, word: str = "tape") -> Iterable[str]:
    return (f"The {word} number {chr(97 + i)}{chr(97 + i)}x has a length of {i + 20} mm." for i in range(count))


def test_another_seed_chooses_others_and_files_get_equal_shares() -> None:
    sources = [source(f"{w}.md", "\n\n".join(many(20, w))) for w in ("tape", "wire", "lamp")]
    first, second = (make(*sources, n=12, seed=seed, kinds=["cloze"]) for seed in (0, 1))
    assert Counter(j.group for j in first.judgements) == {"tape.md": 4, "wire.md": 4, "lamp.md": 4}
    assert {j.id for j in first.judgements} != {j.id for j in second.judgements}


def test_kinds_get_equal_shares_and_one_fills_up_for_another() -> None:
    prose = "\n\n".join(many(20))
    heads = "\n".join(f"## Topic {w}\n\n{LONG}\n" for w in ("zinc", "iron", "lead"))
    made = make(source("a.md", f"# Metals\n\n{prose}\n\n{heads}"), n=6, kinds=["cloze", "heading"])
    assert made.counts == {"cloze": 3, "heading": 3}
    made = make(source("a.md", f"# Metals\n\n{prose}\n\n{heads}"), n=16, kinds=["cloze", "heading"])
    assert made.counts == {"cloze": 13, "heading": 3}
    assert made.notes == ()
    made = make(source("a.md", f"# Metals\n\n{prose}\n\n{heads}"), n=500)
    assert [note.split(" questions")[0] for note in made.notes[1:]] == [f"{len(made.judgements)} of 500"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n": 0}, "0 questions are asked for"),
        ({"unanswerable": 1.5}, "the share of unanswerable questions is 1.5"),
        ({"kinds": ["cloze", "riddle"]}, "there is no kind of question 'riddle'"),
        ({"kinds": []}, "no kind of question is named"),
    ],
)
def test_wrong_wishes_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(JudgementError) as caught:
        make(source("a.md", REBUILD), **wrong)
    assert caught.value.message == told
    assert caught.value.hint


# ---- the command -------------------------------------------------------------------------------------------------

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("rag.embed.TextEmbedder", lambda config: FakeEmbedder())
    monkeypatch.setenv("RAG_LOAD__WORKERS", "1")
    monkeypatch.setenv("RAG_SPLIT__MAX_TOKENS", "24")
    monkeypatch.chdir(tmp_path)
    text = f"# Curlew\n\n## Rebuilding\n\n{REBUILD} {LONG}\n"
    write(tmp_path / "docs", a_md=text, b_md="# Tape\n\nA narrow tape lasts 40 years in a cold room.\n")
    return lambda *args: CliRunner().invoke(app, ["questions", *map(str, args)])


def test_the_command_writes_what_evaluate_reads(run: Run, tmp_path: Path) -> None:
    done = run("--from", "docs", "--out", "q.jsonl", "--json")
    assert done.exit_code == 0, done.output
    found = read_jsonl(tmp_path / "q.jsonl").judgements
    told = json.loads(done.stdout)
    assert told["questions"] == len(found)
    assert told["cloze"] == sum(j.kind == "cloze" for j in found) == 2
    assert told["heading"] == sum(j.kind == "heading" for j in found) == 1
    assert "rag evaluate --data q.jsonl --docs docs" in done.stderr
    assert any(j.hard_negatives for j in found)
    assert [p.name for p in tmp_path.glob("*.jsonl*")] == ["q.jsonl"]


def test_an_edited_file_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text("mine")
    done = run("--from", "docs")
    assert done.exit_code == 1
    assert "questions.jsonl exists" in done.stderr
    assert "--force" in done.stderr
    assert (tmp_path / "questions.jsonl").read_text() == "mine"
    assert run("--from", "docs", "--force").exit_code == 0
    assert read_jsonl(tmp_path / "questions.jsonl").judgements


def test_only_the_kinds_that_are_named(run: Run, tmp_path: Path) -> None:
    assert run("--docs", "docs", "--kinds", "heading", "-n", "5").exit_code == 0
    assert [j.kind for j in read_jsonl(tmp_path / "questions.jsonl").judgements] == ["heading"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("-n", 0), "0 questions are asked for"),
        (("--kinds", "riddle"), "there is no kind of question 'riddle'"),
        (("--out", "nowhere/q.jsonl"), "there is no folder nowhere"),
        (("--out", "docs"), "docs is a folder"),
        (("--unanswerable", -1), "the share of unanswerable questions is -1.0"),
    ],
)
def test_bad_input_is_told_before_anything_is_done(run: Run, tmp_path: Path, args: tuple[Any, ...], told: str) -> None:
    done = run("--from", "docs", *args)
    assert done.exit_code == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 2  # and a hint
    assert not (tmp_path / "data").exists()


def test_a_folder_that_gives_nothing_says_what_it_takes(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "dull", a_txt="Hello there, dear reader.")
    done = run("--from", "dull")
    assert done.exit_code == 1
    assert "can be made of 1 files" in done.stderr
    assert not (tmp_path / "questions.jsonl").exists()
