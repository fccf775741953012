"""The daemon as one: real scanner pty, simulated lock, store, diagnostics, service manager."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
import tty
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from edge.config import (
    AddressConfig,
    ClockConfig,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    ReaderConfig,
    load_config,
    render_config,
)
from edge.daemon import serve
from edge.store import StoreError, StoreReason
from tests.support.tenant import TenantKeys, p256, present
from tests.support.waiting import DEADLINE_S, until
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOLDER = p256("holder")
SETTINGS = DoorSettings(release_time_ms=80, open_time_ms=60_000)


@dataclass
class Door:
    """A door's folder, its scanner and its wires."""

    folder: Path
    config: EdgeConfig
    keys: TenantKeys
    master: int = -1

    def plug(self) -> None:
        """Plug the scanner in: a new pty behind the same name."""
        self.master, slave = os.openpty()
        tty.setraw(self.master)
        tty.setraw(slave)
        link = self.folder / "ttyDW0"
        fresh = link.with_suffix(".new")
        fresh.symlink_to(os.ttyname(slave))
        fresh.replace(link)
        os.close(slave)

    def unplug(self) -> None:
        os.close(self.master)
        self.master = -1

    def code(self, index: int = 1) -> bytes:
        return present(self.keys.issue(HOLDER, index=index), HOLDER, at_s=int(time.time()))

    def scan(self, text: bytes) -> None:
        os.write(self.master, text + b"\r")

    async def scan_until(self, text: bytes, **wanted: object) -> None:
        """Hold a code before the scanner until the journal tells; what is read before the port is open is lost."""
        scanning = asyncio.create_task(self._scan_again(text))
        try:
            await self.seen(**wanted)
        finally:
            scanning.cancel()

    async def _scan_again(self, text: bytes) -> None:
        while True:
            self.scan(text)
            await asyncio.sleep(0.2)

    async def wire(self, line: str) -> None:
        reader, writer = await asyncio.open_unix_connection(self.folder / "door" / "control.sock")
        writer.write(line.encode() + b"\n")
        await asyncio.wait_for(reader.readline(), DEADLINE_S)
        writer.close()
        await writer.wait_closed()

    async def ask(self, **question: object) -> dict[str, object]:
        reader, writer = await asyncio.open_unix_connection(self.folder / "diag.sock", limit=1 << 20)
        writer.write(json.dumps(question).encode() + b"\n")
        answer: dict[str, object] = json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))
        writer.close()
        await writer.wait_closed()
        return answer

    async def seen(self, **wanted: object) -> dict[str, object]:
        """Wait for an event with these values."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                rows = (await self.ask(ask="events", limit=500))["events"]
                assert isinstance(rows, list)
                for row in rows:
                    if wanted.items() <= row.items():
                        found: dict[str, object] = row
                        return found
                await asyncio.sleep(0.02)

    async def reader_state(self) -> str:
        status = (await self.ask(ask="status"))["status"]
        assert isinstance(status, dict)
        return str(status["readers"][0]["state"])

    def energised(self) -> int:
        file = self.folder / "door" / "relay.jsonl"
        return file.read_text().count('"energise"') if file.exists() else 0


@contextlib.asynccontextmanager
async def running(door: Door) -> AsyncIterator[None]:
    """Run the daemon inside the block; it ends as SIGTERM ends it."""
    stop = asyncio.Event()
    daemon = asyncio.create_task(serve(load_config(door.folder / "edge.toml"), stop))
    await until(lambda: (door.folder / "diag.sock").is_socket() or daemon.done())
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await daemon


@pytest.fixture
def door(tmp_path: Path) -> Door:
    keys = TenantKeys("north", int(time.time()) - 60)
    keys.write_materials(tmp_path, settings=SETTINGS)
    config = EdgeConfig(
        state_folder=tmp_path,
        device=DeviceConfig(id="dev-a", tenant="north", site="hq", door="main"),
        lock=AddressConfig(url=f"simulated://{tmp_path / 'door'}"),
        inputs=AddressConfig(url=f"simulated://{tmp_path / 'door'}"),
        diagnostics=DiagnosticsConfig(socket=tmp_path / "diag.sock"),
        readers=(ReaderConfig(id="qr-1", url=f"serial://{tmp_path / 'ttyDW0'}"),),
        clock=ClockConfig(offset_file=tmp_path / "offset"),
    )
    (tmp_path / "edge.toml").write_text(render_config(config))
    made = Door(tmp_path, config, keys)
    made.plug()
    return made


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
        assert fresh["granted"] is True  # type: ignore[index]
        later_ms = int(time.time()) * 1000 + 90_000
        old = (await door.ask(ask="why", credential=door.code().decode(), at_ms=later_ms))["why"]
        assert old["reason"] == "PRESENTATION_EXPIRED"  # type: ignore[index]
        await door.scan_until(b"hello", kind="ACCESS_DENIED")
        answer = (await door.ask(ask="explain"))["explanation"]
        assert "does not take that kind of credential" in answer["sentence"]  # type: ignore[index]
    assert door.energised() == 0


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
        assert status["alarms"] == ["FORCED_OPEN"]  # type: ignore[index]
        await door.wire("contact closed")
        await door.seen(kind="FORCED_OPEN_RESTORED")


async def test_fire_opens_the_door(door: Door):
    async with running(door):
        await door.wire("fire on")
        await door.seen(kind="FIRE")
        await until(lambda: door.energised() == 1)
        assert (await door.ask(ask="status"))["status"]["mode"] == "locked_open"  # type: ignore[index]


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
    config = replace(door.config, inputs=None, readers=())
    (door.folder / "edge.toml").write_text(render_config(config))
    async with running(door):
        await door.seen(kind="STARTED")
