"""A device listener over real TLS for a `PeerCloud`: what a door meets, including what it should never meet.

The certificates are made by the cloud's own authority; HTTP is h11's. Paths can be overridden to answer wrongly.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import h11
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.devices.authority import certificates_only, open_authority
from cloud.devices.enrolment import read_claim_secret, read_request
from cloud.errors import CloudError
from tests.support.door_journal import DEVICE, DOOR
from tests.support.peer_cloud import TENANT, PeerCloud, Refusal
from wire.codec import encode
from wire.keys import key_from_p256
from wire.messages import (
    DEVICE_BOOTSTRAP,
    DEVICE_CHANGES,
    DEVICE_EVENTS,
    DEVICE_HEALTH,
    DEVICE_POLICY,
    DEVICE_ROSTER,
    DEVICE_STATUS,
    DEVICE_TRUST,
    EST_CACERTS,
    EST_ENROL,
    EST_REENROL,
    MEDIA_COSE,
    encode_claim_code,
)
from wire.names import DeviceId
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from cloud.devices.authority import DeviceAuthority

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """One request, complete."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    certificate: x509.Certificate | None
    peer: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; with `cut_at` the connection breaks after so many bytes of its body."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None


@dataclass(slots=True)
class PeerListener:
    """The listener's state.

    Attributes:
        cloud: answers.
        folder: where certificates are kept.
        now: the instant at which certificates begin.
        names: in the listener's certificate.
        site, access_point, timezone: what bootstrap tells.
        overrides: path -> an answer instead of the right one.
        claims: secret -> "open", "used" or "expired".
        requests: method and path of every request, in order.
        device: whom bootstrap speaks of.
        certified_as: whom certificates name.
        more: what bootstrap tells besides, such as the broker.
        certify_instead: a key that is certified in place of the one that asks.
    """

    cloud: PeerCloud
    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    site: str = "campus"
    access_point: str = "in"
    timezone: str = "UTC"
    overrides: dict[str, Callable[[Request], Awaitable[Reply]]] = field(default_factory=dict)
    claims: dict[bytes, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    enrolled: dict[bytes, str] = field(default_factory=dict)
    device: str = DEVICE
    certified_as: str = DEVICE
    certify_instead: ec.EllipticCurvePublicKey | None = None
    more: dict[str, object] = field(default_factory=dict)

    @property
    def ca_file(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca" / "ca.crt"

    def claim(self, state: str = "open", *, fingerprint: bytes | None = None, number: int = 1) -> str:
        """Make a claim code."""
        secret = bytes(9) + bytes((number,))
        self.claims[secret] = state
        known = self.authority().fingerprint
        return encode_claim_code(secret=secret, ca_fingerprint=known if fingerprint is None else fingerprint)

    def authority(self) -> DeviceAuthority:
        """The CA of this cloud."""
        return open_authority(self.folder / "ca", now=self.now)

    def certify(self, key: ec.EllipticCurvePublicKey, *, now: datetime | None = None) -> bytes:
        """Certify a device's key; PEM. The device is known from then on."""
        certificate = self.authority().certify_device(
            key, tenant=TENANT, device=DeviceId(self.certified_as), now=now or self.now
        )
        self.enrolled[certificate.public_bytes(Encoding.DER)] = self.certified_as
        self.cloud.device = key_from_p256(key)
        return certificate.public_bytes(Encoding.PEM)

    async def answer(self, request: Request) -> Reply:
        """Answer one request."""
        self.requests.append(f"{request.method} {request.path}")
        override = self.overrides.get(request.path)
        if override is not None:
            return await override(request)
        try:
            return await self._route(request)
        except Refusal as refusal:
            return problem(refusal.status, refusal.reason, durable=refusal.durable)
        except CloudError as error:
            return problem(error.reason.status, error.reason.name)

    async def _route(self, request: Request) -> Reply:
        if request.path == EST_CACERTS:
            return _certificates(self.authority().certificate)
        if request.path == EST_ENROL:
            return self._enrol(request)
        if request.certificate is None:
            raise Refusal(401, "DEVICE_CERTIFICATE_REQUIRED")
        if request.certificate.public_bytes(Encoding.DER) not in self.enrolled:
            raise Refusal(403, "DEVICE_CERTIFICATE_UNKNOWN")
        if request.path == EST_REENROL:
            pem = self.certify(self.certify_instead or read_request(request.body))
            return _certificates(x509.load_pem_x509_certificate(pem))
        if request.path == DEVICE_BOOTSTRAP:
            return Reply(json.dumps(self._bootstrap()).encode(), headers={"content-type": "application/json"})
        if request.path == DEVICE_EVENTS:
            return Reply(self.cloud.take_batch(request.body), headers={"content-type": MEDIA_COSE})
        if request.path == DEVICE_HEALTH:
            self.cloud.reports.append(request.body)
            return Reply(b"", 204)
        if request.path == DEVICE_CHANGES:
            return await self._changes(request.query)
        return self._document(request)

    def _document(self, request: Request) -> Reply:
        kinds = {DEVICE_TRUST: "trust", DEVICE_POLICY: "policy", DEVICE_ROSTER: "roster"}
        kind = kinds.get(request.path) or f"status/{request.path.removeprefix(DEVICE_STATUS + '/')}"
        document = self.cloud.document(kind, request.query)
        if request.headers.get("if-none-match") == document.etag:
            return Reply(b"", 304, {"etag": document.etag})
        return Reply(document.data, headers={"content-type": document.media_type, "etag": document.etag})

    def _enrol(self, request: Request) -> Reply:
        secret = read_claim_secret(request.headers.get("authorization"))
        state = self.claims.get(secret, "unknown")
        if state != "open":
            raise Refusal(401, f"CLAIM_{state.upper()}")
        pem = self.certify(self.certify_instead or read_request(request.body))
        self.claims[secret] = "used"
        return _certificates(x509.load_pem_x509_certificate(pem))

    def _bootstrap(self) -> dict[str, object]:
        return {
            "tenant": TENANT,
            "site": self.site,
            "door": DOOR,
            "access_point": self.access_point,
            "device": self.device,
            "timezone": self.timezone,
            "root_key": encode(self.cloud.root.public_key.to_cose()).hex(),
            **self.more,
        }

    async def _changes(self, query: dict[str, str]) -> Reply:
        pairs = [item.split(":") for item in query.get("status", "").split(",") if item]
        held = Versions(
            int(query.get("trust", "0")),
            int(query.get("policy", "0")),
            {int(number): int(sequence) for number, sequence in pairs},
            int(query.get("roster", "0")),
        )
        found = await self.cloud.changes(held, wait_s=int(query.get("wait_s", "0")))
        status = {str(number): sequence for number, sequence in found.status.items()}
        offered = {"trust": found.trust, "policy": found.policy, "status": status, "roster": found.roster}
        return Reply(json.dumps(offered).encode())


def problem(status: int, reason: str, *, durable: int | None = None) -> Reply:
    """Write a problem document."""
    body = {"status": status, "title": HTTPStatus(status).phrase, "reason": reason, "detail": reason.lower()}
    if durable is not None:
        body["durable"] = durable
    return Reply(json.dumps(body).encode(), status, {"content-type": "application/problem+json"})


def _certificates(certificate: x509.Certificate) -> Reply:
    body = base64.encodebytes(certificates_only([certificate]))
    return Reply(body, headers={"content-type": "application/pkcs7-mime; smime-type=certs-only"})


@asynccontextmanager
async def listening(listener: PeerListener, *, certificate: Path | None = None) -> AsyncIterator[PeerListener]:
    """Serve on a free port of the loopback interface until the block ends.

    Args:
        listener: its `url` is set.
        certificate: shown instead of one that the CA makes for the occasion; PEM with the key.
    """
    server = await asyncio.start_server(
        lambda reader, writer: _serve(listener, reader, writer),
        "127.0.0.1",
        0,
        ssl=_context(listener, certificate),
    )
    listener.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield listener
    finally:
        server.close()
        await server.wait_closed()


def _context(listener: PeerListener, certificate: Path | None) -> ssl.SSLContext:
    listener.folder.mkdir(exist_ok=True)
    authority = listener.authority()
    if certificate is None:
        certificate = listener.folder / "listener.pem"
        certificate.write_bytes(authority.certify_listener(listener.names, now=listener.now).to_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(listener.ca_file)
    return context


async def _serve(listener: PeerListener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True)
    certificate = None if der is None else x509.load_der_x509_certificate(der)
    connection = h11.Connection(h11.SERVER)
    peer = str(writer.get_extra_info("peername"))
    try:
        while (request := await _request(connection, reader, certificate, peer)) is not None:
            await _reply(connection, writer, await listener.answer(request))
            if connection.our_state is not h11.DONE:
                break
            connection.start_next_cycle()
    except (OSError, h11.RemoteProtocolError):
        pass  # the door went away, as doors do
    finally:
        writer.close()


async def _request(
    connection: h11.Connection, reader: asyncio.StreamReader, certificate: x509.Certificate | None, peer: str
) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            target = urlsplit(head.target.decode())
            headers = {name.decode(): value.decode() for name, value in head.headers}
            query = dict(parse_qsl(target.query))
            return Request(head.method.decode(), target.path, query, headers, bytes(body), certificate, peer)
        else:
            return None


async def _reply(connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply) -> None:
    length = {} if reply.status == HTTPStatus.NO_CONTENT else {"content-length": str(len(reply.body))}
    headers = [(name.encode(), value.encode()) for name, value in {**length, **reply.headers}.items()]
    writer.write(connection.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
    if reply.cut_at is not None:
        writer.write(connection.send(h11.Data(reply.body[: reply.cut_at])) or b"")
        await writer.drain()
        raise ConnectionResetError
    if reply.status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
        writer.write(connection.send(h11.Data(reply.body)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    await writer.drain()
