"""The front door on the command line. Data goes to stdout, words about it to stderr.

Exit codes: 0 done · 1 an expected error, or a file that failed · 2 wrong usage or config · 130 Ctrl-C.
Each command imports what it needs when it runs: `rag --help` loads neither a model nor an index.

    session.py   the options that commands share, the Rag they make, a sync before answering
    show.py      everything that is printed
    progress.py  the bar while a sync runs
    measure.py   evaluate and calibrate
    mcp.py       the server for agent programs
    serve.py     the server for people and programs
    vectors.py   compare, similar, embed and tokens
    groups.py    cluster and map
    spaces.py    vectors
"""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag import __version__
from rag.cli import groups, mcp, measure, questions, serve, show, spaces, sweep, vectors
from rag.cli.session import (
    A_PATH,
    Session,
    Wanted,
    generator_option,
    in_session,
    json_option,
    read_config,
    search_options,
    setting_options,
)
from rag.errors import RagError
from rag.tame import tame

if TYPE_CHECKING:
    from rag.types import Answer, Message, Within

WITHIN = ("text", "images", "audio")
HISTORY = 6  # messages of a chat that a model sees of what was said before


class Shell(click.Group):
    """Expected errors end in one message and their exit code, never in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if "unexpected extra argument" in error.message:  # `rag ask docs "What is it?"`, `rag ask what is it`
                hint = "Put quotes around words that belong together; name the document folder with --docs."
                raise click.UsageError(f"{error.message}\n{hint}", error.ctx) from None
            raise
        except RagError as error:
            show.show_error(error)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("\nstopped; what was done is kept", err=True)
            sys.exit(130)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order they are written here: the order of use


@click.group(cls=Shell, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="rag")
def app() -> None:
    """Point it at a folder of documents and ask. Answers come from those documents only, with checked citations."""


# ---- asking ------------------------------------------------------------------------------------------------------


@app.command(short_help="Answer a question from the documents.")
@click.argument("question")
@search_options
@generator_option
@json_option
@click.option("--explain", is_flag=True, help="Show each passage with its score and rank per stage.")
@in_session
def ask(session: Session, question: str, wanted: Wanted, as_json: bool, explain: bool) -> None:
    """Answer QUESTION from the documents, with the words it rests on, or say that they don't hold the answer."""
    session.prepare(wanted.sync_first, question, wanted.filter)
    answer = _answer(session, question, wanted, live=not as_json)
    if as_json:
        show.show_json(answer.to_dict())
        return
    folder = session.rag.config.documents.path
    show.show_answer(answer, session.quiet, folder)
    if explain:
        click.echo()
        show.show_passages(answer.passages, True, folder)


def _answer(session: Session, question: str, wanted: Wanted, live: bool, history: Sequence[Message] = ()) -> Answer:
    """The checked answer; on a terminal a model's words are shown as they come, before they are checked."""
    rag = session.rag
    live = live and not session.quiet and rag.config.generate.kind != "extractive" and sys.stderr.isatty()
    cancel = threading.Event()
    answer: Answer | None = None
    try:
        for event in rag.stream(question, history, wanted.filter, cancel, **wanted.settings):
            if event.kind == "text" and live:
                click.echo(show.styled(tame(event.value), "bright_black", stream=sys.stderr), nl=False, err=True)
            elif event.kind == "answer":
                answer = event.value
    finally:
        cancel.set()  # Ctrl-C: the model stops as well
    if live:
        click.echo("\n", err=True)
    assert answer is not None  # the last event
    return answer


