"""Door policies: validated, signed, stored under rising versions.

Invariant: a version of a door's policy is signed once and never changes; none locks everybody out unless ordered.
Must not: decide who is admitted; the door does.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from cloud.database import ACQUIRE_S, Connection, Pool, Source
from cloud.errors import CloudError, Reason
from cloud.issuing.keyring import Keyring
from cloud.issuing.keys import KeyRole
from cloud.issuing.policy_bundle import to_bundle
from cloud.issuing.policy_models import PolicyDocument, StoredPolicy
from cloud.issuing.trust import Signed
from wire.errors import WireError
from wire.keys import Signer
from wire.names import DoorId, DoorMode, Tenant
from wire.policy import PolicyBundle, refuse_lockout, seal_policy

_ORDER: Final = """
    WITH ordered AS (SELECT id FROM doors WHERE tenant_id = $1 AND id = ANY($2) ORDER BY id FOR NO KEY UPDATE)
    UPDATE doors SET locked_down = $3 FROM ordered WHERE doors.tenant_id = $1 AND doors.id = ordered.id"""
"""Locked in one order, so that two orders at a time cannot deadlock."""


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
            CloudError: DOOR_UNKNOWN, POLICY_INVALID, POLICY_LOCKS_OUT or KEY_UNUSABLE.
        """
        version, _ = await self._put(tenant, door, document)
        return version

    async def order_lockdown(self, tenant: Tenant, doors: Sequence[DoorId], *, on: bool) -> None:
        """Keep that doors are locked down, or are no more; each door's policy is to be signed after it.

        The order is kept before anything is signed: what was begun and cut off is finished by the same order again.
        """
        await self._pool.execute(_ORDER, tenant, doors, on)

    async def sign_lockdown(self, tenant: Tenant, door: DoorId) -> int:
        """Sign a door's policy as it is ordered; gives its version, 0 for a door that has none and admits nobody.

        Raises:
            CloudError: DOOR_UNKNOWN or KEY_UNUSABLE.
        """
        version, _ = await self._put(tenant, door, None)
        return version

    async def sign_again(self, tenant: Tenant) -> int:
        """Sign every policy in force again whose key has changed or whose version doors may have passed; give how many.

        Raises:
            CloudError: INSTITUTION_UNKNOWN or KEY_UNUSABLE.
        """
        signer = await self._keyring.signer(tenant, KeyRole.POLICY)
        rows = await self._pool.fetch(
            "SELECT DISTINCT ON (door_id) door_id, key_id, version <= version_floor AS behind"
            " FROM policies JOIN institutions ON institutions.id = tenant_id"
            " WHERE tenant_id = $1 ORDER BY door_id, version DESC",
            tenant,
        )
        old = [row["door_id"] for row in rows if row["behind"] or row["key_id"] != bytes(signer.public_key.key_id)]
        again = 0
        for door in old:
            _, new = await self._put(tenant, DoorId(door), None)
            again += new
        return again

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

    async def _put(self, tenant: Tenant, door: DoorId, document: PolicyDocument | None) -> tuple[int, bool]:
        """Put a policy in force; without one, the newest again, as it is read while nobody else can change it.

        Returns:
            the version in force, 0 for a door that has no policy and was given none, and whether it is new.
        """
        signer = await self._keyring.signer(tenant, KeyRole.POLICY)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            timezone, locked_down, floor = await _lock_door(connection, tenant, door)
            last = await _newest(connection, tenant, door)
            if document is None:
                if last is None:
                    return 0, False
                document = _ordered(last)
            kept = msgspec.structs.replace(document, lock_out=False)
            same_key = last is not None and last["key_id"] == bytes(signer.public_key.key_id)
            same_state = last is not None and last["locked_down"] is locked_down
            same = same_key and same_state and last is not None and last["version"] > floor
            if same and last is not None and _document(last["document"]) == kept:
                return int(last["version"]), False
            now = self._now()
            version = max(floor, 0 if last is None else last["version"]) + 1
            bundle = to_bundle(
                document,
                tenant=tenant,
                door=door,
                timezone=timezone,
                version=version,
                issued_at_s=int(now.timestamp()),
            )
            held = None if last is None else _held(last, bundle)
            guarded = _guarded(bundle, held)
            data = _seal(_guarded(_locked_down(guarded), held) if locked_down else guarded, signer)
            await connection.execute(
                "INSERT INTO policies (tenant_id, door_id, version, document, key_id, bundle, created_at, locked_down)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                tenant,
                door,
                version,
                msgspec.json.encode(kept).decode(),
                bytes(signer.public_key.key_id),
                data,
                now,
                locked_down,
            )
        return version, True


