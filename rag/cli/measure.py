"""The commands that measure: `rag evaluate` and `rag calibrate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag.cli import show
from rag.cli.session import A_PATH, Session, generator_option, in_session, json_option, judge_option
from rag.errors import ConfigError, JudgementError, QueryError
from rag.tame import tame

if TYPE_CHECKING:
    from rag.evaluate.compare import Comparison
    from rag.evaluate.judgements import Dataset
    from rag.evaluate.report import Report

REPORT = Path("rag-evaluation.json")


@click.command(short_help="Measure search and answers on judged questions.")
@click.option("--data", type=A_PATH, help="Judged questions: JSONL, SQuAD, BEIR ... Default: questions.jsonl nearby.")
@click.option("--against", type=A_PATH, metavar="JSON", help="An earlier report: compare in pairs.")
@click.option("--metrics", default="", metavar="NAMES", help='Such as "ndcg@10 recall@5"; default: all that fit.')
@click.option("--answers/--no-answers", default=True, help="Ask too, or only search.")
@click.option("--sample", type=int, metavar="N", help="Only N questions, drawn by --seed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample and the intervals.")
@click.option("--out", type=A_PATH, default=REPORT, show_default=True, help="The report, to compare with later.")
@click.option("--html", type=A_PATH, metavar="FILE", help="The report as one page with charts.")
@click.option("--markdown", type=A_PATH, metavar="FILE", help="The report as Markdown.")
@generator_option
@judge_option
@json_option
@in_session
def evaluate(
    session: Session,
    data: Path | None,
    against: Path | None,
    metrics: str,
    answers: bool,
    sample: int | None,
    seed: int,
    out: Path,
    html: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Search for and ask judged questions, and hold what comes back against what is right. No language model judges,
    unless --judge asks for its opinion too.

    Questions in plain JSONL are about the document folder; public sets bring documents of their own, which are
    indexed beside it with the same settings. docs/evaluate.md says how a set is written and what each figure means.
    """
    from rag.evaluate.choose import chosen_metrics, sampled
    from rag.evaluate.compare import check_same_questions, compare
    from rag.evaluate.render import text_table
    from rag.evaluate.report import Report

    data = _set_of(session, data)
    written = {"--out": out, "--html": html, "--markdown": markdown}
    _check_apart({"--data": data, "--against": against}, written)
    for option, file in written.items():
        _check_target(file)
        session.keep_out(file, option)
    if answers:  # where nobody can judge, it is said before a folder is synced
        _ = session.rag.judge
        if session.rag.entailment:
            session.rag.entailment.load()
    elif session.rag.config.evaluate.judge != "none":
        show.note("answers are left out: there is nothing to judge", session.quiet)
    dataset = dataset_of(session, data)
    before = Report.read(against) if against else None
    judgements = sampled(dataset.judgements, sample, seed)
    chosen_metrics(metrics, judgements, answers)  # what is wrong is said before a folder is synced
    if before:
        check_same_questions(before, {j.id: j.question for j in judgements})
    if dataset.documents is None:
        session.prepare(None)
    with progress(session) as listener:
        report = session.rag.evaluate(
            dataset, metrics=metrics, answers=answers, sample=sample, seed=seed, listener=listener
        )
    comparison = compare(before, report) if before else None
    _write(report, comparison, out, html, markdown)
    if as_json:
        show.show_json(_body(report, comparison))
    else:
        click.echo(tame(text_table(report, comparison)))
    for warning in (*report.warnings, *(comparison.notes if comparison else ())):
        show.note(warning, session.quiet)
    files = [str(f) for f in (out, html, markdown) if f]
    show.say(f"\nwritten: {', '.join(files)}", session.quiet)


def dataset_of(session: Session, data: Path | None) -> Dataset:
    """The set named, or the one that lies beside the documents or the config."""
    from rag.evaluate.formats import read_dataset

    dataset = read_dataset(_set_of(session, data))
    if dataset.documents is not None:
        count = f"its own documents ({len(dataset.documents):,})"
        show.say(f"{dataset.name} ({dataset.format}) brings {count}: they are searched, not your folder", session.quiet)
    return dataset


def _set_of(session: Session, data: Path | None) -> Path:
    if data is None:
        folder = session.rag.config.documents.path.expanduser()
        places = dict.fromkeys([folder.resolve().parent / "questions.jsonl", Path.cwd() / "data" / "questions.jsonl"])
        data = next((p for p in places if p.is_file()), None)
        if data is None:
            looked = ", ".join(map(str, places))
            raise JudgementError(
                f"there are no judged questions: looked for {looked}", "name a file: --data FILE; see docs/evaluate.md"
            )
        show.say(f"questions: {data}", session.quiet)
    return data.expanduser()


