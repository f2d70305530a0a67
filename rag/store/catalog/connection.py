"""The connection to a catalog's file: opened, upgraded, read and written so that what goes wrong is told clearly."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rag.errors import IndexMismatch, IndexMissing, StoreError
from rag.store.catalog.tables import FORMAT, SCHEMA, TABLES, UPGRADES
from rag.store.damage import SameProcess, checksum, clear_errors, copies, damaged, folder_in_place

STILL = "immutable=1"  # SQLite then neither locks the file nor looks for its log


def reading_mode(file: Path) -> str:
    """How SQLite opens a catalog to read it. It wants to put its log and the log's index beside the file. In a folder
    that can't be written it reads those that are there; where none are, nobody is writing, and the file is all there
    is. Raises StoreError when there is a log that it can't read so: what was committed last would be passed over."""
    log = file.with_name(f"{file.name}-wal")
    if os.access(file.parent, os.W_OK) or (log.exists() and file.with_name(f"{file.name}-shm").exists()):
        return "mode=ro"
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{log.parent} can't be written, and {log.name} in it holds what must be taken into the catalog first",
            "run `rag sync` where the folder can be written, or copy the folder and use the copy",
        )
    return STILL


def _look(file: Path) -> tuple[object, ...]:
    """What differs once somebody wrote the file, or is about to."""
    try:
        status, log = file.stat(), file.with_name(f"{file.name}-wal")
        return status.st_ino, status.st_size, status.st_mtime_ns, log.exists()
    except OSError:
        return ()


