"""Every combination of some settings on one set: which are better, beyond the noise?

    grid ──cells──> configs ──by index──> sync once ──> evaluate each ──> cells/<key>.json ──> Sweep

Cells that load, cut and embed alike share one index, and a question's vector is made once. A finished cell is a file:
a sweep that was stopped goes on with the others, and running it again repeats nothing, unless documents or questions
changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from rag.config import Config
from rag.errors import ConfigError, JudgementError, QueryError
from rag.evaluate import statistics
from rag.evaluate.choose import questions_hash
from rag.evaluate.figures import groups_of
from rag.evaluate.judgements import Dataset
from rag.evaluate.report import NEUTRAL, Report
from rag.evaluate.statistics import holm, verdict

INDEX_SECTIONS = ("documents", "load", "split", "embed", "store")  # what an index depends on
OURS = frozenset({"documents.path", "store.path"})  # a sweep sets them itself
MOST_CELLS = 1000
PREFERRED = ("span_recall@5", "recall@5", "right")  # what cells are ranked by, the first that there is

Listener = Callable[[dict[str, Any]], None]


class Measurable(Protocol):
    """What a sweep needs of a document folder; rag.build.Rag has it."""

    def sync(self, *, reindex: bool = False, listener: Listener | None = None) -> Any: ...
    def beside(self, config: Config, *, same_index: bool) -> AbstractContextManager[Measurable]: ...
    def evaluate(
        self,
        judgements: Dataset,
        *,
        metrics: str = "",
        answers: bool = True,
        sample: int | None = None,
        seed: int = 0,
        listener: Listener | None = None,
    ) -> Report: ...


@dataclass(frozen=True)
class Cell:
    """One combination: the settings that the grid varies, as text, and all settings with them."""

    settings: tuple[tuple[str, str], ...]
    config: Config

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.settings) or "as configured"


@dataclass(frozen=True)
class Measured:
    cell: Cell
    report: Report
    repeated: bool  # read from its file


@dataclass(frozen=True)
class Standing:
    """A cell's place by `Sweep.by`, and whether it is shown to be worse than the first."""

    measured: Measured
    value: float
    difference: float  # to the first
    low: float
    high: float
    p_holm: float
    behind: bool


@dataclass(frozen=True)
class Sweep:
    by: str  # the figure that ranks
    keys: tuple[str, ...]  # of the grid
    standings: tuple[Standing, ...]  # best first

    @property
    def best(self) -> Standing:
        return self.standings[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "cells": [
                {
                    "settings": dict(s.measured.cell.settings),
                    "figures": {f.name: [f.value, f.low, f.high] for f in s.measured.report.figures},
                    "chunks": s.measured.report.counts["chunks"],
                    "difference": s.difference,
                    "low": s.low,
                    "high": s.high,
                    "p_holm": s.p_holm,
                    "behind": s.behind,
                }
                for s in self.standings
            ],
        }


def parse_grid(text: str) -> dict[str, tuple[str, ...]]:
    """
    >>> parse_grid("split.max_tokens=120,200 retrieve.kind=dense,hybrid")
    {'split.max_tokens': ('120', '200'), 'retrieve.kind': ('dense', 'hybrid')}
    """
    grid: dict[str, tuple[str, ...]] = {}
    for part in text.split():
        key, equals, values = part.partition("=")
        listed = tuple(dict.fromkeys(v for v in values.split(",") if v))
        if not equals or not listed:
            raise ConfigError(f"grid: {part!r} is not KEY=VALUE,VALUE", 'for example "split.max_tokens=120,200"')
        if key in OURS:
            raise ConfigError(f"grid: {key} can't be varied", "a sweep measures one folder, with indexes of its own")
        if key in grid:
            raise ConfigError(f"grid: {key} is named twice", f"write {key}={','.join((*grid[key], *listed))}")
        grid[key] = listed
    if not grid:
        raise ConfigError("grid: names no setting", 'for example "split.max_tokens=120,200 retrieve.kind=dense,hybrid"')
    return grid


def cells(grid: Mapping[str, Sequence[str]], make: Callable[[Mapping[str, str]], Config]) -> list[Cell]:
    """Every combination, the last key changing fastest. `make`: settings as text -> all of them, or ConfigError."""
    many = 1
    for values in grid.values():
        many *= len(values)
    if many > MOST_CELLS:
        raise ConfigError(f"grid: {many:,} combinations, at most {MOST_CELLS:,} are measured", "name fewer values")
    combinations = (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))
    return [Cell(tuple(c.items()), make(c)) for c in combinations]


