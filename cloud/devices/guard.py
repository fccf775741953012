"""Who is speaking: from the TLS peer certificate, or the name that a broker has checked, to (tenant, door, device).

Invariant: over HTTPS only a certificate that a row of the database names as this device's is believed; over a broker
what a device has signed with its newest key.
Must not: believe a header, or what the certificate says about itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.database import Pool
from cloud.devices.authority import fingerprint
from cloud.devices.last_seen import LastSeen
from cloud.errors import CloudError, Reason
from cloud.together import Together
from wire.keys import Algorithm, PublicKey, key_from_p256
from wire.names import DeviceId, DoorId, Tenant

PEER: Final = "doorward.peer"
"""The key of the ASGI scope under which the listener puts a `PeerCertificate`, if the peer showed one."""
CACHE_S: Final = 5.0
"""How long a revocation made by another cloud process may go unnoticed here."""
LOOK_UP_S: Final = 5.0
"""How long a question to the database may wait for a connection, for its answer, and then for giving the connection
back. Callers are looked up together: when a backend hangs, all who come meanwhile wait for two of these."""
_MAX_CACHED: Final = 20_000


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What TLS has verified up to our CA."""

    der: bytes
    fingerprint: bytes

    @classmethod
    def from_der(cls, der: bytes) -> "PeerCertificate":
        """Hash once a connection."""
        return cls(der, fingerprint(der))


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """A device that may talk to us.

    Args:
        tenant, door, device: whose it is.
        key: the key of the certificate in use; batches must be signed by it.
        fingerprint: SHA-256 of that certificate.
    """

    tenant: Tenant
    door: DoorId
    device: DeviceId
    key: PublicKey
    fingerprint: bytes


_Key = TypeVar("_Key", bound=Hashable)


