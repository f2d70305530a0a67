"""`rag evaluate` and `rag calibrate` as a person runs them, with the real model on a folder of two files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from shell import METAL, RIVER, Shell, write

from rag.cli import app
from rag.evaluate.report import Report

ROOT = Path(__file__).parents[1]
QUESTIONS = [
    {"id": "copper", "question": "At what temperature does copper melt?", "answers": ["1085"],
     "evidence": [{"source": "metals.txt", "quote": "Copper melts at 1085 degrees Celsius."}]},
    {"id": "heron", "question": "What does the heron wait for?", "answers": ["fish"],
     "evidence": [{"source": "birds.md", "quote": "waits for fish"}]},
    {"id": "tosca", "question": "Who composed the opera Tosca?"},
]  # fmt: skip


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A document folder `docs`, its questions beside it."""
    home = tmp_path_factory.mktemp("library")
    write(home / "docs", birds_md=RIVER, metals_txt=METAL)
    lines(home / "questions.jsonl", *QUESTIONS)
    return home


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.fixture
def invoke(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)

    def run(*args: object) -> Result:
        return CliRunner().invoke(app, [*map(str, args)])

    return run


@pytest.fixture
def before(invoke: Callable[..., Result], library: Path, tmp_path: Path) -> Path:
    path = tmp_path / "before.json"
    assert invoke("evaluate", "--docs", library / "docs", "--out", path, "-q").exit_code == 0
    return path


def test_one_table_one_file_and_the_set_that_was_taken(
    invoke: Callable[..., Result], library: Path, tmp_path: Path
) -> None:
    told = invoke("evaluate", "--docs", library / "docs", "--html", "r.html", "--markdown", "r.md")
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("questions: 3 questions (2 answerable), 2 documents, ")
    assert re.search(r"^  right +1\.000   0\.\d+ \.\. 1\.000 +3$", told.stdout, re.MULTILINE)
    assert f"questions: {library / 'questions.jsonl'}\n" in told.stderr
    assert "written: rag-evaluation.json, r.html, r.md" in told.stderr
    assert Report.read(tmp_path / "rag-evaluation.json")["right"] == 1
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (tmp_path / "r.md").read_text(encoding="utf-8").startswith("# Evaluation: questions\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.md", "rag-evaluation.json"]


def test_quiet_and_json(invoke: Callable[..., Result], library: Path, tmp_path: Path) -> None:
    told = invoke("evaluate", "--docs", library / "docs", "--json", "-q", "--no-answers", "--metrics", "mrr@3")
    assert told.stderr == ""
    body = json.loads(told.stdout)
    assert [f["name"] for f in body["figures"]] == ["mrr@3"]
    assert Report.from_dict(body) == Report.read(tmp_path / "rag-evaluation.json")


def test_against_an_earlier_report(invoke: Callable[..., Result], library: Path, before: Path, tmp_path: Path) -> None:
    docs = library / "docs"
    told = invoke(
        "evaluate", "--docs", docs, "--against", before, "--set", "answer.min_confidence=1", "--markdown", "c.md"
    )
    assert told.exit_code == 0, told.output
    assert "set:    answer.min_confidence 0.3 -> 1.0" in told.stdout
    assert re.search(r"^answered +1\.000 +0\.000 +-1\.000 ", told.stdout, re.MULTILINE)
    assert "right before, wrong now: 2\n  copper" in told.stdout
    body = json.loads((tmp_path / "rag-evaluation.json").read_text(encoding="utf-8"))
    assert [c["id"] for c in body["comparison"]["broken"]] == ["copper", "heron"]
    assert "### Right before, wrong now (2)" in (tmp_path / "c.md").read_text(encoding="utf-8")


def test_a_sample_is_compared_with_the_same_sample_only(
    invoke: Callable[..., Result], library: Path, before: Path
) -> None:
    told = invoke("evaluate", "--docs", library / "docs", "--against", before, "--sample", 2)
    assert told.exit_code == 1
    assert "the reports are over different questions: 1 (" in told.stderr
    assert "same sample and seed" in told.stderr


