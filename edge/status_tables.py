"""Status lists on the disk: the newest of each in chunks, and for a while what it takes to go back to older ones.

Invariant: from the newest bits, the undo steps give back the bits at every sequence number down to the oldest kept.
Must not: begin or end a transaction; the caller's holds all of it.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from wire.status_list import StatusList

CHUNK_BYTES: Final = 4096
"""SQLite's page: a changed bit rewrites one page, not the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoLimits:
    """How far back one list can be rebuilt; what comes first.

    Attributes:
        steps: a campus that revokes thirty passes a day goes back a week.
        undo_bytes: three whole lists of ten million passes, or a thousand single revocations.
    """

    steps: int = 256
    undo_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptStatuses:
    """What is kept of revocation.

    Attributes:
        lists: those that can be read.
        damaged: list -> sequence number of those that cannot; what replaces one must not be older.
    """

    lists: list[StatusList]
    damaged: Mapping[int, int]


class DamagedError(Exception):
    """The database is not what this program wrote: a broken chain or an unreadable page."""


def put_status(connection: sqlite3.Connection, status: StatusList, limits: UndoLimits) -> int:
    """Keep a list, and how to go back to the one before it; only chunks that changed are written.

    Returns:
        The oldest sequence number whose bits are still known.
    """
    run = connection.execute
    before = _chunks(connection, status.list_id)
    starts = range(0, len(status.bits), CHUNK_BYTES)
    chunks = {number: status.bits[start : start + CHUNK_BYTES] for number, start in enumerate(starts)}
    _keep_undo(connection, status, before, chunks)
    connection.executemany(
        "INSERT OR REPLACE INTO status_chunk VALUES (?, ?, ?)",
        [(status.list_id, number, data) for number, data in chunks.items() if before.get(number) != data],
    )
    run("DELETE FROM status_chunk WHERE list = ? AND number >= ?", (status.list_id, len(chunks)))
    run(
        "INSERT OR REPLACE INTO status_list VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            status.list_id,
            status.tenant,
            status.sequence,
            status.issued_at_s,
            status.expires_at_s,
            status.ttl_s,
            len(status.bits),
        ),
    )
    return _trim(connection, status, limits)


def _keep_undo(
    connection: sqlite3.Connection, status: StatusList, before: Mapping[int, bytes], chunks: Mapping[int, bytes]
) -> None:
    """Note the chunks that the list before had otherwise; a list signed anew under its number has the same bits."""
    row = connection.execute(
        "SELECT sequence, size_bytes FROM status_list WHERE list = ?", (status.list_id,)
    ).fetchone()
    if row is None or row[0] == status.sequence:
        return
    sequence, size_bytes = row
    if not _are_whole(before, size_bytes):
        # Nothing leads back through a list that cannot be read.
        forget_undo(connection, status.list_id, status.sequence)
        return
    changed = {number: data for number, data in before.items() if chunks.get(number) != data}
    undo_bytes = sum(map(len, changed.values()))
    connection.execute(
        "INSERT OR REPLACE INTO status_undo VALUES (?, ?, ?, ?)", (status.list_id, sequence, size_bytes, undo_bytes)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO status_undo_chunk VALUES (?, ?, ?, ?)",
        [(status.list_id, sequence, number, data) for number, data in changed.items()],
    )


def _trim(connection: sqlite3.Connection, status: StatusList, limits: UndoLimits) -> int:
    rows = connection.execute(
        "SELECT sequence, undo_bytes FROM status_undo WHERE list = ? ORDER BY sequence DESC", (status.list_id,)
    ).fetchall()
    oldest, left = status.sequence, limits.undo_bytes
    for sequence, undo_bytes in rows[: limits.steps]:
        left -= undo_bytes
        if left < 0:
            break
        oldest = sequence
    forget_undo(connection, status.list_id, oldest)
    return oldest


def forget_undo(connection: sqlite3.Connection, list_id: int, below: int) -> None:
    """Forget how to go back to sequence numbers below one."""
    connection.execute("DELETE FROM status_undo WHERE list = ? AND sequence < ?", (list_id, below))
    connection.execute("DELETE FROM status_undo_chunk WHERE list = ? AND sequence < ?", (list_id, below))


def statuses(connection: sqlite3.Connection) -> KeptStatuses:
    """Load every list as it is now; of one whose chunks are missing its number and sequence are told."""
    kept = KeptStatuses([], damaged := {})
    for row in connection.execute("SELECT * FROM status_list").fetchall():
        try:
            kept.lists.append(_status(connection, row))
        except DamagedError:
            damaged[row[0]] = row[2]
    return kept


def _are_whole(chunks: Mapping[int, bytes], size_bytes: int) -> bool:
    """Tell whether a list of this size lacks none of its chunks."""
    return sum(len(chunks.get(number, b"")) for number in range(-(-size_bytes // CHUNK_BYTES))) == size_bytes


def _status(connection: sqlite3.Connection, row: tuple[int, str, int, int, int, int, int]) -> StatusList:
    list_id, tenant, sequence, issued_at_s, expires_at_s, ttl_s, size_bytes = row
    return StatusList(
        tenant=tenant,
        list_id=list_id,
        sequence=sequence,
        issued_at_s=issued_at_s,
        expires_at_s=expires_at_s,
        ttl_s=ttl_s,
        bits=_joined(list_id, _chunks(connection, list_id), size_bytes),
    )


def bits_at(connection: sqlite3.Connection, list_id: int, sequence: int) -> bytes | None:
    """Give the bits that a list had at a sequence number; None when they are not known any more.

    Raises:
        DamagedError: chunks are missing.
    """
    run = connection.execute
    steps = run("SELECT sequence, size_bytes FROM status_list WHERE list = ?", (list_id,)).fetchall()
    steps += run(
        "SELECT sequence, size_bytes FROM status_undo WHERE list = ? AND sequence >= ? ORDER BY sequence DESC",
        (list_id, sequence),
    ).fetchall()
    if not steps or steps[-1][0] != sequence:
        return None
    chunks = _chunks(connection, list_id)
    for step, _ in steps[1:]:
        changed = run("SELECT number, bytes FROM status_undo_chunk WHERE list = ? AND sequence = ?", (list_id, step))
        chunks.update(changed.fetchall())
    return _joined(list_id, chunks, steps[-1][1])


def _chunks(connection: sqlite3.Connection, list_id: int) -> dict[int, bytes]:
    rows = connection.execute("SELECT number, bytes FROM status_chunk WHERE list = ?", (list_id,))
    return dict(rows.fetchall())


def _joined(list_id: int, chunks: Mapping[int, bytes], size_bytes: int) -> bytes:
    """Join the chunks of a list; those beyond its size belong to a longer one."""
    numbers = range(-(-size_bytes // CHUNK_BYTES))
    bits = b"".join([chunks.get(number, b"") for number in numbers])
    if len(bits) != size_bytes:
        raise DamagedError(f"status list {list_id} has {len(bits)} of {size_bytes} bytes")
    return bits
