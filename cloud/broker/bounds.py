"""How much may wait between doors and one process of the cloud.

A door sends its next batch after the answer to the last one, so that each has one on its way, small enough for a
thousand of them to wait at once (docs/adr/0016-small-runs.md).

Invariant: what is kept for a process that is slow or hangs is bounded in messages and in bytes a message.
Must not: be counted on: what does not fit is lost, and sent again over HTTPS once its door has waited in vain.
"""

from typing import Final

from wire.mqtt import MAX_UP_BYTES

MAX_WAITING: Final = 1_024
"""Messages: a batch of each of a thousand doors. For quality of service 0 mosquitto heeds this limit only."""
MAX_MESSAGE_BYTES: Final = MAX_UP_BYTES + 1_024
"""The largest batch and its topic; a thousand take 54 MB, and of events of usual length 15 to 26 MB."""
