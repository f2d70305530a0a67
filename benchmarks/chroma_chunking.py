"""Chroma's chunking evaluation through the real pipeline: recall, precision and IoU of characters, five chunks.

Published, all-MiniLM-L6-v2, about 200 cl100k tokens without overlap: recursive 75.7 recall / 6.5 IoU (DATA.md's table).

    python benchmarks/chroma_chunking.py --split recursive --tokens 200 --count tiktoken:cl100k_base
"""

from __future__ import annotations

import argparse

from chroma import corpora, means, questions, scores
from common import KINDS, folder_of, open_rag, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="recursive")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--overlap", type=int, default=0)
    parser.add_argument("--count", default="tiktoken:cl100k_base", help="or: embedder")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--prepend", default="none")
    parser.add_argument("--rerank", default="none")
    args = parser.parse_args()
    # txt, since the report's splitters know nothing of Markdown and its offsets are into the plain file
    texts = {f"{name}.txt": text for name, text in corpora().items()}
    folder = folder_of("chroma-chunking", texts)
    setting = (args.split, args.tokens, args.overlap, args.count.replace(":", "_"), args.precision, args.prepend)
    index = "-".join(["index", *map(str, setting)])
    settings = {
        "split__kind": args.split,
        "split__max_tokens": args.tokens,
        "split__overlap_tokens": args.overlap,
        "split__tokenizer": args.count,
        "split__prepend": args.prepend,
        "embed__precision": args.precision,
    }
    asked = questions()
    rows = {}
    with open_rag(folder, index, **settings) as rag:
        for name, text in texts.items():
            assert rag.source(name).text == text, f"{name}: loading changed the text"
        chunks = rag.status()["chunks"]
        for kind, override in KINDS.items():
            measured = []
            for question, corpus, references in asked:
                found = rag.search(question, k=5, rerank=args.rerank, **override)
                measured.append(scores(references, f"{corpus}.txt", [(p.source, p.span) for p in found]))
            rows[kind] = means(measured)
            print(kind, rows[kind], flush=True)
    name = f"chroma-chunking-{index.removeprefix('index-')}" + ("" if args.rerank == "none" else f"-{args.rerank}")
    report(name, {"chunks": chunks, "questions": len(asked), **rows})


if __name__ == "__main__":
    main()
