"""Sync of sec-10-q (20 quarterly reports, PDF) end to end against the usual LangChain script on the same files.

The script: pypdf text page by page, RecursiveCharacterTextSplitter(1000, 200), HuggingFaceEmbeddings,
Chroma.from_documents. Each run is a process of its own; they alternate. CPU includes the worker processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys

from common import DATA, ROOT, WORK, need, report, timed

SCRIPT = """
import sys
from pathlib import Path
import pypdf
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
folder, index, model = map(Path, sys.argv[1:4])
raised = dict.fromkeys(["array_maximum_element_count", "dictionary_maximum_element_count"], 1_000_000)
limits = pypdf.apply_configuration(**raised)  # pypdf's own limits refuse two of the files
limits.__enter__()
pages = [Document(page_content=page.extract_text(), metadata={"source": str(file), "page": n})
         for file in sorted(folder.glob("*.pdf")) for n, page in enumerate(pypdf.PdfReader(file).pages, 1)]
chunks = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200).split_documents(pages)
embeddings = HuggingFaceEmbeddings(model_name=str(model))
store = Chroma.from_documents(chunks[:5000], embeddings, persist_directory=str(index))
for start in range(5000, len(chunks), 5000):
    store.add_documents(chunks[start:start + 5000])
print(len(chunks))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    from rag.embed import resolve_model

    model = resolve_model("all-MiniLM-L6-v2").folder
    folder = WORK / "sec-10-q" / "docs"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in sorted(need(DATA / "sec-10-q" / "docs").glob("*.pdf"))[: args.files]:
        shutil.copy(file, folder)
    rows: dict[str, list[dict[str, float]]] = {"rag sync": [], "LangChain script": []}
    told = {}
    for n in range(args.rounds):
        index = folder.parent / f"index-{n}"
        commands = {
            "rag sync": [sys.executable, "-m", "rag", "sync", "--json", "--docs", str(folder), "--config",
                         str(ROOT / "config.yaml"), "--set", f"store.path={index}"],
            "LangChain script": [sys.executable, "-c", SCRIPT, str(folder), str(index) + "-lc", str(model)],
        }  # fmt: skip
        for name, command in commands.items():
            with timed() as seconds:
                done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows[name].append(seconds)
            told[name] = done.stdout.strip().splitlines()[-1]
            print(name, seconds, told[name][:200], flush=True)
    best = {name: min(r["wall_s"] for r in runs) for name, runs in rows.items()}
    cpu = {name: min(r["cpu_s"] for r in runs) for name, runs in rows.items()}
    report(
        "sec-10-q",
        {
            "files": len(list(folder.glob("*.pdf"))),
            "rounds": args.rounds,
            "wall_s": best,
            "cpu_s": cpu,
            "wall ratio": round(best["LangChain script"] / best["rag sync"], 2),
            "cpu ratio": round(cpu["LangChain script"] / cpu["rag sync"], 2),
            "LangChain chunks": int(told["LangChain script"]),
            "rag": json.loads(told["rag sync"]),
        },
    )


if __name__ == "__main__":
    main()
