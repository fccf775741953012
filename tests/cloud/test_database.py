"""Migrations and the demands on a database."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from cloud.cluster import Places, PrivateCluster, find_programs
from cloud.cluster.layout import Layout, server_command
from cloud.cluster.owner import choose_owner
from cloud.cluster.postmaster import Launch
from cloud.database import Migration, close_pool, known_migrations, migrate, open_pool, schema_version
from cloud.errors import CloudError, Reason
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.database import Pool

_ONE = Migration(1, "one", "CREATE TABLE one (id integer)")
_TWO = Migration(2, "two", "CREATE TABLE two (id integer)")
_SCHEMA = """
    SELECT string_agg(table_name || '.' || column_name || ' ' || data_type, ', ' ORDER BY table_name, ordinal_position)
    FROM information_schema.columns WHERE table_schema = 'public'
"""


@pytest.fixture(name="pool")
async def _pool(empty_database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(empty_database_url, size=2)
    yield pool
    await close_pool(pool, deadline_s=DEADLINE_S)


async def test_the_whole_schema_comes_up_from_empty_and_a_second_time_changes_nothing(pool: Pool):
    version = await migrate(pool)
    before = await pool.fetchval(_SCHEMA)
    assert await migrate(pool) == version
    assert await pool.fetchval(_SCHEMA) == before
    assert version == known_migrations()[-1].number
    async with pool.acquire() as connection:
        assert await schema_version(connection) == version


async def test_every_table_of_a_tenant_says_whose_its_rows_are(pool: Pool):
    await migrate(pool)
    shared = {"institutions", "operator_tokens", "schema_migrations", "backups"}
    rows = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    owned = await pool.fetch("SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'")
    assert {row["relname"] for row in rows} - shared == {row["table_name"] for row in owned}


async def test_only_the_missing_steps_are_applied_in_order_of_their_number(pool: Pool):
    await migrate(pool, [_TWO])
    assert await migrate(pool, [_ONE, _TWO]) == 2
    assert await pool.fetchval("SELECT count(*) FROM schema_migrations") == 2


async def test_a_step_that_fails_leaves_nothing_behind(pool: Pool):
    broken = Migration(2, "broken", "CREATE TABLE half (id integer); SELECT 1/0")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(pool, [_ONE, broken])
    assert await pool.fetchval("SELECT to_regclass('half')") is None
    assert await migrate(pool, [_ONE, _TWO]) == 2


async def test_a_schema_from_a_newer_program_is_refused(pool: Pool):
    await migrate(pool, [_ONE, _TWO])
    with pytest.raises(CloudError) as caught:
        await migrate(pool, [_ONE])
    assert caught.value.reason is Reason.SCHEMA_TOO_NEW
    assert "0002" in caught.value.detail


async def test_a_step_that_was_edited_after_it_was_applied_is_refused(pool: Pool):
    await migrate(pool, [_ONE])
    with pytest.raises(CloudError) as caught:
        await migrate(pool, [Migration(1, "one", "CREATE TABLE other (id integer)")])
    assert caught.value.reason is Reason.SCHEMA_CHANGED


async def test_two_processes_that_migrate_at_once_apply_each_step_once(pool: Pool, empty_database_url: str):
    other = await open_pool(empty_database_url, size=2)
    versions = await asyncio.gather(migrate(pool), migrate(other))
    await close_pool(other, deadline_s=DEADLINE_S)
    assert versions[0] == versions[1]


async def test_connections_wait_for_the_disk_whatever_the_database_says(pool: Pool):
    name = await pool.fetchval("SELECT current_database()")
    await pool.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await pool.expire_connections()
    assert await pool.fetchval("SHOW synchronous_commit") == "on"


async def test_an_unreachable_server_is_a_sentence():
    error = await _refusal("postgresql://nobody@/nothing?host=/nonexistent")
    assert error.reason is Reason.DATABASE_UNAVAILABLE
    assert "DATABASE_URL" in error.remedy


async def test_a_pool_that_is_in_use_is_closed_by_force_at_the_deadline(empty_database_url: str):
    pool = await open_pool(empty_database_url, size=2)
    busy = await pool.acquire()
    await close_pool(pool, deadline_s=0.05)
    with pytest.raises(asyncpg.InterfaceError):
        await busy.fetchval("SELECT 1")


async def test_a_server_that_could_lose_what_it_answered_is_refused(state: Path):
    cluster = PrivateCluster(state)
    await cluster.start(lambda _: None)
    url = cluster.url()
    await cluster.stop()
    async with _careless_server(Layout(state)):
        error = await _refusal(url)
    assert error.reason is Reason.DATABASE_NOT_DURABLE
    assert "fsync" in error.detail


async def _refusal(url: str) -> CloudError:
    with pytest.raises(CloudError) as caught:
        (await open_pool(url, size=1)).terminate()
    return caught.value


@asynccontextmanager
async def _careless_server(layout: Layout) -> AsyncIterator[None]:
    """Run a server of the same data without fsync."""
    command = server_command(layout, find_programs(Places()), socket_folder=layout.run, connections=10)
    careless = tuple("fsync=off" if part == "fsync=on" else part for part in command)
    since = layout.log_size()
    process = Launch(command=careless, owner=choose_owner(), folder=layout.data, output=layout.log).start()
    await until(lambda: "ready to accept connections" in layout.words(since=since))
    yield
    process.terminate()
    await until(lambda: process.poll() is not None)
