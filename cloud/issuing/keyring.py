"""Which key of a tenant signs now, and the change from one key to the next.

Invariant: a key signs only while a trust bundle that lists it has been out for `OVERLAP`, except where no older key is
left; only keys of the bundle ever sign.
Must not: hold private keys; the key store does. Source: docs/spec/trust.md.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cloud.database import Connection, Pool, Source
from cloud.errors import CloudError, Reason
from cloud.issuing.keys import KeyRole, KeyStore
from wire.codec import decode, encode
from wire.keys import PublicKey, Signer, parse_key
from wire.names import Tenant

LIFETIME: Final = timedelta(days=400)
"""How long a key is believed."""
OVERLAP: Final = timedelta(days=14)
"""How long a new key is published before it signs: a door may be off the network that long and miss nothing."""
RENEW_BEFORE: Final = timedelta(days=60)
"""A key is replaced this long before its end: the overlap, and the longest pass (31 days) signed on its last day."""
ROOT_LIFETIME: Final = timedelta(days=20 * 365)
BACKDATE: Final = timedelta(hours=1)
"""A door's clock may be behind ours when a key is new."""
_REMEMBER_S: Final = 60.0
"""Far shorter than `OVERLAP`, so that no two processes disagree for long."""
_MAX_REMEMBERED: Final = 50_000
_MAX_KEY_BYTES: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """The public half of a tenant's key and its times."""

    role: KeyRole
    key: PublicKey
    not_before: datetime
    signs_from: datetime
    expires_at: datetime


def choose(keys: Iterable[RegisteredKey], role: KeyRole, now: datetime) -> RegisteredKey | None:
    """Give the newest key of a role that may sign now; None when there is none."""
    usable = [key for key in keys if key.role is role and key.signs_from <= now < key.expires_at]
    return max(usable, key=lambda key: key.signs_from, default=None)


def is_due(keys: Iterable[RegisteredKey], role: KeyRole, now: datetime) -> bool:
    """Tell whether a role's last key is about to end."""
    ends = [key.expires_at for key in keys if key.role is role]
    return not ends or max(ends) - now < RENEW_BEFORE


class Keyring:
    """The tenants' keys.

    Args:
        pool: the database, which knows the public halves.
        store: where the private halves are.
        now: the wall clock.
        monotonic_s: a clock that never goes back.
    """

    def __init__(
        self, pool: Pool, store: KeyStore, *, now: Callable[[], datetime], monotonic_s: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._store = store
        self._now = now
        self._monotonic_s = monotonic_s
        self._remembered: dict[tuple[Tenant, KeyRole], tuple[float, Signer]] = {}

    async def signer(self, tenant: Tenant, role: KeyRole) -> Signer:
        """Give the key with which a tenant signs now.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, KEY_UNUSABLE, or ROOT_OFFLINE for the root.
        """
        until_s, signer = self._remembered.get((tenant, role), (0.0, None))
        if signer is not None and self._monotonic_s() < until_s:
            return signer
        keys = await self.registered(self._pool, tenant)
        return self._remember(tenant, role, self.choose_signer(keys, tenant, role))

    def choose_signer(self, keys: Iterable[RegisteredKey], tenant: Tenant, role: KeyRole) -> Signer:
        """Give the signer among registered keys.

        Raises:
            CloudError: as `signer`.
        """
        chosen = choose(keys, role, self._now())
        if chosen is None:
            detail = (
                f"Institution {tenant} has no valid {role.value} key any more; rotate its keys with the root at hand."
            )
            raise CloudError(Reason.KEY_UNUSABLE, detail)
        return self._store.signer(tenant, role, chosen.key.key_id)

    async def root_key(self, tenant: Tenant) -> PublicKey:
        """Give the public root key, which a door pins; the private one may be offline.

        Raises:
            CloudError: INSTITUTION_UNKNOWN.
        """
        keys = await self.registered(self._pool, tenant)
        return next(key.key for key in keys if key.role is KeyRole.ROOT)

    async def registered(self, source: Source, tenant: Tenant) -> list[RegisteredKey]:
        """Read a tenant's keys, oldest first.

        Raises:
            CloudError: INSTITUTION_UNKNOWN.
        """
        rows = await source.fetch(
            "SELECT role, public_key, not_before, signs_from, expires_at FROM signing_keys"
            " WHERE tenant_id = $1 ORDER BY signs_from, key_id",
            tenant,
        )
        if not rows:
            raise CloudError(Reason.INSTITUTION_UNKNOWN, f"There is no institution {tenant!r}; make it first.")
        return [
            RegisteredKey(
                role=KeyRole(row["role"]),
                key=parse_key(decode(row["public_key"], field="key", max_bytes=_MAX_KEY_BYTES), "key"),
                not_before=row["not_before"],
                signs_from=row["signs_from"],
                expires_at=row["expires_at"],
            )
            for row in rows
        ]

    async def add(
        self, connection: Connection, tenant: Tenant, role: KeyRole, *, signs_from: datetime
    ) -> RegisteredKey:
        """Make a key that signs from now or later on and register it, within the caller's transaction."""
        public = await asyncio.to_thread(self._store.make, tenant, role)
        lifetime = ROOT_LIFETIME if role is KeyRole.ROOT else LIFETIME
        now = self._now()
        added = RegisteredKey(
            role=role, key=public, not_before=now - BACKDATE, signs_from=signs_from, expires_at=now + lifetime
        )
        await connection.execute(
            "INSERT INTO signing_keys (tenant_id, role, key_id, public_key, not_before, signs_from, expires_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            tenant,
            role.value,
            bytes(public.key_id),
            encode(public.to_cose()),
            added.not_before,
            added.signs_from,
            added.expires_at,
        )
        return added

    def forget(self, tenant: Tenant) -> None:
        """Ask the database again for this tenant's keys."""
        for name in [name for name in self._remembered if name[0] == tenant]:
            del self._remembered[name]

    def _remember(self, tenant: Tenant, role: KeyRole, signer: Signer) -> Signer:
        if role is not KeyRole.ROOT:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[tenant, role] = (self._monotonic_s() + _REMEMBER_S, signer)
        return signer


async def lock_institution(connection: Connection, tenant: Tenant) -> None:
    """Let one transaction at a time change a tenant's keys and documents.

    Raises:
        CloudError: INSTITUTION_UNKNOWN.
    """
    known = await connection.fetchval("SELECT id FROM institutions WHERE id = $1 FOR NO KEY UPDATE", tenant)
    if known is None:
        raise CloudError(Reason.INSTITUTION_UNKNOWN, f"There is no institution {tenant!r}; make it first.")
