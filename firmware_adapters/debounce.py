"""Take a change of an input that is looked at again and again only when it lasts.

Pure: the adapter reads the clock. GPIO chips do this in the kernel; files, converters and boards on a bus need it.
Invariant: a change that lasts is told after `lasting_ms` at the latest, plus one look.
"""

from collections.abc import Mapping

from edge.ports import InputChange, InputLine, LineState

# The exit button and fire are never delayed more than this, whatever is asked for the others (behaviour, Door).
MOST_FOR_EGRESS_MS = 50
_EGRESS = frozenset({InputLine.REX, InputLine.FIRE})


def debounce_ms(line: InputLine, asked_ms: int) -> int:
    """Return for how long a change of this line has to last."""
    return min(asked_ms, MOST_FOR_EGRESS_MS) if line in _EGRESS else asked_ms


class Debounce:
    """States as they are seen, in; changes, out."""

    def __init__(self, states: Mapping[InputLine, LineState], *, lasting_ms: int) -> None:
        """Begin with these states."""
        self.states = dict(states)
        self._lasting_ms = lasting_ms
        self._since: dict[InputLine, tuple[LineState, int]] = {}

    def look(self, seen: Mapping[InputLine, LineState], *, at_ms: int) -> list[InputChange]:
        """Take the states as they are at `at_ms` and return the changes that have lasted until then."""
        changes: list[InputChange] = []
        for line, state in seen.items():
            if state is self.states[line]:
                self._since.pop(line, None)
                continue
            candidate, since_ms = self._since.get(line, (None, at_ms))
            if candidate is not state:
                since_ms = at_ms
                self._since[line] = (state, since_ms)
            if at_ms - since_ms >= debounce_ms(line, self._lasting_ms):
                del self._since[line]
                self.states[line] = state
                changes.append(InputChange(line, state, at_ms))
        return changes
