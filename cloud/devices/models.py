"""Messages about devices and claims."""

from datetime import datetime
from typing import Annotated

import msgspec

from cloud.models import Pagination


class NewClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How long a claim may be used: a minute to a week, by default a day."""

    lifetime_s: Annotated[int, msgspec.Meta(ge=60, le=7 * 86_400)] = 86_400


class MadeClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The code to type at the door. It is shown here and never again."""

    claim_code: str
    expires_at: datetime


class DeviceCertificate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The certificate that a device was last given; hexadecimal serial and SHA-256."""

    serial: str
    fingerprint: str
    not_after: datetime


class Device(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A device.

    `status` is online, offline (not heard for `devices.service.ONLINE_S`) or revoked; believe it only together with
    `last_seen`. `mark` is the last event that is stored, of the journal named by `epoch`.
    """

    id: str
    door: str
    status: str
    last_seen: datetime | None
    enrolled_at: datetime
    certificate: DeviceCertificate
    epoch: str | None
    mark: int
    backed_up: int


class Devices(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of devices, by id, as of one instant."""

    data: list[Device]
    pagination: Pagination
    as_of: datetime


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """What a device learns about itself after enrolment. `root_key` is a COSE_Key in hexadecimal."""

    tenant: str
    site: str
    door: str
    access_point: str
    device: str
    timezone: str
    root_key: str
