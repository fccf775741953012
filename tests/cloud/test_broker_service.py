"""A whole cloud that follows a broker: what doors are told of it, and several processes that share the doors."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiomqtt
import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.broker.consumer import FILTERS
from cloud.devices.authority import open_authority
from cloud.settings import Address
from tests.support.clouds import Device, RunningCloud, running_cloud
from tests.support.commands import PROGRAM
from tests.support.door_batches import Journal
from tests.support.linked import Door
from tests.support.mosquitto import HOST, ClientFiles, running_mosquitto
from tests.support.waiting import DEADLINE_S
from wire.keys import P256Signer
from wire.messages import DEVICE_BOOTSTRAP, DEVICE_EVENTS
from wire.names import DeviceId, Tenant

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

    from cloud.settings import CloudSettings
    from tests.support.mosquitto import Mosquitto


@pytest.fixture(name="broker")
async def _broker(settings: CloudSettings) -> AsyncIterator[Mosquitto]:
    """A broker that trusts the CA of the cloud's state folder."""
    authority = open_authority(settings.state / "ca", now=datetime.now(UTC))
    async with running_mosquitto(authority) as made:
        yield made


@asynccontextmanager
async def at_broker(broker: Mosquitto, device: Device, tenant: str) -> AsyncIterator[Door]:
    """Connect an enrolled device with its own certificate."""
    files = ClientFiles(*(broker.clients / f"{device.name}.{end}" for end in ("key", "crt", "ca")))
    files.key.write_bytes(device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files.certificate.write_bytes(device.certificate.public_bytes(Encoding.PEM))
    files.ca.write_bytes(device.ca.public_bytes(Encoding.PEM))
    async with aiomqtt.Client(
        HOST,
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=files.context(),
        timeout=DEADLINE_S,
    ) as client:
        await client.subscribe(f"dw/1/{tenant}/{device.name}/down/#", qos=1)
        yield Door(client, Tenant(tenant), DeviceId(device.name))


async def checked(url: str) -> tuple[str, int, int]:
    """Give what the health page says: the whole, its HTTP status, and how many lanes are followed."""
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
        answer = await client.get("/health")
    found = answer.json()
    return found["status"], answer.status_code, found["checks"]["broker"]["value"]


async def follows(url: str, *counts: int) -> int:
    """Wait until a process follows one of these numbers of lanes."""
    async with asyncio.timeout(60):
        while (count := (await checked(url))[2]) not in counts:  # noqa: ASYNC110 - another process's page
            await asyncio.sleep(0.1)
    return count


async def test_an_enrolled_door_is_told_of_the_broker_and_answered_there_as_over_https(
    settings: CloudSettings, broker: Mosquitto
):
    told = "mqtts://doors.example:8883"
    served = replace(settings, broker=Address(HOST, broker.port), broker_for_doors=told)
    async with running_cloud(served) as cloud:
        await follows(cloud.addresses.api_url, len(FILTERS))
        device = await cloud.enrolled("both-ways")
        journal = Journal(DeviceId(device.name), P256Signer(device.key))
        journal.grow(6)
        async with device.client() as client, at_broker(broker, device, "both-ways") as door:
            assert (await client.get(DEVICE_BOOTSTRAP)).json()["broker"] == told
            for batch in (journal.batch(1, 2), journal.batch(4, 6), b"garbage"):
                reply = await door.ask(batch)
                answer = await client.post(DEVICE_EVENTS, content=batch)
                assert reply.status == answer.status_code
                if reply.status != 200:
                    assert json.loads(reply.body) == answer.json()
            place = "/api/v1/institutions/both-ways/doors/main-entrance/policy"
            policy = {"accessLevels": [{"id": 1, "schedules": [0]}]}
            version = (await cloud.api.put(place, json=policy)).json()["version"]
            assert (await door.versions()).policy == version
            await revoke(cloud, "both-ways", device)
            assert json.loads((await door.ask(journal.batch(1, 2))).body)["reason"] == "DEVICE_REVOKED"
        metrics = (await cloud.api.get("/metrics")).text
    assert f"doorward_broker_lanes {len(FILTERS)}.0" in metrics
    assert 'doorward_broker_answers_total{status="200"} 1.0' in metrics


async def revoke(cloud: RunningCloud, tenant: str, device: Device) -> None:
    answer = await cloud.api.post(f"/api/v1/institutions/{tenant}/devices/{device.name}/revoke")
    assert answer.status_code == 200


async def test_without_a_broker_doors_are_told_of_none(cloud: RunningCloud):
    device = await cloud.enrolled("no-broker")
    async with device.client() as client:
        assert (await client.get(DEVICE_BOOTSTRAP)).json()["broker"] is None
    assert "broker" not in (await cloud.api.get("/health")).json()["checks"]


async def test_a_cloud_without_its_broker_is_healthy_and_serves(settings: CloudSettings):
    async with running_cloud(replace(settings, broker=Address(HOST, 1))) as cloud:
        assert await checked(cloud.addresses.api_url) == ("ok", 200, 0)
        assert (await cloud.enrolled("broker-away")).name


@dataclass(frozen=True, slots=True)
class Served:
    """A process of the cloud, and where operators reach it."""

    process: Process
    api_url: str


@asynccontextmanager
async def serving(settings: CloudSettings, broker: Mosquitto) -> AsyncIterator[Served]:
    """Run `doorward cloud serve` on the test's database until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "cloud", "serve", "--state", settings.state, "--broker", broker.url, "--json"),
        *("--api", "127.0.0.1:0", "--devices", "127.0.0.1:0"),
        env={**os.environ, "DATABASE_URL": settings.database_url or ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * DEADLINE_S):
            while (line := json.loads(await process.stdout.readline()))["event"] != "ready":
                pass
        yield Served(process, line["api_url"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.e2e
@pytest.mark.slow
async def test_two_processes_share_the_doors_and_one_takes_over_from_the_other(
    settings: CloudSettings, broker: Mosquitto
):
    half = len(FILTERS) // 2
    async with serving(settings, broker) as first, serving(settings, broker) as second:
        shares = [await follows(each.api_url, half, half + 1) for each in (first, second)]
        assert sum(shares) == len(FILTERS)

        first.process.send_signal(signal.SIGSTOP)  # a process that hangs: its session at the database ends after 20 s
        await follows(second.api_url, len(FILTERS))
        first.process.send_signal(signal.SIGCONT)
        assert await follows(first.api_url, half, half + 1) + await follows(second.api_url, half, half + 1) == sum(
            shares
        )

        first.process.send_signal(signal.SIGKILL)
        began_s = asyncio.get_running_loop().time()
        await follows(second.api_url, len(FILTERS))
        assert asyncio.get_running_loop().time() - began_s < 10

        async with serving(settings, broker) as third:
            await follows(third.api_url, half, half + 1)
            second.process.send_signal(signal.SIGTERM)
            assert await second.process.wait() == 0
            await follows(third.api_url, len(FILTERS))
