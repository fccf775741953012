"""The service unit is valid, as confined as we promise, and names only users and groups that its companion creates."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.project

_SYSTEMD = Path(__file__).parents[2] / "systemd"
_UNIT = _SYSTEMD / "doorward-edge.service"
_RENEWAL = _SYSTEMD / "doorward-renew.service"
_TIMER = _SYSTEMD / "doorward-renew.timer"
_SYSUSERS = _SYSTEMD / "doorward-edge.sysusers.conf"
_MOST_EXPOSURE = 15
"""Tenths: the 1.5 of the goals, which leaves room for the network, a Unix socket and three kinds of device."""
_DEADLINE_S = 60


def _systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: run script/setup"
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )


def _verify(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Verify the unit with a program that exists on this machine in place of the installed one."""
    copy = folder / _UNIT.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    return _systemd_analyze("verify", "--man=no", copy)


def _values(directive: str) -> list[str]:
    return re.findall(rf"(?m)^{directive}=(.*)$", _UNIT.read_text())


def test_unit_is_accepted_without_a_word(tmp_path: Path):
    answer = _verify(tmp_path, _UNIT.read_text())
    assert answer.stdout + answer.stderr == ""
    assert answer.returncode == 0


def test_a_misspelt_directive_is_noticed(tmp_path: Path):
    answer = _verify(tmp_path, _UNIT.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in answer.stderr


def test_the_timer_and_what_it_starts_are_accepted_without_a_word(tmp_path: Path):
    for unit in (_RENEWAL, _TIMER):
        (tmp_path / unit.name).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    answer = _systemd_analyze("verify", "--man=no", tmp_path / _TIMER.name)
    assert answer.stdout + answer.stderr == ""
    assert answer.returncode == 0


@pytest.mark.parametrize("unit", [_UNIT, _RENEWAL], ids=lambda unit: unit.stem)
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
    assert _values("StartLimitIntervalSec") == ["0"]


def test_every_user_and_group_of_the_unit_is_created(tmp_path: Path):
    program = shutil.which("systemd-sysusers")
    assert program is not None, "systemd-sysusers is missing: run script/setup"
    (tmp_path / "etc").mkdir()
    subprocess.run(
        [program, f"--root={tmp_path}", str(_SYSUSERS)],
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=True,
    )
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert set(_values("User")) <= users
    assert set(_values("Group")) | set(_values("SupplementaryGroups")[0].split()) <= groups
