"""Messages about backups."""

from datetime import datetime

import msgspec


class Restoration(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """By how much versions were raised, so that doors take what is signed from now on."""

    versions_raised_by: int


class Backup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A backup of the database.

    `devices` is the number of devices whose events it holds; once it is completed, of those that may forget more events
    than before. `completed_at` is null until then.
    """

    id: str
    begun_at: datetime
    completed_at: datetime | None
    devices: int
