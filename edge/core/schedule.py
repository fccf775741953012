"""Schedules: is this local minute inside?

Invariant: windows are read in the door's local time, so that 08:00 stays 08:00 across a change of summer time.
"""

from datetime import date, datetime, tzinfo
from typing import Final

from wire.policy import Schedule, Window

_EPOCH: Final = date(1970, 1, 1).toordinal()


def is_active(schedule: Schedule, holidays: frozenset[int], local: datetime) -> bool:
    """Tell whether a schedule admits at a local time: by that day's exception, else by its holiday or usual windows."""
    day = local.toordinal() - _EPOCH
    windows = schedule.exceptions.get(day)
    if windows is None:
        windows = schedule.holiday_windows if day in holidays else schedule.windows
    minute = local.hour * 60 + local.minute
    return any(_inside(window, local.weekday(), minute) for window in windows)


def _inside(window: Window, weekday: int, minute: int) -> bool:
    return window.days >> weekday & 1 == 1 and window.start_minute <= minute < window.end_minute


def local_time(wall_ms: int, zone: tzinfo) -> datetime:
    """Give the local time of a Unix millisecond."""
    return datetime.fromtimestamp(wall_ms / 1000, zone)
