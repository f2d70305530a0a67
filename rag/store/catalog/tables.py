"""The catalog's tables, how older ones become them, and of which values a row's checksum is."""

from __future__ import annotations

import re

FORMAT = 5  # of the tables
PAGE = 5000  # rows per statement: SQLite allows 32,766 variables in one

_MEDIA = """\
CREATE TABLE media (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again for another one
    key TEXT NOT NULL UNIQUE,
    content_id INTEGER NOT NULL REFERENCES contents(id),
    space TEXT NOT NULL,                   -- images, audio: whose vectors it is compared with
    start INTEGER NOT NULL, page INTEGER, line INTEGER NOT NULL, headings TEXT NOT NULL, seconds REAL,
    vector_key BLOB NOT NULL, sum INTEGER NOT NULL DEFAULT -1
);
CREATE INDEX media_content ON media(content_id);
CREATE INDEX media_vector ON media(vector_key);
"""

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,          -- hash of the file's bytes, its kind and the settings that cut it
    -- sum: of a row's values, see damage.py; parts: how many chunks and media it has, so that a lost one is missed
    kind TEXT NOT NULL, title TEXT, text TEXT NOT NULL,
    pages TEXT NOT NULL, headings TEXT NOT NULL, metadata TEXT NOT NULL, warnings TEXT NOT NULL,
    times TEXT NOT NULL DEFAULT '[]', sum INTEGER NOT NULL DEFAULT -1, parts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
    hash TEXT, content_id INTEGER REFERENCES contents(id), outcome TEXT NOT NULL, reason TEXT,
    added INTEGER NOT NULL, removed INTEGER, ctime_ns INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX files_path ON files(path);
CREATE INDEX files_content ON files(content_id);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again for another chunk
    key TEXT NOT NULL UNIQUE,              -- '1' + hash of content, span and prefix: the public id
    content_id INTEGER NOT NULL REFERENCES contents(id),
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER, line INTEGER NOT NULL,
    headings TEXT NOT NULL, prefix TEXT NOT NULL, text TEXT NOT NULL, vector_key BLOB NOT NULL,
    seconds REAL, sum INTEGER NOT NULL DEFAULT -1
);
CREATE INDEX chunks_content ON chunks(content_id, start);
CREATE INDEX chunks_vector ON chunks(vector_key);
{_MEDIA}CREATE TABLE vectors (
    key BLOB PRIMARY KEY, vector BLOB NOT NULL, sum INTEGER NOT NULL DEFAULT -1
) WITHOUT ROWID;
CREATE INDEX vectors_marked ON vectors(key) WHERE sum = -1;
CREATE INDEX vectors_keys ON vectors(key) /* without the vectors: a hundredth to read */;
CREATE TABLE server_rows (chunk_id INTEGER PRIMARY KEY, present INTEGER NOT NULL);
"""

_SUMS_UNTIL_4 = {
    "contents": "id, kind, title, text, pages, headings, metadata, warnings, times",
    "chunks": 'id, content_id, start, "end", page, line, headings, prefix, text, seconds, vector_key',
    "media": "id, content_id, space, start, page, line, headings, seconds, vector_key",
}
KEYED = {table: f"{values}, key" for table, values in _SUMS_UNTIL_4.items()}
KEYED["contents"] += ", parts"
SUMS = {**KEYED, "vectors": "key, vector"}  # of which values a row's sum is

PARTS = " + ".join(f"(SELECT count(*) FROM {table} WHERE content_id = contents.id)" for table in ("chunks", "media"))

UPGRADES = {  # from an older format to the next: things are only ever added, so nothing is read or embedded again
    1: (
        "ALTER TABLE contents ADD COLUMN times TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE chunks ADD COLUMN seconds REAL",
    ),
    2: (
        *(f"ALTER TABLE {table} ADD COLUMN sum INTEGER NOT NULL DEFAULT -1" for table in SUMS if table != "media"),
        *(f"UPDATE {table} SET sum = checksum({_SUMS_UNTIL_4[table]})" for table in ("contents", "chunks")),
        "UPDATE vectors SET sum = checksum(key, vector)",
        "CREATE INDEX vectors_marked ON vectors(key) WHERE sum = -1",
        *(statement for statement in _MEDIA.split(";\n") if statement),
    ),
    3: (),  # the settings have a checksum, which is written with them
    4: (
        "ALTER TABLE contents ADD COLUMN parts INTEGER NOT NULL DEFAULT 0",
        f"UPDATE contents SET parts = {PARTS}",
        "ALTER TABLE files ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0",
        *(
            f"UPDATE {table} SET sum = checksum({values}) WHERE sum = checksum({_SUMS_UNTIL_4[table]})"
            for table, values in KEYED.items()
        ),
        "CREATE INDEX vectors_keys ON vectors(key)",
        "DELETE FROM meta WHERE key = 'census'",  # it is of more values now: the next sync publishes another
    ),
}

TABLES = tuple(re.findall(r"CREATE (?:TABLE|INDEX) (\w+)", SCHEMA))
SEEN = "f.added <= :g AND (f.removed IS NULL OR f.removed > :g)"
