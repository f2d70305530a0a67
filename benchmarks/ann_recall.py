"""Does the shipped Chroma find what exact search finds? Recall@10 on real vectors, as the index grows and is replaced.

    python benchmarks/ann_recall.py [--sizes 10000,50000] [--questions 300] [--rounds 6] [--ef 400]

Sentences of 7 to 16 words from the training sets are embedded with the packaged model (once: the vectors are kept below
RAG_BENCH) and stored in an index by the store's own writer; questions of squad-train-mrqa are searched in it by its own
reader, without a filter and with filters that let 1 % and 0.1 % of the chunks through. Then half of the files are
replaced, several times: as a sync does it, and, harsher, in one Chroma collection that is never made anew.

A hit counts when its true cosine is at least that of the tenth best, so equal sentences don't decide. `--sizes 0`
embeds and ends.
"""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import SHARED, WORK, need, read_rows, report
from numpy.typing import NDArray

from rag.config import Store
from rag.embed import TextEmbedder
from rag.store import Catalog, IndexReader, IndexWriter
from rag.store.vectors import open_embedded, width
from rag.types import Chunk, Location, Outcome, Source, Span

K = 10
BLOCK = 5_000  # sentences embedded and kept together
PER_FILE = 50  # sentences in a file
Vectors = NDArray[np.float32]


# ---- real vectors ----------------------------------------------------------------------------------------------------


def sentences(most: int) -> list[str]:
    """Different ones, in an order that mixes the sets."""
    found: dict[str, None] = {}
    for file in sorted(need(SHARED / "train").glob("*/*.xz")):
        for row in read_rows(file):
            for sentence in re.split(r"(?<=[.!?])\s+", row.get("context") or row.get("positive") or ""):
                if 7 <= len(sentence.split()) <= 16:
                    found.setdefault(sentence)
    mixed = np.random.default_rng(7).permutation(len(found))[:most]
    every = list(found)
    return [every[i] for i in mixed]


def questions(most: int) -> list[str]:
    rows = read_rows(SHARED / "train" / "squad-train-mrqa" / "spans.jsonl.xz")
    asked = list(dict.fromkeys(row["question"] for row in rows))
    return [asked[i] for i in np.random.default_rng(8).permutation(len(asked))[:most]]


def embedded(name: str, texts: Sequence[str], embedder: TextEmbedder) -> Vectors:
    """(len(texts), dimension), from files of BLOCK rows where they are."""
    folder = WORK / "ann"
    folder.mkdir(parents=True, exist_ok=True)
    blocks = []
    for start in range(0, len(texts), BLOCK):
        file = folder / f"{name}-{start // BLOCK:03}.npy"
        part = texts[start : start + BLOCK]
        made = np.load(file) if file.exists() else None
        if made is None or len(made) < len(part):
            clock = time.perf_counter()
            made = embedder.passage_vectors(part)
            np.save(file, made)
            print(f"{name}: {start + len(part)} of {len(texts)}, {len(part) / (time.perf_counter() - clock):.0f}/s")
        blocks.append(made[: len(part)])
    return np.concatenate(blocks)


# ---- the index -------------------------------------------------------------------------------------------------------


def put(writer: IndexWriter, texts: Sequence[str], vectors: Vectors, rows: Sequence[int]) -> None:
    """Files of PER_FILE rows each, named by their first row."""
    catalog, generation = writer.catalog, writer.next_generation
    with catalog.transaction():
        for start in range(0, len(rows), PER_FILE):
            part = list(rows[start : start + PER_FILE])
            name = f"{generation}-{part[0]}.txt"
            text = "\n".join(texts[i] for i in part)
            at, chunks = 0, []
            for i in part:
                chunks.append(Chunk(texts[i], Span(at, at + len(texts[i])), Location(None, 1)))
                at += len(texts[i]) + 1
            keys = [i.to_bytes(16, "big") for i in part]
            catalog.put_vectors(keys, vectors[part])
            content = catalog.put_content(name, Source(name, text, "txt"), chunks, [f"{name} {i}" for i in part], keys)
            catalog.put_file(generation, name, at, 1, 1, name, content, Outcome.INDEXED, None)


def rows_of(catalog: Catalog, generation: int) -> tuple[list[int], list[int]]:
    """Chunk ids and, beside them, which sentence each is."""
    ids = catalog.chunk_ids(generation)
    found = catalog.chunks(ids)
    return ids, [int(found[i].key.rpartition(" ")[2]) for i in ids]


def recall(search: Any, pool: Vectors, asked: Vectors, ids: Sequence[int], rows: Sequence[int]) -> dict[str, Any]:
    """Of the true ten nearest of `ids` (whose vectors are pool[rows]), how many `search(vector)` finds."""
    here, place = pool[list(rows)], {chunk_id: n for n, chunk_id in enumerate(ids)}
    wanted = min(K, len(ids))
    shares, times = [], []
    for vector in asked:
        true = here @ vector
        least = np.partition(true, -wanted)[-wanted] - 1e-6
        clock = time.perf_counter()
        hits = search(vector)
        times.append(1000 * (time.perf_counter() - clock))
        shares.append(sum(true[place[i]] >= least for i, _ in hits[:wanted]) / wanted)
    return {
        "mean": round(float(np.mean(shares)), 5),
        "least": round(float(np.min(shares)), 3),
        "below_0.8": int(np.sum(np.asarray(shares) < 0.8)),
        "p50_ms": round(float(np.median(times)), 2),
    }


