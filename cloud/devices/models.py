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


class Quarantine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Since when and why nothing of a device is stored; `epoch` names the journal that caused it.

    `reason` is CHAIN_BROKEN (other events under stored numbers), EPOCH_CLOSED (a journal writes that was replaced) or
    EPOCH_UNEXPECTED (a further journal that nobody has accepted).
    """

    since: datetime
    reason: str
    epoch: str


class Release(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What becomes of a device: null goes on with the stored journal, an epoch lets that one begin and closes it."""

    accept_epoch: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")] | None


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """The software that a device says it runs."""

    version: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Something attached to a device: reader, camera, inputs, display or lock; working, lost or fault."""

    name: str
    kind: str
    state: str


class DocumentVersions(msgspec.Struct, frozen=True, kw_only=True):
    """The signed documents that are in force at a door; 0 for none. Each status list has its sequence number."""

    trust: int
    policy: int
    status: dict[str, int]
    roster: int
    commands: int


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a device last said about itself.

    `at` is by its own clock, `receivedAt` by ours. `queued` events wait to be acknowledged; `last`, `durable` and
    `backedUp` are the journal's marks as the device knows them. `faults` say in words why its status is error.
    """

    at: datetime
    received_at: datetime
    uptime_s: int
    clock: str
    clock_uncertainty_ms: int
    mode: str
    epoch: str
    last: int
    durable: int
    backed_up: int
    queued: int
    way: str
    versions: DocumentVersions
    parts: list[Part]
    alarms: list[str]
    faults: list[str]


class Device(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A device.

    `status` is online, offline (not heard for `devices.status.ONLINE_S`), error, maintenance or revoked; believe it
    only together with `last_seen`. `mark` is the last event that is stored, of the journal named by `epoch`;
    `accepted_epoch` names the further journal that it may begin.
    `capabilities` are the kinds of its parts; `report`, `firmware`, `capabilities` and `metrics` are of its newest
    report.
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
    quarantine: Quarantine | None = None
    accepted_epoch: str | None = None
    firmware: Firmware | None = None
    capabilities: list[str] = msgspec.field(default_factory=list)
    metrics: dict[str, int] = msgspec.field(default_factory=dict)
    report: DeviceReport | None = None


class Devices(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of devices, by id, as of one instant."""

    data: list[Device]
    pagination: Pagination
    as_of: datetime


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """What a device learns about itself after enrolment.

    `root_key` is a COSE_Key in hexadecimal; `broker` the URL of the MQTT broker, null when there is none.
    """

    tenant: str
    site: str
    door: str
    access_point: str
    device: str
    timezone: str
    root_key: str
    broker: str | None
