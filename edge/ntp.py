"""Is this machine's clock disciplined by NTP? Asked without the right to set it.

Invariant: anything that cannot be read counts as "no".
Must not: need a system call that the service's confinement refuses (systemd/doorward-edge.service: ProtectClock).
"""

import ctypes
import time
from pathlib import Path
from typing import Final

TIMESYNC_FLAG: Final = Path("/run/systemd/timesync/synchronized")
"""Touched at each successful synchronisation (systemd-timesyncd.service(8), FILES)."""
TIMESYNC_FRESH_S: Final = 2 * 2_048 + 60
"""Two of the longest pauses between polls (timesyncd.conf(5), PollIntervalMaxSec) and a minute: one may fail."""

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 512  # struct timex is 208 bytes on 64-bit Linux


def ntp_synchronised(*, flag: Path = TIMESYNC_FLAG) -> bool:
    """Tell whether the system's time is disciplined, by the kernel or, where it may not be asked, by timesyncd.

    Args:
        flag: the file that the time service touches.
    """
    state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    return state < _TIME_ERROR if state >= 0 else recently_touched(flag, now_s=time.time())


def recently_touched(flag: Path, *, now_s: float) -> bool:
    """Tell whether a file was touched within `TIMESYNC_FRESH_S`; a date in the future does not count.

    Args:
        flag: the file.
        now_s: Unix seconds.
    """
    try:
        touched_s = flag.stat().st_mtime
    except OSError:
        return False
    return 0 <= now_s - touched_s <= TIMESYNC_FRESH_S
