"""The diagnostics socket: a technician at the door asks, without network or cloud.

One JSON object a line each way: {"ask": "status"}, {"ask": "events", "after": 17, "limit": 50}, {"ask": "watch"},
{"ask": "explain", "seq": 17} (the newest decision without a number), {"ask": "why", "credential": "DW1:…" or
"card:04a1…", "at_ms": …, "reader": "in"}, {"ask": "command", "command": "…"} (a signed command in base64url).

Invariant: nothing said here moves a door but a command that its institution signed for it, which the core judges as it
does one that came by the network; mode 0660, so that the group decides who may ask and deliver.
Must not: hold up a decision: a slow reader of `watch` loses lines and is told how many.
"""

import asyncio
import base64
import binascii
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from edge.asked import QuestionError
from edge.database import Journaled
from edge.explain import explain
from edge.report import Json, plain_event, plain_explanation, plain_journaled
from edge.store import Store, StoreError
from wire.event import parse_event

SOCKET_MODE: Final = 0o660
MAX_QUESTION_BYTES: Final = 4096
MAX_EVENTS: Final = 500
DEFAULT_EVENTS: Final = 50
MAX_CLIENTS: Final = 16
WATCHED_LINES: Final = 256
IDLE_S: Final = 300.0
WRITE_DEADLINE_S: Final = 10.0

Status = Callable[[], Awaitable[dict[str, Json]]]
Pictures = Callable[[], dict[int, list[str]]]
Why = Callable[[str, int | None, str | None], dict[str, Json]]
Deliver = Callable[[bytes], Awaitable[dict[str, Json]]]


