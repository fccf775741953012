"""The demonstration itself: everything seen, everything stopped."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from doorward.demo.plan import STEPS
from doorward.demo.waiting import wait_for
from doorward.diag import Diagnostics
from doorward.errors import ExitCode
from tests.support.clouds import reachable_folder
from tests.support.commands import PROGRAM, run_program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WHOLE_S = 240
"""The demonstration takes under 90 s on an idle machine; the tests share theirs."""


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the unattended demonstration with its temporary files in a folder of the test's."""
    folder.chmod(0o711)
    return subprocess.Popen(
        [PROGRAM, "demo", "--once", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def processes_in(folder: Path) -> dict[int, list[str]]:
    """Find the processes that name a folder on their command line."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has ended meanwhile
            if any(str(folder) in word for word in words):
                found[int(process.name)] = words
    return found


@pytest.fixture
def folder() -> Path:
    """Give a folder that PostgreSQL's user can reach, also when root runs the tests."""
    return reachable_folder()


def test_unattended_it_sees_every_step_and_leaves_nothing_behind(folder: Path):
    with start(folder) as demo:
        out, err = demo.communicate(timeout=WHOLE_S)
    assert demo.returncode == ExitCode.OK, err
    (line,) = out.splitlines()
    seen = json.loads(line)
    assert seen["granted"] == 3
    assert seen["denied"] == {
        "replayed": "REPLAYED",
        "screenshot_60s": "PRESENTATION_EXPIRED",
        "revoked": "REVOKED",
        "foreign_tenant": "UNKNOWN_ISSUER_KEY",
    }
    assert 0 < seen["tap_ms"] < 10_000
    assert seen["events_in_cloud"] >= 10
    assert seen["chain_ok"] is True
    assert seen["broker"]["announcements"] > 0
    assert [step.title in err for step in STEPS] == [True] * len(STEPS)
    assert list(folder.iterdir()) == []
    assert processes_in(folder) == {}
    folder.rmdir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_stops_what_it_started(number: signal.Signals, folder: Path):
    with start(folder) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if STEPS[1].title in line:
                break
        assert processes_in(folder)
        demo.send_signal(number)
        demo.send_signal(number)
        out, _ = demo.communicate(timeout=WHOLE_S)
    assert (demo.returncode, out) == (ExitCode.INTERRUPTED, "")
    assert list(folder.iterdir()) == []
    assert processes_in(folder) == {}
    folder.rmdir()


def test_when_something_fails_it_shows_the_log_and_stops(folder: Path):
    with start(folder) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if STEPS[1].title in line:
                break
        (served,) = (process for process, words in processes_in(folder).items() if "serve" in words)
        os.kill(served, signal.SIGKILL)
        out, err = demo.communicate(timeout=WHOLE_S)
    assert (demo.returncode, out) == (ExitCode.FAILED, "")
    assert "the end of what cloud wrote:" in err
    complaint = json.loads(err.splitlines()[-1])
    assert "was not seen" in complaint["message"]
    assert list(folder.iterdir()) == []
    assert processes_in(folder) == {}
    folder.rmdir()


def read_until(controller: int, mark: str) -> str:
    """Read a terminal until it shows `mark`."""
    seen, deadline_s = "", time.monotonic() + WHOLE_S
    while mark not in seen:
        ready, _, _ = select.select([controller], [], [], deadline_s - time.monotonic())
        assert ready, f"waited in vain for {mark!r} after {seen[-500:]!r}"
        seen += os.read(controller, 65_536).decode(errors="replace")
    return seen


def test_on_a_terminal_it_goes_on_until_ctrl_c_and_its_invitations_hold(folder: Path):
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TMPDIR": str(folder), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen([PROGRAM, "demo"], stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as demo:
        os.close(terminal)
        seen = read_until(controller, "doorward cloud call GET")
        assert "Everything was seen" in seen
        (door,) = folder.glob("doorward-demo-*")
        socket = door / "door" / "diag.sock"
        last = run_program("diag", "status", "--socket", socket, "--json").record["journal"]["last"]
        frame = door / "twin" / "frames" / "a1.png"
        show = ("wallet", "show", "--folder", door / "wallets" / "anna", "--audience", "main-campus", "--once")
        assert run_program(*show, "--frame", frame).code == ExitCode.OK
        decided = next_decision(socket, after=last)
        assert decided["kind"] == "ACCESS_GRANTED"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(WHOLE_S) == ExitCode.OK
    os.close(controller)
    assert list(folder.iterdir()) == []
    assert processes_in(folder) == {}
    folder.rmdir()


def next_decision(socket: Path, *, after: int) -> dict[str, Any]:
    """Wait for the door's next decision."""
    kinds = ("ACCESS_GRANTED", "ACCESS_DENIED")

    def look() -> dict[str, Any] | None:
        events = Diagnostics(socket).events(after=after, limit=100)
        return next((event for event in events if event["kind"] in kinds), None)

    return wait_for("a decision", look, deadline_s=60)
