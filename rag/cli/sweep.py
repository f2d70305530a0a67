"""`rag sweep`: every combination of some settings, measured on one set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag.cli import show
from rag.cli.measure import dataset_of, progress
from rag.cli.session import A_PATH, Session, generator_option, in_session, json_option
from rag.errors import ConfigError
from rag.tame import tame

if TYPE_CHECKING:
    from rag.config import Config
    from rag.evaluate.judgements import Dataset
    from rag.evaluate.sweep import Sweep

OUT = Path("rag-sweep")


@click.command(short_help="Measure every combination of some settings.")
@click.option("--grid", required=True, metavar="GRID", help='"split.max_tokens=120,200 retrieve.kind=dense,hybrid"')
@click.option("--data", type=A_PATH, help="Judged questions, as for `rag evaluate`.")
@click.option("--by", metavar="NAME", help="The figure that ranks. Default: span_recall@5, recall@5 or right.")
@click.option("--metrics", default="", metavar="NAMES", help='Such as "ndcg@10 recall@5"; default: all that fit.')
@click.option("--answers/--no-answers", default=True, help="Ask too, or only search.")
@click.option("--sample", type=int, metavar="N", help="Only N questions, drawn by --seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample and the intervals.")
@click.option("--out", type=A_PATH, default=OUT, show_default=True, help="Folder for reports, indexes and the page.")
@generator_option
@json_option
@in_session
def sweep(
    session: Session,
    grid: str,
    data: Path | None,
    by: str | None,
    metrics: str,
    answers: bool,
    sample: int | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Measure every combination of the GRID's settings on judged questions, and say which are better beyond the noise.

    Combinations that cut and embed alike share one index. A sweep that was stopped goes on where it was; run again
    over the same documents and questions, it repeats nothing. OUT/index.html shows all of it.
    """
    from rag.build import Rag
    from rag.config import apply_settings
    from rag.evaluate.choose import chosen_metrics, sampled
    from rag.evaluate.sweep import cells, parse_grid
    from rag.evaluate.sweep import sweep as measure

    _check_folder(out)
    session.keep_out(out)
    dataset, config = _on_a_folder(dataset_of(session, data), session.rag.config)

    def make(settings: Mapping[str, str]) -> Config:
        return apply_settings(config, settings)

    wanted = cells(parse_grid(grid), make)
    chosen_metrics(metrics, sampled(dataset.judgements, sample, seed), answers)  # said before hours of work
    options: dict[str, Any] = {"metrics": metrics, "answers": answers, "sample": sample, "seed": seed, "by": by}
    with progress(session) as listener:
        found = measure(Rag, dataset, wanted, out, listener=listener, **options)
    page = _write(found, dataset.name, out)
    if as_json:
        show.show_json(found.to_dict())
    else:
        from rag.evaluate.sweep_page import text_table

        click.echo(tame(text_table(found)))
    repeated = sum(s.measured.repeated for s in found.standings)
    show.say(f"\n{len(wanted)} combinations, {repeated} of them from an earlier run; written: {page}", session.quiet)


def _on_a_folder(dataset: Dataset, config: Config) -> tuple[Dataset, Config]:
    """A set that brings documents becomes one about the folder they are written to."""
    if dataset.documents is None:
        return dataset, config
    from rag.evaluate.folder import written
    from rag.evaluate.judgements import cleaned
    from rag.load.decode import clean

    dataset = cleaned(dataset, clean)
    documents = config.documents.model_copy(update={"path": written(dataset), "include": (), "exclude": ()})
    return replace(dataset, documents=None), config.model_copy(update={"documents": documents})


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file", "name a folder for the sweep's reports and indexes")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}", "make it, or name another")


def _write(found: Sweep, name: str, out: Path) -> Path:
    import json

    from rag.evaluate.sweep_page import sweep_page

    try:
        (out / "sweep.json").write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        page = out / "index.html"
        page.write_text(sweep_page(found, name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: can't be written: {error.strerror}", "check its permissions") from None
    return page