def test_a_public_set_brings_its_documents(invoke: Callable[..., Result], tmp_path: Path) -> None:
    qas = [{"id": "1", "question": "What is the capital of Norway?", "answers": [{"text": "Oslo", "answer_start": 0}]}]
    body = {"data": [{"title": "t", "paragraphs": [{"context": "Oslo is the capital of Norway.", "qas": qas}]}]}
    path = tmp_path / "capitals.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    told = invoke("evaluate", "--data", path)  # no document folder here: none is needed
    assert told.exit_code == 0, told.output
    assert "capitals (squad) brings its own documents (1): they are searched, not your folder" in told.stderr
    assert told.stdout.startswith("capitals: 1 question (1 answerable), 1 document, 1 chunk\n")


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--metrics", "recall@0"], 1, "error: metric 'recall@0' has k = 0\n  k is a whole number"),
        (["--metrics", "recal@5"], 1, "error: unknown metric 'recal@5'\n  choices: ndcg, "),
        (["--sample", "0"], 1, "error: a sample of 0 questions"),
        (["--out", "no/such/x.json"], 2, "x.json can't be written: there is no folder"),
        (["--html", "."], 2, "can't be written: is a folder"),
        (["--against", "a.json", "--out", "a.json"], 2, "error: --out and --against are the same file, a.json"),
        (["--against", "a.json", "--html", "a.json"], 2, "error: --html and --against are the same file, a.json"),
        (["--data", "odd.txt", "--out", "./odd.txt"], 2, "error: --out and --data are the same file, odd.txt"),
        (["--html", "r.md", "--markdown", "r.md"], 2, "error: --markdown and --html are the same file, r.md"),
        (["--against", "a.json"], 1, "error: a.json: no such file"),
        (["--data", "empty.jsonl"], 1, "empty.jsonl: is empty"),
        (["--data", "odd.txt"], 1, "odd.txt: not a known set of questions: it begins with 'hello'"),
        (["--data", "twice.jsonl"], 1, "twice.jsonl:2: id: 'copper' is taken: twice.jsonl:1"),
        (["--data", "outside.jsonl"], 1, "outside.jsonl:1: evidence[0].end: [0, 9999) is outside birds.md"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    invoke: Callable[..., Result], library: Path, tmp_path: Path, args: list[str], code: int, told: str
) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "odd.txt").write_text("hello\n", encoding="utf-8")
    lines(tmp_path / "twice.jsonl", QUESTIONS[0], QUESTIONS[0])
    outside = {"id": "x", "question": "?", "evidence": [{"source": "birds.md", "start": 0, "end": 9999}]}
    lines(tmp_path / "outside.jsonl", outside)
    result = invoke("evaluate", "--docs", library / "docs", *args)
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(r"\n  \S", result.stderr.partition("error: ")[2])  # what to do
    assert not (tmp_path / "rag-evaluation.json").exists()


def test_the_questions_found_nearby_are_not_written_over(
    invoke: Callable[..., Result], library: Path, tmp_path: Path
) -> None:
    write(tmp_path / "docs", birds_md=RIVER, metals_txt=METAL)
    judged = lines(tmp_path / "questions.jsonl", *QUESTIONS)
    before = judged.read_bytes()
    told = invoke("evaluate", "--docs", "docs", "--out", "questions.jsonl")
    assert (told.exit_code, judged.read_bytes()) == (2, before)
    assert "error: --out and --data are the same file, questions.jsonl\n  name another file: --out" in told.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full comes with Linux")
def test_a_full_disk_is_told_of_with_the_files_name(invoke: Callable[..., Result], library: Path) -> None:
    told = invoke("evaluate", "--docs", library / "docs", "--no-answers", "--out", "/dev/full", "-q")
    assert told.exit_code == 2
    assert "error: /dev/full: can't be written: No space left on device" in told.stderr


