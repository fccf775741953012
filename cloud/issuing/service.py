"""Issuing put together: keys, trust, status lists, policies, rosters, and the long poll that announces their changes.

Invariant: an institution that exists has all its keys, a trust bundle and a status list.
Must not: hold logic of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.database import Connection, Pool
from cloud.issuing.changes import Changes
from cloud.issuing.command_models import IssuedCommand, NewCommand
from cloud.issuing.commands import CommandDesk
from cloud.issuing.keyring import Keyring
from cloud.issuing.keys import FileKeyStore, KeyRole
from cloud.issuing.policy import Policies
from cloud.issuing.policy_models import PolicyDocument
from cloud.issuing.rosters import Rosters
from cloud.issuing.status import Status
from cloud.issuing.tokens import Tokens
from cloud.issuing.trust import Signed, Trust
from wire.keys import Signer, key_from_p256
from wire.names import DoorId, KeyPurpose, Tenant
from wire.trust import TrustedKey

TELL_EVERY_S: Final = 0.1
"""While many doors are given something: telling costs a look at the database, and each waiting door a comparison."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuing:
    """The parts."""

    keyring: Keyring
    trust: Trust
    status: Status
    tokens: Tokens
    policies: Policies
    rosters: Rosters
    commands: CommandDesk
    changes: Changes
    monotonic_s: Callable[[], float]

    async def found(self, connection: Connection, tenant: Tenant) -> None:
        """Give a new institution its keys, trust bundle and first status list, in the transaction that makes it.

        Raises:
            CloudError: STATE_UNUSABLE.
        """
        await self.trust.found(connection, tenant)
        await self.status.open_list(connection, tenant, 0)

    async def acknowledgement_signer(self, tenant: Tenant) -> Signer:
        """Give the key that acknowledges events.

        Raises:
            CloudError: INSTITUTION_UNKNOWN or KEY_UNUSABLE.
        """
        return await self.keyring.signer(tenant, KeyRole.ACKNOWLEDGEMENT)

    async def put_policy(self, tenant: Tenant, door: DoorId, document: PolicyDocument) -> int:
        """Give a door a policy and tell it; gives the version.

        Raises:
            CloudError: DOOR_UNKNOWN, POLICY_INVALID, POLICY_LOCKS_OUT or KEY_UNUSABLE.
        """
        version = await self.policies.put(tenant, door, document)
        self.changes.publish(tenant)
        return version

    async def lock_down(self, tenant: Tenant, doors: Sequence[DoorId], *, on: bool) -> dict[DoorId, int]:
        """Lock doors down or end that, and tell them; gives the version of each door's policy.

        Raises:
            CloudError: KEY_UNUSABLE.
        """
        await self.policies.order_lockdown(tenant, doors, on=on)
        return await self._tell_each(tenant, doors, lambda door: self.policies.sign_lockdown(tenant, door))

    async def give_command(self, tenant: Tenant, door: DoorId, new: NewCommand, *, key: str | None) -> IssuedCommand:
        """Sign a command to a door and tell it.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, DOOR_UNKNOWN, COMMAND_INVALID, COMMAND_CONFLICT or KEY_UNUSABLE.
        """
        issued = await self.commands.issue(tenant, door, new, key=key)
        self.changes.publish(tenant)
        return issued

    async def give_commands(
        self, tenant: Tenant, doors: Sequence[DoorId], new: NewCommand, *, key: str | None
    ) -> list[IssuedCommand]:
        """Sign a command to each of some doors and tell them; the same key gives each door's command again.

        Raises:
            CloudError: as `give_command`; doors before the one that failed were told.
        """
        issued = await self._tell_each(tenant, doors, lambda door: self.commands.issue(tenant, door, new, key=key))
        return [*issued.values()]

    async def _tell_each(
        self, tenant: Tenant, doors: Sequence[DoorId], sign: Callable[[DoorId], Awaitable[_T]]
    ) -> dict[DoorId, _T]:
        """Sign something for each door in turn; those that have theirs are told while others wait."""
        signed: dict[DoorId, _T] = {}
        told_s = -TELL_EVERY_S
        try:
            for door in doors:
                signed[door] = await sign(door)
                if self.monotonic_s() - told_s >= TELL_EVERY_S:
                    self.changes.publish(tenant)
                    told_s = self.monotonic_s()
        finally:
            self.changes.publish(tenant)
        return signed

    async def sign_policies_again(self, tenant: Tenant) -> int:
        """Sign policies whose key has changed, and tell the doors; gives how many.

        Raises:
            CloudError: INSTITUTION_UNKNOWN or KEY_UNUSABLE.
        """
        count = await self.policies.sign_again(tenant)
        if count:
            self.changes.publish(tenant)
        return count

    async def rotate(self, tenant: Tenant, roles: Sequence[KeyRole]) -> Signed:
        """Rotate keys and tell the doors; gives the new trust bundle.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, ROOT_OFFLINE or TRUST_FULL.
        """
        published = await self.trust.rotate(tenant, roles)
        self.changes.publish(tenant)
        return published


def open_issuing(
    pool: Pool,
    *,
    keys: Path,
    authority: x509.Certificate,
    now: Callable[[], datetime],
    monotonic_s: Callable[[], float],
    stopping: asyncio.Event,
) -> Issuing:
    """Put issuing together.

    Args:
        pool: the database.
        keys: STATE/keys.
        authority: the device CA, which the trust bundle lists.
        now: the wall clock.
        monotonic_s: a clock that never goes back.
        stopping: ends long polls.
    """
    keyring = Keyring(pool, FileKeyStore(keys), now=now, monotonic_s=monotonic_s)
    status = Status(pool, keyring, now=now)
    tokens = Tokens(status, monotonic_s=monotonic_s)
    rosters = Rosters(pool, keyring, now=now)
    commands = CommandDesk(pool, keyring, now=now)
    return Issuing(
        keyring=keyring,
        trust=Trust(pool, keyring, _listed(authority), now=now),
        status=status,
        policies=Policies(pool, keyring, now=now),
        rosters=rosters,
        commands=commands,
        tokens=tokens,
        changes=Changes(
            pool, status, rosters, commands, stopping=stopping, monotonic_s=monotonic_s, forget=tokens.forget
        ),
        monotonic_s=monotonic_s,
    )


def _listed(authority: x509.Certificate) -> TrustedKey:
    public = authority.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)  # noqa: S101 - we make no other CA
    return TrustedKey(
        key=key_from_p256(public),
        purpose=KeyPurpose.DEVICE_CA,
        not_before_s=int(authority.not_valid_before_utc.timestamp()),
        expires_at_s=int(authority.not_valid_after_utc.timestamp()),
    )
