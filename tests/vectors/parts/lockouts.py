"""Vectors of the guard against locking everybody out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.vectors.parts.kit import AT, DAY_S, POLICY, accepted, collection, refused
from tests.vectors.parts.policies import KEY, NOBODY
from wire.errors import WireReason
from wire.names import DoorMode
from wire.policy import ALL_DAYS, ALWAYS, PolicyBundle, Schedule, Window, seal_policy
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from tests.vectors.parts.kit import Case, Json

_TODAY: Final = AT // DAY_S
_MONDAYS: Final = Window(0b0000001, 0, 1440)
_WHOLE: Final = (Window(ALL_DAYS, 0, 1440),)
_HELD: Final = replace(NOBODY, version=1, issued_at_s=AT - DAY_S, levels={1: (ALWAYS,), 2: (ALWAYS,)})
_NEXT: Final = replace(_HELD, version=2, issued_at_s=AT)
_EMPTY: Final = replace(_NEXT, levels={})
_OTHERS: Final = replace(_NEXT, levels={3: (ALWAYS,)})


def lockouts() -> dict[str, Json]:
    """lockout.json."""
    return collection(
        "Policy bundles under context.key for a door that holds context.held, or none: which are put in force.",
        "docs/spec/policy.md, rules 13 to 15",
        [*_new_doors(), *_later_versions()],
    )


def _moded(bundle: PolicyBundle, mode: DoorMode) -> PolicyBundle:
    return replace(bundle, settings=DoorSettings(mode=mode))


def _by(schedule: Schedule, *holidays: int) -> PolicyBundle:
    return replace(_NEXT, levels={1: (5,)}, schedules={5: schedule}, holidays=frozenset(holidays))


def _on(weekday: int) -> Schedule:
    """Active on holidays that are this day of the week; 0 is Monday, as the day of the vectors is."""
    return Schedule((), (Window(1 << weekday, 0, 1440),))


def _unlocking(schedule: Schedule, *, first_person_in: bool = False, mode: DoorMode = DoorMode.LOCKED) -> PolicyBundle:
    settings = DoorSettings(unlock_schedule=5, first_person_in=first_person_in, mode=mode)
    return replace(_EMPTY, settings=settings, schedules={5: schedule})


def _new_doors() -> list[Case]:
    week, single = Schedule((_MONDAYS,)), Schedule((), exceptions={_TODAY - 1: _WHOLE})
    over, holiday = _by(Schedule((), exceptions={_TODAY - 2: _WHOLE})), _on(0)
    admits: dict[str, PolicyBundle] = {
        "a level always": _NEXT,
        "a level on Mondays": _by(week),
        "one level of two, by the second of its schedules": replace(_by(Schedule(())), levels={1: (), 2: (5, ALWAYS)}),
        "a level on a holiday to come, a Monday": _by(holiday, _TODAY + 7),
        "a level on a holiday that may not be over everywhere, a Sunday": _by(_on(6), _TODAY - 1),
        "a level on a single day that may not be over everywhere": _by(single),
        "a level on a single day, a second before it is over": replace(over, issued_at_s=_TODAY * DAY_S - 1),
        "nobody, but unlocked": _moded(_EMPTY, DoorMode.UNLOCKED),
        "nobody, but unlocked on Mondays": _unlocking(week),
        "nobody, as a person ordered": replace(_EMPTY, locks_out=True),
        "blocked, as a person ordered": replace(_moded(_NEXT, DoorMode.BLOCKED), locks_out=True),
    }
    locks: dict[str, PolicyBundle] = {
        "no level": _EMPTY,
        "a level without schedules": replace(_NEXT, levels={1: ()}),
        "blocked": _moded(_NEXT, DoorMode.BLOCKED),
        "locked down": _moded(_NEXT, DoorMode.LOCKED_DOWN),
        "a schedule without windows": _by(Schedule(())),
        "a schedule that is closed on its only day": _by(Schedule((), exceptions={_TODAY: ()})),
        "a level on a single day that is over": over,
        "a level on a single day, as soon as it is over": replace(over, issued_at_s=_TODAY * DAY_S),
        "a level on holidays, and there are none": _by(holiday),
        "a level on a holiday that is over, a Saturday": _by(_on(5), _TODAY - 2),
        "a level on Mondays that are holidays, and it is a Tuesday": _by(holiday, _TODAY + 8),
        "a level on a holiday that is an exception": _by(replace(holiday, exceptions={_TODAY: ()}), _TODAY),
        "unlocked on Mondays after the first person, and there is none": _unlocking(week, first_person_in=True),
        "unlocked on Mondays, and blocked": _unlocking(week, mode=DoorMode.BLOCKED),
        "unlocked by a schedule without windows": _unlocking(Schedule(())),
    }
    return [
        *(_accepted(f"new door: {name}", bundle) for name, bundle in admits.items()),
        *(_refused(f"new door: {name}", bundle, "policy") for name, bundle in locks.items()),
    ]


def _later_versions() -> list[Case]:
    blocked = _moded(_HELD, DoorMode.BLOCKED)
    one_of_before = replace(_NEXT, levels={2: (ALWAYS,), 3: (ALWAYS,)})
    by_other_windows = replace(_by(Schedule((_MONDAYS,))), levels={1: (5,), 3: (ALWAYS,)})
    one_day = replace(_HELD, levels={1: (5,)}, schedules={5: Schedule((), exceptions={_TODAY - 1: _WHOLE})})
    over = replace(one_day, schedules={5: Schedule((), exceptions={_TODAY - 2: _WHOLE})})
    of_before_only_named = replace(_NEXT, levels={1: (), 2: (), 3: (ALWAYS,)})
    accepted_: dict[str, tuple[PolicyBundle, PolicyBundle]] = {
        "one level of before": (one_of_before, _HELD),
        "one level of before, by other windows": (by_other_windows, _HELD),
        "no level of before, as a person ordered": (replace(_OTHERS, locks_out=True), _HELD),
        "no level of before, but unlocked": (_moded(_OTHERS, DoorMode.UNLOCKED), _HELD),
        "other levels after nobody": (_OTHERS, replace(_HELD, levels={})),
        "other levels after blocked": (_OTHERS, blocked),
        "other levels after one on a single day that is over": (_OTHERS, over),
        "other levels after a version that was missed": (replace(_OTHERS, version=3), _HELD),
    }
    refused_: dict[str, tuple[PolicyBundle, PolicyBundle, str]] = {
        "no level of before": (_OTHERS, _HELD, "policy.levels"),
        "no level of before, on a single day that may not be over everywhere": (_OTHERS, one_day, "policy.levels"),
        "levels of before that admit no more": (of_before_only_named, _HELD, "policy.levels"),
        "no level of before, unlocked on Mondays": (_unlocking(Schedule((_MONDAYS,))), _HELD, "policy.levels"),
        "no level of before, when all were free": (_OTHERS, _moded(_HELD, DoorMode.UNLOCKED), "policy.levels"),
        "nobody after a version that was missed": (replace(_EMPTY, version=3), _HELD, "policy"),
        "nobody after nobody": (_EMPTY, replace(_HELD, levels={}, locks_out=True), "policy"),
    }
    return [
        *(_accepted(f"held: {name}", newer, held) for name, (newer, held) in accepted_.items()),
        *(_refused(f"held: {name}", newer, field, held) for name, (newer, held, field) in refused_.items()),
    ]


def _accepted(name: str, bundle: PolicyBundle, held: PolicyBundle | None = None) -> Case:
    return accepted(name, seal_policy(bundle, POLICY), {"version": bundle.version}, **_context(held))


def _refused(name: str, bundle: PolicyBundle, field: str, held: PolicyBundle | None = None) -> Case:
    return refused(name, seal_policy(bundle, POLICY), WireReason.LOCKS_OUT, field, **_context(held))


def _context(held: PolicyBundle | None) -> dict[str, Json]:
    return {**KEY} if held is None else {**KEY, "held": seal_policy(held, POLICY).hex()}
