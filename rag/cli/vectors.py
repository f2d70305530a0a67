"""Vectors on the command line: `rag compare`, `rag similar`, `rag embed`, `rag tokens`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rag.cli import show
from rag.cli.session import A_PATH, Session, in_session, json_option
from rag.errors import ModelNotFound, QueryError

if TYPE_CHECKING:
    from rag.embed.text import Pooling
    from rag.explore.embedding import Level


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


@click.command(short_help="Make vectors of texts, documents, pictures and recordings.")
@click.argument("items", nargs=-1, required=True, metavar="TEXT|FILE...")
@click.option(
    "--out", type=A_PATH, help="Where to: .npz .npy .json .csv .parquet. Default: only their shapes are shown."
)
@click.option("--level", type=click.Choice(["document", "sentence", "token"]), default="document", show_default=True)
@click.option("--pooling", type=click.Choice(["mean", "cls", "max"]), help="Of tokens. Default: the model's own.")
@json_option
@in_session
def embed(
    session: Session, items: tuple[str, ...], out: Path | None, level: Level, pooling: Pooling | None, as_json: bool
) -> None:
    """Make vectors of each TEXT or FILE. Texts and documents are one matrix, pictures and recordings one each.

    Nothing is cut off: a text longer than the model reads has the mean of its windows.
    """
    from rag.embed import AudioEmbedder, ImageEmbedder
    from rag.explore import embedding

    session.keep_out(out)
    rag = session.rag
    found = embedding.sort_out(items, rag.config)
    matrices = [embedding.text_matrix(found.texts, rag.embedder, level, pooling)] if found.texts else []
    matrices += embedding.media_matrices(
        found.pictures, found.sounds, lambda: ImageEmbedder(rag.config.images), lambda: AudioEmbedder(rag.config.audio)
    )
    if out is not None:
        embedding.write(matrices, out)
    if as_json:
        show.show_json(
            [
                {"kind": m.kind, "model": m.model, "shape": m.vectors.shape, "names": m.names, "note": m.note}
                for m in matrices
            ]
        )
        return
    for m in matrices:
        shape = " x ".join(map(str, m.vectors.shape))
        click.echo(f"{m.kind}  {shape} {m.vectors.dtype}  {m.model}" + (f"  ({m.note})" if m.note else ""))
    if out is not None:
        show.say(f"written to {out}", session.quiet)


@click.command(short_help="Show how texts are cut into tokens.")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@click.option("--model", "models", metavar="NAME,NAME", help="Also tiktoken:cl100k_base. Default: embed.model.")
@click.option("--pad-to", type=int, metavar="N", help="Pad each to N tokens.")
@click.option("--max-length", type=int, metavar="N", help="Cut after N tokens, special ones included.")
@json_option
@in_session
def tokens(
    session: Session,
    texts: tuple[str, ...],
    models: str | None,
    pad_to: int | None,
    max_length: int | None,
    as_json: bool,
) -> None:
    """Show the tokens of each TEXT with their ids and places, and what padding and truncation make of several."""
    from rag.embed.resolve import resolve_model
    from rag.explore.tokens import batch
    from rag.tokens import HFTokenizer, Tokenizer, named_tokenizer

    def tokenizer(name: str) -> Tokenizer:
        if name.startswith("tiktoken"):
            return named_tokenizer(name)
        model = resolve_model(name, what="model", hint="name a folder with a tokenizer.json, or a model of the hub")
        if not (model.folder / "tokenizer.json").is_file():
            raise ModelNotFound(f"{model.folder} has no tokenizer.json", "save it once with a fast tokenizer")
        return HFTokenizer(model.folder / "tokenizer.json", model.name)

    names = [n.strip() for n in (models or session.rag.config.embed.model).split(",") if n.strip()]
    batches = [batch(texts, tokenizer(name), pad_to, max_length) for name in names]
    if as_json:
        show.show_json([{**asdict(b), "shape": b.shape} for b in batches])
        return
    for b in batches:
        for text, row in zip(texts, b.rows, strict=True):
            click.echo(f"{b.tokenizer}: {show.one_line(text)}")
            wide = max((len(show.one_line(t.text)) for t in row.tokens), default=0)
            for place, t in enumerate(row.tokens):
                where = "padding" if not t.attention else "special" if t.special else f"{t.start}-{t.end}"
                click.echo(
                    f"  {place:>3}  {show.one_line(t.text):<{wide}}  {t.id:>6}  {where:<8}  attention {t.attention}"
                )
            if row.cut:
                click.echo(f"  {row.cut} more {'was' if row.cut == 1 else 'were'} cut off")
        width = b.shape[1]
        real = sum(len(r.tokens) for r in b.rows) - b.padding
        click.echo(f"{len(b.rows)} x {width}: {real} tokens, {b.padding} padding")
        for warning in b.warnings:
            show.say(warning, session.quiet)


def _short(text: str) -> str:
    line = show.one_line(text)
    return line if len(line) <= 30 else line[:29] + "…"