@app.command(short_help="Show the passages, pictures or recordings nearest to a query.")
@click.argument("query", required=False)
@search_options
@json_option
@click.option("--image", type=A_PATH, metavar="FILE", help="Find pictures like this one.")
@click.option("--audio", type=A_PATH, metavar="FILE", help="Find recordings like this one.")
@click.option(
    "--in", "within", type=click.Choice([*WITHIN, "all"]), help="What to search. Default: what the query is of."
)
@click.option("--explain", is_flag=True, help="Show each stage's score and rank.")
@click.option("--why", metavar="FILE", help="Say why FILE is, or isn't, among the hits.")
@click.option("--mmr", is_flag=True, default=None, help="Prefer passages that differ from each other.")
@click.option("--neighbours", type=click.IntRange(0, 10), metavar="N", help="Chunks to add around each hit.")
@in_session
def search(
    session: Session,
    query: str | None,
    wanted: Wanted,
    as_json: bool,
    image: Path | None,
    audio: Path | None,
    within: str | None,
    explain: bool,
    why: str | None,
    mmr: bool | None,
    neighbours: int | None,
) -> None:
    """Show the passages nearest to QUERY, best first, each with its score and place.

    Pictures and recordings are found by --image and --audio, alone or beside words: what each finds is then put
    together by rank. Words find pictures (--in images) where images.kind is clip.
    """
    if query is None and image is None and audio is None:
        raise click.UsageError("give a QUERY, --image or --audio")
    if why and (query is None or image or audio or within):
        raise click.UsageError("--why takes a QUERY and looks at texts: leave out --in, --image and --audio")
    if why and wanted.filter:
        raise click.UsageError("--why looks at the whole index: leave out --filter")
    session.prepare(wanted.sync_first, query, wanted.filter)
    settings = {**wanted.settings, "mmr": mmr, "neighbours": neighbours}
    if why:
        show.show_why(session.rag.why(query or "", why, **settings), as_json)
        return
    k, timings = settings.pop("top_k"), None
    if image is None and audio is None and within in (None, "text"):
        found = session.rag.retrieve(query or "", filter=wanted.filter, k=k, **settings)
        passages, timings = found.passages, found.timings
    else:
        spaces = _spaces(session, within, query, image, audio)
        passages = tuple(
            session.rag.search(query, k, wanted.filter, image=image, audio=audio, within=spaces, **settings)
        )
    if as_json:
        from rag.types import passage_to_dict

        body = {"query": query, "passages": [passage_to_dict(p) for p in passages]}
        show.show_json({**body, "timings": timings} if timings else body)
        return
    if not passages:
        show.say(
            f"nothing found within the filter {wanted.filter}" if wanted.filter else "nothing found", session.quiet
        )
    show.show_passages(passages, explain, session.rag.config.documents.path)


def _spaces(
    session: Session, within: Any, query: str | None, image: Path | None, audio: Path | None
) -> list[Within] | None:
    """Those of --in; for "all" None, what the queries are of, and pictures where words find them, too."""
    if within != "all":
        return [within] if within else None
    kind = session.rag.config.images.kind
    if query is None or (kind != "clip" and image is not None):
        return None
    if kind != "clip":
        show.note(f"words don't find pictures: images.kind is {kind}", session.quiet)
        return None
    return ["text", "images"] if audio is None else ["text", "images", "audio"]


@app.command(short_help="Ask questions one after another.")
@generator_option
@search_options
@in_session
def chat(session: Session, wanted: Wanted) -> None:
    """Ask questions one after another; a language model also understands follow-ups. Ends with Ctrl-D or `exit`.

    Ctrl-C stops an answer; while nothing is being answered, it ends the chat.
    """
    from rag.types import Message

    session.prepare(wanted.sync_first, filter=wanted.filter)
    history: list[Message] = []
    prompt = "? " if sys.stdin.isatty() and sys.stdout.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line in ("exit", "quit", ":q"):
            return
        if not line:
            continue
        try:
            answer = _answer(session, line, wanted, live=True, history=history[-HISTORY:])
        except RagError as error:
            show.show_error(error)
            continue
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            continue
        show.show_answer(answer, session.quiet, session.rag.config.documents.path)
        history += [Message("user", line), Message("assistant", answer.text)]


@app.command(short_help="Print the prompt that a generator would get.")
@click.argument("question")
@search_options
@generator_option
@json_option
@in_session
def prompt(session: Session, question: str, wanted: Wanted, as_json: bool) -> None:
    """Print the exact prompt for QUESTION that a generator would get, with its passages and token counts.

    The extractive default takes none: then it is smollm2's, unless --generator names another.
    """
    session.prepare(wanted.sync_first, question, wanted.filter)
    config = session.rag.config
    in_use = config.generate.kind != "extractive"
    if not in_use:
        generate = config.generate.model_copy(update={"kind": "transformers", "model": "smollm2"})
        config = config.model_copy(update={"generate": generate})
    from rag.build import Rag

    with Rag(config) as rag:
        built = rag.prompt(question, wanted.filter, **wanted.settings)
        show.show_prompt(built, str(config.generate.model), in_use, as_json, session.quiet)


