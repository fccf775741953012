"""Recorded taps, with what policy is told, and what other rules make of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from tests.support.commands import run_here
from tests.support.recorded_door import SETTINGS
from tests.support.recorded_life import journal
from wire.names import DoorMode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tenant import TenantKeys


@pytest.fixture
def folder(recorded_folder: Path) -> Path:
    return recorded_folder


@pytest.fixture
def keys(recorded_keys: TenantKeys) -> TenantKeys:
    return recorded_keys


def taps(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> list[dict]:  # type: ignore[type-arg]  # JSON
    ran = run_here(capsys, "diag", "taps", *arguments, "--state", folder, "--json")
    assert ran.code == ExitCode.OK
    return [json.loads(line) for line in ran.out.splitlines()]


def test_recorded_taps_are_told_with_what_policy_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    found = taps(capsys, folder)
    decided = [event for event in journal(folder) if event.granted is not None]
    assert [each["seq"] for each in found] == [event.seq for event in decided]
    assert [each["granted"] for each in found] == [event.granted for event in decided]
    facts = {"kind": "standard", "flags": [], "access_levels": [1], "assurance": 3, "pin": False}
    told = {each["reason"]: each["facts"] for each in found}
    holders = {each.pop("holder") for each in told.values() if each is not None}
    assert {len(bytes.fromhex(holder)) for holder in holders} == {8}
    assert told == {
        None: facts,
        "DOOR_LOCKED_DOWN": facts,
        "UNSUPPORTED_CREDENTIAL": None,
        "REVOKED": None,
        "REPLAYED": None,
    }


def test_a_range_of_taps_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    first, second = [each["seq"] for each in taps(capsys, folder)][:2]
    assert [each["seq"] for each in taps(capsys, folder, f"{first}..{second}")] == [first, second]
    assert [each["seq"] for each in taps(capsys, folder, f"{second}")] == [second]


def test_people_see_taps_as_lines(folder: Path, capsys: pytest.CaptureFixture[str]):
    lines = run_here(capsys, "diag", "taps", "--state", folder).out.splitlines()
    assert lines[0].endswith("granted  level-1  qr-1  pass 000000000001  standard, levels 1")
    assert lines[1].endswith("denied   UNSUPPORTED_CREDENTIAL  qr-1")
    assert run_here(capsys, "diag", "taps", "1", "--state", folder).out == "No taps.\n"


def test_what_was_recorded_tells_what_other_rules_would_have_decided(
    folder: Path, keys: TenantKeys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "taps.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in taps(capsys, folder)))
    for name, settings in (("old", SETTINGS), ("new", replace(SETTINGS, mode=DoorMode.LOCKED_DOWN))):
        (tmp_path / f"{name}.cose").write_bytes(keys.policy(settings=settings))
    ran = run_here(capsys, "policy", "diff", tmp_path / "old.cose", tmp_path / "new.cose", "--events", file, "--json")
    assert ran.code == ExitCode.FAILED
    *changes, summary = [json.loads(line) for line in ran.out.splitlines()]
    assert summary["closing_reasons"] == {"DOOR_LOCKED_DOWN": summary["compared"]}
    assert (len(changes), summary["not_asked"], summary["otherwise"]) == (5, 3, 1)
