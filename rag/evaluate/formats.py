"""Public sets of questions -> Dataset. What a path holds is told by its content; what isn't recognised is refused.

    *.json     SQuAD 1.1 and 2.0, XQuAD, COVID-QA     {"data": [{"paragraphs": [{"context", "qas": [...]}]}]}
    folder     BEIR                                   corpus.jsonl, queries.jsonl, qrels/test.tsv
    *.csv      Chroma's chunking evaluation           question,references,corpus_id; corpora/*.md beside it
    *.jsonl    CLAPNQ                                 {"id", "input", "passages", "output"} a line
    *.jsonl    plain judgements                       {"id", "question", ...} a line: rag/evaluate/judgements.py

Offsets of the public sets are into the plain text, so documents are named .txt whatever they were.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never
from urllib.parse import quote as quoted

from rag.errors import JudgementError
from rag.evaluate.judgements import (
    Dataset,
    Evidence,
    Format,
    Judgement,
    check_ids,
    contradict,
    find_quote,
    located,
    read_jsonl,
    repeated,
)
from rag.evaluate.recognise import CHROMA_HEADER, QRELS_HEADER, recognise
from rag.evaluate.records import Record, json_lines, parse, read_text, shown
from rag.types import Span


def read_dataset(path: Path) -> Dataset:
    """Raises JudgementError: what isn't recognised, with what was seen; what is wrong, with file, line and field."""
    path = Path(path)
    match kind := recognise(path):
        case "jsonl":
            return read_jsonl(path)
        case "squad":
            found = _squad(path)
        case "beir":
            found = _beir(path)
        case "chroma":
            found = _chroma(path / "questions_df.csv" if path.is_dir() else path)
        case "clapnq":
            found = _clapnq(sorted(path.glob("clapnq_*.jsonl")) if path.is_dir() else [path])
        case _:
            assert_never(kind)
    check_ids(found.judgements)
    pairs = [pair for pair in repeated(found.judgements) if contradict(*pair)]
    if pairs:  # published sets have some; what was published with them counts
        found.warnings.append(f"{len(pairs)} questions are asked twice, with different answers")
    judgements = tuple(located(found.judgements, found.documents.get))
    return Dataset(_name(path, kind), judgements, found.documents, kind, tuple(found.warnings))


def _name(path: Path, kind: Format) -> str:
    if path.is_dir():
        return path.resolve().name
    return f"{path.resolve().parent.parent.name}-{path.stem}" if kind == "beir" else path.stem


@dataclass
class _Found:
    """What a reader has so far."""

    judgements: list[Judgement] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add_document(self, text: str) -> str:
        name = f"{len(self.documents):05d}.txt"
        self.documents[name] = text
        return name


# ---- SQuAD -------------------------------------------------------------------------------------------------------


def _squad(path: Path) -> _Found:
    """Rajpurkar et al., 2016 and 2018; XQuAD and COVID-QA have the same form. One document a paragraph."""
    found, moved = _Found(), []
    for n, article in enumerate(Record(path.name, "", parse(read_text(path), path.name)).records("data")):
        for paragraph in article.records("paragraphs"):
            text = paragraph.text("context")
            name = found.add_document(text)
            group = article.maybe_text("title") or str(paragraph.body.get("document_id") or n)
            for qa in paragraph.records("qas"):
                places = []
                for answer in qa.records("answers"):
                    span, shift = _answer_span(answer, text)
                    places.append(Evidence(name, span, span.cut(text)))
                    moved += [shift] if shift else []
                if qa.maybe_flag("is_impossible") and places:
                    raise qa.error("is_impossible", "is true, yet there are answers", "one of them is wrong")
                found.judgements.append(
                    Judgement(
                        id=qa.identity("id"),
                        question=qa.filled("question"),
                        evidence=(tuple(dict.fromkeys(places)),) if places else (),
                        answers=tuple(dict.fromkeys(e.quote for e in places)),
                        answerable=bool(places),
                        group=group,
                        about=name,
                        origin=qa.origin,
                    )
                )
    if moved:
        found.warnings.append(
            f"{len(moved)} answers don't stand at their answer_start: taken where they stand nearest, "
            f"at most {max(moved)} characters away"
        )
    return found


