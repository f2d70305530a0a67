"""The guarded workers: what a hostile file does to its process stays there, and the run goes on in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.config import Load
from rag.errors import DocumentError, EmptyError, LoaderError
from rag.load import child
from rag.load.worker import LoaderPool
from rag.types import Heading, Source

SHARED = Path(__file__).parents[2] / "shared" / "data"

BAD_WORKER = '''
"""A worker whose loader does what the file's text says."""
import os, sys, time
from rag.errors import EmptyError
from rag.load.child import serve
from rag.types import Heading, Source

def load(path, relative, config):
    order, _, rest = path.read_text().partition(" ")
    if order == "sleep": time.sleep(float(rest))
    if order == "spin":
        while True: pass
    if order == "kill": os.kill(os.getpid(), int(rest))
    if order == "exit": print("last words", file=sys.stderr, flush=True); os._exit(int(rest))
    if order == "eat": bytearray(int(rest) * 1024 * 1024)
    if order == "write": open(path.with_suffix(".big"), "wb").truncate(int(rest) * 1024 * 1024)
    if order == "empty": raise EmptyError("nothing", "a hint")
    if order == "chatter": print("garbage " * 1000, flush=True); os.system("echo more")
    text = f"{order} \\U0001f600 {os.getpid()}"
    return Source(relative, text, "html", "T", (0, 3), (Heading(0, 1, "H"),), {"a": 1}, ("w",))

