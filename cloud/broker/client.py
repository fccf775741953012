"""A client of the broker with a certificate of the device CA, made afresh for each connection.

Invariant: no certificate of ours grows old: it begins with the connection that it opens.
Must not: leave a key on the disk for longer than it takes to read it.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import aiomqtt
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.broker.bounds import MAX_WAITING
from cloud.devices.authority import DeviceAuthority
from cloud.files import write_file
from cloud.settings import Address

_T = TypeVar("_T")
CONNECT_S: Final = 10.0
_LEAVE_S: Final = 2.0
_KEEPALIVE_S: Final = 20
"""A broker that is silent for longer has gone; a connection that is being made blocks a thread for as long at most."""


class _TidySocket(ssl.SSLSocket):
    """Closes itself when the handshake fails, which the library leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as ssl has it
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class HeedfulClient(aiomqtt.Client):
    """The library's client, whose waits end when they are told to.

    It waits by `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes together with the result;
    who awaits it would go on as if nobody had asked for the end.
    """

    async def _wait_for(self, fut: Awaitable[_T], timeout: float | None) -> _T:  # noqa: ASYNC109 - as the library has it
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        result = await super()._wait_for(fut, timeout)
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
        return result


def make_context(authority: DeviceAuthority, name: str, folder: Path, *, now: datetime) -> ssl.SSLContext:
    """Make the TLS context of a client that is `name` to the broker.

    Args:
        authority: the device CA, which signs both sides' certificates.
        name: as in cloud/broker/names.py.
        folder: private; the key is in it for an instant, since ssl reads files only.
        now: when the certificate begins.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _TidySocket
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority.certificate.public_bytes(Encoding.PEM).decode())
    path = folder / f".{name}.pem"
    write_file(path, authority.certify_service(name, now=now).to_pem())
    try:
        context.load_cert_chain(path)
    finally:
        path.unlink()
    return context


@contextlib.asynccontextmanager
async def connect(address: Address, context: ssl.SSLContext, name: str) -> AsyncIterator[aiomqtt.Client]:
    """Connect, and leave at the end of the block.

    Raises:
        MqttError, OSError: it does not answer, or refuses.
    """
    client = HeedfulClient(
        address.host,
        address.port,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        tls_context=context,
        timeout=CONNECT_S,
        keepalive=_KEEPALIVE_S,
        max_queued_incoming_messages=MAX_WAITING,
        logger=logging.Logger(name, logging.CRITICAL),  # noqa: LOG001 - to silence it: its exceptions say the same
    )
    try:
        async with asyncio.timeout(CONNECT_S):
            await client.__aenter__()
        yield client
    finally:
        await _leave(client)


async def _leave(client: aiomqtt.Client) -> None:
    """Log out; a broker that does not answer is left all the same."""
    with contextlib.suppress(aiomqtt.MqttError, OSError, TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            await client.__aexit__(None, None, None)