def test_no_questions_anywhere(invoke: Callable[..., Result], library: Path, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "alone" / "docs", metals_txt=METAL)
    told = invoke("evaluate", "--docs", elsewhere)
    assert told.exit_code == 1
    assert f"looked for {elsewhere.parent / 'questions.jsonl'}, {tmp_path / 'data' / 'questions.jsonl'}" in told.stderr


# ---- calibrate ---------------------------------------------------------------------------------------------------


def test_calibrate_prints_the_line_to_set(invoke: Callable[..., Result], library: Path, tmp_path: Path) -> None:
    told = invoke("calibrate", "--docs", library / "docs", "--max-risk", "0")
    assert told.exit_code == 0, told.output
    setting = re.search(r"^answer:\n  min_confidence: ([\d.]+)$", told.stdout, re.MULTILINE)
    assert setting is not None
    assert "2 of 3 questions would be answered, 0 of them wrongly" in told.stderr
    assert "too few questions to promise 0" in told.stderr
    again = invoke("evaluate", "--docs", library / "docs", "--set", f"answer.min_confidence={setting[1]}")
    assert again.exit_code == 0
    report = Report.read(tmp_path / "rag-evaluation.json")
    assert (report["answered"], report["declined"]) == (1, 1)


def test_calibrate_says_when_no_threshold_does_it(invoke: Callable[..., Result], library: Path, tmp_path: Path) -> None:
    wrong = lines(tmp_path / "wrong.jsonl", {"id": "1", "question": "When does copper melt?", "answers": ["at dawn"]})
    told = invoke("calibrate", wrong, "--docs", library / "docs", "--json")
    assert told.exit_code == 1
    assert "error: no threshold keeps the risk at 0.1: the lowest is 1.000" in told.stderr
    assert json.loads(told.stdout)["setting"] is None
    unjudged = lines(tmp_path / "unjudged.jsonl", {"id": "1", "question": "?", "evidence": [{"source": "birds.md"}]})
    told = invoke("calibrate", unjudged, "--docs", library / "docs")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "no question says what a right answer is" in told.stderr
    told = invoke("calibrate", "--docs", library / "docs", "--max-risk", "2")
    assert (told.exit_code, "the wanted risk is 2" in told.stderr) == (1, True)


# ---- the guide ---------------------------------------------------------------------------------------------------


def test_the_example_for_pytest_passes_and_fails(
    library: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test shown in docs/evaluate.md, run as it stands, on this folder under the names it uses."""
    guide = (ROOT / "docs/evaluate.md").read_text(encoding="utf-8")
    (code,) = (c for c in re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL) if "def test_" in c)
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "papers").symlink_to(library / "docs")
    (tmp_path / "questions.jsonl").symlink_to(library / "questions.jsonl")
    namespace: dict[str, object] = {}
    exec(compile(code, "docs/evaluate.md", "exec"), namespace)
    (test,) = (v for k, v in namespace.items() if k.startswith("test_"))
    assert callable(test)
    test(tmp_path)
    (tmp_path / "papers").unlink()
    write(tmp_path / "papers", metals_txt=METAL, birds_md="The heron stands in the shallow river and waits for fish.\n")
    (tmp_path / "questions.jsonl").unlink()
    lost = {"id": "x", "question": "Which metal?", "evidence": [[{"source": "metals.txt", "quote": METAL.strip()}]] * 1}
    gone = {"id": "y", "question": "Who sings?", "evidence": [{"source": "birds.md", "start": 4, "end": 9}]}
    lines(tmp_path / "questions.jsonl", lost, gone)
    monkeypatch.setenv("RAG_SPLIT__MAX_TOKENS", "8")  # pieces too small to hold the evidence
    with pytest.raises(AssertionError, match="span_recall"):
        test(tmp_path / "again")
