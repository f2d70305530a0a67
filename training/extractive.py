"""Fit the extractive generator's sentence weights and the confidence, on squad-train-du alone.

The 44 articles are cut in two by article. Within each half, 30 % of each article's paragraphs are kept out of the
index, so their questions are unanswerable though on the topic. Weights are fitted on the first half and reported on
the second; no test set of docs/results.md is read.

    python training/extractive.py [--questions 3000]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from common import SHARED, Remember, folder_of, open_rag, read_rows

from rag.answer import evidence
from rag.generate import extractive


def load() -> tuple[list[str], list[dict]]:
    """Paragraphs in order of articles, and questions with the index of their paragraph."""
    places: dict[str, int] = {}
    questions = []
    for row in read_rows(SHARED / "train" / "squad-train-du" / "spans.jsonl.xz"):
        at = places.setdefault(row["context"], len(places))
        questions.append({"question": row["question"], "paragraph": at, "answers": [a["text"] for a in row["answers"]]})
    return list(places), questions


def collect(rag, paragraphs, questions, held_out):
    rows = []
    embed = Remember(rag.embedder.passage_vectors)
    for n, q in enumerate(questions):
        file = f"{q['paragraph']:05d}.txt"
        found = rag.retrieve(q["question"])
        e = evidence.measure(found, rag.reader, embed)
        wanted = [a.casefold() for a in q["answers"]]
        numbers = {p.number for p in found.passages if p.source == file}
        good = [c.passage in numbers and any(w in c.text.casefold() for w in wanted) for c in e.candidates]
        spot = [any(w in c.text.casefold() for w in wanted) for c in e.candidates]
        rows.append(
            {
                "matrix": e.matrix,
                "good": np.asarray(good),  # holds the answer, in the right paragraph
                "spot": np.asarray(spot),  # holds the answer's words, anywhere
                "signals": e.signals,
                "answerable": q["paragraph"] not in held_out,
                "candidates": e.candidates,
            }
        )
        if n % 500 == 0:
            print(n, "of", len(questions), flush=True)
    return rows


def fit_sentences(rows) -> np.ndarray:
    """Softmax over a question's sentences, maximum likelihood of those that hold the answer (L-BFGS)."""
    from scipy.optimize import minimize

    use = [r for r in rows if r["good"].any()]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        total, gradient = 0.001 * float(w @ w) * len(use), 0.002 * w * len(use)
        for r in use:
            z = r["matrix"] @ w
            p = np.exp(z - z.max())
            p /= p.sum()
            mass = p[r["good"]].sum()
            total -= np.log(max(mass, 1e-12))
            q = np.where(r["good"], p, 0) / max(mass, 1e-12)
            gradient -= r["matrix"].T @ (q - p)
        return total, gradient

    return minimize(loss, np.asarray(extractive.WEIGHTS), jac=True, method="L-BFGS-B").x


def evaluate(rows, weights, most=3) -> dict[str, float]:
    first = within = n = 0
    for r in rows:
        if not r["answerable"]:
            continue
        n += 1
        if not len(r["candidates"]):
            continue
        picked = extractive.pick(r["candidates"], r["matrix"] @ weights, most)
        hits = [r["spot"][r["candidates"].index(p.candidate)] for p in picked]
        first += bool(hits and hits[0])
        within += any(hits)
    return {"first": round(100 * first / n, 2), f"first {most}": round(100 * within / n, 2), "n": n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=3000)
    args = parser.parse_args()
    paragraphs, questions = load()
    half = len(paragraphs) // 2
    held_out = {i for i in range(len(paragraphs)) if np.random.default_rng(i).random() < 0.3}
    folder = folder_of("squad-train-du", {f"{i:05d}.txt": t for i, t in enumerate(paragraphs) if i not in held_out})
    rng = np.random.default_rng(0)
    parts = {}
    with open_rag(folder) as rag:
        for name, keep in (("fit", lambda q: q["paragraph"] < half), ("held out", lambda q: q["paragraph"] >= half)):
            mine = [q for q in questions if keep(q)]
            chosen = rng.choice(len(mine), min(args.questions // 2, len(mine)), replace=False)
            parts[name] = collect(rag, paragraphs, [mine[i] for i in sorted(chosen)], held_out)
    weights = fit_sentences(parts["fit"])
    print("sentence weights", dict(zip(extractive.FEATURES, weights.round(3).tolist(), strict=True)))
    for name, rows in parts.items():
        print(name, "shipped", evaluate(rows, np.asarray(extractive.WEIGHTS)), "fitted", evaluate(rows, weights))
    fit_confidence(parts, weights)


def fit_confidence(parts, weights) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    def data(rows):
        x, right, answerable = [], [], []
        for r in rows:
            if not len(r["candidates"]):
                continue
            picked = extractive.pick(r["candidates"], r["matrix"] @ weights, 3)
            x.append(r["signals"])
            right.append(r["answerable"] and any(r["spot"][r["candidates"].index(p.candidate)] for p in picked))
            answerable.append(r["answerable"])
        return np.asarray(x), np.asarray(right), np.asarray(answerable)

    x, y, _ = data(parts["fit"])
    model = LogisticRegression(C=10, max_iter=2000).fit(x, y)
    coefficients = dict(zip(evidence.SIGNALS, model.coef_[0].round(3).tolist(), strict=True))
    print("confidence", coefficients, "bias", round(float(model.intercept_[0]), 3))
    for name, rows in parts.items():
        x, y, answerable = data(rows)
        p = model.predict_proba(x)[:, 1]
        print(name, "AUROC: right", round(roc_auc_score(y, p), 3), "answerable", round(roc_auc_score(answerable, p), 3))
        for i, signal in enumerate(evidence.SIGNALS):
            print("  alone:", signal, round(roc_auc_score(answerable, x[:, i]), 3))
        for low in np.arange(0, 1, 0.2):
            inside = (p >= low) & (p < low + 0.2)
            if inside.any():
                print(f"  said {p[inside].mean():.2f}, right {y[inside].mean():.2f} of {inside.sum()}")
        for t in (0.2, 0.3, 0.35, 0.4, 0.5):
            print(f"  at {t}: answers {(p[answerable] >= t).mean():.3f}, declines {(p[~answerable] < t).mean():.3f}")


if __name__ == "__main__":
    main()
