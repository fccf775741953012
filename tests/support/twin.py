"""A twin door as a real process: enrolled at a real cloud, read through a real pty, killed as wanted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import time
import tty
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.server import Addresses
from edge.config import (
    AddressConfig,
    ClockConfig,
    CloudConfig,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    ReaderConfig,
    render_config,
)
from tests.support.clouds import RunningCloud
from tests.support.tenant import p256, present
from tests.support.waiting import DEADLINE_S
from wire.codec import decode, encode
from wire.keys import parse_key
from wire.messages import DEVICE_BOOTSTRAP, DEVICE_POLICY, DEVICE_STATUS, DEVICE_TRUST
from wire.trust import PinnedTrust, encode_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clouds import Device

DOORWARD = Path(sys.executable).with_name("doorward")


@dataclass
class Wallets:
    """Holders with passes for access level 1, and the codes they have shown."""

    site: str
    passes: list[tuple[str, bytes]] = field(default_factory=list)
    shown: dict[str, set[bytes]] = field(default_factory=dict)

    async def issue(self, cloud: RunningCloud, tenant: str, count: int) -> None:
        """Have the cloud issue passes."""
        for number in range(count):
            key = base64.urlsafe_b64encode(encode(p256("holder", str(number)).public_key.to_cose())).decode()
            body = {"kind": "standard", "accessLevels": [1], "holderKey": key}
            made = await cloud.api.post(f"/api/v1/institutions/{tenant}/passes", json=body)
            assert made.status_code == 201, made.text
            issued = made.json()
            token = issued["pass"] + "=" * (-len(issued["pass"]) % 4)
            self.passes.append((issued["passId"], base64.urlsafe_b64decode(token)))

    def code(self, number: int) -> bytes:
        """Show one holder's rotating code as of now."""
        place = number % len(self.passes)
        pass_id, data = self.passes[place]
        at_s = int(time.time())
        # One presentation a second: what the holder signs (time, audience) is the same, whatever the signature.
        self.shown.setdefault(pass_id, set()).add(str(at_s).encode())
        return present(data, p256("holder", str(place)), at_s=at_s, audience=self.site)


@dataclass
class Twin:
    """One enrolled door in a folder, with a scanner on a pty."""

    folder: Path
    device: Device
    config: Path
    master: int
    slave: int
    daemons: list[asyncio.subprocess.Process] = field(default_factory=list)

    def scan(self, text: bytes) -> None:
        """Let the scanner read a code; a full line buffer loses it, as a scanner would."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.master, text + b"\r\n")

    async def aclose(self) -> None:
        """Unplug the scanner; a daemon that a failed test left behind is ended."""
        for process in self.daemons:
            if process.returncode is None:
                process.kill()
                await process.wait()
        os.close(self.master)
        os.close(self.slave)

    def relay(self) -> list[dict[str, int | str]]:
        """Give what the lock did."""
        file = self.folder / "door" / "relay.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def journal(self) -> list[tuple[int, bytes]]:
        """Read the journal's file, with no daemon running."""
        with contextlib.closing(sqlite3.connect(self.folder / "journal.db")) as database:
            return database.execute("SELECT seq, bytes FROM journal ORDER BY seq").fetchall()

    async def ask(self, question: str) -> dict[str, object]:
        """Ask the running daemon."""
        reader, writer = await asyncio.open_unix_connection(self.folder / "diag.sock", limit=1 << 24)
        writer.write(json.dumps({"ask": question}).encode() + b"\n")
        answer: dict[str, object] = json.loads(await asyncio.wait_for(reader.readline(), DEADLINE_S))
        writer.close()
        await writer.wait_closed()
        return answer


