"""What the commands print. Colours and links only on a terminal without NO_COLOR; plain text everywhere else.

Documents are untrusted: what comes from them is printed with everything taken out that a terminal would obey.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from rag.errors import RagError
from rag.tame import tame

if TYPE_CHECKING:
    from rag.prompt import BuiltPrompt
    from rag.retrieve import Why
    from rag.types import Answer, ArchiveReport, FileReport, Health, Passage, SyncReport

_MEDIA = {"images": "(picture)", "audio": "(recording)"}
EXCERPT = 300  # characters of a passage in a listing, or of a table's head


def styled(text: str, color: str | None = None, bold: bool = False, stream: TextIO | None = None) -> str:
    """`stream`: where it will go (None: stdout), which says whether colours are wanted."""
    return click.style(text, fg=color, bold=bold or None) if _fancy(stream or sys.stdout) else text


def _fancy(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def one_line(text: str) -> str:
    return " ".join(tame(text).split())


def say(text: str, quiet: bool = False) -> None:
    """Words about the result, on stderr."""
    if not quiet:
        click.echo(tame(text), err=True)


def note(text: str, quiet: bool = False) -> None:
    """In one line: a file's name may hold line ends."""
    if not quiet:
        click.echo(f"{styled('note:', 'yellow', stream=sys.stderr)} {one_line(text)}", err=True)


def show_error(error: RagError) -> None:
    click.echo(f"{styled('error:', 'red', stream=sys.stderr)} {tame(error.message)}", err=True)
    if error.hint:
        click.echo(f"  {tame(error.hint)}", err=True)


def show_json(body: Any) -> None:
    click.echo(json.dumps(body, ensure_ascii=False, indent=2))


def file_dict(file: FileReport) -> dict[str, Any]:
    counted = {"chunks": file.chunks, "pictures": file.pictures, "windows": file.windows}
    return {"path": file.path, "outcome": file.outcome.value, "reason": file.reason, **counted}


# ---- answers and passages ----------------------------------------------------------------------------------------


def show_answer(answer: Answer, quiet: bool, folder: Path) -> None:
    """`folder`: of the documents, for links that a terminal can open."""
    click.echo(styled(tame(answer.text), bold=True))
    for citation in answer.citations:
        click.echo(f"\n  [{citation.number}] {_place(citation.label, folder / citation.source)}")
        if citation.table_head:
            click.echo(f"      {_excerpt(citation.table_head.strip('| '))}")
        click.echo(f"      “{one_line(citation.quote)}”")
    if quiet:
        return
    click.echo(err=True)
    if answer.abstained:
        say(f"why: {one_line(answer.reason or '')}")
        if answer.passages:
            say(f"nearest: {'; '.join(one_line(p.label) for p in answer.passages[:3])}")
    elif answer.reason:
        note(answer.reason)
    tokens = f" · {answer.tokens['prompt']} + {answer.tokens['completion']} tokens" if answer.tokens else ""
    seconds = sum(s for name, s in answer.timings.items() if name != "first_token")
    say(f"confidence {answer.confidence:.2f} · {answer.generator}{tokens} · {seconds:.2f} s")


def show_passages(passages: Iterable[Passage], explain: bool, folder: Path) -> None:
    for number, passage in enumerate(passages):
        if number:
            click.echo()
        place = _place(passage.label, folder / passage.source)
        click.echo(f"{styled(f'[{passage.number}]', bold=True)} {passage.score:.3f}  {place}")
        if explain:
            click.echo(f"    {' · '.join(f'{s.stage} {s.score:.3f} (rank {s.rank})' for s in passage.stages)}")
            if passage.also_in:
                click.echo(f"    also in {one_line(', '.join(passage.also_in))}")
        click.echo(f"    {_excerpt(one_line(passage.shown) if passage.space == 'text' else _MEDIA[passage.space])}")


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(" ", 1)[0] + " …"


def show_why(why: Why, as_json: bool) -> None:
    if as_json:
        stages = [{"stage": s.stage, "score": round(s.score, 6), "rank": s.rank} for s in why.best]
        show_json({"path": why.path, "found": why.found, "reason": why.reason, "stages": stages})
        return
    click.echo(one_line(f"{why.path}: {why.reason}"))
    for stage in why.best:
        click.echo(f"  {stage.stage:<8} rank {stage.rank:<4} score {stage.score:.4f}")


