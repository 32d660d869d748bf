"""The file in which the objects last: SQLite with a write-ahead log, written by one thread.

The table holds the current state of every object, not a history. Writes that come while the thread is busy with a
transaction go into the next one together (group commit), so that many writers cost hardly more than one.

A digest of all objects lies with them: a disk, or somebody, that changes a byte is found out at the next start, also
where the file as such is sound. SQLite finds damage in the write-ahead log by itself, and then silently goes on with
what it had before; so a mark beside the file says how far it was written, and what is missing is told.

`synchronous=NORMAL`: a write whose call has returned survives the end of this process in any way, `kill -9` included.
A power failure may take the last moments with it, but never damages the file; FULL would prevent that at the price of
waiting for the disk at every commit, which a world of local processes, all gone with the power, has no use for.
"""

import asyncio
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

FORMAT = 2
"""Of the tables. Format 1, which had no digest, is brought up to it; any other is refused, not guessed at."""

_SCHEMA = """
CREATE TABLE format (version INTEGER NOT NULL);
CREATE TABLE counter (version INTEGER NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE objects (
    api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (api_group, plural, namespace, name)
) WITHOUT ROWID;
"""
_LEAST_BYTES = 512
"""The smallest page of SQLite: there is no shorter file."""
_MARK_BYTES = 20
"""Digits of the version."""


class StoreError(Exception):
    """The file of the store cannot be used. The message says why and what to do."""


class Row(msgspec.Struct, frozen=True):
    group: str
    plural: str
    namespace: str
    name: str
    data: bytes | None
    """The object as JSON; None removes it."""


class Database:
    """Opens the file, or makes it where there is none. Raises `StoreError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure = ""
        """Why nothing can be written any more; empty while all is well."""
        self.missing = ""
        """What the file is known to lack of what had been written to it; empty if nothing is."""
        if not path.exists():
            _make(path)
        with _explained(path):
            self._contents = _read(path)
            self._connection = _open(path, self._contents)
        self._digest = self._contents.digest
        self._mark = Mark(path)
        if self._mark.read() > self._contents.version:
            self.missing = (
                f"{path} lacks the last changes that were made before the world ended: its write-ahead log "
                f"({path.name}-wal) was damaged or taken away, or the power failed. Everything is as it was before "
                "them: apply again what was applied or rolled back last"
            )
        self._changed = threading.Condition()
        self._pending: list[tuple[Row, int]] = []
        self._written = 0
        """How many writes were handed in, and how many of them are in the file."""
        self._committed = 0
        self._waiting: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="outrider-store", daemon=True)
        self._thread.start()

    def load(self) -> tuple[Sequence[Row], int]:
        """All objects, and the version of the last write, as they were when the file was opened. To be called once."""
        rows, self._contents.rows = self._contents.rows, []
        return rows, self._contents.version

    def write(self, row: Row, version: int) -> None:
        """Hand in a write; `flushed` says when it is in the file."""
        with self._changed:
            self._pending.append((row, version))
            self._written += 1
            self._changed.notify()

    async def flushed(self) -> None:
        """Wait until all writes handed in so far are in the file. Raises `StoreError` when they never will be."""
        with self._changed:
            if self._committed >= self._written and not self.failure:
                return
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            self._waiting.append((self._written, loop, done))
            if self.failure:
                self._answer_waiting()
        await done

    async def close(self) -> None:
        """Write what is pending, and close the file. May be called twice."""
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """As `close`, for where no event loop runs."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                batch, self._pending = self._pending, []
                if not batch:
                    break
            try:
                if not self.failure:  # else later changes would be there, and the one that failed would not
                    self._commit(batch)
            except sqlite3.Error as error:
                with self._changed:
                    self.failure = (
                        f"the local world cannot write to {self.path}: {error}. "
                        "Look whether the disk is full or read-only, then run `outrider down` and `outrider up`."
                    )
            with self._changed:
                self._committed += len(batch)
                self._answer_waiting()
        self._connection.close()
        self._mark.close()

    def _commit(self, batch: list[tuple[Row, int]]) -> None:
        last = {(row.group, row.plural, row.namespace, row.name): row.data for row, _ in batch}
        kept = [(*key, data) for key, data in last.items() if data is not None]
        gone = [key for key, data in last.items() if data is None]
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", kept)
            self._connection.executemany(
                "DELETE FROM objects WHERE api_group = ? AND plural = ? AND namespace = ? AND name = ?", gone
            )
            self._digest.update(row for row, _ in batch)
            version = batch[-1][1]
            self._connection.execute("UPDATE counter SET version = ?, digest = ?", (version, self._digest.of(version)))
        self._mark.write(version)

    def _answer_waiting(self) -> None:
        """Tell those whose writes are in the file, or, after a failure, everybody. The lock must be held."""
        still = []
        for until, loop, done in self._waiting:
            if not self.failure and until > self._committed:
                still.append((until, loop, done))
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_finish, done, self.failure)
        self._waiting = still


