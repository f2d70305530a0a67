"""The commands as a person sees them. Where the text of a terminal matters, a real one (a pty) is made."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from shell import METAL, RIVER, Shell, write

import rag
from rag.cli import app, show
from rag.tame import tame

COMMANDS = [
    "ask",
    "search",
    "chat",
    "prompt",
    "sync",
    "status",
    "list",
    "get",
    "doctor",
    "compact",
    "export",
    "import",
    "config",
]
COMMANDS += [
    "compare",
    "similar",
    "cluster",
    "map",
    "vectors",
    "embed",
    "tokens",
    "evaluate",
    "calibrate",
    "sweep",
    "questions",
    "mcp",
    "serve",
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory, shell: Shell) -> Path:
    """Two good files, an empty one and one that no loader takes; synced."""
    folder = write(tmp_path_factory.mktemp("library"), birds_md=RIVER, metals_txt=METAL, nothing_txt="", data_bin="?")
    assert shell("sync", "--docs", folder).returncode == 0
    return folder


@pytest.fixture
def invoke(shell: Shell, docs: Path, monkeypatch: pytest.MonkeyPatch):
    """The command in this process: no start-up to wait for."""
    monkeypatch.chdir(shell.cwd)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)

    def run(*args: object, **more: object) -> Result:
        return CliRunner().invoke(app, [*map(str, args)], **more)  # type: ignore[arg-type]

    return run


# ---- help --------------------------------------------------------------------------------------------------------


def test_help_names_every_command_with_its_whole_summary() -> None:
    told = CliRunner().invoke(app, ["--help"], terminal_width=80).stdout
    assert list(app.commands) == COMMANDS
    assert re.findall(r"^  (\w+) +\S", told.partition("Commands:")[2], re.MULTILINE) == COMMANDS
    assert "..." not in told.partition("Commands:")[2]


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c != "vectors"] + [f"vectors {c}" for c in ("add", "list", "search", "similar")]
)
def test_each_command_has_help_and_the_common_options(command: str) -> None:
    told = CliRunner().invoke(app, [*command.split(), "-h"])
    assert told.exit_code == 0
    for option in ("--docs", "--config", "--set", "--quiet"):
        assert option in told.stdout
    assert ("--json" in told.stdout) == (command not in ("chat", "serve", "mcp", "map", "vectors add"))


def test_version(shell: Shell) -> None:
    assert shell("--version").stdout == f"rag, version {rag.__version__}\n"


# ---- asking ------------------------------------------------------------------------------------------------------


def test_ask_syncs_the_named_folder_then_answers(shell: Shell, tmp_path: Path) -> None:
    docs = write(tmp_path / "papers", metals_txt=METAL)
    first = shell("ask", "At what temperature does copper melt?", "--docs", docs)
    assert first.returncode == 0
    assert first.stdout.startswith("Copper melts at 1085 degrees Celsius. [1]")
    assert "\n\n  [1] metals.txt:1\n" in first.stdout
    assert "“Copper melts at 1085 degrees Celsius.”" in first.stdout
    assert first.stderr.strip().startswith("confidence ")  # and no progress bar, no escape codes
    assert "\x1b" not in first.stdout + first.stderr
    write(docs, metals_txt=METAL.replace("1085", "1084"))
    again = shell("ask", "At what temperature does copper melt?", "--docs", docs, "-q")
    assert "1084" in again.stdout
    assert "1085" not in again.stdout
    assert again.stderr == ""


def test_ask_json_is_the_documented_form(invoke, docs: Path) -> None:
    told = invoke("ask", "At what temperature does copper melt?", "--docs", docs, "--json")
    answer = json.loads(told.stdout)
    assert answer["citations"][0] | {"quote": ""} == {
        "number": 1, "source": "metals.txt", "page": None, "line": 1, "seconds": None, "ocr": False,
        "start": 0, "end": 37, "quote": "", "table_head": "", "verified": True,
    }  # fmt: skip
    assert METAL[0:37] == answer["citations"][0]["quote"]
    assert answer["generator"] == "extractive"
    assert not answer["abstained"]


def test_a_quoted_row_stands_below_its_tables_head(invoke, tmp_path: Path) -> None:
    docs = write(tmp_path / "shop", prices_csv="part,price in euro,in stock\nbolt,2,17\nnut,3,40\n")
    told = invoke("ask", "What is the price in euro of a bolt?", "--docs", docs).stdout
    assert "  [1] prices.csv:3\n      part | price in euro | in stock\n      “bolt | 2 | 17”\n" in told


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["ask", " "], "the question is empty"),
        (["ask", "x" * 20_000], "at most"),
        (["search", ""], "the question is empty"),
        (["prompt", "", "--generator", "smollm2"], "the question is empty"),
        (["ask", "What?", "--filter", "colour=red"], "there is no field 'colour'"),
        (["chat", "--filter", "colour=red"], "there is no field 'colour'"),
    ],
)
def test_what_cant_be_asked_is_refused_before_a_sync(
    invoke, tmp_path: Path, command: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rag.Rag, "sync", lambda *_, **__: pytest.fail("synced"))
    done = invoke(*command, "--docs", write(tmp_path / "docs", a_txt=METAL))
    assert (done.exit_code, told in done.stderr) == (1, True)


def test_extra_words_are_told_how_a_question_and_a_folder_are_named(invoke) -> None:
    done = invoke("ask", "docs", "What is it?")
    assert done.exit_code == 2
    assert "Got unexpected extra argument (What is it?)" in done.stderr
    assert "Put quotes around words that belong together; name the document folder with --docs." in done.stderr


def test_ask_says_when_the_documents_hold_no_answer(invoke, docs: Path) -> None:
    told = invoke("ask", "Who composed the opera Tosca?", "--docs", docs)
    assert told.exit_code == 0
    assert told.stdout == "The documents don't hold an answer to this.\n"
    assert "why: " in told.stderr
    assert "nearest: " in told.stderr


def test_ask_explain_shows_the_stages(invoke, docs: Path) -> None:
    told = invoke("ask", "At what temperature does copper melt?", "--docs", docs, "--explain").stdout
    assert re.search(
        r"^\[1\] \d\.\d{3}  metals.txt:1\n    dense .* · lexical .* · proximity .* · fusion .*\(rank 1\)$", told, re.M
    )


def test_a_folder_that_was_never_synced_is_synced_once(invoke, tmp_path: Path) -> None:
    docs = write(tmp_path / "papers", metals_txt=METAL)
    named = ("--set", f"documents.path={docs}")
    assert invoke("search", "copper", "--no-sync", *named).exit_code == 1
    assert "metals.txt:1" in invoke("search", "copper", *named).stdout
    write(docs, metals_txt="Lead melts at 327 degrees.")
    assert "Copper" in invoke("search", "copper", *named).stdout  # without --docs or --sync it isn't looked at again
    assert "Lead" in invoke("search", "copper", "--sync", *named).stdout


def test_search_options(invoke, docs: Path) -> None:
    named = ("--docs", docs, "--json")
    found = json.loads(invoke("search", "river fish", "-k", 1, *named).stdout)["passages"]
    assert [p["source"] for p in found] == ["birds.md"]
    found = json.loads(invoke("search", "river fish", "--filter", "path=metals.*", *named).stdout)["passages"]
    assert {p["source"] for p in found} == {"metals.txt"}
    found = json.loads(invoke("search", "copper", "--kind", "lexical", *named).stdout)["passages"]
    assert {s["stage"] for p in found for s in p["stages"]} == {"lexical"}
    told = invoke("search", "river", "--min-score", 5, "--docs", docs)
    assert (told.exit_code, told.stdout, told.stderr) == (0, "", "nothing found\n")


def test_search_why(invoke, docs: Path) -> None:
    told = invoke("search", "copper", "--why", "metals.txt", "--docs", docs)
    assert told.stdout.startswith("metals.txt: it is passage 1\n  dense ")
    body = json.loads(invoke("search", "copper", "--why", "gone.txt", "--docs", docs, "--json").stdout)
    assert not body["found"]
    assert invoke("search", "copper", "--why", "metals.txt", "--filter", "type=md", "--docs", docs).exit_code == 2


def test_chat_answers_each_line_and_survives_a_bad_one(shell: Shell, docs: Path) -> None:
    lines = "At what temperature does iron melt?\n\n\x00\nWhat does the heron wait for?\nexit\nnever read\n"
    told = shell("chat", "--docs", docs, stdin=lines)
    assert told.returncode == 0
    assert told.stdout.index("1538") < told.stdout.index("fish")
    assert told.stderr.count("error: the question is empty") == 1
    assert "?" not in told.stdout.split()  # no prompt into a pipe


def test_prompt_shows_what_a_model_would_get(invoke, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeModel:
        name, context_window, max_new_tokens = "fake", 4096, 64

        def count(self, messages: list[rag.types.Message]) -> int:
            return sum(len(m.content.split()) for m in messages)

        def count_text(self, text: str) -> int:
            return len(text.split())

    asked = []
    monkeypatch.setattr(
        "rag.generate.make_generator", lambda config, counter: asked.append(config.model) or FakeModel()
    )
    told = invoke("prompt", "At what temperature does copper melt?", "--docs", docs)
    assert told.exit_code == 0, told.stderr
    assert told.stdout.startswith("--- system\n")
    assert "Copper melts at 1085" in told.stdout
    assert "generate.kind is extractive, which takes no prompt: this is what smollm2 would get" in told.stderr
    assert re.search(r"^--- \d+ tokens for smollm2, \d passages$", told.stderr, re.M)
    body = json.loads(invoke("prompt", "copper?", "--docs", docs, "--generator", "some/model", "--json").stdout)
    assert (body["generator"], body["in_use"], asked[-1]) == ("some/model", True, "some/model")
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["passages"][0] == "metals.txt:1"


# ---- the folder --------------------------------------------------------------------------------------------------


def test_sync_reports_reasons_and_counts_on_stderr(invoke, tmp_path: Path) -> None:
    docs = write(tmp_path / "mixed", a_md=RIVER, b_txt="", c_xyz="?")
    told = invoke("sync", "--docs", docs)
    assert told.exit_code == 0
    assert told.stdout == ""
    assert re.search(r"^empty +b.txt: ", told.stderr, re.M)
    assert re.search(r"^unsupported +c.xyz: no loader for .xyz$", told.stderr, re.M)
    assert re.search(r"^1 added · \d chunks, \d embedded, 0 reused · \d", told.stderr, re.M)
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    told = invoke("sync", "--docs", docs)
    assert told.exit_code == 1
    assert re.search(r"^failed +broken.pdf: ", told.stderr, re.M)
    assert invoke("sync", "--docs", docs, "-q").stderr == ""
    status = invoke("status", "--docs", docs)
    assert status.exit_code == 1
    assert re.search(r"^failed +broken.pdf: ", status.stdout, re.M)
    asked = invoke("search", "heron", "--docs", docs)
    assert asked.exit_code == 0
    assert asked.stderr.startswith("note: broken.pdf: ")


def test_sync_json_lines_end_with_the_report(invoke, tmp_path: Path) -> None:
    docs = write(tmp_path / "two", a_md=RIVER, b_txt="")
    told = invoke("sync", "--docs", docs, "--json")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [e["event"] for e in events if e["event"] != "progress"] == [
        "scan", "file", "file", "publish", "done", "report",
    ]  # fmt: skip
    assert {e["path"]: e["outcome"] for e in events if e["event"] == "file"} == {"a.md": "indexed", "b.txt": "empty"}
    assert events[-1]["num_added"] == 1
    assert told.stderr == ""


def test_status_and_list(invoke, docs: Path) -> None:
    told = invoke("status", "--docs", docs).stdout
    assert re.search(r"^holds        2 files, \d+ chunks, ", told, re.M)
    assert re.search(r"^outcomes     1 empty, 2 indexed, 1 unsupported$", told, re.M)
    body = json.loads(invoke("status", "--docs", docs, "--json").stdout)
    assert {f["path"] for f in body["files_not_indexed"]} == {"nothing.txt", "data.bin"}
    told = invoke("list", "--docs", docs).stdout.splitlines()
    assert [line.split()[2] for line in told] == ["birds.md", "data.bin:", "metals.txt", "nothing.txt:"]
    assert told[1].endswith("data.bin: no loader for .bin"), told
    assert json.loads(invoke("list", "--docs", docs, "--json").stdout)[0]["outcome"] == "indexed"


def test_looking_needs_no_model_and_takes_an_index_that_another_one_made(invoke, docs: Path) -> None:
    other = ("--docs", docs, "--set", "embed.model=no-such-model")
    for command in (("list",), ("status",), ("get", "birds.md:1")):
        assert invoke(*command, *other).exit_code == 0


def test_get(invoke, docs: Path) -> None:
    assert invoke("get", "birds.md", "--docs", docs).stdout == RIVER + "\n"
    assert invoke("get", "metals.txt:2", "--docs", docs).stdout == "    2  Iron melts at 1538 degrees Celsius.\n"
    assert invoke("get", "birds.md:1-3", "--docs", docs).stdout.splitlines()[2].startswith("    3  The heron")
    body = json.loads(invoke("get", "metals.txt:2", "--docs", docs, "--json").stdout)
    assert METAL[body["start"] : body["end"]] == body["text"]


@pytest.mark.parametrize("command", [["sync", "--docs", ""], ["config", "--config", ""], ["export", ""]])
def test_an_empty_path_is_not_the_folder_one_works_in(invoke, command: list[str]) -> None:
    told = invoke(*command)
    assert told.exit_code == 2
    assert "it is empty, and names neither a file nor a folder" in told.stderr


def test_config_shows_what_is_in_force(invoke, tmp_path: Path) -> None:
    told = invoke("config", "--set", "retrieve.top_k=3").stdout
    assert "  top_k: 3\n" in told
    assert json.loads(invoke("config", "--json").stdout)["retrieve"]["top_k"] == 5
    (Path.cwd() / "config.yaml").write_text("nonsense: 1", encoding="utf-8")
    try:
        assert invoke("config", "--default").stdout.startswith("# rag's settings")  # it helps with a broken file
        assert invoke("config").exit_code == 2
    finally:
        (Path.cwd() / "config.yaml").unlink()


# ---- terminals, pipes, signals -----------------------------------------------------------------------------------


def in_terminal(shell: Shell, *args: object, **environment: str) -> str:
    """All that a terminal of 100 columns gets, stdout and stderr together."""
    master, slave = pty.openpty()
    process = Shell(shell.home, environment).start(*args, stdin=slave, stdout=slave, stderr=slave, text=False)
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 60)[0]:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux: the last writer is gone
            break
        seen += part
    os.close(master)
    assert process.wait(60) == 0
    return seen.decode()


def test_a_terminal_gets_colours_and_links_unless_told_not_to(shell: Shell, docs: Path) -> None:
    shown = in_terminal(shell, "search", "copper", "-k", 1, "--docs", docs, "--no-sync", TERM="xterm")
    assert f"\x1b]8;;{(docs / 'metals.txt').as_uri()}\x1b\\" in shown
    assert re.search("\x1b\\[36m(\x1b\\[22m)?metals.txt:1\x1b\\[0m", shown)
    line = ("get", "metals.txt:2", "--docs", docs)
    assert "\x1b[90m    2" in in_terminal(shell, *line, TERM="xterm")
    for plain in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert in_terminal(shell, *line, **plain) == "    2  Iron melts at 1538 degrees Celsius.\r\n"


def test_a_bar_on_a_terminal_only_while_there_is_something_to_wait_for(
    shell: Shell, docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rag.cli import progress

    assert "unchanged" in in_terminal(shell, "sync", "--docs", docs, TERM="xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "PATIENCE_S", 60.0)
    with progress.shown() as listen:
        listen({"event": "scan", "files": 3})
        listen({"event": "progress", "files": 1, "tokens": 1500, "bytes": 5, "total_bytes": 10})
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    with progress.shown() as listen:
        listen({"event": "scan", "files": 3})
        deadline = time.monotonic() + 20
        seen = ""
        step = {"event": "progress", "files": 1, "tokens": 1500, "bytes": 5, "total_bytes": 10}
        while "1 of 3 files · 1,500 tokens" not in seen and time.monotonic() < deadline:
            listen({"event": "file"})
            listen(step)
            listen({"event": "publish"})
            listen(step)
            time.sleep(0.05)  # until the bar's own thread has drawn
            seen += capsys.readouterr().err
    assert "embedding" in seen
    assert "1 of 3 files · 1,500 tokens" in seen


def test_a_closed_output_pipe_is_no_error_message(shell: Shell, docs: Path) -> None:
    for command in (["list"], ["sync", "--json"]):
        read, write_end = os.pipe()
        os.close(read)
        process = shell.start(*command, "--docs", docs, stdout=write_end)
        os.close(write_end)
        assert process.communicate()[1] == ""
        assert process.returncode != 0


def test_ctrl_c_during_a_sync_keeps_what_was_done(shell: Shell, invoke, tmp_path: Path) -> None:
    docs = tmp_path / "many"
    docs.mkdir()
    for number in range(20):
        same = "The heron stands in the shallow river and waits for fish. " * 500  # embedded once: nothing to wait for
        (docs / f"{number:03}.txt").write_text(f"Number {number}.\n\n{same}", encoding="utf-8")
    process = shell.start("sync", "--docs", docs, "--json")
    assert process.stdout is not None
    done = 0
    for line in process.stdout:
        event = json.loads(line)
        done += event["event"] == "file"
        if done:  # at least one group of files is complete, others wait
            process.send_signal(signal.SIGINT)
            break
    rest, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert words.endswith("stopped; what was done is kept\n")
    assert "Traceback" not in words
    assert '"report"' not in rest
    listed = json.loads(invoke("list", "--docs", docs, "--json").stdout)
    assert 0 < len(listed) < 20
    assert invoke("search", "heron", "--docs", docs, "--no-sync").exit_code == 0
    report = json.loads(invoke("sync", "--docs", docs, "--json").stdout.splitlines()[-1])
    assert report["num_skipped"] >= len(listed)
    assert report["num_skipped"] + report["num_added"] == 20


def test_what_comes_from_documents_cant_steer_a_terminal(invoke, shell: Shell, tmp_path: Path) -> None:
    docs = write(tmp_path / "evil")
    (docs / "a\x1b[2J.txt").write_text("The \x1b]0;owned\x07heron \x1b[31mis red\u202e and waits.", encoding="utf-8")
    for command in (["ask", "What does the heron do?"], ["search", "heron"], ["list"], ["status"]):
        told = invoke(*command, "--docs", docs)
        assert told.exit_code == 0, told.stderr
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", told.stdout + told.stderr)


def test_a_file_name_forges_no_line(invoke, tmp_path: Path) -> None:
    docs = write(tmp_path / "evil")
    (docs / "a\nerror: gone.txt").write_text("The heron is red and waits.")
    (docs / "b\nerror: gone.pdf").write_bytes(b"no pdf")
    for command in (
        ["ask", "What does copper cost?"],
        ["ask", "What does the heron do?"],
        ["list"],
        ["status"],
        ["sync"],
    ):
        told = invoke(*command, "--docs", docs)
        assert "gone" in told.stdout + told.stderr
        assert not re.search("^error: gone", told.stdout + told.stderr, re.MULTILINE)


def test_an_encoding_that_lacks_a_letter_stops_nothing(shell: Shell, tmp_path: Path) -> None:
    docs = write(tmp_path / "é語", metals_txt="Kupfer – 5 €.")
    told = Shell(shell.home, {"PYTHONIOENCODING": "latin-1"})("search", "Kupfer", "--docs", docs)
    assert told.returncode == 0
    assert "Kupfer \\u2013 5 \\u20ac." in told.stdout


def test_tame_keeps_the_letters_of_every_script() -> None:
    for text in ("می‌خواهم", "👩‍🔬", "नमस्ते", "naïve\tcafé\n"):
        assert tame(text) == text
    assert show.one_line("a\r\n\tb\x00c\u2066d") == "a b c d"


def test_python_m_rag(shell: Shell) -> None:
    import subprocess

    told = subprocess.run([sys.executable, "-m", "rag", "--version"], capture_output=True, text=True, cwd=shell.cwd)
    assert told.stdout.startswith("rag, version")
