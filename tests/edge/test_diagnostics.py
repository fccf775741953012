"""The diagnostics socket: what a technician may ask, and that nobody can hurt the door with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from edge.core.effects import EventDraft
from edge.core.instant import Instant
from edge.database import Database, Entry, Identity
from edge.diagnostics import MAX_CLIENTS, MAX_QUESTION_BYTES, WATCHED_LINES, Diagnostics
from edge.store import Store
from edge.watchdog import interval_s, notify
from tests.support.waiting import until
from wire.names import ClockState, DeviceId, DoorId, EventKind, Reason, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.report import Json

NOW = Instant(wall_ms=1_800_000_000_000, monotonic_ms=1_000, clock=ClockState.TRUSTED)


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):  # a question that nobody read any more
        await writer.wait_closed()


class Technician:
    """A running socket and those who ask at it."""

    def __init__(self, path: Path, store: Store, diagnostics: Diagnostics) -> None:
        self.path = path
        self.store = store
        self.diagnostics = diagnostics

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await until(self.path.is_socket)
        return await asyncio.open_unix_connection(self.path, limit=1 << 22)

    async def ask(self, question: bytes) -> dict[str, object]:
        reader, writer = await self.connect()
        writer.write(question + b"\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        await leave(writer)
        answer: dict[str, object] = json.loads(line)
        return answer

    async def append(self, count: int = 1) -> None:
        for _ in range(count):
            draft = EventDraft(kind=EventKind.STARTED, at=NOW)
            self.diagnostics.journaled(await self.store.append(Entry(draft=draft)))


@pytest.fixture
async def technician(tmp_path: Path) -> AsyncIterator[Technician]:
    identity = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
    store = Store(Database(tmp_path / "journal.db", identity, new_epoch=bytes(8)), max_events=10_000)

    async def status() -> dict[str, Json]:
        return {"mode": "locked"}

    path = tmp_path / "diag.sock"
    path.write_text("left behind by a crash")

    def why(credential: str, at_ms: int | None, reader: str | None) -> dict[str, Json]:
        return {"granted": credential == "DW1:GOOD", "at_ms": at_ms, "reader": reader}

    async def deliver(command: bytes) -> dict[str, Json]:
        return {"delivered": command.hex()}

    diagnostics = Diagnostics(path, store, status, why, deliver)
    task = asyncio.create_task(diagnostics.run())
    yield Technician(path, store, diagnostics)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not path.exists()
    await store.aclose()


async def test_only_owner_and_group_may_ask(technician: Technician):
    await technician.ask(b'{"ask": "status"}')
    assert stat.S_IMODE(technician.path.stat().st_mode) == 0o660


async def test_status_is_answered(technician: Technician):
    assert await technician.ask(b'{"ask": "status"}') == {"status": {"mode": "locked"}}


async def test_events_are_answered_newest_or_after_a_number(technician: Technician):
    await technician.append(5)
    newest = await technician.ask(b'{"ask": "events", "limit": 2}')
    assert [row["seq"] for row in newest["events"]] == [4, 5]  # type: ignore[attr-defined]
    after = await technician.ask(b'{"ask": "events", "after": 1, "limit": 3}')
    assert [row["seq"] for row in after["events"]] == [2, 3, 4]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"status",
        b"[]",
        b'{"ask": 7}',
        b'{"ask": "reboot"}',
        b'{"ask": "events", "limit": 501}',
        b'{"ask": "events", "limit": true}',
        b'{"ask": "events", "after": -1}',
        b'{"ask": "explain", "seq": 1}',
        b'{"ask": "explain"}',
        b'{"ask": "why"}',
        b'{"ask": "why", "credential": 7}',
        b'{"ask": "why", "credential": "x", "at_ms": "now"}',
        b'{"ask": "why", "credential": "x", "reader": 7}',
        b'{"ask": "command"}',
        b'{"ask": "command", "command": "0"}',
        b'{"ask": "command", "command": "0oRD!w"}',
        '{"ask": "command", "command": "0oRDü"}'.encode(),
        b"[" * 2_000,
        b"\xff\xfe",
    ],
)
async def test_a_question_that_is_none_is_told_what_is_expected(technician: Technician, question: bytes):
    answer = await technician.ask(question)
    assert isinstance(answer["error"], str)


async def test_an_endless_question_ends_the_conversation(technician: Technician):
    answer = await technician.ask(b"x" * (2 * MAX_QUESTION_BYTES))
    assert "at most" in str(answer["error"])


async def test_an_event_is_explained_by_its_number(technician: Technician):
    await technician.append(2)
    answer = await technician.ask(b'{"ask": "explain", "seq": 2}')
    explanation = answer["explanation"]
    assert explanation["sentence"] == "The door's program started."  # type: ignore[index]
    assert explanation["event"]["seq"] == 2  # type: ignore[index]


async def test_without_a_number_the_newest_decision_is_explained(technician: Technician):
    denied = EventDraft(kind=EventKind.ACCESS_DENIED, at=NOW, step=Step.REPLAY, reason=Reason.REPLAYED, granted=False)
    await technician.store.append(Entry(draft=denied))
    await technician.append(3)
    explanation = (await technician.ask(b'{"ask": "explain"}'))["explanation"]
    assert explanation["event"]["seq"] == 1  # type: ignore[index]
    assert "accepted before" in explanation["sentence"]  # type: ignore[index]


async def test_a_credential_is_asked_about_now_or_at_a_moment(technician: Technician):
    now = await technician.ask(b'{"ask": "why", "credential": "DW1:GOOD"}')
    then = await technician.ask(b'{"ask": "why", "credential": "DW1:BAD", "at_ms": 17, "reader": "in"}')
    assert now == {"why": {"granted": True, "at_ms": None, "reader": None}}
    assert then == {"why": {"granted": False, "at_ms": 17, "reader": "in"}}


async def test_a_command_is_delivered_as_it_was_signed(technician: Technician):
    for text in (b"0oRD_w", b"0oRD_w=="):
        answer = await technician.ask(b'{"ask": "command", "command": "%s"}' % text)
        assert answer == {"command": {"delivered": "d28443ff"}}


async def test_watching_shows_each_event_as_it_is_journaled(technician: Technician):
    reader, writer = await technician.connect()
    writer.write(b'{"ask": "watch"}\n')
    assert json.loads(await reader.readline()) == {"watching": True}
    await technician.append(2)
    seen = [json.loads(await asyncio.wait_for(reader.readline(), 10)) for _ in range(2)]
    assert [line["event"]["seq"] for line in seen] == [1, 2]
    await leave(writer)


async def test_a_slow_watcher_is_told_how_many_it_missed(technician: Technician):
    reader, writer = await technician.connect()
    writer.write(b'{"ask": "watch"}\n')
    await reader.readline()
    journaled = await technician.store.append(Entry(draft=EventDraft(kind=EventKind.STARTED, at=NOW)))
    for _ in range(WATCHED_LINES + 3):
        technician.diagnostics.journaled(journaled)
    lines = [json.loads(await asyncio.wait_for(reader.readline(), 10)) for _ in range(2)]
    assert {"lost": 3} in lines
    await leave(writer)


async def test_too_many_who_ask_are_sent_away(technician: Technician):
    crowd = [await technician.connect() for _ in range(MAX_CLIENTS)]
    for _, writer in crowd:
        writer.write(b'{"ask": "status"}\n')
    for reader, _ in crowd:
        await asyncio.wait_for(reader.readline(), 10)
    assert "already" in str((await technician.ask(b'{"ask": "status"}'))["error"])
    for _, writer in crowd:
        await leave(writer)


def test_the_service_manager_is_told(tmp_path: Path):
    import socket  # noqa: PLC0415 - only this test needs it

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        assert notify("READY=1", address=str(tmp_path / "notify"))
        assert manager.recv(100) == b"READY=1"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hidden:
            hidden.bind(f"\0doorward-test-notify-{os.getpid()}")  # another run's would be the same name
            assert notify("WATCHDOG=1", address=f"@doorward-test-notify-{os.getpid()}")
            assert hidden.recv(100) == b"WATCHDOG=1"
    assert not notify("READY=1", address="")


def test_the_watchdog_is_fed_three_times_a_limit():
    assert interval_s({"WATCHDOG_USEC": "30000000"}) == 10.0
    assert interval_s({}) is None
    assert interval_s({"WATCHDOG_USEC": "0"}) is None
    assert interval_s({"WATCHDOG_USEC": "soon"}) is None
