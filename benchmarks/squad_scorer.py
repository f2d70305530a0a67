"""Do our EM and F1 give what SQuAD's own script gave old systems? Their prediction files, on the questions at hand.

The published pairs are over all of SQuAD's dev set; here lie 38 of its 48 articles (v1.1), 27 of 35 (v2.0). So the
result states the count, an interval over articles, and what EM and F1 on the missing questions would have to be for
the published means to hold: a scorer that is wrong by half a point shows there.
"""

from __future__ import annotations

import json

from common import DATA, need, report

from rag.evaluate.answers import score_answers
from rag.evaluate.formats import read_dataset
from rag.evaluate.statistics import mean_interval

QUESTIONS = {"1.1": 10_570, "v2.0": 11_873}  # in the whole dev set
PUBLISHED = {  # EM, F1
    "1.1/BERT (ensemble)": (86.21, 92.20),
    "1.1/Logistic Regression Baseline": (40.14, 50.98),
    "1.1/Match-LSTM with Ans-Ptr": (67.63, 76.76),
}


def main() -> None:
    versions = {}
    for version, all_of_them in QUESTIONS.items():
        asked = read_dataset(need(DATA / "squad" / f"dev-v{version.strip('v')}.json")).judgements
        articles = [j.group for j in asked]
        systems = {}
        for file in sorted(need(DATA / "squad" / "predictions" / version).iterdir()):
            scores = score_answers(asked, json.loads(file.read_text(encoding="utf-8")))
            published = next((v for k, v in PUBLISHED.items() if f"{version}/{file.stem}".startswith(k)), None)
            row: dict[str, object] = {"without a prediction": len(scores.missing)}
            for i, (name, values) in enumerate((("EM", scores.exact_match), ("F1", scores.f1))):
                interval = mean_interval(values, groups=articles)
                row[name] = [round(100 * v, 2) for v in (interval.mean, interval.low, interval.high)]
                if published:
                    missing = (published[i] * all_of_them - 100 * sum(values)) / (all_of_them - len(asked))
                    row[f"{name} published"] = published[i]
                    row[f"{name} on the missing questions"] = round(missing, 1)
            systems[file.stem.rsplit(" (", 1)[0]] = row  # without who made it
        versions[version] = {
            "questions": len(asked),
            "of": all_of_them,
            "articles": len(set(articles)),
            "unanswerable": sum(not j.answerable for j in asked),
            "systems": systems,
        }
    report("squad-scorer", versions)


if __name__ == "__main__":
    main()
