"""A broker that says what mosquitto never does: a refused log-in, refused subscriptions, too few answers, bad messages.

Only what a client meets before it is at work is spoken: CONNECT and SUBSCRIBE of MQTT 3.1.1 (§3.1, §3.8) over real TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.devices.authority import DeviceAuthority

_CONNECT, _SUBSCRIBE = 1, 8


@asynccontextmanager
async def odd_broker(
    authority: DeviceAuthority, folder: Path, *, login: int = 0, granted: bytes = b"\x01\x01", after: bytes = b""
) -> AsyncIterator[str]:
    """Serve inside the block, and give the address.

    Args:
        authority: certifies it.
        folder: for its certificate.
        login: the code that answers a CONNECT, 0 for welcome.
        granted: the codes that answer a SUBSCRIBE.
        after: bytes that follow them at once; the connection is kept.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                kind, body = await _packet(reader)
                if kind == _CONNECT:
                    writer.write(bytes((0x20, 2, 0, login)))
                elif kind == _SUBSCRIBE:
                    writer.write(bytes((0x90, 2 + len(granted))) + body[:2] + granted + after)
                await writer.drain()
        writer.close()

    pem = folder / "odd-broker.pem"
    pem.write_bytes(authority.certify_listener(["127.0.0.1"], now=datetime.now(UTC)).to_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"mqtts://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def message(topic: bytes, payload: bytes, *, qos: int = 0) -> bytes:
    """Make a PUBLISH of at most 127 bytes."""
    number = b"\x00\x07" if qos else b""
    body = len(topic).to_bytes(2, "big") + topic + number + payload
    return bytes((0x30 | qos << 1, len(body))) + body


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one packet whose length fits one byte or two."""
    first, length = await reader.readexactly(2)
    if length > 127:
        (more,) = await reader.readexactly(1)
        length = (length & 127) + 128 * more
    return first >> 4, await reader.readexactly(length)
