"""What every command shares: its options, the Rag they make, and a sync before answering."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rag.cli.show import note, show_report
from rag.errors import ConfigError, IndexLocked, IndexMissing

if TYPE_CHECKING:
    from rag.build import Rag
    from rag.config import Config
    from rag.types import SyncReport

Command = Callable[..., Any]


class _Path(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":  # to Path the folder one works in, but what is meant is a variable that isn't set
            self.fail("it is empty, and names neither a file nor a folder", param, ctx)
        return super().convert(value, param, ctx)


A_PATH = _Path(path_type=Path, readable=False)  # whether it can be read is said where it is read
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
generator_option = click.option(
    "--generator", metavar="NAME", help="extractive, smollm2, a model's path or name, or openai:MODEL."
)


judge_option = click.option(
    "--judge/--no-judge", default=None, help="Let the language model judge answers too. Default: evaluate.judge."
)


def setting_options(command: Command) -> Command:
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but the result and errors."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one: retrieve.top_k=3."),
        click.option("--config", "config_file", type=A_PATH, help="Default: ./config.yaml."),
        click.option("--docs", type=A_PATH, help="Document folder. Default: documents.path."),
    ):
        command = option(command)
    return command


def read_config(
    docs: Path | None,
    config_file: Path | None,
    settings: Iterable[str],
    generator: str | None = None,
    judge: bool | None = None,
) -> Config:
    """The config as the options of `setting_options` have it."""
    from rag.config import load_config

    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r} is not KEY=VALUE", "for example --set retrieve.top_k=3")
        overrides[key.strip()] = value
    if generator:
        overrides.update(_generator_settings(generator))
    if judge is not None:
        overrides["evaluate.judge"] = "generator" if judge else "none"
    if docs is not None:
        overrides["documents.path"] = docs
    return load_config(config_file, overrides)


def _generator_settings(name: str) -> dict[str, Any]:
    """
    >>> _generator_settings("openai:gpt-oss:20b")
    {'generate.kind': 'openai', 'generate.model': 'gpt-oss:20b'}
    """
    if name == "extractive":
        return {"generate.kind": "extractive"}
    if name.startswith("openai:"):
        return {"generate.kind": "openai", "generate.model": name.removeprefix("openai:")}
    return {"generate.kind": "transformers", "generate.model": name}


@dataclass(frozen=True)
class Session:
    """One run of a command."""

    rag: Rag
    quiet: bool
    docs_named: bool

    def prepare(self, sync_first: bool | None, question: str | None = None, filter: str | None = None) -> None:
        """Sync before answering, where that is wanted; what can't be asked is refused before."""
        from rag.retrieve import check_question, parse_filter

        if question is not None:
            check_question(question, self.rag.config.retrieve.max_question_chars)
        parse_filter(filter)
        if not self.sync_wanted(sync_first):
            return
        try:
            report = self.sync(brief=True)
        except IndexLocked as error:
            note(f"{error.message}; answering from the last sync")
            return
        failed = [f for f in report.files if f.outcome.value == "failed"]
        if failed:
            more = f" and {len(failed) - 1} more (`rag status` lists them)" if len(failed) > 1 else ""
            note(f"{failed[0].path}: {failed[0].reason}{more}", self.quiet)

    def sync_wanted(self, sync_first: bool | None) -> bool:
        """When the folder was named, or nothing was ever synced, unless told otherwise."""
        return self.docs_named or not self._was_synced() if sync_first is None else sync_first

    def keep_out(self, file: Path | None, option: str = "--out") -> None:
        """What is made is never put among the documents: it would take a document's place, or become one. Raises
        ConfigError; call it before anything is made."""
        documents = self.rag.config.documents.path.expanduser().resolve()
        if file is not None and file.expanduser().resolve().is_relative_to(documents):
            raise ConfigError(
                f"{file} is inside the document folder, which is only read", f"name another place: {option}"
            )

    def _was_synced(self) -> bool:
        try:
            _ = self.rag.reader
        except IndexMissing:
            return False
        return True

    def sync(self, as_json: bool = False, brief: bool = False, **options: Any) -> SyncReport:
        """Shown as it goes: a bar on a terminal, JSON lines when asked for, nothing into a pipe. `brief`: no report."""
        if as_json:
            report = self.rag.sync(listener=_print_event, **options)
            _print_event({"event": "report", **report.counts()})
            return report
        if self.quiet or not sys.stderr.isatty():
            report = self.rag.sync(**options)
        else:
            from rag.cli.progress import shown

            with shown() as listener:
                report = self.rag.sync(listener=listener, **options)
        if not self.quiet and not brief:
            show_report(report)
        return report


def _print_event(event: dict[str, Any]) -> None:
    click.echo(json.dumps(event, ensure_ascii=False))


def in_session(command: Command) -> Command:
    """Add the setting options; the command gets the Session they make."""

    @setting_options
    @wraps(command)
    def run(docs: Path | None, config_file: Path | None, settings: tuple[str, ...], quiet: bool, **given: Any) -> Any:
        config = read_config(docs, config_file, settings, given.pop("generator", None), given.pop("judge", None))
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would compete with ours
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one short pass: threads only wait for each other
        from rag.build import Rag

        with Rag(config) as rag:
            return command(Session(rag, quiet, docs is not None), **given)

    return run


@dataclass(frozen=True)
class Wanted:
    """The options of `search_options`."""

    sync_first: bool | None
    filter: str | None
    settings: dict[str, Any]  # of section retrieve, for this call; None: as configured


def search_options(command: Command) -> Command:
    """Add the options of a search; the command gets them as `wanted`."""

    @wraps(command)
    def run(
        *given: Any,
        sync_first: bool | None,
        min_score: float | None,
        kind: str | None,
        filter_text: str | None,
        top_k: int | None,
        **more: Any,
    ) -> Any:
        settings = {"top_k": top_k, "kind": kind, "min_score": min_score}
        return command(*given, wanted=Wanted(sync_first, filter_text, settings), **more)

    wrapped: Command = run
    for option in (
        click.option("--sync/--no-sync", "sync_first", default=None, help="Default: with --docs, or never synced."),
        click.option("--min-score", type=float, help="Leave out passages below this score."),
        click.option("--kind", type=click.Choice(["hybrid", "dense", "lexical"]), help="How to search."),
        click.option("--filter", "filter_text", metavar="FILTER", help="'type=pdf path=reports/* page>=3'"),
        click.option("-k", "--top-k", type=click.IntRange(1, 1000), metavar="N", help="How many passages."),
    ):
        wrapped = option(wrapped)
    return wrapped
