"""The policy bundle that vectors start from, and what builds others of raw CBOR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import (
    AT,
    DOOR,
    FALSE,
    POLICY,
    TENANT,
    array,
    cose_key,
    header,
    mapping,
    num,
    pairs,
    sign1,
    text,
)
from wire.names import Assurance, DoorId, ExternalAad, Tenant
from wire.policy import ALL_DAYS, ALWAYS, Area, AssuranceHours, Passage, PolicyBundle, Schedule, Window

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Entries
    from wire.keys import Signer

KEY: Final = {"key": cose_key(POLICY.public_key).hex()}
_WEEKDAYS: Final = Schedule(
    (Window(0b0011111, 7 * 60, 19 * 60),), exceptions={20_545: (Window(ALL_DAYS, 9 * 60, 12 * 60),)}
)
_NIGHTS: Final = Schedule(
    windows=(Window(ALL_DAYS, 0, 6 * 60), Window(ALL_DAYS, 22 * 60, 24 * 60)),
    holiday_windows=(Window(ALL_DAYS, 0, 24 * 60),),
)
USUAL: Final = PolicyBundle(
    tenant=Tenant(TENANT),
    door=DoorId(DOOR),
    version=17,
    issued_at_s=AT - 86_400,
    timezone="Europe/Vienna",
    levels={1: (3,), 7: (ALWAYS,)},
    schedules={3: _WEEKDAYS, 5: _NIGHTS},
    holidays=frozenset({20_515, 20_549}),
    assurance_hours=(AssuranceHours(5, Assurance.NONCE_BOUND),),
    passages={"outside": Passage(0, 1), "inside": Passage(1, 0)},
    areas={1: Area(200, 180)},
)
NOBODY: Final = PolicyBundle(
    tenant=USUAL.tenant,
    door=USUAL.door,
    version=USUAL.version,
    issued_at_s=USUAL.issued_at_s,
    levels={},
    schedules={},
)


def window(days: bytes | None = None, start: bytes | None = None, end: bytes | None = None) -> bytes:
    """A window of the usual schedule, some of its parts replaced."""
    return array(days or num(0b0011111), start or num(7 * 60), end or num(19 * 60))


def schedule(*windows: bytes, exceptions: bytes | None = None) -> bytes:
    """Schedules of which there is one, the third."""
    return mapping({3: array(array(*windows), array(), exceptions or mapping({}))})


_MORNING: Final = window(num(ALL_DAYS), num(9 * 60), num(12 * 60))
_NUMBERS: Final = {
    1: 0,
    2: 3,
    3: 86_400,
    4: 0,
    5: 14_400,
    6: 0,
    7: 5_000,
    8: 15_000,
    9: 30_000,
    10: 10_000,
    11: 2,
    12: 0,
    14: 0,
    17: 0,
    18: 0,
    19: 0,
    20: 0,
    22: 1,
    23: 30_000,
    24: 0,
    25: 3,
    26: 300,
    27: 0,
}
_FLAGS: Final = (13, 15, 16, 21)


def settings(changes: Entries | None = None) -> bytes:
    """The default settings, some replaced, added or left out."""
    entries = {key: num(value) for key, value in _NUMBERS.items()}
    return mapping({**entries, **dict.fromkeys(_FLAGS, FALSE)}, changes)


def claims(changes: Entries | None = None) -> bytes:
    """The usual claims with one schedule, some replaced, added or left out."""
    entries = {
        1: text(TENANT),
        2: text(DOOR),
        3: num(17),
        4: num(USUAL.issued_at_s),
        5: text("Europe/Vienna"),
        6: settings(),
        7: mapping({1: array(num(3)), 7: array(num(0))}),
        8: schedule(window(), exceptions=mapping({20_545: array(_MORNING)})),
        9: array(num(20_515), num(20_549)),
        10: array(array(num(3), num(4))),
        11: pairs((text("inside"), array(num(1), num(0))), (text("outside"), array(num(0), num(1)))),
        12: mapping({1: array(num(200), num(180))}),
        13: FALSE,
    }
    return mapping(entries, changes)


def policy(changes: Entries | None = None, *, signer: Signer = POLICY, aad: ExternalAad = ExternalAad.POLICY) -> bytes:
    """A signed bundle of those claims."""
    return sign1(header(POLICY), claims(changes), signer, aad)
