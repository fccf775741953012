"""What the voltage of a supervised circuit says: closed, open, shorted or cut.

Pure. Three equal resistors: one pulls the input up to the reference, one lies in series with the contact, one across it
(both at the contact's end of the cable). Closed gives 1/2 of the reference, open 2/3, a short 0, a cut wire all of it.
Invariant: a voltage that the resistors cannot make is a FAULT, never a state of the door.
"""

from edge.ports import LineState

# Half way between what the four circuits give, so that resistors of 5 % and long cables are told apart.
_SHORT_BELOW, _CLOSED_BELOW, _OPEN_BELOW = 1 / 4, 7 / 12, 5 / 6


def circuit_state(millivolts: float, *, reference_mv: int, closed_at_rest: bool) -> LineState:
    """Return what a voltage means for a contact that is closed, or open, at rest."""
    share = millivolts / reference_mv
    if share < _SHORT_BELOW or share >= _OPEN_BELOW:
        return LineState.FAULT
    closed = share < _CLOSED_BELOW
    return LineState.INACTIVE if closed is closed_at_rest else LineState.ACTIVE
