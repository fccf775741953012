"""What an OSDP reader shows for each class of reason: colour, beeps and one line of text.

Pure: a table, and the commands that carry it (IEC 60839-11-5, osdp_LED, osdp_BUZ, osdp_TEXT).
Invariant: every command ends by itself, so a reader whose line is cut does not go on saying "welcome".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

from edge.ports import Capability, Feedback

Command: TypeAlias = dict[str, int | str | bool]

# How long a message stays; the unit of LED and buzzer times is 100 ms, that of text one second.
SHOWN_S = 3
BLINK_TENTHS = 2
BEEP_TENTHS = 1

_LED, _BUZZER, _TEXT = 2, 3, 4
_SET_TEMPORARY = 2
_DEFAULT_TONE = 2
_TEMPORARY_TEXT = 3


class Colour(IntEnum):
    """The colours of osdp_LED."""

    NONE = 0
    RED = 1
    GREEN = 2
    AMBER = 3
    BLUE = 4


@dataclass(frozen=True, slots=True)
class Signal:
    """One class of reason.

    Args:
        colour: of the LED.
        blinks: whether it blinks.
        beeps: how often the buzzer sounds.
        text: one line of at most 16 characters, what the smallest displays show.
    """

    colour: Colour
    blinks: bool
    beeps: int
    text: str


SIGNALS: Mapping[Feedback, Signal] = MappingProxyType(
    {
        Feedback.GRANTED: Signal(Colour.GREEN, blinks=False, beeps=1, text="WELCOME"),
        Feedback.DENIED_EXPIRED: Signal(Colour.RED, blinks=False, beeps=3, text="PASS EXPIRED"),
        Feedback.DENIED_NOT_NOW: Signal(Colour.RED, blinks=False, beeps=3, text="NOT AT THIS TIME"),
        Feedback.DENIED_NOT_HERE: Signal(Colour.RED, blinks=False, beeps=3, text="NOT AT THIS DOOR"),
        Feedback.TRY_AGAIN: Signal(Colour.AMBER, blinks=True, beeps=2, text="PLEASE TRY AGAIN"),
        Feedback.WAIT: Signal(Colour.AMBER, blinks=False, beeps=0, text="PLEASE WAIT"),
        Feedback.ENTER_PIN: Signal(Colour.BLUE, blinks=True, beeps=1, text="ENTER YOUR PIN"),
        Feedback.NEXT_PERSON: Signal(Colour.GREEN, blinks=True, beeps=1, text="NEXT PERSON"),
    },
)


def commands(feedback: Feedback, capabilities: Collection[Capability]) -> list[Command]:
    """Return the commands that show a class of reason with what the reader has; the most telling comes first."""
    signal = SIGNALS[feedback]
    found: list[Command] = []
    if Capability.LED in capabilities:
        found.append(_led(signal))
    if Capability.BUZZER in capabilities and signal.beeps:
        found.append(_buzzer(signal))
    if Capability.DISPLAY in capabilities:
        found.append(_text(signal))
    return found


def _led(signal: Signal) -> Command:
    return {
        "command": _LED,
        "reader": 0,
        "led_number": 0,
        "temporary": True,
        "control_code": _SET_TEMPORARY,
        "on_color": int(signal.colour),
        "off_color": int(Colour.NONE),
        "on_count": BLINK_TENTHS,
        "off_count": BLINK_TENTHS if signal.blinks else 0,
        "timer_count": SHOWN_S * 10,
    }


def _buzzer(signal: Signal) -> Command:
    return {
        "command": _BUZZER,
        "reader": 0,
        "control_code": _DEFAULT_TONE,
        "on_count": BEEP_TENTHS,
        "off_count": BEEP_TENTHS,
        "rep_count": signal.beeps,
    }


def _text(signal: Signal) -> Command:
    return {
        "command": _TEXT,
        "reader": 0,
        "control_code": _TEMPORARY_TEXT,
        "temp_time": SHOWN_S,
        "offset_row": 1,
        "offset_col": 1,
        "data": signal.text,
    }
