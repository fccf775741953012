"""Commands about the cloud: what stops its own programs, and how its devices are listed. With a real one: tests/e2e."""

from __future__ import annotations

import fcntl
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from cloud.devices.authority import open_authority
from cloud.devices.models import Device, DeviceCertificate, DeviceReport, Devices, DocumentVersions
from cloud.errors import CloudError, Reason
from cloud.models import Pagination
from doorward.cloudfault import as_cli_error
from doorward.errors import ExitCode
from tests.support.clouds import reachable_folder
from tests.support.commands import Ran, run_here
from tests.support.web_page import answering

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


# --- what stops the cloud's own programs -------------------------------------------------------------------------


def test_a_broker_without_a_device_ca_says_apart_what_to_do(capsys: pytest.CaptureFixture[str]):
    state = reachable_folder()
    ran = run_here(capsys, "cloud", "broker", "--state", state, "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert ran.complaint["remedy"] == f"run: doorward cloud serve --state {state}"
    assert "doorward cloud serve" not in ran.complaint["message"]


def test_a_folder_that_another_broker_uses_says_apart_what_to_do(capsys: pytest.CaptureFixture[str]):
    state = reachable_folder()
    open_authority(state / "ca", now=datetime.now(UTC))
    with (state / "broker.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = run_here(capsys, "cloud", "broker", "--state", state, "--listen", "127.0.0.1:0", "--json")
    assert (ran.code, ran.complaint["remedy"]) == (ExitCode.UNUSABLE, "stop that first")


@pytest.mark.parametrize("name", ["nonexistent", "empty", "file"])
def test_what_is_no_backup_is_wrong_usage(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    new = tmp_path / "new"
    ran = run_here(capsys, "cloud", "restore", "--from", tmp_path / name, "--state", new, "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert str(tmp_path / name) in ran.complaint["message"]
    assert "doorward cloud backup" in ran.complaint["remedy"]
    assert not new.exists()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.BROKER_MISSING, ExitCode.MISSING_PART),
        (Reason.POSTGRES_MISSING, ExitCode.MISSING_PART),
        (Reason.PORT_IN_USE, ExitCode.UNUSABLE),
        (Reason.BACKUP_DAMAGED, ExitCode.FAILED),
    ],
)
def test_each_reason_has_its_exit_code(reason: Reason, code: ExitCode):
    told = as_cli_error(CloudError(reason, "It is so.", remedy="Do this."))
    assert (told.code, told.what, told.remedy) == (code, "It is so", "do this")


# --- devices -----------------------------------------------------------------------------------------------------


def device(name: str, queued: int | None) -> Device:
    """Make a device whose newest report, if any, says how many events wait."""
    report = DeviceReport(
        at=NOW,
        received_at=NOW,
        uptime_s=60,
        clock="trusted",
        clock_uncertainty_ms=5,
        mode="locked",
        epoch="00" * 8,
        last=40 + (queued or 0),
        durable=40,
        backed_up=0,
        queued=queued or 0,
        way="https",
        versions=DocumentVersions(trust=1, policy=7, status={"0": 3}, roster=2, commands=0),
        parts=[],
        alarms=[],
        faults=[],
    )
    return Device(
        id=name,
        door=name.partition("-")[0],
        status="online",
        last_seen=NOW,
        enrolled_at=NOW,
        certificate=DeviceCertificate(serial="01", fingerprint="02", not_after=NOW),
        epoch="00" * 8,
        mark=40,
        backed_up=0,
        report=None if queued is None else report,
    )


def listed(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> Ran:
    """List devices of which one has nothing to send, one has, and one has never reported."""
    devices = [device("east-1", 0), device("west-1", 9), device("new-1", None)]
    page = Devices(data=devices, pagination=Pagination(page=1, limit=100, total=3), as_of=NOW)
    (folder / "token").write_text("token")
    with answering(200, msgspec.json.encode(page)) as url:
        place = ("--cloud", url, "--token-file", folder / "token", "--tenant", "north")
        return run_here(capsys, "cloud", "devices", *place, *options)


def test_devices_are_listed_with_what_is_durable_and_what_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    header, *rows = listed(capsys, tmp_path).out.splitlines()
    assert header.split()[4:7] == ["WAY", "DURABLE", "WAITING"]
    assert [row.split()[4:7] for row in rows] == [["https", "40", "0"], ["https", "40", "9"], ["-", "40", "-"]]


def test_programs_learn_the_versions_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    records = [json.loads(line) for line in listed(capsys, tmp_path, "--json").out.splitlines()]
    assert [each["mark"] for each in records] == [40, 40, 40]
    in_force = {"trust": 1, "policy": 7, "status": {"0": 3}, "roster": 2, "commands": 0}
    assert [each["versions"] for each in records] == [in_force, in_force, None]


def test_only_those_behind_are_listed_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert listed(capsys, tmp_path, "--behind", "--json").record["id"] == "west-1"
