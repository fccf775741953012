"""Is the service able to do its work, and if not, what is missing.

Invariant: every check ends within its deadline, and one that fails makes the whole unhealthy.
Must not: show secrets or anything of a tenant; the page is open to whoever reaches the API listener.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from cloud.database import AWAY, Pool, schema_version
from cloud.settings import MIB

CHECK_S: Final = 2.0
MIN_MEMORY_BYTES: Final = 64 * MIB
"""Below this the system is about to end processes."""
_KIB: Final = 1024


class Check(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One check's state. `detail` says what to do when it fails."""

    ok: bool
    detail: str | None = None
    latency_ms: float | None = None
    free_bytes: int | None = None
    available_bytes: int | None = None
    version: int | None = None
    value: int | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The whole: `status` is "ok" or "failing"."""

    status: str
    timestamp: datetime
    checks: Mapping[str, Check]

    @property
    def healthy(self) -> bool:
        """Whether every check holds."""
        return self.status == "ok"


_LOOK: Final = "see whether PostgreSQL runs, what its log says, and whether its disk keeps up."
_LATE: Final = Check(ok=False, detail=f"No answer within {CHECK_S:.0f} s; {_LOOK}")

HealthCheck = Callable[[], Awaitable[Check]]
"""A feature's own check; it is cut off after `CHECK_S`."""


async def examine(checks: Mapping[str, HealthCheck], *, now: datetime) -> Health:
    """Run all checks at the same time and wait no longer than `CHECK_S`.

    A late check is cancelled but not waited for: a hanging database delays even the end of a query.
    """
    tasks = {name: asyncio.create_task(_guarded(check)) for name, check in checks.items()}
    await asyncio.wait(tasks.values(), timeout=CHECK_S)
    found = {name: task.result() if task.done() else _LATE for name, task in tasks.items()}
    for task in tasks.values():
        task.cancel()
    return Health(status="ok" if all(check.ok for check in found.values()) else "failing", timestamp=now, checks=found)


def database_check(pool: Pool) -> HealthCheck:
    """Does a trivial query come back, and how fast."""

    async def check() -> Check:
        start_s = time.perf_counter()
        await pool.fetchval("SELECT 1", timeout=CHECK_S)
        return Check(ok=True, latency_ms=round((time.perf_counter() - start_s) * 1000, 3))

    return check


def schema_check(pool: Pool, *, expected: int) -> HealthCheck:
    """Is the schema still the one that this program knows."""

    async def check() -> Check:
        async with pool.acquire(timeout=CHECK_S) as connection:
            version = await schema_version(connection)
        detail = None if version == expected else f"This program knows schema {expected}; start the matching version."
        return Check(ok=version == expected, version=version, detail=detail)

    return check


def disk_check(state: Path, *, min_free_bytes: int) -> HealthCheck:
    """Is there room for what the doors will send."""

    async def check() -> Check:
        free = shutil.disk_usage(state).free
        enough = free >= min_free_bytes
        detail = None if enough else f"Less than {min_free_bytes // MIB} MiB are free; free some space."
        return Check(ok=enough, free_bytes=free, detail=detail)

    return check


def memory_check(meminfo: Path = Path("/proc/meminfo")) -> HealthCheck:
    """Is there memory left (proc(5), MemAvailable in KiB)."""

    async def check() -> Check:
        available = _available_bytes(meminfo)
        enough = available >= MIN_MEMORY_BYTES
        least = f"Less than {MIN_MEMORY_BYTES // MIB} MiB of memory are available"
        detail = None if enough else f"{least}; see what else runs on this machine, or give it more."
        return Check(ok=enough, available_bytes=available, detail=detail)

    return check


def _available_bytes(meminfo: Path) -> int:
    line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * _KIB


async def _guarded(check: HealthCheck) -> Check:
    try:
        return await check()
    except (*AWAY, asyncpg.PostgresError) as error:
        return Check(ok=False, detail=f"The database does not answer ({type(error).__name__}); {_LOOK}")
