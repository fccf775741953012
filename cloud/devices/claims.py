"""Claims: a one-time permission to enrol one device for one door.

Invariant: the secret itself is never stored, and a claim is used at most once.
Must not: be logged; whoever holds the code becomes the door.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.database import Connection, Pool
from cloud.devices.authority import DeviceAuthority
from cloud.errors import CloudError, Reason
from wire.messages import CLAIM_SECRET_BYTES, encode_claim_code
from wire.names import DeviceId, DoorId, Tenant


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that may be used now."""

    tenant: Tenant
    door: DoorId
    secret_hash: bytes


async def make_claim(
    pool: Pool,
    authority: DeviceAuthority,
    *,
    tenant: Tenant,
    door: DoorId,
    now: datetime,
    lifetime: timedelta,
) -> tuple[str, datetime]:
    """Make a claim for a door that exists.

    Returns:
        the code to type at the door, and the instant at which it ends.
    """
    secret = secrets.token_bytes(CLAIM_SECRET_BYTES)
    await pool.execute(
        "INSERT INTO claims (tenant_id, secret_hash, door_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        _hash(secret),
        door,
        now,
        now + lifetime,
    )
    return encode_claim_code(secret=secret, ca_fingerprint=authority.fingerprint), now + lifetime


async def take_claim(connection: Connection, secret: bytes, *, now: datetime) -> Claim:
    """Lock the claim of a secret for this transaction.

    Raises:
        CloudError: CLAIM_UNKNOWN, CLAIM_USED or CLAIM_EXPIRED.
    """
    digest = _hash(secret)
    row = await connection.fetchrow(
        "SELECT tenant_id, door_id, secret_hash, expires_at, used_at FROM claims WHERE secret_hash = $1 FOR UPDATE",
        digest,
    )
    if row is None or not hmac.compare_digest(bytes(row["secret_hash"]), digest):
        raise CloudError(Reason.CLAIM_UNKNOWN, "This claim code is not known; check it or ask for a new one.")
    if row["used_at"] is not None:
        raise CloudError(Reason.CLAIM_USED, "This claim code has been used; ask for a new one.")
    if row["expires_at"] <= now:
        raise CloudError(Reason.CLAIM_EXPIRED, "This claim code has expired; ask for a new one.")
    return Claim(Tenant(row["tenant_id"]), DoorId(row["door_id"]), digest)


async def spend_claim(connection: Connection, claim: Claim, *, device: DeviceId, now: datetime) -> None:
    """Mark a claim as used, in the transaction that took it."""
    await connection.execute(
        "UPDATE claims SET used_at = $2, device_id = $3 WHERE secret_hash = $1", claim.secret_hash, now, device
    )


def _hash(secret: bytes) -> bytes:
    """SHA-256 suffices: the secret is 80 random bits, not a password."""
    return hashlib.sha256(secret).digest()
