"""Which lines the inputs of a bench have, by what a test does with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.ports import InputLine


@dataclass(frozen=True, slots=True)
class Wires:
    """The lines of one bench.

    Attributes:
        door: what opens and closes.
        alarm: what is raised.
        button: what is pressed and let go; None where there is none.
    """

    door: InputLine
    alarm: InputLine
    button: InputLine | None = None

    @property
    def lines(self) -> tuple[InputLine, ...]:
        """All of them."""
        return (self.door, self.alarm) if self.button is None else (self.door, self.alarm, self.button)


DOOR: Final = Wires(InputLine.CONTACT, InputLine.FIRE, InputLine.REX)
READER_CASE: Final = Wires(InputLine.TAMPER, InputLine.POWER)