def _check_apart(read: Mapping[str, Path | None], written: Mapping[str, Path | None]) -> None:
    """What was judged by hand, or measured before, is never written over."""
    taken: dict[Path, str] = {}
    for option, file in (*read.items(), *written.items()):
        if file is None:
            continue
        other = taken.setdefault(file.resolve(), option)
        if other != option and option in written:
            raise ConfigError(f"{option} and {other} are the same file, {file}", f"name another file: {option}")


def _check_target(file: Path | None) -> None:
    """A report isn't lost after minutes of work because its folder is missing."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        problem = "is a folder" if file.is_dir() else f"there is no folder {file.absolute().parent}"
        raise ConfigError(f"{file} can't be written: {problem}", "name a file in a folder that exists")


def _write(report: Report, comparison: Comparison | None, out: Path, html: Path | None, markdown: Path | None) -> None:
    from rag.evaluate.markdown import markdown as as_markdown

    try:
        report.write(out, **({"comparison": comparison.to_dict()} if comparison else {}))
        if html:
            from rag.evaluate.page import page

            html.write_text(page(report, comparison), encoding="utf-8")
        if markdown:
            markdown.write_text(as_markdown(report, comparison), encoding="utf-8")
    except OSError as error:
        # a full disk is told of without a name
        names = error.filename or ", ".join(str(file) for file in (out, html, markdown) if file)
        raise ConfigError(
            f"{names}: can't be written: {error.strerror}", "check its permissions and the room on its disk"
        ) from None


def _body(report: Report, comparison: Comparison | None) -> dict[str, Any]:
    return report.to_dict() | ({"comparison": comparison.to_dict()} if comparison else {})


@contextmanager
def progress(session: Session) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """A bar on a terminal: files while documents are indexed, then questions."""
    if session.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task("reading", total=None)

        def listen(event: dict[str, Any]) -> None:
            match event["event"]:
                case "scan":
                    drawn.update(task, total=event["files"])
                case "progress":
                    drawn.update(task, description="indexing", completed=event["files"])
                case "question":
                    drawn.update(task, description="asking", completed=event["done"], total=event["total"])

        yield listen


@click.command(short_help="Find the confidence below which to decline.")
@click.argument("questions", required=False, type=A_PATH)
@click.option("--max-risk", type=float, default=0.1, show_default=True, metavar="SHARE", help="Wrong answers allowed.")
@generator_option
@json_option
@in_session
def calibrate(session: Session, questions: Path | None, max_risk: float, as_json: bool) -> None:
    """Ask judged QUESTIONS and find the lowest answer.min_confidence at which at most --max-risk of the answers are
    wrong. Answering a question that the documents don't answer is wrong. Exit code 1 when no threshold does it.
    """
    from rag.evaluate.calibrate import ASSURANCE, can_be_calibrated, check_risk
    from rag.evaluate.calibrate import calibrate as find
    from rag.evaluate.render import calibration_table

    check_risk(max_risk)
    dataset = dataset_of(session, questions)
    can_be_calibrated(dataset.name, any(j.answers or not j.answerable for j in dataset.judgements))
    if dataset.documents is None:
        session.prepare(None)
    with progress(session) as listener:
        report = session.rag.evaluate(dataset, judged=False, listener=listener)
    found = find(report, max_risk)
    if as_json:
        show.show_json(found.to_dict())
    else:
        click.echo(tame(calibration_table(report, found)))
    if found.point is None or found.setting is None:
        low = found.lowest
        raise QueryError(
            f"no threshold keeps the risk at {max_risk:g}: the lowest is {low.risk:.3f}, at {low.threshold:.3f} "
            f"({low.wrong} of {low.answered} answers wrong)",
            "allow more with --max-risk, or better the search first: `rag evaluate --html FILE` shows what goes wrong",
        )
    if not as_json:
        click.echo(f"\nanswer:\n  min_confidence: {found.setting!r}")
    told = f"{found.point.answered} of {found.n} questions would be answered, {found.point.wrong} of them wrongly"
    show.say(f"\n{told}; answer.min_confidence is {session.rag.config.answer.min_confidence:g} now", session.quiet)
    if found.assured is None:
        more = f"too few questions to promise {max_risk:g} for new ones with {100 * ASSURANCE:.0f} % assurance"
        show.note(more, session.quiet)
    else:
        assured = f"{found.assured.threshold:.3f} ({found.assured.answered} answered)"
        show.say(f"with {100 * ASSURANCE:.0f} % assurance for new questions: {assured}", session.quiet)
