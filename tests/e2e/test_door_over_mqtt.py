"""A door's daemon, the real cloud and a real broker: a batch, a change and a report go through it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cloud.broker.consumer import FILTERS
from cloud.devices.authority import open_authority
from cloud.settings import Address, CloudSettings
from doorward.diag import Diagnostics
from edge.config import load_config
from edge.daemon import serve
from firmware_adapters.simulated import send_control
from provisioning.plan import DesiredDoor
from tests.support.clouds import LOOPBACK, reachable_folder, running_cloud
from tests.support.installer import provision
from tests.support.mosquitto import HOST, running_mosquitto
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from pathlib import Path

TENANT = "oakfield"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def told(folder: Path, **wanted: object) -> dict[str, Any]:
    """Wait until the door says this of itself."""
    async with asyncio.timeout(2 * DEADLINE_S):
        while True:
            status = await asyncio.to_thread(Diagnostics(folder / "diag.sock").status)
            found = {**status, **status["sync"], **status["sync"]["health"]}
            if wanted.items() <= found.items():
                return found
            await asyncio.sleep(0.05)


async def test_a_door_and_its_cloud_meet_at_a_broker(tmp_path: Path):
    state, folder = reachable_folder(), tmp_path / "door"
    async with running_mosquitto(open_authority(state / "ca", now=datetime.now(UTC))) as broker:
        settings = CloudSettings(state=state, api=LOOPBACK, devices=LOOPBACK, shutdown_s=2)
        both = replace(settings, broker=Address(HOST, broker.port), broker_for_doors=broker.url)
        async with running_cloud(both) as cloud:
            await cloud.make_door(TENANT)
            twin = f"simulated://{tmp_path}/twin"
            desired = DesiredDoor(
                cloud_url=cloud.addresses.device_url,
                claim_code=await cloud.claim(TENANT),
                folder=folder,
                readers={},
                lock=twin,
                inputs=(twin,),
            )
            done = await provision(desired)
            assert done.broker == broker.url
            async with asyncio.timeout(DEADLINE_S):
                while (await cloud.api.get("/health")).json()["checks"]["broker"]["value"] != len(FILTERS):  # noqa: ASYNC110 - asked of the cloud
                    await asyncio.sleep(0.05)

            stop = asyncio.Event()
            daemon = asyncio.create_task(serve(load_config(done.config), stop))
            await until(lambda: (folder / "diag.sock").is_socket() or daemon.done())
            try:
                await told(folder, way="mqtt", pending=0)
                before = await answered(cloud.api)
                await send_control(tmp_path / "twin", "rex press")
                async with asyncio.timeout(DEADLINE_S):
                    while await answered(cloud.api) == before:  # noqa: ASYNC110 - asked of the cloud
                        await asyncio.sleep(0.05)
                await told(folder, pending=0)

                rules = {"accessLevels": [{"id": 1, "schedules": [0]}]}
                put = await cloud.api.put(f"/api/v1/institutions/{TENANT}/doors/main-entrance/policy", json=rules)
                await told(folder, policy_version=put.json()["version"])
                device = await told_and_seen(cloud.api)
                assert (device["status"], device["firmware"]) == ("online", {"version": version("doorward")})
                assert device["metrics"]["rss_mb"] > 10
                assert (await told(folder))["broker_error"] is None
            finally:
                stop.set()
                async with asyncio.timeout(DEADLINE_S):
                    await daemon


async def told_and_seen(api: httpx.AsyncClient) -> dict[str, Any]:
    """Wait for the two things that the cloud writes of its door every few seconds, each by itself."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            device: dict[str, Any] = (await api.get(f"/api/v1/institutions/{TENANT}/devices")).json()["data"][0]
            if device["report"] and device["lastSeen"]:
                return device
            await asyncio.sleep(0.1)


async def answered(api: httpx.AsyncClient) -> float:
    """Count the batches that the cloud took through the broker."""
    lines = (await api.get("/metrics")).text.splitlines()
    name = 'doorward_broker_answers_total{status="200"}'
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)
