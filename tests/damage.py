"""Every file of an index hurt in every way, and what must hold after each: the hurt is noticed, or harms nothing; what
can be mended is, from the catalog or its copy, without embedding anything; what can't ends in one clear error.

Used by test_damage.py.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes_embed import FakeEmbedder, index_state, open_rag

from rag.build import Rag
from rag.errors import IndexDamaged, StoreError

QUESTIONS = ("apples of number 7", "what the river holds", "copper", "number 31")
BLOCK = 512


def halve(data: bytearray, draw: random.Random) -> bytes:
    return bytes(data[: len(data) // 2])


def empty(data: bytearray, draw: random.Random) -> bytes:
    return b""


def zero_a_block(data: bytearray, draw: random.Random) -> bytes:
    at = draw.randrange(max(1, len(data) - BLOCK + 1))
    data[at : at + BLOCK] = bytes(len(data[at : at + BLOCK]))
    return bytes(data)


def zero_the_head(data: bytearray, draw: random.Random) -> bytes:
    data[:BLOCK] = bytes(len(data[:BLOCK]))
    return bytes(data)


def flip_a_bit(data: bytearray, draw: random.Random) -> bytes:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def flip_many(data: bytearray, draw: random.Random) -> bytes:
    for _ in range(40 if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


Hurt = Callable[[bytearray, random.Random], bytes]
CHANGES: dict[str, Hurt] = {
    "halve": halve, "empty": empty, "zero a block": zero_a_block, "zero the head": zero_the_head,
    "flip a bit": flip_a_bit, "flip many": flip_many,
}  # fmt: skip
HOWS = (*CHANGES, "delete", "a folder in its place")


def hurt(file: Path, how: str, draw: random.Random) -> bool:
    """Whether anything is other than it was."""
    before = file.read_bytes()
    match how:
        case "delete":
            file.unlink()
        case "a folder in its place":
            file.unlink()
            file.mkdir()
        case _:
            after = CHANGES[how](bytearray(before), draw)
            file.write_bytes(after)
            return after != before
    return True


@dataclass
class Damage:
    """`whole` is an index as it should be, `index` where a copy of it is hurt."""

    docs: Path
    whole: Path
    index: Path
    truth: list[Any] | None = None
    state: dict[str, Any] = field(default_factory=dict)

    def make(self, files: int = 40) -> None:
        """Two generations and a copy of the catalog as it is."""
        for i in range(files):
            (self.docs / f"{i}.txt").write_text(f"Number {i} has {i * i} apples. Copper is number {i * 7}.\n" * 2)
        with open_rag(self.docs, self.whole) as rag:
            rag.sync()
            (self.docs / "river.md").write_text("# River\n\nWhat the river holds is fish.\n")
            rag.sync()
            rag.repair()  # a copy at once
        with open_rag(self.docs, self.whole) as rag:
            self.truth = found_by(rag)
        self.state = index_state(self.whole)

    catalog = "catalog.sqlite3"

    def files(self) -> list[str]:
        return sorted(p.relative_to(self.whole).as_posix() for p in self.whole.rglob("*") if p.is_file())

    def try_it(self, name: str, how: str, seed: int) -> str:
        """Hurt one file, look, mend. What came of it: untouched, harmless, mended, copied back, or made anew."""
        draw = random.Random(f"{name} {how} {seed}")
        shutil.rmtree(self.index, ignore_errors=True)
        shutil.copytree(self.whole, self.index)
        if not hurt(self.index / name, how, draw):
            return "untouched"
        embedder = FakeEmbedder()
        outcome = "harmless"
        with open_rag(self.docs, self.index, embedder) as rag:
            refused = False
            for _ in range(2):  # the second meets what the first left
                answers = found_by(rag)
                refused = refused or answers is None
                assert answers in (None, self.truth), "a wrong answer"
            healthy = is_healthy(rag)
            assert not (refused and healthy), "doctor doesn't see what search does"
        with open_rag(self.docs, self.index, embedder) as rag:
            outcome = self.mend(rag, refused, healthy)
            assert is_healthy(rag), rag.doctor()
            assert untied(found_by(rag)) == untied(self.truth)
            assert outcome == "made anew" or found_by(rag) == self.truth
            assert rag.sync().embedded == 0
        assert index_state(self.index) == self.state
        if outcome in ("harmless", "mended", "copied back"):
            assert embedder.embedded == [], f"{outcome}, and embedded again"
        return outcome

    def mend(self, rag: Rag, refused: bool, healthy: bool) -> str:
        """As a user would who does what each error says."""
        outcome = "harmless" if healthy else "mended"
        try:
            if not healthy:
                rag.repair()
            rag.sync()
            return outcome
        except IndexDamaged as error:
            if "are marked" in error.message:
                rag.sync()
                rag.repair()  # until then BM25 counts the row before, too, as after any edit
                return "made anew"
            if "--from-copy" not in error.hint:
                raise
        rag.repair(from_copy=True)
        rag.sync()
        return "copied back"


def found_by(rag: Rag) -> list[Any] | None:
    """None: refused, with what to do."""
    try:
        return [[(p.source, p.span, p.text, round(p.score, 4)) for p in rag.search(question)] for question in QUESTIONS]
    except StoreError as error:
        return None if error.hint else [error]


def untied(answers: list[Any] | None) -> list[Any]:
    """Without the order of equal scores, which is that of the rows' numbers: a text that was read anew has another, and
    may be among the last or not."""
    found = answers or []
    return [([hit[-1] for hit in hits], {hit for hit in hits if hit[-1] > hits[-1][-1]}) for hits in found]


def is_healthy(rag: Rag) -> bool:
    try:
        return rag.doctor().ok
    except StoreError as error:
        return not error.hint


def cases(files: list[str], seeds: int = 1) -> Iterator[tuple[str, str, int]]:
    for name in files:
        for how in HOWS:
            for seed in range(seeds if "flip" in how or how == "zero a block" else 1):
                yield name, how, seed
