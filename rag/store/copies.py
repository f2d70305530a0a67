"""The catalog's last good copies: `copies/catalog-<generation>.sqlite3` in the index folder.

One is made after a sync that published something, whole and proven, or not at all: a copy of a damaged catalog must not
replace a good one. Making one writes the catalog again and reads it once, so that it costs little it isn't made before
`REST` times as long has gone by as the last one took: at most a twentieth of the time, whatever the size.
"""

from __future__ import annotations

import contextlib
import filecmp
import itertools
import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from rag.config import Store
from rag.errors import IndexDamaged, IndexMismatch, IndexMissing, RagError
from rag.store.catalog import Catalog
from rag.store.damage import copies, newest_copy
from rag.store.files import to_disk

REST = 20


def keep_copy(catalog: Catalog, store: Store, at_once: bool = False) -> bool:
    """Make a copy of the published generation if one is due; whether it was made. What goes wrong with it (no room, a
    catalog that is damaged) leaves the older one, and `rag doctor` says how old that is."""
    folder, generation = catalog.file.parent / "copies", catalog.generation
    target = folder / f"catalog-{generation}.sqlite3"
    if not store.copies:
        shutil.rmtree(folder, ignore_errors=True)
        return False
    if target.exists() or not (at_once or _is_due(folder)):
        return False
    start = time.monotonic()
    part = folder / "copy.part"
    try:
        if shutil.disk_usage(catalog.file.parent).free < catalog.file.stat().st_size + store.min_free_mb * 2**20:
            return False
        folder.mkdir(exist_ok=True, mode=0o700)
        _remove(part)
        catalog.copy_to(part)
        if not is_good(part):
            return False
        to_disk(part)
        os.replace(part, target)
        seconds = time.monotonic() - start
        (folder / "made.json").write_text(json.dumps({"at": time.time(), "seconds": seconds}), encoding="utf-8")
        for old in copies(catalog.file.parent)[store.copies :]:
            _remove(old)
    except (OSError, RagError):
        return False
    finally:
        with contextlib.suppress(OSError):
            _remove(part)
    return True


def drop_copies(folder: Path) -> None:
    """And the damaged catalog that a restored one took the place of."""
    shutil.rmtree(folder / "copies", ignore_errors=True)
    for left in folder.glob("catalog.sqlite3.damaged*"):
        left.unlink()


def restore(folder: Path) -> Path:
    """Put the newest good copy in the place of the catalog, which is kept as `catalog.sqlite3.damaged`, or under
    the next number where that is another one. The caller holds the writer's lock. A kill at any instant leaves a
    catalog there, the damaged one or the copy. Raises IndexMissing, IndexDamaged."""
    file = folder / "catalog.sqlite3"
    found = copies(folder)
    if not found:
        raise IndexMissing(f"{folder} holds no copy of its catalog", "`rag import` an export, or `rag sync` anew")
    good = next((copy for copy in found if is_good(copy)), None)
    if good is None:
        raise IndexDamaged(f"{found[0]}: the catalog's copy is damaged, too", "`rag import` an export, or `rag sync`")
    new = folder / "catalog.sqlite3.part"
    shutil.copyfile(good, new)
    with closing(Catalog(new)) as catalog:
        # Above every number in use: no reader takes it for the one it knows, and nothing derived has it yet. What was
        # made of the damaged one would go for whole, if a kill came before it is made anew.
        numbers = [int(p.name) for p in (folder / "generations").glob("*") if p.name.isdigit()]
        catalog.set_meta(generation=max([catalog.generation, *numbers]) + 1)
    to_disk(new)
    _set_aside(file)
    for suffix in ("-wal", "-shm"):
        _remove(Path(f"{file}{suffix}"))
        _remove(Path(f"{new}{suffix}"))
    os.replace(new, file)
    to_disk(folder)
    return good


def _set_aside(file: Path) -> None:
    """Whoever runs this again, after a kill or for nothing, must not lose what was damaged first: it may be all there
    is of the newest rows."""
    for n in itertools.count(1):
        name = Path(f"{file}.damaged{f'-{n}' if n > 1 else ''}")
        if not name.exists():
            break
        if name.is_file() and file.is_file() and filecmp.cmp(name, file, shallow=False):
            return
    if file.is_dir():
        os.replace(file, name)
    elif file.exists():
        part = Path(f"{file}.damaged.part")
        shutil.copyfile(file, part)
        os.replace(part, name)


def is_good(file: Path) -> bool:
    """Every page, every index, every row's checksum. Leaves no file beside it."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?immutable=1", uri=True)) as database:
            if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return False
        with closing(Catalog(file, readonly=True, still=True)) as catalog:
            catalog.check_census(catalog.generation)
            return catalog.generation > 0 and not any(catalog.altered().values())
    except IndexMismatch:
        return True  # of an older format, which has no checksums
    except (sqlite3.DatabaseError, ValueError, RagError, OSError):  # ValueError: of a name that isn't UTF-8 any more
        return False


def _is_due(folder: Path) -> bool:
    if newest_copy(folder.parent) is None:
        return True
    try:
        made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
        return not 0 <= time.time() - made["at"] < REST * made["seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _remove(file: Path) -> None:
    if file.is_dir():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