def show_prompt(built: BuiltPrompt, name: str, in_use: bool, as_json: bool, quiet: bool) -> None:
    """`in_use` False: `name` is the model that the prompt would be for, not the configured generator."""
    left_out = [p.label for p in built.left_out]
    if as_json:
        messages = [{"role": m.role, "content": m.content} for m in built.messages]
        counts = {"tokens": built.tokens, "passages": [p.label for p in built.passages], "left_out": left_out}
        show_json({"generator": name, "in_use": in_use, "messages": messages, **counts})
        return
    for message in built.messages:
        click.echo(f"--- {message.role}\n{tame(message.content) if sys.stdout.isatty() else message.content}")
    if not in_use:
        note(f"generate.kind is extractive, which takes no prompt: this is what {name} would get", quiet)
    say(
        f"--- {built.tokens} tokens for {name}, {len(built.passages)} passages"
        + (f", left out for want of room: {'; '.join(left_out)}" if left_out else ""),
        quiet,
    )


def _made(space: dict[str, Any]) -> str:
    return f"{space.get('model') or space['kind']}, {space['dimension']} dimensions, cosine"


def _place(label: str, file: Path) -> str:
    """A label in colour that opens the file, where the terminal knows links (OSC 8); others show the label alone."""
    label = one_line(label)
    if not _fancy(sys.stdout):
        return label
    return f"\x1b]8;;{file.absolute().as_uri()}\x1b\\{styled(label, 'cyan')}\x1b]8;;\x1b\\"


# ---- the folder --------------------------------------------------------------------------------------------------


def show_report(report: SyncReport) -> None:
    """Each file that isn't indexed with its reason, then the counts in one line, on stderr."""
    show_reasons((f for f in report.files if f.reason), sys.stderr)
    counts = (("added", report.num_added), ("updated", report.num_updated), ("moved", report.num_moved),
              ("deleted", report.num_deleted), ("unchanged", report.num_skipped))  # fmt: skip
    files = ", ".join(f"{n} {name}" for name, n in counts if n) or "nothing to index"
    vectors = f", {report.embedded} embedded, {report.reused} reused" if report.embedded or report.reused else ""
    pictures = sum(f.pictures for f in report.files)
    recordings = sum(1 for f in report.files if f.windows)
    media = f", {_some(pictures, 'picture')}" if pictures else ""
    media += f", {_some(recordings, 'recording')}" if recordings else ""
    say(f"{files} · {report.chunks} chunks{media}{vectors} · {report.seconds:.1f} s")


def _some(number: int, name: str) -> str:
    return f"{number} {name}{'s' if number != 1 else ''}"


def show_reasons(files: Iterable[FileReport], stream: TextIO) -> None:
    for file in files:
        color = "red" if file.outcome.value == "failed" else "yellow"
        outcome = styled(f"{file.outcome.value:<12}", color, stream=stream)
        click.echo(f"{outcome} {one_line(f'{file.path}: {file.reason}')}", file=stream)


def show_archive(report: ArchiveReport, as_json: bool, quiet: bool) -> None:
    if as_json:
        show_json(asdict(report))
        return
    size = f"{report.bytes / 2**20:.1f} MB"
    say(
        f"{report.files} files, {report.chunks} chunks, {report.vectors} vectors · {size} · {report.seconds:.1f} s",
        quiet,
    )


def show_health(health: Health, as_json: bool) -> None:
    if as_json:
        show_json({"ok": health.ok, **asdict(health)})
        return
    for check in health.checks:
        mark = styled(f"{'ok' if check.ok else 'wrong':<7}", "green" if check.ok else "red")
        click.echo(f"{mark}{check.name:<19}{one_line(check.told)}")
        if not check.ok and check.hint:
            click.echo(f"{'':<26}{check.hint}")


def show_status(body: dict[str, Any], files: Iterable[FileReport]) -> None:
    embedding, splitting = body["embedding"], body["splitting"]
    rows = {
        "documents": body["documents"],
        "index": f"{body['index']} (generation {body['generation']})",
        "holds": f"{body['files']} files, {body['chunks']} chunks, {body['characters']:,} characters",
        "outcomes": ", ".join(f"{n} {name}" for name, n in sorted(body["outcomes"].items())),
        "embedding": f"{embedding['model']}, {embedding['dimension']} dimensions, cosine",
        "splitting": f"{splitting['kind']}, at most {splitting['max_tokens']} tokens",
    }
    if body["pictures"]:
        rows["pictures"] = f"{body['pictures']}, {_made(body['images'])}"
    if body["windows"]:
        rows["recordings"] = f"{body['windows']} windows, {_made(body['audio'])}"
    for name, value in rows.items():
        click.echo(f"{name:<12} {one_line(value)}")
    show_reasons((f for f in files if f.reason), sys.stdout)
    for path, warnings in body["warnings"].items():
        told = f"{path}: {'; '.join(warnings)}"
        click.echo(f"{styled('warning     ', 'yellow')} {one_line(told)}")
