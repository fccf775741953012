"""What commands print: for people and for programs."""

from __future__ import annotations

import io
import json
import time

import pytest

from doorward.errors import CliError, ExitCode
from doorward.output import Output, Style, complain, duration, local_time, pairs, rfc3339, table
from wire.codec import MAX_TIME_MS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("instant_ms", "expected"),
    [(0, "1970-01-01T00:00:00Z"), (1_767_225_600_000, "2026-01-01T00:00:00Z"), (1_005, "1970-01-01T00:00:01.005Z")],
)
def test_programs_get_utc(instant_ms: int, expected: str):
    assert rfc3339(instant_ms) == expected


def test_people_get_their_own_time_zone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    assert local_time(1_767_225_600_000) == "2026-01-01 01:00:00 CET"
    monkeypatch.delenv("TZ")
    time.tzset()


def test_the_latest_instant_of_the_formats_can_be_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "LINT-14")
    time.tzset()
    assert local_time(MAX_TIME_MS).endswith(" LINT")
    assert rfc3339(MAX_TIME_MS).startswith("9983-")
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_725, "1 h 2 min"),
        (90_061, "1 d 1 h"),
        (-30, "30 s"),
        (86_405, "1 d 5 s"),
    ],
)
def test_durations_name_their_two_largest_units(seconds: int, expected: str):
    assert duration(seconds) == expected


def test_tables_align_their_columns():
    assert table(("A", "LONG"), [("wide", "x"), ("y", "")]) == ["A     LONG", "wide  x", "y"]


def test_pairs_align_their_values():
    assert pairs([("a", "1"), ("long", "2"), ("none", "")]) == ["a     1", "long  2", "none"]
    assert pairs([]) == []


def test_results_are_text_or_one_json_object_a_line():
    text, lines = io.StringIO(), io.StringIO()
    for stream, json_lines in ((text, False), (lines, True)):
        out = Output(json_lines=json_lines, stream=stream)
        out.say("heading")
        out.result({"name": "Zürich", "n": 1}, "one", "two")
        out.raw("redrawn")
    assert text.getvalue() == "heading\none\ntwo\nredrawn"
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == [{"name": "Zürich", "n": 1}]


def test_colours_appear_on_terminals_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Output(json_lines=False, stream=Terminal()).paint("no", Style.BAD) == "\x1b[31mno\x1b[0m"
    assert Output(json_lines=False, stream=io.StringIO()).paint("no", Style.BAD) == "no"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_the_environment_can_refuse_colours(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    assert Output(json_lines=False, stream=Terminal()).paint("no", Style.BAD) == "no"


def test_json_is_not_for_terminals():
    assert Output(json_lines=False, stream=Terminal()).is_terminal
    assert not Output(json_lines=True, stream=Terminal()).is_terminal


def test_complaints_say_what_and_what_to_do(capsys: pytest.CaptureFixture[str]):
    complain(CliError(ExitCode.FAILED, what="it broke", remedy="mend it"), json_lines=False)
    complain(CliError(ExitCode.FAILED, what="it broke; mend it", remedy=""), json_lines=False)
    assert capsys.readouterr().err == "doorward: it broke\n  mend it\ndoorward: it broke; mend it\n"


def test_an_errors_text_joins_both():
    assert str(CliError(ExitCode.FAILED, what="it broke", remedy="mend it")) == "it broke; mend it"
    assert str(CliError(ExitCode.FAILED, what="it broke", remedy="")) == "it broke"
