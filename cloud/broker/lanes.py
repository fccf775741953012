"""Which lanes this process follows: leased from PostgreSQL, so that the processes of a cloud share what doors send.

A lease is a session advisory lock on one connection of its own: whoever holds it follows the lane, and PostgreSQL frees
it when the process has died, hangs or is cut off (docs/adr/0011-lanes.md).

Invariant: no lane is leased to two processes; the shares of those who follow differ by one lane at most.
Must not: be relied on: a batch that nobody hears is sent again by its door.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import asyncpg

from cloud.broker.consumer import FILTERS
from cloud.broker.names import SEATS
from cloud.database import AWAY, Connection

BALANCE_S: Final = 1.0
"""How often each process looks whether its share has changed: what a lane waits for a new follower at most."""
SILENT_S: Final = 20
"""After this long without a word PostgreSQL ends our session: a process that hangs does not keep its lanes."""
_CONNECT_S: Final = 10.0
_COMMAND_S: Final = 5.0
_SEAT: Final = 0x44575331
_MEMBER: Final = 0x44574D31
_LANE: Final = 0x44574C31
"""The first halves of our advisory locks: "DWS1", "DWM1", "DWL1" in ASCII. The second is a seat's or lane's number."""
_HELD: Final = (
    "SELECT classid::bigint AS kind, objid::bigint AS number FROM pg_locks"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = ANY($1::oid[])"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class NoSeatError(Exception):
    """As many processes as there are seats follow the broker already."""


class Follower(Protocol):
    """Who hears what comes by a lane."""

    async def follow(self, lane: int) -> None:
        """Hear it from now on."""

    async def leave(self, lane: int) -> None:
        """Hear it no more."""


def share(members: Sequence[int], seat: int, lanes: int = len(FILTERS)) -> int:
    """Say how many lanes the member in `seat` follows: as many as each, the first few one more."""
    order = sorted(members)
    each, more = divmod(lanes, len(order))
    return each + (order.index(seat) < more)


class Leases:
    """What one connection holds.

    Attributes:
        seat: this process's number, which nobody else of the cloud has.
        lanes: that are leased to it.
    """

    def __init__(self, connection: Connection, seat: int) -> None:
        self._connection = connection
        self.seat: Final = seat
        self.lanes: set[int] = set()

    async def join(self) -> None:
        """Count as one who follows: the others make room."""
        await _try_lock(self._connection, _MEMBER, self.seat)

    async def balance(self, follower: Follower) -> None:
        """Give back what is more than our share, and take what is free and belongs to it.

        Raises:
            asyncpg.PostgresError, OSError: the leases are lost.
        """
        rows = await self._connection.fetch(_HELD, [_MEMBER, _LANE])
        members = [row["number"] for row in rows if row["kind"] == _MEMBER]
        leased = {row["number"] for row in rows if row["kind"] == _LANE}
        wanted = share(members, self.seat)
        for lane in sorted(self.lanes)[wanted:]:
            await follower.leave(lane)
            self.lanes.remove(lane)
            await self._connection.execute("SELECT pg_advisory_unlock($1, $2)", _LANE, lane)
        for lane in sorted(set(range(len(FILTERS))) - leased):
            if len(self.lanes) < wanted and await _try_lock(self._connection, _LANE, lane):
                self.lanes.add(lane)
                await follower.follow(lane)


@asynccontextmanager
async def take_seat(url: str) -> AsyncIterator[Leases]:
    """Take the first free seat; leaving the block gives everything back.

    Args:
        url: the database.

    Raises:
        NoSeatError: all are taken.
        asyncpg.PostgresError, OSError: the database is away.
    """
    connection = await asyncpg.connect(
        url,
        timeout=_CONNECT_S,
        command_timeout=_COMMAND_S,
        server_settings={"application_name": "doorward-lanes", "idle_session_timeout": f"{SILENT_S}s"},
    )
    try:
        for seat in range(SEATS):
            if await _try_lock(connection, _SEAT, seat):
                break
        else:
            raise NoSeatError
        yield Leases(connection, seat)
    finally:
        await _close(connection)


async def _try_lock(connection: Connection, kind: int, number: int) -> bool:
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", kind, number))


async def _close(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """End the session; by force when it does not answer, the server notices then by itself."""
    try:
        await connection.close(timeout=_COMMAND_S)
    except (*AWAY, asyncpg.PostgresError):
        connection.terminate()