def sweep(
    opened: Callable[[Config], AbstractContextManager[Measurable]],
    dataset: Dataset,
    wanted: Sequence[Cell],
    folder: Path,
    *,
    metrics: str = "",
    answers: bool = True,
    sample: int | None = None,
    seed: int = 0,
    by: str | None = None,
    listener: Listener | None = None,
) -> Sweep:
    """Measure the cells, whose configs name the documents; reports and indexes go into `folder`.

    `dataset` is about those documents (its own are written to a folder by the caller). `by`: the figure that ranks.
    """
    tell = listener or (lambda event: None)
    folder = folder.resolve()
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    options = {"metrics": metrics, "answers": answers, "sample": sample, "seed": seed}
    found: dict[int, Measured] = {}
    for index, members in _by_index(wanted).items():
        place = folder / "indexes" / index
        shared = _at(wanted[members[0]].config, place)
        with opened(shared) as rag:
            generation = rag.sync(listener=listener).generation
            for number in members:
                cell = replace(wanted[number], config=_at(wanted[number].config, place))
                made_of = {
                    "index": index,
                    "generation": generation,
                    "questions": questions_hash(dataset.judgements),
                    **options,
                }
                file = folder / "cells" / f"{_hash([_settings(cell.config), made_of])}.json"
                tell({"event": "cell", "done": len(found), "total": len(wanted), "name": cell.name})
                repeated = file.is_file()
                if repeated:
                    report = Report.read(file)
                else:
                    with rag.beside(cell.config, same_index=True) as own:
                        report = own.evaluate(
                            dataset, metrics=metrics, answers=answers, sample=sample, seed=seed, listener=listener
                        )
                    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
                    report.write(unfinished, sweep=dict(cell.settings))
                    unfinished.replace(file)
                found[number] = Measured(cell, report, repeated)
    return ranked([found[n] for n in range(len(wanted))], by)


def ranked(measured: Sequence[Measured], by: str | None = None) -> Sweep:
    """Best first; each other cell is held against the first, question by question, corrected by Holm."""
    names = [f.name for f in measured[0].report.figures]
    by = by or next((name for name in (*PREFERRED, *names) if name in names), None)
    if by is None or by not in names or by in NEUTRAL:
        choices = ", ".join(n for n in names if n not in NEUTRAL) or "none: nothing could be measured"
        raise QueryError(f"cells can't be ranked by {by!r}", f"choices: {choices}")
    order = sorted(measured, key=lambda m: -m.report[by])
    first = order[0].report
    compared = [_against(first, m.report, by) for m in order[1:]]
    corrected = holm([c.p for c in compared])
    standings = [Standing(order[0], first[by], 0.0, 0.0, 0.0, 1.0, behind=False)]
    for m, c, p in zip(order[1:], compared, corrected, strict=True):
        behind = verdict(c.low, c.high, p) == "worse"
        standings.append(Standing(m, m.report[by], c.difference, c.low, c.high, p, behind))
    return Sweep(by, tuple(key for key, _ in measured[0].cell.settings), tuple(standings))


def _against(first: Report, other: Report, by: str) -> statistics.Comparison:
    theirs = {row.id: row.values.get(by) for row in other.rows}
    rows = [row for row in first.rows if by in row.values and theirs.get(row.id) is not None]
    if not rows:
        raise JudgementError(f"no question has {by} in both of two cells", "rank by another figure")
    before, after = [row.values[by] for row in rows], [float(theirs[row.id] or 0.0) for row in rows]
    return statistics.compare(before, after, groups=groups_of(rows))


# ---- what belongs to what ----------------------------------------------------------------------------------------


def _by_index(wanted: Sequence[Cell]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for number, cell in enumerate(wanted):
        settings = _settings(cell.config)
        groups.setdefault(_hash({name: settings[name] for name in INDEX_SECTIONS}), []).append(number)
    return groups


def _settings(config: Config) -> dict[str, Any]:
    """All of them but where the index lies."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    settings["store"] = {k: v for k, v in settings["store"].items() if k != "path"}
    return settings


def _at(config: Config, place: Path) -> Config:
    return config.model_copy(update={"store": config.store.model_copy(update={"path": place})})


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=12).hexdigest()


def summary(found: Sweep) -> Iterator[str]:
    """What can be said of it, in a sentence or two."""
    best, others = found.best, found.standings[1:]
    yield f"best by {found.by}: {best.measured.cell.name} ({best.value:.3f})"
    if near := [s for s in others if not s.behind]:
        names = "; ".join(s.measured.cell.name for s in near[:5])
        yield f"{len(near)} of {len(others)} others not shown to be worse: {names}{' …' if len(near) > 5 else ''}"
