"""Asking a daemon: what is said when there is none, or when something else answers. With a real one: tests/e2e."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from doorward.errors import ExitCode
from doorward.eventlines import event_line
from doorward.output import Output
from tests.support.commands import run_here


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """Answer one conversation with these bytes, then close it; gives what was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def converse() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096))
                for answer in answers:
                    connection.sendall(answer)

        thread = threading.Thread(target=converse)
        thread.start()
        try:
            yield asked
        finally:
            thread.join(30)


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
