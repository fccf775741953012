"""What the machine says of itself: memory, disk, load, temperature.

Invariant: whole numbers in plain units; what this machine does not tell is left out.
Must not: fail, or take long.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

_MB: Final = 1_000_000
_THERMAL: Final = Path("/sys/class/thermal/thermal_zone0/temp")
_STATM: Final = Path("/proc/self/statm")


def measure(state_folder: Path) -> dict[str, int]:
    """Measure this process and its machine.

    Args:
        state_folder: on the disk that matters.

    Returns:
        rss_mb (memory of this process), disk_free_mb, load_percent (of all processors, last minute), temperature_c.
    """
    found: dict[str, int] = {}
    for name, look in _LOOKS.items():
        with suppress(OSError, ValueError, IndexError):
            found[name] = look(state_folder)
    return found


def _rss_mb(_: Path) -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // _MB


def _disk_free_mb(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize // _MB


def _load_percent(_: Path) -> int:
    return round(100 * os.getloadavg()[0] / (os.cpu_count() or 1))


def _temperature_c(_: Path) -> int:
    return round(int(_THERMAL.read_text()) / 1000)


_LOOKS: Final = MappingProxyType[str, Callable[[Path], int]](
    {
        "rss_mb": _rss_mb,
        "disk_free_mb": _disk_free_mb,
        "load_percent": _load_percent,
        "temperature_c": _temperature_c,
    }
)
