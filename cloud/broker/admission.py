"""Whom a NATS broker lets in, and to which topics: the server asks, this answers (docs/nats.md).

Invariant: what a client may do follows from its certificate and from our own row of the device; what the client says
about itself is only ever a reason to refuse it.
Must not: do input or output.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, unique
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cloud.broker.names import SEATS, WATCH_NAME, cloud_name
from cloud.broker.nkeys import Kind, Nkey, NkeyError, open_token, parse_public, sign_token
from cloud.devices.authority import fingerprint
from wire.errors import WireError
from wire.mqtt import UP_HEALTH, events_topic, topic
from wire.names import DeviceId, Tenant
from wire.passes import slug

DOORS_ACCOUNT: Final = "DOORS"
"""The account of doors and cloud at the broker; the call-out's own is another."""
DOOR_STAY: Final = timedelta(hours=1)
"""Then the server ends a door's connection and asks anew: a revoked device loses it by then."""
DOUBT_STAY: Final = timedelta(minutes=5)
"""The same while the database is away."""
_CLOUD_NAMES: Final = frozenset(cloud_name(seat) for seat in range(SEATS))


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants in, as the server has seen it.

    Attributes:
        server: the id of the server that asks; the answer is for it alone.
        user_key: the name that the server has given to this connection.
        client_id: of MQTT, as the client claims it.
        certificate: that TLS has verified up to one of the server's authorities.
    """

    server: str
    user_key: str
    client_id: str
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate, by which a device is looked up."""
        return fingerprint(self.certificate.public_bytes(Encoding.DER))


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A row of the database."""

    tenant: Tenant
    device: DeviceId
    active: bool


@unique
class Lookup(Enum):
    """What else than a row the database may give."""

    UNKNOWN = "unknown"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Let it in.

    Attributes:
        name: for the server's log.
        publish, subscribe: subjects of NATS; none at all when empty.
        until: the server ends the connection then.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    until: datetime


@unique
class Refused(Enum):
    """Keep it out; the value goes to the server's log."""

    FOREIGN_CERTIFICATE = "the certificate is not of the device CA"
    NO_NAME = "the certificate names neither a door (TENANT/DEVICE) nor the cloud"
    FOREIGN_CLIENT_ID = "the client id is not the name in the certificate"
    UNKNOWN_DEVICE = "the certificate is no device's any more: enrol it again"
    REVOKED = "the device is revoked: enrol it again"


def parse_request(token: bytes) -> Applicant:
    """Read what the server asks.

    Raises:
        NkeyError: it is not about a client of MQTT with a verified certificate, or no request at all.
    """
    claims = open_token(token, Kind.SERVER)
    request = _inner(claims, "nats")
    client = _inner(request, "client_info")
    server = _text(_inner(request, "server_id"), "id")
    if claims["iss"] != server or client.get("type") != "mqtt":
        raise NkeyError("not about a client of MQTT")
    user_key = _text(request, "user_nkey")
    parse_public(user_key, Kind.USER)
    return Applicant(server, user_key, _text(client, "mqtt_id"), _certificate(_inner(request, "client_tls")))


def common_name(applicant: Applicant) -> str | None:
    """Give the name in the certificate, when it has exactly one."""
    names = applicant.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else None


def judge(
    applicant: Applicant, ca: x509.Certificate, found: KnownDevice | Lookup, *, now: datetime, early: float
) -> Admitted | Refused:
    """Say whether the applicant may come in, and as whom.

    Args:
        applicant: who asks.
        ca: the device CA.
        found: the device whose certificate this is.
        now: the time.
        early: 0 to 1, by how much of a quarter its stay is shortened: doors do not all come back at once.
    """
    try:
        applicant.certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return Refused.FOREIGN_CERTIFICATE
    name = common_name(applicant)
    end = applicant.certificate.not_valid_after_utc
    if name is None:
        return Refused.NO_NAME
    if applicant.client_id != name:
        return Refused.FOREIGN_CLIENT_ID
    if name.startswith("_"):
        return _service(name, end)
    stay = (DOUBT_STAY if found is Lookup.AWAY else DOOR_STAY) * (1 - early / 4)
    return _door(name, found, min(now + stay, end))


