"""The store: one thread that owns the database, and the asynchronous face the daemon sees.

Invariant: jobs run in the order they were given; appends that wait together share one transaction.
Must not: let a caller wait for the disk without a deadline of the caller's; `append` gives a future.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from edge.database import Database, Document, Entry, Identity, Journaled, JournalMarks, RecordingMark
from edge.recording_tables import Checkpoint, Run
from edge.schema import SchemaTooNewError
from edge.status_tables import DamagedError, KeptStatuses
from wire.batch import Acknowledgement
from wire.status_list import StatusList

JOURNAL_FILE: Final = "journal.db"
"""Of the state folder."""
QUEUED_JOBS: Final = 1024
"""About ten seconds of a flooded door on a slow card; beyond that a job is refused at once."""
GROUPED: Final = 64
"""Appends that share one transaction at most."""
CALL_DEADLINE_S: Final = 10.0
PART_BYTES: Final = 128 * 1024
"""Of a roster's snapshot a transaction: some tens of milliseconds on a slow card, which a grant may wait for it."""

T = TypeVar("T")
U = TypeVar("U")


@unique
class StoreReason(Enum):
    """Why the store did not do it."""

    BUSY = "busy"
    FULL = "full"
    DISK = "disk"
    DEADLINE = "deadline"
    CLOSED = "closed"
    SCHEMA = "schema"
    DAMAGED = "damaged"


