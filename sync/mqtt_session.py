"""One connection to a broker: TLS, log-in, subscriptions, and what is heard until it breaks.

Invariant: a connection is opened within its deadline or not at all; what is heard is bounded and of two kinds, answers
that somebody waits for and the newest announcement.
Must not: believe what it carries, or use more of MQTT than version 3.1.1.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.exception import MalformedPacket

from sync.knock import refusal
from sync.mqtt_refusals import explain_mqtt, forbidden, refused_to_connect, silent
from sync.ports import Reason, UplinkError
from wire.errors import WireError
from wire.mqtt import DOWN_ANSWER, DOWN_VERSIONS, Reply, parse_reply, topic
from wire.names import DeviceId, Tenant
from wire.versions import Versions, parse_versions

_T = TypeVar("_T")
DEFAULT_PORT: Final = 8883
KEEPALIVE_S: Final = 60
"""How long a quiet door says nothing: 4 bytes of MQTT a minute, and a dead connection is found within two."""
_HANDSHAKE_S: Final = 10.0
_LEAVE_S: Final = 2.0
_REFUSED_SUBSCRIPTION: Final = 0x80
_LONGEST_BYTES: Final = 8_192
"""An announcement has at most 4,096, a reply 2,112; each comes with its topic."""
_MAX_QUEUED: Final = 32
"""Messages that wait to be looked at; a broker that sends more loses them."""


class _TidySocket(ssl.SSLSocket):
    """Bounds what the library does not: the time of a handshake, and the length of a message.

    The library shakes hands in a thread of the pool that everything else shares, would hold it for a minute, and leaves
    a socket that failed open. It makes room at once for as many bytes as a message says to have, up to 256 MB.
    """

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as ssl has it
        self.settimeout(_HANDSHAKE_S)
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if buflen > _LONGEST_BYTES:
            raise ConnectionAbortedError("a message is longer than any that a door is sent")
        return super().recv(buflen, flags)


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
            (host or "").encode("idna")  # as looking it up does, where the fault would be nobody's
        except ValueError:  # UnicodeError is one
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

    def topic(self, leaf: str) -> str:
        """Give one of this door's topics."""
        return topic(self.tenant, self.device, leaf)


class HeedfulClient(aiomqtt.Client):
    """The library's client, whose waits and connections end when they are told to, and which hears nothing unasked.

    It waits by `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes together with the result;
    who awaits it would go on as if nobody had asked for the end. It connects in a thread, which may come to its end
    when nobody waits for it any more. It keeps, without a bound, what a broker has it confirm.

    Attributes:
        unwanted: nobody waits for its connection any more; one that comes to be is closed.
    """

    unwanted = False

    def give_up(self) -> None:
        """Close the connection, now or when it comes to be; a second call does nothing."""
        self.unwanted = True
        self._client._sock_close()  # noqa: SLF001 - after a message that it cannot read the library leaves it open

    def _on_socket_open(self, client: PahoClient, userdata: object, sock: socket.socket) -> None:
        if self.unwanted:
            sock.close()
            raise ConnectionAbortedError("nobody waits for this connection any more")
        for confirm in ("_send_puback", "_send_pubrec"):
            setattr(client, confirm, _unasked)
        super()._on_socket_open(client, userdata, sock)

    async def _wait_for(self, fut: Awaitable[_T], timeout: float | None) -> _T:  # noqa: ASYNC109 - as the library has it
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        result = await super()._wait_for(fut, timeout)
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
        return result


def _unasked(number: int) -> NoReturn:
    """End the connection: all that a door subscribes to comes unconfirmed."""
    raise MalformedPacket(f"message {number} asks to be confirmed")


