"""Who is calling on the device listener: from the TLS peer certificate to (tenant, door, device).

Invariant: only a certificate that a row of the database names as this device's is believed.
Must not: believe a header, or what the certificate says about itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.database import Pool
from cloud.devices.authority import fingerprint
from cloud.devices.last_seen import LastSeen
from cloud.errors import CloudError, Reason
from wire.keys import PublicKey, key_from_p256
from wire.names import DeviceId, DoorId, Tenant

PEER: Final = "doorward.peer"
"""The key of the ASGI scope under which the listener puts a `PeerCertificate`, if the peer showed one."""
CACHE_S: Final = 5.0
"""How long a revocation made by another cloud process may go unnoticed here."""
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


class DeviceGuard:
    """Looks callers up, with a short memory.

    Args:
        pool: the database.
        last_seen: is told of every caller.
        monotonic_s: a clock that never goes back.
    """

    def __init__(self, pool: Pool, last_seen: LastSeen, *, monotonic_s: Callable[[], float]) -> None:
        self._pool = pool
        self._last_seen = last_seen
        self._monotonic_s = monotonic_s
        self._known: OrderedDict[bytes, tuple[float, DeviceIdentity]] = OrderedDict()

    async def identify(self, scope: Mapping[str, object]) -> DeviceIdentity:
        """Give the device behind a request.

        Raises:
            CloudError: DEVICE_CERTIFICATE_REQUIRED, DEVICE_CERTIFICATE_UNKNOWN or DEVICE_REVOKED.
        """
        peer = scope.get(PEER)
        if not isinstance(peer, PeerCertificate):
            detail = "This path needs the device's client certificate; enrol the device first."
            raise CloudError(Reason.DEVICE_CERTIFICATE_REQUIRED, detail)
        now_s = self._monotonic_s()
        until_s, identity = self._known.get(peer.fingerprint, (now_s, None))
        if identity is None or until_s <= now_s:
            identity = await self._look_up(peer)
            self._remember(identity, now_s)
        self._last_seen.touch(identity.tenant, identity.device)
        return identity

    def forget(self, tenant: Tenant, device: DeviceId) -> None:
        """Ask the database again at this device's next request."""
        stale = [key for key, (_, who) in self._known.items() if (who.tenant, who.device) == (tenant, device)]
        for key in stale:
            del self._known[key]

    def _remember(self, identity: DeviceIdentity, now_s: float) -> None:
        self._known[identity.fingerprint] = (now_s + CACHE_S, identity)
        self._known.move_to_end(identity.fingerprint)
        if len(self._known) > _MAX_CACHED:
            self._known.popitem(last=False)

    async def _look_up(self, peer: PeerCertificate) -> DeviceIdentity:
        row = await self._pool.fetchrow(
            "SELECT tenant_id, door_id, id, status, previous_fingerprint, certificate_fingerprint = $1 AS newest"
            " FROM devices WHERE certificate_fingerprint = $1 OR previous_fingerprint = $1",
            peer.fingerprint,
        )
        if row is None:
            detail = "This certificate is not in use any more; enrol the device again with a new claim code."
            raise CloudError(Reason.DEVICE_CERTIFICATE_UNKNOWN, detail)
        if row["status"] != "active":
            detail = "This device has been revoked; enrol it again with a new claim code."
            raise CloudError(Reason.DEVICE_REVOKED, detail)
        if row["newest"] and row["previous_fingerprint"] is not None:
            await self._retire_previous(peer.fingerprint)
        key = x509.load_der_x509_certificate(peer.der).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - we certify no other
        return DeviceIdentity(
            Tenant(row["tenant_id"]), DoorId(row["door_id"]), DeviceId(row["id"]), key_from_p256(key), peer.fingerprint
        )

    async def _retire_previous(self, newest: bytes) -> None:
        """The device has its new certificate: the one before is good no more."""
        await self._pool.execute(
            "UPDATE devices SET previous_fingerprint = NULL WHERE certificate_fingerprint = $1", newest
        )
