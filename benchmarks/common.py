"""What every benchmark shares: where the data lies, folders made of it, and a result that says how it was made."""

from __future__ import annotations

import json
import lzma
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rag import Rag
from rag.embed.text import bfloat16_supported

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RAG_SHARED") or ROOT.parent / "shared")
DATA = SHARED / "data"
WORK = Path(os.environ.get("RAG_BENCH") or ROOT / ".bench")  # ignored by git
os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(SHARED / "tiktoken"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does

KINDS: dict[str, dict[str, Any]] = {
    "dense": {"kind": "dense"},
    "lexical": {"kind": "lexical"},
    "hybrid": {},
    "hybrid rrf": {"fusion": "rrf"},
}


def need(path: Path) -> Path:
    if not path.exists():
        sys.exit(f"{path} is missing: this benchmark needs the data of docs/results.md (RAG_SHARED names its folder)")
    return path


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Of a set of ../shared/train: xz-compressed JSON lines."""
    with lzma.open(need(file), "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def folder_of(name: str, texts: Mapping[str, str]) -> Path:
    """A document folder with one file per entry, written once."""
    folder = WORK / name / "docs"
    have = {p.name for p in folder.glob("*")} if folder.exists() else set()
    if have != set(texts):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in have - set(texts):
            (folder / stale).unlink()
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    return folder


def open_rag(folder: Path, index: str = "index", **settings: Any) -> Rag:
    """A Rag over `folder` on the packaged defaults, synced, with its index beside the folder."""
    rag = Rag.open(ROOT / "config.yaml", docs=folder, store__path=folder.parent / index, **settings)
    rag.sync(reindex=True)
    return rag


def read_squad(file: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """SQuAD and XQuAD JSON -> {paragraph file: text}, [{id, question, file, article, answers}]."""
    paragraphs: dict[str, str] = {}
    questions = []
    for article, entry in enumerate(json.loads(need(file).read_text(encoding="utf-8"))["data"]):
        for paragraph in entry["paragraphs"]:
            name = f"{len(paragraphs):05d}.txt"
            paragraphs[name] = paragraph["context"]
            for qa in paragraph["qas"]:
                answers = [a["text"] for a in qa["answers"]]
                questions.append(
                    {"id": qa["id"], "question": qa["question"], "file": name, "article": article, "answers": answers}
                )
    return paragraphs, questions


def rank_of_file(rag: Rag, question: str, file: str, depth: int = 10, **settings: Any) -> int:
    """Rank of the file among the files found (1 is best), 0 when it isn't among the first `depth`."""
    found = rag.search(question, k=depth, max_per_source=1, candidates=max(50, 4 * depth), **settings)
    return next((p.number for p in found if p.source == file or file in p.also_in), 0)


class Remember:
    """An embed function that embeds each text once: questions over one folder share their sentences."""

    def __init__(self, embed: Callable[[Sequence[str]], Any]) -> None:
        self.embed, self.known = embed, {}

    def __call__(self, texts: Sequence[str]) -> Any:
        new = [t for t in dict.fromkeys(texts) if t not in self.known]
        if new:
            self.known.update(zip(new, self.embed(new), strict=True))
        return np.stack([self.known[t] for t in texts])


def ranking_metrics(ranks: Sequence[int]) -> dict[str, float]:
    """From the rank of each question's one right file (0: not found): nDCG@10, R@1, R@5, R@10, MRR@10, all x100."""
    from math import log2

    n = len(ranks)
    within = {k: sum(0 < r <= k for r in ranks) / n for k in (1, 5, 10)}
    return {
        "ndcg@10": round(100 * sum(1 / log2(r + 1) for r in ranks if 0 < r <= 10) / n, 2),
        **{f"recall@{k}": round(100 * v, 2) for k, v in within.items()},
        "mrr@10": round(100 * sum(1 / r for r in ranks if 0 < r <= 10) / n, 2),
        "questions": n,
    }


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Wall and CPU seconds of the block, children's CPU included."""
    seconds: dict[str, float] = {}
    wall, cpu = time.perf_counter(), _cpu()
    yield seconds
    seconds["wall_s"] = round(time.perf_counter() - wall, 3)
    seconds["cpu_s"] = round(_cpu() - cpu, 3)


def _cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def report(name: str, result: Any) -> None:
    """Print the result, and keep it with the command and versions that made it in benchmarks/results/NAME.json."""
    body = {
        "benchmark": name,
        "command": "python " + " ".join([str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} x {platform.machine()}"
        f"{' with bfloat16' if bfloat16_supported() else ''}, Python {platform.python_version()}",
        "versions": {p: version(p) for p in ("chromadb", "torch", "tokenizers", "tantivy", "numpy")},
        "result": result,
    }
    target = ROOT / "benchmarks" / "results"
    target.mkdir(exist_ok=True)
    (target / f"{name}.json").write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))
