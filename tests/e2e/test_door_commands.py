"""A door by its commands: provisioned with a claim code, run, asked at its socket."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from doorward.diag import Diagnostics
from doorward.errors import CliError, ExitCode
from firmware_adapters.simulated import send_control
from tests.support.commands import DEADLINE_S, PROGRAM, run_here, run_program
from tests.support.served import DOOR, SITE, TENANT, Served
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def claim_code(cloud: Served, door: str = DOOR) -> str:
    place = f"institutions/{TENANT}/doors/{door}/claims"
    code: str = run_program("cloud", "call", "POST", place, "--state", cloud.state, "--json").record["claimCode"]
    return code


@dataclass(frozen=True, slots=True)
class RunningDoor:
    """A door whose daemon runs."""

    folder: Path

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.folder / "diag.sock"

    @property
    def twin(self) -> Path:
        """The state folder of its simulated lock."""
        return self.folder / "twin"


def answers(socket: Path) -> bool:
    try:
        return bool(Diagnostics(socket).status())
    except CliError:
        return False


@pytest.fixture(scope="module")
def door(cloud: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDoor]:
    """Provision a door whose lock and inputs are simulated, and run its daemon."""
    running = RunningDoor(tmp_path_factory.mktemp("door"))
    provisioned = run_program(
        *("provision", "door", "--cloud", cloud.device_url, "--claim", "-", "--folder", running.folder),
        *("--inputs", f"simulated://{running.twin}", "--json"),
        stdin=claim_code(cloud).lower().encode() + b"\n",
    )
    assert provisioned.code == ExitCode.OK, provisioned.err
    arguments: list[str | Path] = [PROGRAM, "edge", "run", "--config", running.folder / "edge.toml"]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as daemon:
        try:
            asyncio.run(until(lambda: answers(running.socket)))
            yield running
        finally:
            daemon.send_signal(signal.SIGTERM)
            code = daemon.wait(DEADLINE_S)
    assert code == ExitCode.OK


def test_a_door_without_a_policy_is_told_to_get_one(cloud: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    new = json.dumps({"id": "side-gate", "site": SITE})
    made = run_here(capsys, "cloud", "call", "POST", f"institutions/{TENANT}/doors", new, "--state", cloud.state)
    assert made.code == ExitCode.OK
    code = claim_code(cloud, "side-gate")
    ran = run_here(
        capsys, "provision", "door", "--cloud", cloud.device_url, "--claim", code, "--folder", tmp_path / "d"
    )
    assert ran.code == ExitCode.OK
    assert ran.out.startswith(" 1/9 Prepare ")
    assert "No reader was named" in ran.out
    assert "No lock was named" in ran.out
    assert "until then it lets nobody in" in ran.out
    assert f"doorward edge run --config {tmp_path}/d/edge.toml" in ran.out
    assert run_here(capsys, "edge", "check-config", tmp_path / "d" / "edge.toml").code == ExitCode.OK


def test_provisioning_tells_its_steps_and_its_result_as_json(
    cloud: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    ran = run_here(
        capsys,
        *("provision", "door", "--cloud", cloud.device_url, "--claim", claim_code(cloud), "--folder", tmp_path / "d"),
        *("--reader", "entry=serial:///dev/ttyACM0?baud=9600", "--lock", f"simulated://{tmp_path}/t", "--json"),
        *("--broker", "mqtts://broker.example:8883"),
    )
    *steps, last = [json.loads(line) for line in ran.out.splitlines()]
    assert [(each["number"], each["stage"]) for each in steps] == [
        (number, stage) for number in range(1, 10) for stage in ("started", "done")
    ]
    assert (last["event"], last["tenant"], last["door"], last["notices"]) == ("provisioned", TENANT, DOOR, [])
    assert last["broker"] == "mqtts://broker.example:8883"
    assert 'broker = "mqtts://broker.example:8883"' in (tmp_path / "d" / "edge.toml").read_text()


def test_a_dry_run_asks_nobody_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = "7EDQ-QX4M-6E58-XP3A-QYPE-26S3-F9G4-09K7"
    arguments = ("provision", "door", "--cloud", "https://127.0.0.1:1", "--claim", code, "--folder", tmp_path / "d")
    ran = run_here(capsys, *arguments, "--dry-run")
    assert ran.code == ExitCode.OK
    assert len(ran.out.splitlines()) == 9
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--cloud", "https://127.0.0.1:1"), ExitCode.UNREACHABLE),
        (("--cloud", "http://127.0.0.1:1"), ExitCode.UNUSABLE),
        (("--cloud", "https://127.0.0.1:1", "--reader", "serial:///dev/ttyACM0"), ExitCode.UNUSABLE),
        (("--cloud", "https://127.0.0.1:1", "--lock", "gpio:17"), ExitCode.UNUSABLE),
        (("--cloud", "https://127.0.0.1:1", "--broker", "mqtt://127.0.0.1"), ExitCode.UNUSABLE),
    ],
)
def test_what_cannot_be_provisioned_is_told(
    options: tuple[str, ...], code: ExitCode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    claim = ("--claim", "7EDQ-QX4M-6E58-XP3A-QYPE-26S3-F9G4-09K7", "--folder", tmp_path / "d")
    assert run_here(capsys, "provision", "door", *options, *claim).code == code


def test_a_used_claim_is_refused(cloud: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    common = ("provision", "door", "--cloud", cloud.device_url, "--claim", claim_code(cloud), "--folder")
    assert run_here(capsys, *common, tmp_path / "first").code == ExitCode.OK
    ran = run_here(capsys, *common, tmp_path / "second", "--json")
    assert ran.code == ExitCode.REFUSED
    assert "claim" in json.loads(ran.err.splitlines()[-1])["message"]


def test_a_second_daemon_of_one_folder_says_who_is_in_the_way(door: RunningDoor, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "edge", "run", "--config", door.folder / "edge.toml")
    assert ran.code == ExitCode.FAILED
    assert "Traceback" not in ran.err
    assert answers(door.socket)


def test_the_status_is_the_daemons(door: RunningDoor, capsys: pytest.CaptureFixture[str]):
    record = run_here(capsys, "diag", "status", "--socket", door.socket, "--json").record
    assert (record["tenant"], record["door"], record["mode"]) == (TENANT, DOOR, "locked")
    text = run_here(capsys, "diag", "status", "--socket", door.socket).out
    assert f"door {DOOR}" in " ".join(text.split())


def test_the_door_has_told_its_cloud_how_it_is(door: RunningDoor, cloud: Served, capsys: pytest.CaptureFixture[str]):
    def told() -> dict[str, object]:
        sync: dict[str, object] = Diagnostics(door.socket).status()["sync"]
        return {**sync, **sync["health"]}  # type: ignore[dict-item]

    asyncio.run(until(lambda: told()["last_reported"] is not None))
    assert (told()["error"], told()["way"], told()["broker_error"]) == (None, "https", None)
    text = run_here(capsys, "diag", "status", "--socket", door.socket).out
    assert "sync health last reported  20" in text
    arguments = ("cloud", "call", "GET", f"institutions/{TENANT}/devices", "--state", cloud.state)
    asyncio.run(until(lambda: '"online"' in run_here(capsys, *arguments).out))  # written every few seconds


def test_events_are_the_journals(door: RunningDoor, capsys: pytest.CaptureFixture[str]):
    events = [
        json.loads(line)
        for line in run_here(capsys, "diag", "events", "--socket", door.socket, "--json").out.splitlines()
    ]
    assert "STARTED" in [event["kind"] for event in events]
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[-1]["seq"] + 1))
    later = run_here(
        capsys, "diag", "events", "--socket", door.socket, "--after", str(events[0]["seq"]), "--limit", "1"
    )
    assert len(later.out.splitlines()) == 1


def test_an_event_is_explained_in_a_sentence(door: RunningDoor, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "diag", "explain", "1", "--socket", door.socket, "--json")
    assert ran.code == ExitCode.OK
    assert ran.record["event"]["seq"] == 1
    assert ran.record["sentence"].endswith(".")


@pytest.mark.parametrize(("number", "code"), [("999999", ExitCode.REFUSED), ("first", ExitCode.UNUSABLE)])
def test_an_event_that_is_not_there_is_told(
    door: RunningDoor, capsys: pytest.CaptureFixture[str], number: str, code: ExitCode
):
    ran = run_here(capsys, "diag", "explain", number, "--socket", door.socket)
    assert ran.code == code
    assert "Traceback" not in ran.err


def test_a_door_is_asked_what_a_code_would_meet(door: RunningDoor, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "diag", "why", "hello", "--socket", door.socket)
    assert ran.code == ExitCode.FAILED
    assert "does not take that kind of credential" in ran.out
    assert "not reached" in ran.out
    moment = ("--at", "2026-03-01T12:00:00Z")
    asked = run_here(capsys, "diag", "why", "DW1:", *moment, "--socket", door.socket, "--json")
    assert asked.record["granted"] is False
    assert asked.record["at"] == "2026-03-01T12:00:00.000Z"


def test_a_command_that_the_institution_never_signed_opens_nothing(door: RunningDoor):
    forged = bytes.fromhex("d2") + b"\n" * 80
    ran = run_program("diag", "command", "-", "--socket", door.socket, "--json", stdin=forged)
    assert ran.code == ExitCode.FAILED
    assert (ran.record["carried_out"], ran.record["reason"]) == (False, "MALFORMED")
    assert [event["kind"] for event in ran.record["events"]] == ["COMMAND_REFUSED"]
    assert ran.record["mode"] == "locked"


def test_a_card_is_asked_about_by_its_number(door: RunningDoor, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "diag", "why", "card:04a1b2", "--socket", door.socket, "--json")
    assert (ran.code, ran.record["reason"]) == (ExitCode.FAILED, "CREDENTIAL_NOT_FOUND")
    odd = run_here(capsys, "diag", "why", "card:04a1b", "--socket", door.socket)
    assert odd.code == ExitCode.REFUSED
    assert "hexadecimal digits, such as card:04a1b2c3d4e5f6" in odd.err


async def press_now_and_then(twin: Path) -> None:
    """Press the exit button again and again: nobody knows when a watch that was started has begun."""
    while True:
        await send_control(twin, "rex press")
        await asyncio.sleep(0.5)


async def test_a_watch_shows_what_happens_until_ctrl_c(door: RunningDoor):
    arguments = (PROGRAM, "diag", "watch", "--socket", door.socket, "--json")
    watching = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert watching.stdout is not None
    pressing = asyncio.create_task(press_now_and_then(door.twin))
    async with asyncio.timeout(DEADLINE_S):
        async for line in watching.stdout:
            if json.loads(line)["kind"] == "EGRESS":
                break
        pressing.cancel()
        watching.send_signal(signal.SIGINT)
        assert await watching.wait() == ExitCode.OK