class Diagnostics:
    """Answers questions at a Unix socket.

    Args:
        path: of the socket; a stale one is replaced.
        store: the journal.
        status: gives the daemon's state.
        why: tells what a credential would meet, now or at a Unix millisecond, at a reader; nothing moves by it.
        deliver: takes a signed command to the core and tells what became of it.
        pictures: gives the paths of the pictures that are kept, by the event's number.
    """

    def __init__(
        self,
        path: Path,
        store: Store,
        status: Status,
        why: Why,
        deliver: Deliver,
        pictures: Pictures = dict[int, list[str]],
    ) -> None:
        self._path = path
        self._store = store
        self._status = status
        self._why_at = why
        self._deliver = deliver
        self._pictures = pictures
        self._watchers: set[asyncio.Queue[Journaled]] = set()
        self._lost: dict[asyncio.Queue[Journaled], int] = {}
        self._clients = 0
        self.listening = asyncio.Event()

    def journaled(self, journaled: Journaled) -> None:
        """Pass an event on to those who watch; returns at once."""
        for watcher in self._watchers:
            if watcher.full():
                watcher.get_nowait()
                self._lost[watcher] += 1
            watcher.put_nowait(journaled)

    async def run(self) -> None:
        """Serve until cancelled, then remove the socket.

        Raises:
            OSError: the socket cannot be made.
        """
        self._path.unlink(missing_ok=True)
        async with asyncio.TaskGroup() as clients:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                clients.create_task(self._client(reader, writer))

            server = await asyncio.start_unix_server(accept, self._path, limit=MAX_QUESTION_BYTES)
            self._path.chmod(SOCKET_MODE)
            self.listening.set()
            try:
                async with server:
                    await server.serve_forever()
            finally:
                self._path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > MAX_CLIENTS:
                await _write(writer, {"error": f"{MAX_CLIENTS} are asking already; close one and ask again"})
            else:
                await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the technician has left
        finally:
            self._clients -= 1
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(WRITE_DEADLINE_S):
                    await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
            except ValueError:  # longer than MAX_QUESTION_BYTES
                await _write(writer, {"error": f"a question has at most {MAX_QUESTION_BYTES} bytes"})
                return
            if not line:
                return
            try:
                question = _parse(line)
                if question.get("ask") == "watch":
                    await self._watch(reader, writer)
                    return
                await _write(writer, await self._answer(question))
            except (QuestionError, StoreError) as error:
                await _write(writer, {"error": str(error)})

    async def _answer(self, question: dict[str, Json]) -> dict[str, Json]:
        ask = question.get("ask")
        if ask == "status":
            return {"status": await self._status()}
        if ask == "events":
            limit = _whole(question, "limit", DEFAULT_EVENTS, MAX_EVENTS)
            if "after" in question:
                rows = await self._store.events_after(_whole(question, "after", 0, 2**62), limit)
            else:
                rows = await self._store.newest_events(limit)
            pictures = self._pictures()
            return {"events": [_pictured(plain_event(seq, data), pictures.get(seq)) for seq, data in rows]}
        if ask == "explain":
            return {"explanation": await self._explain(question)}
        if ask == "why":
            at_ms = _whole(question, "at_ms", 0, 2**53) if "at_ms" in question else None
            reader = _text(question, "reader") if "reader" in question else None
            return {"why": self._why_at(_text(question, "credential"), at_ms, reader)}
        if ask == "command":
            return {"command": await self._deliver(_octets(question, "command"))}
        raise QuestionError('ask one of "status", "events", "watch", "explain", "why", "command"')

    async def _explain(self, question: dict[str, Json]) -> dict[str, Json]:
        """Explain the event with number "seq", or the newest decision when none is named."""
        if "seq" in question:
            seq = _whole(question, "seq", 0, 2**62)
            rows = [row for row in await self._store.events_after(max(0, seq - 1), 1) if row[0] == seq]
        else:
            newest = reversed(await self._store.newest_events(MAX_EVENTS))
            rows = [row for row in newest if parse_event(row[1]).granted is not None]
        if not rows:
            raise QuestionError("the journal holds no such event")
        number, data = rows[0]
        event = _pictured(plain_event(number, data), self._pictures().get(number))
        return {**plain_explanation(explain(parse_event(data))), "event": event}

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines: asyncio.Queue[Journaled] = asyncio.Queue(WATCHED_LINES)
        self._lost[lines] = 0
        self._watchers.add(lines)
        try:
            async with asyncio.TaskGroup() as both:
                telling = both.create_task(self._tell(lines, writer))
                await reader.read(1)  # the watcher has left, or says something, which ends the watching as well
                telling.cancel()
        except* (ConnectionError, TimeoutError):
            pass  # the technician has left
        finally:
            self._watchers.discard(lines)
            del self._lost[lines]

    async def _tell(self, lines: asyncio.Queue[Journaled], writer: asyncio.StreamWriter) -> None:
        await _write(writer, {"watching": True})
        while True:
            journaled = await lines.get()
            lost, self._lost[lines] = self._lost[lines], 0
            if lost:
                await _write(writer, {"lost": lost})
            await _write(writer, {"event": plain_journaled(journaled)})


def _pictured(event: dict[str, Json], paths: list[str] | None) -> dict[str, Json]:
    """Name the pictures around an event beside it, if there are any."""
    return event if paths is None else {**event, "snapshots": [*paths]}


def _text(question: dict[str, Json], name: str) -> str:
    value = question.get(name)
    if not isinstance(value, str) or not value:
        raise QuestionError(f'"{name}" is a text')
    return value


def _octets(question: dict[str, Json], name: str) -> bytes:
    text = _text(question, name)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise QuestionError(f'"{name}" is base64url') from error


def _parse(line: bytes) -> dict[str, Json]:
    try:
        question = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise QuestionError("a question is one JSON object on a line") from error
    if not isinstance(question, dict):
        raise QuestionError("a question is one JSON object on a line")
    return question


def _whole(question: dict[str, Json], name: str, default: int, maximum: int) -> int:
    value = question.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
        raise QuestionError(f'"{name}" is a whole number from 0 to {maximum}')
    return value


async def _write(writer: asyncio.StreamWriter, answer: dict[str, Json]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    async with asyncio.timeout(WRITE_DEADLINE_S):
        await writer.drain()
