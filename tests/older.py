"""An index as an older version wrote it: everything that came since is taken out of its catalog."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rag.store.catalog.tables import _SUMS_UNTIL_4, KEYED
from rag.store.damage import checksum

SINCE = {  # by the format that it was in last
    4: ("DROP INDEX vectors_keys", "ALTER TABLE contents DROP COLUMN parts", "ALTER TABLE files DROP COLUMN ctime_ns"),
    3: (),
    2: (
        "DROP INDEX vectors_marked",
        "DROP TABLE media",
        *(f"ALTER TABLE {table} DROP COLUMN sum" for table in ("contents", "chunks", "vectors")),
        "DELETE FROM meta WHERE key IN ('sum', 'census', 'images', 'audio')",
    ),
    1: ("ALTER TABLE contents DROP COLUMN times", "ALTER TABLE chunks DROP COLUMN seconds"),
}


def make_older(catalog: Path, version: int) -> None:
    with closing(sqlite3.connect(catalog)) as database, database:
        database.create_function("checksum", -1, checksum, deterministic=True)
        for table, values in _SUMS_UNTIL_4.items():
            database.execute(f"UPDATE {table} SET sum = checksum({values}) WHERE sum = checksum({KEYED[table]})")
        for since, statements in SINCE.items():
            for statement in statements if since >= version else ():
                database.execute(statement)
        database.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(version),))
