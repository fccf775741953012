"""What a door recorded leads to the same decisions again, and whoever changes either is told by it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
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
from edge.core.door_state import InputLine, LineState
from edge.core.tap import LineChanged, Tap, TimeDue
from edge.materials import read_root
from edge.recording import RecordingReader, RecordingWriter, join_inputs
from edge.retained import StoredDocuments
from tests.support.commands import Ran, run_here
from tests.support.recorded_door import SETTINGS, RunningDoor, provisioned, running_door
from tests.support.tenant import TenantKeys
from wire.event import encode_event, parse_event
from wire.names import DoorMode, EventKind, Reason
from wire.policy import seal_policy
from wire.status_delta import make_delta, seal_delta
from wire.status_list import open_status_list

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.core.tap import Input
    from wire.event import Event

LONG = 1_100
"""Inputs of the first boot: more than one segment holds."""


async def first_boot(door: RunningDoor) -> None:
    keys = door.keys
    await door.tap(1)
    await door.noted(EventKind.DOOR_RELOCKED)
    door.show(b"hello")
    await door.decided()
    await door.tap(2)
    for number in range(LONG):
        door.controller.feed(LineChanged(InputLine.CONTACT, (LineState.ACTIVE, LineState.INACTIVE)[number % 2]))
        if number % 100 == 0:
            await door.controller.keep_recording()
            await door.store.marks()  # comes after all of them
    await door.controller.keep_recording()
    await door.materials.accept_status(keys.status(sequence=2, revoked={2}))
    await door.tap(2)
    await door.materials.accept_policy(keys.policy(version=2, settings=replace(SETTINGS, mode=DoorMode.LOCKED_DOWN)))
    await door.tap(3)
    await door.materials.accept_status(keys.status(sequence=3, revoked={2, 5}))


async def second_boot(door: RunningDoor) -> None:
    await door.materials.accept_policy(door.keys.policy(version=3, settings=SETTINGS))
    old = open_status_list(door.keys.status(sequence=3, revoked={2, 5}), door.keys.signers[2].public_key)  # type: ignore[index]
    new = replace(old, sequence=4, bits=bytes(len(old.bits)))
    await door.materials.accept_delta(seal_delta(make_delta(old, new), door.keys.signers[2]))  # type: ignore[index]
    await door.tap(2)
    text = door.code(6)
    door.show(text)
    await door.decided()
    door.show(text)
    await door.decided()


async def record(folder: Path) -> TenantKeys:
    keys = provisioned(folder)
    async with running_door(folder, keys, stopped=False) as door:
        await first_boot(door)
    async with running_door(folder, keys) as door:
        await second_boot(door)
    return keys


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TenantKeys]:
    """Record a door's life once."""
    folder = tmp_path_factory.mktemp("recorded") / "state"
    return folder, asyncio.run(record(folder))


@pytest.fixture
def folder(recorded: tuple[Path, TenantKeys], tmp_path: Path) -> Path:
    """Give a copy that a test may change."""
    return shutil.copytree(recorded[0], tmp_path / "copy")


@pytest.fixture
def keys(recorded: tuple[Path, TenantKeys]) -> TenantKeys:
    return recorded[1]


def replay(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[Ran, dict, list[dict]]:  # type: ignore[type-arg]  # JSON
    """Run the command; gives also its summary and its differences."""
    ran = run_here(capsys, "diag", "replay", *arguments, "--state", folder, "--json")
    *found, summary = [json.loads(line) for line in ran.out.splitlines()] or [{}]
    return ran, summary, found


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "journal.db")) as database, database:
        database.execute(statement, values)


def ask(folder: Path, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]  # a row
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        return database.execute(statement, values).fetchall()


def journal(folder: Path) -> list[Event]:
    return [parse_event(data) for (data,) in ask(folder, "SELECT bytes FROM journal ORDER BY seq")]


