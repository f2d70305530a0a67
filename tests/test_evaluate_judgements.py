"""Judged questions: their plain form both ways, what is refused and how, and the public sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import JudgementError
from rag.evaluate.formats import read_dataset
from rag.evaluate.judgements import (
    Dataset,
    Evidence,
    Judgement,
    cleaned,
    find_quote,
    located,
    read_jsonl,
    write_jsonl,
)
from rag.load.decode import clean
from rag.types import Span

ROOT = Path(__file__).parents[1]
METAL = "Copper melts at 1085 °C.\nTin melts\n at 232 °C."


def refused(path: Path) -> JudgementError:
    with pytest.raises(JudgementError) as caught:
        read_dataset(path)
    assert caught.value.hint
    return caught.value


def lines(folder: Path, *rows: object, name: str = "q.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def about(*evidence: Evidence, **fields: object) -> Judgement:
    return Judgement("q1", "At what temperature?", (evidence,), origin="q.jsonl:1", **fields)


# ---- plain JSONL -------------------------------------------------------------------------------------------------


def test_a_flat_list_is_one_thing_to_find_and_a_nested_one_several(tmp_path: Path) -> None:
    tin, copper = {"source": "a.txt", "quote": "Tin"}, {"source": "b.txt", "start": 0, "end": 6, "grade": 2}
    path = lines(
        tmp_path,
        {"id": "1", "question": "either?", "evidence": [tin, copper]},
        {"id": "2", "question": "both?", "evidence": [[tin], [copper]], "group": "metals", "about": "b.txt"},
        {"id": "3", "question": "neither?"},
        {"id": "4", "question": "answers alone?", "answers": ["yes"]},
    )
    one, two = Evidence("a.txt", quote="Tin"), Evidence("b.txt", Span(0, 6), grade=2)
    found = read_dataset(path)
    assert (found.name, found.documents) == ("q", None)
    assert [j.evidence for j in found.judgements] == [((one, two),), ((one,), (two,)), (), ()]
    assert [j.answerable for j in found.judgements] == [True, True, False, True]
    assert found.judgements[1].group == "metals"
    assert found.judgements[1].about == "b.txt"
    assert found.judgements[2].origin == "q.jsonl:3"


texts = st.text(max_size=20)
filled = st.text(min_size=1, max_size=20).filter(str.strip)
spans = st.tuples(st.integers(0, 99), st.integers(1, 99)).map(lambda p: Span(p[0], p[0] + p[1]))
places = st.builds(Evidence, filled, st.none() | spans, texts, st.integers(1, 4))
nuggets = st.lists(st.lists(places, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)
bodies = st.tuples(nuggets, st.lists(filled, max_size=2).map(tuple), st.none() | texts, st.none() | texts)


@settings(max_examples=60)
@given(st.lists(bodies, min_size=1, max_size=4))
def test_writing_and_reading_gives_the_same(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    judgements = [
        Judgement(f"q{i}", f"{i}?\u2028", evidence, answers, bool(evidence or answers), group, about)
        for i, (evidence, answers, group, about) in enumerate(rows)
    ]
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    write_jsonl(path, judgements)
    assert read_jsonl(path).judgements == tuple(judgements)


GOOD = {"id": "1", "question": "what?", "answers": ["x"]}
BAD_LINES = {
    "id: is missing": {"question": "what?"},
    "id: is blank": {**GOOD, "id": " "},
    "id: is 7": {**GOOD, "id": 7},
    "question: is missing": {"id": "2"},
    "question: is ['what?']": {**GOOD, "question": ["what?"]},
    "answerd: there is no such field": {**GOOD, "answerd": []},
    "answerable: is 'no'": {**GOOD, "answerable": "no"},
    "answerable: is false, yet there is evidence or an answer": {**GOOD, "answerable": False},
    "evidence: there is neither evidence nor an answer": {"id": "2", "question": "what?", "answerable": True},
    "answers: is 'x'": {**GOOD, "answers": "x"},
    "answers[1]: is blank": {**GOOD, "answers": ["x", " "]},
    "answers[1]: is 384": {**GOOD, "answers": ["x", 384]},
    "evidence: is {'source': 'a'}": {**GOOD, "evidence": {"source": "a"}},
    "evidence[1]: is 'a.txt'": {**GOOD, "evidence": [{"source": "a"}, "a.txt"]},
    "evidence[0]: is [": {**GOOD, "evidence": [[{"source": "a"}], {"source": "a"}]},
    "evidence[0]: is an empty list": {**GOOD, "evidence": [[]]},
    "evidence[1][0].source: is missing": {**GOOD, "evidence": [[{"source": "a"}], [{"quote": "b"}]]},
    "evidence[0].quotes: there is no such field": {**GOOD, "evidence": [{"source": "a", "quotes": "b"}]},
    "evidence[0].end: is missing": {**GOOD, "evidence": [{"source": "a", "start": 1}]},
    "evidence[0].start: is missing": {**GOOD, "evidence": [{"source": "a", "end": 1}]},
    "evidence[0].start: is True": {**GOOD, "evidence": [{"source": "a", "start": True, "end": 2}]},
    "evidence[0].start: is 1.5": {**GOOD, "evidence": [{"source": "a", "start": 1.5, "end": 2}]},
    "evidence[0].end: [5, 2) is no span": {**GOOD, "evidence": [{"source": "a", "start": 5, "end": 2}]},
    "evidence[0].end: [-1, 2) is no span": {**GOOD, "evidence": [{"source": "a", "start": -1, "end": 2}]},
    "evidence[0]: is Evidence(source='a', span=None, quote='', grade=0)": {
        **GOOD,
        "evidence": [{"source": "a", "grade": 0}],
    },
    "is 7": "7",
    "column 10: not JSON: ": '{"id": 1,, "question"}',
    "not JSON: ": "[" * 100_000,
    "not JSON: 'Exceeds": '{"id": ' + "1" * 5000 + "}",
    "question: character 1 is half of a surrogate pair": '{"id": "2", "question": "a\\ud800"}',
}


@pytest.mark.parametrize("told", BAD_LINES)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, told: str) -> None:
    error = refused(lines(tmp_path, {**GOOD, "id": "0", "question": "first?"}, "", BAD_LINES[told]))
    assert error.message.startswith(f"q.jsonl:3: {told}"), error.message


def test_one_question_over_several_lines_is_told_how_it_has_to_be(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(GOOD, indent=1), encoding="utf-8")
    error = refused(path)
    assert error.message.startswith("q.jsonl:1: column 2: not JSON: ")
    assert error.hint.startswith("each line has to be one whole JSON object")


def test_the_documented_questions_are_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    path = tmp_path / "q.jsonl"
    path.write_text(guide.partition("```json\n")[2].partition("```")[0], encoding="utf-8")
    assert [j.answers for j in read_jsonl(path).judgements] == [("19 hours",), ()]


def test_ids_and_questions_come_once(tmp_path: Path) -> None:
    error = refused(lines(tmp_path, GOOD, {**GOOD, "question": "which?"}))
    assert error.message == "q.jsonl:2: id: '1' is taken: q.jsonl:1"
    error = refused(lines(tmp_path, GOOD, {"id": "2", "question": "What? ", "answers": ["y"]}))
    assert error.message == "q.jsonl:2: question: 'What? ' is asked twice"
    assert "q.jsonl:1 asks it with other answers" in error.hint
    error = refused(lines(tmp_path, GOOD, {"id": "2", "question": "What?", "answers": ["X", "y"]}))
    assert "with the same answers" in error.hint
    elsewhere = {"id": "2", "question": "What?", "answers": ["y"], "about": "b.txt"}
    assert len(read_dataset(lines(tmp_path, GOOD, elsewhere)).judgements) == 2  # each about another document


def test_empty_missing_and_not_utf8(tmp_path: Path) -> None:
    assert refused(lines(tmp_path)).message.endswith("q.jsonl: is empty")
    assert refused(lines(tmp_path, "", " ")).message.endswith("q.jsonl: is empty")
    assert refused(tmp_path / "none.jsonl").message.endswith("none.jsonl: no such file")
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"id": "1"}\n{"question": "caf\xe9"}')
    assert refused(path).message == "latin.jsonl:2: not UTF-8: byte 0xe9"
    with pytest.raises(JudgementError, match="nothing: holds no questions"):
        Dataset("nothing", ())


def test_bom_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert read_dataset(path).judgements[0].id == "1"


def test_what_is_not_recognised_says_what_was_seen(tmp_path: Path) -> None:
    for text, seen in {
        "Question,Answer\nx,y\n": "it begins with 'Question,Answer'",
        '{"user_input": "x", "reference": "y"}\n': "an object with 'user_input', 'reference'",
        "question,references,source\nx,y\n": "it begins with 'question,references,source'",
        "[1, 2]": "JSON that begins with [1, 2]",
        '{\n "a": 1\n}': "an object with 'a'",
        "{}": "an object with nothing",
    }.items():
        path = tmp_path / "x.json"
        path.write_text(text)
        error = refused(path)
        assert error.message == f"{path}: not a known set of questions: {seen}"
        assert all(name in error.hint for name in ("SQuAD", "BEIR", "Chroma", "CLAPNQ", "JSON lines"))
    folder = tmp_path / "f"
    folder.mkdir()
    assert refused(folder).message.endswith("a folder with nothing in it")
    for name in ("questions_df.csv", "clapnq_dev.jsonl"):
        (folder / name).touch()
    assert "a folder with chroma and clapnq together" in refused(folder).message


# ---- evidence and its text ---------------------------------------------------------------------------------------


def test_quotes_find_their_places() -> None:
    (j,) = located([about(Evidence("m", quote="Tin melts at 232"), Evidence("m", Span(0, 6)))], {"m": METAL}.get)
    assert j.evidence == ((Evidence("m", Span(25, 42), "Tin melts\n at 232"), Evidence("m", Span(0, 6), "Copper")),)
    (j,) = located([about(Evidence("m", quote="melts at"))], {"m": METAL}.get)
    assert [e.span.cut(METAL) for e in j.places] == ["melts at", "melts\n at"]  # either place is enough
    assert located([about(Evidence("m"))], {"m": METAL}.get) == [about(Evidence("m"))]  # a whole document


@pytest.mark.parametrize(
    ("evidence", "message", "hint"),
    [
        (Evidence("no.txt", Span(0, 1)), "source: there is no 'no.txt'", "relative"),
        (Evidence("m", Span(40, 99)), "end: [40, 99) is outside m, which has 46 characters", "changed"),
        (Evidence("m", Span(0, 3), "Tin"), "quote: 'Tin' isn't at [0, 3) of m: there is 'Cop'", "stands at [25, 28)"),
        (Evidence("m", quote="Lead melts"), "quote: 'Lead melts' stands nowhere in m", "copy it"),
    ],
)
def test_evidence_that_is_not_there(evidence: Evidence, message: str, hint: str) -> None:
    with pytest.raises(JudgementError) as caught:
        located([about(Evidence("m"), evidence)], {"m": METAL}.get)
    assert caught.value.message == f"q.jsonl:1: evidence[0].{message}"
    assert hint in caught.value.hint


@given(st.text("ab \n", max_size=12), st.text("ab \n", min_size=1, max_size=4))
def test_a_quote_is_found_where_the_words_are(text: str, quote: str) -> None:
    found = find_quote(quote, text)
    assert all(s.cut(text).split() == quote.split() for s in found)
    if quote.strip() and quote.strip() in text:
        assert found


def test_cleaning_documents_moves_the_spans() -> None:
    text = "\ufeffTin\ufeff melts\r\nat 232"
    spans = [Span(1, 4), Span(6, 11), Span(13, 19)]
    judged = about(*(Evidence("m", s, s.cut(text)) for s in spans), Evidence("n", Span(0, 1), "x"))
    done = cleaned(Dataset("d", (judged,), {"m": text, "n": "xy"}), clean)
    assert done.documents == {"m": "Tin melts\nat 232", "n": "xy"}
    assert [e.span for e in done.judgements[0].places] == [Span(0, 3), Span(4, 9), Span(10, 16), Span(0, 1)]
    assert located(done.judgements, done.documents.get) == list(done.judgements)


# ---- public sets, in small ---------------------------------------------------------------------------------------


def squad(folder: Path, answers: list[dict], **more: object) -> Path:
    qa = {"id": 7, "question": "how hot?", "answers": answers, **more}
    body = {"data": [{"title": "Metals", "paragraphs": [{"context": METAL, "qas": [qa]}, {"context": "", "qas": []}]}]}
    path = folder / "squad.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def test_squad(tmp_path: Path) -> None:
    golds = [{"text": "1085 °C", "answer_start": 16}, {"text": "1085", "answer_start": 16}] * 2
    found = read_dataset(squad(tmp_path, golds))
    assert (found.format, found.documents) == ("squad", {"00000.txt": METAL, "00001.txt": ""})
    (j,) = found.judgements
    assert (j.id, j.group, j.about, j.answers) == ("7", "Metals", "00000.txt", ("1085 °C", "1085"))
    assert [[e.span for e in nugget] for nugget in j.evidence] == [[Span(16, 23), Span(16, 20)]]
    (j,) = read_dataset(squad(tmp_path, [], is_impossible=True)).judgements
    assert not j.answerable
    assert j.about == "00000.txt"


def test_squad_ids_come_once_and_contradictions_are_counted(tmp_path: Path) -> None:
    def file(*qas: tuple[str, list[dict]]) -> Path:
        asked = [{"id": key, "question": "How hot?", "answers": answers} for key, answers in qas]
        body = {"data": [{"paragraphs": [{"context": METAL, "document_id": 630, "qas": asked}]}]}
        return lines(tmp_path, body, name="squad.json")

    copper, tin = [{"text": "1085", "answer_start": 16}], [{"text": "232", "answer_start": 39}]
    error = refused(file(("1", copper), ("1", copper)))
    assert error.message.endswith("qas[1]: id: '1' is taken: squad.json: data[0].paragraphs[0].qas[0]")
    assert read_dataset(file(("1", copper), ("2", copper))).warnings == ()
    for other in (tin, []):
        found = read_dataset(file(("1", copper), ("2", other)))
        assert found.warnings == ("1 questions are asked twice, with different answers",)
        assert found.judgements[0].group == "630"


def test_squad_offsets(tmp_path: Path) -> None:
    found = read_dataset(squad(tmp_path, [{"text": " melts", "answer_start": 26}]))
    assert [e.span for e in found.judgements[0].places] == [Span(29, 34)]  # the nearer one, without the blank
    assert found.warnings == (
        "1 answers don't stand at their answer_start: taken where they stand nearest, at most 2 characters away",
    )
    place = "squad.json: data[0].paragraphs[0].qas[0]"
    error = refused(squad(tmp_path, [{"text": "Lead", "answer_start": 0}]))
    assert error.message == f"{place}.answers[0].text: 'Lead' stands nowhere in its paragraph"
    error = refused(squad(tmp_path, [{"text": "Tin", "answer_start": "25"}]))
    assert error.message == f"{place}.answers[0].answer_start: is '25'"
    error = refused(squad(tmp_path, [{"text": "Tin", "answer_start": 25}], is_impossible=True))
    assert error.message == f"{place}.is_impossible: is true, yet there are answers"
    error = refused(squad(tmp_path, [{"text": "Tin", "answer_start": 25}], question=None))
    assert error.message == f"{place}.question: is missing"


def beir(folder: Path, qrels: str, name: str = "test") -> Path:
    corpus = [{"_id": "d/1", "title": "Tin", "text": "It melts."}, {"_id": ".x", "title": "", "text": "Bare."}]
    lines(folder, *corpus, name="corpus.jsonl")
    lines(folder, {"_id": "q1", "text": "what melts?"}, {"_id": "q2", "text": "unused?"}, name="queries.jsonl")
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / f"{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    return folder


def test_beir(tmp_path: Path) -> None:
    found = read_dataset(beir(tmp_path, "q1\td/1\t2\nq1\t.x\t1\nq2\td/1\t0\n"))
    assert found.documents == {"d%2F1.txt": "Tin\n\nIt melts.", "%2Ex.txt": "Bare."}
    assert found.judgements == (
        Judgement("q1", "what melts?", ((Evidence("d%2F1.txt", grade=2),), (Evidence("%2Ex.txt"),))),
    )
    assert found.warnings == ("1 queries have no relevant document: left out",)
    beir(tmp_path, "q2\td/1\t1\n", name="dev")
    assert read_dataset(tmp_path / "qrels" / "dev.tsv").judgements[0].id == "q2"


def test_beir_files_that_do_not_fit(tmp_path: Path) -> None:
    for row, told in {
        "q9\td/1\t1": "query-id: there is no 'q9' in queries.jsonl",
        "q1\td9\t1": "corpus-id: there is no 'd9' in corpus.jsonl",
        "q1\td/1\thigh": "score: is 'high'",
        "q1\td/1\t--1": "score: is '--1'",
        "q1\td/1\t" + 5000 * "9": f"score: is '{56 * '9'}...",
        "q1\td/1": "score: is missing",
    }.items():
        assert refused(beir(tmp_path, row)).message == f"test.tsv:2: {told}"
    assert refused(beir(tmp_path, "q1\td/1\t0\n")).message.endswith("holds no questions")
    assert "is one file of a BEIR set" in refused(tmp_path / "corpus.jsonl").message
    (tmp_path / "qrels" / "test.tsv").rename(tmp_path / "qrels" / "dev.tsv")
    assert "qrels/ has dev.tsv" in refused(tmp_path).hint


def chroma(folder: Path, references: str, corpus: str = "metals") -> Path:
    (folder / "corpora").mkdir(exist_ok=True)
    (folder / "corpora" / "metals.md").write_text(METAL, encoding="utf-8", newline="")
    path = folder / "questions_df.csv"
    row = '"what\nmelts?","' + references.replace('"', '""') + f'",{corpus}\n'
    path.write_text(f"question,references,corpus_id\n{row}", encoding="utf-8")
    return path


def test_chroma(tmp_path: Path) -> None:
    two = [{"content": METAL[a:b], "start_index": a, "end_index": b} for a, b in ((0, 6), (25, 28))]
    path = chroma(tmp_path, json.dumps(two))
    for found in map(read_dataset, (path, tmp_path)):
        (j,) = found.judgements
        assert found.documents == {"metals.txt": METAL}
        assert [[e.span for e in nugget] for nugget in j.evidence] == [[Span(0, 6)], [Span(25, 28)]]
        assert (j.group, j.answers, j.question) == ("metals", (), "what\nmelts?")
    wrong = json.dumps([{**two[0], "start_index": 1}])
    assert refused(chroma(tmp_path, wrong)).message.startswith("questions_df.csv:3: evidence[0].quote: 'Copper' isn't")
    assert "there is no corpora/wood.md" in refused(chroma(tmp_path, json.dumps(two), "wood")).message
    assert "references" in refused(chroma(tmp_path, "[{")).message
    backwards = refused(chroma(tmp_path, json.dumps([{**two[0], "end_index": 0}])))
    assert backwards.message == "questions_df.csv:3: references[0].end_index: [0, 0) is no span"


def test_clapnq(tmp_path: Path) -> None:
    def row(key: str, *outputs: dict) -> dict:
        return {"id": key, "input": f"{key}?", "passages": [{"title": "M", "text": METAL}], "output": list(outputs)}

    copper, tin = "Copper melts at 1085 °C.", "Tin melts\n at 232 °C."
    rows = [
        row(
            "a", *({"answer": a, "selected_sentences": s} for a, s in (("x", [copper]), ("y", [copper, tin]), ("", [])))
        ),
        row("b", {"answer": "", "selected_sentences": []}),
        row("c", {"answer": "x", "selected_sentences": []}),
    ]
    found = read_dataset(lines(tmp_path, *rows, name="clapnq_dev.jsonl"))
    a, b, c = found.judgements
    assert a.evidence == (
        (Evidence("00000.txt", Span(0, 24), copper, 2),),
        (Evidence("00000.txt", Span(25, 46), tin, 1),),
    )
    assert (a.answers, a.answerable, a.about, a.group) == (("x", "y"), True, "00000.txt", "M")
    assert (b.answerable, b.about) == (False, "00001.txt")
    assert c.evidence == ((Evidence("00002.txt", Span(0, 46), METAL),),)
    assert read_dataset(tmp_path).judgements == found.judgements
    error = refused(
        lines(tmp_path, row("a", {"answer": "x", "selected_sentences": ["Lead."]}), name="clapnq_dev.jsonl")
    )
    assert error.message.endswith("selected_sentences: 'Lead.' stands in none of its passages")


# ---- the real ones -----------------------------------------------------------------------------------------------


def test_the_sample_questions(tmp_path: Path) -> None:
    found = read_dataset(ROOT / "data" / "questions.jsonl")
    assert (found.format, found.documents, len(found.judgements)) == ("jsonl", None, 80)
    assert sum(j.answerable for j in found.judgements) == 60
    assert all(e.span and len(j.evidence) == 1 for j in found.judgements for e in j.places)
    texts = {
        p.relative_to(ROOT / "data/documents").as_posix(): p.read_text() for p in ROOT.glob("data/documents/**/*.md")
    }
    in_markdown = [j for j in found.judgements if j.answerable and all(e.source in texts for e in j.places)]
    assert len(in_markdown) > 20
    assert len(located(in_markdown, texts.get)) == len(in_markdown)
    write_jsonl(tmp_path / "again.jsonl", found.judgements)
    assert (tmp_path / "again.jsonl").read_bytes() == (ROOT / "data" / "questions.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("path", "form", "questions", "answerable", "documents", "groups"),
    [
        ("squad/dev-v1.1.json", "squad", 8844, 8844, 1714, 38),
        ("xquad/xquad.zh.json", "squad", 1190, 1190, 240, 48),
        ("covid-qa/covid-qa.json", "squad", 1380, 1380, 98, 98),
        ("chroma-chunking", "chroma", 472, 472, 5, 5),
        ("clapnq", "clapnq", 600, 300, 600, 584),
    ],
)
def test_public_sets(
    shared: Path, path: str, form: str, questions: int, answerable: int, documents: int, groups: int
) -> None:
    found = read_dataset(shared / "data" / path)
    assert (found.format, len(found.judgements), len(found.documents or {})) == (form, questions, documents)
    assert sum(j.answerable for j in found.judgements) == answerable
    assert len({j.group for j in found.judgements}) == groups
    done = cleaned(found, clean)  # Rhine and some Chinese paragraphs hold byte-order marks
    for before, after in zip(found.judgements, done.judgements, strict=True):
        for e, moved in zip(before.places, after.places, strict=True):
            assert found.documents[e.source][e.span.start : e.span.end] == e.quote
            assert done.documents[moved.source][moved.span.start : moved.span.end] == moved.quote == clean(e.quote)


def test_what_public_sets_say_of_themselves(shared: Path) -> None:
    found = read_dataset(shared / "data/covid-qa/covid-qa.json")
    assert found.warnings[0].startswith("234 answers don't stand at their answer_start")
    assert found.warnings[0].endswith("at most 3 characters away")
    chroma = read_dataset(shared / "data/chroma-chunking")
    assert sum(len(j.evidence) for j in chroma.judgements) == 790
    assert refused(shared / "data/sec-10-q/qna_data.csv").message.endswith(
        "'Question,Source Docs,Question Type,Source Chunk Type,Ans..."
    )
