"""Several `doorward cloud serve` processes on one database and one state folder, and doors that send to any of them."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httpx

from tests.support.commands import PROGRAM
from tests.support.waiting import DEADLINE_S
from wire.batch import open_acknowledgement
from wire.messages import DEVICE_EVENTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clouds import Device
    from tests.support.door_batches import Journal
    from wire.keys import PublicKey


@dataclass(slots=True)
class Serving:
    """One process."""

    state: Path
    database_url: str
    process: asyncio.subprocess.Process | None = None
    api_url: str = ""
    device_url: str = ""

    async def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        places = ("--state", str(self.state), "--api", "127.0.0.1:0", "--devices", "127.0.0.1:0")
        self.process = await asyncio.create_subprocess_exec(
            *(PROGRAM, "cloud", "serve", *places, "--json"),
            env={**os.environ, "DATABASE_URL": self.database_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            while True:
                said = json.loads(await self.process.stdout.readline())
                if said["event"] == "ready":
                    break
        self.api_url, self.device_url = said["api_url"], said["device_url"]

    async def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """End it as systemd would; gives its exit code."""
        assert self.process is not None
        self.process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()

    def operator(self) -> httpx.AsyncClient:
        """Talk to its API with the token of the state folder."""
        headers = {"authorization": f"Bearer {(self.state / 'operator.token').read_text().strip()}"}
        return httpx.AsyncClient(base_url=self.api_url, headers=headers, timeout=DEADLINE_S)


@dataclass(slots=True)
class SendingDoor:
    """A door that sends its journal to whoever answers, and believes only verified acknowledgements."""

    device: Device
    journal: Journal
    key: PublicKey
    durable: int = 0

    async def send(self, to: Serving, count: int) -> None:
        """Send the next events after those that are known to be durable; as a door does, rewind when there is a gap.

        Raises:
            httpx.TransportError: it does not answer.
        """
        first = self.durable + 1
        body = self.journal.batch(first, min(first + count - 1, len(self.journal.events)))
        async with replace(self.device, url=to.device_url).client() as client:
            answer = await client.post(DEVICE_EVENTS, content=body)
        assert answer.status_code == 200, answer.text
        found = open_acknowledgement(answer.content, self.key)
        assert found.head == self.journal.head_at(found.durable)
        self.durable = max(self.durable, found.durable)
