"""The two listening sockets and the HTTP servers behind them.

Invariant: the peer certificate comes from the TLS connection itself; what a connection has not yet sent is bounded in
size, and in time without progress; so is the number of connections that one certificate holds.
Must not: install signal handlers; `cloud/server.py` decides when to stop.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cloud.asgi import PIECE_BYTES, Entry
from cloud.devices.guard import PEER, PeerCertificate
from cloud.errors import CloudError, Reason
from cloud.settings import Address, CloudSettings

UNREAD_S: Final = 30.0
"""How long a peer may take nothing of what is sent to it; then the system ends the connection (TCP_USER_TIMEOUT).
A slow line goes on, since whatever the peer acknowledges counts."""
MOST_CONNECTIONS: Final = 16
"""How many connections one client certificate may hold; a door's client opens up to 4. One more ends the oldest rather
than be refused: a door that changes networks leaves behind connections that it cannot end."""
MOST_NAMELESS: Final = 1000
"""How many connections without a client certificate, which is all that enrolment is, may be open together."""
_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 420
"""Longer than a door keeps a connection that rests (360 s), so that no request meets its end."""


class Crowd:
    """The open connections of each client certificate, and of those without one, the oldest first."""

    def __init__(self) -> None:
        self._open: dict[PeerCertificate | None, dict[asyncio.Transport, None]] = {}

    def enter(self, peer: PeerCertificate | None, connection: asyncio.Transport) -> None:
        """Count a connection; end the oldest of its certificate when it is one too many."""
        held = self._open.setdefault(peer, {})
        if len(held) == (MOST_NAMELESS if peer is None else MOST_CONNECTIONS):
            oldest = next(iter(held))
            del held[oldest]
            oldest.abort()
        held[connection] = None

    def leave(self, peer: PeerCertificate | None, connection: asyncio.Transport) -> None:
        """Forget a connection that ended."""
        held = self._open.get(peer, {})
        held.pop(connection, None)
        if not held:
            self._open.pop(peer, None)


class ListenerConfig(Config):
    """uvicorn's configuration, with a limit for connections that never ask (uvicorn limits only later pauses)."""

    first_request_s: float = 30.0
    crowd: Crowd | None = None
    """None where no device connects: for the API, which a proxy stands before."""


class PeerCertificateProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the peer certificate in every request's scope."""

    _peer: PeerCertificate | None = None
    _crowd: Crowd | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the certificate once the TLS handshake is over."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=PIECE_BYTES)  # over TLS it would be eight times as much
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if der is not None:
            self._peer = PeerCertificate.from_der(der)
        if isinstance(self.config, ListenerConfig):
            limit_s = self.config.first_request_s
            self.timeout_keep_alive_task = self.loop.call_later(limit_s, self.timeout_keep_alive_handler)
            self._crowd = self.config.crowd
        if self._crowd is not None:
            self._crowd.enter(self._peer, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the crowd."""
        if self._crowd is not None:
            self._crowd.leave(self._peer, self.transport)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Put the certificate into the scope of the request that begins."""
        super().on_message_begin()
        if self._peer is not None:
            self.scope[PEER] = self._peer  # type: ignore[typeddict-unknown-key]

    def shutdown(self) -> None:
        """End at a stop. A door whose connection rests does not answer the end of TLS, and would hold the stop up."""
        cycle: RequestResponseCycle | None = self.cycle  # before the first request there is none
        rests = cycle is None or cycle.response_complete
        if rests and not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().shutdown()


class QuietServer(Server):
    """uvicorn's server without its signal handlers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def bind(address: Address, *, setting: str, unread_s: float = UNREAD_S) -> socket.socket:
    """Open a listening socket.

    Args:
        address: where; port 0 lets the system choose.
        setting: the option that names it, for the error message.
        unread_s: how long a peer may take nothing of what is sent to it, before its connection ends.

    Raises:
        CloudError: PORT_IN_USE or SETTING_INVALID.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_s * 1000))  # connections inherit it
    try:
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _not_bound(error, address, setting) from error
    listener.settimeout(0)
    return listener


def bound_address(listener: socket.socket) -> Address:
    """Give the address with the port that the system chose."""
    host, port = listener.getsockname()[:2]
    return Address(host=host, port=port)


def make_server(entry: Entry, settings: CloudSettings, *, context: ssl.SSLContext | None = None) -> QuietServer:
    """Make the HTTP server of a listener; TLS when there is a context."""
    config = ListenerConfig(
        entry,
        http=PeerCertificateProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_s)),
        backlog=_BACKLOG,
    )
    config.first_request_s = settings.first_request_s
    config.load()
    config.ssl = context
    config.crowd = None if context is None else Crowd()
    return QuietServer(config)


def _not_bound(error: OSError, address: Address, setting: str) -> CloudError:
    if error.errno == errno.EADDRINUSE:
        what = f"Port {address.port} on {address.host} is in use by another program."
        remedy = f"Stop it, or choose another port with {setting} (port 0 lets the system choose)."
        return CloudError(Reason.PORT_IN_USE, what, remedy=remedy)
    detail = f"{setting}: cannot listen on {address.host} port {address.port}: {error.strerror or error}."
    return CloudError(Reason.SETTING_INVALID, detail)
