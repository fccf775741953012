"""The way to the cloud over HTTPS: HTTP/1.1, the device's certificate, the cloud's own CA and no other.

Invariant: every call ends within its deadline, reads at most as much as it may, and raises nothing but UplinkError.
Must not: believe what it carries, follow a redirect, use a proxy of the environment, or decompress.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from sync.answers import MAX_ANSWER_BYTES, parse_versions, refuse, unreadable
from sync.knock import may_be_refusal, refusal
from sync.ports import Fetched, NotModified, Reason, UplinkError
from sync.refusals import explain, late
from sync.resumption import Resumption
from wire.batch import MAX_ACKNOWLEDGEMENT_BYTES, MAX_BATCH_EVENTS
from wire.messages import DEVICE_CHANGES, DEVICE_EVENTS, DEVICE_HEALTH, MEDIA_COSE, MEDIA_HEALTH
from wire.versions import Versions

_PLAIN: Final = ("identity", "")
_SLOWEST_BYTES_S: Final = 25_000
"""200 kbit/s: the slowest line on which a whole roster still comes."""
KEPT_S: Final = 360.0
"""How long a connection rests at most: longer than the pauses of a door that a broker tells of news (hints.NET_S), who
so asks without a handshake. A thousand of those at once would keep the cloud busy for seconds."""
_PROBES: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 25),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""TCP asks after 25 s whether the other end still knows the connection: below the 30 s after which common address
translators forget one, and what is forgotten all the same is noticed before a question is lost in it."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each call may take in all, in seconds.

    Attributes:
        connect_s: reaching the cloud and agreeing on TLS.
        send_s: a batch of 150 kB up on a line of 100 kbit/s takes 12 s.
        fetch_s: a status list of 1.3 MB down on a line of 200 kbit/s takes 52 s; documents that may be larger than
            2 MB are given the time that they take at that pace.
        report_s: a report of health, which is small and soon followed by the next.
        knock_s: for finding out why a connection broke, twice at most.
        beyond_wait_s: for an answer to a long question, beyond what the cloud was allowed to wait.
    """

    connect_s: float = 10.0
    send_s: float = 30.0
    fetch_s: float = 90.0
    beyond_wait_s: float = 10.0
    report_s: float = 10.0
    knock_s: float = 2.0


_USUAL: Final = Deadlines()


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and the bounds of its answer."""

    method: str
    path: str
    deadline_s: float
    max_bytes: int
    headers: Mapping[str, str]
    query: Mapping[str, str]
    content: bytes | None = None
    resumable: bool = False

    @property
    def name(self) -> str:
        """Which document it asks for."""
        return f"{self.path}?{sorted(self.query.items())}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, complete; headers by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """The two faces of this device: with its certificate and without."""

    identified: ssl.SSLContext
    anonymous: ssl.SSLContext
    certificate: Path
    key: Path

    def load(self) -> None:
        """Read the files; connections made from now on show what is in them."""
        self.identified.load_cert_chain(self.certificate, self.key)


def open_https_uplink(
    *,
    url: str,
    certificate: Path,
    key: Path,
    ca: Path,
    deadlines: Deadlines = _USUAL,
    kind: "type[HttpsUplink] | None" = None,
) -> "HttpsUplink":
    """Read the device's identity and make an uplink; no connection is opened yet.

    Args:
        url: of the cloud's device listener, "https://host:port".
        certificate: the device's, a PEM file.
        key: the device's, a PEM file.
        ca: the one CA that may sign the cloud's certificate, a PEM file.
        deadlines: of each call.
        kind: that makes its requests in another way; HttpsUplink itself if None.

    Raises:
        UplinkError: TLS_REFUSED when the files cannot be used, REFUSED when the address is none.
    """
    try:
        identity = Identity(_trusting(ca), _trusting(ca), certificate, key)
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
    return (kind or HttpsUplink)(client, url, deadlines, identity)


def _trusting(ca: Path) -> ssl.SSLContext:
    """Make a context that believes one authority and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca)
    return context


def _client(url: str, context: ssl.SSLContext, deadlines: Deadlines) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(
        verify=context,
        http1=True,
        http2=False,
        trust_env=False,
        # One connection a direction, kept: a handshake costs more than a batch.
        limits=httpx.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=KEPT_S),
        socket_options=_PROBES,
    )
    return httpx.AsyncClient(
        base_url=url,
        transport=transport,
        follow_redirects=False,
        trust_env=False,
        timeout=httpx.Timeout(None, connect=deadlines.connect_s),
        headers={"accept-encoding": "identity", "user-agent": "doorward"},
    )


