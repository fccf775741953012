"""What the core asks the shell to do."""

from enum import Enum


class Feedback(Enum):
    """What the person at the door learns: the reason class, never details (behaviour, product rule 5)."""

    GRANTED = "granted"
    DENIED_EXPIRED = "denied_expired"
    DENIED_NOT_NOW = "denied_not_now"
    DENIED_NOT_HERE = "denied_not_here"
    TRY_AGAIN = "try_again"
    WAIT = "wait"
