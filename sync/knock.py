"""Find out whether a connection broke because the cloud does not accept this door's certificate.

In TLS 1.3 a server refuses a client's certificate after the client believes that all is well, and common servers then
hang up without a word: for the door a refused certificate looks like a flaky line. So knock twice without asking for
anything: with the certificate, and, if that is hung up on, without. Being welcome only without it is the answer.

Invariant: ends within twice `wait_s`; never sends a request.
Must not: run unless a connection broke after it was made.
"""

import asyncio
import ssl
from enum import Enum, unique
from typing import Final
from urllib.parse import urlsplit

import httpx

from sync.ports import Reason, UplinkError
from sync.refusals import ENROL_AGAIN, causes, explain, peer_at

_BROKEN: Final = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, httpx.ReadError, httpx.RemoteProtocolError)


@unique
class _Welcome(Enum):
    """How a server takes a silent visitor."""

    WAITS = "waits"
    HANGS_UP = "hangs_up"


def may_be_refusal(error: BaseException) -> bool:
    """Tell whether the connection broke after it was made, which is how a refused certificate looks."""
    return any(isinstance(cause, _BROKEN) for cause in causes(error))


async def refusal(
    url: str, *, identified: ssl.SSLContext, anonymous: ssl.SSLContext, wait_s: float
) -> UplinkError | None:
    """Give the error when who is there does not accept this door's certificate, None when that is not the reason.

    Args:
        url: of the cloud or the broker.
        identified: shows the certificate.
        anonymous: shows none; otherwise alike.
        wait_s: how long a server may take to hang up.
    """
    with_certificate = await _knock(url, identified, wait_s)
    if isinstance(with_certificate, UplinkError):
        return with_certificate
    if with_certificate is _Welcome.WAITS or await _knock(url, anonymous, wait_s) is not _Welcome.WAITS:
        return None
    return UplinkError(
        Reason.TLS_REFUSED,
        what=f"the {peer_at(url)} at {url} hangs up on this door's certificate:"
        " it has expired, or another authority signed it",
        remedy=ENROL_AGAIN,
    )


async def _knock(url: str, context: ssl.SSLContext, wait_s: float) -> _Welcome | UplinkError:
    """Connect and listen: a server speaks first only to refuse."""
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 443
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(wait_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
            await reader.read(1)
    except TimeoutError:
        return _Welcome.HANGS_UP if writer is None else _Welcome.WAITS
    except ssl.SSLEOFError:
        return _Welcome.HANGS_UP
    except ssl.SSLError as error:
        return explain(error, url)
    except OSError:
        return _Welcome.HANGS_UP
    finally:
        if writer is not None:
            writer.transport.abort()
    return _Welcome.HANGS_UP