def _answer_span(answer: Record, text: str) -> tuple[Span, int]:
    """Where the answer stands, white space around it left out, and how far that is from where it was said to be.

    COVID-QA's offsets are wrong for one answer in six, nearly all by one to three characters.
    """
    wanted, start = answer.filled("text"), answer.number("answer_start")
    at = start if start >= 0 and text.startswith(wanted, start) else -1
    if at < 0:
        everywhere, at = [], text.find(wanted)
        while at >= 0:
            everywhere.append(at)
            at = text.find(wanted, at + 1)
        if not everywhere:
            raise answer.error("text", f"{shown(wanted)} stands nowhere in its paragraph", "answers are exact quotes")
        at = min(everywhere, key=lambda a: abs(a - start))
    left = at + len(wanted) - len(wanted.lstrip())
    return Span(left, left + len(wanted.strip())), abs(at - start)


# ---- BEIR --------------------------------------------------------------------------------------------------------


def _beir(path: Path) -> _Found:
    """Thakur et al., arXiv:2104.08663. Documents are title, blank line, text; every relevant one is a nugget.

    Queries without a relevant document are left out: no ranking of theirs is better than another.
    """
    folder, qrels = (path, path / "qrels" / "test.tsv") if path.is_dir() else (path.parent.parent, path)
    if not qrels.is_file():
        others = ", ".join(sorted(p.name for p in (folder / "qrels").glob("*.tsv"))) or "nothing"
        raise JudgementError(f"{qrels}: no such file", f"qrels/ has {others}: give the path of one of its files")
    found, files = _Found(), {}
    for r in _lines(folder / "corpus.jsonl"):
        title, text = r.maybe_text("title") or "", r.text("text")
        if (key := r.identity("_id")) in files:
            raise r.error("_id", f"{shown(key)} is taken", "ids are unique")
        files[key] = _file_name(key)
        found.documents[files[key]] = f"{title}\n\n{text}" if title else text
    queries = {r.identity("_id"): r for r in _lines(folder / "queries.jsonl")}
    relevant: dict[str, list[Evidence]] = {}
    for number, line in enumerate(read_text(qrels).split("\n"), 1):
        values = line.rstrip("\r").split("\t")
        if not line.strip() or (number == 1 and values == QRELS_HEADER):
            continue
        row = Record(f"{qrels.name}:{number}", "", dict(zip(QRELS_HEADER, values, strict=False)))
        query, document, score = (row.filled(k) for k in QRELS_HEADER)
        if query not in queries:
            raise row.error(
                "query-id", f"there is no {shown(query)} in queries.jsonl", "the files don't belong together"
            )
        if document not in files:
            hint = "the files don't belong together"
            raise row.error("corpus-id", f"there is no {shown(document)} in corpus.jsonl", hint)
        if not re.fullmatch("-?[0-9]{1,9}", score.strip()):
            raise row.error("score", f"is {shown(score)}", "it has to be a whole number")
        wanted = relevant.setdefault(query, [])
        if int(score) > 0:
            wanted.append(Evidence(files[document], grade=int(score)))
    for query, places in relevant.items():
        if places:
            r = queries[query]
            evidence = tuple((e,) for e in places)
            found.judgements.append(Judgement(query, r.filled("text"), evidence, origin=r.origin))
    if left := len(relevant) - len(found.judgements):
        found.warnings.append(f"{left} queries have no relevant document: left out")
    return found


def _file_name(identity: str) -> str:
    """A BEIR id as the name of a file in the folder itself, whatever it holds.

    >>> _file_name("4983"), _file_name("../a b")
    ('4983.txt', '%2E.%2Fa%20b.txt')
    """
    name = quoted(identity, safe="")
    return f"{'%2E' + name[1:] if name.startswith('.') else name}.txt"


