"""The last counter of each tag that this door has seen, kept across restarts.

Invariant: a counter is on disk before anybody may act on it, and none goes back.
Must not: keep a tag's number: rows are under its HMAC, so that the file alone names nobody.
"""

import asyncio
import contextlib
import hashlib
import hmac
import sqlite3
from pathlib import Path
from typing import Final, Protocol

from firmware_adapters.cards.errors import CardError, CardFault

FILE: Final = "card-counters.db"
ROW_BYTES: Final = 16
"""Of the HMAC: two tags of ten million share a row with a probability of 1 in 10^24."""
MOST_COUNTER: Final = 0xFF_FF_FF
"""Three bytes in a tag (NT4H2421Gx §9.3)."""
DEADLINE_S: Final = 2.0
"""A commit takes about 1 ms on an SSD, 10 ms on a card; after this the door's disk is what has to be repaired."""
_BUSY_S: Final = 1.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS counter (tag BLOB PRIMARY KEY NOT NULL, last INTEGER NOT NULL) STRICT, WITHOUT ROWID
"""
_RAISE: Final = """
INSERT INTO counter (tag, last) VALUES (?, ?)
ON CONFLICT (tag) DO UPDATE SET last = excluded.last WHERE excluded.last > last
"""


class CardCounters(Protocol):
    """Remembers counters."""

    async def advance(self, row: bytes, counter: int) -> None:
        """Return once `counter` is kept as the tag's last.

        Raises:
            CardError: REPLAYED when it is not above the last one, STORE when it cannot be kept.
        """
        ...


def row_of(secret: bytes, number: bytes) -> bytes:
    """Name a tag's row without its number.

    Args:
        secret: a key that lies in another place than the counters.
        number: the tag's UID.
    """
    return hmac.digest(secret, b"doorward-card-counter" + number, hashlib.sha256)[:ROW_BYTES]


class FileCounters:
    """Counters in a database of the door's state folder."""

    def __init__(self, folder: Path) -> None:
        """Keep the path; the file is made with the first counter."""
        self._path = folder / FILE

    async def advance(self, row: bytes, counter: int) -> None:
        """Keep a counter that is above the last; see `CardCounters.advance`."""
        if not 0 <= counter <= MOST_COUNTER:
            raise CardError(CardFault.MALFORMED, "a counter has more than three bytes")
        try:
            async with asyncio.timeout(DEADLINE_S):
                raised = await asyncio.to_thread(self._raise, row, counter)
        except (sqlite3.Error, OSError, TimeoutError) as error:
            raise CardError(CardFault.STORE, f"{self._path} does not keep counters ({error})") from error
        if not raised:
            raise CardError(CardFault.REPLAYED, "a tag's counter is not above the last one seen")

    def _raise(self, row: bytes, counter: int) -> bool:
        with contextlib.closing(self._connected()) as connection, connection:
            return connection.execute(_RAISE, (row, counter)).rowcount == 1

    def _connected(self) -> sqlite3.Connection:
        """Open the database, which nobody else may read; a connection belongs to the thread that works."""
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=_BUSY_S)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection


class MemoryCounters:
    """Counters that are forgotten with the process: for a reader that is tried without a door."""

    def __init__(self) -> None:
        """Start without any."""
        self._last: dict[bytes, int] = {}

    async def advance(self, row: bytes, counter: int) -> None:
        """Keep a counter that is above the last; see `CardCounters.advance`."""
        if counter <= self._last.get(row, -1):
            raise CardError(CardFault.REPLAYED, "a tag's counter is not above the last one seen")
        self._last[row] = counter
