"""The reader's examples: questions, passages, where the answer stands, and passages that look right but don't hold it.

    python training/reader/data.py            # reads the sets of reader.yaml, writes .checkpoints/reader/examples.npz

Hard negatives are what this project's own hybrid search (cosine and BM25, fused as rag.retrieve.fusion does) returns
for a question over the paragraphs of all sets, less those that hold the answer's words. Whole articles at the end of
squad-train-du are kept aside to choose models on, with a tenth of the passages that people wrote unanswerable questions
for; no set of docs/results.md is read.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]
from swaps import swapped  # noqa: E402

NEGATIVES = 4  # kept a question
NEAREST = 24  # looked at
NOWHERE, SOMEWHERE = -1, -2  # instead of an answer's first token: not in its passage; in it, nobody said where
WORDS = 80  # of a passage that are embedded: enough to find what is alike, in half the time


@dataclass
class Examples:
    """Token ids without special tokens, laid end to end; `*_ends` cut them. All arrays of numpy.

    gold: a question's own passage. start, end: first and last token of the answer in that passage, NOWHERE or
    SOMEWHERE. negatives: (questions, NEGATIVES) of passages, -1 where fewer were found. aside: kept to choose models
    on. wrong: the question with one thing changed, so that its passage doesn't answer it; empty where none could be.
    """

    passages: np.ndarray
    passage_ends: np.ndarray
    questions: np.ndarray
    question_ends: np.ndarray
    gold: np.ndarray
    start: np.ndarray
    end: np.ndarray
    negatives: np.ndarray
    aside: np.ndarray
    wrong: np.ndarray
    wrong_ends: np.ndarray

    def __len__(self) -> int:
        return len(self.gold)

    def question(self, i: int) -> np.ndarray:
        return piece(self.questions, self.question_ends, i)

    def passage(self, i: int) -> np.ndarray:
        return piece(self.passages, self.passage_ends, i)

    def wrong_question(self, i: int) -> np.ndarray:
        return piece(self.wrong, self.wrong_ends, i)

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @staticmethod
    def load(file: Path) -> Examples:
        with np.load(file) as kept:
            return Examples(**{f.name: kept[f.name] for f in fields(Examples)})


def piece(laid: np.ndarray, ends: np.ndarray, i: int) -> np.ndarray:
    return laid[ends[i - 1] if i else 0 : ends[i]]


@dataclass
class Question:
    text: str
    context: str
    answers: list[dict]  # {text, start}
    aside: bool
    placed: bool = True  # False: the passage answers it, nobody said where


def read(config: dict, shared: Path) -> list[Question]:
    """The questions of every set in the config, at most so many of each, in an order that the seed fixes."""
    rng = np.random.default_rng(config["seed"])
    kept_aside = ""
    found: list[Question] = []
    for name, most in config["sets"].items():
        rows = lines_of(shared / "train" / name / "spans.jsonl.xz")
        if name == config["aside"]["set"]:
            first = next(i for i, r in enumerate(rows) if r["context"].startswith(config["aside"]["from"]))
            # One text: of these paragraphs other sets have single sentences.
            kept_aside = "\n".join({squeezed(r["context"]): None for r in rows[first:]})
            found += [Question(r["question"], r["context"], r["answers"], True) for r in rows[first:]]
            rows = rows[:first]
        rows = without(kept_aside, rows, "context")
        tenth = name == config["aside"]["tenth_of"]
        found += [
            Question(r["question"], r["context"], r["answers"], tenth and zlib.crc32(r["context"].encode()) % 10 == 0)
            for r in some(rows, most, rng)
        ]
    for name, most in config["pairs"].items():
        rows = without(kept_aside, lines_of(shared / "train" / name / "pairs.jsonl.xz"), "positive")
        found += [Question(r["question"], r["positive"], [], False, placed=False) for r in some(rows, most, rng)]
    return found


def lines_of(file: Path) -> list[dict]:
    if not file.is_file():
        raise SystemExit(f"{file} is missing: the training sets of reader.yaml lie in ../shared/train")
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def without(kept_aside: str, rows: list[dict], key: str) -> list[dict]:
    """The rows whose passage isn't kept aside, nor a part of what is."""
    seen = {text: squeezed(text) in kept_aside for text in {r[key] for r in rows}}
    return [r for r in rows if not seen[r[key]]]


def some(rows: list[dict], most: int | None, rng: np.random.Generator) -> list[dict]:
    if not most or len(rows) <= most:
        return rows
    return [rows[i] for i in sorted(rng.choice(len(rows), most, replace=False))]


def squeezed(text: str) -> str:
    """Letters and digits only: one set has its paragraphs tokenised and in lower case."""
    return "".join(c for c in text.lower() if c.isalnum())


def answer_of(answers: list[dict]) -> dict | None:
    """The one that most annotators gave; of those the shortest."""
    texts = [a["text"] for a in answers]
    return min(answers, key=lambda a: (-texts.count(a["text"]), len(a["text"]))) if answers else None