# ---- Chroma ------------------------------------------------------------------------------------------------------


def _chroma(path: Path) -> _Found:
    """Smith & Troynikov, Evaluating Chunking Strategies for Retrieval, 2024. Every reference is a nugget."""
    found = _Found()
    corpora = {p.stem: read_text(p) for p in sorted((path.parent / "corpora").glob("*.md"))}
    found.documents = {f"{name}.txt": text for name, text in corpora.items()}
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        for number, values in enumerate(rows):
            if number == 0 or not values:
                continue
            row = Record(f"{path.name}:{rows.line_num}", "", dict(zip(CHROMA_HEADER, values, strict=False)))
            corpus = row.filled("corpus_id")
            if corpus not in corpora:
                choices = ", ".join(sorted(corpora)) or "none"
                raise row.error("corpus_id", f"there is no corpora/{corpus}.md", f"there are: {choices}")
            references = parse(row.filled("references"), f"{row.place}: references")
            nuggets = []
            for reference in Record(row.place, "", {"references": references}).records("references"):
                span = _reference_span(reference)
                nuggets.append((Evidence(f"{corpus}.txt", span, reference.filled("content")),))
            question = row.filled("question")
            found.judgements.append(
                Judgement(
                    f"c{number:03d}", question, tuple(nuggets), group=corpus, about=f"{corpus}.txt", origin=row.place
                )
            )
    except csv.Error as error:
        raise JudgementError(f"{path.name}:{rows.line_num}: not CSV: {error}", "mend the line") from None
    return found


def _reference_span(reference: Record) -> Span:
    start, end = reference.number("start_index"), reference.number("end_index")
    if not 0 <= start < end:
        raise reference.error("end_index", f"[{start}, {end}) is no span", "it needs 0 <= start < end")
    return Span(start, end)


# ---- CLAPNQ ------------------------------------------------------------------------------------------------------


def _clapnq(files: Sequence[Path]) -> _Found:
    """Rosenthal et al., arXiv:2404.02103. One document a passage; every sentence that an annotator chose is a nugget.

    Its grade is the number of annotators who chose it. Where nobody chose one, the whole passage is the evidence.
    """
    found = _Found()
    for r in (r for file in files for r in _lines(file)):
        passages = [(found.add_document(p.text("text")), p) for p in r.records("passages")]
        answers: list[str] = []
        chosen: Counter[str] = Counter()
        for output in r.records("output"):
            answer = output.text("answer")
            if answer.strip():
                answers.append(answer)
                chosen.update(dict.fromkeys(output.texts("selected_sentences"), 1))
        nuggets = [_sentence(r, s, times, passages) for s, times in chosen.items()]
        if answers and not nuggets:
            nuggets = [tuple(Evidence(name, Span(0, len(p.text("text")))) for name, p in passages)]
        found.judgements.append(
            Judgement(
                id=r.identity("id"),
                question=r.filled("input"),
                evidence=tuple(nuggets),
                answers=tuple(dict.fromkeys(answers)),
                answerable=bool(answers),
                group=passages[0][1].maybe_text("title") if passages else None,
                about=passages[0][0] if len(passages) == 1 else None,
                origin=r.origin,
            )
        )
    return found


def _sentence(r: Record, sentence: str, times: int, passages: Sequence[tuple[str, Record]]) -> tuple[Evidence, ...]:
    places = tuple(
        Evidence(name, span, grade=times) for name, p in passages for span in find_quote(sentence, p.text("text"))
    )
    if not places:
        problem = f"{shown(sentence)} stands in none of its passages"
        raise r.error("output.selected_sentences", problem, "sentences are exact quotes")
    return places


def _lines(path: Path) -> list[Record]:
    return list(json_lines(read_text(path), path.name))
