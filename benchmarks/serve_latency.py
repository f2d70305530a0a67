"""What HTTP costs: a search through `rag serve` against the same call in Python, the first streamed event, and /health
while two hundred questions come at once. Over data/documents, with the extractive generator, on a warm server.

Wanted: at most 3 ms more at p50, the first event within 150 ms, /health under 100 ms throughout.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from common import ROOT, WORK, report

from rag import Rag

DOCS = ROOT / "data/documents"
PROBE = """
import http.client, sys, time
caller = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
end = time.monotonic() + 120
while time.monotonic() < end:
    start = time.perf_counter()
    caller.request("GET", "/health")
    caller.getresponse().read()
    print(time.perf_counter() - start, flush=True)
    time.sleep(0.002)
"""


@contextmanager
def serving(index: str) -> Iterator[int]:
    """The port of a `rag serve` that is ready."""
    command = [sys.executable, "-m", "rag", "serve", "--port", "0", "--docs", str(DOCS), "--set", f"store.path={index}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr is not None
    try:
        found = re.search(r":(\d+) ", process.stderr.readline())
        assert found is not None
        port = int(found[1])
        while request(http.client.HTTPConnection("127.0.0.1", port), "GET", "/ready")[0] != 200:
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def request(caller: http.client.HTTPConnection, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body)
    caller.request(method, path, data, {"Content-Type": "application/json"} if data else {})
    answer = caller.getresponse()
    return answer.status, answer.read()


def first_event(port: int, question: str) -> float:
    """Seconds from sending to the first event."""
    caller = http.client.HTTPConnection("127.0.0.1", port)
    start = time.perf_counter()
    body = json.dumps({"question": question, "stream": True})
    caller.request("POST", "/ask", body, {"Content-Type": "application/json"})
    answer = caller.getresponse()
    assert answer.readline().startswith(b"event: ")
    seconds = time.perf_counter() - start
    answer.read()
    return seconds


async def at_once(port: int, number: int) -> list[int]:
    """The statuses of so many questions."""

    async def ask(n: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps({"question": f"What does cosine similarity measure, number {n}?"}).encode()
        head = "POST /ask HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    return await asyncio.gather(*(ask(n) for n in range(number)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=300)
    args = parser.parse_args()
    index = str(WORK / "serve-latency" / "index")
    words = [json.loads(line)["question"] for line in (ROOT / "data/questions.jsonl").open(encoding="utf-8")]
    queries = [f"{words[n % len(words)]} {n}" for n in range(args.searches)]  # each a new one: vectors are remembered
    ms: dict[str, list[float]] = {"python": [], "http": [], "first event": []}
    with serving(index) as port, Rag.open(ROOT / "config.yaml", docs=DOCS, store__path=index) as rag:
        caller = http.client.HTTPConnection("127.0.0.1", port)
        for query in words[:20]:
            rag.search(query)
            request(caller, "POST", "/search", {"query": query})
        for query in queries:  # in turns, so that both have the same neighbours
            start = time.perf_counter()
            rag.search(query)
            ms["python"].append(time.perf_counter() - start)
            start = time.perf_counter()
            status, _ = request(caller, "POST", "/search", {"query": query})
            ms["http"].append(time.perf_counter() - start)
            assert status == 200
        ms["first event"] = [first_event(port, query) for query in queries[:100]]
        probe = subprocess.Popen([sys.executable, "-c", PROBE, str(port)], stdout=subprocess.PIPE, text=True)
        assert probe.stdout is not None
        probe.stdout.readline()
        statuses = asyncio.run(at_once(port, 200))
        probe.kill()
        health = [float(line) for line in probe.communicate()[0].split()[:-1]]
    spread = {k: {f"p{p}": round(1000 * float(np.percentile(v, p)), 2) for p in (50, 95)} for k, v in ms.items()}
    report(
        "serve-latency",
        {
            "searches": args.searches,
            "ms": spread,
            "http adds at p50, ms": round(spread["http"]["p50"] - spread["python"]["p50"], 2),
            "two hundred at once": {str(s): statuses.count(s) for s in sorted(set(statuses))},
            "health meanwhile, ms": {
                **{f"p{p}": round(1000 * float(np.percentile(health, p)), 1) for p in (50, 99)},
                "max": round(1000 * max(health), 1),
                "asked": len(health),
                "over 100 ms": sum(seconds > 0.1 for seconds in health),
            },
        },
    )


if __name__ == "__main__":
    main()
