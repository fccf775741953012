"""A door's folder with a real daemon on it: in this process, or as one that can be killed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
import time
import tty
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from edge.ports import InputsError, Reason
from firmware_adapters.simulated import send_control
from firmware_adapters.simulated_reader import send_reading
from tests.support.tenant import TenantKeys, p256, present
from tests.support.waiting import DEADLINE_S, until
from wire.command import Command, seal_command
from wire.names import Action, DoorId, DoorMode, KeyPurpose, PassKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from wire.policy import PolicyBundle
    from wire.settings import DoorSettings

DOORWARD = Path(sys.executable).with_name("doorward")


@dataclass
class Door:
    """A door's folder, its scanner and its wires."""

    folder: Path
    config: EdgeConfig
    keys: TenantKeys
    master: int = -1
    offset_ms: int = 0
    signed_s: dict[int, int] = field(default_factory=dict)

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
        """Pull the scanner out; its name goes too, since the next pty of anybody may get the same number."""
        (self.folder / "ttyDW0").unlink()
        os.close(self.master)
        self.master = -1

    def code(self, index: int = 1, *, kind: PassKind = PassKind.STANDARD) -> bytes:
        """Show a holder's code as of now, each one another; the holders of different indices are different people."""
        holder = p256("holder", str(index))
        at_s = self.signed_s[index] = max(self.now_s(), self.signed_s.get(index, 0) + 1)
        return present(self.keys.issue(holder, index=index, kind=kind), holder, at_s=at_s)

    def set_clock(self, at_s: int) -> None:
        """Move the door's clock so that it shows this moment now."""
        self.offset_ms = at_s * 1000 - time.time_ns() // 1_000_000
        fresh = self.folder / ".offset"
        fresh.write_text(str(self.offset_ms))
        fresh.replace(self.folder / "offset")

    def now_s(self) -> int:
        """Tell what the door's clock shows."""
        return (time.time_ns() // 1_000_000 + self.offset_ms) // 1000

    def scan(self, text: bytes) -> None:
        os.write(self.master, text + b"\r")

    async def scan_until(self, text: bytes, **wanted: object) -> None:
        """Hold a code before the scanner until the journal tells; what is read before the port is open is lost."""
        scanning = asyncio.create_task(self._scan_again(text))
        try:
            await self._seen(wanted, 0)
        finally:
            scanning.cancel()

    async def _scan_again(self, text: bytes) -> None:
        while True:
            self.scan(text)
            await asyncio.sleep(0.2)

    async def wire(self, line: str) -> None:
        """Drive a wire, once somebody watches it."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await send_control(self.folder / "door", line)
                except InputsError as error:
                    if error.reason is not Reason.LOST:
                        raise
                else:
                    return
                await asyncio.sleep(0.02)

    async def ask(self, **question: object) -> dict[str, Any]:
        """Ask the daemon, once it listens."""
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await self._connect()
            writer.write(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
            writer.close()
            await writer.wait_closed()
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_unix_connection(self.folder / "diag.sock", limit=1 << 20)
            except ConnectionRefusedError:  # bound, and not listening yet
                await asyncio.sleep(0.02)

    async def status(self) -> dict[str, Any]:
        """Ask how the door stands."""
        found: dict[str, Any] = (await self.ask(ask="status"))["status"]
        return found

    async def deliver(self, command: bytes) -> dict[str, Any]:
        """Bring a signed command."""
        text = base64.urlsafe_b64encode(command).decode()
        found: dict[str, Any] = (await self.ask(ask="command", command=text))["command"]
        return found

    def command(
        self,
        *,
        counter: int,
        action: Action = Action.UNLOCK,
        mode: DoorMode | None = None,
        hold_s: int | None = None,
    ) -> bytes:
        """Sign a command for the next minute."""
        now_s = self.now_s()
        command = Command(
            command_id=counter.to_bytes(16),
            target=DoorId("main"),
            action=action,
            issued_at_s=now_s,
            expires_at_s=now_s + 60,
            counter=counter,
            mode=mode,
            hold_s=hold_s,
        )
        return seal_command(command, self.keys.signers[KeyPurpose.COMMAND])

    def rule(self, bundle: PolicyBundle) -> None:
        """Write the rules that the next start finds; for a door that has never started."""
        (self.folder / "policy.cose").write_bytes(self.keys.sign_policy(bundle))

    def simulate(self, *readers: str) -> None:
        """Give the door simulated readers instead of its scanner, before its start."""
        self.read_by(dict.fromkeys(readers, f"simulated://{self.folder / 'door'}"))

    def read_by(self, readers: Mapping[str, str]) -> None:
        """Give the door other readers, each an id and an address, before its start."""
        each = tuple(ReaderConfig(id=name, url=url) for name, url in readers.items())
        self.configure(replace(self.config, readers=each))

    def configure(self, config: EdgeConfig) -> None:
        """Write another configuration, before its start."""
        self.config = config
        (self.folder / "edge.toml").write_text(render_config(config))

    async def read(self, line: str, reader: str = "in") -> None:
        """Hold something before a simulated reader, once it is open."""
        await self._reads(reader)
        await send_reading(self.folder / "door", reader, line.encode())

    async def _reads(self, reader: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if (await self.reader_states())[reader] == "open":
                    break
                await asyncio.sleep(0.02)

    async def show(self, index: int = 1, reader: str = "in", *, kind: PassKind = PassKind.STANDARD) -> None:
        """Show a holder's fresh code to a simulated reader, once it is open."""
        await self._reads(reader)
        await self.read(f"code {self.code(index, kind=kind).decode()}", reader)

    async def reader_states(self) -> dict[str, str]:
        return {each["id"]: each["state"] for each in (await self.status())["readers"]}

    def shown(self, reader: str = "in") -> list[str]:
        """Give what a simulated reader has shown."""
        file = self.folder / "door" / f"reader-{reader}.jsonl"
        return [json.loads(line)["feedback"] for line in file.read_text().splitlines()] if file.exists() else []

    async def walk_through(self) -> None:
        """Open the door and close it again."""
        await self.wire("contact open")
        await self.wire("contact closed")

    async def events(self) -> list[dict[str, Any]]:
        """Ask for the newest events."""
        rows: list[dict[str, Any]] = (await self.ask(ask="events", limit=500))["events"]
        return rows

    async def last_seq(self) -> int:
        """Ask for the newest event's number."""
        return int((await self.status())["journal"]["last"])

    async def seen(self, *, after: int = 0, **wanted: object) -> dict[str, Any]:
        """Wait for an event with these values, and a number above `after`."""
        return await self._seen(wanted, after)

    async def _seen(self, wanted: dict[str, object], after: int) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for row in await self.events():
                    if row["seq"] > after and wanted.items() <= row.items():
                        return row
                await asyncio.sleep(0.02)

    async def stands(self, **wanted: object) -> None:
        """Wait until the status shows these values."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if wanted.items() <= (await self.status()).items():
                    return
                await asyncio.sleep(0.02)

    async def reader_state(self) -> str:
        return str((await self.status())["readers"][0]["state"])

    def relay(self) -> list[dict[str, Any]]:
        """Give what the lock did."""
        file = self.folder / "door" / "relay.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def energised(self) -> int:
        """Tell how often the lock was released."""
        return len(self.causes())

    def causes(self) -> list[int]:
        """Give the numbers of the events that released the lock."""
        return [int(line["cause_seq"]) for line in self.relay() if line["action"] == "energise"]


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


@contextlib.asynccontextmanager
async def killed(door: Door) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the daemon as a process inside the block, which ends as a power cut ends it, unless it has ended before."""
    (door.folder / "diag.sock").unlink(missing_ok=True)
    with (door.folder / "edge.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(DOORWARD, "edge", "run", "--config", door.folder / "edge.toml"), stderr=log, stdout=log
        )
    try:
        await until(lambda: (door.folder / "diag.sock").is_socket() or process.returncode is not None)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def make_door(folder: Path, *, settings: DoorSettings, keys: TenantKeys | None = None) -> Door:
    """Write the folder of a provisioned door with a scanner, whose clock a file moves."""
    keys = keys or TenantKeys("north", int(time.time()) - 60)
    keys.write_materials(folder, settings=settings)
    config = EdgeConfig(
        state_folder=folder,
        device=DeviceConfig(id="dev-a", tenant="north", site="hq", door="main"),
        lock=AddressConfig(url=f"simulated://{folder / 'door'}"),
        inputs=(AddressConfig(url=f"simulated://{folder / 'door'}"),),
        diagnostics=DiagnosticsConfig(socket=folder / "diag.sock"),
        readers=(ReaderConfig(id="qr-1", url=f"serial://{folder / 'ttyDW0'}"),),
        clock=ClockConfig(offset_file=folder / "offset"),
    )
    (folder / "edge.toml").write_text(render_config(config))
    made = Door(folder, config, keys)
    made.plug()
    return made
