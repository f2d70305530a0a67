"""`rag serve`: the page and the APIs, until it is stopped."""

from __future__ import annotations

import logging

import click

from rag.cli.session import Session, generator_option, in_session
from rag.cli.show import say


@click.command(short_help="Serve a page to ask in, and APIs.")
@click.option("--sync/--no-sync", "sync_first", default=None, help="Default: with --docs, or never synced.")
@click.option("--host", metavar="NAME", help="Any but this machine's own needs a key. Default: serve.host.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="0: a free one. Default: serve.port.")
@generator_option
@in_session
def serve(session: Session, sync_first: bool | None, host: str | None, port: int | None) -> None:
    """Serve a page to ask in, a REST API and an OpenAI-compatible one, until Ctrl-C or SIGTERM: http://127.0.0.1:8000.

    Others than this machine's own programs are let in with a key only: RAG_API_KEY in the environment, or the file that
    serve.api_key_file names. docs/serve.md tells what is served.
    """
    from rag.serve.run import serve as run

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)

    def started(address: str) -> None:
        say(f"serving {session.rag.config.documents.path} at {address} (Ctrl-C stops it)", session.quiet)

    run(session.rag, sync_first=session.sync_wanted(sync_first), host=host, port=port, started=started)
