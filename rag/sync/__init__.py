"""Corridor 1, folder -> index: make the index equal to the folder.

    scan ──> what changed? ──> load (worker processes) ──> split ──> embed (threads) ──> catalog ──> publish
                                 while one group of chunks is embedded, the next files are read

    scan.py   what lies in the folder        media.py  pictures and recordings: their spaces and vectors
    watch.py  waits for a change

Every file ends in one outcome. Vectors are committed as they are made, files as they are complete, and nothing is
seen before `publish`. Memory is bounded by two groups of chunks, whatever the folder's size.

What counts as unchanged: the same size, modification and change time as when it was read, neither time near or after
that reading, which doesn't lie ahead, and the same settings. Anything else is hashed, and read again only when the hash
differs. So a change that keeps size and modification time (`touch -r`, `cp -p`) is noticed too, by the inode's change
time, whatever the clock of the file system's server says; where a file system doesn't keep one, such a change is missed
until the size or the time differs.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

from rag.config import Config
from rag.errors import Cancelled, ConfigError, DocumentError, EmptyError, FolderError, LoaderError, UnsupportedError
from rag.load import LOADER_VERSION, Kind, kind_of, open_regular, unsupported
from rag.load.media import MediaKind, media_kind_of
from rag.load.worker import LoaderPool
from rag.store import FileRow, IndexWriter
from rag.store.keys import canonical, chunk_key, vector_key
from rag.sync.media import HELD_BYTES, MediaParts, MediaSync
from rag.sync.scan import Entry, scan
from rag.types import Chunk, FileReport, Outcome, Source, SyncReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUP_CHARS = 250_000  # embedded together (about 60,000 tokens): enough to sort by length, little enough to hold
SLICE_CHARS = 60_000  # committed together: what a kill can cost
WRITES = 500  # rows of files committed together
CLOCK_GRAIN_NS = 2_000_000_000  # a change so soon after a look may leave size and time as they were (FAT: 2 s)

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Splits(Protocol):
    def split(self, source: Source) -> list[Chunk]: ...


class Embeds(Protocol):
    @property
    def fingerprint(self) -> dict[str, Any]: ...
    def passage_vectors(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Job:
    """A file that must be read: what the scan saw, its hash, and the key its content will have."""

    entry: Entry
    hash: str | None  # None: not to be trusted, so the next sync reads it again
    key: str
    seen_ns: int


@dataclass
class Group:
    """Files whose chunks are embedded together."""

    jobs: list[tuple[Job, Source, list[Chunk]]] = field(default_factory=list)
    chars: int = 0
    bytes: int = 0  # of pictures and recordings


class Sync:
    """One run. `listener` hears what happens: {"event": "scan" | "file" | "progress" | "publish" | "done", …}."""

    def __init__(
        self,
        config: Config,
        writer: IndexWriter,
        embedder: Embeds,
        make_splitter: Callable[[], Splits],
        splitting: dict[str, Any],
        media: MediaParts,
        listener: Listener | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self.config, self.writer, self.embedder = config, writer, embedder
        self.catalog = writer.catalog
        self._media = MediaSync(config, self.catalog, media)
        self._make_splitter = make_splitter
        self._splitting = {**splitting, "loader": LOADER_VERSION}
        self._tell = listener or (lambda event: None)
        self._reports: dict[str, FileReport] = {}
        self._done = {"embedded": 0, "reused": 0, "tokens": 0, "bytes": 0}
        self._kinds = {"added": 0, "updated": 0, "moved": 0, "skipped": 0}
        self._writes: list[Callable[[], None]] = []
        self._twins: dict[str, list[Job]] = {}  # by content key: files equal to one that is being read
        self._gone: list[FileRow] = []
        self._flushing: Future[None] | None = None
        self._settled = 0  # files that were more than looked at
        self._lock = threading.Lock()  # reports, counts and twins are shared with the flushing thread
        self._stop = threading.Event()  # this run is coming to its end
        self._cancel = cancel or threading.Event()  # somebody wants it to
        self._announced: float = 0

    def run(self, reindex: bool = False, rebuild: bool = False, allow_empty: bool = False) -> SyncReport:
        """Raises FolderError, IndexMismatch and StoreError; trouble with one file is in the report. Raises Cancelled
        when it was stopped; what was done is published then."""
        start = time.perf_counter()
        if self.writer.folder.resolve() == self.config.documents.path.expanduser().resolve():
            raise ConfigError(
                f"store.path is the document folder itself ({self.writer.folder})", "choose a folder beside or below it"
            )
        entries = scan(self.config.documents, self.writer.folder)
        self._tell({"event": "scan", "files": len(entries)})
        if not allow_empty and not any(_kind_of(e.full) for e in entries):
            raise FolderError(
                f"{self.config.documents.path} holds no file that can be read ({len(entries)} files seen); "
                "the index is left as it was",
                f"supported: {' '.join((*get_args(Kind), *get_args(MediaKind)))}; "
                "--allow-empty if the folder was emptied on purpose",
            )
        spaces = self._media.look(e.full for e in entries)
        self.writer.check_settings(self.embedder.fingerprint, self._splitting, reindex, spaces)
        load = self.config.load
        self._fingerprint = canonical(self.embedder.fingerprint)
        ocr = [load.ocr, load.ocr_language] if load.ocr != "none" else []
        settings = canonical([self._fingerprint, self._splitting, load.max_pages, load.max_chars, load.pdf, *ocr])
        self._settings = hashlib.blake2b(settings.encode(), digest_size=16).hexdigest()
        limits = {**load.model_dump(mode="json", exclude={"workers"}), "loader": LOADER_VERSION}
        limits |= {
            "images": [self.config.images.kind, self.config.images.max_megapixels],
            "audio": [self.config.audio.kind, self.config.audio.transcribe, self.config.audio.max_minutes],
        }
        self._retry = reindex or self.catalog.meta("limits") != limits  # what failed may succeed now
        self._generation = self.writer.next_generation
        before = self.catalog.latest_files()
        self._gone = self._remove_deleted(before, entries)
        try:
            rebuild = self._embed_again() or rebuild
            self._take(before, entries)
        except (KeyboardInterrupt, Cancelled):
            self._stop.set()
            if self._flushing:
                wait([self._flushing])  # a second Ctrl-C may have cut short the first wait
            self._write()
            if self.writer.same_settings and self.catalog.has_unpublished():
                self.writer.publish(finished=False)  # what is done can be used; the next sync goes on from there
            raise
        self.catalog.set_meta(limits=limits)
        if rebuild or self.writer.needs_publishing:
            self._tell({"event": "publish", "generation": self._generation})
            self.writer.publish(rebuild)
        else:
            self.writer.finish_unchanged()
        self.writer.keep_copy()
        report = self._report(time.perf_counter() - start)
        self._tell({"event": "done", "seconds": round(report.seconds, 3), "generation": report.generation})
        return report

    # ---- what changed -------------------------------------------------------------------------------------

    def _remove_deleted(self, before: dict[str, FileRow], entries: list[Entry]) -> list[FileRow]:
        present = {e.path for e in entries}
        unreadable = tuple(e.path + "/" for e in entries if e.is_folder)
        gone = [row for path, row in before.items() if path not in present and not path.startswith(unreadable)]
        with self.catalog.transaction():
            for row in gone:
                self.catalog.remove_file(self._generation, row.path)
        return gone

    def _take(self, before: dict[str, FileRow], entries: list[Entry]) -> None:
        total_bytes = sum(e.size for e in entries)
        waiting: dict[str, Job] = {}

        def to_load() -> Iterator[tuple[Path, str]]:
            for job in self._changed(before, entries):
                waiting[job.entry.path] = job
                yield job.entry.full, job.entry.path

        group = Group()
        splitter: Splits | None = None
        with (
            LoaderPool(self.config.load, media=self._media.wanted) as pool,
            ThreadPoolExecutor(1, "flush") as background,
        ):
            try:
                for path, loaded in pool.load_many(to_load()):
                    self._check_stop()
                    job = waiting.pop(path)
                    self._done["bytes"] += job.entry.size
                    if not isinstance(loaded, DocumentError) and _changed_meanwhile(job.entry):
                        loaded, job = DocumentError("it changed while it was read"), replace(job, hash=None)
                    if isinstance(loaded, LoaderError):
                        job = replace(job, hash=None)
                    if isinstance(loaded, DocumentError):
                        self._put_failure(job, loaded, before)
                        continue
                    splitter = splitter or self._make_splitter()
                    try:
                        loaded = self._media.written(loaded)
                    except EmptyError as error:
                        self._put_failure(job, error, before)
                        continue
                    group.jobs.append((job, loaded, splitter.split(loaded) if loaded.text else []))
                    group.chars += len(loaded.text)
                    group.bytes += sum(medium.data.nbytes for medium in loaded.media)
                    if group.chars >= GROUP_CHARS or group.bytes >= HELD_BYTES:
                        if self._flushing:
                            self._flushing.result()
                        self._flushing = background.submit(self._flush, group, before, total_bytes)
                        group = Group()
                if self._flushing:
                    self._flushing.result()
                self._flush(group, before, total_bytes)
                self._write()
            except BaseException:
                self._stop.set()
                raise

    def _changed(self, before: dict[str, FileRow], entries: list[Entry]) -> Iterator[Job]:
        """Settle every file that needn't be read; yield the others."""
        vacated = {row.hash for row in self._gone if row.hash}
        for entry in entries:
            row = before.get(entry.path)
            if entry.problem:
                self._settle(entry, None, None, Outcome.FAILED, entry.problem, row, time.time_ns())
                continue
            kind = _kind_of(entry.full)
            if kind is None:
                if row is None or row.outcome is not Outcome.UNSUPPORTED:
                    self._settle(entry, None, None, Outcome.UNSUPPORTED, _unsupported(entry.path), row, time.time_ns())
                else:
                    self._note(FileReport(entry.path, Outcome.UNSUPPORTED, row.reason), None)
                continue
            if row and self._as_before(row, entry, kind):
                self._keep(row)
                continue
            seen_ns = time.time_ns()
            most = self.config.documents.max_file_mb
            if entry.size > most * 2**20:
                reason = f"{entry.size / 2**20:.0f} MB, more than documents.max_file_mb ({most:g})"
                self._settle(entry, None, None, Outcome.FAILED, reason, row, seen_ns)
                continue
            try:
                with open_regular(entry.full) as stream:
                    digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
            except (OSError, DocumentError) as error:  # it vanished, lost its permission, or became something else
                reason = error.message if isinstance(error, DocumentError) else f"can't be read: {error.strerror}"
                self._settle(entry, None, None, Outcome.FAILED, reason, row, seen_ns)
                continue
            key = self._key(digest, kind)
            if row and row.hash == digest and self._is_current(row, key):
                self._touch(row, entry, seen_ns)
                self._keep(row)
                continue
            job = Job(entry, digest, key, seen_ns)
            with self._lock:
                twins = self._twins.get(key)
                if twins is not None:
                    twins.append(job)  # equal files are read once
                    continue
            # Not being read: never was, or is stored (its twins go after its content does, in one transaction).
            if (content := self.catalog.find_content(key)) is not None:
                self._settle(entry, digest, content, Outcome.INDEXED, None, row, seen_ns, moved=digest in vacated)
                continue
            with self._lock:
                self._twins[key] = []
            yield job

    def _as_before(self, row: FileRow, entry: Entry, kind: str) -> bool:
        stamps = entry.size, entry.mtime_ns, entry.ctime_ns
        if row.hash is None or (row.size, row.mtime_ns, row.ctime_ns) != stamps:
            return False
        settled = max(entry.mtime_ns, entry.ctime_ns) < row.seen_ns - CLOCK_GRAIN_NS
        settled = settled and row.seen_ns <= time.time_ns()  # else the clock was wrong then, or is now
        return settled and self._is_current(row, self._key(row.hash, kind))

    def _is_current(self, row: FileRow, key: str) -> bool:
        """Whether a file with the same bytes would end as it did then."""
        return not self._retry if row.content_id is None else row.content_key == key

    def _key(self, file_hash: str, kind: str) -> str:
        media = self._media.settings(kind)
        only = kind == "image" or (kind == "audio" and not self._media.writes)
        settings = media if only else f"{self._settings}{media and ' '}{media}"
        return hashlib.blake2b(f"{file_hash} {kind} {settings}".encode(), digest_size=16).hexdigest()

    def _embed_again(self) -> bool:
        """What `rag doctor --repair` found altered; whether there was any."""
        marked = self.catalog.marked_vectors()
        for part in _slices(sorted(marked.items())):
            self._check_stop()
            self.catalog.replace_vectors([k for k, _ in part], self.embedder.passage_vectors([t for _, t in part]))
            self._done["embedded"] += len(part)
        return bool(marked)

    # ---- writing ------------------------------------------------------------------------------------------

    def _flush(self, group: Group, before: dict[str, FileRow], total_bytes: int) -> None:
        """Embed what is new, then store the files. Vectors first, so work done survives a crash before its file."""
        new: dict[bytes, str] = {}
        prepared = []
        for job, source, chunks in group.jobs:
            keys = [vector_key(self._fingerprint, c.embedded_text) for c in chunks]
            new.update(zip(keys, (c.embedded_text for c in chunks), strict=True))
            prepared.append((job, source, chunks, keys))
        missing = self.catalog.missing_vectors(list(new))
        todo = sorted(((k, new[k]) for k in missing), key=lambda pair: -len(pair[1]))
        with self._lock:
            self._done["reused"] += sum(len(keys) for *_, keys in prepared) - len(todo)
        for part in _slices(todo):
            self._check_stop()
            vectors = self.embedder.passage_vectors([t for _, t in part], lambda n: self._progress(n, total_bytes))
            self.catalog.put_vectors([k for k, _ in part], vectors)
            self._done["embedded"] += len(part)
        media = self._media.store(
            {job.key: source.media for job, source, *_ in prepared if source.media},
            lambda: self._progress(0, total_bytes),
        )
        self._check_stop()
        with self.catalog.transaction():
            for job, source, chunks, keys in prepared:
                rows = media.get(job.key, [])
                if isinstance(rows, EmptyError):
                    self._put_failure(job, rows, before)
                    continue
                ids = [chunk_key(job.key, c.span, c.prefix) for c in chunks]
                content = self.catalog.put_content(job.key, source, chunks, ids, keys)
                self.catalog.put_media(content, rows)
                for twin in (job, *self._twins_of(job)):
                    row = before.get(twin.entry.path)
                    self._settle(twin.entry, twin.hash, content, Outcome.INDEXED, None, row, twin.seen_ns)
            self._write()

    def _twins_of(self, job: Job) -> list[Job]:
        with self._lock:
            return self._twins.pop(job.key)

    def _put_failure(self, job: Job, error: DocumentError, before: dict[str, FileRow]) -> None:
        outcome = Outcome.FAILED
        if isinstance(error, EmptyError):
            outcome = Outcome.EMPTY
        elif isinstance(error, UnsupportedError):
            outcome = Outcome.UNSUPPORTED
        for each in (job, *self._twins_of(job)):
            row = before.get(each.entry.path)
            message = error.message
            if isinstance(error, LoaderError) and row and row.content_id is not None and self.writer.same_settings:
                self._note(FileReport(each.entry.path, outcome, message), None)  # what it held stays till it is read
                continue
            if job.hash is None and each is not job and not isinstance(error, LoaderError):
                message = f"{job.entry.path}, which held the same, changed while it was read"  # so nothing was read
            self._settle(each.entry, job.hash, None, outcome, message, row, each.seen_ns)

    def _settle(
        self,
        entry: Entry,
        digest: str | None,
        content: int | None,
        outcome: Outcome,
        reason: str | None,
        row: FileRow | None,
        seen_ns: int,
        moved: bool = False,
    ) -> None:
        if row and (row.hash, row.content_id, row.outcome, row.reason) == (digest, content, outcome, reason):
            self._touch(row, entry, seen_ns)
        else:
            self._later(
                lambda: self.catalog.put_file(
                    self._generation,
                    entry.path,
                    entry.size,
                    entry.mtime_ns,
                    seen_ns,
                    digest,
                    content,
                    outcome,
                    reason,
                    entry.ctime_ns,
                )
            )
        kind = None
        if outcome is Outcome.INDEXED:
            kind = "updated" if row and row.content_id else "moved" if moved else "added"
        self._note(FileReport(entry.path, outcome, reason), kind)

    def _touch(self, row: FileRow, entry: Entry, seen_ns: int) -> None:
        self._later(lambda: self.catalog.touch_file(row.id, entry.size, entry.mtime_ns, seen_ns, entry.ctime_ns))

    def _keep(self, row: FileRow) -> None:
        """Unchanged; what failed or was empty stays so, and is said again."""
        outcome = Outcome.UNCHANGED if row.outcome is Outcome.INDEXED else row.outcome
        self._note(FileReport(row.path, outcome, row.reason), "skipped")

    def _later(self, write: Callable[[], None]) -> None:
        """Rows of files are committed many at a time: each commit waits for the disk."""
        with self._lock:
            self._writes.append(write)
            full = len(self._writes) >= WRITES
        if full:
            self._write()

    def _write(self) -> None:
        with self._lock:
            writes, self._writes = self._writes, []
        if writes:
            with self.catalog.transaction():
                for write in writes:
                    write()

    # ---- telling ------------------------------------------------------------------------------------------

    def _note(self, report: FileReport, kind: str | None) -> None:
        with self._lock:
            self._reports[report.path] = report
            self._settled += report.outcome is not Outcome.UNCHANGED
            if kind:
                self._kinds[kind] += 1
        if report.outcome is not Outcome.UNCHANGED:
            self._tell({"event": "file", "path": report.path, "outcome": report.outcome.value, "reason": report.reason})

    def _check_stop(self) -> None:
        if self._stop.is_set() or self._cancel.is_set():
            raise Cancelled("the sync was stopped", "run it again: it goes on where it was")

    def _progress(self, tokens: int, total_bytes: int) -> None:
        self._check_stop()
        now = time.perf_counter()
        self._done["tokens"] += tokens
        if now - self._announced > 0.1:
            self._announced = now
            self._tell(
                {
                    "event": "progress",
                    "tokens": self._done["tokens"],
                    "files": self._settled,
                    "bytes": self._done["bytes"],
                    "total_bytes": total_bytes,
                    "media": self._media.embedded,
                    "media_per_s": self._media.per_s,
                }
            )

    def _report(self, seconds: float) -> SyncReport:
        generation = self.catalog.generation
        chunks, media = self.catalog.chunk_counts(generation), self.catalog.media_counts(generation)
        contents = {f.path: f.content_id or 0 for f in self.catalog.files(generation)}

        def counted(report: FileReport) -> FileReport:
            content = contents.get(report.path, 0)
            seen = media.get(content, {})
            return replace(
                report,
                chunks=chunks.get(content, 0),
                pictures=seen.get("images", 0),
                windows=seen.get("audio", 0),
            )

        return SyncReport(
            files=tuple(counted(self._reports[p]) for p in sorted(self._reports)),
            num_added=self._kinds["added"],
            num_updated=self._kinds["updated"],
            num_moved=self._kinds["moved"],
            num_skipped=self._kinds["skipped"],
            num_deleted=max(0, len(self._gone) - self._kinds["moved"]),
            chunks=sum(chunks.values()),
            embedded=self._done["embedded"] + self._media.embedded,
            reused=self._done["reused"] + self._media.reused,
            tokens=self._done["tokens"],
            seconds=seconds,
            generation=generation,
        )


def _slices(items: list[tuple[bytes, str]]) -> Iterator[list[tuple[bytes, str]]]:
    part: list[tuple[bytes, str]] = []
    chars = 0
    for item in items:
        part.append(item)
        chars += len(item[1])
        if chars >= SLICE_CHARS:
            yield part
            part, chars = [], 0
    if part:
        yield part


def _kind_of(path: Path) -> str | None:
    return kind_of(path) or media_kind_of(path)


def _changed_meanwhile(entry: Entry) -> bool:
    try:
        status = entry.full.stat()
    except OSError:
        return True
    return (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns)


def _unsupported(path: str) -> str:
    reason, hint = unsupported(Path(path))
    return reason if hint.startswith("choices") else f"{reason}: {hint}"
