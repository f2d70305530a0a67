"""`rag mcp`: the documents as tools of an agent program, over stdin and stdout."""

from __future__ import annotations

import signal
import sys

import click

from rag.cli.session import Session, generator_option, in_session
from rag.cli.show import note
from rag.errors import IndexMissing


@click.command(short_help="Serve the documents to agent programs (MCP).")
@generator_option
@click.option("--allow-sync", is_flag=True, help="Offer the tool sync too, which updates the index.")
@click.option("--sync/--no-sync", "sync_first", default=None, help="Default: with --docs, or never synced.")
@in_session
def mcp(session: Session, allow_sync: bool, sync_first: bool | None) -> None:
    """Serve the documents to an agent program over the Model Context Protocol: tools search, ask, get, neighbours,
    list_files and status. It speaks on stdin and stdout, so an agent program starts it, not a person.

    The tools only read. With --docs the folder is synced first, in the background.
    """
    from rag.serve.mcp.wire import own_stdout

    with own_stdout() as wire:
        from rag.serve.mcp.preparing import FirstSync
        from rag.serve.mcp.stdio import serve_stdio
        from rag.serve.mcp.tools import Library

        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread that waits for stdin can't be interrupted otherwise
        if sys.stdin.isatty():
            note("this waits for an agent program on stdin; docs/agents.md shows how to connect one", session.quiet)
        if sync_first is None:
            sync_first = session.docs_named or not _was_synced(session)
        first = FirstSync(session.rag) if sync_first else None
        if first:
            first.start()
        try:
            serve_stdio(Library(session.rag, allow_sync, preparing=first), wire)
        finally:
            if first:
                first.stop()


def _was_synced(session: Session) -> bool:
    """Unlike Session.prepare this loads no model: the client waits for the handshake."""
    try:
        session.rag.files()
    except IndexMissing:
        return False
    return True
