"""The trust bundles of a tenant: built when its keys change, stored as signed, served as stored.

Invariant: versions rise by one, and what has been served under a version never changes.
Must not: need the root for anything but a change.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cloud.database import ACQUIRE_S, Connection, Pool, Source
from cloud.errors import CloudError, Reason
from cloud.issuing.keyring import OVERLAP, Keyring, RegisteredKey, choose, is_due, lock_institution
from cloud.issuing.keys import ONLINE_ROLES, KeyRole
from wire.keys import Signer
from wire.names import Tenant
from wire.trust import MAX_KEYS, PinnedTrust, TrustBundle, TrustedKey, encode_pinned, seal_trust

_ROOM: Final = MAX_KEYS - 1
"""For a tenant's keys beside the device CA's."""
_FOR_DUE: Final = len(ONLINE_ROLES)
"""Places kept for keys that are due: rotations by hand must not leave the daily look (upkeep.py) without room."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed document at one version; `version` is its ETag."""

    version: int
    data: bytes


class Trust:
    """Makes, changes and serves trust bundles.

    Args:
        pool: the database.
        keyring: the tenants' keys.
        authority: the device CA's key, which doors believe for the cloud's TLS.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, keyring: Keyring, authority: TrustedKey, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._keyring = keyring
        self._authority = authority
        self._now = now

    async def found(self, connection: Connection, tenant: Tenant) -> None:
        """Make a new institution's keys and its first bundle, in the transaction that makes the institution.

        Raises:
            CloudError: STATE_UNUSABLE.
        """
        now = self._now()
        keys = [await self._keyring.add(connection, tenant, role, signs_from=now) for role in KeyRole]
        root = self._keyring.choose_signer(keys, tenant, KeyRole.ROOT)
        await self._publish(connection, tenant, keys, root)

    async def rotate(self, tenant: Tenant, roles: Sequence[KeyRole]) -> Signed:
        """Add a new key for each role and publish the bundle that lists old and new ones.

        The new key signs after `OVERLAP`; at once where no valid key is left.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, or ROOT_OFFLINE or TRUST_FULL with what to do; nothing is changed then.
        """
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            await lock_institution(connection, tenant)
            keys = await self._keyring.registered(connection, tenant)
            root = self._keyring.choose_signer(keys, tenant, KeyRole.ROOT)
            now = self._now()
            _require_room(tenant, keys, roles, now)
            for role in roles:
                signs_from = now + OVERLAP if choose(keys, role, now + OVERLAP) else now
                keys.append(await self._keyring.add(connection, tenant, role, signs_from=signs_from))
            published = await self._publish(connection, tenant, keys, root)
        self._keyring.forget(tenant)
        return published

    async def roles_due(self, tenant: Tenant) -> list[KeyRole]:
        """Give the roles whose last key is about to end and should be rotated.

        Raises:
            CloudError: INSTITUTION_UNKNOWN.
        """
        keys = await self._keyring.registered(self._pool, tenant)
        return [role for role in ONLINE_ROLES if is_due(keys, role, self._now())]

    async def is_behind(self, tenant: Tenant) -> bool:
        """Tell whether doors may hold a newer bundle than ours, because we were restored from a backup."""
        return bool(
            await self._pool.fetchval(
                "SELECT version_floor > coalesce((SELECT max(version) FROM trust_bundles WHERE tenant_id = $1), 0)"
                " FROM institutions WHERE id = $1",
                tenant,
            )
        )

    async def current(self, source: Source, tenant: Tenant) -> Signed:
        """Give the newest bundle.

        Raises:
            CloudError: INSTITUTION_UNKNOWN.
        """
        row = await source.fetchrow(
            "SELECT version, bundle FROM trust_bundles WHERE tenant_id = $1 ORDER BY version DESC LIMIT 1", tenant
        )
        if row is None:
            raise CloudError(Reason.INSTITUTION_UNKNOWN, f"There is no institution {tenant!r}; make it first.")
        return Signed(row["version"], row["bundle"])

    async def pinned(self, tenant: Tenant) -> Signed:
        """Give the trust file: root key and newest bundle, for a verifier that is given it by hand.

        Raises:
            CloudError: INSTITUTION_UNKNOWN.
        """
        signed = await self.current(self._pool, tenant)
        return Signed(signed.version, encode_pinned(PinnedTrust(await self._keyring.root_key(tenant), signed.data)))

    async def _publish(
        self, connection: Connection, tenant: Tenant, keys: Sequence[RegisteredKey], root: Signer
    ) -> Signed:
        now = self._now()
        last = await connection.fetchval(
            "SELECT greatest(version_floor, (SELECT max(version) FROM trust_bundles WHERE tenant_id = $1))"
            " FROM institutions WHERE id = $1",
            tenant,
        )
        version = (last or 0) + 1
        bundle = TrustBundle(
            tenant=tenant,
            version=version,
            issued_at_s=int(now.timestamp()),
            keys=(*(_trusted(key) for key in _listed(keys, now)), self._authority),
        )
        data = seal_trust(bundle, root)
        await connection.execute(
            "INSERT INTO trust_bundles (tenant_id, version, bundle, created_at) VALUES ($1, $2, $3, $4)",
            tenant,
            version,
            data,
            now,
        )
        return Signed(version, data)


def _require_room(tenant: Tenant, keys: Sequence[RegisteredKey], roles: Sequence[KeyRole], now: datetime) -> None:
    """Refuse keys that a bundle has no room for, before they are made."""
    ends = sorted(key.expires_at for key in _listed(keys, now))
    kept = 0 if all(is_due(keys, role, now) for role in roles) else _FOR_DUE
    excess = len(ends) + len(roles) + kept - _ROOM
    if excess > 0:
        detail = (
            f"Institution {tenant} has {len(ends)} signing keys that are still valid, and doors take no more than"
            f" {_ROOM}, of which {_FOR_DUE} are kept for keys that are due. Rotate again after"
            f" {ends[excess - 1]:%Y-%m-%d}, when enough of them have ended; until then they go on working."
        )
        raise CloudError(Reason.TRUST_FULL, detail)


def _listed(keys: Sequence[RegisteredKey], now: datetime) -> list[RegisteredKey]:
    """Give the keys that a bundle of now lists."""
    return [key for key in keys if key.role is not KeyRole.ROOT and key.expires_at > now]


def _trusted(key: RegisteredKey) -> TrustedKey:
    return TrustedKey(
        key=key.key,
        purpose=ONLINE_ROLES[key.role],
        not_before_s=int(key.not_before.timestamp()),
        expires_at_s=int(key.expires_at.timestamp()),
    )
