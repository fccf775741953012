"""A broker's refusals in words a technician can act on.

The library gives a time-out for a refused certificate, a list of numbers for a refused subscription, and the text of a
number for a refused log-in.

Invariant: decides on types and numbers, never on a sentence.
Must not: open connections.
"""

from typing import Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError

from sync.ports import Reason, UplinkError
from sync.refusals import ENROL_AGAIN, causes, explain

_NOT_AUTHORISED: Final = frozenset({2, 4, 5, 133, 134, 135})
"""CONNACK codes of MQTT 3.1.1 §3.2.2.3: identifier rejected, bad user name, not authorised; then as the library gives
them, which are MQTT 5's for the same. Any other error's numbers are the library's own and mean something else."""
_AGAIN: Final = "the door keeps working and tries again by itself"


def explain_mqtt(error: aiomqtt.MqttError | OSError, url: str) -> UplinkError:
    """Translate a failed exchange with the broker at `url`."""
    for cause in causes(error):
        if isinstance(cause, MqttConnectError) and getattr(cause.rc, "value", cause.rc) in _NOT_AUTHORISED:
            what = f"the broker at {url} does not let this door in"
            return UplinkError(Reason.NOT_ENROLLED, what=what, remedy=ENROL_AGAIN)
    return explain(error, url)


def refused_to_connect(error: aiomqtt.MqttError | OSError) -> bool:
    """Tell whether nobody was reached at all, as opposed to somebody who then hung up or fell silent."""
    return any(isinstance(cause, OSError) and cause.errno for cause in causes(error))


def silent(url: str) -> UplinkError:
    """Make the error for an answer that does not come; refused certificates look like this, too."""
    return UplinkError(
        Reason.DEADLINE,
        what=f"no answer came through the broker at {url} in time",
        remedy=f"check that broker and cloud run, and that this door's certificate is still valid; {_AGAIN}",
    )


def forbidden(url: str) -> UplinkError:
    """Make the error for a subscription that is refused."""
    return UplinkError(
        Reason.NOT_ENROLLED,
        what=f"the broker at {url} forbids this door its own topics",
        remedy="renew the door's certificate (doorward provision renew): it has to name institution and device",
    )