# ---- the folder --------------------------------------------------------------------------------------------------


@app.command(short_help="Make the index equal to the folder.")
@click.option("--reindex", is_flag=True, help="The model or splitter changed: make the index anew.")
@click.option("--rebuild", is_flag=True, help="Make the derived indexes anew from the catalog, reading nothing.")
@click.option("--allow-empty", is_flag=True, help="The folder was emptied on purpose.")
@click.option("--watch", is_flag=True, help="Keep going: sync again whenever the folder changes.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines; the last one is the report.")
@in_session
def sync(session: Session, reindex: bool, rebuild: bool, allow_empty: bool, watch: bool, as_json: bool) -> None:
    """Make the index equal to the folder: only what changed is read. Exit code 1 when a file failed."""
    report = session.sync(as_json, reindex=reindex, rebuild=rebuild, allow_empty=allow_empty)
    if watch:
        from rag.sync.watch import changes

        for changed in changes(session.rag.config.documents, session.rag.index_folder):
            if changed:  # 0: it watches now; what changed during the first sync is taken without a word
                show.say(f"{changed} changed", session.quiet or as_json)
            try:
                report = session.sync(as_json, allow_empty=allow_empty)
            except RagError as error:  # the folder is empty for a moment, another process writes: the next change helps
                show.show_error(error)
    if not report.ok:
        sys.exit(1)


@app.command(short_help="Show what the index holds, and what isn't in it.")
@json_option
@in_session
def status(session: Session, as_json: bool) -> None:
    """Show what the index holds, and each file that isn't in it with its reason. Exit code 1 when a file failed."""
    body, files = session.rag.status(), session.rag.files()
    if as_json:
        show.show_json({**body, "files_not_indexed": [show.file_dict(f) for f in files if f.reason]})
    else:
        show.show_status(body, files)
    if any(f.outcome.value == "failed" for f in files):
        sys.exit(1)


@app.command("list", short_help="List the files of the last sync.")
@json_option
@in_session
def list_files(session: Session, as_json: bool) -> None:
    """List the files of the last sync: outcome, number of chunks, path, and why a file wasn't read."""
    files = session.rag.files()
    if as_json:
        show.show_json([show.file_dict(f) for f in files])
        return
    for file in files:
        why = f": {show.one_line(file.reason)}" if file.reason else ""
        click.echo(f"{file.outcome.value:<12}{file.chunks:>5}  {show.one_line(file.path)}{why}")


@app.command(short_help="Print a file's text: all, some lines, or a page.")
@click.argument("place", metavar="FILE[:LINE[-LINE] | :pPAGE]")
@json_option
@in_session
def get(session: Session, place: str, as_json: bool) -> None:
    """Print a file's text as it was loaded: all of it, some lines (notes.md:3-9), or a page (handbook.pdf:p3)."""
    path, first, last, page = _parse_place(place)
    source, span = session.rag.get(path, first, last, page)
    text = span.cut(source.text)
    line = source.line_at(span.start)
    if as_json:
        body = {"source": source.path, "start": span.start, "end": span.end, "page": source.page_at(span.start)}
        show.show_json({**body, "line": line, "seconds": source.seconds_at(span.start), "text": text})
        return
    if sys.stdout.isatty():
        text = tame(text)
    for number, content in enumerate(text.split("\n"), line):
        click.echo(f"{show.styled(f'{number:>5}', 'bright_black')}  {content}" if first is not None else content)


def _parse_place(place: str) -> tuple[str, int | None, int | None, int | None]:
    """
    >>> _parse_place("a/notes.md:41"), _parse_place("notes.md:3-5"), _parse_place("b.pdf:p3"), _parse_place("b.pdf")
    (('a/notes.md', 41, None, None), ('notes.md', 3, 5, None), ('b.pdf', None, None, 3), ('b.pdf', None, None, None))
    """
    match = re.fullmatch(r"(.+?)(?::(?:p(?:age)? ?(\d+)|(\d+)(?:-(\d+))?))?", place, re.DOTALL)
    if match is None:
        raise click.UsageError("name a FILE, FILE:LINE, FILE:LINE-LINE or FILE:pPAGE")
    path, page, first, last = match.groups()
    line, end, page_number = (int(n) if n else None for n in (first, last, page))
    return path, line, end, page_number


