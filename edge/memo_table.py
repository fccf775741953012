"""The table of memos: what the door remembers beside its journal (edge/core/memory.py).

Invariant: of two memos about the same thing the later one counts.
Must not: begin or end a transaction; the journal's does, so that a memo stands with the event that caused it.
"""

import sqlite3
import struct
from collections.abc import Iterable, Iterator

from edge.core.memory import Memo, MemoKind
from edge.status_tables import DamagedError


def remember(connection: sqlite3.Connection, given: Iterable[Memo]) -> None:
    """Write memos in their order."""
    for memo in given:
        place = (int(memo.kind), memo.key)
        if memo.value is None:
            connection.execute("DELETE FROM memo WHERE kind = ? AND key = ?", place)
        else:
            value = struct.pack(f">{len(memo.value)}q", *memo.value)
            connection.execute("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", (*place, value))


def memos(connection: sqlite3.Connection) -> Iterator[Memo]:
    """Give the kept memos; kinds that only a newer release knows are left where they are.

    Raises:
        DamagedError: one cannot be read.
    """
    known = {int(kind): kind for kind in MemoKind}
    for number, key, value in connection.execute("SELECT kind, key, value FROM memo"):
        if number in known:
            yield Memo(known[number], key, _numbers(value))


def _numbers(value: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(f">{len(value) // 8 or 1}q", value)
    except struct.error as error:
        raise DamagedError("a memo cannot be read") from error
