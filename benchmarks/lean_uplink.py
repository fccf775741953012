"""Requests of simulated doors that cost little: no pool, no redirects, no cookies, no proxies.

Most of what a simulated door did was its HTTP client's work. A real door has a processor for that; a thousand doors on
the machine of the service have not: the benchmark would measure them instead of the service. Deadlines, refusals and
what is read are the product's.

Must not: be used by a door.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx

from sync.answers import MAX_ANSWER_BYTES, unreadable
from sync.https_uplink import Answer, Deadlines, HttpsUplink, Identity, Question

_MAX_KEPT: Final = 2


class _Connection:
    """One connection of HTTP/1.1, used by one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def usable(self) -> bool:
        """Tell whether the cloud has not ended it."""
        return not self._reader.at_eof()

    async def exchange(self, request: bytes, question: Question, welcome: tuple[HTTPStatus, ...]) -> Answer:
        """Send a request and read its answer."""
        self._writer.write(request)
        try:
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            named = (line.partition(":") for line in lines[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in named}
            status, size = int(lines[0].split()[1]), int(headers.get("content-length", "0"))
            limit = question.max_bytes if status in welcome else MAX_ANSWER_BYTES
            if size > limit:
                raise unreadable(f"more than {limit} bytes")
            return Answer(status, headers, await self._reader.readexactly(size))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError from error

    def close(self) -> None:
        """End it."""
        self._writer.transport.abort()


class LeanUplink(HttpsUplink):
    """An uplink over HTTPS that keeps up to two connections."""

    def __init__(self, client: httpx.AsyncClient, url: str, deadlines: Deadlines, identity: Identity) -> None:
        super().__init__(client, url, deadlines, identity)
        self._address = urlsplit(url)
        self._kept: list[_Connection] = []

    async def exchange(self, question: Question, welcome: tuple[HTTPStatus, ...]) -> Answer:
        """Put a question and read all of its answer."""
        connection = await self._connection()
        complete = False
        try:
            answer = await connection.exchange(_request(question, self._address.netloc), question, welcome)
            complete = True
            return answer
        finally:
            if complete and len(self._kept) < _MAX_KEPT:
                self._kept.append(connection)
            else:
                connection.close()

    async def aclose(self) -> None:
        """End all connections."""
        while self._kept:
            self._kept.pop().close()
        await super().aclose()

    async def _connection(self) -> _Connection:
        while self._kept:
            connection = self._kept.pop()
            if connection.usable:
                return connection
            connection.close()
        tls: dict[str, Any] = {"ssl": self.identity.identified, "server_hostname": self._address.hostname}
        return _Connection(*await asyncio.open_connection(self._address.hostname, self._address.port, **tls))


def _request(question: Question, host: str) -> bytes:
    """Write a request; bounds of its answer are the caller's."""
    target = f"{question.path}?{urlencode(question.query)}" if question.query else question.path
    content = question.content or b""
    headers = {"host": host, **question.headers, "content-length": str(len(content))}
    lines = [f"{question.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content
