"""The embedded reader: short answers given the paragraph, from the folder, answerable or not, reranking, speed.

python benchmarks/reader.py gold        # SQuAD v1.1, the right paragraph given: EM and F1; v2.0: AUROC
python benchmarks/reader.py open        # SQuAD v1.1: question -> folder of the paragraphs -> short answer; rank
python benchmarks/reader.py rerank      # XQuAD-en, question -> paragraph, with and without
python benchmarks/reader.py rerank-squad    # the same on SQuAD v1.1
python benchmarks/reader.py speed       # 20 passages read against the same tokens embedded
"""

from __future__ import annotations

import argparse

import numpy as np
from common import DATA, folder_of, need, open_rag, rank_of_file, ranking_metrics, read_squad, report, timed

from rag import Rag
from rag.evaluate.answers import exact_match, f1


def drawn(items: list, sample: int) -> list:
    if not sample or sample >= len(items):
        return items
    return [items[i] for i in sorted(np.random.default_rng(0).choice(len(items), sample, replace=False))]


def gold(sample: int) -> None:
    from sklearn.metrics import roc_auc_score

    with Rag.open() as rag:
        reader = rag.passage_reader
        paragraphs, questions = read_squad(DATA / "squad" / "dev-v1.1.json")
        scores = []
        for q in drawn(questions, sample):
            (reading,) = reader.read(q["question"], [paragraphs[q["file"]]])
            said = reading.spans[0].span.cut(paragraphs[q["file"]]) if reading.spans else ""
            scores.append((exact_match(said, q["answers"]), f1(said, q["answers"])))
        em, mean_f1 = (round(100 * float(m), 2) for m in np.mean(scores, axis=0))
        paragraphs, questions = read_squad(DATA / "squad" / "dev-v2.0.json")
        there, signals = [], []
        for q in drawn(questions, sample):
            (reading,) = reader.read(q["question"], [paragraphs[q["file"]]])
            there.append(bool(q["answers"]))
            signals.append((reading.answerable, reading.spans[0].score if reading.spans else -20.0))
    columns = np.asarray(signals)
    auroc = {
        name: round(float(roc_auc_score(there, values)), 4)
        for name, values in (("answerable", columns[:, 0]), ("span", columns[:, 1]), ("sum", columns.sum(axis=1)))
    }
    report(
        "reader-gold",
        {
            "weights": reader.header,
            "SQuAD v1.1": {"em": em, "f1": mean_f1, "questions": len(scores)},
            "SQuAD v2.0 AUROC": {**auroc, "questions": len(there)},
        },
    )


def from_folder(sample: int) -> None:
    paragraphs, questions = read_squad(DATA / "squad" / "dev-v1.1.json")
    asked = drawn(questions, sample or 600)
    folder = folder_of("squad-dev", paragraphs)
    result: dict[str, object] = {}
    with open_rag(folder, answer__min_confidence=0.0, generate__reader="builtin") as rag:
        result["weights"] = rag.passage_reader.header
        for name, settings in (("none", {}), ("builtin", {"rerank": "builtin"})):
            ranks = [rank_of_file(rag, q["question"], q["file"], **settings) for q in asked]
            scores = []
            for q in asked:
                answer = rag.ask(q["question"], **settings)
                said = answer.short[0].text if answer.short else ""
                scores.append((exact_match(said, q["answers"]), f1(said, q["answers"]), bool(answer.short)))
            em, mean_f1, given = (round(100 * float(m), 2) for m in np.mean(scores, axis=0))
            result[f"rerank {name}"] = {**ranking_metrics(ranks), "em": em, "f1": mean_f1, "given": given}
            print(name, result[f"rerank {name}"], flush=True)
    report("reader-open", result)


def rerank(sample: int, file: str = "xquad/xquad.en.json", name: str = "xquad-en") -> None:
    paragraphs, questions = read_squad(need(DATA / file))
    asked = drawn(questions, sample or 600)
    result: dict[str, object] = {}
    with open_rag(folder_of(name, paragraphs)) as rag:
        result["weights"] = rag.passage_reader.header
        for kind in ("none", "builtin"):
            ranks = [rank_of_file(rag, q["question"], q["file"], rerank=kind) for q in asked]
            result[f"rerank {kind}"] = ranking_metrics(ranks)
            print(kind, result[f"rerank {kind}"], flush=True)
    report(f"reader-rerank-{name}", result)


def rerank_squad(sample: int) -> None:
    rerank(sample, "squad/dev-v1.1.json", "squad-dev")


def speed(sample: int) -> None:
    """Alternating, each new to the caches; the better of five."""
    paragraphs, questions = read_squad(DATA / "squad" / "dev-v1.1.json")
    with Rag.open() as rag:
        tokenizer, reader, embedder = rag.embedder.tokenizer, rag.passage_reader, rag.embedder
        texts = [t for t in paragraphs.values() if 130 <= tokenizer.count(t) <= 170][:20]
        reader.read("warm up?", texts[:2]), embedder.passage_vectors(texts[:2])
        seconds: dict[str, list[float]] = {"read": [], "embed": []}
        cpu: dict[str, list[float]] = {"read": [], "embed": []}
        for _ in range(5):
            reader.forget()
            for name, work in (
                ("read", lambda: reader.read(questions[0]["question"], texts)),
                ("embed", lambda: embedder._bert.encode([*tokenizer.encode_batch(texts)], embedder._threads)),
            ):
                with timed() as spent:
                    work()
                seconds[name].append(spent["wall_s"])
                cpu[name].append(spent["cpu_s"])
    best = {name: min(values) for name, values in cpu.items()}
    result = {
        "passages": len(texts),
        "tokens": sum(map(tokenizer.count, texts)),
        "cpu s": best,
        "wall s": {name: min(values) for name, values in seconds.items()},
        "read / embed, cpu": round(best["read"] / best["embed"], 2),
    }
    report("reader-speed", result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gold", "open", "rerank", "rerank-squad", "speed"])
    parser.add_argument("--sample", type=int, default=0, help="so many questions, drawn with seed 0")
    args = parser.parse_args()
    work = {"gold": gold, "open": from_folder, "rerank": rerank, "rerank-squad": rerank_squad, "speed": speed}
    work[args.what](args.sample)


if __name__ == "__main__":
    main()
