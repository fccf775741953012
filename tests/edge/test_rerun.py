"""What a door recorded leads to the same decisions again, and whoever changes either is told by it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from doorward.errors import ExitCode
from edge.config import (
    AddressConfig,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    render_config,
)
from edge.core.credential import Medium, Presentation
from edge.core.tap import Tap, TimeDue
from edge.materials import read_root
from edge.recording import RecordingReader, RecordingWriter, join_inputs
from edge.retained import StoredDocuments
from tests.support.commands import DEADLINE_S, PROGRAM, run_here
from tests.support.recorded_door import SETTINGS, provisioned, running_door
from tests.support.recorded_life import LONG, ask, change, journal, replay, seqs_of
from tests.support.tenant import TenantKeys
from wire.event import encode_event
from wire.names import EventKind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.core.tap import Input
    from wire.event import Event


@pytest.fixture
def folder(recorded_folder: Path) -> Path:
    return recorded_folder


@pytest.fixture
def keys(recorded_keys: TenantKeys) -> TenantKeys:
    return recorded_keys


def change_event(folder: Path, event: Event) -> None:
    change(folder, "UPDATE journal SET bytes = ? WHERE seq = ?", encode_event(event), event.seq)


def change_inputs(folder: Path, edit: Callable[[Input], Input]) -> int:
    """Rewrite every recorded input; gives how many changed."""
    changed = 0
    with closing(sqlite3.connect(folder / "journal.db", isolation_level=None)) as database:
        reader, writer = RecordingReader(StoredDocuments(database, read_root(folder))), RecordingWriter()
        for number, data in database.execute("SELECT number, bytes FROM recorded_run").fetchall():
            before = reader.inputs(data)
            after = [(edit(event), now) for event, now in before]
            changed += sum(old != new for old, new in zip(before, after, strict=True))
            joined = join_inputs([writer.input(event, now).data for event, now in after])
            database.execute("UPDATE recorded_run SET bytes = ? WHERE number = ?", (joined, number))
    return changed


# --- the same --------------------------------------------------------------------------------------------------


def test_a_doors_life_leads_to_the_same_decisions_again(folder: Path, capsys: pytest.CaptureFixture[str]):
    ran, summary, found = replay(capsys, folder)
    events = journal(folder)
    assert (ran.code, found) == (ExitCode.OK, [])
    assert summary == {
        "same": True,
        "inputs": summary["inputs"],
        "events": len(events),
        "decisions": 8,
        "differences": 0,
        "first": 1,
        "last": len(events),
        "unrecorded": 0,
        "dropped": 0,
    }
    assert summary["inputs"] > LONG
    assert len(ask(folder, "SELECT number FROM checkpoint")) == 3
    reasons = {event.reason for event in events}
    assert {Reason.REVOKED, Reason.DOOR_LOCKED_DOWN, Reason.REPLAYED, Reason.UNSUPPORTED_CREDENTIAL} <= reasons


def test_people_are_told_in_two_lines(folder: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "diag", "replay", "..10", "--state", folder)
    assert ran.code == ExitCode.OK
    inputs, same = ran.out.splitlines()
    assert "events 1 to 10: 10 compared" in inputs
    assert same == "All the same."


def test_a_person_at_a_terminal_sees_that_it_goes_on(folder: Path):
    master, slave = os.openpty()
    try:
        arguments: list[str | Path] = [PROGRAM, "diag", "replay", "--state", folder]
        done = subprocess.run(arguments, stdout=slave, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)
        told = os.read(master, 4096).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == ExitCode.OK, done.stderr
    assert "500 inputs …\r1000 inputs …\r\x1b[K" in told


@pytest.mark.parametrize(
    ("span", "first", "last"), [("5..9", 5, 9), ("7", 7, 7), ("..3", 1, 3), ("0..3", 1, 3), ("12..", 12, None)]
)
def test_a_range_is_compared_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str], span: str, first: int, last: int | None
):
    end = len(journal(folder)) if last is None else last
    ran, summary, _ = replay(capsys, folder, span)
    assert ran.code == ExitCode.OK
    assert (summary["first"], summary["last"], summary["events"]) == (first, end, end - first + 1)


def test_the_configuration_names_the_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = EdgeConfig(
        state_folder=folder,
        device=DeviceConfig(id="dev-a", tenant="north", site="hq", door="main"),
        lock=AddressConfig(url=f"simulated://{tmp_path / 'door'}"),
        diagnostics=DiagnosticsConfig(socket=tmp_path / "diag.sock"),
    )
    (tmp_path / "edge.toml").write_text(render_config(config))
    ran = run_here(capsys, "diag", "replay", "..9", "--config", tmp_path / "edge.toml", "--json")
    assert ran.record["events"] == 9


async def test_beside_a_running_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    keys = provisioned(tmp_path)
    async with running_door(tmp_path, keys) as door:
        granted = await door.tap()
        ran, summary, _ = replay(capsys, tmp_path)
        assert ran.code == ExitCode.OK
        assert summary["last"] >= granted.seq


async def test_a_disk_that_refused_leaves_a_gap_and_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    keys = provisioned(tmp_path)
    async with running_door(tmp_path, keys) as door:
        await door.tap(1)
        disk = door.store._database._connection
        disk.execute("PRAGMA query_only = ON")
        door.show(door.code(2))
        await door.store.marks()  # comes after it
        disk.execute("PRAGMA query_only = OFF")
        door.show(door.code(3))
        await door.noted(EventKind.STORAGE_RESTORED)
        await door.controller.keep_recording()
        await door.tap(4)
    ran, summary, found = replay(capsys, tmp_path)
    assert (ran.code, found) == (ExitCode.OK, [])
    assert summary["unrecorded"] >= 2
    assert summary["events"] + summary["unrecorded"] == len(journal(tmp_path))


async def test_a_flood_is_not_recorded_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    keys = provisioned(tmp_path)
    async with running_door(tmp_path, keys) as door:
        for _ in range(600):
            door.show(bytes(400))
        await door.tap(1)
        await door.controller.keep_recording()
        await door.tap(2)
    ran, summary, _ = replay(capsys, tmp_path)
    assert ran.code == ExitCode.OK
    assert summary["unrecorded"] > 0
    ran = run_here(capsys, "diag", "replay", "--state", tmp_path)
    assert f"{summary['unrecorded']} events were not recorded" in ran.out


def test_events_that_the_journal_dropped_are_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    change(folder, "DELETE FROM journal WHERE seq <= 7")
    ran, summary, found = replay(capsys, folder)
    assert (ran.code, found) == (ExitCode.OK, [])
    assert (summary["dropped"], summary["first"]) == (7, 8)
    ran, _, _ = replay(capsys, folder, "..7")
    assert ran.code == ExitCode.UNUSABLE
    ran = run_here(capsys, "diag", "replay", "..9", "--state", folder)
    assert "7 events are in the journal no more." in ran.out


# --- not the same ----------------------------------------------------------------------------------------------


def test_a_changed_event_is_told_with_both_values(folder: Path, capsys: pytest.CaptureFixture[str]):
    (seq,) = seqs_of(folder, EventKind.ACCESS_DENIED, Reason.REVOKED)
    change_event(folder, replace(journal(folder)[seq - 1], reason=Reason.UNAUTHORIZED, credential=b"\xaa"))
    ran, summary, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert summary["same"] is False
    assert found[0] == {
        "seq": seq,
        "difference": "changed",
        "fields": {
            "reason": {"journal": "UNAUTHORIZED", "again": "REVOKED"},
            "credential": {"journal": "aa", "again": "000000000002"},
        },
    }
    assert [(each["seq"], each["difference"]) for each in found[1:]] == [(seq + 1, "unchained")]
    ran = run_here(capsys, "diag", "replay", str(seq), "--state", folder)
    assert ran.code == ExitCode.FAILED
    assert "reason UNAUTHORIZED -> REVOKED" in ran.out
    assert "1 differences." in ran.out


def test_what_the_core_does_not_decide_is_held_by_the_chain(folder: Path, capsys: pytest.CaptureFixture[str]):
    change_event(folder, replace(journal(folder)[4], elapsed_us=1, access_point="out"))
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert [(each["seq"], each["difference"]) for each in found] == [(6, "unchained")]


def test_a_row_that_is_no_event_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    change(folder, "UPDATE journal SET bytes = x'00' WHERE seq = 6")
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert {(each["seq"], each["difference"]) for each in found} == {
        (6, "unreadable"),
        (6, "unchained"),
        (7, "unchained"),
    }


def test_a_missing_row_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    (seq,) = seqs_of(folder, EventKind.ACCESS_DENIED, Reason.REVOKED)
    change(folder, "DELETE FROM journal WHERE seq = ?", seq)
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    told = {(each["difference"], each["fields"].get("kind", {}).get("again")) for each in found}
    assert told == {("not_journaled", "ACCESS_DENIED"), ("unchained", None)}


def test_an_added_row_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    last = journal(folder)[-1]
    change(folder, "INSERT INTO journal VALUES (?, ?)", last.seq + 1, encode_event(replace(last, seq=last.seq + 1)))
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert {each["difference"] for each in found} == {"not_made_again", "unchained"}


HIDDEN = b"?????"
"""How "hello" is recorded: a code of another system may hold somebody's number."""


