"""`rag questions`: a test set from one's own folder, to be read by a person before it is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.cli import show
from rag.cli.session import A_PATH, Session, in_session, json_option
from rag.errors import JudgementError

if TYPE_CHECKING:
    from rag.build import Rag
    from rag.evaluate.questions import Made


@click.command(short_help="Make a test set from the documents, to be reviewed.")
@click.option("-n", "number", type=int, default=200, show_default=True, help="At most so many questions.")
@click.option("--out", type=A_PATH, default=Path("questions.jsonl"), show_default=True, help="The file to write.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed chooses other questions.")
@click.option("--unanswerable", type=float, default=0.25, show_default=True, help="Share that nothing answers.")
@click.option("--kinds", default="cloze,heading,unanswerable", show_default=True, help="Only these kinds.")
@click.option("--force", is_flag=True, help="Overwrite the file, edits included.")
@json_option
@in_session
def questions(
    session: Session, number: int, out: Path, seed: int, unanswerable: float, kinds: str, force: bool, as_json: bool
) -> None:
    """Make questions that the documents answer, with the place of each answer, and some that they don't answer.

    Rules make them, no language model. Read the file and take out what you would not ask; then `rag evaluate` it.
    """
    from rag.evaluate.judgements import write_jsonl
    from rag.evaluate.questions import check

    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    check(number, unanswerable, wanted)
    _check_out(out, force)
    session.keep_out(out)
    session.prepare(None)
    made = _make(session.rag, number, seed, unanswerable, wanted)
    part = out.with_name(out.name + ".part")  # a full disk leaves the old file as it was
    try:
        write_jsonl(part, made.judgements)
        os.replace(part, out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _unwritable(out, error) from None
    _tell(session, made, out, as_json)


def _make(rag: Rag, number: int, seed: int, unanswerable: float, kinds: list[str]) -> Made:
    from rag.evaluate.questions import make_questions
    from rag.evaluate.questions.corpus import Tools
    from rag.sentences import guess_language, sentence_spans
    from rag.types import Outcome

    tools = Tools(
        sentences=sentence_spans,
        language=guess_language,
        terms=rag.reader.terms,
        query_terms=rag.reader.query_terms,
        search=lambda question, k: rag.search(question, k),
    )
    indexed = (f.path for f in rag.files() if f.outcome is Outcome.INDEXED)
    return make_questions(map(rag.source, indexed), tools, number, seed, unanswerable, kinds)


def _tell(session: Session, made: Made, out: Path, as_json: bool) -> None:
    if as_json:
        show.show_json({"out": str(out), "questions": len(made.judgements), **made.counts, "notes": list(made.notes)})
    for text in made.notes:
        show.note(text, session.quiet)
    counts = ", ".join(f"{count} {kind}" for kind, count in made.counts.items())
    show.say(f"{len(made.judgements)} questions ({counts}) in {out}", session.quiet)
    docs = session.rag.config.documents.path
    show.say(
        f"next: read the file, take out what you would not ask; then `rag evaluate --data {out} --docs {docs}`",
        session.quiet,
    )


def _check_out(out: Path, force: bool) -> None:
    """Before anything is made: a minute of work isn't lost to a name."""
    if out.is_dir():
        raise JudgementError(f"{out} is a folder", "name a file: --out questions.jsonl")
    if out.exists() and not force:
        raise JudgementError(f"{out} exists, and may have been edited", "name another file with --out, or add --force")
    if not out.parent.is_dir():
        raise JudgementError(f"{out} can't be written: there is no folder {out.parent}", "make it, or name another")
    if not os.access(out.parent, os.W_OK):
        raise _unwritable(out, PermissionError("no permission"))


def _unwritable(out: Path, error: OSError) -> JudgementError:
    return JudgementError(f"{out} can't be written: {error.strerror or error}", "name another place: --out FILE")


for _option in questions.params:
    if _option.name == "docs":  # the same folder in the words of this command: `rag questions --from papers`
        _option.opts.insert(0, "--from")
