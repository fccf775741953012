"""The service unit is valid, as confined as we promise, and names only users and groups that its companion creates."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from doorward.errors import ExitCode
from tests.support.commands import run_program

pytestmark = pytest.mark.project

_SYSTEMD = Path(__file__).parents[2] / "systemd"
_UNIT = _SYSTEMD / "doorward-edge.service"
_RENEWAL = _SYSTEMD / "doorward-renew.service"
_BROKER = _SYSTEMD / "doorward-broker.service"
_CLOUD = _SYSTEMD / "doorward-cloud.service"
_BACKUP = _SYSTEMD / "doorward-backup.service"
_MOST_EXPOSURE = 15
"""Tenths: the 1.5 of the goals, which leaves room for the network, a Unix socket and three kinds of device."""
_DEADLINE_S = 60


def _systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: run script/setup"
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )


def _verify(folder: Path, text: str, name: str = _UNIT.name) -> subprocess.CompletedProcess[str]:
    """Verify the unit with a program that exists on this machine in place of the installed one."""
    copy = folder / name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    return _systemd_analyze("verify", "--man=no", copy)


def _values(directive: str, unit: Path = _UNIT) -> list[str]:
    return re.findall(rf"(?m)^{directive}=(.*)$", unit.read_text())


@pytest.mark.parametrize("unit", [_UNIT, _BROKER, _CLOUD], ids=lambda unit: unit.stem)
def test_unit_is_accepted_without_a_word(tmp_path: Path, unit: Path):
    answer = _verify(tmp_path, unit.read_text(), unit.name)
    assert answer.stdout + answer.stderr == ""
    assert answer.returncode == 0


def test_a_misspelt_directive_is_noticed(tmp_path: Path):
    answer = _verify(tmp_path, _UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in answer.stderr


@pytest.mark.parametrize("started", [_RENEWAL, _BACKUP], ids=lambda unit: unit.stem)
def test_the_timer_and_what_it_starts_are_accepted_without_a_word(tmp_path: Path, started: Path):
    timer = started.with_suffix(".timer")
    for unit in (started, timer):
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    answer = _systemd_analyze("verify", "--man=no", tmp_path / timer.name)
    assert answer.stdout + answer.stderr == ""
    assert answer.returncode == 0


@pytest.mark.parametrize("unit", [_UNIT, _RENEWAL, _BROKER, _CLOUD, _BACKUP], ids=lambda unit: unit.stem)
def test_exposure_is_within_the_promise(unit: Path):
    answer = _systemd_analyze("security", "--offline=yes", f"--threshold={_MOST_EXPOSURE}", "--no-pager", unit)
    assert answer.returncode == 0, answer.stdout


def test_dropping_one_protection_breaks_the_promise(tmp_path: Path):
    loosened = tmp_path / _UNIT.name
    loosened.write_text(_UNIT.read_text().replace("CapabilityBoundingSet=\n", ""))
    answer = _systemd_analyze("security", "--offline=yes", f"--threshold={_MOST_EXPOSURE}", "--no-pager", loosened)
    assert answer.returncode != 0


@pytest.mark.parametrize(
    "kind", ["char-ttyACM", "char-ttyAMA", "char-ttyUSB", "char-video4linux", "char-gpiochip", "char-input"]
)
def test_devices_of_a_door_can_be_opened(kind: str):
    assert f"{kind} rw" in _values("DeviceAllow")


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_cloud_and_diagnostics_can_be_reached(family: str):
    assert family in _values("RestrictAddressFamilies")[0].split()


def test_daemon_is_supervised_and_never_given_up():
    assert _values("Type") == ["notify"]
    assert _values("WatchdogSec") == ["15s"]
    assert _values("Restart") == ["always"]
    assert _values("SuccessExitStatus") == [str(int(ExitCode.RESTART))]
    assert _values("StartLimitIntervalSec") == ["0"]


@pytest.mark.parametrize(
    ("unit", "creator"),
    [(_UNIT, _UNIT), (_RENEWAL, _UNIT), (_CLOUD, _CLOUD), (_BROKER, _CLOUD), (_BACKUP, _CLOUD)],
    ids=lambda unit: unit.stem,
)
def test_every_user_and_group_of_the_unit_is_created(tmp_path: Path, unit: Path, creator: Path):
    program = shutil.which("systemd-sysusers")
    assert program is not None, "systemd-sysusers is missing: run script/setup"
    (tmp_path / "etc").mkdir()
    subprocess.run(
        [program, f"--root={tmp_path}", str(creator.with_suffix(".sysusers.conf"))],
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=True,
    )
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    further = {group for line in _values("SupplementaryGroups", unit) for group in line.split()}
    assert set(_values("User", unit)) <= users
    assert set(_values("Group", unit)) | further <= groups


@pytest.mark.parametrize("unit", [_UNIT, _RENEWAL, _BROKER, _CLOUD, _BACKUP], ids=lambda unit: unit.stem)
def test_what_a_unit_starts_is_a_command_with_these_options(unit: Path):
    (command,) = _values("ExecStart", unit)
    words = command.split()
    told = run_program(*words[1:3], "--help")
    assert told.code == 0
    options = [word for word in words if word.startswith("--")]
    assert options
    assert all(option in told.out for option in options)


def test_what_is_seen_of_other_processes_lets_a_backup_find_the_running_database():
    """PostgreSQL is found by /proc, which tells nothing of a process in another user namespace."""
    for unit in (_CLOUD, _BACKUP):
        assert _values("PrivateUsers", unit) == []
        assert _values("User", unit) == ["doorward-cloud"]
    assert _values("ProcSubset", _CLOUD) == []  # /proc/meminfo is watched