def test_a_changed_presentation_decides_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]):
    def garble(event: Input) -> Input:
        if isinstance(event, Tap) and event.presentation.payload == HIDDEN:
            return Tap(replace(event.presentation, payload=b"DW1:hello"))
        return event

    assert change_inputs(folder, garble) == 1
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    (seq,) = seqs_of(folder, EventKind.ACCESS_DENIED, Reason.UNSUPPORTED_CREDENTIAL)
    assert [each["seq"] for each in found] == [seq]
    assert found[0]["fields"]["reason"]["journal"] == "UNSUPPORTED_CREDENTIAL"


def test_an_input_that_was_taken_away_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    def drop(event: Input) -> Input:
        return TimeDue() if isinstance(event, Tap) and event.presentation.payload == HIDDEN else event

    assert change_inputs(folder, drop) == 1
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert found[0]["difference"] == "not_made_again"
    assert found[-1]["difference"] == "state"  # a denial less was counted


def test_an_input_that_was_added_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    seen = 0

    def add(event: Input) -> Input:
        nonlocal seen
        seen += event == TimeDue()
        return Tap(Presentation("qr-9", Medium.QR, b"x", 0)) if event == TimeDue() and seen == 50 else event

    assert change_inputs(folder, add) == 1
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert [each["difference"] for each in found] == ["not_journaled", "state"]
    assert found[0]["fields"]["kind"] == {"journal": None, "again": "ACCESS_DENIED"}


