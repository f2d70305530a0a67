-- The catalogue of the handbook's search service: one SQLite file that everything else is derived from.
-- The vector graph and the keyword index can be deleted at any time and built again from these tables.

PRAGMA journal_mode = WAL;      -- readers never wait for the writer
PRAGMA synchronous = FULL;      -- a power cut loses the running transaction and nothing before it
PRAGMA foreign_keys = ON;       -- off by default in SQLite, so it is switched on for every connection

CREATE TABLE file (
    id        INTEGER PRIMARY KEY,
    path      TEXT NOT NULL UNIQUE,           -- relative to the folder, with forward slashes
    sha256    BLOB NOT NULL,                  -- 32 bytes over the content, never over the name
    pages     INTEGER,                        -- NULL where the format has no pages
    loaded_at TEXT NOT NULL                   -- UTC, ISO 8601
);

CREATE TABLE chunk (
    id          INTEGER PRIMARY KEY,
    file_id     INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    first_char  INTEGER NOT NULL,             -- half-open span: first_char is inside, end_char is not
    end_char    INTEGER NOT NULL,
    body        TEXT NOT NULL,
    CHECK (end_char > first_char)             -- an empty chunk is refused by the database itself
);

CREATE TABLE vector (
    chunk_id    INTEGER PRIMARY KEY REFERENCES chunk (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,                -- a row whose fingerprint is not the current one is never searched
    numbers     BLOB NOT NULL                 -- little-endian float32, 4 bytes for each dimension
);

-- Deleting a file removes its chunks and vectors in the same transaction, thanks to ON DELETE CASCADE.
CREATE INDEX chunk_by_file ON chunk (file_id, first_char);
