"""Does the check keep a model's right sentences and drop its wrong ones? On squad-train-du, the right paragraph given.

    python training/attribution.py [--generator smollm2] [--questions 30]

Prints each reply on which the check and the gold answer differ, and the four counts. No test set is read.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from common import folder_of, open_rag
from extractive import load

from rag.answer import evidence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="smollm2")
    parser.add_argument("--questions", type=int, default=30)
    args = parser.parse_args()
    paragraphs, questions = load()
    folder = folder_of("squad-train-all", {f"{i:05d}.txt": text for i, text in enumerate(paragraphs)})
    model = {"generate__kind": "transformers", "generate__model": args.generator, "generate__max_new_tokens": 96}
    counts: Counter[str] = Counter()
    with open_rag(folder, **model) as rag:
        answerer, generator = rag.answerer, rag.generator
        for i in np.random.default_rng(11).permutation(len(questions)):
            if counts.total() == args.questions:
                break
            q = questions[i]
            golds = [a.casefold() for a in q["answers"]]
            found = rag.retrieve(q["question"])
            right = [p for p in found.passages if p.source == f"{q['paragraph']:05d}.txt"][:1]
            if not right or not any(gold in right[0].text.casefold() for gold in golds):
                continue
            measured = evidence.measure(found, rag.reader, rag.embedder.passage_vectors)
            prompt = answerer.build_prompt(q["question"], right)
            reply = "".join(generator.stream(prompt.messages))
            held = answerer._attribute(reply, q["question"], prompt.passages, measured)
            kept = " ".join(statement.text for statement, candidate in held if candidate)
            good = any(gold in reply.casefold() for gold in golds)
            stands = any(gold in kept.casefold() for gold in golds) if good else bool(kept)
            counts[f"{'right' if good else 'wrong'}, {'kept' if stands else 'dropped'}"] += 1
            if good != stands:
                print(f"{q['question']} | {q['answers'][0]} | {reply!r} | kept: {kept!r}", flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main()
