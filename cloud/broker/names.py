"""Who the cloud's own programs are at the broker.

Invariant: no door can be called so: "_" is in no slug, and a door's name has a "/" (docs/adr/0008-mqtt-identity.md).
"""

from typing import Final

SEATS: Final = 64
"""Most processes of one cloud at the broker. Each has a name of its own, since a broker ends a session when its name
comes a second time; the access list names them all."""
WATCH_NAME: Final = "_watch"
"""Who looks whether the broker answers; may neither write nor read."""


def cloud_name(seat: int) -> str:
    """Give the name of the process in a seat."""
    return f"_cloud-{seat}"
