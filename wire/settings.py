"""The settings of one door, as a policy bundle carries them (docs/spec/policy.md).

Invariant: every setting is present and within its range, so that no door ever guesses one.
Must not: behave; what a setting does is in docs/behaviour.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from wire.codec import MAX_TIME_S, Fields, Value, flag, member, uint
from wire.errors import WireError, WireReason
from wire.names import AntiPassbackRule, Assurance, DoorMode, RelockRule, StalenessRule, SuspectRule

MAX_SCHEDULE: Final = 0xFFFF
MAX_ESCORTS: Final = 2
MAX_MS: Final = 3_600_000
MAX_AGE_S: Final = 90 * 86_400
MAX_COUNT: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """How one door behaves (docs/behaviour.md); times in milliseconds unless the name says otherwise.

    Attributes:
        unlock_schedule: while it is active the door rests unlocked; 0 for none.
        first_person_in: that begins only with a first grant.
        maintenance: alarms are journaled and sound nowhere.
        interlock: nobody is admitted while the door that this one is paired with is open.
        lock_time_ms: how long the bolt may take to follow an order, by the lock monitor; 0 when there is none.
        anti_passback_s: for TIMED, how long after one grant the same holder is refused; never 0 then.
        forget_presence_before_s: who was where is forgotten if it was noted before this moment.
        double_tap_ms: two grants of one staff pass within this time keep the door unlocked, or end that; 0 for never.
        escorts: how many hosts a visitor needs; 0 for none.
        companion_ms: how long a door waits for a PIN, a second person or an escort.
        pin_below: credentials weaker than this need a PIN; IDENTIFIER for never.
        pin_attempts: wrong PINs of one credential after which none is taken for `pin_block_s`.
        printed_uses: how often one printed pass opens this door; 0 for any number.
    """

    mode: DoorMode = DoorMode.LOCKED
    minimum_assurance: Assurance = Assurance.ROTATING
    max_revocation_age_s: int = 86_400
    staleness: StalenessRule = StalenessRule.DENY
    recently_issued_s: int = 14_400
    suspect: SuspectRule = SuspectRule.DENY
    release_time_ms: int = 5_000
    extended_release_time_ms: int = 15_000
    open_time_ms: int = 30_000
    pre_alarm_ms: int = 10_000
    relock: RelockRule = RelockRule.ON_CLOSE
    unlock_schedule: int = 0
    first_person_in: bool = False
    double_tap_ms: int = 0
    maintenance: bool = False
    interlock: bool = False
    lock_time_ms: int = 0
    anti_passback: AntiPassbackRule = AntiPassbackRule.OFF
    anti_passback_s: int = 0
    forget_presence_before_s: int = 0
    two_person: bool = False
    escorts: int = 1
    companion_ms: int = 30_000
    pin_below: Assurance = Assurance.IDENTIFIER
    pin_attempts: int = 3
    pin_block_s: int = 300
    printed_uses: int = 0


def _up_to(maximum: int) -> Callable[[Value, str], int]:
    return partial(uint, maximum=maximum)


def _of(numbers: type[IntEnum]) -> Callable[[Value, str], int]:
    return partial(member, table={int(each): each for each in numbers})


_READ: Final[tuple[tuple[str, Callable[[Value, str], int]], ...]] = (
    ("mode", _of(DoorMode)),
    ("minimum_assurance", _of(Assurance)),
    ("max_revocation_age_s", _up_to(MAX_AGE_S)),
    ("staleness", _of(StalenessRule)),
    ("recently_issued_s", _up_to(MAX_AGE_S)),
    ("suspect", _of(SuspectRule)),
    ("release_time_ms", _up_to(MAX_MS)),
    ("extended_release_time_ms", _up_to(MAX_MS)),
    ("open_time_ms", _up_to(MAX_MS)),
    ("pre_alarm_ms", _up_to(MAX_MS)),
    ("relock", _of(RelockRule)),
    ("unlock_schedule", _up_to(MAX_SCHEDULE)),
    ("first_person_in", flag),
    ("double_tap_ms", _up_to(MAX_MS)),
    ("maintenance", flag),
    ("interlock", flag),
    ("lock_time_ms", _up_to(MAX_MS)),
    ("anti_passback", _of(AntiPassbackRule)),
    ("anti_passback_s", _up_to(MAX_AGE_S)),
    ("forget_presence_before_s", _up_to(MAX_TIME_S)),
    ("two_person", flag),
    ("escorts", _up_to(MAX_ESCORTS)),
    ("companion_ms", _up_to(MAX_MS)),
    ("pin_below", _of(Assurance)),
    ("pin_attempts", _up_to(MAX_COUNT)),
    ("pin_block_s", _up_to(MAX_AGE_S)),
    ("printed_uses", _up_to(MAX_COUNT)),
)
"""Each setting, in the order of its key (1, 2, 3 …), and how it is read."""


_RULES: Final[tuple[Callable[[DoorSettings], bool], ...]] = (
    lambda item: item.release_time_ms > 0,
    lambda item: item.companion_ms > 0,
    lambda item: item.pin_attempts > 0 and item.pin_block_s > 0,
    lambda item: item.pre_alarm_ms <= item.open_time_ms,
    lambda item: item.anti_passback is not AntiPassbackRule.TIMED or item.anti_passback_s > 0,
)
"""Time to pass and to wait for companions, an end to guessing a PIN, a pre-alarm before its alarm, a time for TIMED."""


def settings_value(item: DoorSettings) -> dict[int | str, Value]:
    """Give the settings as the bundle holds them."""
    return {key: _plain(getattr(item, name)) for key, (name, _) in enumerate(_READ, start=1)}


def _plain(value: int) -> int:
    return value if isinstance(value, bool) else int(value)


def parse_settings(value: Value) -> DoorSettings:
    """Read the settings.

    Raises:
        WireError: one is missing, unknown or out of its range, or they contradict each other.
    """
    fields = Fields(value, "policy.settings")
    read = {
        name: reader(fields.value(key, name), f"policy.settings.{name}")
        for key, (name, reader) in enumerate(_READ, start=1)
    }
    fields.close()
    settings = DoorSettings(**read)  # type: ignore[arg-type]  # the table pairs each name with its reader
    if not all(rule(settings) for rule in _RULES):
        raise WireError(WireReason.OUT_OF_RANGE, "policy.settings")
    return settings
