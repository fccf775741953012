"""What is recorded reads back equal, whatever the core holds; anything else is one error."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC
from enum import Enum, IntEnum, IntFlag
from types import MappingProxyType
from typing import TYPE_CHECKING, NewType, cast, get_args

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from immutables import Map

from edge import recording_forms
from edge.core.companions import Candidate, Companions, Host, Need, PinOutcome, Waiting
from edge.core.credential import Form, Medium, PinEntry, Presentation
from edge.core.door_state import DoorState, InputLine, LineState, Mode
from edge.core.effects import Grant, ReplayMark
from edge.core.flood import Flood
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.orders import ModeOrder, Orders, StaffTap
from edge.core.replay import ReplayMarks
from edge.core.state import Underway
from edge.core.tap import (
    CommandDurable,
    CommandReceived,
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    LockAnswered,
    Noted,
    PinChecked,
    PinEntered,
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TimeDue,
    TrustReplaced,
    handle,
)
from edge.core.trust import Revocation
from edge.core.verify import Place, VerifiedCredential
from edge.recording import (
    MAX_RUN_BYTES,
    Kept,
    Named,
    PolicyReference,
    RecordingReader,
    RecordingWriter,
    RosterReference,
    StatusReference,
    TrustReference,
    join_inputs,
)
from edge.recording_forms import Forms, RecordingError, RecordingReason, Substitute
from tests.support.enrolled import Card, roster_of
from tests.support.tenant import TenantKeys, p256, present
from wire.codec import MAX_TIME_MS
from wire.command import Command
from wire.names import Action, Assurance, ClockState, DoorId, DoorMode, EventKind, PassFlags, PassKind
from wire.roster import PinVerifiers, Roster

if TYPE_CHECKING:
    from edge.core.policy import PolicyState
    from edge.core.trust import TrustState
    from wire.codec import Value

KEYS = TenantKeys("north", 1_800_000_000)
TRUST = KEYS.trust_state(revoked={3})
POLICY = KEYS.policy_state(UTC)
NOW = Instant(wall_ms=1_800_000_000_123, monotonic_ms=77_000, clock=ClockState.HOLDOVER, uncertainty_ms=40)
GRANT = Grant(grant_id=3, hold_ms=5_000, credential=bytes(6), assurance=Assurance.ROTATING, rule="level-1", reader="q")
COMMAND = Command(
    command_id=bytes(16), target=DoorId("main"), action=Action.RESET_FIRE, issued_at_s=5, expires_at_s=9, counter=3
)
ROSTER = roster_of(Card(number=b"\x04\x01"), version=4, issued_at_s=1_800_000_000)
INPUTS: tuple[Input, ...] = (
    Tap(Presentation("qr-1", Medium.QR, b"DW1:\x00\xff", 76_990)),
    Tap(Presentation("nfc-1", Medium.NFC, bytes(16), 76_990, Form.CARD_NUMBER, hashed=True)),
    Tap(Presentation("nfc-1", Medium.NFC, b"\xd2", 76_990, Form.EXCHANGE, nonce=bytes(16))),
    CommandDurable(replace(COMMAND, action=Action.MODE, mode=DoorMode.BLOCKED, hold_s=600), 4),
    GrantDurable(GRANT, 12),
    GrantFailed(GRANT),
    LineChanged(InputLine.CONTACT, LineState.ACTIVE),
    PinEntered(PinEntry("qr-1", b"", 76_991)),
    PinChecked(2, PinOutcome.DURESS),
    CommandReceived(b"\xd2\x84"),
    CommandDurable(COMMAND, 13),
    LockAnswered(carried_out=False),
    RosterReplaced(ROSTER, EventKind.ROSTER_UPDATED),
    TimeDue(),
    TrustReplaced(TRUST, None),
    TrustReplaced(TRUST, EventKind.STATUS_UPDATED),
    PolicyReplaced(POLICY, None),
    Noted(EventKind.READER_LOST, "qr-1"),
    Noted(EventKind.STARTED),
)
VERIFIED = VerifiedCredential(
    credential=bytes(8),
    kind=PassKind.VISITOR,
    flags=PassFlags.EXTENDED_RELEASE,
    access_levels=(1, 7),
    expires_at_s=None,
    assurance=Assurance.IDENTIFIER,
    replay_key=None,
    holder_key=None,
    revocation=Revocation(revoked=False, sequence=4, age_s=5, expired=False),
    pin=PinVerifiers(bytes(16), bytes(16), None),
)
WAITING = Waiting(candidate=Candidate(credential=VERIFIED, reader="qr-1"), need=Need.PIN, until_ms=9, check_id=8)
WRONG_PIN = Memo(MemoKind.WRONG_PINS, bytes(8), (2, 1_800_000_000))
UNDERWAY = Underway(grant=GRANT, kind=PassKind.STAFF, holder=b"h", decided_ms=5, undo=(WRONG_PIN,))
MARK = ReplayMark(key=bytes(range(32)), expires_wall_ms=9, expires_monotonic_ms=8)
STATES = (
    State(place=Place(tenant="north", site="hq", door="main")),
    State(
        place=Place(tenant="north", site="hq", door="main"),
        trust=TRUST,
        policy=POLICY,
        replay=ReplayMarks(MappingProxyType({MARK.key: MARK}), horizon_ms=5, swept_ms=6),
        door=DoorState(mode=Mode.ACCESSED, relock_at_ms=0, alarms=frozenset({EventKind.FIRE, EventKind.FORCED_OPEN})),
        flood=Flood(began_ms=4, journaled=2, suppressed=1),
        clock=ClockState.SUSPECT,
        grants=2**63 - 1,
        roster=ROSTER,
        memory=Memory().with_memos((Memo(MemoKind.PRESENCE, b"holder-1", (3, 1_800_000_000)), WRONG_PIN)),
        orders=Orders(
            rest=DoorMode.UNLOCKED,
            rule="staff",
            unlocked_until_ms=7,
            tapped=StaffTap(bytes(6), 5),
            ordered=ModeOrder(DoorMode.BLOCKED, 1_800_000_600, 1_800_000_000),
            ordered_until_ms=9,
        ),
        companions=Companions((WAITING,), (Host(holder=b"h", reader="qr-1", at_ms=4),), 9),
        awaited=(UNDERWAY,),
        passing=(replace(UNDERWAY, together=3, seq=12),),
        unequipped=frozenset({Action.SNAPSHOT, Action.REFRESH}),
    ),
)


class OneVersion:
    """Has one version of each document."""

    def policy(self, reference: PolicyReference) -> PolicyState:
        if reference.version != POLICY.bundle.version:
            raise RecordingError(RecordingReason.NOT_KEPT, "policy")
        return POLICY

    def trust(self, reference: TrustReference) -> TrustState:
        if reference != TrustReference(1, (StatusReference(0, 1, KEYS.now_s, KEYS.now_s + 7 * 86_400),)):
            raise RecordingError(RecordingReason.NOT_KEPT, "trust")
        return TRUST

    def roster(self, reference: RosterReference) -> Roster:
        if reference.version != ROSTER.version:
            raise RecordingError(RecordingReason.NOT_KEPT, "roster")
        return ROSTER


def reader() -> RecordingReader:
    return RecordingReader(OneVersion())


def test_every_kind_of_input_reads_back_equal():
    assert {type(event) for event in INPUTS} == set(get_args(Input))
    data = join_inputs([RecordingWriter().input(event, NOW).data for event in INPUTS])
    assert reader().inputs(data) == [(event, NOW) for event in INPUTS]


@pytest.mark.parametrize("state", STATES)
def test_a_state_reads_back_equal(state: State):
    written = RecordingWriter().state(state)
    found = reader().state(written.data)
    assert found == state
    assert RecordingWriter().state(found).named == written.named


def test_no_inputs_read_back_as_none():
    assert reader().inputs(join_inputs([])) == []


def test_documents_are_named_and_not_held():
    writer = RecordingWriter()
    named = writer.state(STATES[1]).named
    kinds = (Kept.POLICY, Kept.TRUST, Kept.STATUS)
    assert set(named) == {*(Named(kind, 0, 1) for kind in kinds), Named(Kept.ROSTER, 0, 4)}
    assert len(writer.input(TrustReplaced(TRUST, None), NOW).data) < 300
    assert writer.input(TimeDue(), NOW).named == ()


def test_a_version_that_is_not_kept_is_told():
    data = RecordingWriter().input(PolicyReplaced(POLICY), NOW).data.replace(b"version\x01", b"version\x02")
    with pytest.raises(RecordingError) as caught:
        reader().inputs(join_inputs([data]))
    assert caught.value.reason is RecordingReason.NOT_KEPT


@pytest.mark.parametrize(
    ("wall_ms", "is_written"), [(-1, False), (0, True), (MAX_TIME_MS, True), (MAX_TIME_MS + 1, False)]
)
def test_a_moment_is_within_the_calendar(wall_ms: int, *, is_written: bool):
    now = replace(NOW, wall_ms=wall_ms)
    if is_written:
        assert reader().inputs(join_inputs([RecordingWriter().input(TimeDue(), now).data])) == [(TimeDue(), now)]
    else:
        with pytest.raises(RecordingError):
            RecordingWriter().input(TimeDue(), now)


def test_a_recording_of_a_release_without_a_field_takes_its_default():
    plain = cbor2.loads(RecordingWriter().input(Noted(EventKind.STARTED), NOW).data)
    assert plain[1] == ["Noted", "kind", 40, "reader", None, "reason", None]
    plain[1] = ["Noted", "kind", 40]
    assert reader().inputs(cbor2.dumps([plain])) == [(Noted(EventKind.STARTED), NOW)]


BROKEN: tuple[object, ...] = (
    None,
    [],
    [1],
    ["Noted", "kind", 40, "reader"],
    ["Noted", "kind", 40, "reader", None, "more", None],
    ["Noted", "kind", 40, "kind", 40],
    ["Noted", "reader", None],
    ["Noted", "kind", 9_999],
    ["Noted", "kind", True],
    ["Noted", "kind", "STARTED"],
    ["Noted", "kind", 40, "reader", 5],
    ["Noted", 3, 40],
    ["Nobody", "kind", 40],
    ["TimeDue", "kind", 40],
    ["LineChanged", "line", 1, "state", "active"],
)


@pytest.mark.parametrize("plain", BROKEN)
def test_what_was_never_written_is_unreadable(plain: object):
    now = ["Instant", "wall_ms", 1, "monotonic_ms", 2, "clock", 0]
    with pytest.raises(RecordingError) as caught:
        reader().inputs(cbor2.dumps([[now, plain]]))
    assert caught.value.reason is RecordingReason.UNREADABLE


@pytest.mark.parametrize("data", [b"", b"\x80\x00", b"\xff", b"\xf6", b"\x81\x80", b"\x9f\xff", b"\x81" * 30 + b"\x00"])
def test_bytes_that_are_no_recording_are_unreadable(data: bytes):
    for read in (reader().inputs, reader().state):
        with pytest.raises(RecordingError) as caught:
            read(data)
        assert caught.value.reason is RecordingReason.UNREADABLE


def test_inputs_are_bounded_before_they_are_parsed():
    tap = Tap(Presentation("qr-1", Medium.QR, b"", 0))
    empty = len(join_inputs([RecordingWriter().input(tap, NOW).data]))
    fits = MAX_RUN_BYTES - empty - 4  # the head of a longer byte string
    for size, readable in ((fits, True), (fits + 1, False)):
        long = Tap(Presentation("qr-1", Medium.QR, bytes(size), 0))
        data = join_inputs([RecordingWriter().input(long, NOW).data])
        assert (len(data) <= MAX_RUN_BYTES) is readable
        if readable:
            assert reader().inputs(data) == [(long, NOW)]
        else:
            with pytest.raises(RecordingError):
                reader().inputs(data)


@given(st.data())
def test_changed_bytes_read_as_something_or_are_one_error(data: st.DataObject):
    whole = bytearray(join_inputs([RecordingWriter().input(event, NOW).data for event in INPUTS]))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RecordingError):
        assert len(reader().inputs(bytes(whole))) == len(INPUTS)


HOLDER = p256("holder")
CODES = [present(KEYS.issue(HOLDER, index=index), HOLDER, at_s=KEYS.now_s + index) for index in range(6)]
HISTORIES = st.lists(
    st.one_of(
        st.builds(LineChanged, st.sampled_from(InputLine), st.sampled_from(LineState)),
        st.builds(Noted, st.sampled_from(EventKind), st.none() | st.just("qr-1")),
        st.sampled_from([TimeDue(), LockAnswered(carried_out=True), *INPUTS]),
        st.integers(0, 5).map(lambda index: Tap(Presentation("qr-1", Medium.QR, CODES[index], 0))),
    ),
    max_size=30,
)


@given(HISTORIES, st.lists(st.integers(0, 40_000), min_size=30, max_size=30))
def test_whatever_state_a_door_comes_to_reads_back_equal(history: list[Input], pauses_ms: list[int]):
    writer, state, now = RecordingWriter(), replace(STATES[1], grants=0), NOW
    for event, pause_ms in zip(history, pauses_ms, strict=False):
        now = replace(now, wall_ms=now.wall_ms + pause_ms, monotonic_ms=now.monotonic_ms + pause_ms)
        assert reader().inputs(join_inputs([writer.input(event, now).data])) == [(event, now)]
        state, _ = handle(state, event, now)
        assert reader().state(writer.state(state).data) == state


# --- what the core may come to hold ----------------------------------------------------------------------------

Seat = NewType("Seat", int)


class Level(IntEnum):
    LOW = 1


class Bits(IntFlag):
    A = 1
    B = 2


class Word(Enum):
    HELLO = "hello"


class Opaque:
    """Cannot be recorded itself."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True, slots=True)
