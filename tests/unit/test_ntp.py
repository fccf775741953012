"""A door learns whether its time is synchronised also where it may not ask the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.ntp import TIMESYNC_FRESH_S, recently_touched

_NOW_S = 1_800_000_000

# PR_SET_NO_NEW_PRIVS, then a seccomp filter that answers EPERM to clock_adjtime and adjtimex, as ProtectClock=yes does.
_CONFINED = """
import ctypes, struct, sys
from pathlib import Path
from edge.ntp import ntp_synchronised

numbers = {"x86_64": (305, 159), "aarch64": (266, 171)}[__import__("platform").machine()]
load, jump, back = 0x20, 0x15, 0x06
refuse, allow = 0x00050000 | 1, 0x7FFF0000
program = [(load, 0, 0, 0)]
program += [(jump, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
program += [(back, 0, 0, allow), (back, 0, 0, refuse)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
held = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program), ctypes.addressof(held)))) == 0
assert libc.adjtimex(ctypes.create_string_buffer(512)) == -1
print(ntp_synchronised(flag=Path(sys.argv[1])))
"""


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    path = tmp_path / "synchronized"
    path.touch()
    os.utime(path, (_NOW_S, _NOW_S))
    return path


@pytest.mark.parametrize("age_s", [0, TIMESYNC_FRESH_S])
def test_flag_touched_lately_counts(flag: Path, age_s: int):
    assert recently_touched(flag, now_s=_NOW_S + age_s)


@pytest.mark.parametrize("age_s", [-1, TIMESYNC_FRESH_S + 1])
def test_old_or_future_flag_does_not_count(flag: Path, age_s: int):
    assert not recently_touched(flag, now_s=_NOW_S + age_s)


def test_missing_flag_does_not_count(tmp_path: Path):
    assert not recently_touched(tmp_path / "none", now_s=_NOW_S)


def _ask_confined(flag: Path) -> str:
    command = [sys.executable, "-c", _CONFINED, str(flag)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def test_confined_door_believes_the_time_service(tmp_path: Path):
    flag = tmp_path / "synchronized"
    flag.touch()
    assert _ask_confined(flag) == "True"


def test_confined_door_without_time_service_is_not_synchronised(tmp_path: Path):
    assert _ask_confined(tmp_path / "none") == "False"