async def _newest(source: Source, tenant: Tenant, door: DoorId) -> asyncpg.Record | None:
    return await source.fetchrow(
        "SELECT version, document, key_id, bundle, locked_down FROM policies"
        " WHERE tenant_id = $1 AND door_id = $2 ORDER BY version DESC LIMIT 1",
        tenant,
        door,
    )


async def _lock_door(connection: Connection, tenant: Tenant, door: DoorId) -> tuple[str, bool, int]:
    """Let one transaction at a time change a door's policy; give time zone, lockdown, and the floor of versions."""
    row = await connection.fetchrow(
        "SELECT timezone, locked_down, version_floor FROM doors JOIN institutions ON institutions.id = doors.tenant_id"
        " WHERE doors.tenant_id = $1 AND doors.id = $2 FOR NO KEY UPDATE OF doors",
        tenant,
        door,
    )
    if row is None:
        raise CloudError(Reason.DOOR_UNKNOWN, f"Institution {tenant} has no door {door!r}; make it first.")
    return str(row["timezone"]), bool(row["locked_down"]), int(row["version_floor"])


def _ordered(row: asyncpg.Record) -> PolicyDocument:
    """Give the document of a stored policy to be signed again, whomever it lets in by now.

    What is in force was ordered when it was given, or has come about with time.
    """
    return msgspec.structs.replace(_document(row["document"]), lock_out=True)


def _locked_down(bundle: PolicyBundle) -> PolicyBundle:
    """Give the policy as it stands while its door is locked down."""
    return replace(bundle, settings=replace(bundle.settings, mode=DoorMode.LOCKED_DOWN), locks_out=True)


def _held(last: asyncpg.Record, bundle: PolicyBundle) -> PolicyBundle:
    """Give what doors hold that have the last version; the rest of it is that of the next."""
    return to_bundle(
        _document(last["document"]),
        tenant=bundle.tenant,
        door=bundle.door,
        timezone=bundle.timezone,
        version=last["version"],
        issued_at_s=bundle.issued_at_s,
    )


def _guarded(bundle: PolicyBundle, held: PolicyBundle | None) -> PolicyBundle:
    """Give the bundle as it may be signed: it says that it locks everybody out only where it does."""
    unordered = replace(bundle, locks_out=False)
    try:
        refuse_lockout(unordered, held)
    except WireError as error:
        if bundle.locks_out:
            return bundle
        detail = (
            f"This policy would let nobody in at door {bundle.door}, or nobody of those who get in now: look at"
            ' settings.mode, accessLevels and the schedules that they name. If it is meant, add "lockOut": true.'
        )
        raise CloudError(Reason.POLICY_LOCKS_OUT, detail) from error
    return unordered


def _seal(bundle: PolicyBundle, signer: Signer) -> bytes:
    try:
        return seal_policy(bundle, signer)
    except WireError as error:
        raise CloudError(Reason.POLICY_INVALID, f"A door could not read this policy ({error}).") from error


def _document(stored: str) -> PolicyDocument:
    return msgspec.json.decode(stored, type=PolicyDocument)


def _unknown(door: DoorId) -> CloudError:
    return CloudError(
        Reason.POLICY_UNKNOWN, f"Door {door} has no policy yet; give it one with PUT doors/{door}/policy."
    )
