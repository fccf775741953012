"""A real door's life, run again beside its daemon: the same decisions, and what other rules would have decided."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from tests.support.clouds import enrol, reachable_folder
from tests.support.commands import run_program
from tests.support.twin import Daemon, Twin, Wallets, cloud_process, make_twin
from tests.support.waiting import DEADLINE_S
from wire.event import parse_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.clouds import RunningCloud

TENANT, DOOR = "north", "east"
DOORS = f"/api/v1/institutions/{TENANT}/doors"
RULES = {"settings": {"releaseTimeMs": 50}, "accessLevels": [{"id": 1, "schedules": [0]}]}
DOWN = {**RULES, "settings": {"releaseTimeMs": 50, "mode": "locked_down"}, "lockOut": True}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = reachable_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def cloud(folder: Path) -> AsyncIterator[RunningCloud]:
    async with cloud_process(folder / "cloud") as running:
        await running.make_door(TENANT, DOOR)
        yield running


@pytest.fixture
async def twin(folder: Path, cloud: RunningCloud) -> AsyncIterator[Twin]:
    await order(cloud, RULES)
    device = await enrol(cloud.addresses.device_url, await cloud.claim(TENANT, DOOR))
    made = await make_twin(folder / DOOR, cloud, TENANT, device)
    yield made
    await made.aclose()


async def order(cloud: RunningCloud, rules: object) -> int:
    """Give the door other rules; gives their version."""
    put = await cloud.api.put(f"{DOORS}/{DOOR}/policy", json=rules)
    assert put.status_code == 200, put.text
    version: int = put.json()["version"]
    return version


async def events(twin: Twin) -> list[dict[str, object]]:
    found = (await twin.ask("events"))["events"]
    assert isinstance(found, list)
    return found


async def seen(twin: Twin, wanted: dict[str, object], *, after: int = 0) -> int:
    """Wait for an event with these values; gives its number."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for row in await events(twin):
                if wanted.items() <= row.items() and int(str(row["seq"])) > after:
                    return int(str(row["seq"]))
            await asyncio.sleep(0.02)


async def scan_until(twin: Twin, text: bytes, **wanted: object) -> int:
    """Hold a code before the scanner until the journal tells: what is read before the port is open is lost."""

    async def scan() -> None:
        while True:
            twin.scan(text)
            await asyncio.sleep(0.2)

    scanning = asyncio.create_task(scan())
    try:
        return await seen(twin, wanted)
    finally:
        scanning.cancel()


async def live(cloud: RunningCloud, twin: Twin, wallets: Wallets) -> Daemon:
    """Grant, deny, revoke, change the rules, be killed, start again; gives the daemon, which still runs."""
    daemon = await Daemon.start(twin)
    await daemon.ready()
    await scan_until(twin, b"hello", reason="UNSUPPORTED_CREDENTIAL")
    for number, (pass_id, _) in enumerate(wallets.passes[:2]):
        await scan_until(twin, wallets.code(number), granted=True, credential=pass_id)
    revoked = await cloud.api.post(f"/api/v1/institutions/{TENANT}/passes/{wallets.passes[1][0]}/revoke")
    assert revoked.is_success, revoked.text
    await seen(twin, {"kind": "STATUS_UPDATED"}, after=await seen(twin, {"granted": True}))
    await scan_until(twin, wallets.code(1), reason="REVOKED")
    version = await order(cloud, DOWN)
    await seen(twin, {"kind": "POLICY_UPDATED", "policy_version": version})
    await scan_until(twin, wallets.code(2), reason="DOOR_LOCKED_DOWN")
    await daemon.kill()
    daemon = await Daemon.start(twin)
    await daemon.ready()
    version = await order(cloud, RULES)
    await seen(twin, {"kind": "POLICY_UPDATED", "policy_version": version})
    await scan_until(twin, wallets.code(2), granted=True, boot=2)
    return daemon


async def test_what_a_door_decided_follows_again_from_what_it_recorded(cloud: RunningCloud, twin: Twin, folder: Path):
    wallets = Wallets("campus")
    await wallets.issue(cloud, TENANT, 3)
    daemon = await live(cloud, twin, wallets)

    ran = await asyncio.to_thread(run_program, "diag", "replay", "--state", twin.folder, "--json")
    assert ran.code == ExitCode.OK, ran.out
    summary = ran.record
    decided = [event for event in (parse_event(data) for _, data in twin.journal()) if event.granted is not None]
    assert (summary["same"], summary["differences"], summary["unrecorded"]) == (True, 0, 0)
    assert summary["first"] == 1
    assert summary["decisions"] >= 6
    assert summary["decisions"] <= len(decided)
    await daemon.stop()

    taps = await asyncio.to_thread(run_program, "diag", "taps", "--state", twin.folder, "--json")
    (folder / "taps.jsonl").write_text(taps.out)
    for name, rules in (("old", RULES), ("new", DOWN)):
        (folder / f"{name}.json").write_text(json.dumps(rules))
    arguments = (folder / "old.json", folder / "new.json", "--timezone", "UTC", "--events", folder / "taps.jsonl")
    ran = await asyncio.to_thread(run_program, "policy", "diff", *arguments, "--json")
    assert ran.code == ExitCode.FAILED, ran.err
    *changes, told = [json.loads(line) for line in ran.out.splitlines()]
    granted = {event.seq for event in decided if event.granted}
    assert granted <= {change["seq"] for change in changes}
    assert told["closing_reasons"] == {"DOOR_LOCKED_DOWN": len(changes)}
