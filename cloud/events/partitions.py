"""Day partitions of the table `events`, made before they are needed.

Invariant: a partition is made in its own short transaction, beside the table and then attached, so that nobody who
writes or reads events waits for it.
Must not: drop anything; retention is a decision of the operator.
"""

import asyncio
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Final

from cloud.database import Connection

_FIRST_DAY: Final = date(2000, 1, 1)
_LOCK: Final = 0x44777254
"""The advisory lock that lets one process make a partition: "DwrT" in ASCII."""
_MAKE_S: Final = 30.0


class Partitions:
    """Remembers which days have one."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._making = asyncio.Lock()

    def missing(self, days: Iterable[int]) -> list[int]:
        """Give those days, counted from 2000-01-01, that may have no partition yet."""
        return sorted(day for day in set(days) if day not in self._known)

    def forget(self) -> None:
        """Look again: somebody else removed one."""
        self._known.clear()

    async def ensure(self, connection: Connection, days: Iterable[int]) -> None:
        """Make what is missing; `connection` is outside a transaction.

        Raises:
            asyncpg.PostgresError: the database refuses.
        """
        async with self._making:
            for day in self.missing(days):
                await _make(connection, _FIRST_DAY + timedelta(days=day))
                self._known.add(day)


async def _make(connection: Connection, day: date) -> None:
    name = f"events_{day:%Y%m%d}"
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=_MAKE_S)
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
            return
        bounds = f"FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
        await connection.execute(f"CREATE TABLE {name} (LIKE events INCLUDING ALL)")
        await connection.execute(f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES {bounds}", timeout=_MAKE_S)