class Connection:
    """One connection, shared by threads under a lock. `readonly` connections never create or change anything."""

    def __init__(self, file: Path, readonly: bool = False, still: bool = False) -> None:
        """`still`: a file that nobody writes meanwhile; nothing is put beside it. A `readonly` one is opened so, too,
        in a folder that can't be written; whoever may write it is noticed.

        Raises IndexMissing, IndexMismatch, IndexDamaged and StoreError. Looked at here is what costs nothing: that
        it is a database, as long as it says, of our format, with our tables. `rag doctor` reads all of it."""
        self.file = file
        self._lock = threading.RLock()
        self._process = SameProcess()
        if folder := folder_in_place(file):
            raise damaged(file, f"{folder} is a folder")
        self._readonly = readonly
        self._looked_at: object = None  # of a file that another may write though we can't: what it was when opened
        self._connect(STILL if still else None if readonly else "mode=rwc")

    def _connect(self, mode: str | None) -> None:
        """None: as `reading_mode` says."""
        file = self.file
        with clear_errors(file):
            now, how = _look(file), mode or reading_mode(file)
            uri = f"{file.resolve().as_uri()}?{how}"
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=10)
        self._looked_at = None
        try:
            with clear_errors(file):
                found = self._prepare(self._readonly)
        except sqlite3.ProgrammingError as error:  # our own statement, on tables that aren't ours
            self._db.close()
            raise damaged(file, error) from error
        except BaseException as error:
            self._db.close()
            if self._readonly and getattr(error.__cause__, "sqlite_errorname", "") == "SQLITE_READONLY_ROLLBACK":
                # Its maker was killed before the file had a log: a writer takes that back, a reader can't.
                raise IndexMissing(f"the index at {file.parent} was never finished", "run `rag sync`") from None
            raise
        if found != FORMAT:
            self._db.close()
            way_out = "run `rag sync`: it brings the index up to date" if found in UPGRADES else None
            raise IndexMismatch(
                f"{file}: written in format {found}, this version reads {FORMAT}",
                way_out or "use the version that wrote it",
            )
        self._looked_at = now if mode is None and how == STILL else None

    def _prepare(self, readonly: bool) -> Any:
        """Make or upgrade the tables; the format found."""
        self._db.create_function("checksum", -1, checksum, deterministic=True)
        if readonly:
            self._db.execute("PRAGMA query_only = 1")
        else:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA cache_size = -32000")
        if not self._has_tables():  # a new file, or one whose maker was killed before it had any
            if copies(self.file.parent):
                raise damaged(self.file, "it is empty")  # a sync would fill it, and embed everything again
            if readonly:
                raise IndexMissing(f"the index at {self.file.parent} was never finished", "run `rag sync`")
            with self.transaction():
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self.set_meta(format=FORMAT, generation=0)
        found = self.meta("format")
        while not readonly and isinstance(found, int) and found in UPGRADES:
            with self.transaction():
                for statement in UPGRADES[found]:
                    self._db.execute(statement)
                found += 1
                self.set_meta(format=found)
        if found == FORMAT:
            missing = set(TABLES) - {r[0] for r in self._db.execute("SELECT name FROM sqlite_master")}
            if missing or self.generation < 0:
                raise ValueError(f"without {', '.join(sorted(missing)) or 'a generation'}")
            if self.meta("sum") != self._meta_sum():
                raise ValueError("its settings aren't what was written")
        return found

    def _has_tables(self) -> bool:
        return self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is not None

    def close(self) -> None:
        if self._process:  # a fork leaves it to its parent
            with self._lock:
                self._db.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Around every read: one thread at a time, and what goes wrong is told clearly, values that can't be decoded
        included."""
        self._process.check()
        with self._lock, clear_errors(self.file):
            if not self._db.in_transaction:
                self._follow()
            yield

    def _follow(self) -> None:
        """Open a file that was taken for still anew, when somebody else wrote it."""
        if self._looked_at is not None and self._looked_at != _look(self.file):
            self._db.close()
            try:
                self._connect(None)
            except BaseException:
                self._looked_at = "closed"  # the next one tries again
                raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on disk when it returns. Nested ones join the outer one."""
        self._process.check()
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            with clear_errors(self.file, decoding=False):
                try:  # Ctrl-C may come between any two steps
                    self._db.execute("BEGIN IMMEDIATE")
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    self._rollback()
                    raise

    def _rollback(self) -> None:
        if self._db.in_transaction:
            with suppress(sqlite3.OperationalError):  # of a disk that is full or gone; SQLite does it at opening, then
                self._db.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """Everything read inside belongs to one instant; yields that instant's published generation."""
        self._process.check()
        with self._lock, clear_errors(self.file, decoding=False):
            if self._db.in_transaction:
                yield self.generation
                return
            self._follow()
            try:
                self._db.execute("BEGIN")
                yield self.generation
                if self._looked_at is not None and self._looked_at != _look(self.file):
                    raise StoreError(f"{self.file} was written while it was read", "ask again")
            finally:
                self._rollback()

    # ---- meta ---------------------------------------------------------------------------------------------

    def meta(self, key: str, default: Any = None) -> Any:
        with self._reading():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return json.loads(row[0]) if row else default

    def made(self, key: str) -> Any:
        """As `meta`, of what every published generation has. Raises IndexDamaged where it isn't there."""
        if (found := self.meta(key)) is None:
            raise damaged(self.file, f"it doesn't say its {key}")
        return found

    def set_meta(self, **values: Any) -> None:
        with self.transaction():
            rows = [(k, json.dumps(v)) for k, v in values.items()]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('sum', ?)", (json.dumps(self._meta_sum()),))

    def _meta_sum(self) -> int:
        """Of all of them: each says how the rest is to be read, and a flipped bit of the embedding's would have every
        text embedded again."""
        rows = self._db.execute("SELECT key, value FROM meta WHERE key != 'sum' ORDER BY key")
        return checksum(*(value for row in rows for value in row))

    @property
    def generation(self) -> int:
        """The published one; 0 before the first."""
        with self._reading():
            return int(self.meta("generation", 0))

    # ---- the file -----------------------------------------------------------------------------------------

    def vacuum(self) -> bool:
        """Write the file anew without what was deleted, and empty the log. False: somebody still reads, so the log
        couldn't be."""
        with self._reading():
            self._db.execute("VACUUM")
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def copy_to(self, file: Path) -> None:
        """A whole new file without what was deleted."""
        with self._reading():
            self._db.execute("VACUUM INTO ?", (str(file),))