def measured(reader: IndexReader, pool: Vectors, asked: Vectors) -> dict[str, Any]:
    catalog = reader.catalog
    generation = catalog.generation
    ids, rows = rows_of(catalog, generation)
    found = {"no filter": recall(lambda v: reader.dense(v, K, generation), pool, asked, ids, rows)}
    chance = np.random.default_rng(len(ids))
    for share in (0.01, 0.001):
        keep = sorted(chance.choice(len(ids), max(K, round(share * len(ids))), replace=False))
        allowed, some = [ids[i] for i in keep], [rows[i] for i in keep]
        within = recall(lambda v, a=allowed: reader.dense(v, K, generation, a), pool, asked, allowed, some)
        found[f"filter {share:.1%}"] = {"chunks": len(allowed), **within}
    return found


def grown_and_replaced(
    size: int, rounds: int, texts: Sequence[str], pool: Vectors, asked: Vectors, store: Store
) -> dict[str, Any]:
    embedding = {"model": "all-MiniLM-L6-v2", "dimension": pool.shape[1]}
    chance = np.random.default_rng(size)
    with TemporaryDirectory(dir=WORK / "ann") as folder:
        with IndexWriter(Path(folder) / "index", store) as writer:
            put(writer, texts, pool, range(size))
            clock = time.perf_counter()
            writer.check_settings(embedding, {}, reindex=False)
            writer.publish()
            result: dict[str, Any] = {"publish_s": round(time.perf_counter() - clock, 1)}
            with closing(IndexReader(writer.folder, store)) as reader:
                result["new"] = measured(reader, pool, asked)
            for _ in range(rounds):
                generation = writer.next_generation
                before = writer.catalog.files(generation - 1)
                _, present = rows_of(writer.catalog, generation - 1)
                spare = np.setdiff1d(np.arange(len(pool)), present)
                gone = chance.choice(len(before), len(before) // 2, replace=False)
                with writer.catalog.transaction():
                    for i in gone:
                        writer.catalog.remove_file(generation, before[i].path)
                fresh = len(gone) * PER_FILE
                if len(spare) < fresh:  # what goes comes back under another id
                    left = {r for f in gone for r in map(int, _sentences_of(writer.catalog, before[f].content_id))}
                    spare = np.concatenate([spare, np.asarray(sorted(left))])
                put(writer, texts, pool, chance.permutation(spare)[:fresh].tolist())
                writer.check_settings(embedding, {}, reindex=False)
                writer.publish()
            if rounds:
                with closing(IndexReader(writer.folder, store)) as reader:
                    result[f"{rounds} rounds of replacing half"] = measured(reader, pool, asked)
        shutil.rmtree(folder + "/index")
        if rounds:
            churned = churn(Path(folder) / "chroma", size, rounds, pool, asked, store)
            result[f"{rounds} rounds in one collection, never made anew"] = churned
    return result


def _sentences_of(catalog: Catalog, content_id: int | None) -> list[str]:
    return [c.key.rpartition(" ")[2] for c in catalog.chunks_of(content_id or 0)]


def churn(folder: Path, size: int, rounds: int, pool: Vectors, asked: Vectors, store: Store) -> dict[str, Any]:
    """What the writer never does: it makes the collection anew when 30 % of the rows were removed."""
    chance = np.random.default_rng(size + 1)
    rows, next_id = {i: i for i in range(size)}, size
    store = store.model_copy(update={"ef_search": width(store.ef_search, size)})
    with closing(open_embedded(folder, pool.shape[1], store, create=True)) as index:
        index.add(list(rows), pool[:size])
        for _ in range(rounds):
            gone = chance.choice(list(rows), size // 2, replace=False).tolist()
            index.remove(gone)
            for i in gone:
                del rows[i]
            spare = np.setdiff1d(np.arange(len(pool)), list(rows.values()))
            new = chance.permutation(spare)[: size // 2].tolist()
            ids = list(range(next_id, next_id + len(new)))
            next_id += len(new)
            index.add(ids, pool[new])
            rows.update(zip(ids, new, strict=True))
        return recall(lambda v: index.search(v, K), pool, asked, list(rows), list(rows.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="10000,50000,100000")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--pool", type=int, default=100_000, help="different sentences to draw from")
    parser.add_argument("--ef", type=int, default=Store().ef_search)
    given = parser.parse_args()
    sizes = [int(n) for n in given.sizes.split(",")]
    with closing(TextEmbedder()) as embedder:
        texts = sentences(max(given.pool, *sizes))
        pool = embedded("sentences", texts, embedder)
        asked = embedded("questions", questions(given.questions), embedder)
    store = Store(ef_search=given.ef)
    ef = "" if given.ef == Store().ef_search else f"-ef-{given.ef}"
    for size in filter(None, sizes):
        found = grown_and_replaced(size, given.rounds, texts, pool, asked, store)
        about = {"chunks": size, "questions": len(asked), "ef_search": width(given.ef, size)}
        report(f"ann-recall-{size:06}{ef}", {**about, **found})


if __name__ == "__main__":
    main()