class Digest:
    """A sum over what is in the file: any byte of an object that changes, appears or is lost changes it."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, str, str], int] = {}
        self._total = 0

    def update(self, rows: Iterable[Row]) -> None:
        """Take these into account, in place of what had their keys."""
        for row in rows:
            key = (row.group, row.plural, row.namespace, row.name)
            self._total -= self._sums.pop(key, 0)
            if row.data is not None:
                self._sums[key] = zlib.crc32(row.data, zlib.crc32("\0".join(key).encode()))
                self._total += self._sums[key]

    def of(self, version: int) -> int:
        """The digest of it all together with the version of the last write."""
        return (self._total + zlib.crc32(str(version).encode())) % 2**32


class Mark:
    """How far the file was written, in a file beside it. It is told from the inside of no transaction, so that nothing
    that undoes one undoes it. It only ever serves to say what is missing: nothing depends on it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}-mark")
        self._descriptor = -1
        with suppress(OSError):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> int:
        """The version that was marked last; 0 if that is not known."""
        try:
            return int(os.pread(self._descriptor, _MARK_BYTES, 0))
        except (OSError, ValueError):
            return 0

    def write(self, version: int) -> None:
        with suppress(OSError):
            os.pwrite(self._descriptor, f"{version:0{_MARK_BYTES}d}".encode(), 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _finish(done: "asyncio.Future[None]", failure: str) -> None:
    if done.done():
        return
    if failure:
        done.set_exception(StoreError(failure))
    else:
        done.set_result(None)


def _make(path: Path) -> None:
    """Make the file under another name first: a file of the right name is then always a whole one."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:  # SQLite would put what is in it into the new file
        raise StoreError(
            f"{path} is gone, and {log.name} with its last changes is still there. Put it back, or start anew with "
            "`outrider up --fresh`, which deletes what is left of the objects of the local world"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    for left in (unfinished, Mark(path).path):  # of a killed start, and of an earlier file
        left.unlink(missing_ok=True)
    try:
        # Objects hold secrets.
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(unfinished)) as connection, connection:
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO format VALUES (?)", (FORMAT,))
            connection.execute("INSERT INTO counter VALUES (0, ?)", (Digest().of(0),))
        unfinished.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot make {path}: {error}") from error


@dataclass
class _Contents:
    """What is in a file that is sound."""

    format: int
    rows: list[Row]
    version: int
    digest: Digest


def _read(path: Path) -> _Contents:
    """Look into the file without changing a byte of it, or of its write-ahead log."""
    size = path.stat().st_size
    if size < _LEAST_BYTES:  # SQLite would take it for a new database, and delete its write-ahead log
        raise sqlite3.DatabaseError("it is cut off" if size else "it is empty")
    name = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(name, uri=True, timeout=0, isolation_level=None)) as connection:
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        (found,) = connection.execute("SELECT version FROM format").fetchone()
        if found not in (1, FORMAT):
            raise StoreError(
                f"{path} has format {found}, and this version of Outrider reads format {FORMAT}: use the version that "
                "wrote it, or start anew with `outrider up --fresh`, which deletes the objects of the local world"
            )
        query = "SELECT api_group, plural, namespace, name, data FROM objects"
        with closing(connection.execute(query)) as objects:  # one left open would hold the file
            rows = [Row(*row) for row in objects]
        (version,) = connection.execute("SELECT version FROM counter").fetchone()
        digest = Digest()
        digest.update(rows)
        if found != 1 and connection.execute("SELECT digest FROM counter").fetchone() != (digest.of(version),):
            raise sqlite3.DatabaseError("its contents are not what was written")
    return _Contents(found, rows, version, digest)


def _open(path: Path, contents: _Contents) -> sqlite3.Connection:
    # Used by the thread alone from now on. No timeout: a second process is an error, not something to wait for.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        _prepare(connection, contents)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    # Made by the look into a file that a killed process left; who has the file alone needs none.
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return connection


def _prepare(connection: sqlite3.Connection, contents: _Contents) -> None:
    if connection.execute("SELECT version FROM counter").fetchone() != (contents.version,):
        raise sqlite3.OperationalError("it was not locked while another process wrote to it")
    if contents.format == 1:
        connection.execute("ALTER TABLE counter ADD COLUMN digest INTEGER NOT NULL DEFAULT 0")
        connection.execute("UPDATE counter SET digest = ?", (contents.digest.of(contents.version),))
        connection.execute("UPDATE format SET version = ?", (FORMAT,))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StoreError(f"{path} is in use by another process: end it with `outrider down`") from error
        raise damaged(path, error) from error
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> StoreError:
    """The error that says that a file cannot be read, and what to do."""
    return StoreError(
        f"{path} cannot be read ({error}). It is left as it is. Put a copy back that is whole, or start anew with "
        "`outrider up --fresh`, which deletes the objects of the local world"
    )
