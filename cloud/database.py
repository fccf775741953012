"""Connections to PostgreSQL, and the numbered migrations of its schema.

Invariant: the schema is exactly the one that this program knows before any request is answered.
Must not: hold queries of a feature; those live in the feature's `service.py`.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, TypeAlias

import asyncpg

from cloud.errors import CloudError, Reason

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Source: TypeAlias = (
    "asyncpg.Pool[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"
    " | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
"""What answers a query: the pool, or a connection within a transaction."""

COMMAND_S: Final = 30.0
"""The deadline of a statement that does not set its own."""
ACQUIRE_S: Final = 5.0
_CONNECT_S: Final = 10.0
_LOCK_S: Final = 300.0
_LOCK: Final = 0x446F6F72
"""The advisory lock that lets one process migrate: "Door" in ASCII."""
_START_LOCK: Final = 0x44777253
"""The advisory lock for what processes share besides the schema: "DwrS" in ASCII."""
_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
)
"""What a server that is stopped, starting, full or unreachable looks like; OSError includes time-outs."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text: an applied step never changes."""
        return hashlib.sha256(self.sql.encode()).digest()


def known_migrations(folder: Traversable | None = None) -> list[Migration]:
    """Read the migrations that this program ships, in order of their number."""
    found = []
    for entry in (folder or files("cloud") / "migrations").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def open_pool(url: str, *, size: int) -> Pool:
    """Connect, and refuse a server that would lose what it has answered.

    Sessions keep no state of their own between uses (no SET, no temporary table, no LISTEN, no session lock), so a
    connection goes back to the pool without a round trip.

    Raises:
        CloudError: DATABASE_UNAVAILABLE or DATABASE_NOT_DURABLE.
    """
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=min(2, size),
            max_size=size,
            command_timeout=COMMAND_S,
            timeout=_CONNECT_S,
            reset=_keep_session,
            server_settings={"synchronous_commit": "on", "application_name": "doorward-cloud", "timezone": "UTC"},
        )
    except (*AWAY, asyncpg.PostgresError) as error:
        remedy = "Check that it runs, and where DATABASE_URL is set, that this is its address."
        what = f"Cannot connect to PostgreSQL: {error}."
        raise CloudError(Reason.DATABASE_UNAVAILABLE, what, remedy=remedy) from error
    settings = {name: await pool.fetchval(f"SHOW {name}") for name in ("fsync", "full_page_writes")}
    weak = [name for name, value in settings.items() if value != "on"]
    if weak:
        await pool.close()
        what = f"The database runs with {' and '.join(weak)} off, so a power cut could lose events."
        raise CloudError(Reason.DATABASE_NOT_DURABLE, what, remedy="Turn it on.")
    return pool


async def close_pool(pool: Pool, *, deadline_s: float) -> None:
    """Close every connection, by force after the deadline."""
    try:
        async with asyncio.timeout(deadline_s):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def migrate(pool: Pool, migrations: Sequence[Migration] | None = None) -> int:
    """Bring the schema up to date; one process at a time, each step in its own transaction.

    Returns:
        the schema's version: the highest applied number.

    Raises:
        CloudError: SCHEMA_TOO_NEW when a newer program has been here, SCHEMA_CHANGED when an applied step was edited.
    """
    steps = known_migrations() if migrations is None else migrations
    async with pool.acquire(timeout=ACQUIRE_S) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_LOCK_S)
        try:
            await _apply(connection, steps)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return max((step.number for step in steps), default=0)


@asynccontextmanager
async def alone(pool: Pool) -> AsyncIterator[None]:
    """Let one process at a time make what all of them share (CA, operator token, certificates), inside the block."""
    async with pool.acquire(timeout=ACQUIRE_S) as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", _START_LOCK, timeout=_LOCK_S)
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _START_LOCK)


async def schema_version(connection: Connection) -> int:
    """Give the highest applied number."""
    version = await connection.fetchval("SELECT coalesce(max(number), 0) FROM schema_migrations")
    return int(version)


async def _apply(connection: Connection, steps: Sequence[Migration]) -> None:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations ("
        " number integer PRIMARY KEY, name text NOT NULL, digest bytea NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = await connection.fetch("SELECT number, digest FROM schema_migrations")
    applied = {int(row["number"]): bytes(row["digest"]) for row in rows}
    _check_known(applied, steps)
    for step in steps:
        if step.number in applied:
            continue
        async with connection.transaction():
            await connection.execute(step.sql, timeout=_LOCK_S)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, digest) VALUES ($1, $2, $3)",
                step.number,
                step.name,
                step.digest,
            )


def _check_known(applied: dict[int, bytes], steps: Sequence[Migration]) -> None:
    known = {step.number: step for step in steps}
    newer = sorted(applied.keys() - known.keys())
    if newer:
        what = f"The database has schema {newer[-1]:04d}, which this version of Doorward does not know."
        raise CloudError(Reason.SCHEMA_TOO_NEW, what, remedy="Install the version that made it, or a newer one.")
    changed = [step for number, step in known.items() if number in applied and applied[number] != step.digest]
    if changed:
        name = f"{changed[0].number:04d}_{changed[0].name}"
        what = f"The migration {name} is not the one that was applied."
        raise CloudError(Reason.SCHEMA_CHANGED, what, remedy="Restore its text and add a new number instead.")


async def _keep_session(_connection: Connection) -> None:
    """Give a connection back as it is."""
