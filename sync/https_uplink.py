"""The way to the cloud over HTTPS: HTTP/1.1, the device's certificate, the cloud's own CA and no other.

Invariant: every call ends within its deadline, reads at most as much as it may, and raises nothing but UplinkError.
Must not: believe what it carries, follow a redirect, use a proxy of the environment, or decompress.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from sync.answers import MAX_ANSWER_BYTES, parse_versions, refuse, unreadable
from sync.knock import may_be_refusal, refusal
from sync.ports import Fetched, NotModified, Reason, UplinkError, Versions
from sync.refusals import explain, late
from wire.batch import MAX_ACKNOWLEDGEMENT_BYTES
from wire.messages import DEVICE_CHANGES, DEVICE_EVENTS, MEDIA_COSE

_PLAIN: Final = ("identity", "")
_SLOWEST_BYTES_S: Final = 25_000
"""200 kbit/s: the slowest line on which a whole roster still comes."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each call may take in all, in seconds.

    Attributes:
        connect_s: reaching the cloud and agreeing on TLS.
        send_s: a batch of 150 kB up on a line of 100 kbit/s takes 12 s.
        fetch_s: a status list of 1.3 MB down on a line of 200 kbit/s takes 52 s; documents that may be larger than
            2 MB are given the time that they take at that pace.
        knock_s: for finding out why a connection broke, twice at most.
        beyond_wait_s: for an answer to a long question, beyond what the cloud was allowed to wait.
    """

    connect_s: float = 10.0
    send_s: float = 30.0
    fetch_s: float = 90.0
    beyond_wait_s: float = 10.0
    knock_s: float = 2.0


_USUAL: Final = Deadlines()


@dataclass(frozen=True, slots=True)
class _Question:
    """One request, and the bounds of its answer."""

    method: str
    path: str
    deadline_s: float
    max_bytes: int
    headers: Mapping[str, str]
    query: Mapping[str, str]
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back, complete."""

    status: int
    headers: httpx.Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class _Identity:
    """The two faces of this device: with its certificate and without."""

    identified: ssl.SSLContext
    anonymous: ssl.SSLContext
    certificate: Path
    key: Path

    def load(self) -> None:
        """Read the files; connections made from now on show what is in them."""
        self.identified.load_cert_chain(self.certificate, self.key)


def open_https_uplink(
    *, url: str, certificate: Path, key: Path, ca: Path, deadlines: Deadlines = _USUAL
) -> "HttpsUplink":
    """Read the device's identity and make an uplink; no connection is opened yet.

    Args:
        url: of the cloud's device listener, "https://host:port".
        certificate: the device's, a PEM file.
        key: the device's, a PEM file.
        ca: the one CA that may sign the cloud's certificate, a PEM file.
        deadlines: of each call.

    Raises:
        UplinkError: TLS_REFUSED when the files cannot be used, REFUSED when the address is none.
    """
    try:
        identity = _Identity(_trusting(ca), _trusting(ca), certificate, key)
        identity.load()
    except OSError as error:  # ssl.SSLError is one
        raise UplinkError(
            Reason.TLS_REFUSED,
            what=f"the device's certificate files cannot be used ({error.strerror or type(error).__name__})",
            remedy=f"check {certificate}, {key} and {ca}; doorward provision door writes them anew",
        ) from error
    try:
        client = _client(url, identity.identified, deadlines)
    except httpx.InvalidURL as error:
        raise UplinkError(
            Reason.REFUSED, what=f"{url!r} is no address ({error})", remedy="write it like https://cloud.example:8443"
        ) from error
    return HttpsUplink(client, url, deadlines, identity)


