"""The sample folder's 80 questions: is the evidence found, does the answer hold a short answer, is it declined?

With --reader, the embedded reader gives short answers: is one exact, or F1 >= .7? With --generator smollm2, the same
for a language model, plus seconds to the first token and tokens per second, and the first questions written out (prompt
as sent, reply as checked) to benchmarks/results/sample-smollm2.md.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from common import ROOT, WORK, report

from rag import Rag
from rag.evaluate.answers import exact_match, f1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", default="extractive")
    parser.add_argument("--reader", action="store_true")
    parser.add_argument("--rerank", default="none")
    parser.add_argument("--questions", type=int, default=80, help="so many, spread over the file")
    args = parser.parse_args()
    rows = [json.loads(line) for line in (ROOT / "data" / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = rows[:: max(1, len(rows) // args.questions)][: args.questions]
    settings = (
        {} if args.generator == "extractive" else {"generate__kind": "transformers", "generate__model": args.generator}
    )
    settings["retrieve__rerank"] = args.rerank
    if args.reader:
        settings["generate__reader"] = "builtin"
    written = []
    tally: dict[str, list[float]] = {}

    def count(name: str, value: float) -> None:
        tally.setdefault(name, []).append(float(value))

    docs = ROOT / "data" / "documents"
    with Rag.open(ROOT / "config.yaml", docs=docs, store__path=WORK / "sample" / "index", **settings) as rag:
        rag.sync(reindex=True)
        rag.ask(rows[0]["question"])  # models loaded
        for row in rows:
            start = time.perf_counter()
            answer = rag.ask(row["question"])
            count("seconds", time.perf_counter() - start)
            if row["answerable"]:
                spots = {(e["source"], " ".join(e["quote"].split())) for e in row["evidence"]}
                found = [
                    any(p.source == s and q in " ".join(p.text.split()) for s, q in spots) for p in answer.passages
                ]
                holds = [a.casefold() in answer.text.casefold() for a in row["answers"]]
                cited = {c.source for c in answer.citations}
                count("evidence in the passages", any(found))
                count("evidence in the first passage", bool(found and found[0]))
                count("answered", not answer.abstained)
                count("answer holds a short answer", any(holds))
                count("first sentence holds it", bool(answer.statements) and any(
                    a.casefold() in answer.statements[0].text.casefold() for a in row["answers"]))  # fmt: skip
                if args.reader:
                    said = [s.text for s in answer.short] or [""]
                    count("first short answer: EM", exact_match(said[0], row["answers"]))
                    count("first short answer: F1", f1(said[0], row["answers"]))
                    count("a short answer is exact or F1 >= .7", max(f1(s, row["answers"]) for s in said) >= 0.7)
                count("a citation is in the right file", bool(cited & {s for s, _ in spots}))
            else:
                count("declined", answer.abstained)
            if args.generator != "extractive" and not answer.abstained:
                count(
                    "the model's own words stand",
                    args.generator in answer.generator and "extractive" not in answer.generator,
                )
                if "first_token" in answer.timings:
                    count("seconds to the first token", answer.timings["first_token"])
                    rest = answer.timings["generate"] - answer.timings["first_token"]
                    if answer.tokens.get("completion", 0) > 3 and rest > 0:
                        count("tokens per second", (answer.tokens["completion"] - 1) / rest)
                if len(written) < 20:
                    prompt = rag.prompt(row["question"])
                    written.append(_written(row, prompt, answer))
    result = {name: round(float(np.mean(values)), 4) for name, values in tally.items()}
    result["counts"] = {name: len(values) for name, values in tally.items()}
    if written:
        (ROOT / "benchmarks" / "results" / f"sample-{args.generator}.md").write_text(
            "\n".join(written), encoding="utf-8"
        )
    name = args.generator + ("-reader" if args.reader else "") + ("-reranked" if args.rerank != "none" else "")
    report(f"sample-{name}", result)


def _written(row, prompt, answer) -> str:
    sent = "\n".join(f"[{m.role}]\n{m.content}" for m in prompt.messages)
    cited = "\n".join(f"- [{c.number}] {c.label}: “{' '.join(c.quote.split())}”" for c in answer.citations)
    return (
        f"## {row['question']}\n\nExpected: {row['answers'] or 'no answer'}\n\n````\n{sent}\n````\n\n"
        f"**{answer.text}**\n\n{cited}\n\n({answer.generator}; {answer.reason or 'nothing dropped'}; "
        f"{prompt.tokens} tokens)\n"
    )


if __name__ == "__main__":
    main()