def seqs_of(folder: Path, kind: EventKind, reason: Reason | None = None) -> list[int]:
    return [event.seq for event in journal(folder) if event.kind is kind and event.reason is reason]


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
    ran = run_here(capsys, "diag", "replay", "..20", "--state", folder)
    assert ran.code == ExitCode.OK
    inputs, same = ran.out.splitlines()
    assert "events 1 to 20: 20 compared" in inputs
    assert same == "All the same."


@pytest.mark.parametrize(
    ("span", "first", "last"), [("5..9", 5, 9), ("7", 7, 7), ("..3", 1, 3), ("0..3", 1, 3), ("1105..", 1105, None)]
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


def test_a_changed_presentation_decides_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]):
    def garble(event: Input) -> Input:
        if isinstance(event, Tap) and event.presentation.payload == b"hello":
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
        return TimeDue() if isinstance(event, Tap) and event.presentation.payload == b"hello" else event

    assert change_inputs(folder, drop) == 1
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert found[0]["difference"] == "not_made_again"
    assert found[-1]["difference"] == "state"  # a denial less was counted


def test_an_input_that_was_added_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    def add(event: Input) -> Input:
        return Tap(Presentation("qr-9", Medium.QR, b"x", 0)) if isinstance(event, TimeDue) else event

    assert change_inputs(folder, add) > 0
    ran, _, found = replay(capsys, folder)
    assert ran.code == ExitCode.FAILED
    assert "not_journaled" in {each["difference"] for each in found} or found[0]["fields"]["kind"]


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


# --- nothing to compare ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", ["", "a..b", "5...9", "-3", "5..9..", "1" * 19])
def test_what_is_no_range_is_refused(folder: Path, capsys: pytest.CaptureFixture[str], span: str):
    ran = run_here(capsys, "diag", "replay", "--state", folder, "--", span)
    assert ran.code == ExitCode.UNUSABLE


@pytest.mark.parametrize("span", ["5000..", "9..8"])
def test_nothing_to_do_is_not_the_same_as_the_same(folder: Path, capsys: pytest.CaptureFixture[str], span: str):
    ran, summary, _ = replay(capsys, folder, span)
    assert ran.code == ExitCode.UNUSABLE
    assert (summary["same"], summary["events"]) == (False, 0)
    assert "nothing was compared" in ran.err


