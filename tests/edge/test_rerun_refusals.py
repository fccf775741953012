"""A recording that cannot be run again, in whole or in part, is said to be so: never taken for the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cbor2
import pytest

from doorward.errors import ExitCode
from doorward.recordings import Span, open_recorded
from edge.rerun import SegmentEnd
from tests.support.commands import run_here
from tests.support.recorded_life import ask, change, replay
from tests.support.tenant import TenantKeys
from wire.codec import MAX_TIME_MS
from wire.names import KeyPurpose
from wire.policy import seal_policy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(recorded_folder: Path) -> Path:
    return recorded_folder


@pytest.fixture
def keys(recorded_keys: TenantKeys) -> TenantKeys:
    return recorded_keys


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
        (
            "UPDATE document AS d SET bytes = e.bytes FROM document AS e"
            " WHERE d.kind = 'policy' AND e.kind = 'policy' AND d.version = 1 AND e.version = 2"
        ),
        "policy 1: unreadable",
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


def test_another_version_of_the_trust_bundle_is_not_taken_for_it(
    folder: Path, keys: TenantKeys, capsys: pytest.CaptureFixture[str]
):
    change(folder, "UPDATE document SET bytes = ? WHERE kind = 'trust'", keys.trust(version=2))
    ran = run_here(capsys, "diag", "replay", "--state", folder)
    assert ran.code == ExitCode.UNUSABLE
    assert "trust 1: unreadable" in ran.err


def test_a_segment_that_is_dropped_meanwhile_is_left_out(folder: Path):
    (first, _), *_ = ask(folder, "SELECT number, first_seq FROM checkpoint ORDER BY number")
    with open_recorded(folder) as recorded:
        steps = recorded.steps(Span(), lambda _inputs: None)
        next(steps)
        change(folder, "DELETE FROM checkpoint WHERE number > ?", first)
        ends = [step for step in steps if isinstance(step, SegmentEnd)]
    assert len(ends) == 1


def test_a_moment_that_no_clock_shows_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    ((number, data),) = ask(folder, "SELECT number, bytes FROM recorded_run ORDER BY number LIMIT 1")
    for wall_ms in (MAX_TIME_MS + 1, -1):
        plain = cbor2.loads(data)
        plain[0][0][2] = wall_ms
        change(folder, "UPDATE recorded_run SET bytes = ? WHERE number = ?", cbor2.dumps(plain), number)
        ran = run_here(capsys, "diag", "replay", "--state", folder)
        assert ran.code == ExitCode.UNUSABLE
        assert "wall_ms: unreadable" in ran.err


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
    sealed = seal_policy(nowhere, keys.signers[KeyPurpose.POLICY])
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
