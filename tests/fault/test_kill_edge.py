"""kill -9 at random moments of a stream of taps: nothing that opened a door is ever missing, anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from tests.support.clouds import enrol, reachable_folder
from tests.support.commands import run_program
from tests.support.twin import Daemon, Twin, Wallets, cloud_process, make_twin, moment
from tests.support.waiting import DEADLINE_S
from wire.event import CHAIN_START, chain_hash, parse_event
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Effort
    from tests.support.clouds import RunningCloud

SEED = 20_261_122
LONGEST_LIFE_S = 0.5
"""Two of three kills: this long at most after the daemon said that it serves."""
LONGEST_START_S = 2.0
"""The third: this long at most after it was started, so that start-up and recovery are cut short too."""
TAP_EVERY_S = 0.01
HOLDERS = 60
TENANT = "north"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = reachable_folder()
    yield made
    shutil.rmtree(made)


async def scan_for_ever(twin: Twin, wallets: Wallets) -> None:
    """Present codes as fast as people never do; every third one twice."""
    for number in itertools.count():
        text = wallets.code(number)
        twin.scan(text)
        if number % 3 == 0:
            twin.scan(text)
        await asyncio.sleep(TAP_EVERY_S)


async def kill_again_and_again(twin: Twin, kills: int, seed: int) -> None:
    for number in range(kills):
        daemon = await Daemon.start(twin)
        if number % 3:
            await daemon.ready()
            await asyncio.sleep(moment(seed, number, LONGEST_LIFE_S))
        else:
            await asyncio.sleep(moment(seed, number, LONGEST_START_S))
        assert daemon.process.returncode is None, (twin.folder / "edge.log").read_text()[-2_000:]
        await daemon.kill()


async def synchronised(twin: Twin) -> int:
    """Wait until the cloud has every event; gives how many."""
    async with asyncio.timeout(4 * DEADLINE_S):
        while True:
            status = (await twin.ask("status"))["status"]
            assert isinstance(status, dict)
            journal = status["journal"]
            if journal["last"] == journal["durable"]:
                return int(journal["last"])
            await asyncio.sleep(0.05)


async def settle(twin: Twin) -> int:
    """Start once more without taps, let it finish, stop it cleanly."""
    daemon = await Daemon.start(twin)
    await daemon.ready()
    await synchronised(twin)
    await daemon.stop()
    daemon = await Daemon.start(twin)  # the last event, STOPPED, goes up with the next start
    await daemon.ready()
    last = await synchronised(twin)
    await daemon.kill()
    return last


async def events_in_cloud(cloud: RunningCloud, door: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    after: str | None = None
    while True:
        query = {"door": door, "limit": "100", **({} if after is None else {"after": after})}
        answer = await cloud.api.get(f"/api/v1/institutions/{TENANT}/events", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [(row["seq"], row["hash"]) for row in page["data"]]
        after = page["next"]
        if after is None:
            return found


def check_journal(twin: Twin, wallets: Wallets) -> dict[int, str]:
    """Check the door's own journal against the relay; gives each event's hash."""
    rows = twin.journal()
    events = [parse_event(data) for _, data in rows]
    assert [event.seq for event in events] == list(range(1, len(rows) + 1))
    hashes = [CHAIN_START, *(chain_hash(data) for _, data in rows)]
    assert [event.prev for event in events] == hashes[:-1]
    granted = {event.seq for event in events if event.kind is EventKind.ACCESS_GRANTED}
    causes = [line["cause_seq"] for line in twin.relay() if line["action"] == "energise"]
    assert causes, f"no door opened: the test has shown nothing ({Counter(event.reason for event in events)})"
    assert granted.issuperset(causes)
    assert len(causes) == len(set(causes))
    accepted = Counter(event.credential for event in events if event.seq in granted)
    for pass_id, seconds in wallets.shown.items():
        assert accepted[bytes.fromhex(pass_id)] <= len(seconds), "a code was accepted twice"
    return {seq: chain_hash(data).hex() for seq, data in rows}


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.timeout(7_200)
async def test_no_unlock_is_lost_and_none_is_told_twice(folder: Path, effort: Effort):
    kills = effort.pick(usual=100, long=1_000)
    async with contextlib.AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(cloud_process(folder / "cloud"))
        made = await cloud.api.post("/api/v1/institutions", json={"id": TENANT, "name": "North", "timezone": "UTC"})
        assert made.status_code == 201, made.text
        twins = {door: await enrolled_twin(cloud, folder, door) for door in ("east", "west")}
        for twin in twins.values():
            stack.push_async_callback(twin.aclose)
        wallets = Wallets("campus")
        await wallets.issue(cloud, TENANT, HOLDERS)
        each = kills // len(twins)
        await asyncio.gather(*(one_door(twin, wallets, each, n) for n, twin in enumerate(twins.values())))
        for door, twin in twins.items():
            await check_door(cloud, door, twin, wallets)


async def check_replay(twin: Twin) -> None:
    """Run again what was recorded before every kill; far more is shown here than is worth recording."""
    ran = await asyncio.to_thread(run_program, "diag", "replay", "--state", twin.folder, "--json")
    assert ran.code == ExitCode.OK, ran.out[-2_000:]
    assert ran.record["decisions"] > 0


async def check_door(cloud: RunningCloud, door: str, twin: Twin, wallets: Wallets) -> None:
    last = await settle(twin)
    own = check_journal(twin, wallets)
    await check_replay(twin)
    in_cloud = await events_in_cloud(cloud, door)
    assert Counter(seq for seq, _ in in_cloud) == Counter(range(1, last + 1))
    assert dict(in_cloud) == {seq: text for seq, text in own.items() if seq <= last}
    chain = (await cloud.api.get(f"/api/v1/institutions/{TENANT}/devices/{twin.device.name}/chain")).json()
    assert chain["ok"], chain


async def enrolled_twin(cloud: RunningCloud, folder: Path, door: str) -> Twin:
    base = f"/api/v1/institutions/{TENANT}/doors"
    made = await cloud.api.post(base, json={"id": door, "site": "campus"})
    assert made.status_code == 201, made.text
    rules = {"settings": {"releaseTimeMs": 50}, "accessLevels": [{"id": 1, "schedules": [0]}], "schedules": []}
    made = await cloud.api.put(f"{base}/{door}/policy", json=rules)
    assert made.is_success, made.text
    device = await enrol(cloud.addresses.device_url, await cloud.claim(TENANT, door))
    return await make_twin(folder / door, cloud, TENANT, device)


async def one_door(twin: Twin, wallets: Wallets, kills: int, number: int) -> None:
    scanning = asyncio.create_task(scan_for_ever(twin, wallets))
    try:
        await kill_again_and_again(twin, kills, SEED + number)
    finally:
        scanning.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scanning
