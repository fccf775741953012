"""`python -m tests.faults.odd_cloud [ODDITY...] -- ARGUMENTS of doorward cloud serve`: the cloud with a part replaced.

A clock that jumps is a fault; the others are negative controls, clouds that break the promise. None is an option of the
product: they are put in here, in a process of the suite's own.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg

import cloud.app
import cloud.database
from cloud.app import utc_now
from cloud.events.ingest import Ingest
from doorward.main import app
from wire.batch import Acknowledgement, seal_acknowledgement

if TYPE_CHECKING:
    from cloud.devices.guard import DeviceIdentity

ACKNOWLEDGES_EARLY: Final = "--acknowledges-before-commit"
COMMITS_ASYNCHRONOUSLY: Final = "--synchronous-commit-off"
CLOCK: Final = "--clock-offset-file="


SOON_S: Final = 0.05


class EarlyIngest(Ingest):
    """Acknowledges a batch once it is read, and stores it soon, in larger groups. NEVER to be done."""

    _storing: set[asyncio.Task[bytes]]

    async def submit(self, who: DeviceIdentity, body: bytes) -> bytes:
        """Answer at once."""
        signer = await self._acknowledgers(who.tenant)
        batch = await self._read(who, body)
        self._storing = {*getattr(self, "_storing", ()), asyncio.create_task(self._store_soon(who, body))}
        self._storing = {task for task in self._storing if not task.done()}
        early = Acknowledgement(
            device=batch.device,
            epoch=batch.epoch,
            durable=batch.last,
            head=batch.head,
            backed_up=0,
            issued_at_ms=int(self._now().timestamp() * 1000),
        )
        return seal_acknowledgement(early, signer)

    async def _store_soon(self, who: DeviceIdentity, body: bytes) -> bytes:
        await asyncio.sleep(SOON_S)
        return await super().submit(who, body)


async def _weak_pool(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - as asyncpg's
    """Open a pool whose commits are answered before they are on the disk. NEVER to be done."""
    named["server_settings"] = {**named["server_settings"], "synchronous_commit": "off"}
    return await asyncpg.create_pool(*given, **named)


class _WeakAsyncpg:
    """asyncpg with another `create_pool`."""

    create_pool = staticmethod(_weak_pool)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
        return getattr(asyncpg, name)


def _moved_now(file: Path) -> datetime:
    """Read a wall clock that a file moves by milliseconds."""
    try:
        offset_ms = int(file.read_text())
    except (OSError, ValueError):
        offset_ms = 0
    return utc_now() + timedelta(milliseconds=offset_ms)


def main() -> int:
    """Put the odd parts in and serve."""
    place = sys.argv.index("--")
    for oddity in sys.argv[1:place]:
        if oddity == ACKNOWLEDGES_EARLY:
            setattr(cloud.app, "Ingest", EarlyIngest)  # noqa: B010 - a part that its module does not offer
        elif oddity == COMMITS_ASYNCHRONOUSLY:
            setattr(cloud.database, "asyncpg", _WeakAsyncpg())  # noqa: B010 - likewise
        elif oddity.startswith(CLOCK):
            now = partial(_moved_now, Path(oddity.removeprefix(CLOCK)))
            cloud.app.open_state = partial(cloud.app.open_state, now=now)
        else:
            raise SystemExit(oddity)
    return app(["cloud", "serve", *sys.argv[place + 1 :]])


if __name__ == "__main__":
    sys.exit(main())
