"""XQuAD, question -> paragraph over a synced folder of 240 text files. Published, dense: en nDCG@10 94.36.

The published run reads the first 256 tokens of a paragraph and no more; the product reads all of it, in two chunks.
`--cut` gives it the same beginnings, so the two can be compared.
"""

from __future__ import annotations

import argparse

from common import DATA, KINDS, folder_of, open_rag, rank_of_file, ranking_metrics, read_squad, report

from rag.embed import TextEmbedder


def beginnings(texts: dict[str, str]) -> dict[str, str]:
    """What the model reads when texts are cut at its limit."""
    model = TextEmbedder()
    room = model.limit - model.special_tokens
    ends = {name: model.tokenizer.offsets(text)[:room][-1][1] for name, text in texts.items()}
    return {name: text[: ends[name]] for name, text in texts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--languages", default="en")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--cut", action="store_true", help="paragraphs end where the model stops reading")
    args = parser.parse_args()
    rows = {}
    cut = "-cut" if args.cut else ""
    for language in args.languages.split(","):
        paragraphs, questions = read_squad(DATA / "xquad" / f"xquad.{language}.json")
        folder = folder_of(f"xquad-{language}{cut}", beginnings(paragraphs) if args.cut else paragraphs)
        with open_rag(folder, f"index-{args.precision}", split__kind="document", split__max_tokens=254,
                      embed__precision=args.precision) as rag:  # fmt: skip
            for name, settings in KINDS.items():
                ranks = [rank_of_file(rag, q["question"], q["file"], **settings) for q in questions]
                rows[f"{language} {name}"] = ranking_metrics(ranks)
                print(language, name, rows[f"{language} {name}"], flush=True)
    report(f"xquad-{args.languages.replace(',', '-')}-{args.precision}{cut}", rows)


if __name__ == "__main__":
    main()
