"""The lines the house is built along: what is imported when, who may import whom, and that documents keep up."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from shell import METAL, Shell, write

from rag import errors
from rag.cli import app
from rag.config import Config

ROOT = Path(__file__).parents[1]
LIGHT = {"numpy", "torch", "transformers", "sentence_transformers", "chromadb", "langchain", "langchain_core",
         "tantivy", "pydantic", "yaml", "rich"}  # fmt: skip
NEVER_FOR_A_QUESTION = {
    "torch", "transformers", "sentence_transformers", "langchain_core", "langchain", "langchain_text_splitters",
    "pathspec", "huggingface_hub", "scipy", "sklearn", "pandas", "onnxruntime", "tiktoken", "trafilatura", "pypdf",
    "docx", "markdown_it", "watchfiles", "openai", "nltk", "fastapi", "starlette", "uvicorn", "prometheus_client",
}  # fmt: skip


def loaded_by(shell: Shell, code: str) -> set[str]:
    """Top-level modules in sys.modules after `code` ran in a process of its own."""
    end = "\nimport sys; print('LOADED', *sorted({m.partition('.')[0] for m in sys.modules}))"
    told = subprocess.run(
        [sys.executable, "-c", code + end], cwd=shell.cwd, env=shell.environment, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    return set(told.stdout.rpartition("LOADED ")[2].split())


def running(*args: object) -> str:
    return f"from rag.cli import app\napp({[*map(str, args)]!r}, standalone_mode=False)"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("code", ["import rag", running("--help"), running("ask", "--help")])
def test_the_door_is_light(shell: Shell, code: str) -> None:
    assert not loaded_by(shell, code) & (LIGHT | NEVER_FOR_A_QUESTION)


def test_questions_load_only_what_they_need(shell: Shell, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", metals_txt=METAL)
    assert shell("sync", "--docs", docs).returncode == 0
    named = ("--set", f"documents.path={docs}")
    loaded = loaded_by(shell, running("ask", "At what temperature does copper melt?", *named))
    assert loaded & NEVER_FOR_A_QUESTION == set()
    assert {"numpy", "chromadb", "tantivy"} <= loaded  # or this test looks at the wrong thing
    loaded = loaded_by(shell, running("list", *named))
    assert not loaded & {*NEVER_FOR_A_QUESTION, "chromadb", "tantivy", "tokenizers", "safetensors"}


def test_imports_point_down() -> None:
    told = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    """ruff's TID253 says so too; this reads the same list, so nobody can empty it unseen."""
    import tomllib

    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    banned = set(lint["flake8-tidy-imports"]["banned-module-level-imports"])
    assert {"torch", "transformers", "chromadb", "tantivy", "langchain_core", "pypdf"} <= banned
    lazily_loaded = {  # FastAPI and mcp read the types of routes from their modules
        *(ROOT / "rag/langchain").glob("*.py"),
        *(ROOT / "rag/serve").rglob("*.py"),
        ROOT / "rag/split/langchain.py",
    }
    for file in (ROOT / "rag").rglob("*.py"):
        if file in lazily_loaded:
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {n.partition(".")[0] for n in names} & banned, file


# ---- errors ------------------------------------------------------------------------------------------------------


def test_the_error_tree_is_the_one_drawn() -> None:
    drawn: dict[str, str] = {}
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^    ([│ ├└─]*)([A-Z]\w+)", line):
            depth = len(match[1]) // 4
            stack[depth:] = [match[2]]
            drawn[match[2]] = stack[depth - 1] if depth else "Exception"
    real = {
        n: c.__bases__[0].__name__
        for n, c in vars(errors).items()
        if inspect.isclass(c) and c.__module__ == errors.__name__
    }
    assert drawn == real


def test_every_expected_error_has_a_hint() -> None:
    """`raise SomeError(message, hint)`: two arguments, wherever the product raises one."""
    known = {n for n, c in vars(errors).items() if inspect.isclass(c)}
    # what becomes of one file in a report, and stopping, need none
    exempt = {"EmptyError", "UnsupportedError", "DocumentError", "Cancelled"}
    without = []
    for file in (ROOT / "rag").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else None
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            starred = any(isinstance(a, ast.Starred) for a in call.args)
            if call.func.id in known - exempt and not starred and len(call.args) + len(call.keywords) < 2:
                without.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not without


def test_nothing_prints_but_the_command_line() -> None:
    for file in (ROOT / "rag").rglob("*.py"):
        if file.parent.name == "cli":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{file}:{node.lineno}"


# ---- config and documents ----------------------------------------------------------------------------------------


def test_every_choice_is_a_literal_with_its_default() -> None:
    for section in ("split", "store", "retrieve", "generate"):
        kind = Config.model_fields[section].annotation.model_fields["kind"]
        assert kind.default in get_args(kind.annotation)


def text_of(name: str) -> str:
    file = ROOT / name
    if not file.is_file() or file.stat().st_size < 500:
        pytest.skip(f"{name} isn't written yet")
    return file.read_text(encoding="utf-8")


def test_the_readme_names_every_command() -> None:
    text = text_of("README.md")
    assert [c for c in app.commands if f"rag {c}" not in text] == []
    told = set(re.findall(r"^(?:\$ )?rag (\w+)", text, re.MULTILINE))
    assert told <= set(app.commands)


def test_there_is_a_glossary() -> None:
    text = text_of("docs/glossary.md").lower()
    for word in ("source", "chunk", "passage", "span", "fingerprint", "generation", "citation", "judgement"):
        assert word in text


def test_the_packaged_config_shows_only_settings_that_exist() -> None:
    """Commented-out ones too."""
    sections = {s: f.annotation.model_fields for s, f in Config.model_fields.items()}
    section = ""
    for line in (ROOT / "config.yaml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"^(\w+):", line):
            section = match[1]
            assert section in sections
        elif match := re.match(r"^  (?:# )?(\w+):", line):
            assert match[1] in sections[section], line
