"""The service units of a NATS node are valid, as confined as the door's, and read what `configure` writes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.project

_DEPLOY = Path(__file__).parents[2] / "deploy" / "nats"
_UNITS = [_DEPLOY / "doorward-nats.service", _DEPLOY / "doorward-callout.service"]
_MOST_EXPOSURE = 15
"""Tenths, as for the door's daemon."""
_DEADLINE_S = 60


def _systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: run script/setup"
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
    )


def _verify(folder: Path, unit: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Verify a unit with a program that exists on this machine in place of the installed one."""
    copy = folder / unit.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    return _systemd_analyze("verify", "--man=no", copy)


@pytest.mark.parametrize("unit", _UNITS, ids=lambda unit: unit.stem)
def test_unit_is_accepted_without_a_word(unit: Path, tmp_path: Path):
    answer = _verify(tmp_path, unit, unit.read_text())
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")
    assert "RestartSecs" in _verify(tmp_path, unit, unit.read_text().replace("RestartSec=", "RestartSecs=")).stderr


@pytest.mark.parametrize("unit", _UNITS, ids=lambda unit: unit.stem)
def test_exposure_is_within_the_promise(unit: Path):
    answer = _systemd_analyze("security", "--offline=yes", f"--threshold={_MOST_EXPOSURE}", "--no-pager", unit)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("unit", _UNITS, ids=lambda unit: unit.stem)
def test_units_run_as_the_user_that_is_created_and_read_where_files_are_copied(unit: Path):
    text = unit.read_text()
    (user,) = re.findall(r"(?m)^User=(.*)$", text)
    assert re.search(rf"(?m)^u {user} ", (_DEPLOY / "doorward-nats.sysusers.conf").read_text())
    (path,) = re.findall(r"(?m)^ExecStart=.* (/etc/\S+)$", text)
    assert f"ConditionPathExists={path}" in text
    assert path.startswith("/etc/doorward-nats/")
