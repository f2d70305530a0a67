"""Groups of like things on the command line, and a picture of them: `rag cluster`, `rag map`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rag.cli import show
from rag.cli.session import A_PATH, Session, in_session, json_option
from rag.errors import ConfigError

if TYPE_CHECKING:
    from rag.explore.clusters import Clusters, Kind
    from rag.explore.mapping import Kind as MapKind
    from rag.explore.points import Of

SHOWN = 5  # members of a group


class Number(click.ParamType):  # type: ignore[type-arg]
    """A number of groups, or auto."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "auto" or isinstance(value, int):
            return value
        return click.IntRange(1).convert(value, param, ctx)


@click.command(short_help="Group like documents, and name the groups.")
@click.option("-k", "k", type=Number(), default="auto", show_default=True, help="How many groups.")
@click.option("--kind", type=click.Choice(["kmeans", "hdbscan"]), default="kmeans", show_default=True)
@click.option("--of", type=click.Choice(["documents", "chunks"]), default="documents", show_default=True)
@click.option("--in", "space", metavar="SPACE", help="Of `rag vectors add`, instead of the documents.")
@json_option
@in_session
def cluster(session: Session, k: int | Literal["auto"], kind: Kind, of: Of, space: str | None, as_json: bool) -> None:
    """Group the documents of the index by their vectors. A group is named by the words that its texts have and the
    others don't; its members are listed from the nearest to its centre on, with their nearness to it.

    auto tries 2 to 20 groups and takes the number whose silhouette is best. hdbscan finds the number itself and leaves
    out what lies between the groups.
    """
    if space is None:
        session.prepare(None)
    show_clusters(session.rag.cluster(k, kind=kind, of=of, space=space), as_json, session.quiet)


@click.command("map", short_help="Draw the documents as dots, near ones near each other.")
@click.option("--out", type=A_PATH, metavar="FILE.html", help="Default: map.html, unless --png is given.")
@click.option("--png", type=A_PATH, metavar="FILE.png", help="A picture of it.")
@click.option("--open", "open_it", is_flag=True, help="Open it in the browser.")
@click.option("--question", metavar="TEXT", help="Show where it lies, and what it finds.")
@click.option(
    "--color", metavar="folder|cluster|KEY", help="KEY: of a space's metadata. Default: folder; cluster with --in."
)
@click.option("--kind", type=click.Choice(["pca", "tsne", "umap"]), default="pca", show_default=True)
@click.option("--of", type=click.Choice(["documents", "chunks"]), default="documents", show_default=True)
@click.option("--in", "space", metavar="SPACE", help="Of `rag vectors add`, instead of the documents.")
@in_session
def map_(
    session: Session,
    out: Path | None,
    png: Path | None,
    open_it: bool,
    question: str | None,
    color: str | None,
    kind: MapKind,
    of: Of,
    space: str | None,
) -> None:
    """Draw the documents of the index as dots of a plane: one HTML file that needs nothing else, or a PNG.

    The file holds names and the beginning of the texts: it is as private as the documents.
    """
    from rag.explore.map_page import page

    out = out or (None if png and not open_it else Path("map.html"))
    for file, suffixes in ((out, (".html", ".htm")), (png, (".png",))):
        if file is not None and file.suffix.lower() not in suffixes:
            raise ConfigError(f"{file}: not a {suffixes[0]} file", f"name one that ends in {suffixes[0]}")
        if file is not None and not file.parent.is_dir():
            raise ConfigError(f"no folder {file.parent}", "make it first")
    session.keep_out(out)
    session.keep_out(png, "--png")
    if space is None:
        session.prepare(None)
    color = color or ("folder" if space is None else "cluster")
    drawn = session.rag.map(question, kind=kind, color=color, of=of, space=space)
    if out is not None:
        out.write_text(page(drawn), encoding="utf-8")
        show.say(f"{len(drawn.dots)} {drawn.what} drawn in {out}", session.quiet)
    if png is not None:
        from rag.explore import map_picture

        png.write_bytes(map_picture.png(drawn))
        show.say(f"picture in {png}", session.quiet)
    if open_it and out is not None:
        click.launch(str(out.resolve()))


def show_clusters(found: Clusters, as_json: bool, quiet: bool) -> None:
    if as_json:
        show.show_json(asdict(found))
        return
    for number, group in enumerate(found.clusters, 1):
        click.echo(f"{show.styled(f'{number}  {show.one_line(group.name)}', bold=True)}  ({len(group.members)})")
        for member in group.members[:SHOWN]:
            click.echo(f"   {member.score:.3f}  {show.one_line(member.name)}")
        if len(group.members) > SHOWN:
            click.echo(f"          and {len(group.members) - SHOWN} more")
    n = sum(len(c.members) for c in found.clusters) + len(found.rest)
    told = f"\n{n} {found.what}, {len(found.clusters)} group{'' if len(found.clusters) == 1 else 's'}"
    if found.rest:
        told += f", {len(found.rest)} in none"
    if found.silhouette is not None:
        told += f"; silhouette {found.silhouette:.2f} (1: far apart, 0: they run into each other)"
    show.say(told, quiet)
