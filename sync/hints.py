"""When to ask the cloud what is new, while a broker tells of it.

An announcement is not signed and may be a lie; it only makes the door ask. What a liar can reach is bounded both ways:
the cloud is asked by the clock whatever is announced or not, and ever less often on hints that prove vain.

Invariant: pure; time and chance are arguments.
Must not: act on what was announced.
"""

from dataclasses import dataclass, replace
from typing import Final

from wire.versions import Versions

NET_S: Final = 300.0
"""The cloud is asked at least this often: the longest that a lost announcement can go unnoticed."""
_NET_SPREAD: Final = 0.2
"""So that doors which came back together do not ask together for ever."""
_FIRST_VAIN_S: Final = 1.0
_DOUBLINGS: Final = 9
"""1 s * 2^9 = 512 s is the first pause above the longest."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What was asked, and what came of it.

    Attributes:
        session: the number of the session in which the cloud was asked last; in a new one it is asked at once, because
            announcements may have been missed between the two.
        asked_ms: when, monotonic.
        net_ms: when it is asked again without a hint.
        vain: hints in a row after which the cloud had nothing new.
    """

    session: int = 0
    asked_ms: int = 0
    net_ms: int = 0
    vain: int = 0

    def wait_s(self, *, now_ms: int, session: int, hinted: bool) -> float:
        """Give how long to wait before asking, 0 for not at all.

        Args:
            now_ms: monotonic.
            session: the number of the present one.
            hinted: something is announced that this door has not.
        """
        if session != self.session:
            return 0.0
        due_ms = min(self.net_ms, self.asked_ms + round(self._pause_s() * 1000)) if hinted else self.net_ms
        return max(0, due_ms - now_ms) / 1000

    def asked(self, *, now_ms: int, session: int, fraction: float, hinted: bool, fruitful: bool) -> "Hints":
        """Note an answer; `fraction` is random, 0 to 1."""
        vain = self.vain + 1 if hinted and not fruitful else 0 if fruitful else self.vain
        net_s = NET_S * (1 - _NET_SPREAD * fraction)
        return Hints(session=session, asked_ms=now_ms, net_ms=now_ms + round(net_s * 1000), vain=vain)

    def _pause_s(self) -> float:
        return 0.0 if self.vain == 0 else min(NET_S, _FIRST_VAIN_S * 2.0 ** min(self.vain - 1, _DOUBLINGS))


def with_taken_commands(offered: Versions, held: Versions) -> Versions:
    """Compare what can be: what was taken of commands stays taken, and the cloud tells of those that still hold."""
    return replace(offered, commands=max(offered.commands, held.commands))
