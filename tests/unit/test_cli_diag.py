"""Asking a daemon: what is said when there is none, or when something else answers. With a real one: tests/e2e."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from doorward.errors import ExitCode
from doorward.eventlines import event_line
from doorward.output import Output, local_instant
from tests.support.commands import run_here
from tests.support.diag_socket import answering


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "diag", "status", "--socket", tmp_path / "diag.sock", "--json")
    assert ran.code == ExitCode.UNREACHABLE
    assert "doorward edge run" in ran.complaint["remedy"]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"[]\n", b'{"other": 1}\n', b"", b'{"status"'])
def test_something_else_at_the_socket_is_told(answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with answering(tmp_path / "s", answer):
        ran = run_here(capsys, "diag", "status", "--socket", tmp_path / "s")
    assert ran.code == ExitCode.UNREACHABLE
    assert "not a doorward daemon" in ran.err


def test_a_daemons_refusal_is_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with answering(tmp_path / "s", b'{"error": "16 are asking already"}\n'):
        ran = run_here(capsys, "diag", "events", "--socket", tmp_path / "s")
    assert ran.code == ExitCode.REFUSED
    assert "16 are asking already" in ran.err


STATUS = {
    "mode": "locked",
    "alarms": [],
    "clock": {"state": "TRUSTED"},
    "status_lists": [{"list": 0, "age_s": 3}],
    "ok": True,
}


def test_the_status_is_laid_out_for_people_and_passed_on_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = json.dumps({"status": STATUS}).encode() + b"\n"
    with answering(tmp_path / "a", line):
        assert run_here(capsys, "diag", "status", "--socket", tmp_path / "a", "--json").record == STATUS
    with answering(tmp_path / "b", line):
        text = run_here(capsys, "diag", "status", "--socket", tmp_path / "b").out
    assert text.splitlines() == [
        "mode          locked",
        "alarms        none",
        "clock state   TRUSTED",
        "status lists  list 0, age s 3",
        "ok            yes",
    ]


@pytest.mark.parametrize(
    "status",
    [
        {"as_of": "2026-01-01T00:00:00.250Z"},
        {"sync": {"last": "2026-01-01T00:00:00Z"}},
        {"lists": [{"as_of": "2026-01-01T00:00:00.000Z"}]},
    ],
)
def test_the_status_tells_people_times_in_their_own_zone(
    status: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with answering(tmp_path / "s", json.dumps({"status": status}).encode() + b"\n"):
        text = run_here(capsys, "diag", "status", "--socket", tmp_path / "s").out
    assert text.rstrip().endswith(local_instant("2026-01-01T00:00:00Z"))


GRANTED = {"seq": 4, "at": "2026-01-01T00:00:00.000Z", "kind": "ACCESS_GRANTED", "rule": "level-1", "elapsed_ms": 2.25}
DENIED = {"seq": 5, "at": "2026-01-01T00:00:01.000Z", "kind": "ACCESS_DENIED", "reason": "REPLAYED", "step": 9}


def test_events_are_asked_for_by_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with answering(tmp_path / "s", json.dumps({"events": [GRANTED, DENIED]}).encode() + b"\n") as asked:
        ran = run_here(capsys, "diag", "events", "--socket", tmp_path / "s", "--after", "3", "--limit", "2", "--json")
    assert json.loads(asked[0]) == {"ask": "events", "after": 3, "limit": 2}
    assert [json.loads(line)["seq"] for line in ran.out.splitlines()] == [4, 5]


def test_an_empty_journal_is_told_to_people_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, options, expected in (("a", (), "No events.\n"), ("b", ("--json",), "")):
        with answering(tmp_path / name, b'{"events": []}\n'):
            assert run_here(capsys, "diag", "events", "--socket", tmp_path / name, *options).out == expected


def test_a_watch_tells_what_was_left_out_and_when_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = ({"watching": True}, {"event": GRANTED}, {"lost": 7}, {"event": DENIED})
    with answering(tmp_path / "s", *(json.dumps(line).encode() + b"\n" for line in lines)):
        ran = run_here(capsys, "diag", "watch", "--socket", tmp_path / "s", "--json")
    assert ran.code == ExitCode.UNREACHABLE
    assert "ended the conversation" in ran.complaint["message"]
    assert [json.loads(line) for line in ran.out.splitlines()] == [GRANTED, {"lost": 7}, DENIED]


def test_an_event_is_one_line_with_its_reason():
    out = Output(json_lines=False)
    assert event_line(out, GRANTED).endswith("4  ACCESS_GRANTED        level-1  2.2 ms")
    assert event_line(out, DENIED).endswith("5  ACCESS_DENIED         REPLAYED (step 9)")
    more = {**DENIED, "reader": "camera", "credential": "00000000004d", "count": 12}
    assert event_line(out, more).endswith("REPLAYED (step 9)  camera  pass 00000000004d  12 times")
    pictured = {**GRANTED, "snapshots": ["/s/a-4-1.jpg", "/s/a-4-2.jpg"]}
    assert event_line(out, pictured).endswith("level-1  pictures /s/a-4-1.jpg /s/a-4-2.jpg  2.2 ms")
    refused = {"seq": 6, "at": "2026-01-01T00:00:02.000Z", "kind": "COMMAND_REFUSED", "reason": "COMMAND_EXPIRED"}
    assert event_line(out, refused).endswith("COMMAND_REFUSED       COMMAND_EXPIRED")
    done = {"seq": 7, "at": "2026-01-01T00:00:02.000Z", "kind": "COMMAND_EXECUTED", "credential": "5b" * 16}
    assert event_line(out, done).endswith(f"COMMAND_EXECUTED      command {'5b' * 16}")
    assert event_line(out, {**refused, "credential": "5b" * 16}).endswith(f"COMMAND_EXPIRED  command {'5b' * 16}")
    card = {**GRANTED, "credential": "00000000004d0001"}
    assert event_line(out, card).endswith("level-1  enrolled 00000000004d0001  2.2 ms")


# --- why -----------------------------------------------------------------------------------------------------------

WAITS = {
    "granted": False,
    "waits_for": "pin",
    "sentence": "Waits at check 14 (companions), up to 30 s: the holder's PIN has to be keyed in.",
    "checks": [{"step": 14, "check": "companions", "outcome": "waits", "fact": "the holder's PIN has to be keyed in"}],
}


def test_a_card_is_asked_about_at_a_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with answering(tmp_path / "s", json.dumps({"why": WAITS}).encode() + b"\n") as asked:
        ran = run_here(capsys, "diag", "why", "card:04a1", "--reader", "in", "--socket", tmp_path / "s")
    assert json.loads(asked[0]) == {"ask": "why", "credential": "card:04a1", "reader": "in"}
    assert ran.code == ExitCode.FAILED
    assert ran.out.splitlines() == [
        WAITS["sentence"],
        "  14 waits       companions: the holder's PIN has to be keyed in",
    ]


# --- commands ------------------------------------------------------------------------------------------------------

COMMAND = b"\xd2\x84C\xff"
EXECUTED = {"seq": 7, "at": "2026-01-01T00:00:03.000Z", "kind": "COMMAND_EXECUTED", "rule": "unlock"}
DONE = {"carried_out": True, "reason": None, "sentence": "A signed command was carried out.", "mode": "accessed"}


@pytest.mark.parametrize("written", [COMMAND, COMMAND.hex().encode() + b"\n", b"D28443FF", b"0oRD_w", b"0oRD\n_w==\n"])
def test_a_command_is_brought_as_it_is_or_as_text(written: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "unlock.cose"
    file.write_bytes(written)
    answer = json.dumps({"command": {**DONE, "events": [EXECUTED]}}).encode() + b"\n"
    with answering(tmp_path / "s", answer) as asked:
        ran = run_here(capsys, "diag", "command", file, "--socket", tmp_path / "s")
    assert json.loads(asked[0]) == {"ask": "command", "command": "0oRD_w"}
    assert ran.code == ExitCode.OK
    lines = ran.out.splitlines()
    assert lines[:3] == ["A signed command was carried out.", "The door is accessed.", ""]
    assert lines[3].endswith("COMMAND_EXECUTED      unlock")


def test_a_command_that_was_refused_is_told_by_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "unlock.cose").write_bytes(COMMAND)
    refused: dict[str, object] = {**DONE, "carried_out": False, "reason": "COMMAND_EXPIRED", "events": []}
    with answering(tmp_path / "s", json.dumps({"command": refused}).encode() + b"\n"):
        ran = run_here(capsys, "diag", "command", tmp_path / "unlock.cose", "--socket", tmp_path / "s", "--json")
    assert ran.code == ExitCode.FAILED
    assert ran.record == refused


@pytest.mark.parametrize("written", [b"", b"unlock", b"d2zz", "d2ü".encode(), b"0oRD!", b"\xd2" * 513, b"AAAA"])
def test_what_is_no_command_is_not_brought(written: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_bytes(written)
    ran = run_here(capsys, "diag", "command", tmp_path / "file", "--socket", tmp_path / "s", "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert ran.complaint["message"] == "that is no signed command"


def test_a_command_file_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "diag", "command", tmp_path / "gone", "--socket", tmp_path / "s", "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert "gone" in ran.complaint["message"]