async def make_twin(folder: Path, cloud: RunningCloud, tenant: str, device: Device) -> Twin:
    """Write the folder of an enrolled door: what provisioning writes, from the cloud's own answers."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - a test waits for nothing else here
    key = folder / "device.key"
    key.touch(0o600)
    key.write_bytes(device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "device.crt").write_bytes(device.certificate.public_bytes(Encoding.PEM))
    (folder / "ca.crt").write_bytes(device.ca.public_bytes(Encoding.PEM))
    async with device.client() as client:
        bootstrap = (await client.get(DEVICE_BOOTSTRAP)).json()
        trust = (await client.get(DEVICE_TRUST)).content
        status = (await client.get(f"{DEVICE_STATUS}/0")).content
        policy = (await client.get(DEVICE_POLICY)).content
    root = parse_key(decode(bytes.fromhex(bootstrap["root_key"]), field="root", max_bytes=256), "root")
    (folder / "root.cbor").write_bytes(encode_pinned(PinnedTrust(root, trust)))
    for name, data in (("trust", trust), ("status-0", status), ("policy", policy)):
        (folder / f"{name}.cose").write_bytes(data)
    assert tenant == bootstrap["tenant"]
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    fcntl.fcntl(master, fcntl.F_SETFL, fcntl.fcntl(master, fcntl.F_GETFL) | os.O_NONBLOCK)
    config = EdgeConfig(
        state_folder=folder,
        device=DeviceConfig(
            id=bootstrap["device"],
            tenant=tenant,
            site=bootstrap["site"],
            door=bootstrap["door"],
            access_point=bootstrap["access_point"],
        ),
        lock=AddressConfig(url=f"simulated://{folder / 'door'}"),
        inputs=(AddressConfig(url=f"simulated://{folder / 'door'}"),),
        diagnostics=DiagnosticsConfig(socket=folder / "diag.sock"),
        readers=(ReaderConfig(id="qr-1", url=f"serial://{os.ttyname(slave)}"),),
        cloud=CloudConfig(
            url=cloud.addresses.device_url,
            certificate=folder / "device.crt",
            key=folder / "device.key",
            ca=folder / "ca.crt",
        ),
        clock=ClockConfig(offset_file=folder / "clock-offset-ms"),
    )
    file = folder / "edge.toml"
    file.write_text(render_config(config))
    return Twin(folder, device, file, master, slave)


@dataclass
class Daemon:
    """A running `doorward edge run`, and the socket where it says that it is ready."""

    process: asyncio.subprocess.Process
    notices: socket.socket

    @classmethod
    async def start(cls, twin: Twin) -> Daemon:
        """Start it; its log goes to the twin's folder."""
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notices.settimeout(0)
        address = twin.folder / "notify"
        address.unlink(missing_ok=True)
        notices.bind(str(address))
        with (twin.folder / "edge.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                DOORWARD,
                *("edge", "run", "--config", str(twin.config)),
                stderr=log,
                stdout=log,
                env={**os.environ, "NOTIFY_SOCKET": str(address)},
            )
        twin.daemons.append(process)
        return cls(process, notices)

    async def ready(self) -> None:
        """Wait until it serves."""
        async with asyncio.timeout(DEADLINE_S):
            while b"READY=1" not in await asyncio.get_running_loop().sock_recv(self.notices, 1024):
                pass

    async def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        await self.process.wait()
        self.notices.close()

    async def stop(self) -> None:
        """End it as systemd does."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            await self.process.wait()
        self.notices.close()


@contextlib.asynccontextmanager
async def cloud_process(folder: Path) -> AsyncIterator[RunningCloud]:
    """Run `doorward cloud serve` with its private PostgreSQL until the block ends."""
    with (folder.parent / "cloud.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            DOORWARD,
            *("cloud", "serve", "--state", str(folder), "--api", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * DEADLINE_S):
            while (ready := json.loads(await process.stdout.readline()))["event"] != "ready":
                pass
        addresses = Addresses(api_url=ready["api_url"], device_url=ready["device_url"])
        token = (folder / "operator.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=addresses.api_url, headers=headers, timeout=DEADLINE_S) as api:
            yield RunningCloud(folder, addresses, token, api)
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2 * DEADLINE_S):
            await process.wait()


def moment(seed: int, number: int, longest_s: float) -> float:
    """Choose a repeatable random moment."""
    return random.Random(f"{seed}/{number}").uniform(0.0, longest_s)
