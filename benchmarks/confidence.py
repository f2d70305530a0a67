"""The confidence was fitted on Wikipedia's articles. Does it hold on other kinds of text, and in folders of any size?

Of each set of ../shared/train that says where an answer stands, folders of 20, 100 and 400 neighbouring paragraphs.
30 % of them are left out, so that questions about them have no answer though they are on the topic. AUROC of the
confidence as it ships: does what is shown hold the answer? And of the same signals fitted on all other sets: would a
fit on many kinds be better? Calibration: of the answers with a confidence in that fifth, how many held the answer.

    python benchmarks/confidence.py [--questions 120]
"""

from __future__ import annotations

import argparse

import numpy as np
from common import SHARED, Remember, folder_of, open_rag, read_rows, report

from rag.answer import evidence
from rag.config import Answer
from rag.evaluate.abstention import auroc
from rag.generate import extractive

SETS = {  # set of ../shared/train: its quarters where they are of different kinds
    "squad-train-du": (0, 1),
    "squadshifts: shopping": (0, 4),
    "squadshifts: shopping, forum": (1, 4),
    "squadshifts: forum": (2, 4),
    "squadshifts: news, Wikipedia": (3, 4),
    "nq-qed": (0, 1),
    "nq-open-oracle": (0, 1),
    "sleepqa": (0, 1),
    "fairytaleqa": (0, 1),
    "bioasq": (0, 1),
    "selqa": (0, 1),
    "tatqa": (0, 1),
    "integreat-omosqa": (0, 1),
}
SIZES = (20, 100, 400)  # paragraphs, with those that are left out
LEFT_OUT = 0.3
LEAST = Answer().min_confidence


def paragraphs_of(name: str) -> dict[str, list[tuple[str, list[str]]]]:
    """Paragraphs in the set's order, each with its questions and their answers."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for row in read_rows(SHARED / "train" / name.partition(":")[0] / "spans.jsonl.xz"):
        if row["answers"]:
            answers = [a["text"].casefold() for a in row["answers"]]
            found.setdefault(row["context"], []).append((row["question"], answers))
    part, parts = SETS[name]
    return dict([*found.items()][part * len(found) // parts : (part + 1) * len(found) // parts])


def measured(name: str, most: int) -> list[tuple[int, tuple[float, ...], bool, bool]]:
    """A row a question: the folder's size, the signals, whether what is shown holds the answer, whether it has one."""
    paragraphs = paragraphs_of(name)
    rows = []
    for size in (s for s in SIZES if s <= len(paragraphs)):
        rng = np.random.default_rng(size)
        first = int(rng.integers(0, len(paragraphs) - size + 1))
        texts = {f"{i:05d}.txt": text for i, text in enumerate([*paragraphs][first : first + size])}
        left_out = {file for file in texts if rng.random() < LEFT_OUT}
        asked = [(file, *q) for file, text in texts.items() for q in paragraphs[text]]
        asked = [asked[i] for i in sorted(rng.choice(len(asked), min(most, len(asked)), replace=False))]
        folder = f"confidence-{name.replace(': ', '-').replace(', ', '-')}-{size}"
        with open_rag(folder_of(folder, {f: t for f, t in texts.items() if f not in left_out})) as rag:
            embed = Remember(rag.embedder.passage_vectors)
            for file, question, answers in asked:
                e = evidence.measure(rag.retrieve(question), rag.reader, embed)
                shown = " ".join(p.candidate.text.casefold() for p in extractive.pick(e.candidates, e.scores, 3))
                there = file not in left_out
                rows.append((size, e.signals, there and any(a in shown for a in answers), there))
    print(name, len(rows), flush=True)
    return rows


def fitted_on_others(signals: np.ndarray, right: np.ndarray, of: np.ndarray, name: str) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    others = np.asarray([other.partition(":")[0] != name.partition(":")[0] for other in of])
    return LogisticRegression(C=10, max_iter=5000).fit(signals[others], right[others]).decision_function(signals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=120, help="of each folder")
    most = parser.parse_args().questions
    rows = [(name, *row) for name in SETS for row in measured(name, most)]
    of, size, signals, right, there = (np.asarray(column) for column in zip(*rows, strict=True))
    shipped = np.asarray([evidence.confidence(s) for s in signals])

    def area(mine: np.ndarray, scores: np.ndarray, wanted: np.ndarray = right) -> float:
        return round(auroc(scores[mine].tolist(), wanted[mine].tolist()) or 0.0, 3)

    def figures(mine: np.ndarray) -> dict[str, float]:
        return {
            "questions": int(mine.sum()),
            "right": area(mine, shipped),
            "answerable": area(mine, shipped, there),
            "answered": round(float((shipped[mine & right] >= LEAST).mean()), 3),
            "declined": round(float((shipped[mine & ~there] < LEAST).mean()), 3),
        }

    sets = {}
    for name in SETS:
        mine = of == name
        sets[name] = {
            **figures(mine),
            "right, fitted on the others": area(mine, fitted_on_others(signals, right, of, name)),
        }
    fifths = {
        f"{low / 5:.1f} to {(low + 1) / 5:.1f}": {
            "questions": int(inside.sum()), "said": round(float(shipped[inside].mean()), 3),
            "right": round(float(right[inside].mean()), 3),
        }
        for low in range(5)
        if (inside := np.minimum(shipped * 5, 4.99).astype(int) == low).any()
    }  # fmt: skip
    sizes = {f"{n} paragraphs": figures(size == n) for n in SIZES}
    report("confidence", {"sets": sets, "folders": sizes, "calibration": fifths})


if __name__ == "__main__":
    main()
