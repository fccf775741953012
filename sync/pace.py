"""How to ask for changes: by a long question, or often and quickly where long ones are cut.

Some networks end a connection that is silent for a few seconds. Then a long question breaks although a quick one is
answered; after two such in a row the loop polls, and tries a long one again every ten minutes.

Invariant: an unanswered quick question proves nothing about long ones.
Must not: read a clock.
"""

from dataclasses import dataclass
from typing import Final

LONG_WAIT_S: Final = 25
"""Below the 30 s after which common proxies and address translators forget a silent connection."""
POLL_S: Final = 30.0
POLL_ROUNDS: Final = 20
_CUTS_UNTIL_POLLING: Final = 2


@dataclass(frozen=True, slots=True)
class PullPace:
    """What the loop has learned about this network.

    Attributes:
        quick_left: quick questions before the next long one. It starts with one: a door shall know at once
            whether it is connected.
        cut: long questions in a row that broke although a quick one is answered.
    """

    quick_left: int = 1
    cut: int = 0

    @property
    def wait_s(self) -> int:
        """How long the next question lets the cloud wait for a change."""
        return LONG_WAIT_S if self.quick_left == 0 else 0

    @property
    def polling(self) -> bool:
        """Tell whether long questions are being avoided."""
        return self.cut >= _CUTS_UNTIL_POLLING and self.quick_left > 0

    def answered(self) -> "PullPace":
        """Note an answer."""
        return PullPace(0, 0) if self.quick_left == 0 else PullPace(self.quick_left - 1, self.cut)

    def hurried(self) -> "PullPace":
        """Make the next question a quick one."""
        return PullPace(max(1, self.quick_left), self.cut)

    def broke(self) -> "PullPace":
        """Note a question without answer."""
        if self.quick_left > 0:
            return PullPace(1, 0)
        cut = self.cut + 1
        return PullPace(POLL_ROUNDS if cut >= _CUTS_UNTIL_POLLING else 1, cut)

    def pause_s(self, *, asked_s: int, changed: bool, elapsed_s: float) -> float:
        """Give the wait between an answer and the next question; called on the state after `answered`.

        Args:
            asked_s: how long the question allowed the cloud to wait.
            changed: the answer brought something; what else is new is asked for at once.
            elapsed_s: how long the answer took. A cloud that answers early and has nothing is not asked more often.
        """
        if self.polling:
            return POLL_S
        return 0.0 if changed else max(0.0, asked_s - elapsed_s)