class _Memory(Generic[_Key]):
    """Who was looked up lately, bounded in number and time."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, tuple[float, DeviceIdentity]] = OrderedDict()

    def recall(self, key: _Key, now_s: float) -> DeviceIdentity | None:
        """Give who that is; None when it has to be looked up."""
        until_s, identity = self._known.get(key, (now_s, None))
        return identity if until_s > now_s else None

    def keep(self, key: _Key, identity: DeviceIdentity, now_s: float) -> None:
        """Remember for `CACHE_S`."""
        self._known[key] = (now_s + CACHE_S, identity)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_CACHED:
            self._known.popitem(last=False)

    def forget(self, tenant: Tenant, device: DeviceId) -> None:
        """Forget a device."""
        for key in [key for key, (_, who) in self._known.items() if (who.tenant, who.device) == (tenant, device)]:
            del self._known[key]


class DeviceGuard:
    """Looks callers up, with a short memory.

    Args:
        pool: the database.
        last_seen: is told of every caller.
        monotonic_s: a clock that never goes back.
        look_up_s: the deadline of each step of a question to the database.
    """

    def __init__(
        self, pool: Pool, last_seen: LastSeen, *, monotonic_s: Callable[[], float], look_up_s: float = LOOK_UP_S
    ) -> None:
        self._pool = pool
        self._last_seen = last_seen
        self._monotonic_s = monotonic_s
        self._look_up_s = look_up_s
        self._by_certificate: _Memory[bytes] = _Memory()
        self._by_name: _Memory[tuple[Tenant, DeviceId]] = _Memory()
        self._certificates: Together[bytes, asyncpg.Record] = Together(self._by_fingerprints)
        self._names: Together[tuple[Tenant, DeviceId], asyncpg.Record] = Together(self._by_names)

    async def identify(self, scope: Mapping[str, object]) -> DeviceIdentity:
        """Give the device behind a request.

        Raises:
            CloudError: DEVICE_CERTIFICATE_REQUIRED, DEVICE_CERTIFICATE_UNKNOWN or DEVICE_REVOKED.
            asyncpg.PostgresError, OSError: the database is away, or does not answer in time.
        """
        peer = scope.get(PEER)
        if not isinstance(peer, PeerCertificate):
            detail = "This path needs the device's client certificate; enrol the device first."
            raise CloudError(Reason.DEVICE_CERTIFICATE_REQUIRED, detail)
        now_s = self._monotonic_s()
        identity = self._by_certificate.recall(peer.fingerprint, now_s)
        if identity is None:
            identity = await self._look_up(peer)
            self._by_certificate.keep(peer.fingerprint, identity, now_s)
        self._last_seen.touch(identity.tenant, identity.device)
        return identity

    async def named(self, tenant: Tenant, device: DeviceId) -> DeviceIdentity:
        """Give the device of a name that a broker took from its certificate (docs/adr/0008-mqtt-identity.md).

        The broker cannot tell a certificate in use from one that was replaced, so the device's newest key counts: what
        it sends is signed.

        Raises:
            CloudError: DEVICE_CERTIFICATE_UNKNOWN or DEVICE_REVOKED.
            asyncpg.PostgresError, OSError: the database is away, or does not answer in time.
        """
        now_s = self._monotonic_s()
        identity = self._by_name.recall((tenant, device), now_s)
        if identity is None:
            identity = await self._look_up_name(tenant, device)
            self._by_name.keep((tenant, device), identity, now_s)
        self._last_seen.touch(tenant, device)
        return identity

    def forget(self, tenant: Tenant, device: DeviceId) -> None:
        """Ask the database again at this device's next request."""
        self._by_certificate.forget(tenant, device)
        self._by_name.forget(tenant, device)

    async def _look_up(self, peer: PeerCertificate) -> DeviceIdentity:
        row = await self._certificates.get(peer.fingerprint)
        if row is None:
            detail = "This certificate is not in use any more; enrol the device again with a new claim code."
            raise CloudError(Reason.DEVICE_CERTIFICATE_UNKNOWN, detail)
        _check_active(row)
        if row["newest"] and row["previous_fingerprint"] is not None:
            await self._retire_previous(peer.fingerprint)
        key = x509.load_der_x509_certificate(peer.der).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - we certify no other
        return DeviceIdentity(
            Tenant(row["tenant_id"]), DoorId(row["door_id"]), DeviceId(row["id"]), key_from_p256(key), peer.fingerprint
        )

    async def _look_up_name(self, tenant: Tenant, device: DeviceId) -> DeviceIdentity:
        row = await self._names.get((tenant, device))
        if row is None:
            detail = f"Institution {tenant} has no device {device}; enrol it again with a new claim code."
            raise CloudError(Reason.DEVICE_CERTIFICATE_UNKNOWN, detail)
        _check_active(row)
        key = PublicKey(Algorithm.ESP256, row["public_key"])
        return DeviceIdentity(tenant, DoorId(row["door_id"]), device, key, row["certificate_fingerprint"])

    async def _by_fingerprints(self, asked: Sequence[bytes]) -> dict[bytes, asyncpg.Record]:
        rows = await self._ask(
            "SELECT certificate_fingerprint AS shown, tenant_id, door_id, id, status, previous_fingerprint,"
            " TRUE AS newest FROM devices WHERE certificate_fingerprint = ANY($1)"
            " UNION ALL SELECT previous_fingerprint, tenant_id, door_id, id, status, previous_fingerprint, FALSE"
            " FROM devices WHERE previous_fingerprint = ANY($1)",
            asked,
        )
        return {row["shown"]: row for row in rows}

    async def _by_names(
        self, asked: Sequence[tuple[Tenant, DeviceId]]
    ) -> dict[tuple[Tenant, DeviceId], asyncpg.Record]:
        rows = await self._ask(
            "SELECT tenant_id, id, door_id, status, public_key, certificate_fingerprint"
            " FROM unnest($1::text[], $2::text[]) AS asked (tenant_id, id) JOIN devices USING (tenant_id, id)",
            [tenant for tenant, _ in asked],
            [device for _, device in asked],
        )
        return {(row["tenant_id"], row["id"]): row for row in rows}

    async def _ask(self, query: str, *values: object) -> list[asyncpg.Record]:
        async with self._pool.acquire(timeout=self._look_up_s) as connection:
            return await connection.fetch(query, *values, timeout=self._look_up_s)

    async def _retire_previous(self, newest: bytes) -> None:
        """The device has its new certificate: the one before is good no more."""
        await self._pool.execute(
            "UPDATE devices SET previous_fingerprint = NULL WHERE certificate_fingerprint = $1", newest
        )


def _check_active(row: asyncpg.Record) -> None:
    if row["status"] != "active":
        detail = "This device has been revoked; enrol it again with a new claim code."
        raise CloudError(Reason.DEVICE_REVOKED, detail)