def test_events_before_the_oldest_recording_are_refused_with_where_they_begin(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    change(folder, "DELETE FROM checkpoint WHERE number = (SELECT min(number) FROM checkpoint)")
    ((oldest,),) = ask(folder, "SELECT min(first_seq) FROM checkpoint")
    ran, _, _ = replay(capsys, folder, f"{oldest - 1}..")
    assert ran.code == ExitCode.UNUSABLE
    assert f"begin with {oldest}.." in ran.complaint["remedy"]
    for span in (f"{oldest}..", ".."):
        ran, summary, _ = replay(capsys, folder, span)
        assert (ran.code, summary["first"]) == (ExitCode.OK, oldest)


def test_a_document_that_is_not_kept_is_named_with_where_to_begin(folder: Path, capsys: pytest.CaptureFixture[str]):
    change(folder, "DELETE FROM document WHERE kind = 'policy' AND version = 1")
    begin = ".."
    for _ in range(2):  # both segments of the first boot need it
        ran, _, _ = replay(capsys, folder, begin)
        assert ran.code == ExitCode.UNUSABLE
        assert "policy 1: not_kept" in ran.complaint["message"]
        begin = ran.complaint["remedy"].removeprefix("begin later, with ")
    assert replay(capsys, folder, begin)[0].code == ExitCode.OK


BREAKS: list[tuple[str, str]] = [
    ("DELETE FROM document WHERE kind = 'trust'", "not_kept"),
    ("UPDATE document SET version = 9 WHERE kind = 'trust'", "not_kept"),
    (
        "UPDATE document AS d SET bytes = e.bytes FROM document AS e WHERE d.version = 1 AND e.version = 2",
        "1: unreadable",
    ),
    ("UPDATE document SET bytes = x'00' WHERE kind = 'policy'", "policy 1: unreadable"),
    ("DELETE FROM status_undo", "status list 0 at 1: not_kept"),
    ("DELETE FROM status_chunk", "status list 0 at 4: unreadable"),
    ("UPDATE recorded_run SET bytes = x'80ff'", "inputs: unreadable"),
    ("UPDATE checkpoint SET state = x'80'", "State: unreadable"),
    ("DELETE FROM checkpoint", "nothing yet"),
    ("PRAGMA user_version = 1", "another release"),
    ("DROP TABLE checkpoint", "no such table"),
]


@pytest.mark.parametrize(("statement", "told"), BREAKS)
def test_what_cannot_be_read_is_named(folder: Path, capsys: pytest.CaptureFixture[str], statement: str, told: str):
    change(folder, statement)
    ran = run_here(capsys, "diag", "replay", "--state", folder)
    assert ran.code == ExitCode.UNUSABLE
    assert told in ran.err


def test_a_policy_of_a_stranger_is_not_believed(folder: Path, keys: TenantKeys, capsys: pytest.CaptureFixture[str]):
    stranger = TenantKeys("stranger", keys.now_s)
    forged = seal_policy(keys.policy_bundle(version=2), next(iter(stranger.signers.values())))
    change(folder, "UPDATE document SET bytes = ? WHERE kind = 'policy' AND version = 2", forged)
    ran = run_here(capsys, "diag", "replay", "--state", folder)
    assert ran.code == ExitCode.UNUSABLE
    assert "policy key" in ran.err


def test_a_policy_with_a_time_zone_that_this_machine_lacks_is_named(
    folder: Path, keys: TenantKeys, capsys: pytest.CaptureFixture[str]
):
    nowhere = replace(keys.policy_bundle(version=2), timezone="Nowhere/Land")
    sealed = seal_policy(nowhere, keys.signers[3])  # type: ignore[index]
    change(folder, "UPDATE document SET bytes = ? WHERE kind = 'policy' AND version = 2", sealed)
    ran = run_here(capsys, "diag", "replay", "--state", folder)
    assert ran.code == ExitCode.UNUSABLE
    assert "time zone Nowhere/Land" in ran.err


def test_a_folder_that_is_none_is_named(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run_here(capsys, "diag", "replay", "--state", tmp_path / "absent").code == ExitCode.UNUSABLE
    assert run_here(capsys, "diag", "replay", "--config", tmp_path / "absent.toml").code == ExitCode.UNUSABLE
    (folder / "root.cbor").write_bytes(b"no root")
    assert run_here(capsys, "diag", "replay", "--state", folder).code == ExitCode.UNUSABLE


def test_a_file_that_is_no_database_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "journal.db").write_bytes(b"not a database" * 500)
    ran = run_here(capsys, "diag", "replay", "--state", folder)
    assert ran.code == ExitCode.UNUSABLE
    assert "journal.db cannot be read" in ran.err


# --- taps ------------------------------------------------------------------------------------------------------


def taps(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> list[dict]:  # type: ignore[type-arg]  # JSON
    ran = run_here(capsys, "diag", "taps", *arguments, "--state", folder, "--json")
    assert ran.code == ExitCode.OK
    return [json.loads(line) for line in ran.out.splitlines()]


def test_recorded_taps_are_told_with_what_policy_is_told(folder: Path, capsys: pytest.CaptureFixture[str]):
    found = taps(capsys, folder)
    decided = [event for event in journal(folder) if event.granted is not None]
    assert [each["seq"] for each in found] == [event.seq for event in decided]
    assert [each["granted"] for each in found] == [event.granted for event in decided]
    facts = {"kind": "standard", "flags": [], "access_levels": [1], "assurance": 3}
    told = {each["reason"]: each["facts"] for each in found}
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
