"""Door policies: validated, signed, stored under rising versions.

Invariant: a version of a door's policy is signed once and never changes.
Must not: decide who is admitted; the door does.
"""

from collections.abc import Callable
from datetime import datetime

import asyncpg
import msgspec

from cloud.database import ACQUIRE_S, Connection, Pool, Source
from cloud.errors import CloudError, Reason
from cloud.issuing.keyring import Keyring
from cloud.issuing.keys import KeyRole
from cloud.issuing.policy_models import PolicyDocument, StoredPolicy, to_bundle
from cloud.issuing.trust import Signed
from wire.errors import WireError
from wire.names import DoorId, Tenant
from wire.policy import seal_policy


class Policies:
    """Makes and serves policies.

    Args:
        pool: the database.
        keyring: the tenants' keys.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, keyring: Keyring, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._keyring = keyring
        self._now = now

    async def put(self, tenant: Tenant, door: DoorId, document: PolicyDocument) -> int:
        """Give a door this policy, under a new version unless it is the one in force.

        Raises:
            CloudError: DOOR_UNKNOWN, POLICY_INVALID or KEY_UNUSABLE.
        """
        signer = await self._keyring.signer(tenant, KeyRole.POLICY)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            timezone = await _lock_door(connection, tenant, door)
            last = await _newest(connection, tenant, door)
            same_key = last is not None and last["key_id"] == bytes(signer.public_key.key_id)
            if last is not None and same_key and _document(last["document"]) == document:
                return int(last["version"])
            now = self._now()
            version = 1 if last is None else last["version"] + 1
            bundle = to_bundle(
                document,
                tenant=tenant,
                door=door,
                timezone=timezone,
                version=version,
                issued_at_s=int(now.timestamp()),
            )
            try:
                data = seal_policy(bundle, signer)
            except WireError as error:
                raise CloudError(Reason.POLICY_INVALID, f"A door could not read this policy ({error}).") from error
            await connection.execute(
                "INSERT INTO policies (tenant_id, door_id, version, document, key_id, bundle, created_at)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7)",
                tenant,
                door,
                version,
                msgspec.json.encode(document).decode(),
                bytes(signer.public_key.key_id),
                data,
                now,
            )
        return version

    async def sign_again(self, tenant: Tenant) -> int:
        """Sign every policy in force with the present key, after that key has changed; give how many were.

        Raises:
            CloudError: INSTITUTION_UNKNOWN or KEY_UNUSABLE.
        """
        signer = await self._keyring.signer(tenant, KeyRole.POLICY)
        rows = await self._pool.fetch(
            "SELECT DISTINCT ON (door_id) door_id, key_id, document FROM policies"
            " WHERE tenant_id = $1 ORDER BY door_id, version DESC",
            tenant,
        )
        old = [row for row in rows if row["key_id"] != bytes(signer.public_key.key_id)]
        for row in old:
            await self.put(tenant, DoorId(row["door_id"]), _document(row["document"]))
        return len(old)

    async def show(self, tenant: Tenant, door: DoorId) -> StoredPolicy:
        """Give the policy in force as it was written.

        Raises:
            CloudError: POLICY_UNKNOWN.
        """
        row = await _newest(self._pool, tenant, door)
        if row is None:
            raise _unknown(door)
        return StoredPolicy(version=row["version"], policy=_document(row["document"]))

    async def current(self, tenant: Tenant, door: DoorId) -> Signed:
        """Give the policy in force as it was signed.

        Raises:
            CloudError: POLICY_UNKNOWN.
        """
        row = await _newest(self._pool, tenant, door)
        if row is None:
            raise _unknown(door)
        return Signed(row["version"], row["bundle"])


async def _newest(source: Source, tenant: Tenant, door: DoorId) -> asyncpg.Record | None:
    return await source.fetchrow(
        "SELECT version, document, key_id, bundle FROM policies"
        " WHERE tenant_id = $1 AND door_id = $2 ORDER BY version DESC LIMIT 1",
        tenant,
        door,
    )


async def _lock_door(connection: Connection, tenant: Tenant, door: DoorId) -> str:
    """Let one transaction at a time change a door's policy; give the time zone."""
    timezone = await connection.fetchval(
        "SELECT institutions.timezone FROM doors JOIN institutions ON institutions.id = doors.tenant_id"
        " WHERE doors.tenant_id = $1 AND doors.id = $2 FOR NO KEY UPDATE OF doors",
        tenant,
        door,
    )
    if timezone is None:
        raise CloudError(Reason.DOOR_UNKNOWN, f"Institution {tenant} has no door {door!r}; make it first.")
    return str(timezone)


def _document(stored: str) -> PolicyDocument:
    return msgspec.json.decode(stored, type=PolicyDocument)


def _unknown(door: DoorId) -> CloudError:
    return CloudError(
        Reason.POLICY_UNKNOWN, f"Door {door} has no policy yet; give it one with PUT doors/{door}/policy."
    )
