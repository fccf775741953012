"""The two listening sockets and the HTTP servers behind them.

Invariant: the peer certificate comes from the TLS connection itself; what a connection has not yet sent is bounded in
size, and in time without progress.
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
_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 420
"""Longer than a door keeps a connection that rests (360 s), so that no request meets its end."""


class ListenerConfig(Config):
    """uvicorn's configuration, with a limit for connections that never ask (uvicorn limits only later pauses)."""

    first_request_s: float = 30.0


class PeerCertificateProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the peer certificate in every request's scope."""

    _peer: PeerCertificate | None = None

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
    return QuietServer(config)


def _not_bound(error: OSError, address: Address, setting: str) -> CloudError:
    if error.errno == errno.EADDRINUSE:
        what = f"Port {address.port} on {address.host} is in use by another program."
        remedy = f"Stop it, or choose another port with {setting} (port 0 lets the system choose)."
        return CloudError(Reason.PORT_IN_USE, what, remedy=remedy)
    detail = f"{setting}: cannot listen on {address.host} port {address.port}: {error.strerror or error}."
    return CloudError(Reason.SETTING_INVALID, detail)