@dataclass(slots=True, eq=False)
class Session:
    """A connection that is logged in.

    Attributes:
        hears_versions: the broker lets this door hear announcements.
        stirred: set when something was announced and when the session is over; whoever looks clears it.
        heard: the newest announcement, None before the first.
        waiting: hash of a batch -> whoever waits for the answer to it.
        fault: why it is over; None while it is not.
    """

    client: HeedfulClient
    broker: Broker
    hears_versions: bool
    stirred: asyncio.Event
    heard: Versions | None = None
    waiting: dict[bytes, asyncio.Future[Reply]] = field(default_factory=dict)
    fault: UplinkError | None = None
    _listener: asyncio.Task[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether answers still arrive here."""
        return self.fault is None and self._listener is not None and not self._listener.done()

    def listen(self) -> None:
        """Begin to hear, until the connection breaks or `end` is called."""
        self._listener = asyncio.create_task(self._listen())

    def end(self, fault: UplinkError) -> None:
        """Use it no more; returns at once, `aclose` frees it."""
        self.fault = self.fault or fault
        if self._listener is not None:
            self._listener.cancel()
        self.stirred.set()

    async def over(self) -> UplinkError:
        """Wait until it is over and give why."""
        if self._listener is not None:
            await asyncio.wait((self._listener,))
        return self.fault or silent(self.broker.url)

    async def aclose(self) -> None:
        """Log out; a broker that does not answer is left all the same."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait((self._listener,))
        await _leave(self.client)

    async def _listen(self) -> None:
        """Take what comes; whoever still waits when the connection breaks is told so."""
        broken = aiomqtt.MqttError("the connection was closed")
        try:
            async for message in self.client.messages:
                self._take(message)
        except aiomqtt.MqttError as error:
            broken = error
        finally:
            self.fault = self.fault or explain_mqtt(broken, self.broker.url)
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(broken)
            self.stirred.set()

    def _take(self, message: aiomqtt.Message) -> None:
        """Drop what is neither an announcement nor an answer that somebody waits for: late, repeated or foreign."""
        payload: object = message.payload
        if not isinstance(payload, bytes):
            return
        with contextlib.suppress(WireError):
            if message.topic.value == self.broker.topic(DOWN_VERSIONS):
                self.heard = parse_versions(payload)
                self.stirred.set()
            else:
                self._hand(parse_reply(payload))

    def _hand(self, reply: Reply) -> None:
        future = self.waiting.get(reply.of)
        if future is not None and not future.done():
            future.set_result(reply)


async def open_session(broker: Broker, stirred: asyncio.Event, *, connect_s: float, knock_s: float) -> Session:
    """Connect, log in and subscribe.

    Args:
        broker: where, and as whom.
        stirred: is set when something was announced, and when the session is over.
        connect_s: for all of it.
        knock_s: for finding out why there is no connection, twice at most.

    Raises:
        UplinkError: it did not work in time.
    """
    host, port = broker.address()
    client = HeedfulClient(
        host,
        port,
        identifier=f"{broker.tenant}/{broker.device}",
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        keepalive=KEEPALIVE_S,
        tls_context=broker.context(),
        timeout=connect_s,
        max_queued_incoming_messages=_MAX_QUEUED,
        logger=logging.Logger("mqtt", logging.CRITICAL),  # noqa: LOG001 - silent: a broker could fill the log
    )
    wanted = [(broker.topic(leaf), 0) for leaf in (DOWN_ANSWER, DOWN_VERSIONS)]
    try:
        async with asyncio.timeout(connect_s):
            await client.__aenter__()
            answers, versions = _granted(await client.subscribe(wanted), len(wanted))
    except (aiomqtt.MqttError, OSError) as error:  # TimeoutError is an OSError
        await _leave(client)
        raise await _explain(broker, error, knock_s) from error
    except asyncio.CancelledError:
        await _leave(client)
        raise
    if not answers:
        await _leave(client)
        raise forbidden(broker.url)
    session = Session(client, broker, versions, stirred)
    session.listen()
    return session


def _granted(codes: Sequence[object], count: int) -> list[bool]:
    """Tell which subscriptions were granted; a broker that answers for fewer refuses the others."""
    refused = [*codes, *[_REFUSED_SUBSCRIPTION] * count][:count]
    return [code != _REFUSED_SUBSCRIPTION for code in refused]


async def _explain(broker: Broker, error: aiomqtt.MqttError | OSError, knock_s: float) -> UplinkError:
    """Find out why there is no connection: a refused certificate looks like a broker that does not answer."""
    found = explain_mqtt(error, broker.url)
    if found.reason is not Reason.UNREACHABLE or refused_to_connect(error):
        return found
    host, port = broker.address()
    place = f"mqtts://[{host}]:{port}" if ":" in host else f"mqtts://{host}:{port}"
    contexts = {"identified": broker.context(), "anonymous": broker.context(anonymous=True)}
    return await refusal(place, **contexts, wait_s=knock_s) or silent(broker.url)


async def _leave(client: HeedfulClient) -> None:
    try:
        with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await client.__aexit__(None, None, None)
    finally:
        client.give_up()
