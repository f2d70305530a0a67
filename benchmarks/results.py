"""Write docs/results.md from benchmarks/results/*.json: each figure beside what it is held against, never typed.

python benchmarks/results.py           # writes
python benchmarks/results.py --check   # exit code 1 when the page doesn't say what the files say
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "results.md"

HEAD = """# Results

Made by `python benchmarks/results.py` from `benchmarks/results/*.json`, which the commands below wrote. Timings are
from one shared machine with 2 cores: only ratios within one run mean much. Weights and thresholds were fitted on
squad-train-du (`training/extractive.py`), which shares no article with any set here.
"""

Row = tuple[str, str, str]  # what, measured, held against


def _xquad(r: dict[str, Any]) -> list[Row]:
    against = {
        "en dense": "94.36 published, its paragraphs end at 256 tokens: so do those of the run with --cut",
        "en hybrid": ">= 96 wanted",
        "de dense": "70.32 published",
        "zh dense": "24.23 published",
    }
    return [
        (f"{name}: nDCG@10", f"{v['ndcg@10']} (R@1 {v['recall@1']})", against.get(name, "")) for name, v in r.items()
    ]


def _squad(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    wanted = {"hybrid": "R@1 >= 82, R@5 >= 95.5 wanted; untuned trial 82 / 96", "dense": "trial 62 / 86"}
    for kind in ("dense", "lexical", "hybrid", "hybrid rrf"):
        if kind in r:
            v = r[kind]
            n = v["questions"]
            se = 100 * (v["recall@1"] / 100 * (1 - v["recall@1"] / 100) / n) ** 0.5
            told = f"R@1 {v['recall@1']} (standard error {se:.1f}), R@5 {v['recall@5']}, n = {n}"
            rows.append((kind, told, wanted.get(kind, "")))
    if "extractive" in r:
        e = r["extractive"]
        first, three = e["first sentence holds a gold answer"], e["first three"]
        rows.append(("first sentence holds a gold answer", f"{first} %", ">= 76 % wanted; trial 74.5"))
        rows.append(("one of the first three does", f"{three} %", ">= 90 % wanted; trial 89.8"))
    return rows


def _scorer(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for version, v in r.items():
        told = f"{v['questions']:,} of {v['of']:,}, in {v['articles']} articles; {v['unanswerable']:,} unanswerable"
        rows.append((f"{version.strip('v')}: questions", told, ""))
        for system, s in v["systems"].items():
            pair = " / ".join(f"{s[name][0]:.2f} ({s[name][1]} to {s[name][2]})" for name in ("EM", "F1"))
            against = ""
            if "EM published" in s:
                missing = f"{s['EM on the missing questions']} / {s['F1 on the missing questions']}"
                published = f"{s['EM published']:.2f} / {s['F1 published']:.2f} published on all"
                against = f"{published}, so {missing} on the missing questions"
            rows.append((f"{version.strip('v')}, {system}: EM / F1", pair, against))
    return rows


def _chroma(r: dict[str, Any]) -> list[Row]:
    against = {"dense": "75.7 / 6.5 published for recursive 200", "hybrid": "recall >= 86 with IoU >= 6.5 wanted"}
    return [
        (
            f"{k}: recall / IoU",
            f"{r[k]['recall']} (standard error {r[k]['recall_se']}) / {r[k]['iou']}",
            against.get(k, ""),
        )
        for k in ("dense", "lexical", "hybrid", "hybrid rrf")
    ] + [("chunks, questions", f"{r['chunks']}, {r['questions']}", "")]


def _omega(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = [("questions", str(r["questions"]), "")]
    for name, v in r["notebook"].items():
        told = f"LangChain's {v['LangChain']:.4f}, rag's {v['rag']:.4f}"
        rows.append((f"{name}, cl100k's tokens", told, f"{v['published']:.4f} published (notebook)"))
    for name, v in r["all-MiniLM-L6-v2"].items():
        told = ", ".join(f"{way} {value}" for way, value in v.items() if way.startswith(("LangChain", "rag")))
        mean = (
            f"; mean tokens {v['its mean tokens']} and {v['mean tokens published']}" if "its mean tokens" in v else ""
        )
        rows.append((f"{name}, the report's table for all-MiniLM-L6-v2", told, f"{v['published']} published{mean}"))
    rows += [(f"{kind} 200, the model's tokens", str(value), "") for kind, value in r["200, ours"].items()]
    return rows


def _chroma_table(r: dict[str, Any]) -> list[Row]:
    def told(v: dict[str, Any]) -> str:
        error = f" (standard error {v['recall_se']:.1f})" if "recall_se" in v else ""
        mean = f"; mean tokens {v['mean tokens']}" if v["mean tokens"] else ""
        return f"{v['recall']:.1f}{error} / {v['precision']:.1f} / {v['omega']:.1f} / {v['iou']:.1f}{mean}"

    rows: list[Row] = [("questions", str(r["questions"]), "recall / precision / precision_omega / IoU")]
    for name, v in r["rows"].items():
        ways = [way for way in ("as published", "rag") if way in v]
        rows += [(f"{name}, {way}", told(v[way]), f"{told(v['published'])} published") for way in ways]
    return rows


def _covid(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = [("papers, questions", f"{r['papers']}, {r['questions']}", "")]
    for kind, v in r["kinds"].items():
        value, low, high = v[r["by"]]
        iou = v["char_iou@5"][0]
        told = f"{r['by']} {value} ({low} to {high}), char_iou@5 {iou}, {v['mean characters']} characters a chunk"
        difference, low, high = v["difference"]
        verdict = "worse" if v["worse than the first"] else "not shown to be worse"
        against = f"{difference:+} ({low:+} to {high:+}): {verdict}"
        rows.append((kind, told, against if difference else "the first"))
    return rows


def _defaults(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for name, v in r.items():
        if name == "default":
            continue
        for part, against in (("cells", "of the best"), ("lengths", "of the best; longer chunks show more in vain")):
            for settings, cell in v[part].items():
                value, low, high = cell["value"]
                told = f"{v['by']} {value} ({low} to {high}), char_iou@5 {cell['char_iou@5']}"
                difference, low, high = cell["difference"]
                verdict = "worse" if cell["worse"] else "not shown to be worse"
                behind = f"{difference:+} ({low:+} to {high:+}) {against}: {verdict}" if difference else "the best"
                shipped = ", as shipped" if settings == r["default"] else ""
                rows.append((f"{name}, {v['questions']} questions: {settings}{shipped}", told, behind))
    return rows


def _abstention(r: dict[str, Any]) -> list[Row]:
    trial = {
        "SQuAD v2.0": "trial .65; >= .80 wanted with the reader",
        "CLAPNQ": "trial .87; >= .90 wanted with the reader",
    }
    rows: list[Row] = []
    for name, v in r.items():
        told = f"{v['questions']} questions, {v['answerable']} answerable"
        rows.append(
            (
                f"{name}: AUROC, fitted on one half, on the other",
                str(v["fitted on one half, on the other"]),
                trial[name],
            )
        )
        rows.append((f"{name}: AUROC, confidence as shipped", str(v["confidence as shipped"]), told))
        rows += [(f"{name}: AUROC of {signal} alone", str(value), "") for signal, value in v["alone"].items()]
        risks = ", ".join(f"{risk} at {c}" for c, risk in v["unanswerable among the answered, at coverage"].items())
        rows.append((f"{name}: unanswerable among the answered, at coverage", risks, ""))
    return rows


def _confidence(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    for name, v in (r["sets"] | r["folders"]).items():
        told = (
            f"AUROC right {v['right']}, answerable {v['answerable']}; answers {v['answered']} of what it shows rightly,"
        )
        told += f" declines {v['declined']} of the unanswerable; {v['questions']} questions"
        other = v.get("right, fitted on the others")
        rows.append((name, told, f"right {other} when fitted on the others" if other else ""))
    for fifth, v in r["calibration"].items():
        rows.append((f"confidence {fifth}", f"{v['said']} said, {v['right']} right of {v['questions']}", ""))
    return rows


def _embedding(r: dict[str, Any]) -> list[Row]:
    wanted = {"bfloat16": ">= 2.5 wanted", "float32": ">= 1.3 wanted"}
    rows = [("texts, tokens", f"{r['chunks']:,}, {r['tokens']:,}", "")]
    for name in ("HuggingFaceEmbeddings", "float32", "bfloat16"):
        v = r[name]
        times = f"{v['cpu ratio']}x less CPU, {v['wall ratio']}x less wall ({v['cpu_s']} CPU s)"
        told = f"{times}, cosine >= {v['least cosine']}"
        rows.append((name, told, wanted.get(name, "the baseline")))
    return rows


def _sec(r: dict[str, Any]) -> list[Row]:
    return [
        ("wall, LangChain script / rag sync", f"{r['wall ratio']}x ({r['wall_s']})", ">= 2.2 wanted"),
        ("CPU", f"{r['cpu ratio']}x ({r['cpu_s']})", ""),
        ("files; chunks of rag, of the script", f"{r['files']}; {r['rag']['chunks']}, {r['LangChain chunks']}", ""),
    ]


def _pdf_engines(r: dict[str, Any]) -> list[Row]:
    if "questions" in r:
        told = {k: v for k, v in r.items() if isinstance(v, dict)}
        return [(f"{engine}: {k}", str(v), "") for engine, figures in told.items() for k, v in figures.items()]
    rows: list[Row] = []
    for name in ("sec-10-q", "pdf-samples"):
        v = r[name]
        speed = v["pages/s of CPU"]
        held = f"pypdf {speed['pypdf']}: {v['times as fast']} times as fast"
        rows.append((f"{name}: pypdfium2, pages per second of CPU", str(speed["pypdfium2"]), held))
        rows.append((f"{name}: word F1 between them", str(v["word F1 between them"]), f"{v['files']} files"))
        joined = [v[engine]["words joined"] for engine in ("pypdfium2", "pypdf")]
        rows.append((f"{name}: words run together by pypdfium2", str(joined[0]), f"pypdf {joined[1]}"))
        refused = [len(v["can't be opened"][engine]) for engine in ("pypdfium2", "pypdf")]
        rows.append((f"{name}: files that pypdfium2 can't open", str(refused[0]), f"pypdf {refused[1]}"))
    for name, v in r["against the text"].items():
        if isinstance(v, dict):
            rows.append((f"printed, {name}", ", ".join(f"{k} {x}" for k, x in v.items()), ""))
    return rows


def _latency(r: dict[str, Any]) -> list[Row]:
    rows = [
        ("warm search, p50 / p95", f"{r['ms']['search']['p50']} / {r['ms']['search']['p95']} ms", "p50 <= 10 ms wanted")
    ]
    rows += [(f"of it {k}", f"{v['p50']} ms", "") for k, v in r["ms"].items() if k != "search"]
    return [*rows, ("chunks", f"{r['chunks']:,}", "")]


def _serve(r: dict[str, Any]) -> list[Row]:
    ms, health = r["ms"], r["health meanwhile, ms"]
    told = ", ".join(f"{v} {k}" for k, v in health.items())
    answered = ", ".join(f"{n} got {status}" for status, n in r["two hundred at once"].items())
    return [
        ("HTTP adds to a search at p50", f"{r['http adds at p50, ms']} ms", "<= 3 ms wanted"),
        *((f"{k}, p50 / p95", f"{v['p50']} / {v['p95']} ms", "") for k, v in ms.items() if k != "first event"),
        ("first event, p50 / p95", f"{ms['first event']['p50']} / {ms['first event']['p95']} ms", "<= 150 ms wanted"),
        ("200 questions at once", answered, "no 5xx but 503 wanted"),
        ("/health meanwhile, ms", told, "< 100 throughout wanted"),
    ]


def _cold(r: dict[str, Any]) -> list[Row]:
    wanted = {"help": "<= 0.4 s wanted", "search": "<= 2.5 s wanted"}
    return [
        (k, f"{v['wall_s']} s wall, {v['cpu_s']} s CPU", next((w for n, w in wanted.items() if n in k), ""))
        for k, v in r.items()
        if isinstance(v, dict)
    ]


def _descriptors(r: dict[str, Any]) -> list[Row]:
    digits, pictures = r["spoken digits"], r["look-alikes"]
    voices = ", ".join(f"{v} {k}" for k, v in digits["same voice"].items())
    ways = ", ".join(f"{v} {k}" for k, v in pictures.items() if k not in ("drawings", "all"))
    return [
        (
            "nearest other recording is the same digit, %",
            f"{digits['any voice']} of {digits['recordings']}",
            ">= 80 wanted",
        ),
        ("the same, among one voice's own", voices, ""),
        ("the same, among other voices only", str(digits["other voices only"]), ""),
        ("an altered drawing's original comes first, %", f"{pictures['all']}: {ways}", ">= 95 wanted"),
    ]


def _plain(r: dict[str, Any]) -> list[Row]:
    return [(k, json.dumps(v, ensure_ascii=False) if isinstance(v, (dict, list)) else str(v), "") for k, v in r.items()]


def _kill(r: dict[str, Any]) -> list[Row]:
    by: dict[str, int] = {}
    for point, kills in r["at"].items():
        by[point.partition(":")[0]] = by.get(point.partition(":")[0], 0) + kills
    held = {
        "kills": "the first index lost, unreadable, half or wrong ends the run without a result",
        "stored_texts_embedded_again": "0 wanted",
        "plain Chroma": "the same killer, a program that only adds and deletes rows: it must find something",
    }
    told = {k: v for k, v in r.items() if k not in ("at", "kills")}
    shown = {"kills": f"{r['kills']:,}", "of": by, **told}
    return [(k, told, held.get(k, "")) for k, told, _ in _plain(shown)]


def _mend(r: dict[str, Any]) -> list[Row]:
    size = f"{r['chunks']:,} x {r['dimension']}, catalog {r['catalog_mb']} MB, load {r['load']}"
    rows = [(k, f"{v} s", "< 120 s wanted" if k == "repair" else "") for k, v in r["seconds"].items()]
    return [("chunks x dimension", size, ""), *rows]


def _splitters(r: dict[str, Any]) -> list[Row]:
    return [
        (
            f"{kind}, longest of {r['texts']} texts of {r['mb']:g} MB",
            f"{v['wall_s']} s ({v['cpu_s']} s CPU): {v['text']}, {v['chunks']:,} chunks",
            "< 10 s wanted",
        )
        for kind, v in r["longest"].items()
    ]


def _ann(r: dict[str, Any]) -> list[Row]:
    rows: list[Row] = [("chunks, questions, ef_search", f"{r['chunks']:,}, {r['questions']}, {r['ef_search']}", "")]
    for when, found in r.items():
        if isinstance(found, dict):
            for filtered, v in (found if "mean" not in found else {"no filter": found}).items():
                told = f"mean {v['mean']}, least {v['least']}, p50 {v['p50_ms']} ms"
                rows.append((f"{when}, {filtered}", told, "mean >= .99, none below .8 wanted"))
    return [*rows, ("publishing all", f"{r['publish_s']} s", "")]


def _equal_rows(r: dict[str, Any]) -> list[Row]:
    return [(k, ", ".join(f"{v} {n}" for n, v in by.items()), "kept once: >= .99 wanted") for k, by in r.items()]


def _reader(r: dict[str, Any]) -> list[Row]:
    wanted = {
        "SQuAD v1.1": "F1 >= 77, EM >= 65 wanted",
        "SQuAD v2.0 AUROC": ">= .85 wanted",
        "rerank builtin": "R@1 >= 88, F1 >= 62 (SQuAD), nDCG@10 >= 98 (XQuAD-en) wanted",
        "read / embed, cpu": "<= 2.2 wanted",
    }
    return [(k, told, wanted.get(k, "")) for k, told, _ in _plain({k: v for k, v in r.items() if k != "weights"})]


def _unchanged(r: dict[str, Any]) -> list[Row]:
    return [
        (k, row[1], "0 embedded, < 1 s wanted" if k == "second" else "") for k, row in zip(r, _plain(r), strict=True)
    ]


SECTIONS: tuple[tuple[str, str, Callable[[dict[str, Any]], list[Row]]], ...] = (
    ("xquad", "XQuAD, question -> paragraph", _xquad),
    ("squad-scorer", "SQuAD's EM and F1 on the predictions of old systems", _scorer),
    ("squad-open", "SQuAD v1.1, open: paragraphs and extractive answers", _squad),
    ("chroma-chunking", "Chroma's chunking set, five chunks", _chroma),
    ("chroma-table", "Chroma's table for all-MiniLM-L6-v2: its way, and ours", _chroma_table),
    ("omega", "Chroma's precision_omega, without a model", _omega),
    ("embedding", "Embedding 3,000 chunks", _embedding),
    ("sec-10-q", "Sync of 20 quarterly reports (PDF)", _sec),
    ("pdf-engines", "PDF: pypdfium2 and pypdf", _pdf_engines),
    ("search-latency", "Warm search", _latency),
    ("serve-latency", "What HTTP costs", _serve),
    ("cold-start", "Cold start", _cold),
    ("sync-unchanged", "Second sync of 1,000 unchanged files", _unchanged),
    ("kill", "kill -9 during sync, delete, compact, export, import and repair", _kill),
    ("mend", "Mending from the catalog", _mend),
    ("splitters", "Splitters over hostile texts", _splitters),
    ("ann-recall", "Recall@10 of the shipped Chroma settings against exact search", _ann),
    ("equal-rows", "Recall@10 beside rows of one vector", _equal_rows),
    ("sample", "The sample folder's questions", _plain),
    ("abstention", "Answerable or not", _abstention),
    ("confidence", "The confidence on other kinds of text", _confidence),
    ("reader", "The embedded reader", _reader),
    ("descriptors", "Pictures and sounds without weights", _descriptors),
    ("defaults", "The defaults against other splitters, searches and lengths", _defaults),
    ("covid-qa", "COVID-QA: the whole answer in five chunks, per splitter", _covid),
)


def page() -> str:
    parts = [HEAD]
    for prefix, title, rows_of in SECTIONS:
        files = sorted(RESULTS.glob(f"{prefix}*.json"))
        if not files:
            continue
        parts.append(f"\n## {title}\n")
        for file in files:
            body = json.loads(file.read_text(encoding="utf-8"))
            parts.append(f"\n`{body['command']}` ({body['date']}, {body['machine']})\n\n")
            parts.append("| | measured | held against |\n|---|---|---|\n")
            parts.extend(
                f"| {what} | {measured} | {against} |\n" for what, measured, against in rows_of(body["result"])
            )
    notes = RESULTS / "notes.md"
    if notes.exists():
        parts.append("\n" + notes.read_text(encoding="utf-8"))
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