class Left:
    number: int


@dataclass(frozen=True, slots=True)
class Right:
    inner: Right | None = None
    opaque: Opaque | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    seat: Seat
    flag: bool
    bits: Bits
    word: Word
    pair: tuple[Level, bytes]
    rows: tuple[tuple[int, str], ...]
    some: frozenset[Word | None]
    either: Left | Right | bytes | None
    facts: Map[tuple[Level, bytes], tuple[int, ...]]
    table: Mapping[str, Left] = field(default_factory=dict)


EVERYTHING = Everything(
    seat=Seat(-5),
    flag=True,
    bits=Bits.A | Bits.B,
    word=Word.HELLO,
    pair=(Level.LOW, b"x"),
    rows=((1, "a"), (2, "")),
    some=frozenset({Word.HELLO, None}),
    either=Right(Right(None)),
    facts=Map({(Level.LOW, b"k"): (1, 2), (Level.LOW, b""): ()}),
    table=MappingProxyType({"a": Left(1)}),
)


def forms() -> Forms:
    def reduce(value: object) -> object:
        assert isinstance(value, Opaque)
        return Left(value.number)

    def restore(value: object) -> object:
        assert isinstance(value, Left)
        return Opaque(value.number)

    return Forms({Everything, Left, Right}, {Opaque: Substitute(Left, reduce, restore)})


