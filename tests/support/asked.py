"""What a database is asked, for tests of what is not asked."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.connection import LoggedQuery

    from cloud.database import Pool


@asynccontextmanager
async def asked(pool: Pool) -> AsyncIterator[list[str]]:
    """Collect the statements of all connections of a pool within the block; complete after it."""
    found: list[str] = []

    def note(query: LoggedQuery) -> None:
        found.append(query.query)

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(pool.acquire()) for _ in range(pool.get_max_size())]
        for connection in connections:
            connection.add_query_logger(note)
    yield found
    await asyncio.sleep(0)  # they are told soon after the answer