def _trusting(ca: Path) -> ssl.SSLContext:
    """Make a context that believes one authority and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca)
    return context


def _client(url: str, context: ssl.SSLContext, deadlines: Deadlines) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        verify=context,
        http1=True,
        http2=False,
        follow_redirects=False,
        trust_env=False,
        timeout=httpx.Timeout(None, connect=deadlines.connect_s),
        # One connection a direction, kept: a handshake costs more than a batch.
        limits=httpx.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=60.0),
        headers={"accept-encoding": "identity", "user-agent": "doorward"},
    )


class HttpsUplink:
    """`sync.ports.Uplink` over HTTPS; made by `open_https_uplink`."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        deadlines: Deadlines,
        identity: _Identity,
    ) -> None:
        self._client = client
        self._url = url
        self._deadlines = deadlines
        self._identity = identity

    async def send_batch(self, data: bytes) -> bytes:
        """Deliver a signed batch and give the acknowledgement's bytes, unverified."""
        question = _Question(
            method="POST",
            path=DEVICE_EVENTS,
            deadline_s=self._deadlines.send_s,
            max_bytes=MAX_ACKNOWLEDGEMENT_BYTES,
            headers={"content-type": MEDIA_COSE},
            query={},
            content=data,
        )
        return (await self._ask(question, HTTPStatus.OK)).body

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        """Get a document of at most `max_bytes`."""
        headers = {} if etag is None else {"if-none-match": etag}
        deadline_s = max(self._deadlines.fetch_s, max_bytes / _SLOWEST_BYTES_S)
        question = _Question("GET", path, deadline_s, max_bytes, headers, query)
        answer = await self._ask(question, HTTPStatus.OK, HTTPStatus.NOT_MODIFIED)
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return NotModified()
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Fetched(answer.body, media_type, answer.headers.get("etag"))

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        """Give the cloud's versions at once when they differ from `versions`, else after `wait_s` seconds."""
        query = {
            "trust": str(versions.trust),
            "policy": str(versions.policy),
            "roster": str(versions.roster),
            "commands": str(versions.commands),
            "wait_s": str(wait_s),
        }
        if versions.status:
            query["status"] = ",".join(f"{number}:{held}" for number, held in sorted(versions.status.items()))
        deadline_s = wait_s + self._deadlines.beyond_wait_s
        question = _Question("GET", DEVICE_CHANGES, deadline_s, MAX_ANSWER_BYTES, {}, query)
        return parse_versions((await self._ask(question, HTTPStatus.OK)).body)

    async def aclose(self) -> None:
        """End all connections; a second call does nothing."""
        await self._client.aclose()

    async def _ask(self, question: _Question, *welcome: HTTPStatus) -> _Answer:
        if self._client.is_closed:
            raise UplinkError(Reason.CLOSED, what="the uplink was closed", remedy="open it again")
        try:
            async with asyncio.timeout(question.deadline_s):
                answer = await self._exchange(question, welcome)
        except TimeoutError as error:
            raise late(self._url) from error
        except (httpx.HTTPError, OSError) as error:  # a TLS alert that ends a read comes as it is, unwrapped
            raise await self._explain(error) from error
        if answer.status not in welcome:
            refuse(answer.status, answer.body, retry_after=answer.headers.get("retry-after"))
        return answer

    async def _explain(self, error: httpx.HTTPError | OSError) -> UplinkError:
        """Find out why a connection broke; a refused certificate may have been renewed on disk since it was read."""
        found = explain(error, self._url)
        if may_be_refusal(error):
            contexts = {"identified": self._identity.identified, "anonymous": self._identity.anonymous}
            found = await refusal(self._url, **contexts, wait_s=self._deadlines.knock_s) or found
        if found.reason is Reason.TLS_REFUSED:
            with contextlib.suppress(OSError):
                self._identity.load()
        return found

    async def _exchange(self, question: _Question, welcome: tuple[HTTPStatus, ...]) -> _Answer:
        request = self._client.build_request(
            question.method,
            question.path,
            params=question.query,
            headers=question.headers,
            content=question.content,
        )
        response = await self._client.send(request, stream=True)
        try:
            limit = question.max_bytes if response.status_code in welcome else MAX_ANSWER_BYTES
            return _Answer(response.status_code, response.headers, await _bounded(response, limit))
        finally:
            await response.aclose()


async def _bounded(response: httpx.Response, limit: int) -> bytes:
    """Read a body of at most `limit` bytes as it came over the line."""
    if response.headers.get("content-encoding", "") not in _PLAIN:
        raise unreadable("a compressed body, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise unreadable(f"more than {limit} bytes")
    return bytes(body)
