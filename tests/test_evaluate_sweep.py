"""Sweeps: every combination once, nothing twice, and no winner inside the noise."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes_embed import FakeEmbedder
from hypothesis import given
from hypothesis import strategies as st
from shell import Shell, write

from rag.build import Rag
from rag.config import Config, apply_settings
from rag.errors import ConfigError, QueryError
from rag.evaluate.judgements import Dataset, Evidence, Judgement, write_jsonl
from rag.evaluate.report import Report
from rag.evaluate.sweep import Cell, Sweep, cells, parse_grid, ranked, sweep
from rag.evaluate.sweep_page import sweep_page, text_table

FACTS = {f"m{i}": f"Metal number {i} melts at {900 + 7 * i} degrees in furnace f{i}." for i in range(12)}
QUESTIONS = Dataset(
    "metals",
    tuple(
        Judgement(key, f"At how many degrees does metal number {key[1:]} melt?",
                  ((Evidence("metals.md", quote=text),),), (f"{900 + 7 * int(key[1:])} degrees",))
        for key, text in FACTS.items()
    ),
)  # fmt: skip
GRID = "split.max_tokens=16,24 retrieve.kind=dense,lexical"


class Folder:
    """A document folder and what a sweep over it needs."""

    def __init__(self, home: Path) -> None:
        self.docs = write(home / "docs", metals_md="\n\n".join(FACTS.values()))
        self.out = home / "out"
        self.evaluated: list[str] = []  # filled by the fixture

    def config(self, settings: Mapping[str, str] | None = None) -> Config:
        base = Config.model_validate({"documents": {"path": self.docs}, "load": {"workers": 1}})
        return apply_settings(base, settings or {})

    def open(self, config: Config) -> Rag:
        rag = Rag(config)
        rag._parts["embedder"] = FakeEmbedder()
        return rag

    def sweep(self, grid: str = GRID, **options: Any) -> Sweep:
        wanted = cells(parse_grid(grid), self.config)
        return sweep(self.open, QUESTIONS, wanted, self.out, answers=False, **options)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    made, real = Folder(tmp_path), Rag.evaluate

    def counted(self: Rag, *given: Any, **options: Any) -> Report:
        made.evaluated.append(f"{self.config.split.max_tokens} {self.config.retrieve.kind}")
        return real(self, *given, **options)

    monkeypatch.setattr(Rag, "evaluate", counted)
    return made


def figures(found: Sweep) -> dict[str, list[tuple[str, float]]]:
    return {
        s.measured.cell.name: [(f.name, round(f.value, 4)) for f in s.measured.report.figures] for s in found.standings
    }


def test_every_combination_is_measured_once_over_shared_indexes(folder: Folder) -> None:
    found = folder.sweep()
    assert sorted(folder.evaluated) == ["16 dense", "16 lexical", "24 dense", "24 lexical"]
    assert len(list((folder.out / "indexes").iterdir())) == 2
    values = [s.value for s in found.standings]
    assert values == sorted(values, reverse=True)
    assert found.keys == ("split.max_tokens", "retrieve.kind")


def test_a_second_run_repeats_nothing_and_says_the_same(folder: Folder) -> None:
    first = folder.sweep()
    folder.evaluated.clear()
    second = folder.sweep()
    assert folder.evaluated == []
    assert figures(first) == figures(second)
    assert all(s.measured.repeated for s in second.standings)


def test_two_sweeps_from_nothing_agree(tmp_path: Path) -> None:
    (one, other) = (Folder(tmp_path / name) for name in ("one", "other"))
    assert figures(one.sweep()) == figures(other.sweep())


def test_a_stopped_sweep_goes_on(folder: Folder) -> None:
    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "cell" and event["done"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.sweep(listener=stop)
    done = list(folder.evaluated)
    assert len(done) == 2
    folder.evaluated.clear()
    found = folder.sweep()
    assert sorted([*done, *folder.evaluated]) == ["16 dense", "16 lexical", "24 dense", "24 lexical"]
    assert sum(s.measured.repeated for s in found.standings) == 2


def test_other_documents_or_questions_are_measured_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.sweep("retrieve.kind=dense")
    (folder.docs / "more.txt").write_text("Tin melts at 232 degrees.")
    folder.sweep("retrieve.kind=dense")
    assert len(folder.evaluated) == 2
    other = replace(QUESTIONS, judgements=QUESTIONS.judgements[:5])
    sweep(folder.open, other, cells(parse_grid("retrieve.kind=dense"), folder.config), folder.out, answers=False)
    assert len(folder.evaluated) == 3


def test_a_cell_that_is_the_first_by_chance_beats_nobody(folder: Folder) -> None:
    found = folder.sweep("retrieve.top_k=4,5,6")  # the same search
    assert [s.difference for s in found.standings] == [0.0, 0.0, 0.0]
    assert not any(s.behind for s in found.standings)


def test_a_clear_loser_is_behind(folder: Folder) -> None:
    found = folder.sweep("retrieve.kind=lexical")
    (only,) = found.standings
    blind = replace(
        only.measured.report,
        figures=tuple(replace(f, value=0.0, low=0.0, high=0.0) for f in only.measured.report.figures),
        rows=tuple(replace(r, values=dict.fromkeys(r.values, 0.0)) for r in only.measured.report.rows),
    )
    assert only.value > 0.9
    both = ranked([replace(only.measured, report=blind), only.measured])
    assert [s.behind for s in both.standings] == [False, True]
    assert both.standings[1].p_holm < 0.05
    assert "worse -" in text_table(both)
    page = sweep_page(both, "<metals>")
    assert 'class="hollow"' in page
    assert "&lt;metals&gt;" in page
    assert "<metals>" not in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("xyz"), min_size=1, unique=True), min_size=1))
def test_cells_are_the_product(grid: dict[str, list[str]]) -> None:
    made = cells(grid, lambda settings: Config())
    many = 1
    for values in grid.values():
        many *= len(values)
    assert len({c.settings for c in made}) == len(made) == many
    assert all(dict(c.settings)[key] in grid[key] for c in made for key in grid)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ("", "names no setting"),
        ("split.max_tokens", "is not KEY=VALUE"),
        ("split.max_tokens=", "is not KEY=VALUE"),
        ("store.path=a,b", "can't be varied"),
        ("a.b=1 a.b=2", "named twice"),
        ("retrieve.kind=dense,fuzzy", "retrieve.kind is 'fuzzy'"),
        ("retrieve.size=1", "there is no setting retrieve.size"),
        ("split.overlap_tokens=500", "must be below"),
    ],
)
def test_a_wrong_grid_is_refused(folder: Folder, grid: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        cells(parse_grid(grid), folder.config)


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(ConfigError, match="1,331 combinations"):
        cells({k: [str(i) for i in range(11)] for k in "abc"}, lambda settings: Config())


def test_ranking_by_what_was_not_measured(folder: Folder) -> None:
    with pytest.raises(QueryError, match=r"choices: .*span_recall@5"):
        folder.sweep("retrieve.kind=dense", by="right")


def test_a_cell_without_settings_has_a_name() -> None:
    assert Cell((), Config()).name == "as configured"


def test_the_command(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    docs = write(tmp_path / "docs", metals_md="\n\n".join(FACTS.values()))
    write_jsonl(tmp_path / "questions.jsonl", QUESTIONS.judgements)
    grid = "split.max_tokens=16 retrieve.kind=lexical,hybrid"
    command = ("sweep", "--grid", grid, "--docs", docs, "--data", tmp_path / "questions.jsonl", "--no-answers")
    ran = shell(*command)
    assert ran.returncode == 0, ran.stderr
    assert "against the first" in ran.stdout
    assert "best by span_recall@5" in ran.stdout
    body = json.loads((shell.cwd / "rag-sweep" / "sweep.json").read_text(encoding="utf-8"))
    assert {c["settings"]["retrieve.kind"] for c in body["cells"]} == {"lexical", "hybrid"}
    assert (shell.cwd / "rag-sweep" / "index.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    again = shell(*command, "--json")
    assert json.loads(again.stdout)["by"] == "span_recall@5"
    assert "2 of them from an earlier run" in again.stderr
    bad = shell(*command, "--out", docs / "metals.md")
    assert bad.returncode == 2
    assert "is a file" in bad.stderr
