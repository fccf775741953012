"""`doorward fleet` against a real cloud: doors enrol, people come, everything arrives, and what does not is told."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from cloud.cluster import postmaster
from cloud.cluster.layout import Layout
from cloud.devices.authority import open_authority
from cloud.settings import Address, CloudSettings
from doorward.api import connect
from doorward.errors import CliError, ExitCode
from doorward.fleet.audit import audit
from doorward.fleet.campus import enrol_fleet, open_campus
from doorward.fleet.crew import Orders, open_crew
from tests.support.clouds import LOOPBACK, reachable_folder, running_cloud
from tests.support.commands import DEADLINE_S, PROGRAM, Ran, run_program
from tests.support.mosquitto import HOST, running_mosquitto

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.served import Served

DOORS = 5


def fleet(cloud: Served, keep: Path, *arguments: str) -> Ran:
    usual = ("--doors", str(DOORS), "--taps-per-s", "20", "--state", cloud.state, "--keep", keep, "--json")
    return run_program("fleet", *usual, *arguments)


def chain(cloud: Served, tenant: str, device: str) -> dict[str, Any]:
    with connect(url=None, token_file=None, state=cloud.state) as api:
        found: dict[str, Any] = api.get("institutions", tenant, "devices", device, "chain")
        return found


async def execute(cloud: Served, statement: str, *given: object) -> None:
    """Change the cloud's database past the cloud."""
    folder = postmaster.pid_file_lines(Layout(cloud.state).data)[4].strip()
    connection = await asyncpg.connect(f"postgresql://doorward@/doorward?host={folder}&port=5432")
    try:
        await connection.execute(statement, *given)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def kept(cloud: Served, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A fleet that has run once."""
    keep = tmp_path_factory.mktemp("fleet")
    return keep, fleet(cloud, keep, "--seconds", "2", "--processes", "2")


def test_everything_arrives_once(kept: tuple[Path, Ran]):
    _, ran = kept
    assert ran.code == ExitCode.OK, ran.err
    told = ran.record
    assert told["doors"] == DOORS
    assert told["events"] == told["acknowledged"] == told["stored"] > DOORS
    assert (told["lost"], told["duplicate"], told["not_handed_over"], told["broken"]) == (0, 0, 0, [])
    assert told["unlocks"] > 0
    assert (told["way"], told["batches_by_broker"], told["batches_over_https"]) == ("https", 0, told["batches"])
    assert told["durable_ms"]["p50"] <= told["durable_ms"]["p95"] <= told["durable_ms"]["p99"]
    stages = [json.loads(line)["at"] for line in ran.err.splitlines()]
    assert stages[0] == "enrolled"
    assert stages[-1] == "verified"


def test_a_kept_fleet_is_enrolled_once_and_goes_on_with_its_journals(cloud: Served, kept: tuple[Path, Ran]):
    keep, first = kept
    device = open_campus(keep).doors[0].device
    before = chain(cloud, first.record["tenant"], device)
    again = fleet(cloud, keep, "--seconds", "1", "--processes", "1")
    assert again.code == ExitCode.OK, again.err
    assert again.record["tenant"] == first.record["tenant"]
    after = chain(cloud, first.record["tenant"], device)
    assert after["epoch"] == before["epoch"]
    assert after["last"] > before["last"]
    assert after["ok"]


def test_more_doors_are_added_to_a_kept_fleet(cloud: Served, kept: tuple[Path, Ran]):
    keep, _ = kept
    before = open_campus(keep)
    with connect(url=None, token_file=None, state=cloud.state) as api:
        grown = enrol_fleet(api, cloud.device_url, before, len(before.doors) + 2, lambda *_: None)
    assert grown.doors[: len(before.doors)] == before.doors
    assert open_campus(keep) == grown


def test_ctrl_c_lets_the_doors_hand_over_what_they_have(cloud: Served, kept: tuple[Path, Ran]):
    keep, _ = kept
    command: list[str | Path] = [
        PROGRAM,
        "fleet",
        "--doors",
        "3",
        "--taps-per-s",
        "30",
        "--state",
        cloud.state,
        "--keep",
        keep,
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if json.loads(line)["at"] == "ready":
                break
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == ExitCode.OK, err
    told = json.loads(out)
    assert told["acknowledged"] == told["events"] > 0
    assert '"stopping"' in err


def test_a_cloud_that_is_not_there_is_told(tmp_path: Path):
    ran = run_program("fleet", "--doors", "1", "--seconds", "1", "--state", tmp_path, "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert ran.complaint["remedy"]


def test_a_device_listener_that_is_not_there_is_told(cloud: Served, tmp_path: Path):
    campus = open_campus(tmp_path / "fleet")
    with connect(url=None, token_file=None, state=cloud.state) as api, pytest.raises(CliError) as caught:
        enrol_fleet(api, "https://127.0.0.1:1", campus, 1, lambda *_: None)
    assert caught.value.code is ExitCode.UNREACHABLE


def test_a_revoked_door_is_told_and_the_others_go_on(cloud: Served, kept: tuple[Path, Ran]):
    keep, first = kept
    with connect(url=None, token_file=None, state=cloud.state) as api:
        revoked = open_campus(keep).doors[1]
        api.post("institutions", first.record["tenant"], "devices", revoked.device, "revoke")
    ran = fleet(cloud, keep, "--seconds", "1", "--processes", "1")
    assert ran.record["refused_doors"] == [revoked.door]
    assert ran.code == ExitCode.OK, ran.out


async def test_a_lost_event_and_a_duplicate_are_told(cloud: Served, kept: tuple[Path, Ran]):
    keep, first = kept
    tenant = first.record["tenant"]
    ran = fleet(cloud, keep, "--seconds", "1", "--processes", "1")
    assert ran.code == ExitCode.OK
    device = open_campus(keep).doors[0].device
    told = chain(cloud, tenant, device)
    record = {"door": "d", "device": device, "last": told["last"], "durable": told["last"]}
    record |= {"epoch": told["epoch"], "head": told["head"]}

    def ask() -> tuple[int, int, bool]:
        with connect(url=None, token_file=None, state=cloud.state) as api:
            (found,) = audit(api, tenant, [record], told=lambda _: None)
        return found.lost, found.duplicate, found.chain_ok

    assert ask() == (0, 0, True)
    epoch = bytes.fromhex(told["epoch"])
    columns = "tenant_id, device_id, epoch, received_at, seq, at, kind, door_id, reason, credential, raw"
    await execute(
        cloud,
        f"INSERT INTO events ({columns}) SELECT {columns} FROM events"  # noqa: S608 - constants
        " WHERE tenant_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
        *(tenant, device, epoch, told["last"]),
    )
    lost, duplicate, chain_ok = ask()
    assert (lost, duplicate, chain_ok) == (0, 1, False)
    await execute(
        cloud,
        "DELETE FROM events WHERE tenant_id = $1 AND device_id = $2 AND epoch = $3 AND seq = $4",
        *(tenant, device, epoch, told["last"]),
    )
    lost, duplicate, chain_ok = ask()
    assert (lost, duplicate, chain_ok) == (1, 0, False)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--way", "mqtt"), "no broker is named"),
        (("--way", "mqtt", "--broker", "foo"), "--broker 'foo'"),
        (("--broker", "mqtt://127.0.0.1"), "--broker 'mqtt://127.0.0.1'"),
    ],
)
def test_a_broker_that_is_none_is_wrong_usage_and_nothing_is_made(
    cloud: Served, tmp_path: Path, given: tuple[str, ...], named: str
):
    ran = fleet(cloud, tmp_path / "fleet", "--seconds", "1", *given)
    assert ran.code == ExitCode.UNUSABLE
    assert named in ran.complaint["message"]
    assert "mqtts://HOST:PORT" in ran.complaint["remedy"]
    assert not (tmp_path / "fleet").exists()


def test_a_broker_that_took_no_batch_is_told(cloud: Served, tmp_path: Path):
    mqtt = ("--way", "mqtt", "--broker", "mqtts://127.0.0.1:1")
    ran = fleet(cloud, tmp_path / "fleet", "--seconds", "1", "--processes", "1", *mqtt)
    assert ran.code == ExitCode.FAILED
    told = ran.record
    assert (told["way"], told["batches_by_broker"], told["lost"]) == ("mqtt", 0, 0)
    assert told["batches_over_https"] == told["batches"] > 0
    assert "no batch went through the broker at mqtts://127.0.0.1:1" in json.loads(ran.err.splitlines()[-1])["message"]


@pytest.mark.slow
async def test_batches_through_a_broker_are_counted(tmp_path: Path):
    state = reachable_folder()
    async with running_mosquitto(open_authority(state / "ca", now=datetime.now(UTC))) as broker:
        settings = CloudSettings(state=state, api=LOOPBACK, devices=LOOPBACK, shutdown_s=2)
        followed = replace(settings, broker=Address(HOST, broker.port), broker_for_doors=broker.url)
        async with running_cloud(followed) as served:
            place = ("--cloud", served.addresses.api_url, "--token-file", state / "operator.token")
            ways = ("--url", served.addresses.device_url, "--way", "mqtt", "--broker", broker.url)
            amount = ("--doors", "2", "--taps-per-s", "20", "--seconds", "4", "--processes", "1")
            keep = ("--keep", tmp_path / "fleet", "--json")
            ran = await asyncio.to_thread(run_program, "fleet", *place, *ways, *amount, *keep)
    assert ran.code == ExitCode.OK, ran.err
    told = ran.record
    assert told["way"] == "mqtt"
    assert told["batches_by_broker"] > 0
    assert told["batches_by_broker"] + told["batches_over_https"] == told["batches"]


async def test_doors_report_their_health_as_real_ones_do(cloud: Served, tmp_path: Path):
    with connect(url=None, token_file=None, state=cloud.state) as api:
        campus = enrol_fleet(api, cloud.device_url, open_campus(tmp_path / "fleet"), 2, lambda *_: None)

        async def devices() -> list[dict[str, Any]]:
            found = await asyncio.to_thread(api.get, "institutions", campus.tenant, "devices")
            listed: list[dict[str, Any]] = found["data"]
            return listed

        async with open_crew(campus, Orders(url=cloud.device_url)) as crew, asyncio.timeout(DEADLINE_S):
            await crew.ready()
            await crew.drained()
            told = await devices()
            while not all(each["report"] for each in told):
                await asyncio.sleep(0.2)
                told = await devices()
    assert [each["status"] for each in told] == ["online"] * 2
    assert all(each["firmware"]["version"].endswith(" simulated") for each in told)
    epochs = [(each["report"]["epoch"], each["report"]["mode"]) for each in told]
    assert epochs == [(crew.doors[each["door"]].journal.epoch.hex(), "locked") for each in told]
