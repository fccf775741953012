"""Issue, show and revoke passes.

Invariant: a pass id is given out once; it is drawn at random, so that it tells neither order nor number of passes.
Must not: know the holder's name; a pass id is a pseudonym. Source: docs/spec/pass.md.
"""

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from cloud.database import ACQUIRE_S, Pool
from cloud.errors import CloudError, Reason
from cloud.issuing.keys import KeyRole
from cloud.issuing.service import Issuing
from cloud.issuing.status import capacity, revoke
from cloud.passes.models import IssuedPass, NewPass, ShownPass, flag_names, kind_name
from wire.codec import decode, encode
from wire.errors import WireError
from wire.keys import PublicKey, check_strong, parse_key
from wire.names import PassFlags, PassId, PassKind, Tenant
from wire.passes import MAX_LIFETIME_S, PASS_ID_BYTES, Pass, make_pass_id, seal_pass, split_pass_id

LIFETIME: Final = timedelta(days=7)
"""Short enough that revocation lists stay the exception; the wallet renews."""
PRINTED_LIFETIME: Final = timedelta(days=1)
MAX_PRINTED_LIFETIME: Final = timedelta(hours=48)
"""Paper can be copied; hours limit what a copy is good for."""
PRINTED_KINDS: Final = frozenset({PassKind.VISITOR, PassKind.TEMPORARY})
_DRAWS: Final = 3
_DRAWN: Final = 8
"""Three times eight random indices are tried. When all are taken the list is about nine tenths full (0.9^24 = 0.08) and
the next one is opened; so no counter is needed that every issue would have to wait for."""
_MAX_KEY_BYTES: Final = 128

_RESERVE: Final = """
    INSERT INTO passes (tenant_id, list_id, index, kind, flags, access_levels, holder_key, key_id,
        issued_at, not_before, expires_at)
    SELECT $1, newest.list_id, drawn.number % newest.capacity, $3, $4, $5, $6, $7, $8, $9, $10
    FROM (SELECT list_id, capacity FROM status_lists WHERE tenant_id = $1 ORDER BY list_id DESC LIMIT 1) AS newest,
        unnest($2::int[]) AS drawn (number)
    WHERE NOT EXISTS (SELECT FROM passes AS taken
        WHERE taken.tenant_id = $1 AND taken.list_id = newest.list_id
            AND taken.index = drawn.number % newest.capacity)
    LIMIT 1
    ON CONFLICT DO NOTHING RETURNING list_id, index"""
