"""SQuAD v1.1 (the shared articles), open: question -> folder of all paragraphs -> passage and extractive answer.

Reports where the right paragraph ranks (dense, lexical, hybrid), and how often the first sentence of the extractive
answer, or one of its first three, holds a gold answer. The weights were fitted on other articles
(training/extractive.py).
"""

from __future__ import annotations

import argparse

import numpy as np
from common import DATA, KINDS, Remember, folder_of, open_rag, rank_of_file, ranking_metrics, read_squad, report

from rag.answer import evidence
from rag.generate import extractive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="so many questions, drawn with seed 0; 0: all")
    parser.add_argument("--kinds", default="dense,lexical,hybrid,hybrid rrf")
    parser.add_argument("--no-answers", action="store_true")
    args = parser.parse_args()
    paragraphs, questions = read_squad(DATA / "squad" / "dev-v1.1.json")
    if args.sample:
        chosen = np.random.default_rng(0).choice(len(questions), args.sample, replace=False)
        questions = [questions[i] for i in sorted(chosen)]
    folder = folder_of("squad-dev", paragraphs)
    result: dict[str, object] = {"paragraphs": len(paragraphs)}
    with open_rag(folder) as rag:
        for kind in filter(None, args.kinds.split(",")):
            ranks = [rank_of_file(rag, q["question"], q["file"], **KINDS[kind]) for q in questions]
            result[kind] = ranking_metrics(ranks)
            print(kind, result[kind], flush=True)
        if not args.no_answers:
            result["extractive"] = answers(rag, questions)
    report("squad-open" + (f"-sample{args.sample}" if args.sample else ""), result)


def answers(rag, questions) -> dict[str, float]:
    """Measured without abstaining: the sentences that would be shown."""
    first = three = 0
    length = []
    embed = Remember(rag.embedder.passage_vectors)
    for q in questions:
        found = evidence.measure(rag.retrieve(q["question"]), rag.reader, embed)
        picked = extractive.pick(found.candidates, found.scores, 3)
        hits = [any(a.casefold() in p.candidate.text.casefold() for a in q["answers"]) for p in picked]
        first += bool(hits and hits[0])
        three += any(hits)
        length.append(len(picked))
    n = len(questions)
    return {
        "first sentence holds a gold answer": round(100 * first / n, 2),
        "first three": round(100 * three / n, 2),
        "sentences shown": round(float(np.mean(length)), 2),
        "questions": n,
    }


if __name__ == "__main__":
    main()
