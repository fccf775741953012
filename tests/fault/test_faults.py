"""A bounded selection of the fault suite (script/test-faults), and its negative controls, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.catalogue import ALL, SELECTION
from tests.faults.negative import CONTROLS, Control, run_control
from tests.faults.processes import KILL_CLOUD

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SEED = "20261126"
LIMIT_S = 800


def suite(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run the suite; gives its exit code, what it printed and what it said."""
    command = [sys.executable, "-m", "tests.faults", "--seed", SEED, "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_nothing_is_lost_doubled_or_broken():
    code, rows, said = suite("--selection")
    assert code == 0, said
    assert [row["fault"] for row in rows] == [*(fault.name for fault in ALL if fault.name in SELECTION), "all"]
    for row in rows[:-1]:
        assert row["skipped"] is not None or row["times"] >= SELECTION[row["fault"]]
        assert (row["lost"], row["duplicate"], row["broken"], row["failed"]) == (0, 0, 0, None)


def test_the_oracle_finds_what_broken_systems_lose():
    code, rows, said = suite("--negative")
    assert code == 0, said
    assert [row["control"] for row in rows] == [control.name for control in CONTROLS]
    assert all(row["skipped"] is not None or row["lost"] > 0 for row in rows)


# A task that is ended within a TLS handshake leaves its socket to the garbage collector (httpcore).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_control_that_loses_nothing_is_told_as_not_found():
    sound = Control("a cloud as it should be", (), KILL_CLOUD)
    outcome = asyncio.run(run_control(sound, int(SEED), tries=1))
    assert outcome.row.ok, outcome.cells()
    assert not outcome.found