class HttpsUplink:
    """`sync.ports.Uplink` over HTTPS; made by `open_https_uplink`.

    A simulator of doors may make its requests in another way, by another `exchange`.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        deadlines: Deadlines,
        identity: Identity,
    ) -> None:
        self._client = client
        self._url = url
        self._deadlines = deadlines
        self.identity = identity
        self._resumption = Resumption()

    @property
    def bearable_events(self) -> int:
        """As many as a batch may have."""
        return MAX_BATCH_EVENTS

    @property
    def direct(self) -> bool:
        """Always: TLS repeats nothing."""
        return True

    async def send_batch(self, data: bytes) -> bytes:
        """Deliver a signed batch and give the acknowledgement's bytes, unverified."""
        question = Question(
            method="POST",
            path=DEVICE_EVENTS,
            deadline_s=self._deadlines.send_s,
            max_bytes=MAX_ACKNOWLEDGEMENT_BYTES,
            headers={"content-type": MEDIA_COSE},
            query={},
            content=data,
        )
        return (await self._ask(question, HTTPStatus.OK)).body

    def doubt(self) -> None:
        """Do nothing: TLS says who answers, and there is no other way."""

    async def report(self, data: bytes) -> None:
        """Send a report of health."""
        question = Question(
            method="POST",
            path=DEVICE_HEALTH,
            deadline_s=self._deadlines.report_s,
            max_bytes=0,
            headers={"content-type": MEDIA_HEALTH},
            query={},
            content=data,
        )
        await self._ask(question, HTTPStatus.NO_CONTENT)

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        """Get a document of at most `max_bytes`."""
        headers = {} if etag is None else {"if-none-match": etag}
        deadline_s = max(self._deadlines.fetch_s, max_bytes / _SLOWEST_BYTES_S)
        question = Question("GET", path, deadline_s, max_bytes, headers, query, resumable=True)
        answer = await self._ask(question, HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED)
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
        question = Question("GET", DEVICE_CHANGES, deadline_s, MAX_ANSWER_BYTES, {}, query)
        return parse_versions((await self._ask(question, HTTPStatus.OK)).body)

    async def aclose(self) -> None:
        """End all connections; a second call does nothing."""
        await self._client.aclose()

    async def exchange(self, question: Question, welcome: tuple[HTTPStatus, ...]) -> Answer:
        """Put a question and read all of its answer; raises HTTPError, OSError, or UplinkError if it is too long."""
        rest = self._resumption.asks(question.name) if question.resumable else {}
        request = self._client.build_request(
            question.method,
            question.path,
            params=question.query,
            headers={**question.headers, **rest},
            content=question.content,
        )
        response = await self._client.send(request, stream=True)
        body, complete = bytearray(), False
        try:
            if question.resumable:
                body = self._resumption.begin(response.status_code, response.headers)
            limit = question.max_bytes if response.status_code in welcome else MAX_ANSWER_BYTES
            await _read(response, body, limit)
            complete = True
            return Answer(response.status_code, response.headers, bytes(body))
        finally:
            if question.resumable and not complete and response.status_code in welcome:
                self._resumption.broke(question.name, response.headers, body)
            await response.aclose()

    async def _ask(self, question: Question, *welcome: HTTPStatus) -> Answer:
        if self._client.is_closed:
            raise UplinkError(Reason.CLOSED, what="the uplink was closed", remedy="open it again")
        try:
            async with asyncio.timeout(question.deadline_s):
                answer = await self.exchange(question, welcome)
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
            contexts = {"identified": self.identity.identified, "anonymous": self.identity.anonymous}
            found = await refusal(self._url, **contexts, wait_s=self._deadlines.knock_s) or found
        if found.reason is Reason.TLS_REFUSED:
            with contextlib.suppress(OSError):
                self.identity.load()
        return found


async def _read(response: httpx.Response, body: bytearray, limit: int) -> None:
    """Append a body as it came over the line; all of it is to have at most `limit` bytes."""
    if response.headers.get("content-encoding", "") not in _PLAIN:
        raise unreadable("a compressed body, which was not asked for")
    async for chunk in response.aiter_raw():
        if len(body) + len(chunk) > limit:
            body.clear()
            raise unreadable(f"more than {limit} bytes")
        body += chunk
