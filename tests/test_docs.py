"""The documents tell the truth: their blocks run, their output is what is printed, every setting and command is there.

RAG_WRITE_DOCS=1 pytest tests/test_docs.py      writes what the commands print now into the console blocks
"""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import pytest
from click.testing import CliRunner
from shell import write

from rag import errors
from rag.cli import app
from rag.config import Config
from rag.types import Outcome

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data/README.md"])
README = ROOT / "README.md"
WRITE = os.environ.get("RAG_WRITE_DOCS") == "1"
COPPER = """# Metals

## Copper

Copper melts at 1085 degrees Celsius. It conducts electricity better than iron.

## Iron

Iron melts at 1538 degrees Celsius. It rusts in moist air.
"""
HERON = "The heron stands in the shallow river and waits for fish.\nIt nests in high trees, often with other herons.\n"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, content) of each fenced block, in order."""
    return _FENCE.findall(text_of(page))


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples speak of, below the working directory."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "papers", metals_md=COPPER, birds_txt=HERON)


# ---- what is shown is what happens -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", [README, ROOT / "docs/python.md", ROOT / "docs/agents.md", ROOT / "docs/vectors.md"], ids=name_of
)
def test_python_blocks_run_and_print_what_they_say(page: Path, papers: Path) -> None:
    """All blocks of a page share one namespace. A `text` block behind one is what it prints."""
    namespace: dict[str, Any] = {"__name__": "docs"}
    found = blocks(page)
    ran = 0
    for number, (language, code) in enumerate(found):
        if language != "python":
            continue
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(code, f"{name_of(page)}, block {number}", "exec"), namespace)
        ran += 1
        if number + 1 < len(found) and found[number + 1][0] == "text":
            assert printed.getvalue() == found[number + 1][1]
    assert ran


def sessions(page: Path) -> Iterator[tuple[str, str]]:
    """(command, what is printed) of each `$ rag …` in the page's console blocks."""
    for language, content in blocks(page):
        if language == "console":
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                yield command, printed


