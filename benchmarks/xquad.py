"""XQuAD, question -> paragraph over a synced folder of 240 text files. Published, dense: en nDCG@10 94.36."""

from __future__ import annotations

import argparse

from common import DATA, KINDS, folder_of, open_rag, rank_of_file, ranking_metrics, read_squad, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", default="en")
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    rows = {}
    for language in args.languages.split(","):
        paragraphs, questions = read_squad(DATA / "xquad" / f"xquad.{language}.json")
        folder = folder_of(f"xquad-{language}", paragraphs)
        with open_rag(folder, f"index-{args.precision}", split__kind="document", split__max_tokens=254,
                      embed__precision=args.precision) as rag:  # fmt: skip
            for name, settings in KINDS.items():
                ranks = [rank_of_file(rag, q["question"], q["file"], **settings) for q in questions]
                rows[f"{language} {name}"] = ranking_metrics(ranks)
                print(language, name, rows[f"{language} {name}"], flush=True)
    report(f"xquad-{args.languages.replace(',', '-')}-{args.precision}", rows)


if __name__ == "__main__":
    main()
