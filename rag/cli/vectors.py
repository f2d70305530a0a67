"""`rag compare` and `rag similar`: how near texts and documents are to each other."""

from __future__ import annotations

from itertools import combinations

import click

from rag.cli import show
from rag.cli.session import Session, in_session, json_option
from rag.errors import QueryError


@click.command(short_help="Measure how near texts are to each other.")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT TEXT...")
@click.option("--metric", "names", default="cosine,euclidean,manhattan", show_default=True, help="Also: dot.")
@json_option
@in_session
def compare(session: Session, texts: tuple[str, ...], names: str, as_json: bool) -> None:
    """Measure how near the TEXTs are to each other, pair by pair, the nearest by the first metric first.

    cosine and dot are scores: higher is nearer. euclidean and manhattan are distances: lower is nearer.
    """
    from rag.embed.similarity import higher_is_nearer, measure, metrics

    wanted = metrics(names)
    if len(texts) < 2:
        raise QueryError("one text can't be compared", "give two or more")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise QueryError(f"text {number} is empty", "give it some words")
    embedder = session.rag.embedder
    vectors = embedder.passage_vectors(texts)
    found = {metric: measure(metric, vectors, vectors) for metric in wanted}
    sign = -1 if higher_is_nearer(wanted[0]) else 1
    pairs = sorted(combinations(range(len(texts)), 2), key=lambda pair: sign * found[wanted[0]][pair])
    if as_json:
        rows = [
            {"a": texts[i], "b": texts[j], **{m: round(float(found[m][i, j]), 6) for m in wanted}} for i, j in pairs
        ]
        show.show_json({"model": embedder.model.name, "dimension": vectors.shape[1], "pairs": rows})
        return
    told = [f"{_short(texts[i])} · {_short(texts[j])}" for i, j in pairs]
    width = max(map(len, told))
    click.echo(" " * width + "".join(f"{m:>12}" for m in wanted))
    for name, (i, j) in zip(told, pairs, strict=True):
        click.echo(f"{name:<{width}}" + "".join(f"{found[m][i, j]:>12.3f}" for m in wanted))
    ways = ", ".join(f"{m} {'higher' if higher_is_nearer(m) else 'lower'}" for m in wanted)
    show.say(f"\n{embedder.model.name}, {vectors.shape[1]} dimensions; nearer is: {ways}", session.quiet)


@click.command(short_help="Show the documents most like one.")
@click.argument("file")
@click.option("-k", "--top-k", "k", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N")
@json_option
@in_session
def similar(session: Session, file: str, k: int, as_json: bool) -> None:
    """Show the documents of the index most like FILE, each with its cosine similarity, best first.

    A document's vector is the mean of its chunks' vectors. FILE may be a document of the index, as `rag list` names it,
    or any other file: that one is read and embedded.
    """
    session.prepare(None)
    found = session.rag.similar(file, k)
    if as_json:
        show.show_json({"file": file, "similar": [{"path": p, "score": round(s, 6)} for p, s in found]})
        return
    for path, score in found:
        click.echo(f"{score:.3f}  {show.one_line(path)}")
    if not found:
        show.say("the index holds no other document", session.quiet)


def _short(text: str) -> str:
    line = show.one_line(text)
    return line if len(line) <= 30 else line[:29] + "…"
