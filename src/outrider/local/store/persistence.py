"""The file in which the objects last: SQLite with a write-ahead log, written by one thread.

The table holds the current state of every object, not a history. Writes that come while the thread is busy with a
transaction go into the next one together (group commit), so that many writers cost hardly more than one.

`synchronous=NORMAL`: a write whose call has returned survives the end of this process in any way, `kill -9` included.
A power failure may take the last moments with it, but never damages the file; FULL would prevent that at the price of
waiting for the disk at every commit, which a world of local processes, all gone with the power, has no use for.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

FORMAT = 1
"""Of the tables. A file of another format is refused, not guessed at."""

_SCHEMA = """
CREATE TABLE format (version INTEGER NOT NULL);
CREATE TABLE counter (version INTEGER NOT NULL);
CREATE TABLE objects (
    api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (api_group, plural, namespace, name)
) WITHOUT ROWID;
"""


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
        if not path.exists():
            _make(path)
        with _explained(path):
            self._connection = _open(path)
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
        """All objects, and the version of the last write."""
        with _explained(self.path):
            rows = self._connection.execute("SELECT api_group, plural, namespace, name, data FROM objects").fetchall()
            (version,) = self._connection.execute("SELECT version FROM counter").fetchone()
        return [Row(*row) for row in rows], int(version)

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
            self._connection.execute("UPDATE counter SET version = ?", (batch[-1][1],))

    def _answer_waiting(self) -> None:
        """Tell those whose writes are in the file, or, after a failure, everybody. The lock must be held."""
        still = []
        for until, loop, done in self._waiting:
            if not self.failure and until > self._committed:
                still.append((until, loop, done))
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_finish, done, self.failure)
        self._waiting = still


def _finish(done: "asyncio.Future[None]", failure: str) -> None:
    if done.done():
        return
    if failure:
        done.set_exception(StoreError(failure))
    else:
        done.set_result(None)


def _make(path: Path) -> None:
    """Make the file under another name first: a file of the right name is then always a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    try:
        # Objects hold secrets.
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(unfinished)) as connection, connection:
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO format VALUES (?)", (FORMAT,))
            connection.execute("INSERT INTO counter VALUES (0)")
        unfinished.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot make {path}: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    # Used by the thread alone once `load` is done. No timeout: a second process is an error, not something to wait for.
    if path.stat().st_size == 0:  # SQLite would take it for a new database
        raise sqlite3.DatabaseError("it is empty")
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
        _check(connection, path)
        # Not before it is sure to be ours: this changes the file.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise sqlite3.DatabaseError(health)
    (found,) = connection.execute("SELECT version FROM format").fetchone()
    if found != FORMAT:
        raise StoreError(
            f"{path} has format {found}, and this version of Outrider reads format {FORMAT}: use the version that "
            "wrote it, or start anew with `outrider up --fresh`, which deletes the objects of the local world"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StoreError(f"{path} is in use by another process: end it with `outrider down`") from error
        raise damaged(path, error) from error
    except (sqlite3.DatabaseError, TypeError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> StoreError:
    """The error that says that a file cannot be read, and what to do."""
    return StoreError(
        f"{path} cannot be read ({error}). It is left as it is. Put a copy back that is whole, or start anew with "
        "`outrider up --fresh`, which deletes the objects of the local world"
    )
