"""Vectors of anything else on the command line: `rag vectors`."""

from __future__ import annotations

from pathlib import Path

import click

from rag.cli import show
from rag.cli.session import A_PATH, Session, in_session, json_option
from rag.errors import QueryError


@click.group(short_help="Keep vectors of anything else beside the index, and search them.")
def vectors() -> None:
    """Keep vectors of anything else beside the index, each kind in a space of its own, and search them."""


_top_k = click.option("-k", "--top-k", "k", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N")


@vectors.command(short_help="Make a space of the vectors in a file.")
@click.argument("name")
@click.argument("file", type=A_PATH)
@click.option("--ids", metavar="KEY", help="Column or array with the ids. Default: id or name, else the row's number.")
@click.option(
    "--metadata", metavar="KEY,KEY", default="", help="Columns or arrays to keep that are no part of a vector."
)
@click.option("--array", metavar="KEY", help="Which matrix, where FILE holds several.")
@click.option(
    "--metric", type=click.Choice(["cosine", "dot", "euclidean", "manhattan"]), default="cosine", show_default=True
)
@in_session
def add(
    session: Session, name: str, file: Path, ids: str | None, metadata: str, array: str | None, metric: str
) -> None:
    """Make the space NAME of the vectors in FILE (npz, npy, parquet, csv or json), or replace it whole."""
    from rag.explore.spaces import read_vectors

    table = read_vectors(file, ids, [m.strip() for m in metadata.split(",") if m.strip()], array)
    space = session.rag.spaces.add(name, table.vectors, table.ids, table.metadata, metric, table.model)
    n, d = space.vectors.shape
    show.say(f"{name}: {n:,} vectors of {d} dimensions, {metric}", session.quiet)


@vectors.command("list", short_help="List the spaces.")
@json_option
@in_session
def list_spaces(session: Session, as_json: bool) -> None:
    """List the spaces: name, vectors, dimensions, metric, and the model that made them where it is known."""
    found = [session.rag.spaces.open(name) for name in session.rag.spaces.names()]
    if as_json:
        show.show_json([{"name": s.name, "count": len(s.ids), "dimension": s.vectors.shape[1], "metric": s.metric,
                         "model": s.model} for s in found])  # fmt: skip
        return
    for s in found:
        model = f"  {show.one_line(s.model)}" if s.model else ""
        click.echo(f"{s.name}  {len(s.ids):,} x {s.vectors.shape[1]}  {s.metric}{model}")


@vectors.command(short_help="Search a space by example, vector or text.")
@click.argument("name")
@click.option("--like", metavar="ID", help="One of the space.")
@click.option("--vector", type=A_PATH, metavar="FILE", help="A file with one vector.")
@click.option("--text", metavar="TEXT", help="Where the embedding model made the space.")
@_top_k
@json_option
@in_session
def search(
    session: Session, name: str, like: str | None, vector: Path | None, text: str | None, k: int, as_json: bool
) -> None:
    """Show what lies nearest in the space NAME, nearest first, by the space's metric."""
    if sum(v is not None for v in (like, vector, text)) != 1:
        raise click.UsageError("name one of --like, --vector and --text")
    from rag.explore.spaces import one_vector, search_space

    space, rag = session.rag.spaces.open(name), session.rag
    without = None
    if like is not None:
        without = space.row(like)
        query = space.vectors[without]
    elif vector is not None:
        query = one_vector(vector)
    else:
        model = rag.embedder.model.name
        if space.model != model:
            raise QueryError(f"the space {name} was made by {space.model or 'nobody knows what'}, not by {model}",
                             "search it by --like or --vector")  # fmt: skip
        query = rag.embedder.query_vector(str(text))
    _show(space.metric, search_space(space, query, k, without), as_json)


@vectors.command(short_help="Show what in a space is most like one.")
@click.argument("name")
@click.argument("id_", metavar="ID")
@_top_k
@json_option
@in_session
def similar(session: Session, name: str, id_: str, k: int, as_json: bool) -> None:
    """Show what in the space NAME lies nearest to ID, nearest first."""
    from rag.explore.spaces import search_space

    space = session.rag.spaces.open(name)
    row = space.row(id_)
    _show(space.metric, search_space(space, space.vectors[row], k, row), as_json)


@vectors.command(short_help="Delete a space.")
@click.argument("name")
@in_session
def delete(session: Session, name: str) -> None:
    """Delete the space NAME."""
    session.rag.spaces.delete(name)
    show.say(f"{name} is deleted", session.quiet)


def _show(metric: str, found: list[tuple[str, float]], as_json: bool) -> None:
    if as_json:
        show.show_json({"metric": metric, "found": [{"id": i, "score": round(s, 6)} for i, s in found]})
        return
    for id_, score in found:
        click.echo(f"{score:.3f}  {show.one_line(id_)}")