def nearest(questions: list[str], passages: list[str], dense: bool = True) -> Iterator[list[int]]:
    """For each question the nearest passages, best first, by this project's own search: dense and words, fused.
    `dense` False: by words alone, which takes no embedding."""
    from rag.config import Embed, Retrieve
    from rag.embed import TextEmbedder
    from rag.retrieve.fusion import convex, ranked, share_of_best
    from rag.store.analyze import Analyzer
    from rag.store.lexical import Lexical

    weight = Retrieve().dense_weight
    words = Lexical(None, Analyzer("english"))
    words.change((), enumerate(passages))
    if not dense:
        yield from ([i for i, _ in words.search(question, NEAREST)] for question in questions)
        return
    embedder = TextEmbedder(Embed())
    print("embedding", len(passages), "passages and", len(questions), "questions", flush=True)
    them = embedder.passage_vectors([" ".join(p.split()[:WORDS]) for p in passages])
    asked = embedder.passage_vectors(questions)
    for at in range(0, len(questions), 256):
        cosines = asked[at : at + 256] @ them.T
        near = np.argpartition(-cosines, NEAREST, axis=1)[:, :NEAREST]
        for row, question in enumerate(questions[at : at + 256]):
            likeness = {int(i): float(cosines[row, i]) for i in near[row]}
            lexical = share_of_best(dict(words.search(question, NEAREST)))
            yield ranked(convex(likeness, lexical, weight))[:NEAREST]


def tokens_of(span: tuple[int, int], offsets: list[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last token that a span of characters touches."""
    inside = [i for i, (a, b) in enumerate(offsets) if a < span[1] and b > span[0]]
    return (inside[0], inside[-1]) if inside else None


def prepare(config: dict, shared: Path, dense: bool = True) -> Examples:
    from tokenizers import Tokenizer

    from rag.config import Embed
    from rag.embed.resolve import resolve_model

    questions = read(config, shared)
    places: dict[str, int] = {}
    for q in questions:
        places.setdefault(q.context, len(places))
    passages = list(places)
    tokenizer = Tokenizer.from_file(str(resolve_model(Embed().model).folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    coded = tokenizer.encode_batch(passages, add_special_tokens=False)
    asked = tokenizer.encode_batch([q.text for q in questions], add_special_tokens=False)
    others = np.random.default_rng(config["seed"] + 2)
    changed = [
        swapped(q.text, q.context, [a["text"] for a in q.answers], others) or "" if q.answers else "" for q in questions
    ]
    wrong = tokenizer.encode_batch(changed, add_special_tokens=False)
    folded = [p.casefold() for p in passages]
    rng = np.random.default_rng(config["seed"] + 1)
    negatives = np.full((len(questions), NEGATIVES), -1, np.int32)
    spans = np.full((len(questions), 2), NOWHERE, np.int32)
    near = nearest([q.text for q in questions], passages, dense)
    for i, (q, hits) in enumerate(zip(questions, near, strict=True)):
        own = places[q.context]
        wanted = [a["text"].casefold() for a in q.answers]
        others = [n for n in hits if n != own and not any(w in folded[n] for w in wanted)]
        # Two of the very nearest, the others from further down: a passage that shares a word teaches too.
        chosen = others[:2] + [int(n) for n in rng.permutation(others[2:])[: NEGATIVES - 2]]
        negatives[i, : len(chosen)] = chosen
        if answer := answer_of(q.answers):
            at = (answer["start"], answer["start"] + len(answer["text"]))
            spans[i] = tokens_of(at, coded[own].offsets) or (NOWHERE, NOWHERE)
        elif not q.placed:
            spans[i] = SOMEWHERE
        if i % 5000 == 0:
            print(i, "of", len(questions), flush=True)
    return Examples(
        np.concatenate([np.asarray(c.ids, np.int32) for c in coded]),
        np.cumsum([len(c.ids) for c in coded]),
        np.concatenate([np.asarray(a.ids, np.int32) for a in asked]),
        np.cumsum([len(a.ids) for a in asked]),
        np.asarray([places[q.context] for q in questions], np.int32),
        spans[:, 0],
        spans[:, 1],
        negatives,
        np.asarray([q.aside for q in questions]),
        np.concatenate([np.asarray(w.ids, np.int32) for w in wrong]),
        np.cumsum([len(w.ids) for w in wrong]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--words-only", action="store_true", help="hard negatives by BM25 alone: minutes instead of half an hour"
    )
    args = parser.parse_args()
    config = yaml.safe_load((HERE / "reader.yaml").read_text(encoding="utf-8"))
    examples = prepare(config, ROOT.parent / "shared", dense=not args.words_only)
    file = ROOT / config["folder"] / "examples.npz"
    examples.save(file)
    print(len(examples), "questions,", int((examples.start == NOWHERE).sum()), "without an answer,", file)


if __name__ == "__main__":
    main()
