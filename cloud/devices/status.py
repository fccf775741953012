"""How a device is, in one word, as SQL: the list, its filter and the metrics say the same.

Invariant: the word rests on when the device was last heard, on its newest report and on its quarantine, nothing else.
Must not: be believed without the instant that it is of.
"""

from enum import Enum, unique
from typing import Final


@unique
class DeviceStatus(Enum):
    """The words."""

    ONLINE = "online"
    OFFLINE = "offline"
    ERROR = "error"
    MAINTENANCE = "maintenance"
    REVOKED = "revoked"


ONLINE_S: Final = 180.0
"""Three reports of a minute each; also more than three long polls of 25 s and the delay of `last_seen`."""

STATUS: Final = f"""
    CASE
        WHEN devices.status = 'revoked' THEN 'revoked'
        WHEN devices.quarantined_at IS NOT NULL THEN 'error'
        WHEN devices.last_seen IS NULL OR devices.last_seen < $1::timestamptz - interval '{ONLINE_S} seconds'
            THEN 'offline'
        WHEN device_health.condition = 2 THEN 'maintenance'
        WHEN device_health.condition = 1 THEN 'error'
        ELSE 'online'
    END"""
"""The word; $1 is now. A device in quarantine waits for somebody, whether it is heard or not."""
WITH_HEALTH: Final = (
    "devices LEFT JOIN device_health"
    " ON device_health.tenant_id = devices.tenant_id AND device_health.device_id = devices.id"
)
COUNT_BY_STATUS: Final = f"SELECT {STATUS} AS status, count(*) AS count FROM {WITH_HEALTH} GROUP BY 1"  # noqa: S608 - constants
