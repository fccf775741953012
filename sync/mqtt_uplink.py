"""Events up over MQTT; everything else goes over HTTPS.

A confirmation of the broker (PUBACK) means nothing here: a broker confirms what it forbids, forgets and loses. A batch
counts as delivered when the cloud's own answer to it has come, and is sent again by the engine when none does.

Invariant: every call ends within its deadline and raises nothing but UplinkError; one connection, opened when needed.
Must not: keep batches, believe what it carries, or use more of MQTT than version 3.1.1.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiomqtt

from sync.answers import refuse, unreadable
from sync.knock import refusal
from sync.mqtt_refusals import explain_mqtt, forbidden, refused_to_connect, silent
from sync.ports import Fetched, NotModified, Reason, Uplink, UplinkError, Versions
from wire.errors import WireError
from wire.mqtt import DOWN_ANSWER, UP_EVENTS, Reply, batch_hash, parse_reply, topic
from wire.names import DeviceId, Tenant

DEFAULT_PORT: Final = 8883
_OK: Final = 200
_LEAVE_S: Final = 2.0
_REFUSED_SUBSCRIPTION: Final = 0x80
_MAX_QUEUED: Final = 32
"""Answers that wait to be looked at; a broker that sends more loses them."""


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which the library leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as ssl has it
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


@dataclass(frozen=True, slots=True)
class MqttDeadlines:
    """How long each step may take, in seconds.

    Attributes:
        connect_s: reaching the broker, TLS, logging in and subscribing.
        send_s: from the batch to the cloud's answer; a batch of 150 kB on a line of 100 kbit/s takes 12 s.
        knock_s: finding out why there is no connection, twice at most.
    """

    connect_s: float = 10.0
    send_s: float = 30.0
    knock_s: float = 2.0


_USUAL: Final = MqttDeadlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is, and who we are there.

    Attributes:
        url: "mqtts://host:port"; the port may be left out.
        tenant, device: as in the device's certificate.
        certificate, key, ca: PEM files; the CA is the one that may sign the broker's certificate.
    """

    url: str
    tenant: Tenant
    device: DeviceId
    certificate: Path
    key: Path
    ca: Path

    def address(self) -> tuple[str, int]:
        """Give host and port.

        Raises:
            UplinkError: REFUSED when the address is none.
        """
        try:
            parts = urlsplit(self.url)
            host, port, scheme = parts.hostname, parts.port or DEFAULT_PORT, parts.scheme
        except ValueError:
            host, port, scheme = None, DEFAULT_PORT, ""
        if not host or scheme != "mqtts":
            what = f"{self.url!r} is no address of a broker"
            raise UplinkError(Reason.REFUSED, what=what, remedy="write it like mqtts://cloud.example:8883")
        return host, port

    def context(self, *, anonymous: bool = False) -> ssl.SSLContext:
        """Read the files, which may have been renewed since the last connection.

        Args:
            anonymous: show no certificate.

        Raises:
            UplinkError: TLS_REFUSED when they cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = _TidySocket
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(cafile=self.ca)
            if not anonymous:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # ssl.SSLError is one
            raise UplinkError(
                Reason.TLS_REFUSED,
                what=f"the device's certificate files cannot be used ({error.strerror or type(error).__name__})",
                remedy=f"check {self.certificate}, {self.key} and {self.ca}; doorward provision door writes them anew",
            ) from error
        return context


@dataclass(slots=True)
class _Session:
    """A connection that is logged in and hears the cloud's answers."""

    client: aiomqtt.Client
    waiting: dict[bytes, asyncio.Future[Reply]] = field(default_factory=dict)
    listener: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether answers still arrive here."""
        return self.listener is not None and not self.listener.done()

    async def listen(self) -> None:
        """Hand each answer to whoever waits for it, until the connection breaks."""
        fault: Exception | None = None
        try:
            async for message in self.client.messages:
                self._hand(message.payload)
        except aiomqtt.MqttError as error:
            fault = error
        finally:
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(fault or aiomqtt.MqttError("the connection was closed"))

    def _hand(self, payload: object) -> None:
        """Drop what is not an answer that somebody waits for: late, repeated or foreign."""
        if not isinstance(payload, bytes):
            return
        try:
            reply = parse_reply(payload)
        except WireError:
            return
        future = self.waiting.get(reply.of)
        if future is not None and not future.done():
            future.set_result(reply)


class MqttUplink:
    """`sync.ports.Uplink` whose batches go over MQTT.

    Args:
        broker: where they go.
        https: the way of everything else; closed with this one.
        deadlines: of each step.
    """

    def __init__(self, broker: Broker, https: Uplink, deadlines: MqttDeadlines = _USUAL) -> None:
        self._broker = broker
        self._https = https
        self._deadlines = deadlines
        self._session: _Session | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def send_batch(self, data: bytes) -> bytes:
        """Deliver a signed batch and give the acknowledgement's bytes, unverified."""
        if self._closed:
            raise UplinkError(Reason.CLOSED, what="the uplink was closed", remedy="open it again")
        session = await self._connected()
        try:
            async with asyncio.timeout(self._deadlines.send_s):
                reply = await self._exchange(session, data)
        except TimeoutError as error:
            # Half-open connections look like this: the next batch gets a new one.
            await self._drop(session)
            raise silent(self._broker.url) from error
        except (aiomqtt.MqttError, OSError) as error:
            await self._drop(session)
            raise explain_mqtt(error, self._broker.url) from error
        if reply.status != _OK:
            refuse(reply.status, reply.body, retry_after=str(reply.retry_after_s) if reply.retry_after_s else None)
        if not reply.body:
            raise unreadable("an empty acknowledgement")
        return reply.body

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        """Get a document of at most `max_bytes`, over HTTPS."""
        return await self._https.fetch(path, etag=etag, query=query, max_bytes=max_bytes)

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        """Ask for the cloud's versions over HTTPS."""
        return await self._https.changes(versions, wait_s=wait_s)

    async def aclose(self) -> None:
        """End all connections; a second call does nothing."""
        self._closed = True
        if self._session is not None:
            await self._drop(self._session)
        await self._https.aclose()

    async def _exchange(self, session: _Session, data: bytes) -> Reply:
        name = batch_hash(data)
        # The same batch sent twice at a time waits for one answer.
        future = session.waiting.setdefault(name, asyncio.get_running_loop().create_future())
        try:
            up = topic(self._broker.tenant, self._broker.device, UP_EVENTS)
            await session.client.publish(up, data, qos=1)
            return await asyncio.shield(future)
        finally:
            session.waiting.pop(name, None)
            if future.done() and not future.cancelled():
                future.exception()  # looked at, should publishing have failed first

    async def _connected(self) -> _Session:
        async with self._connecting:
            if self._session is not None and self._session.usable:
                return self._session
            if self._session is not None:
                await self._drop(self._session)
            self._session = await self._connect()
            return self._session

    async def _connect(self) -> _Session:
        host, port = self._broker.address()
        client = aiomqtt.Client(
            host,
            port,
            identifier=f"{self._broker.tenant}/{self._broker.device}",
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            tls_context=self._broker.context(),
            timeout=self._deadlines.connect_s,
            max_queued_incoming_messages=_MAX_QUEUED,
        )
        session = _Session(client)
        try:
            async with asyncio.timeout(self._deadlines.connect_s):
                await client.__aenter__()
                down = topic(self._broker.tenant, self._broker.device, DOWN_ANSWER)
                granted = await client.subscribe(down, qos=1)
        except (aiomqtt.MqttError, OSError) as error:  # TimeoutError is an OSError
            await _leave(client)
            raise await self._explain(error) from error
        if _REFUSED_SUBSCRIPTION in granted:
            await _leave(client)
            raise forbidden(self._broker.url)
        session.listener = asyncio.create_task(session.listen())
        return session

    async def _explain(self, error: aiomqtt.MqttError | OSError) -> UplinkError:
        """Find out why there is no connection: a refused certificate looks like a broker that does not answer."""
        found = explain_mqtt(error, self._broker.url)
        if found.reason is not Reason.UNREACHABLE or refused_to_connect(error):
            return found
        host, port = self._broker.address()
        place = f"mqtts://[{host}]:{port}" if ":" in host else f"mqtts://{host}:{port}"
        contexts = {"identified": self._broker.context(), "anonymous": self._broker.context(anonymous=True)}
        return await refusal(place, **contexts, wait_s=self._deadlines.knock_s) or silent(self._broker.url)

    async def _drop(self, session: _Session) -> None:
        if self._session is session:
            self._session = None
        if session.listener is not None:
            session.listener.cancel()
            await asyncio.wait((session.listener,))
        await _leave(session.client)


async def _leave(client: aiomqtt.Client) -> None:
    """Log out; a broker that does not answer is left all the same."""
    with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            await client.__aexit__(None, None, None)
