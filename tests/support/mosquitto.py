"""A real mosquitto for tests, with the configuration that the product writes, and certificates to connect with.

`running_mosquitto()` gives a broker that runs; `door_files` and `service_files` certify clients; after `kill` (SIGKILL)
or `stop`, `start` brings it back on the same port.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.broker.mosquitto import write_broker_files
from cloud.broker.names import cloud_name
from cloud.cluster.owner import Owner, choose_owner
from cloud.devices.authority import DeviceAuthority, open_authority
from cloud.settings import Address
from tests.support.clouds import reachable_folder
from tests.support.ports import kept_port
from tests.support.waiting import DEADLINE_S
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What a client of the broker shows and believes."""

    key: Path
    certificate: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        """Make a client's TLS context."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(slots=True)
class Mosquitto:
    """A broker; `start`, `kill` and `stop` may be called again and again."""

    folder: Path
    authority: DeviceAuthority
    owner: Owner
    port: int
    configuration: Path
    process: asyncio.subprocess.Process | None = None
    clients: Path = field(init=False)

    def __post_init__(self) -> None:
        self.clients = self.folder / "clients"
        self.clients.mkdir()

    @property
    def url(self) -> str:
        """As a door is configured with it."""
        return f"mqtts://{HOST}:{self.port}"

    async def start(self) -> None:
        """Start the server and return when it answers."""
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert program is not None, "mosquitto is not installed: run script/setup"
        log = (self.folder / "mosquitto.log").open("ab")
        user = self.owner.uid if self.owner.switch else None
        group = self.owner.gid if self.owner.switch else None
        groups: list[int] | None = [] if self.owner.switch else None
        with log:
            self.process = await asyncio.create_subprocess_exec(
                program,
                "-c",
                str(self.configuration),
                stdout=log,
                stderr=log,
                user=user,
                group=group,
                extra_groups=groups,
            )
        async with asyncio.timeout(DEADLINE_S):
            await self._answering()

    async def kill(self) -> None:
        """End the server as a power cut would."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """End the server if it runs."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            async with asyncio.timeout(DEADLINE_S):
                await self.process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing inside the block; the kernel goes on accepting connections for it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """Give what the server has said."""
        return (self.folder / "mosquitto.log").read_text()

    def door_files(self, tenant: str, device: str, *, now: datetime | None = None) -> ClientFiles:
        """Certify a new door, now or at another time."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.authority.certify_device(
            key.public_key(), tenant=Tenant(tenant), device=DeviceId(device), now=now or datetime.now(UTC)
        )
        return self._write(f"{tenant}.{device}", key, certificate.public_bytes(Encoding.PEM))

    def service_files(self, name: str = cloud_name(0)) -> ClientFiles:
        """Certify the cloud's process in the first seat, or another of its programs."""
        identity = self.authority.certify_service(name, now=datetime.now(UTC))
        return self._write(name, identity.key, identity.certificate.public_bytes(Encoding.PEM))

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> ClientFiles:
        files = ClientFiles(self.clients / f"{name}.key", self.clients / f"{name}.crt", self.clients / "ca.crt")
        files.key.touch(mode=0o600)
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files.certificate.write_bytes(certificate)
        files.ca.write_bytes(self.authority.certificate.public_bytes(Encoding.PEM))
        return files

    async def _answering(self) -> None:
        assert self.process is not None
        while True:
            assert self.process.returncode is None, self.log()
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return


@asynccontextmanager
async def running_mosquitto(authority: DeviceAuthority | None = None) -> AsyncIterator[Mosquitto]:
    """Run a broker for the device CA `authority`, or for one of its own."""
    folder = reachable_folder()
    now = datetime.now(UTC)
    authority = authority or open_authority(folder / "authority", now=now)
    owner = choose_owner(stand_ins=("mosquitto", "nobody"))
    with kept_port() as port:
        files = write_broker_files(
            folder / "broker", authority, owner, address=Address(HOST, port), names=[HOST, "localhost"], now=now
        )
        broker = Mosquitto(folder, authority, owner, port, files.configuration)
        try:
            await broker.start()
            yield broker
        finally:
            await broker.stop()
            shutil.rmtree(folder)
