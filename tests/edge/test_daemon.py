"""The daemon as one: real scanner pty, simulated lock, store, diagnostics, service manager."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.config import load_config, render_config
from edge.daemon import serve
from edge.store import StoreError, StoreReason
from tests.support.daemon_door import Door, make_door, running
from tests.support.waiting import DEADLINE_S, until
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = DoorSettings(release_time_ms=80, open_time_ms=60_000)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return make_door(tmp_path, settings=SETTINGS)


async def test_a_code_opens_the_door_and_not_again_after_a_restart(door: Door):
    text = door.code()
    async with running(door):
        await door.scan_until(text, kind="ACCESS_GRANTED", reader="qr-1")
        await door.seen(kind="DOOR_RELOCKED")
    async with running(door):
        await door.scan_until(text, kind="ACCESS_DENIED", reason="REPLAYED", boot=2)
    assert door.energised() == 1


async def test_a_twin_whose_clock_is_moved_refuses_an_old_screenshot(door: Door):
    text = door.code()
    (door.folder / "offset").write_text("60000")
    async with running(door):
        await door.scan_until(text, kind="ACCESS_DENIED", reason="PRESENTATION_EXPIRED", step=7)


async def test_a_door_explains_what_it_did_and_what_it_would_do(door: Door):
    async with running(door):
        fresh = (await door.ask(ask="why", credential=door.code().decode()))["why"]
        assert fresh["granted"] is True
        later_ms = int(time.time()) * 1000 + 90_000
        old = (await door.ask(ask="why", credential=door.code().decode(), at_ms=later_ms))["why"]
        assert old["reason"] == "PRESENTATION_EXPIRED"
        await door.scan_until(b"hello", kind="ACCESS_DENIED")
        answer = (await door.ask(ask="explain"))["explanation"]
        assert "does not take that kind of credential" in answer["sentence"]
    assert door.energised() == 0


async def test_a_disk_that_takes_no_event_is_told_in_the_status_until_it_takes_one(door: Door):
    async def until_told(*, failed: bool) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while (await door.status())["journal"]["failed"] is not failed:
                door.scan(b"hello")
                await asyncio.sleep(0.2)

    async with running(door):
        await door.scan_until(b"hello", kind="ACCESS_DENIED")
        with contextlib.closing(sqlite3.connect(door.folder / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # what the store waits for as for a disk
            await until_told(failed=True)
            other.execute("ROLLBACK")
        await until_told(failed=False)


async def test_a_scanner_that_goes_and_comes_back_is_journaled_once_each(door: Door):
    async with running(door):
        await door.scan_until(b"hello", kind="ACCESS_DENIED", reason="UNSUPPORTED_CREDENTIAL")
        door.unplug()
        await door.seen(kind="READER_LOST", reader="qr-1")
        assert await door.reader_state() == "lost"
        door.plug()
        await door.seen(kind="READER_RESTORED", reader="qr-1")
        assert await door.reader_state() == "open"
        await door.scan_until(door.code(), kind="ACCESS_GRANTED")


async def test_egress_opens_and_a_forced_door_is_alarmed_and_restored(door: Door):
    async with running(door):
        await door.wire("rex press")
        await door.seen(kind="EGRESS")
        await door.seen(kind="DOOR_RELOCKED")
        await door.wire("contact open")
        await door.seen(kind="FORCED_OPEN")
        status = (await door.ask(ask="status"))["status"]
        assert status["alarms"] == ["FORCED_OPEN"]
        await door.wire("contact closed")
        await door.seen(kind="FORCED_OPEN_RESTORED")


async def test_fire_opens_the_door(door: Door):
    async with running(door):
        await door.wire("fire on")
        await door.seen(kind="FIRE")
        await until(lambda: door.energised() == 1)
        assert (await door.ask(ask="status"))["status"]["mode"] == "locked_open"


async def test_a_damaged_journal_is_put_aside_and_told(door: Door):
    (door.folder / "journal.db").write_bytes(b"not a database" * 500)
    async with running(door):
        await door.seen(kind="STORAGE_FAULT")
        await door.scan_until(door.code(), kind="ACCESS_GRANTED")
    assert (door.folder / "journal.db.damaged-1").exists()


async def test_a_door_without_policy_lets_nobody_in_but_everybody_out(door: Door):
    (door.folder / "policy.cose").unlink()
    async with running(door):
        await door.scan_until(door.code(), kind="ACCESS_DENIED", reason="NO_POLICY")
        await door.wire("rex press")
        await door.seen(kind="EGRESS")


async def test_a_second_daemon_of_one_folder_is_refused(door: Door):
    async with running(door):
        with pytest.raises(StoreError) as caught:
            await serve(load_config(door.folder / "edge.toml"), asyncio.Event())
        assert caught.value.reason is StoreReason.BUSY
        await door.wire("rex press")
        await door.seen(kind="EGRESS")


async def test_the_service_manager_is_told_and_its_watchdog_fed(door: Door, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(door.folder / "notify"))
        manager.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(door.folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        told: list[bytes] = []
        loop = asyncio.get_running_loop()
        async with running(door), asyncio.timeout(DEADLINE_S):
            while b"WATCHDOG=1" not in told:
                told.append(await loop.sock_recv(manager, 100))
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(manager.recv(100))
    assert told[0] == b"READY=1"
    assert told[-1] == b"STOPPING=1"


async def test_a_door_without_inputs_and_readers_runs(door: Door):
    config = replace(door.config, inputs=(), readers=())
    (door.folder / "edge.toml").write_text(render_config(config))
    async with running(door):
        await door.seen(kind="STARTED")
