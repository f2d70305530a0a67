"""Which engine should read PDFs, pypdfium2 or pypdf? Text, paragraphs, speed and failures; with --retrieval, search.

    python benchmarks/pdf_engines.py                 (sec-10-q, pdf-samples, and XQuAD printed by Chromium)
    python benchmarks/pdf_engines.py --retrieval     (sec-10-q, synced once per engine: minutes)

Speed: for each file the engines take turns in one process, the best of two rounds; CPU seconds of text alone. Between
engines: F1 of words as multisets. "Joined": two neighbouring words of the other engine that this one runs together.
Against the text: paragraphs under headings, printed by Chromium, as characters in order (4-grams, multisets) and as
paragraphs found whole. Retrieval: whether a file that holds the answer comes first, or among five passages, and the
share of the answer's figures (three digits and more) that stand in the first ten passages.
"""

from __future__ import annotations

import argparse
import csv
import html
import logging
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from common import DATA, WORK, need, open_rag, read_squad, report

from rag.config import Load
from rag.errors import DocumentError
from rag.load import load_file
from rag.load.pdf.engine import Engine, opened

ENGINES: tuple[Engine, ...] = get_args(Engine)
ROUNDS = 2
PARAGRAPHS = 40


def read(engine: Engine, file: Path) -> tuple[list[str], int]:
    """Text of each page, and how many pages failed."""
    pages, failed = [], 0
    with opened(engine, file.read_bytes()) as document:
        for number in range(document.count):
            try:
                pages.append("\n".join(line.text for line in document.lines(number)))
            except Exception:
                pages.append("")
                failed += 1
    return pages, failed


def f1(a: Counter[Any], b: Counter[Any]) -> float:
    return 2 * (a & b).total() / max(1, a.total() + b.total())


def joined(ours: Sequence[str], theirs: Sequence[str]) -> int:
    pairs = Counter(a + b for a, b in pairwise(theirs))
    return ((Counter(ours) - Counter(theirs)) & pairs).total()


def compare(files: Sequence[Path]) -> dict[str, Any]:
    seconds, pages = Counter[str](), 0
    refused: dict[str, dict[str, str]] = {engine: {} for engine in ENGINES}
    told = {engine: Counter[str]() for engine in ENGINES}
    similar: list[tuple[float, int, str]] = []
    for file in files:
        best: dict[str, float] = {}
        texts: dict[str, list[str]] = {}
        for turn in range(ROUNDS * len(ENGINES)):
            engine = ENGINES[turn % len(ENGINES)]
            start = time.process_time()
            try:
                texts[engine], failed = read(engine, file)
            except Exception as error:
                refused[engine][file.name] = " ".join(str(error).split())
                continue
            best[engine] = min(best.get(engine, 1e9), time.process_time() - start)
            told[engine]["failed pages"] = told[engine]["failed pages"] + (failed if turn < len(ENGINES) else 0)
        for engine, found in texts.items():
            told[engine]["pages without text"] += sum(not page for page in found)
        if len(texts) < len(ENGINES):
            continue
        pages += len(texts[ENGINES[0]])
        seconds.update(best)
        one, two = (" ".join(texts[engine]).split() for engine in ENGINES)
        told[ENGINES[0]]["words joined"] += joined(one, two)
        told[ENGINES[1]]["words joined"] += joined(two, one)
        for engine, words in zip(ENGINES, (one, two), strict=True):
            told[engine]["words"] += len(words)
        if one or two:
            similar.append((f1(Counter(one), Counter(two)), len(one) + len(two), file.name))
    words = sum(weight for _, weight, _ in similar)
    return {
        "files": len(files),
        "pages read by both": pages,
        "cpu_s": {engine: round(seconds[engine], 2) for engine in ENGINES},
        "pages/s of CPU": {engine: round(pages / seconds[engine], 1) for engine in ENGINES},
        "times as fast": round(seconds["pypdf"] / seconds["pypdfium2"], 1),
        "word F1 between them": round(sum(score * weight for score, weight, _ in similar) / words, 4),
        "least alike": {name: round(score, 3) for score, _, name in sorted(similar)[:5]},
        "can't be opened": refused,
        **{engine: dict(told[engine]) for engine in ENGINES},
    }


