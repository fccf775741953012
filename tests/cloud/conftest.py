"""One private PostgreSQL for all tests of the cloud, a fresh database for each module."""

from __future__ import annotations

import asyncio
import shutil
from itertools import count
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from cloud.cluster import ClusterOptions, PrivateCluster
from cloud.database import migrate, open_pool
from cloud.settings import CloudSettings
from tests.support.clouds import LOOPBACK, RunningCloud, reachable_folder, running_cloud

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_TEMPLATE = "doorward_template"
_numbers = count(1)


@pytest.fixture
def state() -> Iterator[Path]:
    """An empty state folder."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[PrivateCluster]:
    """A cluster with one migrated database to copy."""
    folder = reachable_folder()
    cluster = PrivateCluster(folder, ClusterOptions(start_s=120))
    asyncio.run(cluster.start(lambda _: None))
    asyncio.run(_make_template(cluster))
    yield cluster
    asyncio.run(cluster.stop())
    shutil.rmtree(folder)


@pytest.fixture
async def own_cluster(state: Path) -> AsyncIterator[PrivateCluster]:
    """A cluster of the test's own, not yet started; stopped afterwards whatever happens."""
    cluster = PrivateCluster(state, ClusterOptions(start_s=120))
    yield cluster
    await cluster.stop()


@pytest.fixture(scope="module")
def database_url(cluster: PrivateCluster) -> Iterator[str]:
    """A fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    asyncio.run(_execute(cluster, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}"))
    yield cluster.url(name)
    asyncio.run(_execute(cluster, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty_database_url(cluster: PrivateCluster) -> Iterator[str]:
    """A fresh database without a schema."""
    name = f"test_{next(_numbers)}"
    asyncio.run(_execute(cluster, f"CREATE DATABASE {name}"))
    yield cluster.url(name)
    asyncio.run(_execute(cluster, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(state: Path, database_url: str) -> CloudSettings:
    """Settings for a service on the module's database."""
    return CloudSettings(state=state, api=LOOPBACK, devices=LOOPBACK, database_url=database_url, shutdown_s=2)


@pytest.fixture
async def cloud(settings: CloudSettings) -> AsyncIterator[RunningCloud]:
    """A running service on the module's database."""
    async with running_cloud(settings) as cloud:
        yield cloud


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_cloud(database_url: str) -> AsyncIterator[RunningCloud]:
    """One running service for a whole module, whose tests then use institutions of their own."""
    state = reachable_folder()
    settings = CloudSettings(state=state, api=LOOPBACK, devices=LOOPBACK, database_url=database_url, shutdown_s=2)
    async with running_cloud(settings) as cloud:
        yield cloud
    shutil.rmtree(state)


async def _make_template(cluster: PrivateCluster) -> None:
    await _execute(cluster, f"CREATE DATABASE {_TEMPLATE}")
    pool = await open_pool(cluster.url(_TEMPLATE), size=1)
    await migrate(pool)
    await pool.close()


async def _execute(cluster: PrivateCluster, statement: str) -> None:
    connection = await asyncpg.connect(cluster.url())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