"""Capacities are powers of two, so that 31 random bits fall evenly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claims:
    """What a new pass says, its id still to be drawn."""

    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    holder_key: PublicKey | None
    issued_at: datetime
    not_before: datetime | None
    expires_at: datetime


class Passes:
    """The passes of all tenants.

    Args:
        pool: the database.
        issuing: keys and status lists.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, issuing: Issuing, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._issuing = issuing
        self._now = now

    async def issue(self, tenant: Tenant, new: NewPass) -> IssuedPass:
        """Issue a pass.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, PASS_INVALID or KEY_UNUSABLE.
        """
        signer = await self._issuing.keyring.signer(tenant, KeyRole.PASS)
        claims = _claims(new, self._now())
        pass_id = await self._reserve(tenant, claims, bytes(signer.public_key.key_id))
        try:
            token = seal_pass(_to_pass(tenant, pass_id, claims), signer)
        except WireError as error:
            raise _invalid(f"a door could not read such a pass ({error})") from error
        return IssuedPass(
            pass_id=pass_id.hex(),
            token=base64.urlsafe_b64encode(token).rstrip(b"=").decode(),
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
        )

    async def show(self, tenant: Tenant, pass_id: str) -> ShownPass:
        """Give what is known of a pass.

        Raises:
            CloudError: PASS_UNKNOWN.
        """
        list_id, index = split_pass_id(read_pass_id(pass_id))
        row = await self._pool.fetchrow(
            "SELECT kind, flags, access_levels, holder_key IS NULL AS printed, issued_at, not_before, expires_at,"
            " revoked_at FROM passes WHERE tenant_id = $1 AND list_id = $2 AND index = $3",
            tenant,
            list_id,
            index,
        )
        if row is None:
            raise _unknown(pass_id)
        return self._shown(pass_id.lower(), row)

    async def revoke(self, tenant: Tenant, pass_id: str) -> ShownPass:
        """Revoke a pass and tell the doors; doing so again changes nothing.

        Raises:
            CloudError: PASS_UNKNOWN.
        """
        list_id, index = split_pass_id(read_pass_id(pass_id))
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            changed = await revoke(connection, tenant, list_id, index, now=self._now())
        if changed:
            self._issuing.changes.publish(tenant)
        return await self.show(tenant, pass_id)

    async def _reserve(self, tenant: Tenant, claims: _Claims, key_id: bytes) -> PassId:
        """Write the pass under a fresh random id, in the newest list or, when that is full, in the next one."""
        while True:
            for _ in range(_DRAWS):
                pass_id = await _draw(self._pool, tenant, claims, key_id)
                if pass_id is not None:
                    return pass_id
            await self._issuing.status.open_next_list(tenant)

    def _shown(self, pass_id: str, row: asyncpg.Record) -> ShownPass:
        return ShownPass(
            pass_id=pass_id,
            status=_status(row, self._now()),
            kind=kind_name(row["kind"]),
            access_levels=row["access_levels"],
            flags=flag_names(row["flags"]),
            printed=row["printed"],
            issued_at=row["issued_at"],
            not_before=row["not_before"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
        )


def read_pass_id(text: str) -> PassId:
    """Read a pass id of 12 hexadecimal digits that lies within its list.

    Raises:
        CloudError: PASS_UNKNOWN for anything else.
    """
    try:
        data = bytes.fromhex(text) if len(text) == 2 * PASS_ID_BYTES else b""
    except ValueError:
        data = b""
    if len(data) != PASS_ID_BYTES:
        raise _unknown(text)
    pass_id = PassId(data)
    list_id, index = split_pass_id(pass_id)
    if index >= capacity(list_id):
        raise _unknown(text)
    return pass_id


async def _draw(pool: Pool, tenant: Tenant, claims: _Claims, key_id: bytes) -> PassId | None:
    row = await pool.fetchrow(
        _RESERVE,
        tenant,
        [secrets.randbits(31) for _ in range(_DRAWN)],
        int(claims.kind),
        int(claims.flags),
        list(claims.access_levels),
        None if claims.holder_key is None else encode(claims.holder_key.to_cose()),
        key_id,
        claims.issued_at,
        claims.not_before,
        claims.expires_at,
    )
    return None if row is None else make_pass_id(row["list_id"], row["index"])


def _claims(new: NewPass, now: datetime) -> _Claims:
    """Check what the format alone does not: lifetimes, printed passes, the holder's key."""
    issued_at = now.replace(microsecond=0)
    kind = PassKind[new.kind.upper()]
    printed = new.holder_key is None
    default = PRINTED_LIFETIME if printed else LIFETIME
    lifetime = default if new.lifetime_s is None else timedelta(seconds=new.lifetime_s)
    if printed and kind not in PRINTED_KINDS:
        raise _invalid("a printed pass (without holderKey) must be of kind visitor or temporary")
    if printed and lifetime > MAX_PRINTED_LIFETIME:
        raise _invalid("a printed pass may hold for at most 48 hours")
    starts_at = issued_at
    if new.not_before is not None:
        starts_at = _start(new.not_before, issued_at)
    flags = PassFlags.NONE
    for name in new.flags:
        flags |= PassFlags[name.upper()]
    return _Claims(
        kind=kind,
        flags=flags,
        access_levels=tuple(sorted(set(new.access_levels))),
        holder_key=None if new.holder_key is None else read_holder_key(new.holder_key),
        issued_at=issued_at,
        not_before=None if new.not_before is None else starts_at,
        expires_at=starts_at + lifetime,
    )


def _start(asked: datetime, issued_at: datetime) -> datetime:
    if asked.tzinfo is None:
        raise _invalid("notBefore needs an offset from UTC, such as 2026-03-01T08:00:00Z")
    if asked < issued_at:
        raise _invalid("notBefore lies in the past; leave it out to start at once")
    if asked - issued_at > timedelta(seconds=MAX_LIFETIME_S):
        raise _invalid("notBefore lies more than 31 days ahead; issue the pass later")
    return asked.replace(microsecond=0)


def read_holder_key(text: str) -> PublicKey:
    """Read a holder's COSE_Key in base64url and refuse a weak one.

    Raises:
        CloudError: PASS_INVALID.
    """
    try:
        data = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
        key = parse_key(decode(data, field="holderKey", max_bytes=_MAX_KEY_BYTES), "holderKey")
        check_strong(key, "holderKey")
    except (binascii.Error, ValueError) as error:
        raise _invalid("holderKey is not base64url") from error
    except WireError as error:
        raise _invalid(f"holderKey is no usable P-256 or Ed25519 COSE_Key ({error})") from error
    return key


def _to_pass(tenant: Tenant, pass_id: PassId, claims: _Claims) -> Pass:
    not_before = claims.not_before
    return Pass(
        issuer=tenant,
        pass_id=pass_id,
        issued_at_s=int(claims.issued_at.timestamp()),
        not_before_s=None if not_before is None else int(not_before.timestamp()),
        expires_at_s=int(claims.expires_at.timestamp()),
        holder_key=claims.holder_key,
        kind=claims.kind,
        flags=claims.flags,
        access_levels=claims.access_levels,
    )


def _status(row: asyncpg.Record, now: datetime) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    if row["expires_at"] <= now:
        return "expired"
    return "not_yet_valid" if row["not_before"] is not None and now < row["not_before"] else "active"


def _invalid(what: str) -> CloudError:
    return CloudError(Reason.PASS_INVALID, f"The pass cannot be issued: {what}.")


def _unknown(pass_id: str) -> CloudError:
    return CloudError(Reason.PASS_UNKNOWN, f"There is no pass {pass_id[:32]!r} in this institution.")