def printed(language: str) -> tuple[Path, list[str], list[str]] | None:
    """A PDF of XQuAD's first paragraphs, each below a heading of its own; and those headings and paragraphs."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    texts = list(read_squad(DATA / "xquad" / f"xquad.{language}.json")[0].values())[:PARAGRAPHS]
    texts = [" ".join(text.split()) for text in texts]
    headings = [f"{n}. Heading of Part {n}" for n in range(1, len(texts) + 1)]
    folder = WORK / "printed"
    folder.mkdir(parents=True, exist_ok=True)
    body = "".join(f"<h3>{h}</h3><p>{html.escape(t)}</p>" for h, t in zip(headings, texts, strict=True))
    page, target = folder / f"{language}.html", folder / f"{language}.pdf"
    page.write_text(f'<!doctype html><html lang="{language}"><meta charset="utf-8">{body}', encoding="utf-8")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    subprocess.run([*command, f"--print-to-pdf={target}", str(page)], check=True, capture_output=True, timeout=120)
    return target, headings, texts


def grams(text: str) -> Counter[str]:
    text = " ".join(text.split())
    return Counter(text[i : i + 4] for i in range(len(text) - 3))


def against_text() -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for language in ("en", "de", "zh", "ar", "hi", "ru", "th", "vi"):
        if not (DATA / "xquad" / f"xquad.{language}.json").exists():
            continue
        if (made := printed(language)) is None:
            return {"skipped": "no chromium to print with"}
        file, headings, texts = made
        for engine in ENGINES:
            try:
                source = load_file(file, file.name, Load(pdf=engine))
            except DocumentError as error:
                rows[f"{language} {engine}"] = {"error": error.message}
                continue
            paragraphs = Counter(" ".join(p.split()) for p in source.text.split("\n\n"))
            want = [part for pair in zip(headings, texts, strict=True) for part in pair]
            rows[f"{language} {engine}"] = {
                "4-gram F1": round(f1(grams(source.text), grams(" ".join(want))), 4),
                "headings alone": f"{sum(bool(paragraphs[h]) for h in headings)} of {len(headings)}",
                "paragraphs whole": f"{sum(bool(paragraphs[t]) for t in texts)} of {len(texts)}",
            }
    return rows


FIGURE = re.compile(r"\d[\d,.]*\d")


def figures(text: str) -> set[str]:
    return {f for f in FIGURE.findall(text) if sum(map(str.isdigit, f)) >= 3 and not re.fullmatch(r"20\d\d", f)}


def retrieval(files: int) -> dict[str, Any]:
    with need(DATA / "sec-10-q" / "qna_data.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    folder = WORK / "sec-10-q-engines" / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((DATA / "sec-10-q" / "docs").glob("*.pdf"))[:files]:
        shutil.copy(file, folder)
    names = [file.name for file in folder.glob("*.pdf")]

    def right(row: dict[str, str]) -> list[str]:
        patterns = [p.strip() for p in row["Source Docs"].split(",")]
        return [n for n in names if any(fnmatch(n, p if "*" in p else f"*{p}*") for p in patterns)]

    asked = [row for row in rows if right(row)]
    told: dict[str, Any] = {"questions": len(asked), "files": len(names)}
    for engine in ENGINES:
        rag = open_rag(folder, f"index-{engine}", load__pdf=engine)
        first = five = 0
        shares, chars = [], []
        for row in asked:
            found = rag.search(row["Question"], k=10, candidates=50)
            files_found = [p.source for p in found]
            first += files_found[:1] != [] and files_found[0] in right(row)
            five += bool({*files_found[:5]} & {*right(row)})
            if wanted := figures(row["Answer"]):
                held = set().union(*(figures(p.text) for p in found))
                shares.append(len(wanted & held) / len(wanted))
            chars += [len(p.text) for p in found]
        told[engine] = {
            "right file first": round(100 * first / len(asked), 1),
            "right file in five passages": round(100 * five / len(asked), 1),
            "figures of the answer in ten passages": round(100 * sum(shares) / len(shares), 1),
            "chunks": rag.status()["chunks"],
            "characters of a passage": round(sum(chars) / len(chars)),
        }
        print(engine, told[engine], flush=True)
        rag.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--retrieval", action="store_true")
    parser.add_argument("--files", type=int, default=20)
    args = parser.parse_args()
    logging.disable()
    if args.retrieval:
        report("pdf-engines-retrieval", retrieval(args.files))
        return
    sets = {name: sorted(need(DATA / name).rglob("*.pdf"))[: args.files * 2] for name in ("sec-10-q", "pdf-samples")}
    report("pdf-engines", {**{n: compare(files) for n, files in sets.items()}, "against the text": against_text()})


if __name__ == "__main__":
    main()