serve(load)
'''


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    script = tmp_path / "bad_worker.py"
    script.write_text(BAD_WORKER)
    return [sys.executable, str(script)]


def job(folder: Path, name: str, text: str) -> tuple[Path, str]:
    (folder / name).write_text(text)
    return folder / name, name


def children() -> set[int]:
    """Processes of ours that live or are zombies."""
    found = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="], capture_output=True, text=True)
    return {int(line.split()[0]) for line in found.stdout.splitlines() if not line.endswith(" ps")}


def test_results_cross_whole_and_in_order(tmp_path: Path, command: list[str]) -> None:
    before = children()
    jobs = [job(tmp_path, f"{n}.html", f"sleep {0.2 if n == 0 else 0}") for n in range(5)]
    jobs[2:2] = [job(tmp_path, "note.md", "# Here\nin-process"), job(tmp_path, "song.mp3", "x")]
    jobs += [job(tmp_path, "e.html", "empty"), job(tmp_path, "c.html", "chatter")]
    with LoaderPool(Load(workers=2), command) as pool:
        got = list(pool.load_many(jobs))
    assert [name for name, _ in got] == [name for _, name in jobs]
    first = got[0][1]
    assert isinstance(first, Source)
    assert first.text.startswith("sleep \U0001f600 ")
    assert (first.path, first.kind, first.title, first.pages) == ("0.html", "html", "T", (0, 3))
    assert (first.headings, first.metadata, first.warnings) == ((Heading(0, 1, "H"),), {"a": 1}, ("w",))
    loaded = dict(got)
    assert isinstance(loaded["note.md"], Source)
    assert isinstance(loaded["c.html"], Source)
    assert type(loaded["song.mp3"]).__name__ == "UnsupportedError"
    error = loaded["e.html"]
    assert isinstance(error, EmptyError)
    assert (error.message, error.hint) == ("nothing", "a hint")
    assert children() == before


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("sleep 60", r"took longer than 1 s$"),
        ("spin", r"took longer than 1 s$"),
        (f"kill {int(signal.SIGSEGV)}", "the loader process was killed by SIGSEGV"),
        (f"kill {int(signal.SIGKILL)}", "killed by SIGKILL, the machine may be out of memory"),
        (f"kill {int(signal.SIGXCPU)}", r"took longer than 1 s of CPU$"),
        ("write 400", "File too large|killed by SIGXFSZ"),
        ("exit 3", "ended with status 3: last words"),
        ("eat 4000", "needs more than 256 MB"),
    ],
)
def test_a_bad_file_costs_only_itself(tmp_path: Path, command: list[str], order: str, reason: str) -> None:
    before = children()
    jobs = [job(tmp_path, "a.html", "ok"), job(tmp_path, "bad.html", order), job(tmp_path, "z.html", "ok")]
    with LoaderPool(Load(workers=1, timeout_s=1, memory_mb=256), command) as pool:
        (_, a), (_, bad), (_, z) = pool.load_many(jobs)
        assert isinstance(a, Source)
        assert isinstance(bad, DocumentError)
        with pytest.raises(DocumentError, match=reason):
            raise DocumentError(bad.message)
        assert bad.hint
        assert isinstance(z, Source)
        assert a.text != z.text  # another process
    assert children() == before


def test_a_process_that_cannot_start_isnt_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(command: list[str]) -> Source | DocumentError:
        with LoaderPool(Load(workers=1), command) as pool:
            [(_, loaded)] = pool.load_many([job(tmp_path, "a.html", "<p>ok</p>")])
        return loaded

    for command, why in (
        (["/nowhere/python"], "No such file or directory"),
        ([sys.executable, "-c", "import sys; sys.exit('no numpy here')"], "it ended with status 1: no numpy here"),
    ):
        loaded = load(command)
        assert isinstance(loaded, LoaderError)
        assert loaded.message == f"the loader process can't be started: {why}"

    def refuse(*arguments: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        loaded = load([sys.executable])
    assert isinstance(loaded, LoaderError)
    assert "Resource temporarily unavailable" in loaded.message


def test_one_worker_serves_many_files(tmp_path: Path, command: list[str]) -> None:
    with LoaderPool(Load(workers=1), command) as pool:
        texts = {
            s.text for _, s in pool.load_many(job(tmp_path, f"{n}.html", "ok") for n in range(5)) if type(s) is Source
        }
        assert len(texts) == 1
        pid = int(texts.pop().split()[-1])
        os.kill(pid, signal.SIGKILL)  # while idle: the next file isn't to blame
        time.sleep(0.1)
        [(_, after)] = pool.load_many([job(tmp_path, "a.html", "ok")])
        assert isinstance(after, Source)


def test_nothing_starts_before_it_is_needed_and_little_is_pulled(tmp_path: Path, command: list[str]) -> None:
    before, pulled = children(), 0

    def jobs(suffix: str) -> Iterator[tuple[Path, str]]:
        nonlocal pulled
        for n in range(50):
            pulled += 1
            yield job(tmp_path, f"{n}.{suffix}", "ok")

    with LoaderPool(Load(workers=2), command) as pool:
        assert len(list(pool.load_many(jobs("zip")))) == 50
        assert children() == before
        pulled = 0
        results = pool.load_many(jobs("html"))
        assert pulled == 0
        next(results)
        assert pulled == 4
        results.close()  # type: ignore[attr-defined]
    assert children() == before


def test_closing_ends_busy_workers_at_once(tmp_path: Path, command: list[str]) -> None:
    before, started = children(), time.monotonic()
    pool = LoaderPool(Load(workers=2), command)
    results = pool.load_many(job(tmp_path, f"{n}.html", "sleep 60" if n else "ok") for n in range(9))
    next(results)
    pool.close()
    assert time.monotonic() - started < 20
    assert children() == before


def test_a_worker_that_does_not_start_gives_its_reason(tmp_path: Path) -> None:
    with LoaderPool(Load(workers=1), [sys.executable, "-c", "import nosuchmodule"]) as pool:
        [(_, error)] = pool.load_many([job(tmp_path, "a.html", "x")])
    assert isinstance(error, DocumentError)
    assert "No module named 'nosuchmodule'" in error.message


def test_a_worker_that_lies_is_not_believed(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.buffer.write((2).to_bytes(8,'big')+b'{}'+(4).to_bytes(8,'big')+b'[1]]'); input()"
    with LoaderPool(Load(workers=1), [sys.executable, "-c", code]) as pool:
        [(_, error)] = pool.load_many([job(tmp_path, "a.html", "x")])
    assert isinstance(error, DocumentError)
    assert "sent nonsense" in error.message


def test_a_script_without_guard_and_ctrl_c(tmp_path: Path, command: list[str]) -> None:
    """The caller's `__main__` isn't imported again, and an interrupt leaves no process behind."""
    for n in range(4):
        job(tmp_path, f"{n}.html", "sleep 60" if n else "ok")
    script = tmp_path / "user.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from pathlib import Path
        from rag.config import Load
        from rag.load.worker import LoaderPool
        print("main runs", flush=True)
        jobs = [(Path({str(tmp_path)!r}) / f"{{n}}.html", str(n)) for n in range(4)]
        with LoaderPool(Load(workers=2), {command!r}) as pool:
            for name, loaded in pool.load_many(jobs):
                print(loaded.text.split()[-1], flush=True)
        """)
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "main runs\n"
    worker = int(process.stdout.readline())
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and its children
    out, err = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in err
    assert "main runs" not in out
    deadline = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_the_real_worker(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a.html", "<html><body><p>hello there</p></body></html>"), job(tmp_path, "b.pdf", "no pdf")]
    jobs.append(job(tmp_path, "größe\udcff.html", "<p>odd name</p>"))
    with LoaderPool(Load(workers=2)) as pool:
        (_, a), (_, b), (name, c) = pool.load_many(jobs)
    assert isinstance(a, Source)
    assert a.text == "hello there"
    assert isinstance(b, DocumentError)
    assert "can't be read as pdf" in b.message
    assert isinstance(c, Source)
    assert c.path == name == "größe\udcff.html"


@pytest.mark.skipif(not (SHARED / "pdf-samples").is_dir(), reason="shared/data/pdf-samples is not here")
def test_every_sample_pdf_ends_in_one_outcome() -> None:
    paths = sorted((SHARED / "pdf-samples").glob("*.pdf"))
    with LoaderPool(Load(timeout_s=30)) as pool:
        got = dict(pool.load_many((p, p.name) for p in paths if "GeoTopo" not in p.name))
    errors = {name[:3]: error.message for name, error in got.items() if isinstance(error, DocumentError)}
    assert errors == {
        "005": "encrypted, needs a password",
        "007": "no text on any of 1 pages, scanned?",
        "017": "can't be read as pdf: PdfiumError: Failed to load document (PDFium: Data format error).",
        "019": "no text on any of 1 pages, scanned?",
        "023": "no text on any of 1 pages, scanned?",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE, RLIMIT_AS")
def test_limits_that_the_process_was_started_with_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Herons\n\nThe heron stands in the river.")
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom rag.config import Load\n"
        "from rag.load.worker import load_one\n"
        "for which, limit in ((resource.RLIMIT_FSIZE, 1 << 16), (resource.RLIMIT_AS, 3 << 30)):\n"
        "    resource.setrlimit(which, (limit, limit))\n"
        "print(load_one(Path(sys.argv[1]), Load(memory_mb=8000)).title)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.md")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.stdout == "Herons\n", told.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counted otherwise there")
def test_the_limit_of_cpu_time_is_set_by_the_clock_that_the_kernel_holds_against_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """getrusage falls behind it, a tenth on some machines: a child that has read for minutes would be ended at once."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_CPU)
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: given.append((which, *limits)))
    given: list[tuple[int, ...]] = []
    ticks = time.clock_gettime(child._TICKS)
    assert abs(ticks - time.process_time()) < 1 + 0.5 * ticks  # it is that clock
    monkeypatch.setattr(time, "clock_gettime", lambda clock: {child._TICKS: 1000.5}[clock])
    child._limit_cpu(30)
    assert given == [(resource.RLIMIT_CPU, 1036, before[1])]