@pytest.mark.parametrize("page", [README, ROOT / "docs/answer.md", ROOT / "docs/vectors.md"], ids=name_of)
def test_console_blocks_show_what_is_printed(page: Path, papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, scores and ranks may differ: machines do."""
    if page == README:
        monkeypatch.chdir(ROOT)
    elif page.name == "vectors.md":
        monkeypatch.setenv("XDG_DATA_HOME", str(papers.parent / "home"))
        (papers.parent / "data").symlink_to(ROOT / "data")
    text = text_of(page)
    monkeypatch.setenv("RAG_EMBED__PRECISION", "float32")  # bfloat16 could put near ties in another order
    for command, shown in sessions(page):
        program, *args = shlex.split(command)
        assert program == "rag"
        told = CliRunner().invoke(app, args)
        assert told.exit_code == 0, told.output
        printed = told.output.replace(str(papers.parent / "data"), "~/.local/share").strip() + "\n"
        if not WRITE:
            assert steady(shown) == steady(printed), f"{command}\nprints something else now: RAG_WRITE_DOCS=1 writes it"
        text = text.replace(f"$ {command}\n{shown}", f"$ {command}\n{printed}")
    if WRITE:
        page.write_text(text, encoding="utf-8")


def steady(printed: str) -> str:
    printed = re.sub(r"-?\d+\.\d+", "#", printed)
    printed = re.sub(r"(rank\W+)\d+", r"\1#", printed)
    return re.sub(r"-[0-9a-f]{8}\b", "-#", printed).strip()


def test_the_guide_to_measuring_shows_what_is_measured(papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands on the sample folder, with the real model. Counts are exact, figures to a question's worth; seconds
    may be any. The set is asked once: `calibrate` gets the report of `evaluate`, which its first lines show too."""
    from rag.build import Rag
    from rag.embed import TextEmbedder

    page = ROOT / "docs/evaluate.md"
    (papers.parent / "data").symlink_to(ROOT / "data")  # so that the report isn't written into the checkout
    monkeypatch.setenv("XDG_DATA_HOME", str(papers.parent / "home"))
    monkeypatch.setenv("RAG_EMBED__PRECISION", "float32")
    monkeypatch.setattr(TextEmbedder, "passage_vectors", _remembering(TextEmbedder.passage_vectors))
    made: list[Any] = []
    measure = Rag.evaluate

    def once(self: Rag, *args: Any, **options: Any) -> Any:
        made[:] = made or [measure(self, *args, **options)]
        return made[0]

    monkeypatch.setattr(Rag, "evaluate", once)
    text, ran = text_of(page), []
    for command, shown in sessions(page):
        program, *args = shlex.split(command)
        told = CliRunner().invoke(app, args)
        assert (program, told.exit_code) == ("rag", 0), told.output
        printed = told.stdout.strip() + "\n"
        ran.append(args[0])
        difference = unlike(shown, printed)
        assert WRITE or difference is None, f"{command}: {difference}: RAG_WRITE_DOCS=1 writes what is printed now"
        if difference:
            text = text.replace(f"$ {command}\n{shown}", f"$ {command}\n{printed}")
    assert ran == ["evaluate", "calibrate"]
    if WRITE:
        page.write_text(text, encoding="utf-8")


def _remembering(embed: Any) -> Any:
    """Each text is embedded once: questions over one folder share most of their sentences."""
    known: dict[str, Any] = {}

    def vectors(self: Any, texts: Any, *args: Any, **options: Any) -> Any:
        import numpy as np

        new = [t for t in dict.fromkeys(texts) if t not in known]
        if new:
            known.update(zip(new, embed(self, new, *args, **options), strict=True))
        return np.stack([known[t] for t in texts])

    return vectors


NEAR = 0.02  # of a mean over 60 questions: one of them


def unlike(shown: str, printed: str) -> str | None:
    """The first thing that differs, or None. Numbers with decimals may differ by NEAR, times by anything.

    >>> unlike("a  0.50  12 ms", "a 0.51 9.5 s"), unlike("n 5", "n 6")
    (None, "'5' is '6'")
    """
    pairs = [re.sub(r"[\d.]+ m?s\b", "TIME", text).split() for text in (shown, printed)]
    if len(pairs[0]) != len(pairs[1]):
        return f"{len(pairs[0])} words are {len(pairs[1])}"
    for a, b in zip(*pairs, strict=True):
        decimals = all(re.fullmatch(r"-?\d+\.\d+", word) for word in (a, b))
        if a != b and not (decimals and abs(float(a) - float(b)) <= NEAR):
            return f"{a!r} is {b!r}"
    return None


def test_the_readme_shows_real_output() -> None:
    shown = [shlex.split(command)[1] for command, _ in sessions(README)]
    assert {"ask", "search", "status"} <= set(shown)


# ---- everything there is, is told --------------------------------------------------------------------------------


def test_every_command_is_in_the_readme() -> None:
    table = re.findall(r"^\| `rag (\w+)", text_of(README), re.MULTILINE)
    assert sorted(table) == sorted(app.commands)


def test_every_rag_command_that_is_told_exists() -> None:
    """With its options."""
    for page in PAGES:
        for language, content in blocks(page):
            if language in ("console", "sh"):
                for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?rag (.+)$", content, re.MULTILINE):
                    name, *args = shlex.split(line, comments=True)
                    if name.startswith("-"):
                        continue
                    command = app.commands.get(name)
                    if isinstance(command, click.Group):
                        command = command.commands.get(args[0])
                    assert command, f"{name_of(page)}: rag {line}"
                    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
                    given = {a.partition("=")[0] for a in args if a.startswith("-")}
                    assert given <= options, f"{name_of(page)}: rag {line}"


def test_make_targets_that_are_told_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for page in (README, ROOT / "CONTRIBUTING.md"):
        told = set(re.findall(r"(?:^|`)make ([a-z]+)", text_of(page), re.MULTILINE))
        assert told
        assert told <= targets, name_of(page)


def sections() -> dict[str, str]:
    """docs/config.md by section."""
    parts = re.split(r"^## (\w+)$", text_of(ROOT / "docs/config.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def shown_as(default: Any) -> str:
    """A default as docs/config.md writes it.

    >>> shown_as(None), shown_as(("a", "b")), shown_as(""), shown_as("none"), shown_as(True)
    ('null', '["a", "b"]', '""', 'none', 'true')
    """
    if isinstance(default, Path) or (isinstance(default, str) and default):
        return str(default)
    return json.dumps(default, ensure_ascii=False)


@pytest.mark.parametrize("section", Config.model_fields)
def test_every_setting_is_told_with_its_default_and_choices(section: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| `(.*?)` \| (.+) \|$", sections()[section], re.MULTILINE)
    annotation = Config.model_fields[section].annotation
    assert annotation is not None
    fields = annotation.model_fields
    assert [key for key, *_ in rows] == list(fields)
    for key, kind, default, _ in rows:
        field = fields[key]
        assert default == shown_as(field.default), f"{section}.{key}"
        choices = [a for a in get_args(field.annotation) if isinstance(a, str)]
        assert not choices or choices == re.findall(r"`([^`]+)`", kind), f"{section}.{key}"


def test_settings_named_anywhere_exist() -> None:
    """`section.key` in backticks, in every page."""
    for page in PAGES:
        for section, key in re.findall(r"`(?:--set )?([a-z]+)\.([a-z_]+)(?:=[^`]*|: [^`]*)?`", text_of(page)):
            field = Config.model_fields.get(section)
            if field is not None and not key.endswith(("py", "md")) and page.parent != ROOT / "data":
                assert field.annotation is not None
                assert key in field.annotation.model_fields, f"{name_of(page)}: {section}.{key}"


def test_every_field_of_an_answer_is_told() -> None:
    page = ROOT / "docs/answer.md"
    (_, printed), *_ = sessions(page)
    shown = json.loads(printed)
    for name in (*shown, *shown["citations"][0], *shown["passages"][0], *shown["statements"][0]):
        assert f"`{name}`" in text_of(page), name


def test_every_error_is_told() -> None:
    known = {n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.RagError)}
    page = text_of(ROOT / "docs/python.md")
    assert [name for name in sorted(known) if not re.search(rf"\b{name}\b", page)] == []


def test_every_outcome_is_in_the_glossary() -> None:
    page = text_of(ROOT / "docs/glossary.md")
    assert [o.value for o in Outcome if f"`{o.value}`" not in page] == []


def test_every_room_is_in_contributing() -> None:
    rooms = {p.stem for p in (ROOT / "rag").iterdir() if not p.name.startswith(("_", "."))} - {"py"}
    page = text_of(ROOT / "CONTRIBUTING.md")
    assert [room for room in sorted(rooms) if not re.search(rf"\b{room}(?:/|\.py)", page)] == []


# ---- nothing points nowhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", text_of(page))):
        if not target.startswith(("http://", "https://", "#")):
            file = (page.parent / target.partition("#")[0]).resolve()
            assert file.exists(), f"{name_of(page)}: {target}"


def test_decisions_are_numbered_and_of_one_form() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [p.name[:4] for p in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        titles = re.findall(r"^## (.+)$", text_of(page), re.MULTILINE)
        assert titles == ["Context", "Decision", "Measurements", "Consequences"], page.name


def test_pages_named_in_the_code_exist() -> None:
    for file in (ROOT / "rag").rglob("*.py"):
        for target in re.findall(r"\b(?:docs|prompts)/[\w./-]+\.(?:md|yaml)\b", text_of(file)):
            assert (ROOT / target).exists(), f"{name_of(file)}: {target}"


PRIVATE = re.compile(r"(?<![\w.:}])/(?:home|root|mnt|tmp|Users)/\w", re.IGNORECASE)  # paths of somebody's machine
PUBLISHED = [
    *PAGES,
    *(p for p in (ROOT / "rag").rglob("*") if p.suffix in {".py", ".html", ".yaml", ".js", ".css"}),
    *(ROOT / "prompts").glob("*"),
    *(ROOT / name for name in ("config.yaml", "Makefile", ".ci/run", "pyproject.toml")),
]


def test_nothing_of_the_place_where_it_was_made() -> None:
    found = [f"{name_of(file)}: {match[0]}" for file in PUBLISHED for match in PRIVATE.finditer(text_of(file))]
    assert found == []


def test_examples_of_this_module() -> None:
    import doctest
    import sys

    module: ModuleType = sys.modules[__name__]
    assert doctest.testmod(module).failed == 0


def test_results_say_what_the_runs_wrote() -> None:
    """docs/results.md is made by benchmarks/results.py, never typed."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks/results.py", "--check"], check=False)
    assert done.returncode == 0, "run python benchmarks/results.py"


def test_each_promise_names_tests_that_exist() -> None:
    named = re.findall(r"`(test_\w+|tests/[\w/]+\.py)`", text_of(ROOT / "docs/reliability.md"))
    sources = "\n".join(text_of(p) for p in (ROOT / "tests").glob("test_*.py"))
    assert len(named) > 8
    missing = [n for n in named if not ((ROOT / n).is_file() if "/" in n else f"def {n}(" in sources)]
    assert missing == []
