"""A GPIO chip of the kernel's simulator (gpio-sim): lines that a test pulls, and whose value it reads back."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

_CONFIGS = Path("/sys/kernel/config/gpio-sim")
_NUMBERS = itertools.count()


class GpioSim:
    """One chip of 32 lines, of which some have names."""

    def __init__(self, names: dict[int, str] | None = None) -> None:
        self._config = _CONFIGS / f"doorward-{next(_NUMBERS)}"
        self._bank = self._config / "bank"
        self._bank.mkdir(parents=True)
        (self._bank / "num_lines").write_text("32")
        self._names = names or {}
        for line, name in self._names.items():
            (self._bank / f"line{line}").mkdir()
            (self._bank / f"line{line}" / "name").write_text(name)
        (self._config / "live").write_text("1")
        self.chip = (self._bank / "chip_name").read_text().strip()
        device = (self._config / "dev_name").read_text().strip()
        self._lines = Path("/sys/devices/platform") / device / self.chip

    @property
    def path(self) -> str:
        return f"/dev/{self.chip}"

    def pull(self, line: int, level: int) -> None:
        """Let the outside world pull a line."""
        (self._lines / f"sim_gpio{line}" / "pull").write_text("pull-up" if level else "pull-down")

    def value(self, line: int) -> str:
        """Return the level that a line has."""
        return (self._lines / f"sim_gpio{line}" / "value").read_text().strip()

    def remove(self) -> None:
        """Unplug the chip."""
        with contextlib.suppress(OSError):
            (self._config / "live").write_text("0")
        for line in self._names:
            (self._bank / f"line{line}").rmdir()
        self._bank.rmdir()
        self._config.rmdir()
