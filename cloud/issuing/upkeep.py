"""The daily look at every institution: rotate what is due, sign again what doors would take for old, forget commands.

Invariant: an institution whose root is offline keeps working with the keys it has, and is reported until they are
replaced.
Must not: stop because one institution cannot be served, or because the database refuses.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import asyncpg
import structlog

from cloud.database import ACQUIRE_S, AWAY, Pool
from cloud.errors import CloudError, Reason
from cloud.health import Check
from cloud.issuing.service import Issuing
from wire.names import Tenant

LOOK_S: Final = 86_400.0
_LOCK: Final = 0x4477724B
"""The advisory lock that lets one process look, lest two make a new key each: "DwrK" in ASCII."""
_REFUSED: Final = (*AWAY, asyncpg.PostgresError)
_REMEDY: Final = "the next look, in a day, tries again; a restart of the cloud looks at once"
_LOG: Final = structlog.get_logger(__name__)


class Upkeep:
    """Looks after keys and commands.

    Args:
        pool: the database.
        issuing: the keys.
    """

    def __init__(self, pool: Pool, issuing: Issuing) -> None:
        self._pool = pool
        self._issuing = issuing
        self._waiting_for_root: list[Tenant] = []

    async def run(self) -> None:
        """Look at once and then every day; runs until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look at every institution once; when another process is about it, leave it to that one."""
        try:
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
                if await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
                    await self._look(await connection.fetch("SELECT id FROM institutions ORDER BY id"))
        except _REFUSED as error:
            _LOG.warning("keys_not_looked_at", error=str(error), remedy=_REMEDY)

    async def _look(self, rows: Sequence[asyncpg.Record]) -> None:
        waiting = []
        for row in rows:
            tenant = Tenant(row["id"])
            try:
                await self._tidy(tenant)  # first: it waits for no key
                await self._look_at(tenant)
            except CloudError as error:
                _LOG.warning("keys_need_attention", tenant=tenant, reason=error.reason.name, detail=error.detail)
                if error.reason is Reason.ROOT_OFFLINE:
                    waiting.append(tenant)
            except _REFUSED as error:
                _LOG.warning("keys_not_looked_at", tenant=tenant, error=str(error), remedy=_REMEDY)
            except Exception as error:  # noqa: BLE001 - the supervisor of the look: a fault costs one institution, not the service
                _LOG.error("keys_look_failed", tenant=tenant, remedy=_REMEDY, exc_info=error)
        self._waiting_for_root = waiting

    async def check(self) -> Check:
        """Tell `/health` how many institutions wait for their root; their doors work until the old keys end."""
        count = len(self._waiting_for_root)
        detail = f"{count} institutions need their root key to replace signing keys; see the log." if count else None
        return Check(ok=True, value=count, detail=detail)

    async def _look_at(self, tenant: Tenant) -> None:
        again = await self._issuing.sign_policies_again(tenant)
        if again:
            _LOG.info("policies_signed_again", tenant=tenant, doors=again)
        due = await self._issuing.trust.roles_due(tenant)
        if due or await self._issuing.trust.is_behind(tenant):
            published = await self._issuing.rotate(tenant, due)
            _LOG.info("keys_rotated", tenant=tenant, roles=[role.value for role in due], version=published.version)

    async def _tidy(self, tenant: Tenant) -> None:
        gone = await self._issuing.commands.forget_old(tenant)
        if gone:
            _LOG.info("commands_forgotten", tenant=tenant, commands=gone)
