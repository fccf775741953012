"""`doorward policy diff`: what other rules would have decided, in counts and tap by tap."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorward.errors import ExitCode
from doorward.output import json_line
from doorward.taps import MAX_LINE_BYTES, DecidedTap, Facts, TapError, parse_tap, tap_record
from doorward.whatif import compare_policies
from edge.core.policy import PolicyState
from tests.support.commands import Ran, run_here, run_program
from tests.support.tenant import TenantKeys
from wire.names import Assurance, ClockState, KeyPurpose, PassFlags, PassKind, Reason, Step, SuspectRule
from wire.policy import Schedule, Window, seal_policy
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from pathlib import Path

MONDAY_8 = int(datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp() * 1000)
KEYS = TenantKeys("north", MONDAY_8 // 1000)
SIGNER = KEYS.signers[KeyPurpose.POLICY]
MORNING = Schedule((Window(0x1F, 8 * 60, 12 * 60),))
EVER = KEYS.policy_bundle()
MORNINGS = replace(EVER, version=2, levels={1: (3,)}, schedules={3: MORNING})
FACTS = Facts(
    kind=PassKind.STANDARD,
    flags=PassFlags.NONE,
    access_levels=(1,),
    assurance=Assurance.ROTATING,
    holder=b"holder-1",
    pin=False,
)
HOUR_MS = 3_600_000


def tap(seq: int, *, hour: int = 8, facts: Facts | None = FACTS, granted: bool = True) -> DecidedTap:
    return DecidedTap(
        seq=seq,
        at_ms=MONDAY_8 + (hour - 8) * HOUR_MS,
        clock=ClockState.TRUSTED,
        reader="qr-1",
        granted=granted,
        step=Step.GRANT if granted else Step.ACCESS,
        reason=None if granted else Reason.UNAUTHORIZED,
        rule="level-1" if granted else None,
        credential=seq.to_bytes(6, "big"),
        facts=facts,
    )


def write_taps(path: Path, *taps: DecidedTap) -> Path:
    path.write_text("".join(json_line(tap_record(each)) + "\n" for each in taps))
    return path


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old.cose", seal_policy(EVER, SIGNER))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write(tmp_path / "new.cose", seal_policy(MORNINGS, SIGNER))


def diff(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[Ran, list[dict]]:  # type: ignore[type-arg]  # JSON
    ran = run_here(capsys, "policy", "diff", *arguments, "--json")
    return ran, [json.loads(line) for line in ran.out.splitlines()]


# --- the lines -------------------------------------------------------------------------------------------------

TAPS = st.builds(
    DecidedTap,
    seq=st.integers(1, 2**63 - 1),
    at_ms=st.integers(0, MONDAY_8 * 2),
    clock=st.sampled_from(ClockState),
    reader=st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True),
    granted=st.booleans(),
    step=st.none() | st.sampled_from(Step),
    reason=st.none() | st.sampled_from(Reason),
    rule=st.none() | st.just("level-7"),
    credential=st.none() | st.binary(min_size=1, max_size=16),
    facts=st.none()
    | st.builds(
        Facts,
        kind=st.sampled_from(PassKind),
        flags=st.sampled_from(list(PassFlags)),
        access_levels=st.lists(st.integers(0, 0xFFFF)).map(tuple),
        assurance=st.sampled_from(Assurance),
    ),
)


@given(TAPS)
def test_a_tap_reads_back_equal(one: DecidedTap):
    assert parse_tap(json_line(tap_record(one)).encode()) == one


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2026-11-23T08:00:00"},
        {"at": 5},
        {"at": "yesterday"},
        {"at": "1969-12-31T23:59:59Z"},
        {"at": "9999-12-31T23:59:59Z"},
        {"clock": "RIGHT"},
        {"granted": 1},
        {"rule": 7},
        {"step": 99},
        {"reason": "WHY_NOT"},
        {"credential": "xyz"},
        {"seq": None},
        {"facts": []},
        {"facts": {"kind": "standard"}},
        {"facts": {"kind": 1, "flags": [], "access_levels": [], "assurance": 3}},
        {"facts": {"kind": "standard", "flags": ["fast"], "access_levels": [], "assurance": 3}},
        {"facts": {"kind": "standard", "flags": [], "access_levels": ["1"], "assurance": 3}},
        {"facts": {"kind": "standard", "flags": [], "access_levels": [], "assurance": 9}},
    ],
)
def test_a_line_that_is_no_tap_is_refused(change: dict[str, object]):
    with pytest.raises(TapError):
        parse_tap(json.dumps({**tap_record(tap(1)), **change}).encode())


@pytest.mark.parametrize("line", [b"", b"5", b"[]", b"{}", b"\xff", b"[" * 9_000, b"null"])
def test_what_is_no_object_of_that_kind_is_refused(line: bytes):
    with pytest.raises(TapError):
        parse_tap(line)


def test_a_line_is_bounded():
    line = json_line(tap_record(tap(1))).encode()
    assert parse_tap(line + b" " * (MAX_LINE_BYTES - len(line))) == tap(1)
    with pytest.raises(TapError):
        parse_tap(line + b" " * (MAX_LINE_BYTES + 1 - len(line)))


# --- the comparison --------------------------------------------------------------------------------------------


def test_both_sides_of_a_schedules_boundary():
    states = PolicyState(EVER, UTC), PolicyState(MORNINGS, UTC)
    last = replace(tap(1, hour=12), at_ms=MONDAY_8 + 4 * HOUR_MS - 1)
    found = compare_policies(*states, [tap(1, hour=7), tap(2, hour=8), last, tap(3, hour=12)])
    assert (found.opened, found.denied, found.compared) == (2, 0, 4)
    assert [change.tap.seq for change in found.closing] == [1, 3]
    assert found.closing_reasons() == {Reason.NOT_PERMITTED_AT_THIS_TIME: 2}
    back = compare_policies(states[1], states[0], [tap(1, hour=7), tap(2, hour=8)])
    assert [change.tap.seq for change in back.opening] == [1]
    assert back.opening_reasons() == {Reason.NOT_PERMITTED_AT_THIS_TIME: 1}
    assert back.otherwise == 1


def test_the_clock_of_then_counts():
    rule = DoorSettings(suspect=SuspectRule.IGNORE_SCHEDULES)
    strict, lenient = PolicyState(EVER, UTC), PolicyState(replace(EVER, settings=rule), UTC)
    doubtful = replace(tap(1), clock=ClockState.SUSPECT)
    found = compare_policies(strict, lenient, [tap(2), doubtful])
    assert [change.tap.seq for change in found.opening] == [1]
    assert found.opening_reasons() == {Reason.CLOCK_SUSPECT: 1}


def test_every_fact_of_a_credential_counts():
    facts = [
        FACTS,
        replace(FACTS, access_levels=(9,)),
        replace(FACTS, assurance=Assurance.PRINTED),
        replace(FACTS, kind=PassKind.EMERGENCY),
    ]
    down = PolicyState(replace(EVER, settings=DoorSettings(mode=DoorSettings().mode.LOCKED_DOWN)), UTC)
    found = compare_policies(PolicyState(EVER, UTC), down, [tap(n, facts=each) for n, each in enumerate(facts)])
    assert [change.tap.seq for change in found.closing] == [0]
    assert (found.opened, found.denied, found.otherwise) == (1, 2, 2)


def test_taps_that_came_not_so_far_are_counted_apart():
    states = PolicyState(EVER, UTC), PolicyState(MORNINGS, UTC)
    found = compare_policies(*states, [tap(1, facts=None, granted=False)])
    assert (found.not_asked, found.compared) == (1, 0)


# --- the command -----------------------------------------------------------------------------------------------


def test_changes_are_told_tap_by_tap_and_in_sum(
    old: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    taps = write_taps(tmp_path / "taps", tap(1, hour=7), tap(2, hour=9), tap(3, facts=None, granted=False))
    ran, (change, summary) = diff(capsys, old, new, "--events", taps)
    assert ran.code == ExitCode.FAILED
    assert change == {
        "seq": 1,
        "at": "2026-11-23T07:00:00Z",
        "reader": "qr-1",
        "credential": "000000000001",
        "old": {"granted": True, "rule": "level-1", "step": None, "reason": None},
        "new": {"granted": False, "rule": None, "step": 12, "reason": "NOT_PERMITTED_AT_THIS_TIME"},
    }
    assert summary == {
        "same": False,
        "compared": 2,
        "opened": 1,
        "denied": 0,
        "closing": 1,
        "closing_reasons": {"NOT_PERMITTED_AT_THIS_TIME": 1},
        "opening": 0,
        "opening_reasons": {},
        "not_asked": 1,
        "otherwise": 0,
        "unseen_settings": [],
    }


def test_people_see_a_table_and_the_taps(old: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    taps = write_taps(tmp_path / "taps", tap(1, hour=7), tap(2, hour=9), tap(3, facts=None, granted=False))
    told = run_here(capsys, "policy", "diff", new, old, "--events", taps).out
    rows = [line.split() for line in told.splitlines()[:3]]
    assert rows == [["NEW", "opens", "NEW", "denies"], ["OLD", "opens", "1", "0"], ["OLD", "denies", "1", "0"]]
    assert "1 would get in who did not:" in told
    assert "NOT_PERMITTED_AT_THIS_TIME -> level-1" in told
    assert "1 more taps were denied before the rules were asked." in told
    assert "1 of these taps the door decided otherwise than OLD" in told


def test_nothing_that_changes_is_success(old: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    taps = write_taps(tmp_path / "taps", tap(2, hour=9))
    ran, (summary,) = diff(capsys, old, new, "--events", taps)
    assert (ran.code, summary["same"], summary["compared"]) == (ExitCode.OK, True, 1)
    assert "Nothing would change." in run_here(capsys, "policy", "diff", old, new, "--events", taps).out


def test_settings_whose_effect_is_not_seen_are_named(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    stricter = replace(EVER, settings=DoorSettings(max_revocation_age_s=60))
    new = write(tmp_path / "new.cose", seal_policy(stricter, SIGNER))
    taps = write_taps(tmp_path / "taps", tap(1))
    ran, (summary,) = diff(capsys, old, new, "--events", taps)
    assert (ran.code, summary["unseen_settings"]) == (ExitCode.OK, ["max_revocation_age_s"])
    assert "max_revocation_age_s" in run_here(capsys, "policy", "diff", old, new, "--events", taps).out


DOCUMENT = """{"accessLevels": [{"id": 1, "schedules": [3]}],
    "schedules": [{"id": 3, "windows": [{"days": ["mon"], "start": "08:00", "end": "12:00"}]}]}"""


@pytest.mark.parametrize("text", [DOCUMENT, f'{{"version": 4, "policy": {DOCUMENT}}}'])
def test_operators_documents_are_read_in_the_zone_that_is_named(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
):
    new = write(tmp_path / "new.json", text)
    taps = write_taps(tmp_path / "taps", tap(1, hour=7), tap(2, hour=11))
    for options, seq in (((), 1), (("--timezone", "Europe/Vienna"), 2)):
        ran, (change, _) = diff(capsys, old, new, "--events", taps, *options)
        assert (ran.code, change["seq"]) == (ExitCode.FAILED, seq)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("new.json", "{", "not a usable policy"),
        ("new.json", '{"doors": []}', "doors"),
        ("new.json", '{"accessLevels": [{"id": 1, "schedules": [3]}]}', "schedule 3"),
        ("new.cose", "no bundle", "not a usable policy"),
        ("new.cose", "", "not a usable policy"),
    ],
)
def test_a_policy_that_is_none_is_named(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, told: str
):
    new = write(tmp_path / name, content)
    ran = run_here(capsys, "policy", "diff", old, new, "--events", write_taps(tmp_path / "taps", tap(1)))
    assert ran.code == ExitCode.UNUSABLE
    assert told in ran.err


def test_two_documents_need_a_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    new = write(tmp_path / "new.json", DOCUMENT)
    taps = write_taps(tmp_path / "taps", tap(1))
    ran = run_here(capsys, "policy", "diff", new, new, "--events", taps)
    assert ran.code == ExitCode.UNUSABLE
    assert "--timezone Europe/Vienna" in ran.err
    assert run_here(capsys, "policy", "diff", new, new, "--events", taps, "--timezone", "UTC").code == ExitCode.OK
    nowhere = run_here(capsys, "policy", "diff", new, new, "--events", taps, "--timezone", "Nowhere/Land")
    assert nowhere.code == ExitCode.UNUSABLE


@pytest.mark.parametrize("taps", [(), (tap(1, facts=None, granted=False),)])
def test_nothing_to_compare_is_not_the_same_as_no_change(
    old: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], taps: tuple[DecidedTap, ...]
):
    ran = run_here(capsys, "policy", "diff", old, new, "--events", write_taps(tmp_path / "taps", *taps))
    assert ran.code == ExitCode.UNUSABLE
    assert "no tap that came as far as the rules" in ran.err


def test_a_file_of_taps_that_is_none_is_named_with_the_line(
    old: Path, new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    taps = write_taps(tmp_path / "taps", tap(1))
    with taps.open("a") as file:
        file.write("\n{}\n")
    ran = run_here(capsys, "policy", "diff", old, new, "--events", taps)
    assert ran.code == ExitCode.UNUSABLE
    assert "line 3" in ran.err
    assert run_here(capsys, "policy", "diff", old, new, "--events", tmp_path / "absent").code == ExitCode.UNUSABLE


def test_without_the_part_that_reads_documents_a_bundle_still_does(old: Path, new: Path, tmp_path: Path):
    """A door's installation has no msgspec: a stand-in folder makes it missing for one process."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "msgspec.py").write_text("raise ModuleNotFoundError(name='msgspec')\n")
    taps = write_taps(tmp_path / "taps", tap(2, hour=9))
    environment = {"PYTHONPATH": str(hidden)}
    ran = run_program("policy", "diff", old, new, "--events", taps, environment=environment)
    assert ran.code == ExitCode.OK, ran.err
    document = write(tmp_path / "new.json", DOCUMENT)
    ran = run_program("policy", "diff", old, document, "--events", taps, environment=environment)
    assert ran.code == ExitCode.MISSING_PART
    assert "doorward[cloud]" in ran.err
