"""Make a backup of a cloud, running or not, and make a cloud from one.

Invariant: doors are told that their events are backed up only after every byte of the backup was read back and is on
the disk; a restoration ends with a complete state folder or with none.
Must not: touch a state folder that holds something.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cloud.backups import folder as folders
from cloud.backups import marks
from cloud.backups.models import Backup
from cloud.backups.tools import Tools, find_tools
from cloud.cluster import ClusterOptions, PrivateCluster
from cloud.cluster.programs import Places
from cloud.database import ACQUIRE_S, Pool, close_pool, known_migrations, migrate, open_pool, schema_version
from cloud.errors import CloudError, Reason
from cloud.files import make_folder

_CLOSE_S: Final = 5.0
_STATE_FOLDER: Final = 0o711
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """A complete backup, its folder, and the devices that may forget more events because of it."""

    backup: Backup
    folder: Path


async def back_up(
    state: Path, to: Path, *, database_url: str | None, now: Callable[[], datetime], progress: Progress
) -> MadeBackup:
    """Back up database and keys into a new folder below `to`.

    Args:
        state: the cloud's state folder.
        to: where backups lie; made when missing.
        database_url: the operator's PostgreSQL; None for the private cluster, which is started when nobody runs it.
        now: the wall clock.
        progress: is told, in sentences, what takes long.

    Raises:
        CloudError: why there is no new backup; then no door forgets anything.
    """
    if not await asyncio.to_thread(_is_cloud, state):
        what = f"{state} is not the state folder of a cloud."
        raise CloudError(Reason.STATE_UNUSABLE, what, remedy="Name it with --state.")
    async with _database(state, database_url, progress) as url, _pool(url) as pool:
        schema, major = await _versions(pool)
        tools = await asyncio.to_thread(find_tools, Places(), at_least=major)
        begun = await marks.begin(pool, now=now())
        name = f"doorward-{begun.begun_at:%Y%m%dT%H%M%SZ}-{begun.id}"
        growing = folders.begin_folder(to, name)
        try:
            manifest = folders.Manifest(
                format=1,
                id=begun.id,
                begun_at=begun.begun_at,
                schema=schema,
                postgres=major,
                files=await _fill(growing, state, tools, url, progress),
            )
            final = await asyncio.to_thread(folders.finish_folder, growing, manifest)
        except BaseException:
            await asyncio.to_thread(folders.remove, growing)
            raise
        return MadeBackup(await marks.complete(pool, begun.id, now=now()), final)


async def restore(backup: Path, state: Path, *, now: Callable[[], datetime], progress: Progress) -> Backup:
    """Make a state folder with a private cluster from a backup.

    Args:
        backup: a folder that `back_up` made.
        state: the new state folder; it must not exist, or be empty.
        now: the wall clock.
        progress: is told, in sentences, what takes long.

    Raises:
        CloudError: why not; then the new state folder is empty again.
    """
    manifest = await asyncio.to_thread(folders.read_backup, backup)
    newest = max(migration.number for migration in known_migrations())
    if manifest.schema > newest:
        what = f"The backup has schema {manifest.schema}, this program knows {newest}."
        raise CloudError(Reason.SCHEMA_TOO_NEW, what, remedy="Restore it with a newer version of Doorward.")
    if await asyncio.to_thread(_is_taken, state):
        what = f"{state} holds something already."
        remedy = "Name another folder with --state: a backup is restored into a new folder only."
        raise CloudError(Reason.STATE_UNUSABLE, what, remedy=remedy)
    tools = await asyncio.to_thread(find_tools, Places(), at_least=manifest.postgres)
    try:
        return await _restore(backup, state, manifest, tools, now=now, progress=progress)
    except BaseException:
        await asyncio.to_thread(folders.remove, state)
        raise


async def _restore(
    backup: Path,
    state: Path,
    manifest: folders.Manifest,
    tools: Tools,
    *,
    now: Callable[[], datetime],
    progress: Progress,
) -> Backup:
    make_folder(state, mode=_STATE_FOLDER)
    async with _database(state, None, progress) as url:
        progress("Loading the database.")
        await tools.load(url, backup / folders.DUMP)
        async with _pool(url) as pool:
            await migrate(pool)
            await asyncio.to_thread(folders.copy_keys, backup, state)
            await marks.pass_lost_versions(pool)
            return await marks.complete(pool, manifest.id, now=now())


async def _fill(growing: Path, state: Path, tools: Tools, url: str, progress: Progress) -> dict[str, str]:
    """Write dump and keys, and read the dump back; gives the hash of each file."""
    dump = growing / folders.DUMP
    # Twice: a key that the snapshot names may be retired while it is written, and one may be made.
    await asyncio.to_thread(folders.copy_keys, state, growing)
    progress("Writing the database to the backup.")
    await tools.dump(url, dump)
    await asyncio.to_thread(folders.copy_keys, state, growing)
    progress("Reading the backup through.")
    await tools.read_through(dump)
    return await asyncio.to_thread(folders.hashes, growing)


@asynccontextmanager
async def _database(state: Path, database_url: str | None, progress: Progress) -> AsyncIterator[str]:
    """Give the address of the database, starting the private cluster for as long as it takes if nobody runs it."""
    cluster = PrivateCluster(state, ClusterOptions())
    url = database_url or cluster.running_url()
    if url is not None:
        yield url
        return
    try:
        yield await cluster.start(progress)
    finally:
        await cluster.stop()


@asynccontextmanager
async def _pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url, size=2)
    try:
        yield pool
    finally:
        await close_pool(pool, deadline_s=_CLOSE_S)


async def _versions(pool: Pool) -> tuple[int, int]:
    """Give the versions of schema and server.

    Raises:
        CloudError: BACKUP_FAILED when the schema is not ours: this program does not know what belongs together in it.
    """
    newest = max(migration.number for migration in known_migrations())
    async with pool.acquire(timeout=ACQUIRE_S) as connection:
        known = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
        schema = await schema_version(connection) if known else 0
        number = int(await connection.fetchval("SHOW server_version_num"))
    if schema != newest:
        what = f"The database has schema {schema}, this program knows {newest}."
        remedy = "Back it up with the version of Doorward that serves it."
        raise CloudError(Reason.BACKUP_FAILED, what, remedy=remedy)
    return schema, number // 10_000


def _is_cloud(state: Path) -> bool:
    return (state / "operator.token").exists()


def _is_taken(state: Path) -> bool:
    return state.exists() and (not state.is_dir() or any(state.iterdir()))
