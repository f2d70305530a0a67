"""Mutated real files through the loaders, under the real limits: `make fuzz`, or for one kind and N seconds:

    python tests/fuzz/run.py --kind pdf --seconds 60 --seed 1

Each kind of rag.load.KINDS whose seeds lie in data/documents, tests/files, in MADE or among the hostile files is taken.
What ends in anything but a source or a plain reason (a killed worker, nonsense, the time limit) is kept in .fuzz/ and
counted.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import test_load_books as books  # noqa: E402
import test_load_data as data  # noqa: E402
import test_load_office as office  # noqa: E402
import test_load_subtitles as subtitles  # noqa: E402
from hostile import HOSTILE  # noqa: E402

from rag.config import Load  # noqa: E402
from rag.errors import DocumentError  # noqa: E402
from rag.load import KINDS, kind_of  # noqa: E402
from rag.load.worker import LoaderPool  # noqa: E402

BAD = ("killed by", "nonsense", "ended with status", "took longer")
SMALL = 200_000  # bytes of a seed


MADE = {  # honest ones of the kinds that data/documents may have none of
    "a.json": data.PUMP.encode(),
    "a.xml": data.FEED,
    "a.ipynb": json.dumps(data.notebook()).encode(),
    "a.eml": books.message().as_bytes(),
    "a.epub": books.book(),
    "a.odt": books.odt(
        "<text:h>Words</text:h><text:list><text:list-item><text:p>x</text:p></text:list-item></text:list>"
    ),
    "a.rtf": books.RTF,
    "a.docx": office.make("docx"),
    "a.xlsx": office.make("xlsx"),
    "a.pptx": office.make("pptx"),
    "a.csv": b'name;price;note\n"Pump; small";1,50;"two\nlines"\nValve;20;\n',
    "a.tsv": "Ort\tJahr\nKöln\t1248\n".encode("cp1252"),
    "a.srt": subtitles.SRT.encode(),
    "a.vtt": subtitles.VTT.encode(),
}
PACKED = {"docx", "xlsx", "pptx", "odt", "epub"}  # zip archives, in whose members what is read stands


def seeds(kind: str) -> list[tuple[str, bytes]]:
    folders = (ROOT / "data" / "documents", ROOT / "tests" / "files")
    real = [p for folder in folders for p in folder.rglob("*") if p.is_file() and kind_of(p) == kind]
    found = [(p.suffix or p.name, p.read_bytes()) for p in real if p.stat().st_size <= SMALL]
    small = [name for name in HOSTILE if kind_of(Path(name)) == kind and "bomb" not in name and "loop" not in name]
    made = [(Path(name).suffix, HOSTILE[name]()) for name in small]
    made += [(Path(name).suffix, body) for name, body in MADE.items() if kind_of(Path(name)) == kind]
    return found + [(suffix, data) for suffix, data in made if len(data) <= SMALL]


def mutated_member(chance: random.Random, archive: bytes, other: bytes) -> bytes:
    """A whole archive, one or two of whose members are mutated: of a damaged one nothing would be read."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        names = before.namelist()
        main = [n for n in names if n.endswith(("document.xml", "content.xml", "sheet1.xml", "slide1.xml", "html"))]
        chosen = {chance.choice(main or names), *chance.sample(names, chance.randrange(2))}
        for name in names:
            body = before.read(name)
            after.writestr(name, mutated_markup(chance, body, other) if name in chosen else body)
    return out.getvalue()


def mutated_markup(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Elements dropped, repeated, nested or with other names and values, so that most still parse; or any bytes."""
    tags = list(re.finditer(rb"<(/?)([\w:.-]+)([^<>]*)>", data))
    if not tags or chance.random() < 0.2:
        return mutated(chance, data, other)
    out = data
    for _ in range(chance.choice((1, 2, 8))):
        name, another = chance.choice(tags)[2], chance.choice(tags)[2]
        start = out.find(b"<" + name, chance.randrange(len(out)))
        closed = out.find(b"</" + name + b">", start, start + 20_000)
        end = closed + len(name) + 3 if closed >= 0 else out.find(b">", start) + 1
        if start < 0 or end <= start:
            continue
        element = out[start:end]
        match chance.randrange(5):
            case 0:
                changed = b""
            case 1:
                changed = element * chance.choice((2, 20, 2 * SMALL // len(element) + 1))
            case 2:
                changed = (b"<%b>" % name) * 300 + element + (b"</%b>" % name) * 300
            case 3:
                changed = element.replace(b"<" + name, b"<" + another).replace(b"</" + name, b"</" + another)
            case _:
                value = chance.choice((b"-1", b"0", b"4294967296", b"", b"x" * 5000, b"&amp;", b"1e999"))
                changed = re.sub(rb'="[^"]*"', b'="' + value + b'"', element)
        out = out[:start] + changed + out[end:]
        if not out or len(out) > 4 * SMALL:
            break
    return out


def mutated(chance: random.Random, data: bytes, other: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        at, length = chance.randrange(len(out) + 1), chance.choice((1, 2, 8, 64, 1024))
        match chance.randrange(6):
            case 0:
                out[at : at + length] = chance.randbytes(length)
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = out[at : at + length] * chance.choice((1, 2, 100))
            case 3:
                start = chance.randrange(len(other) + 1)
                out[at : at + length] = other[start : start + length]
            case 4:
                del out[at:]
            case _:
                number = chance.choice((b"0", b"-1", b"65536", b"4294967296", b"99999999999999999999"))
                out[at : at + len(number)] = number
        out = out[: 4 * SMALL] or bytearray(b"\0")
    return bytes(out)


def fuzz(kind: str, seconds: float, seed: int, keep: Path) -> int:
    chance, files, bad, outcomes = random.Random(seed), seeds(kind), 0, {"source": 0, "refused": 0}
    if not files:
        print(f"{kind}: no seeds")
        return 0
    end, number = time.monotonic() + seconds, 0
    with LoaderPool(Load(workers=1, timeout_s=30)) as pool:
        while time.monotonic() < end:
            suffix, data = chance.choice(files)
            path = keep / f"{kind}-{seed}-{number}{suffix}"
            way = mutated_member if kind in PACKED and zipfile.is_zipfile(io.BytesIO(data)) else mutated
            if kind in ("html", "xml") and chance.random() < 0.5:
                way = mutated_markup
            path.write_bytes(way(chance, data, chance.choice(files)[1]))
            number += 1
            start = time.monotonic()
            try:
                [(_, loaded)] = pool.load_many([(path, path.name)])
            except Exception as error:
                loaded = DocumentError(f"killed by {error!r}")
            slow = time.monotonic() - start > 35
            refused = isinstance(loaded, DocumentError)
            outcomes["refused" if refused else "source"] += 1
            if slow or (isinstance(loaded, DocumentError) and any(word in loaded.message for word in BAD)):
                bad += 1
                print(f"{kind}: {path}: {loaded.message if isinstance(loaded, DocumentError) else 'slow'}", flush=True)
            else:
                path.unlink()
    print(f"{kind}: {number} files, {outcomes}, {bad} bad", flush=True)
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=sorted(set(KINDS.values())))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep = ROOT / ".fuzz"
    keep.mkdir(exist_ok=True)
    kinds = [args.kind] if args.kind else sorted(set(KINDS.values()))
    sys.exit(bool(sum(fuzz(kind, args.seconds, args.seed, keep) for kind in kinds)))


if __name__ == "__main__":
    main()