def test_whatever_the_core_may_hold_reads_back_equal():
    form = forms().of(Everything)
    plain = cbor2.loads(cbor2.dumps(form.write(EVERYTHING)))
    found = form.read(plain)
    assert found == EVERYTHING
    assert isinstance(found, Everything)
    assert [type(getattr(found, each.name)) for each in fields(found)] == [
        type(getattr(EVERYTHING, each.name)) for each in fields(EVERYTHING)
    ]


def test_a_substitute_stands_for_what_cannot_be_written():
    form = forms().of(Right)
    found = form.read(form.write(Right(None, Opaque(7))))
    assert isinstance(found, Right)
    assert found.opaque is not None
    assert found.opaque.number == 7


@pytest.mark.parametrize("hint", [float, Opaque, list[int], Word | bytes, dict, object, "int", State])
def test_a_type_outside_of_the_closed_world_is_refused(hint: object):
    with pytest.raises(RecordingError) as caught:
        Forms({Left}, {}).of(hint)
    assert caught.value.reason is RecordingReason.UNKNOWN


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, True),
        (int, 2**63),
        (int, -(2**63)),
        (str, b""),
        (bytes, bytearray()),
        (bool, 1),
        (Word, "hello"),
        (Level, Bits.A),
        (Left, Right()),
        (Left, None),
        (Opaque, Left(1)),
        (tuple[int, int], (1,)),
        (tuple[int, int], [1, 2]),
        (tuple[int, ...], [1]),
        (frozenset[int], [1]),
        (Mapping[int, int], [(1, 1)]),
        (Left | None, Right()),
        (Left | Right, None),
    ],
)
def test_a_value_of_another_type_is_not_written(hint: object, value: object):
    with pytest.raises(RecordingError) as caught:
        forms().of(hint).write(value)
    assert caught.value.reason is RecordingReason.UNKNOWN


@pytest.mark.parametrize(
    ("hint", "plain"),
    [
        (int, True),
        (bool, 0),
        (str, b""),
        (bytes, ""),
        (Word, "other"),
        (Word, b"hello"),
        (tuple[int, int], [1]),
        (tuple[int, int], 1),
        (tuple[int, ...], None),
        (frozenset[int], [1, 1]),
        (Mapping[int, int], []),
        (Mapping[int, int], [0, 1]),
        (Mapping[int, int], [2]),
        (Mapping[int, int], [True]),
        (Mapping[int, int], [0, 1, 1, 1, 1]),
        (Left | Right, None),
        (Left | Right, ["Middle"]),
        (Left | Right, 5),
        (Left | None, ["Right"]),
        (Left, ["Left", "number", 1, "number", 2]),
        (Left, "Left"),
    ],
)
def test_a_plain_value_that_is_never_written_is_not_read(hint: object, plain: object):
    form: recording_forms.Form = forms().of(hint)
    with pytest.raises(RecordingError) as caught:
        form.read(cast("Value", plain))
    assert caught.value.reason is RecordingReason.UNREADABLE
