"""The daily look at every institution's keys: rotate what is due, sign policies again after their key has changed.

Invariant: an institution whose root is offline keeps working with the keys it has, and is reported until they are
replaced.
Must not: stop because one institution cannot be served.
"""

import asyncio
from typing import Final

import structlog

from cloud.database import AWAY, Pool
from cloud.errors import CloudError, Reason
from cloud.health import Check
from cloud.issuing.service import Issuing
from wire.names import Tenant

LOOK_S: Final = 86_400.0
_LOG: Final = structlog.get_logger(__name__)


class Upkeep:
    """Looks after the keys.

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
        """Look at every institution once."""
        try:
            rows = await self._pool.fetch("SELECT id FROM institutions ORDER BY id")
        except AWAY as error:
            _LOG.warning("keys_not_looked_at", error=str(error))
            return
        waiting = []
        for row in rows:
            tenant = Tenant(row["id"])
            try:
                await self._look_at(tenant)
            except CloudError as error:
                _LOG.warning("keys_need_attention", tenant=tenant, reason=error.reason.name, detail=error.detail)
                if error.reason is Reason.ROOT_OFFLINE:
                    waiting.append(tenant)
            except AWAY as error:
                _LOG.warning("keys_not_looked_at", tenant=tenant, error=str(error))
        self._waiting_for_root = waiting

    async def check(self) -> Check:
        """Tell `/health` how many institutions wait for their root; their doors work until the old keys end."""
        count = len(self._waiting_for_root)
        detail = f"{count} institutions need their root key to replace signing keys; see the log." if count else None
        return Check(ok=True, value=count, detail=detail)

    async def _look_at(self, tenant: Tenant) -> None:
        due = await self._issuing.trust.roles_due(tenant)
        if due:
            published = await self._issuing.rotate(tenant, due)
            _LOG.info("keys_rotated", tenant=tenant, roles=[role.value for role in due], version=published.version)
        again = await self._issuing.sign_policies_again(tenant)
        if again:
            _LOG.info("policies_signed_again", tenant=tenant, doors=again)