class StoreError(Exception):
    """The store did not do what was asked; the sentence says what to do next."""

    def __init__(self, reason: StoreReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.what, _, self.remedy = sentence.rpartition("; ") if "; " in sentence else (sentence, "", "")


@dataclass(frozen=True, slots=True)
class _Append:
    entry: Entry
    future: asyncio.Future[Journaled]


@dataclass(frozen=True, slots=True)
class _Call:
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Stop:
    """The last job."""


_Job: TypeAlias = _Append | _Call | _Stop


class Store:
    """The running store.

    Args:
        database: opened; belongs to the store's thread from now on.
        max_events: unsent events above which `alarmed` is set; at twice as many appends are refused.

    Attributes:
        recalled: what the door remembered when the database was opened.
        only_in_cloud: events that were forgotten here before a backup held them, as of the latest acknowledgement.
    """

    def __init__(self, database: Database, *, max_events: int) -> None:
        self.epoch = database.epoch
        self.boot = database.boot
        self.recalled = database.recalled
        self.alarmed = False
        self.only_in_cloud = database.marks().only_in_cloud
        self._max_events = max_events
        self._unsent = database.marks().last - database.marks().durable
        self._database = database
        self._jobs: queue.Queue[_Job] = queue.Queue(maxsize=QUEUED_JOBS)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._closed = False
        self._thread.start()

    # --- the daemon's side ---------------------------------------------------------------------------------

    def append(self, entry: Entry) -> asyncio.Future[Journaled]:
        """Queue an event; the future is done when it is durable.

        Raises (in the future):
            StoreError: BUSY, FULL or DISK; the event is not in the journal.
        """
        future: asyncio.Future[Journaled] = self._loop.create_future()
        if self._unsent >= 2 * self._max_events:
            sentence = "the journal holds twice its limit of unsent events; restore the connection to the cloud"
            future.set_exception(StoreError(StoreReason.FULL, sentence))
            return future
        future.add_done_callback(self._count)
        self._put(_Append(entry, future), future)
        return future

    def _count(self, future: asyncio.Future[Journaled]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._unsent += 1
            self.alarmed = self._unsent >= self._max_events

    def _put(self, job: _Job, future: asyncio.Future[T]) -> None:
        if self._closed:
            future.set_exception(StoreError(StoreReason.CLOSED, "the store is closed"))
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            sentence = "the disk does not keep up; check the card with `doorward diag status`"
            future.set_exception(StoreError(StoreReason.BUSY, sentence))

    async def _call(self, work: Callable[[Database], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._put(_Call(lambda: self._answer([future], lambda: [work(self._database)])), future)
        try:
            # Not asyncio.wait_for: before Python 3.12 it drops a cancellation that comes together with the answer.
            async with asyncio.timeout(CALL_DEADLINE_S):
                return await future
        except TimeoutError as error:
            sentence = f"the disk did not answer within {CALL_DEADLINE_S:.0f} s; replace the card if this repeats"
            raise StoreError(StoreReason.DEADLINE, sentence) from error

    async def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give kept events above `seq`, ascending."""
        return await self._call(lambda database: database.events_after(seq, limit))

    async def newest_events(self, limit: int) -> list[tuple[int, bytes]]:
        """Give the newest events, ascending."""
        return await self._call(lambda database: database.newest_events(limit))

    async def marks(self) -> JournalMarks:
        """Give the marks as committed."""
        return await self._call(Database.marks)

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Take over an acknowledgement.

        Raises:
            HeadMismatchError: it names another head; nothing has changed.
        """
        await self._call(lambda database: database.acknowledge(acknowledgement, keep=self._max_events))
        marks = await self.marks()
        self._unsent = marks.last - marks.durable
        self.alarmed = self._unsent >= self._max_events
        self.only_in_cloud = marks.only_in_cloud

    async def put_document(self, kind: Document, version: int, data: bytes) -> None:
        """Keep a signed document."""
        await self._call(lambda database: database.put_document(kind, version, data))

    async def documents(self, kind: Document) -> list[bytes]:
        """Give the kept signed documents of a kind, the newest first."""
        return await self._call(lambda database: database.documents(kind))

    async def put_status(self, status: StatusList) -> None:
        """Keep a status list."""
        await self._call(lambda database: database.put_status(status))

    async def statuses(self) -> KeptStatuses:
        """Load every kept status list that can be read."""
        return await self._call(Database.statuses)

    async def put_roster(self, data: bytes) -> None:
        """Keep the signed snapshot of a roster instead of what was kept; taps are journaled between its parts."""
        await self._drop_roster_parts()
        for number, start in enumerate(range(0, len(data), PART_BYTES)):
            part = partial(Database.put_roster_part, number=number, data=data[start : start + PART_BYTES])
            await self._call(part)
        await self._call(Database.settle_roster)
        await self._drop_roster_parts()

    async def _drop_roster_parts(self) -> None:
        while await self._call(Database.drop_roster_parts):
            pass

    async def put_roster_delta(self, version: int, data: bytes, *, changed: bool, alone: bool) -> tuple[int, int]:
        """Keep a signed delta after the snapshot; see `Database.put_roster_delta`."""
        put = partial(Database.put_roster_delta, version=version, data=data, changed=changed, alone=alone)
        return await self._call(put)

    async def roster_snapshot(self) -> bytes | None:
        """Give the signed snapshot of the roster, None when there is none."""
        parts: list[bytes] = []
        while part := await self._call(partial(Database.roster_part, number=len(parts))):
            parts.append(part)
        return b"".join(parts) or None

    async def roster_deltas(self) -> list[bytes]:
        """Give the signed deltas after the snapshot, in order."""
        return await self._call(Database.roster_deltas)

    async def record(self, run: Run | None, *, restart_at: int | None) -> RecordingMark:
        """Write inputs that no event has taken along; see `Database.record`. Queued before the first await."""
        return await self._call(lambda database: database.record(run, restart_at=restart_at))

    async def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint of the recordings."""
        await self._call(lambda database: database.add_checkpoint(checkpoint))

    async def replay_marks(self) -> list[tuple[bytes, int]]:
        """Give the kept replay marks as (key, expires_wall_ms)."""
        return await self._call(Database.replay_marks)

    async def forget_marks(self, before_wall_ms: int) -> None:
        """Forget replay marks that ended before."""
        await self._call(lambda database: database.forget_marks(before_wall_ms))

    async def number(self, name: str) -> int:
        """Give a small fact, 0 when unset."""
        return await self._call(lambda database: database.number(name))

    async def set_numbers(self, numbers: Mapping[str, int]) -> None:
        """Keep small facts that belong together: all of them or none."""
        await self._call(lambda database: database.set_numbers(numbers))

    async def aclose(self) -> None:
        """Finish the queued jobs, close the file, end the thread; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._jobs.put, _Stop())
        await asyncio.to_thread(self._thread.join, CALL_DEADLINE_S)

    # --- the store's thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        job = self._jobs.get()
        while not isinstance(job, _Stop):
            if isinstance(job, _Call):
                job.run()
                job = self._jobs.get()
            else:
                job = self._append_group(job)
        self._database.close()

    def _append_group(self, first: _Append) -> _Job:
        """Commit an append with those that wait behind it; gives the job that comes after them."""
        group = [first]
        after: _Job | None = None
        with contextlib.suppress(queue.Empty):
            while after is None and len(group) < GROUPED:
                job = self._jobs.get_nowait()
                if isinstance(job, _Append):
                    group.append(job)
                else:
                    after = job
        entries = [each.entry for each in group]
        self._answer([each.future for each in group], lambda: self._database.append(entries))
        return self._jobs.get() if after is None else after

    def _answer(self, futures: Sequence[asyncio.Future[T]], work: Callable[[], Sequence[T]]) -> None:
        """Do the work and hand the results, or the one fault, to those who wait."""
        try:
            results = work()
        except Exception as error:  # noqa: BLE001 - every fault travels to the caller; the thread must live
            self._wake(_fail, futures, _translate(error))
        else:
            self._wake(_fulfil, futures, results)

    def _wake(
        self, settle: Callable[[Sequence[asyncio.Future[T]], U], None], futures: Sequence[asyncio.Future[T]], with_: U
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(settle, futures, with_)


def _fulfil(futures: Sequence[asyncio.Future[T]], results: Sequence[T]) -> None:
    for future, result in zip(futures, results, strict=True):
        if not future.done():
            future.set_result(result)


def _fail(futures: Sequence[asyncio.Future[T]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _translate(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        translated = StoreError(StoreReason.FULL, "the disk is full; free space or replace the card")
    else:
        translated = StoreError(StoreReason.DISK, f"the disk refused ({error}); replace the card if this repeats")
    translated.__cause__ = error
    return translated


def open_database(path: Path, identity: Identity, *, new_epoch: bytes) -> tuple[Database, Path | None]:
    """Open the door's database; a damaged one is set aside and a new one begun.

    Args:
        path: the file.
        identity: who writes.
        new_epoch: 8 random bytes, used when a journal is begun.

    Returns:
        The database, and where the damaged one was put (None when it was sound).

    Raises:
        StoreError: SCHEMA when a newer release wrote it; DISK or FULL when no database can be opened at all.
    """
    try:
        return Database(path, identity, new_epoch=new_epoch), None
    except SchemaTooNewError as error:
        sentence = f"{path} was written by a newer release; update doorward on this door"
        raise StoreError(StoreReason.SCHEMA, sentence) from error
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise _translate(error) from error
    except DamagedError:
        pass
    aside = _set_aside(path)
    try:
        return Database(path, identity, new_epoch=new_epoch), aside
    except sqlite3.Error as error:
        raise _translate(error) from error


def _is_damage(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path) -> Path:
    """Move a damaged database, with its write-ahead log, to the first free name beside it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(aside.with_name(aside.name + suffix))
    return aside