@app.command(short_help="Check that the index is whole and agrees with itself.")
@click.option("--repair", is_flag=True, help="Make what is derived anew from the catalog, then check.")
@click.option("--from-copy", is_flag=True, help="With --repair: put the catalog's last good copy in its place.")
@json_option
@in_session
def doctor(session: Session, repair: bool, from_copy: bool, as_json: bool) -> None:
    """Check the index: every page of the catalog, each chunk's place, both derived indexes against it, a sample looked
    for by its own vector and words, files that nobody uses, free disk, characters that a reader doesn't see.

    Exit code 1 when something is wrong; each such line says what to do. Nothing is changed without --repair, which
    reads no document and runs no model.
    """
    if from_copy and not repair:
        raise click.UsageError("--from-copy needs --repair: it changes the index")
    if repair:
        session.rag.repair(from_copy=from_copy)
    health = session.rag.doctor()
    show.show_health(health, as_json)
    if not health.ok:
        sys.exit(1)


@app.command(short_help="Take from the disk what was deleted.")
@json_option
@in_session
def compact(session: Session, as_json: bool) -> None:
    """Take from the disk what was deleted from the index: its text, its vectors, and the room they took."""
    before, after = session.rag.compact()
    if as_json:
        show.show_json({"before": before, "after": after})
    else:
        show.say(f"{before / 2**20:.1f} MB -> {after / 2**20:.1f} MB", session.quiet)


@app.command(short_help="Write the index to one file, for another machine.")
@click.argument("file", type=A_PATH, metavar="FILE.tar.zst")
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@json_option
@in_session
def export(session: Session, file: Path, force: bool, as_json: bool) -> None:
    """Write the index, as last synced, to FILE: texts, places, vectors and what they were made with. FILE holds the
    documents' text, so only its owner may read it."""
    session.keep_out(file, "FILE")
    show.show_archive(session.rag.export(file, force=force), as_json, session.quiet)


@app.command("import", short_help="Make the index from a file that `rag export` wrote.")
@click.argument("file", type=A_PATH, metavar="FILE.tar.zst")
@click.option("--force", is_flag=True, help="Replace the index that is there.")
@json_option
@in_session
def import_(session: Session, file: Path, force: bool, as_json: bool) -> None:
    """Make the index of the document folder from FILE. `rag sync` then takes what differs from the folder.

    The whole file is checked first: when it was cut short or altered, or made with another model or other settings,
    nothing is changed.
    """
    report = session.rag.import_index(file, force=force)
    show.show_archive(report, as_json, session.quiet)


@app.command(short_help="Print every setting as it is in force.")
@click.option("--default", is_flag=True, help="Print the packaged config.yaml, with its comments.")
@json_option
@setting_options
def config(
    default: bool, as_json: bool, quiet: bool, docs: Path | None, config_file: Path | None, settings: tuple[str, ...]
) -> None:
    """Print every setting as it is in force, as YAML that --config reads back."""
    from rag.config import dump_config, packaged

    if default:
        click.echo(packaged("config.yaml").read_text(encoding="utf-8"), nl=False)
        return
    in_force = read_config(docs, config_file, settings)
    if as_json:
        show.show_json(in_force.model_dump(mode="json"))
        return
    click.echo(dump_config(in_force), nl=False)


app.add_command(vectors.compare)
app.add_command(vectors.similar)
app.add_command(groups.cluster)
app.add_command(groups.map_)
app.add_command(spaces.vectors)
app.add_command(vectors.embed)
app.add_command(vectors.tokens)
app.add_command(measure.evaluate)
app.add_command(measure.calibrate)
app.add_command(sweep.sweep)
app.add_command(questions.questions)
app.add_command(mcp.mcp)
app.add_command(serve.serve)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name or text that the terminal's encoding lacks stops nothing
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="rag")