def answer(applicant: Applicant, verdict: Admitted | Refused, issuer: Nkey, *, now: datetime) -> bytes:
    """Write the answer to the server."""
    issued = int(now.timestamp())
    said: dict[str, object] = {"type": "authorization_response", "version": 2}
    if isinstance(verdict, Admitted):
        said["jwt"] = _user(applicant, verdict, issuer, issued)
    else:
        said["error"] = verdict.value
    claims: dict[str, object] = {"aud": applicant.server, "sub": applicant.user_key, "iat": issued, "nats": said}
    return sign_token(claims, issuer).encode()


def _service(name: str, until: datetime) -> Admitted | Refused:
    """The cloud's processes, and who looks whether the broker answers."""
    if name == WATCH_NAME:
        return Admitted(name=name, publish=(), subscribe=(), until=until)
    if name not in _CLOUD_NAMES:
        return Refused.NO_NAME
    return Admitted(name=name, publish=("dw.1.*.*.down.>",), subscribe=("dw.1.*.*.up.>",), until=until)


def _door(name: str, found: KnownDevice | Lookup, until: datetime) -> Admitted | Refused:
    tenant_name, _, device_name = name.partition("/")
    try:
        tenant, device = Tenant(slug(tenant_name, "tenant")), DeviceId(slug(device_name, "device"))
    except WireError:
        return Refused.NO_NAME
    match found:
        case KnownDevice():
            if (found.tenant, found.device) != (tenant, device):
                return Refused.UNKNOWN_DEVICE
            if not found.active:
                return Refused.REVOKED
        case Lookup.UNKNOWN:
            return Refused.UNKNOWN_DEVICE
        case Lookup.AWAY:
            pass  # the CA's word holds for a while: each batch is verified, and nobody can store it now anyway
    # No wildcard among what it writes: a broker keeps a retained message for each topic.
    up = (events_topic(tenant, device), topic(tenant, device, UP_HEALTH))
    publish = tuple(subject(each) for each in up)
    return Admitted(name=name, publish=publish, subscribe=(f"dw.1.{tenant}.{device}.down.>",), until=until)


def subject(mqtt_topic: str) -> str:
    """Write a topic of ours as NATS does: a slug has no dot, so levels stay what they are."""
    return mqtt_topic.replace("/", ".")


def _user(applicant: Applicant, verdict: Admitted, issuer: Nkey, issued: int) -> str:
    claims: dict[str, object] = {
        "aud": DOORS_ACCOUNT,
        "sub": applicant.user_key,
        "name": verdict.name,
        "iat": issued,
        "exp": int(verdict.until.timestamp()),
        "nats": {
            "pub": _only(verdict.publish),
            "sub": _only(verdict.subscribe),
            "subs": -1,
            "data": -1,
            "payload": -1,
            "allowed_connection_types": ["MQTT"],
            "type": "user",
            "version": 2,
        },
    }
    return sign_token(claims, issuer)


def _only(subjects: tuple[str, ...]) -> dict[str, list[str]]:
    """An empty list of what is allowed would allow everything."""
    return {"allow": list(subjects)} if subjects else {"deny": [">"]}


def _certificate(tls: dict[str, object]) -> x509.Certificate:
    """Only a chain that the server has verified counts; "certs" are those that it has not."""
    chains = tls.get("verified_chains")
    first = chains[0] if isinstance(chains, list) and chains else None
    leaf = first[0] if isinstance(first, list) and first else None
    if not isinstance(leaf, str):
        raise NkeyError("a client without a verified certificate")
    try:
        return x509.load_pem_x509_certificate(leaf.encode())
    except ValueError as error:
        raise NkeyError("a client whose certificate cannot be read") from error


def _inner(claims: dict[str, object], name: str) -> dict[str, object]:
    found = claims.get(name)
    if not isinstance(found, dict):
        raise NkeyError(f"no {name} in the request")
    return found


def _text(claims: dict[str, object], name: str) -> str:
    """Give a text, which the server leaves out when it is empty."""
    found = claims.get(name, "")
    if not isinstance(found, str):
        raise NkeyError(f"{name} is no text in the request")
    return found
