"""Choose what goes around the reader: reranking's weight, a short answer's weights, the confidence.

    python training/reader/choose.py [--questions 400] [--confidence]

On the articles of squad-train-du that the reader was not taught on. 30 % of the paragraphs are kept out of the index,
so their questions are unanswerable though on the topic. For the confidence the tenth of squad2-unansq that it wasn't
taught on comes to them: questions that people wrote to have no answer in a passage, in its words. It is fitted on the
first half of each (by article, by passage) and reported on the second. No set of docs/results.md is read.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from common import folder_of, open_rag
from extractive import load

from data import ROOT, read
from rag.answer import evidence
from rag.evaluate.answers import exact_match, f1
from rag.generate import extractive, short
from rag.read import WEIGHTS, PassageReader
from rag.read.rerank import sigmoid

HERE = Path(__file__).resolve().parent
DEPTH = 20


def collect(rag, questions) -> list[dict]:
    rows = []
    for n, q in enumerate(questions):
        found = rag.retrieve(q["question"], k=DEPTH)
        readings = rag.passage_reader.read(q["question"], [p.text for p in found.passages])
        file = f"{q['paragraph']:05d}.txt"
        gold = [file in (p.source, *p.also_in) for p in found.passages]
        rows.append({**q, "found": found, "readings": readings, "gold": gold})
        if n % 50 == 0:
            print(n, "of", len(questions), flush=True)
    return rows


def reranked(row, weight: float) -> list[int]:
    score = [
        (1 - weight) * p.score + weight * sigmoid(r.relevance)
        for p, r in zip(row["found"].passages, row["readings"], strict=True)
    ]
    return list(np.argsort(-np.asarray(score), kind="stable"))


def gold(rag, questions, paragraphs, files) -> None:
    """Given the right paragraph: F1 and EM of the best span, for each file of weights."""
    for file in files:
        reader = PassageReader(rag.passage_reader.base, file)
        scores = []
        for q in questions:
            text = paragraphs[q["paragraph"]]
            (reading,) = reader.read(q["question"], [text])
            said = reading.spans[0].span.cut(text) if reading.spans else ""
            scores.append((f1(said, q["answers"]), exact_match(said, q["answers"])))
        found = " / ".join(f"{100 * m:.1f}" for m in np.mean(scores, axis=0))
        print(f"{file.name}, {file.stat().st_size / 1e6:.1f} MB: F1 / EM {found} of {len(scores)}", flush=True)


def least(rows) -> None:
    """What a lower bound of showing a short answer gains, and what it shows where nothing answers."""
    for bound in (0, -2, -4, -6, -99):
        with patch.multiple(short, LEAST=bound):
            said = [(answer(r, 0.0), r) for r in rows]
        there = [(s, r) for s, r in said if r["answerable"]]
        right = 100 * np.mean([f1(s, r["answers"]) for s, r in there])
        given, falsely = (100 * np.mean([bool(s) for s, r in said if r["answerable"] is a]) for a in (True, False))
        print(f"LEAST {bound}: F1 {right:.1f} of {len(there)}, shown for {given:.0f} % of them, ", end="")
        print(f"for {falsely:.0f} % of the {len(said) - len(there)} unanswerable")


def rerank_weights(rows) -> float:
    there = [r for r in rows if r["answerable"]]
    figures = {}
    for weight in (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0):
        places = [next((i for i, at in enumerate(reranked(r, weight)) if r["gold"][at]), None) for r in there]
        figures[weight] = np.mean([p == 0 for p in places])
        five = np.mean([p is not None and p < 5 for p in places])
        print(f"rerank_weight {weight}: R@1 {100 * figures[weight]:.1f}, R@5 {100 * five:.1f} of {len(there)}")
    return max(figures, key=figures.get)


def short_weights(rows, weight: float) -> None:
    there = [r for r in rows if r["answerable"]]
    for order in {0.0, weight}:
        best = []
        for a, b, c in product((0.0, 0.5, 1.0), (0.0, 0.5, 1.0, 2.0), (0.0, 4.0, 8.0)):
            with patch.multiple(short, ANSWERABLE=a, RELEVANCE=b, RETRIEVAL=c):
                said = [answer(r, order) for r in there]
            pairs = [(s, r["answers"]) for s, r in zip(said, there, strict=True)]
            figures = [np.mean([measure(*pair) for pair in pairs]) for measure in (f1, exact_match)]
            best.append((*(round(100 * f, 1) for f in figures), a, b, c))
        print("order by", order, "F1, EM, answerable, relevance, retrieval:", *sorted(best)[-6:], best[0], sep="\n  ")


def answer(row, weight: float) -> str:
    at = reranked(row, weight)[:5]
    passages = [row["found"].passages[i] for i in at]
    found = short.short_answers(row["question"], passages, [row["readings"][i] for i in at])
    return found[0].text if found else ""


def confidence(rag, sets) -> None:
    """Will what is shown hold the answer? The confidence without a reader, as a logit, and three signals of the reader:
    four numbers, so that some hundred questions are enough."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    rows = []
    for number, questions in enumerate(sets):
        for n, q in enumerate(questions):
            found = rag.retrieve(q["question"])
            e = evidence.measure(found, rag.reader, rag.embedder.passage_vectors, rag.passage_reader.read)
            shown = [p.candidate.text for p in extractive.pick(e.candidates, e.scores, 1)]
            shown += [s.text for s in short.short_answers(q["question"], found.passages, e.readings)]
            right = q["answerable"] and any(a.casefold() in text.casefold() for a in q["answers"] for text in shown)
            rows.append((evidence.reader_features(e.signals), right, q["answerable"], number, 2 * n < len(questions)))
    x, right, there, of, first = (np.asarray(column) for column in zip(*rows, strict=True))
    # Both kinds of questions without an answer count the same: which of them people ask more often nobody knows.
    nowhere = np.bincount(of[~there])
    weight = np.where(there, 1.0, (~there).sum() / len(nowhere) / nowhere[of])
    for name, columns in (("retrieval", slice(0, 1)), ("reader", slice(1, 4)), ("both", slice(0, 4))):
        model = LogisticRegression(max_iter=5000).fit(x[first, columns], right[first], sample_weight=weight[first])
        z = model.decision_function(x[:, columns])
        for number, kind in enumerate(("left out", "written to have none")):
            mine = ~first & (of == number)
            aurocs = [round(roc_auc_score(y[mine], z[mine]), 3) for y in (right, there)]
            print(f"{name}, {kind}, {mine.sum()} of the other half: AUROC right {aurocs[0]}, answerable {aurocs[1]}")
    model = LogisticRegression(max_iter=5000).fit(x, right, sample_weight=weight)
    print("READER_WEIGHTS =", tuple(model.coef_[0].round(3).tolist()))
    print("READER_BIAS =", round(float(model.intercept_[0]), 3), "right", right.mean().round(3))
    p = model.predict_proba(x)[:, 1]
    for t in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5):
        declined = [f"{(p[~there & (of == number)] < t).mean():.3f}" for number in range(len(sets))]
        print(f"  at {t}: answers {(p[there] >= t).mean():.3f}, declines {' and '.join(declined)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--weights", type=Path, nargs="*", default=[WEIGHTS], help="files to compare on the paragraph")
    parser.add_argument("--confidence", action="store_true", help="that alone")
    args = parser.parse_args()
    config = yaml.safe_load((HERE / "reader.yaml").read_text(encoding="utf-8"))
    paragraphs, questions = load()
    first = next(i for i, p in enumerate(paragraphs) if p.startswith(config["aside"]["from"]))
    held_out = {i for i in range(len(paragraphs)) if np.random.default_rng(i).random() < 0.3}
    texts = {f"{i:05d}.txt": t for i, t in enumerate(paragraphs) if i not in held_out}
    mine = [{**q, "answerable": q["paragraph"] not in held_out} for q in questions if q["paragraph"] >= first]
    articles = set(paragraphs)
    tenth = [q for q in read(config, ROOT.parent / "shared") if q.aside and q.context not in articles]
    texts |= {f"{name}.txt": text for name, text in enumerate(dict.fromkeys(q.context for q in tenth))}
    folder = folder_of("choose", texts)
    chosen = np.random.default_rng(0).choice(len(mine), min(args.questions, len(mine)), replace=False)
    with open_rag(folder) as rag:
        asked = [mine[i] for i in sorted(chosen)]
        if not args.confidence:
            gold(rag, asked, paragraphs, args.weights)
            rows = collect(rag, asked)
            least(rows)
            short_weights(rows, rerank_weights(rows))
        chosen = np.random.default_rng(1).choice(len(mine), min(2 * args.questions, len(mine)), replace=False)
        written = [
            {"question": q.text, "answers": [a["text"] for a in q.answers], "answerable": bool(q.answers)}
            for q in tenth
        ]
        confidence(rag, ([mine[i] for i in sorted(chosen)], written))


if __name__ == "__main__":
    main()
