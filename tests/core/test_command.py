"""A signed command at the door: which are believed, which are carried out, and that none is twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.core.command import Refused, judge_command, note_command
from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import CommitCommand, Effect, Energise, EventDraft, Record, Secure
from edge.core.flood import COMMANDS_A_WINDOW, DENIALS_A_WINDOW, WINDOW_MS
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.tap import (
    CommandDurable,
    CommandReceived,
    Input,
    LineChanged,
    PolicyReplaced,
    State,
    TimeDue,
    handle,
    next_deadline_ms,
)
from edge.core.verify import FUTURE_MS
from tests.core.campus import (
    DOOR,
    KEYS,
    MONOTONIC_MS,
    NOW,
    NOW_MS,
    NOW_S,
    PLACE,
    bundle,
    code,
    command,
    commanded,
    commits,
    door,
    drafts,
    feed,
    instant,
    policy,
    tap,
    trust,
    trusted,
)
from tests.core.doors import moves
from wire.command import MAX_COMMAND_BYTES, Command, open_command
from wire.envelope import HEADER_ALGORITHM, HEADER_KEY_ID, parse_envelope, seal_with
from wire.names import Action, ClockState, DoorId, DoorMode, EventKind, ExternalAad, KeyPurpose, Reason
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from wire.codec import Value
    from wire.keys import Signer

UNLOCK = command(Action.UNLOCK)


def judged(data: bytes, state: State | None = None, later_ms: int = 0, **changes: ClockState | int) -> Command | Reason:
    """What a door makes of a command; the usual door, unless another is given."""
    here = door() if state is None else state
    found = judge_command(data, here.trust, here.place, here.memory, instant(later_ms, **changes))  # type: ignore[arg-type]
    return found.reason if isinstance(found, Refused) else found


def test_a_refusal_names_its_command_once_it_is_known():
    data = command(target=DoorId("side-entrance"))
    here = door()
    found = judge_command(data, here.trust, here.place, here.memory, NOW)
    assert found == Refused(Reason.COMMAND_FOREIGN, opened(data))
    (draft,) = drafts(handle(here, CommandReceived(data), NOW)[1])
    assert draft.credential == opened(data).command_id


def after(event: Input) -> State:
    """The usual door after something happened."""
    return handle(door(), event, NOW)[0]


def opened(data: bytes) -> Command:
    return open_command(data, KEYS.command.public_key)


def payload_of(data: bytes) -> bytes:
    return parse_envelope(data, field="command", max_bytes=MAX_COMMAND_BYTES).payload


def sealed(payload: bytes, signer: Signer) -> bytes:
    """Any payload as a command that names the command key, whoever signs it."""
    named = KEYS.command.public_key
    header: dict[int | str, Value] = {HEADER_ALGORITHM: int(named.algorithm), HEADER_KEY_ID: bytes(named.key_id)}
    return seal_with(header, payload, signer, ExternalAad.COMMAND)


# --- which are believed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", list(Action))
def test_a_command_for_this_door_from_its_command_key_is_believed(action: Action):
    data = command(action)
    assert judged(data) == opened(data)


def test_a_door_that_believes_nobody_takes_no_command():
    assert judged(UNLOCK, replace(door(), trust=None)) is Reason.NO_TRUST


@pytest.mark.parametrize("clock", list(ClockState))
def test_a_door_that_does_not_know_the_time_takes_no_command(clock: ClockState):
    found = judged(UNLOCK, clock=clock)
    assert found == (Reason.CLOCK_SUSPECT if clock is ClockState.SUSPECT else opened(UNLOCK))


@pytest.mark.parametrize("data", [b"", b"garbage", UNLOCK[:-1], UNLOCK + b"\x00", b"\x00" * (MAX_COMMAND_BYTES + 1)])
def test_bytes_that_are_no_command_are_refused_by_form(data: bytes):
    assert judged(data) is Reason.MALFORMED


def test_what_a_command_key_signed_that_is_no_command_is_refused_by_form():
    assert judged(sealed(payload_of(UNLOCK)[:-1], KEYS.command)) is Reason.MALFORMED


def test_a_command_of_an_unknown_key_is_refused():
    assert judged(command(Action.UNLOCK, signer=KEYS.stranger)) is Reason.UNKNOWN_ISSUER_KEY


def test_a_command_that_only_names_the_command_key_is_forged():
    assert judged(sealed(payload_of(UNLOCK), KEYS.command)) == opened(UNLOCK)
    assert judged(sealed(payload_of(UNLOCK), KEYS.stranger)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("purpose", list(KeyPurpose))
def test_only_a_key_for_commands_signs_commands(purpose: KeyPurpose):
    state = replace(door(), trust=trust(bundle(trusted(KEYS.command, purpose))))
    found = judged(UNLOCK, state)
    assert found == (opened(UNLOCK) if purpose is KeyPurpose.COMMAND else Reason.UNKNOWN_ISSUER_KEY)


@pytest.mark.parametrize(
    ("starts_s", "ends_s", "valid"),
    [(NOW_S, NOW_S + 1, True), (NOW_S + 1, NOW_S + 2, False), (NOW_S - 1, NOW_S, False)],
)
def test_a_key_signs_commands_within_its_validity(starts_s: int, ends_s: int, *, valid: bool):
    key = trusted(KEYS.command, KeyPurpose.COMMAND, starts_s=starts_s, ends_s=ends_s)
    found = judged(UNLOCK, replace(door(), trust=trust(bundle(key))))
    assert found == (opened(UNLOCK) if valid else Reason.UNKNOWN_ISSUER_KEY)


def test_a_command_for_another_door_is_refused():
    assert judged(command(target=DoorId("side-entrance"))) is Reason.COMMAND_FOREIGN


# --- when ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later_ms", "holds"),
    [(-FUTURE_MS - 1, False), (-FUTURE_MS, True), (0, True), (59_999, True), (60_000, False)],
)
def test_a_command_holds_from_when_it_was_issued_as_far_as_clocks_differ_until_before_its_end(
    later_ms: int, *, holds: bool
):
    assert judged(UNLOCK, later_ms=later_ms) == (opened(UNLOCK) if holds else Reason.COMMAND_EXPIRED)


def test_the_doors_uncertainty_makes_no_command_last_longer():
    assert judged(UNLOCK, later_ms=60_000, uncertainty_ms=90_000) is Reason.COMMAND_EXPIRED


# --- once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "taken"), [(6, False), (7, False), (8, True), (700, True)])
def test_a_counter_must_be_above_that_of_every_command_before(counter: int, *, taken: bool):
    state, _ = handle(door(), CommandReceived(command(counter=7)), NOW)
    data = command(counter=counter)
    assert judged(data, state) == (opened(data) if taken else Reason.COMMAND_REPLAYED)


def test_the_first_counter_of_all_may_be_nothing():
    data = command(counter=0)
    assert judged(data) == opened(data)


def test_a_command_shown_again_is_refused_whether_or_not_the_first_was_carried_out():
    state, effects = feed(door(), CommandReceived(UNLOCK), CommandReceived(UNLOCK))
    told = [(draft.kind, draft.reason) for draft in drafts(effects)]
    assert told == [(EventKind.COMMAND_EXECUTED, None), (EventKind.COMMAND_REFUSED, Reason.COMMAND_REPLAYED)]
    assert judged(UNLOCK, commanded(door(), UNLOCK)[0]) is Reason.COMMAND_REPLAYED
    assert moves(effects) == []
    assert state.memory == Memory().with_memo(note_command(opened(UNLOCK), NOW))


def test_a_refused_command_uses_no_counter_up():
    state, _ = handle(door(), CommandReceived(command(counter=9, target=DoorId("side-entrance"))), NOW)
    state, _ = handle(state, CommandReceived(command(counter=9, issued_at_s=NOW_S - 100)), NOW)
    assert state.memory == Memory()
    assert judged(command(counter=1), state) == opened(command(counter=1))


def test_what_is_remembered_is_journaled_with_the_command_and_survives_a_restart():
    _, effects = handle(door(), CommandReceived(command(Action.UNLOCK, counter=7)), NOW)
    (commit,) = (effect for effect in effects if isinstance(effect, CommitCommand))
    assert commit.memos == (Memo(MemoKind.COMMAND, b"", (7, NOW_S)),)
    started = replace(door(), memory=Memory().with_memos(commit.memos))
    assert judged(command(counter=7), started) is Reason.COMMAND_REPLAYED
    assert judged(command(counter=8), started) == opened(command(counter=8))


def test_a_clock_that_is_set_back_brings_no_command_back():
    state, _ = commanded(door(), UNLOCK)
    _, effects = handle(state, CommandReceived(UNLOCK), instant(90_000, wall_ms=NOW_MS))
    assert [draft.reason for draft in drafts(effects)] == [Reason.COMMAND_REPLAYED]


# --- journaled, then carried out -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "rule"),
    [
        (Action.UNLOCK, "unlock"),
        (Action.RESET_FIRE, "reset-fire"),
        (Action.MODE, "mode-unlocked"),
        (Action.RELEASE, "release"),
        (Action.REBOOT, "reboot"),
        (Action.REFRESH, "refresh"),
        (Action.SNAPSHOT, "snapshot"),
    ],
)
def test_a_command_is_journaled_before_anything_moves(action: Action, rule: str):
    data = command(action)
    before = after(LineChanged(InputLine.FIRE, LineState.INACTIVE))
    state, effects = handle(before, CommandReceived(data), NOW)
    draft = EventDraft(
        kind=EventKind.COMMAND_EXECUTED,
        at=NOW,
        credential=opened(data).command_id,
        rule=rule,
        policy_version=17,
        trust_version=1,
    )
    assert effects == (CommitCommand(draft, opened(data), (note_command(opened(data), NOW),)),)
    assert (state.door, state.orders) == (before.door, before.orders)


def test_an_unlock_releases_the_door_for_its_time_and_names_its_event():
    state, effects = commanded(door(), UNLOCK, seq=31)
    assert effects[1:] == (Energise(5_000, 31),)
    assert state.door.mode is Mode.ACCESSED


def test_a_release_by_command_is_nobodys_passage():
    state, _ = commanded(door(), UNLOCK)
    state, effects = handle(state, TimeDue(), instant(5_000))
    assert [draft.kind for draft in drafts(effects)] == [EventKind.DOOR_RELOCKED]
    assert state.orders == door().orders


def late(state: State, data: bytes, now_ms: int, **changes: int) -> tuple[State, tuple[Effect, ...]]:
    """Take a command now and have it in the journal later."""
    state, _ = handle(state, CommandReceived(data), NOW)
    return handle(state, CommandDurable(opened(data), 5), instant(now_ms, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("later_ms", "in_time"), [(59_999, True), (60_000, False)])
def test_a_command_that_ended_before_it_was_in_the_journal_is_taken_back(later_ms: int, *, in_time: bool):
    state, effects = late(door(), UNLOCK, later_ms)
    if in_time:
        assert effects == (Energise(5_000, 5),)
    else:
        assert [(draft.kind, draft.reason, draft.rule) for draft in drafts(effects)] == [
            (EventKind.COMMAND_REFUSED, Reason.COMMAND_EXPIRED, "unlock")
        ]
        assert state.door.mode is Mode.LOCKED


def test_a_clock_that_is_set_between_decides_by_its_new_time():
    _, effects = late(door(), UNLOCK, 1_000, wall_ms=NOW_MS + 3_600_000)
    assert [draft.reason for draft in drafts(effects)] == [Reason.COMMAND_EXPIRED]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (DoorMode.LOCKED, None),
        (DoorMode.UNLOCKED, None),
        (DoorMode.LOCKED_DOWN, Reason.DOOR_LOCKED_DOWN),
        (DoorMode.BLOCKED, Reason.DOOR_BLOCKED),
    ],
)
def test_an_unlock_opens_no_door_that_is_shut_to_everybody(mode: DoorMode, reason: Reason | None):
    state = after(PolicyReplaced(policy(DoorSettings(mode=mode)), None))
    state, effects = commanded(state, UNLOCK)
    told = [(draft.kind, draft.reason, draft.rule, draft.credential) for draft in drafts(effects)]
    kind = EventKind.COMMAND_EXECUTED if reason is None else EventKind.COMMAND_REFUSED
    assert told == [(kind, reason, "unlock", opened(UNLOCK).command_id)]
    assert moves(effects) == ([Energise(5_000, 1)] if mode is DoorMode.LOCKED else [])
    # Who was refused is not let in by the same command when the door is free again.
    assert judged(UNLOCK, state) is Reason.COMMAND_REPLAYED
    assert state.memory == Memory().with_memo(note_command(opened(UNLOCK), NOW))


def test_a_lockdown_overtakes_a_command_that_waits_for_the_disk():
    state, _ = handle(door(), CommandReceived(UNLOCK), NOW)
    state, _ = handle(state, PolicyReplaced(policy(DoorSettings(mode=DoorMode.LOCKED_DOWN)), None), NOW)
    _, effects = handle(state, CommandDurable(opened(UNLOCK), 2), NOW)
    assert [draft.reason for draft in drafts(effects)] == [Reason.DOOR_LOCKED_DOWN]
    assert moves(effects) == []


@pytest.mark.parametrize("mode", list(DoorMode))
def test_a_fire_is_reset_by_command_in_every_mode_once_its_input_is_quiet(mode: DoorMode):
    state, _ = handle(door(), PolicyReplaced(policy(DoorSettings(mode=mode)), None), NOW)
    state, _ = handle(state, LineChanged(InputLine.FIRE, LineState.ACTIVE), NOW)
    state, effects = commanded(state, command(counter=1))
    assert [(draft.kind, draft.reason, draft.rule) for draft in drafts(effects)] == [
        (EventKind.COMMAND_REFUSED, Reason.FIRE_INPUT_ACTIVE, "reset-fire"),
    ]
    assert state.door.mode is Mode.LOCKED_OPEN
    state, _ = handle(state, LineChanged(InputLine.FIRE, LineState.INACTIVE), NOW)
    state, effects = commanded(state, command(counter=2))
    assert [draft.kind for draft in drafts(effects)] == [EventKind.COMMAND_EXECUTED, EventKind.FIRE_RESET]
    assert state.door.mode is not Mode.LOCKED_OPEN
    assert moves(effects) == [Energise(60_000) if mode is DoorMode.UNLOCKED else Secure()]


def test_a_door_without_a_fire_input_and_without_fire_has_nothing_to_reset_and_says_so():
    before = door()
    assert before.door.fire is LineState.UNKNOWN
    state, effects = commanded(before, command())
    assert [(draft.kind, draft.reason) for draft in drafts(effects)] == [(EventKind.COMMAND_EXECUTED, None)]
    assert (state.door, moves(effects)) == (before.door, [])


def test_a_fire_whose_input_nobody_reads_any_more_is_not_reset():
    state, _ = handle(door(), LineChanged(InputLine.FIRE, LineState.ACTIVE), NOW)
    state, _ = handle(state, LineChanged(InputLine.FIRE, LineState.UNKNOWN), NOW)
    state, effects = commanded(state, command())
    assert [draft.reason for draft in drafts(effects)] == [Reason.FIRE_INPUT_ACTIVE]
    assert state.door.mode is Mode.LOCKED_OPEN


def test_a_door_without_a_policy_takes_commands_by_the_default_settings():
    _, effects = commanded(State(place=PLACE, trust=trust()), UNLOCK)
    assert moves(effects) == [Energise(5_000, 1)]


# --- floods ----------------------------------------------------------------------------------------------------


def flooded(count: int) -> tuple[State, list[EventDraft]]:
    state, effects = feed(door(), *[CommandReceived(b"garbage")] * count)
    return state, drafts(effects)


def test_a_flood_of_refused_commands_is_journaled_as_a_number():
    _, told = flooded(COMMANDS_A_WINDOW)
    assert [(draft.kind, draft.reason) for draft in told] == [
        (EventKind.COMMAND_REFUSED, Reason.MALFORMED)
    ] * COMMANDS_A_WINDOW
    state, told = flooded(COMMANDS_A_WINDOW + 3)
    assert len(told) == COMMANDS_A_WINDOW
    assert next_deadline_ms(state) == MONOTONIC_MS + WINDOW_MS
    _, effects = handle(state, TimeDue(), instant(WINDOW_MS - 1))
    assert drafts(effects) == []
    state, effects = handle(state, TimeDue(), instant(WINDOW_MS))
    assert [(draft.kind, draft.count) for draft in drafts(effects)] == [(EventKind.COMMANDS_SUPPRESSED, 3)]
    assert next_deadline_ms(state) is None


def test_a_flood_hides_no_command_that_is_carried_out_and_none_that_is_taken_back():
    state, _ = flooded(COMMANDS_A_WINDOW + 1)
    state, effects = handle(state, CommandReceived(UNLOCK), NOW)
    assert [type(effect) for effect in effects] == [CommitCommand]
    _, effects = handle(state, CommandDurable(opened(UNLOCK), 5), instant(60_000, wall_ms=NOW_MS + 60_000))
    refused = [draft for draft in drafts(effects) if draft.kind is EventKind.COMMAND_REFUSED]
    assert [draft.reason for draft in refused] == [Reason.COMMAND_EXPIRED]
    state, effects = handle(state, PolicyReplaced(policy(DoorSettings(mode=DoorMode.BLOCKED)), None), NOW)
    _, effects = handle(state, CommandDurable(opened(UNLOCK), 5), NOW)
    assert [type(effect) for effect in effects] == [Record]
    assert drafts(effects)[0].credential == opened(UNLOCK).command_id


def test_a_flood_of_commands_hides_no_tap_and_one_of_taps_no_command():
    state, _ = flooded(COMMANDS_A_WINDOW + 1)
    state, effects = feed(state, *[tap(b"garbage")] * (DENIALS_A_WINDOW + 2))
    assert [draft.kind for draft in drafts(effects)] == [EventKind.ACCESS_DENIED] * DENIALS_A_WINDOW
    _, effects = handle(state, tap(code()), NOW)
    assert len(commits(effects)) == 1
    _, effects = handle(state, TimeDue(), instant(WINDOW_MS))
    assert [(draft.kind, draft.count) for draft in drafts(effects)] == [
        (EventKind.DENIALS_SUPPRESSED, 2),
        (EventKind.COMMANDS_SUPPRESSED, 1),
    ]
    state, effects = feed(door(), *[tap(b"garbage")] * (DENIALS_A_WINDOW + 1), CommandReceived(b"garbage"))
    assert drafts(effects)[-1].kind is EventKind.COMMAND_REFUSED


def test_a_command_names_the_door_by_its_id():
    assert opened(UNLOCK).target == DOOR == PLACE.door