def test_a_policy_that_was_swapped_under_its_version_is_told(
    folder: Path, keys: TenantKeys, capsys: pytest.CaptureFixture[str]
):
    other = keys.policy(version=2, settings=SETTINGS)  # not locked down
    change(folder, "UPDATE document SET bytes = ? WHERE kind = 'policy' AND version = 2", other)
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    (seq,) = seqs_of(folder, EventKind.ACCESS_DENIED, Reason.DOOR_LOCKED_DOWN)
    (told,) = [each for each in found if each["seq"] == seq]
    assert told["fields"]["reason"] == {"journal": "DOOR_LOCKED_DOWN", "again": None}
    assert told["fields"]["rule"] == {"journal": None, "again": "level-1"}


def test_a_revocation_that_was_undone_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    change(folder, "UPDATE status_undo_chunk SET bytes = zeroblob(length(bytes)) WHERE sequence = 2")
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert seqs_of(folder, EventKind.ACCESS_DENIED, Reason.REVOKED)[0] in [each["seq"] for each in found]


def test_a_checkpoint_that_was_changed_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    _, (second, data), _ = ask(folder, "SELECT number, state FROM checkpoint ORDER BY number")
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        reader = RecordingReader(StoredDocuments(database, read_root(folder)))
        state = replace(reader.state(data), grants=77)
    change(folder, "UPDATE checkpoint SET state = ? WHERE number = ?", RecordingWriter().state(state).data, second)
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert "state" in [each["difference"] for each in found]
