"""Generated days of a door, as plain text: what people, wires, orders, clocks and disks do, moment by moment.

Invariant: a day holds no object of the core; `edge.core` reads it anew from bytes each time it is lived (lives.py).
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, TypeAlias

from edge.core.credential import Form
from edge.core.door_state import InputLine, LineState
from tests.core.campus import (
    DAY_S,
    DOOR,
    KEYS,
    LEVEL,
    NOW_S,
    READER,
    SITE,
    TENANT,
    command,
    issue,
    p256_signer,
    present,
    printed,
)
from tests.core.machine_parts import CARD
from wire.names import (
    Action,
    AntiPassbackRule,
    Assurance,
    ClockState,
    DoorId,
    DoorMode,
    EventKind,
    PassFlags,
    PassKind,
    RelockRule,
)
from wire.passes import make_pass_id
from wire.policy import ALL_DAYS, ALWAYS, OUTSIDE, Area, Passage, PolicyBundle, Schedule, Window, seal_policy
from wire.settings import DoorSettings
from wire.status_list import StatusList, seal_status_list

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from wire.keys import P256Signer

Moment: TypeAlias = list[int | str | bool | None]
"""When (milliseconds of the day), what, and with what."""

MIDNIGHT_S = NOW_S // DAY_S * DAY_S
DAY_MS = DAY_S * 1000
INSIDE = "inside"
NONCE = bytes(range(16))
OPEN, CLOSED = LineState.ACTIVE, LineState.INACTIVE

# --- what people hold ------------------------------------------------------------------------------------------

_KINDS = [PassKind.STANDARD] * 6 + [PassKind.TEMPORARY, PassKind.STAFF, PassKind.STAFF, PassKind.EMERGENCY]
HOLDERS = 40
GUESTS = range(40, 44)
STRANGER = 44
REVOKED = 45
LEAVER = 46
WITHOUT_LEVEL = 47


def _kind(holder: int) -> PassKind:
    return PassKind.VISITOR if holder in GUESTS else _KINDS[holder % len(_KINDS)]


@cache
def _phone(holder: int) -> P256Signer:
    return p256_signer(holder + 1)


@cache
def _pass_of(holder: int, *, on_paper: bool = False) -> bytes:
    return issue(
        signer=KEYS.stranger if holder == STRANGER else KEYS.issuer,
        kind=_kind(holder),
        flags=PassFlags.EXTENDED_RELEASE if holder % 8 == 1 else PassFlags.NONE,
        pass_id=make_pass_id(0, holder),
        holder_key=None if on_paper else _phone(holder).public_key,
        issued_at_s=MIDNIGHT_S - 3600,
        expires_at_s=MIDNIGHT_S + (DAY_S // 2 if holder == LEAVER else 6 * DAY_S),
        access_levels=(LEVEL + 1,) if holder == WITHOUT_LEVEL else (LEVEL,),
    )


@cache
def _paper(holder: int) -> str:
    return printed(
        kind=_kind(holder),
        pass_id=make_pass_id(0, 100 + holder),
        issued_at_s=MIDNIGHT_S - 3600,
        expires_at_s=MIDNIGHT_S + 6 * DAY_S,
    ).hex()


def _stolen(holder: int, at_s: int) -> str:
    """A pass shown by another phone than its own."""
    return present(_pass_of(holder), signer=_phone(STRANGER), signed_at_s=at_s).hex()


def _code(holder: int, at_s: int, *, audience: str = SITE, nonce: bytes | None = None) -> str:
    made = present(_pass_of(holder), signer=_phone(holder), signed_at_s=at_s, audience=audience, nonce=nonce)
    return made.hex()


# --- what a door is told ---------------------------------------------------------------------------------------

USUAL = DoorSettings(
    minimum_assurance=Assurance.PRINTED,
    max_revocation_age_s=7 * DAY_S,
    anti_passback=AntiPassbackRule.ALERT,
    printed_uses=3,
    lock_time_ms=1_000,
)


@lru_cache(maxsize=512)
def _policy(settings: DoorSettings, minute: int) -> str:
    """The rules, signed; where a schedule unlocks the door it does so for ten minutes from this one on."""
    made = PolicyBundle(
        tenant=TENANT,
        door=DOOR,
        version=17,
        issued_at_s=MIDNIGHT_S - DAY_S,
        settings=settings,
        levels={LEVEL: (ALWAYS,)},
        schedules={1: Schedule((Window(ALL_DAYS, minute, minute + 10),))},
        passages={READER: Passage(OUTSIDE, 1), INSIDE: Passage(1, OUTSIDE)},
        areas={1: Area(30, 10)},
    )
    return seal_policy(made, KEYS.policy).hex()


@lru_cache(maxsize=512)
def _status(revoked: tuple[int, ...], day: int) -> str:
    bits = bytearray(32)
    for index in revoked:
        bits[index >> 3] |= 1 << (index & 7)
    made = StatusList(
        tenant=TENANT,
        list_id=0,
        sequence=100 + day,
        issued_at_s=MIDNIGHT_S + day * DAY_S,
        expires_at_s=MIDNIGHT_S + 30 * DAY_S,
        ttl_s=300,
        bits=bytes(bits),
    )
    return seal_status_list(made, KEYS.status).hex()


# --- scenes ----------------------------------------------------------------------------------------------------


class Day:
    """One day under way; each scene adds moments from `at_ms` on."""

    def __init__(self, random: Random, number: int) -> None:
        self.random, self.number = random, number
        self.moments: list[Moment] = []
        self.counter = number * 1000

    def add(self, at_ms: int, name: str, *with_what: int | str | bool | None) -> None:
        self.moments.append([at_ms, name, *with_what])

    def at_s(self, at_ms: int) -> int:
        return MIDNIGHT_S + (self.number * DAY_MS + at_ms) // 1000

    def tap(
        self, at_ms: int, payload: str, *, reader: str = READER, form: Form = Form.CODE, nonce: bytes = b""
    ) -> None:
        """A tap, with how long the disk takes for a grant and whether it takes it at all."""
        disk_ms = self.random.choice([3, 8, 20, 20, 90, 400, 1_999, 2_000, 2_001])
        self.add(at_ms, "tap", payload, reader, int(form), nonce.hex(), disk_ms, self.random.random() > 0.03)

    def wallet(self, at_ms: int, holder: int, reader: str = READER) -> None:
        self.tap(at_ms, _code(holder, self.at_s(at_ms) - self.random.choice([0, 0, 5, 14])), reader=reader)

    def line(self, at_ms: int, line: InputLine, state: LineState) -> None:
        self.add(at_ms, "line", line.value, state.value)

    def somebody(self) -> int:
        return self.random.randrange(HOLDERS)

    def opens(self, at_ms: int, for_ms: int) -> None:
        self.line(at_ms, InputLine.CONTACT, OPEN)
        self.line(at_ms + for_ms, InputLine.CONTACT, CLOSED)

    def order(self, at_ms: int, **changes: object) -> None:
        minute = min(at_ms // 60_000 + self.random.randint(0, 3), 1429)
        self.add(at_ms, "policy", _policy(replace(USUAL, **changes), minute))  # type: ignore[arg-type]

    # what people do

    def passage(self, at_ms: int) -> None:
        reader = self.random.choice([READER, READER, INSIDE])
        self.wallet(at_ms, self.somebody(), reader)
        if self.random.random() < 0.8:
            self.opens(at_ms + 2_200, self.random.choice([1_500, 4_000, 9_000]))

    def queue(self, at_ms: int) -> None:
        for turn in range(self.random.randint(3, 8)):
            self.wallet(at_ms + turn * 700, self.somebody())
        self.opens(at_ms + 2_500, 12_000)

    def refused(self, at_ms: int) -> None:
        holder, at_s = self.somebody(), self.at_s(at_ms)
        twice = _code(holder, at_s)
        for turn, payload in enumerate(
            self.random.sample(
                [
                    twice,
                    twice,
                    _code(holder, at_s - 40),
                    _code(holder, at_s + 20),
                    _code(holder, at_s, audience="gym"),
                    _code(STRANGER, at_s),
                    _stolen(holder, at_s),
                    _code(REVOKED, at_s),
                    _code(LEAVER, at_s),
                    _code(WITHOUT_LEVEL, at_s),
                    b"https://example.org".hex(),
                    b"DW1:ABC".hex(),
                    "",
                ],
                5,
            )
        ):
            self.tap(at_ms + turn * 900, payload)

    def paper(self, at_ms: int) -> None:
        for turn in range(self.random.choice([1, 2, 4])):
            self.tap(at_ms + turn * 8_000, _paper(self.somebody() % 7))
            self.opens(at_ms + turn * 8_000 + 2_100, 2_000)

    def bound(self, at_ms: int) -> None:
        nonce = self.random.choice([NONCE, NONCE, bytes(16)])
        code = bytes.fromhex(_code(self.somebody(), self.at_s(at_ms), audience=f"{SITE}/{DOOR}", nonce=NONCE))
        self.add(at_ms, "exchange", code.hex(), READER, nonce.hex(), 5, 1)

    def card(self, at_ms: int) -> None:
        self.order(at_ms, pin_below=Assurance.ROTATING, pin_attempts=2)
        for turn in range(self.random.choice([1, 3])):
            start_ms = at_ms + 1_000 + turn * 10_000
            self.add(start_ms, "tap", CARD.hex(), READER, int(Form.CARD_MESSAGE), "", 20, 1)
            self.add(
                start_ms + 2_000, "pin", READER, "1234", self.random.choice(["right", "wrong", "wrong", "duress"]), 300
            )
        self.order(at_ms + 60_000)

    def guest(self, at_ms: int) -> None:
        self.wallet(at_ms, self.random.choice(GUESTS))
        if self.random.random() < 0.7:
            self.wallet(at_ms + 4_000, 7)
            self.opens(at_ms + 8_000, 3_000)

    def two_people(self, at_ms: int) -> None:
        self.order(at_ms, two_person=True)
        self.wallet(at_ms + 1_000, 2)
        if self.random.random() < 0.7:
            self.wallet(at_ms + 3_000, self.random.choice([2, 3, 7]))
        self.order(at_ms + 45_000)

    def staff_twice(self, at_ms: int) -> None:
        self.order(at_ms, double_tap_ms=20_000)
        for after_ms in (1_000, 16_000):
            self.wallet(at_ms + after_ms, 7)
        self.opens(at_ms + 40_000, 30_000)
        self.order(at_ms + 90_000)

    def way_out(self, at_ms: int) -> None:
        self.line(at_ms, InputLine.REX, OPEN)
        self.line(at_ms + self.random.choice([200, 4_999, 12_000]), InputLine.REX, CLOSED)
        self.opens(at_ms + 900, self.random.choice([2_000, 20_000]))

    # what doors, wires and machines do

    def held_or_forced(self, at_ms: int) -> None:
        self.opens(at_ms, self.random.choice([3_000, 19_999, 20_000, 30_000, 45_000]))

    def broken(self, at_ms: int) -> None:
        line = self.random.choice(list(InputLine))
        self.line(at_ms, line, self.random.choice(list(LineState)))
        self.line(at_ms + 10_000, line, CLOSED)

    def bolt(self, at_ms: int) -> None:
        self.line(at_ms, InputLine.LOCK_MONITOR, OPEN)
        self.add(at_ms + 500, "lock", self.random.random() < 0.5)
        self.line(at_ms + self.random.choice([900, 5_000]), InputLine.LOCK_MONITOR, CLOSED)
        self.add(at_ms + 6_000, "lock", 1)
        self.line(at_ms + 7_000, InputLine.LOCK_MONITOR, LineState.UNKNOWN)

    def fire(self, at_ms: int) -> None:
        self.line(at_ms, InputLine.FIRE, self.random.choice([OPEN, LineState.FAULT]))
        self.passage(at_ms + 20_000)
        self.line(at_ms + 60_000, InputLine.FIRE, CLOSED)
        self.commanded(at_ms + 90_000, Action.RESET_FIRE)

    def commanded(self, at_ms: int, action: Action = Action.UNLOCK) -> None:
        self.counter += 1
        counter = self.counter - self.random.choice([0, 0, 0, 0, 1])
        target = self.random.choice([DOOR, DOOR, DOOR, DoorId("side-entrance")]) if action is Action.UNLOCK else DOOR
        data = command(
            action, counter=counter, issued_at_s=self.at_s(at_ms) - self.random.choice([0, 0, 0, 60]), target=target
        )
        self.add(at_ms, "command", data.hex(), 15)
        if action is Action.RESET_FIRE:
            self.counter += 2
            data = command(action, counter=self.counter, issued_at_s=self.at_s(at_ms + 5_000))
            self.add(at_ms + 5_000, "command", data.hex(), 15)

    def scanner_gone_mad(self, at_ms: int) -> None:
        for turn in range(30):
            self.tap(at_ms + turn * 40, b"noise".hex())

    def ordered(self, at_ms: int) -> None:
        """A mode for a while, perhaps released before its end, perhaps over a restart; then what asks the daemon."""
        moments = [(0, Action.MODE), (20_000, Action.MODE), (40_000, Action.RELEASE)]
        if self.random.random() < 0.5:
            moments.pop()
        others = (Action.REBOOT, Action.REFRESH, Action.SNAPSHOT)
        for later_ms, action in (*moments, *((60_000 + turn * 1_000, each) for turn, each in enumerate(others))):
            self.counter += 1
            mode = self.random.choice([DoorMode.LOCKED, DoorMode.UNLOCKED, DoorMode.BLOCKED])
            data = command(
                action,
                counter=self.counter,
                issued_at_s=self.at_s(at_ms + later_ms),
                mode=mode if action is Action.MODE else None,
                hold_s=self.random.choice([30, 300, 900]) if action is Action.MODE else None,
            )
            self.add(at_ms + later_ms, "command", data.hex(), 15)
            self.passage(at_ms + later_ms + 2_000)
        if self.random.random() < 0.3:
            self.restart(at_ms + 90_000)

    def forged_commands(self, at_ms: int) -> None:
        for turn in range(12):
            self.add(at_ms + turn * 40, "command", b"noise".hex(), 15)

    def noted(self, at_ms: int) -> None:
        self.add(at_ms, "noted", int(EventKind.READER_LOST))
        self.add(at_ms + 30_000, "noted", int(EventKind.READER_RESTORED))

    # what is ordered

    def spell(self, at_ms: int) -> None:
        self.order(
            at_ms,
            mode=self.random.choice(list(DoorMode)),
            relock=self.random.choice(list(RelockRule)),
            interlock=self.random.random() < 0.3,
            maintenance=self.random.random() < 0.3,
            anti_passback=self.random.choice(list(AntiPassbackRule)),
            anti_passback_s=60,
        )
        self.line(at_ms + 4_000, InputLine.INTERLOCK, self.random.choice([OPEN, CLOSED]))
        self.line(at_ms + 20_000, InputLine.INTERLOCK, CLOSED)
        for turn in range(3):
            self.wallet(at_ms + 5_000 + turn * 9_000, self.somebody())
        self.opens(at_ms + 8_000, 2_000)
        self.wallet(at_ms + 40_000, 9)
        self.order(at_ms + self.random.choice([41_000, 60_000]))

    def hours(self, at_ms: int) -> None:
        first = self.random.random() < 0.4
        self.order(at_ms, unlock_schedule=1, first_person_in=first)
        for turn in range(4):
            self.passage(at_ms + 30_000 + turn * 150_000)
        self.order(at_ms + 15 * 60_000)

    def presence_is_reset(self, at_ms: int) -> None:
        self.order(at_ms, forget_presence_before_s=self.at_s(at_ms))

    def revoked(self, at_ms: int) -> None:
        others = self.random.sample(range(HOLDERS), 2)
        self.add(
            at_ms, "status", _status(tuple(sorted({REVOKED, *others})), self.number), int(EventKind.STATUS_UPDATED)
        )
        self.wallet(at_ms + 3_000, others[0])
        self.add(at_ms + 60_000, "status", _status((REVOKED,), self.number), None)

    def clock_is_set(self, at_ms: int) -> None:
        self.add(at_ms, "clock", self.random.choice([-3_600_000, -60_000, -20_000, 20_000, 60_000, 3_600_000]), 0, 0)
        self.passage(at_ms + 5_000)
        self.add(at_ms + 60_000, "clock", 0, 0, 0)

    def clock_is_not_believed(self, at_ms: int) -> None:
        state = self.random.choice([ClockState.HOLDOVER, ClockState.SUSPECT])
        self.add(at_ms, "clock", 0, int(state), self.random.choice([0, 5_000, 200_000]))
        self.passage(at_ms + 5_000)
        self.paper(at_ms + 20_000)
        self.bound(at_ms + 40_000)
        self.add(at_ms + 60_000, "clock", 0, 0, 0)

    def restart(self, at_ms: int) -> None:
        self.passage(at_ms - 1_000)
        self.add(at_ms, "restart")
        self.told(at_ms + 1)

    def told(self, at_ms: int) -> None:
        """What a daemon loads when it starts."""
        self.add(at_ms, "status", _status((REVOKED,), self.number), None)
        self.add(at_ms, "roster", 1)
        self.order(at_ms)
        for line in InputLine:
            if line is not InputLine.LOCK_MONITOR:
                self.line(at_ms, line, CLOSED)


_SCENES: list[tuple[Callable[[Day, int], None], int]] = [
    (Day.passage, 14),
    (Day.queue, 3),
    (Day.refused, 5),
    (Day.paper, 3),
    (Day.bound, 2),
    (Day.card, 2),
    (Day.guest, 3),
    (Day.two_people, 2),
    (Day.staff_twice, 1),
    (Day.way_out, 5),
    (Day.held_or_forced, 3),
    (Day.broken, 3),
    (Day.bolt, 2),
    (Day.fire, 1),
    (Day.commanded, 2),
    (Day.ordered, 1),
    (Day.scanner_gone_mad, 1),
    (Day.forged_commands, 1),
    (Day.noted, 1),
    (Day.spell, 5),
    (Day.hours, 1),
    (Day.presence_is_reset, 1),
    (Day.revoked, 2),
    (Day.clock_is_set, 3),
    (Day.clock_is_not_believed, 2),
    (Day.restart, 2),
]
SCENES_A_DAY = 16


def generate(random: Random, number: int) -> str:
    """One day, as JSON: its moments in the order of their time."""
    day = Day(random, number)
    day.told(0)
    scenes, weights = zip(*_SCENES, strict=True)
    for scene in random.choices(scenes, weights, k=SCENES_A_DAY):
        scene(day, random.randrange(60_000, DAY_MS - 20 * 60_000))
    return json.dumps(sorted(day.moments, key=lambda moment: moment[0]))
