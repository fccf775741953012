"""Tells the other processes of one cloud what was published here, and hears what they publish (LISTEN, NOTIFY).

Invariant: a message says that a tenant has something new, never what; whoever hears it asks the database.
Must not: be relied on: what gets lost while the database is away is noticed by asking again (changes.py).
"""

import asyncio
import secrets
from typing import Final

import asyncpg
import structlog

from cloud.database import AWAY, Connection
from cloud.issuing.changes import Changes
from cloud.tasks import first_of
from wire.names import Tenant

CHANNEL: Final = "doorward_changes"
_CONNECT_S: Final = 10.0
_COMMAND_S: Final = 10.0
_AGAIN_S: Final = 1.0
_MAX_CHARACTERS: Final = 64

_LOG = structlog.get_logger(__name__)


class Herald:
    """One connection of its own: pooled ones keep no state.

    Args:
        url: the database.
        changes: what this process's doors wait for.

    Attributes:
        hears: set while the connection listens.
    """

    def __init__(self, url: str, changes: Changes) -> None:
        self._url = url
        self._changes = changes
        self._me = secrets.token_hex(8)
        self.hears = asyncio.Event()

    async def run(self) -> None:
        """Tell and hear, and connect again when the database was away; runs until cancelled."""
        while True:
            try:
                await self._serve()
            except (*AWAY, asyncpg.PostgresError) as error:
                _LOG.warning("herald_away", error=str(error))
            await asyncio.sleep(_AGAIN_S)

    async def _serve(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=_CONNECT_S, command_timeout=_COMMAND_S)
        try:
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _connection: ended.set())
            await connection.add_listener(CHANNEL, self._heard)
            self._changes.wake_all()
            self.hears.set()
            await first_of(ended.wait(), self._tell(connection))
        finally:
            self.hears.clear()
            connection.terminate()

    async def _tell(self, connection: Connection) -> None:
        while True:
            for tenant in await self._changes.for_processes.take():
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, f"{self._me} {tenant}")

    def _heard(self, _connection: object, _process: int, _channel: str, message: object) -> None:
        sender, _, tenant = str(message)[:_MAX_CHARACTERS].partition(" ")
        if sender != self._me:
            self._changes.wake(Tenant(tenant))
