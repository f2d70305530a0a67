"""Does the confidence tell answerable questions from the others? SQuAD v2.0 and CLAPNQ, open: over all their passages.

AUROC of each retrieval signal alone, of the confidence as it ships (fitted on squad-train-du), and of the same signals
fitted again on one half of the set, cut by article, and reported on the other. SQuAD's unanswerable questions are
written to mislead: their words stand in the passage. An untuned trial gave .65 there and .87 on CLAPNQ.
`--reader`: with what the embedded reader says of the passages.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import DATA, Remember, folder_of, need, open_rag, report

from rag.answer import evidence
from rag.evaluate.abstention import auroc, risk_coverage
from rag.evaluate.formats import read_dataset
from rag.evaluate.judgements import Judgement, cleaned
from rag.load.decode import clean

SETS = {"SQuAD v2.0": "squad/dev-v2.0.json", "CLAPNQ": "clapnq"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=2000, help="so many questions of a set, drawn with seed 0")
    parser.add_argument("--reader", action="store_true")
    args = parser.parse_args()
    result = {name: measured(DATA / place, name, args.sample, args.reader) for name, place in SETS.items()}
    report("abstention-reader" if args.reader else "abstention", result)


def measured(place, name: str, sample: int, with_reader: bool) -> dict[str, object]:
    dataset = cleaned(read_dataset(need(place)), clean)
    assert dataset.documents is not None
    folder = folder_of("abstention-" + name.casefold().replace(" ", "-"), dict(dataset.documents))
    rng = np.random.default_rng(0)
    chosen = list(dataset.judgements)
    if len(chosen) > sample:
        chosen = [chosen[i] for i in sorted(rng.choice(len(chosen), sample, replace=False))]
    answerable = np.asarray([j.answerable for j in chosen])
    with open_rag(folder) as rag:
        embed = Remember(rag.embedder.passage_vectors)
        read = rag.passage_reader.read if with_reader else None
        measured = [evidence.measure(rag.retrieve(j.question), rag.reader, embed, read) for j in chosen]
        signals = np.asarray([m.signals for m in measured])
    names = evidence.READER_SIGNALS if with_reader else evidence.SIGNALS
    shipped = np.asarray([evidence.confidence(row) for row in signals])
    half = halves(chosen)
    refitted = refit(signals, answerable, half)
    curve = risk_coverage(refitted[~half].tolist(), answerable[~half].tolist())
    return {
        "questions": len(chosen),
        "answerable": int(answerable.sum()),
        "held-out half": int((~half).sum()),
        "alone": {
            signal: round(auroc(signals[:, i].tolist(), answerable.tolist()) or 0.0, 3)
            for i, signal in enumerate(names)
        },
        "confidence as shipped": round(auroc(shipped.tolist(), answerable.tolist()) or 0.0, 3),
        "fitted on one half, on the other": round(auroc(refitted[~half].tolist(), answerable[~half].tolist()) or 0, 3),
        "unanswerable among the answered, at coverage": {
            str(c): round(min(curve, key=lambda p: abs(p.coverage - c)).risk, 3) for c in (0.2, 0.4, 0.6, 0.8, 1.0)
        },
    }


def halves(judgements: list[Judgement]) -> np.ndarray:
    """True for the half to fit on: whole articles; single questions where the set has none."""
    groups = sorted({j.group or j.id for j in judgements})
    first = set(np.random.default_rng(1).permutation(groups)[: len(groups) // 2].tolist())
    return np.asarray([(j.group or j.id) in first for j in judgements])


def refit(signals: np.ndarray, answerable: np.ndarray, half: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10, max_iter=5000).fit(signals[half], answerable[half])
    return model.predict_proba(signals)[:, 1]


if __name__ == "__main__":
    main()
