"""What an address says of one input: which line it is, and what its circuit means.

Pure. `contact=17`, `rex=DOOR_REX,no`, `fire=7,nc,up`: the number or name of a line, then whether the circuit is closed
(nc) or open (no) while nothing is the matter, then what pulls the line when the circuit is open.

Invariant: a line means ACTIVE as `edge.ports.LineState` defines it for its kind, whatever its wiring.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from edge.ports import InputLine, InputsError, LineState, Reason
from firmware_adapters.address import Address


class Bias(Enum):
    """What pulls a line while its circuit is open."""

    UP = "up"  # to the supply: the circuit closes it to ground
    DOWN = "down"  # to ground: the circuit closes it to the supply
    NONE = "none"  # a resistor outside, to the supply


@dataclass(frozen=True, slots=True)
class LineSpec:
    """One input.

    Args:
        line: the number or name of its line.
        closed_at_rest: whether its circuit is closed while nothing is the matter.
        bias: what pulls the line.
    """

    line: str
    closed_at_rest: bool
    bias: Bias

    def state(self, level: int) -> LineState:
        """Return what an electrical level, 0 or 1, means."""
        closed = (level == 1) is (self.bias is Bias.DOWN)
        return LineState.INACTIVE if closed is self.closed_at_rest else LineState.ACTIVE


# How each kind is usually wired, as the catalogue tells it. Where a cut wire must not go unnoticed the circuit is
# closed at rest.
_CLOSED_AT_REST: Mapping[InputLine, bool] = MappingProxyType(
    {
        InputLine.CONTACT: True,
        InputLine.REX: False,
        InputLine.FIRE: True,
        InputLine.LOCK_MONITOR: True,
        InputLine.INTERLOCK: True,
        InputLine.TAMPER: True,
        InputLine.POWER: True,
    },
)


def specs(address: Address) -> dict[InputLine, LineSpec]:
    """Return the inputs that an address names, in the order of `InputLine`."""
    return {line: _spec(line, text) for line in InputLine if (text := address.texts[line.value])}


def named_specs(address: Address) -> dict[InputLine, LineSpec]:
    """Return the inputs that an address names.

    Raises:
        InputsError: it names none, or one line twice.
    """
    found = specs(address)
    lines = [spec.line for spec in found.values()]
    if not found or len(set(lines)) < len(lines):
        raise InputsError(
            Reason.UNSUPPORTED,
            what=f"the inputs {address.url!r} name {'one line twice' if found else 'no line'}",
            remedy="give each input a line of its own, as in contact=17&rex=27",
        )
    return found


def _spec(line: InputLine, text: str) -> LineSpec:
    name, *flags = text.split(",")
    circuit = next((flag == "nc" for flag in flags if flag in {"nc", "no"}), _CLOSED_AT_REST[line])
    bias = next((Bias(flag) for flag in flags if flag not in {"nc", "no"}), Bias.UP)
    return LineSpec(name, circuit, bias)
