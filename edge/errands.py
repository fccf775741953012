"""What a command asks of the daemon beyond its door: to be started again, to ask the cloud, to take pictures.

Invariant: every errand returns at once; nothing of it delays the door.
Must not: decide whether it is done.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edge.core.effects import AskCloud, Errand, Restart, TakePictures

ANSWER_S: Final = 1.0
"""Between an order to start again and its being carried out: the answer is durable, and may still reach who asked."""


@dataclass(slots=True)
class Errands:
    """The errands of one daemon; the daemon fills in what it has.

    Attributes:
        restart: set when the daemon is to end, so that it is started again.
        ask_cloud: asks the cloud what is new.
        take_pictures: has pictures kept under an event's number.
    """

    restart: asyncio.Event = field(default_factory=asyncio.Event)
    ask_cloud: Callable[[], None] = lambda: None
    take_pictures: Callable[[int], None] = lambda _: None

    def run(self, errand: Errand) -> None:
        """Run an errand."""
        match errand:
            case Restart():
                asyncio.get_running_loop().call_later(ANSWER_S, self.restart.set)
            case AskCloud():
                self.ask_cloud()
            case TakePictures(cause_seq):
                self.take_pictures(cause_seq)
