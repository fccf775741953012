"""What the requests of one cloud process share.

Invariant: made once, in `cloud/app.py`; everything in it is safe for concurrent requests.
Must not: hold anything that would be lost if the process ended.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from cloud.auth import OperatorGuard
from cloud.database import Pool
from cloud.devices.authority import DeviceAuthority
from cloud.devices.guard import DeviceGuard, DeviceIdentity
from cloud.devices.last_seen import LastSeen
from cloud.devices.quarantine import Quarantines
from cloud.events.ingest import Ingest
from cloud.health import HealthCheck
from cloud.issuing.service import Issuing
from cloud.issuing.upkeep import Upkeep
from cloud.limits import AttemptLimiter
from cloud.metrics import Metrics
from cloud.passes.service import Passes
from cloud.roster.service import Credentials
from cloud.telemetry.desk import HealthDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudState:
    """The shared parts.

    Args:
        pool: connections to PostgreSQL.
        issuing: the tenants' keys and the documents that they sign.
        passes: issues and revokes them.
        credentials: enrols those that carry no signature.
        ingest: stores the doors' events.
        upkeep: replaces keys in time.
        authority: the device CA.
        devices: who is calling on the device listener.
        quarantines: the devices whose journals contradict themselves.
        operators: who is calling on the API listener.
        broker_for_doors: URL of the MQTT broker as doors are told it; None for none.
        last_seen: collects when devices were heard.
        health: takes what they say about themselves.
        attempts: bounds failed enrolments by address.
        metrics: what Prometheus may ask; features register their own on `metrics.registry`.
        checks: what `/health` asks; features add their own.
        now: the wall clock, in UTC.
        monotonic_s: a clock that never goes back.
        stopping: set when the service is asked to stop; long polls answer then.
    """

    pool: Pool
    issuing: Issuing
    passes: Passes
    credentials: Credentials
    ingest: Ingest
    upkeep: Upkeep
    authority: DeviceAuthority
    devices: DeviceGuard
    quarantines: Quarantines
    operators: OperatorGuard
    broker_for_doors: str | None
    last_seen: LastSeen
    health: HealthDesk
    attempts: AttemptLimiter
    metrics: Metrics
    checks: dict[str, HealthCheck]
    now: Callable[[], datetime]
    monotonic_s: Callable[[], float]
    stopping: asyncio.Event


Cloud = NamedDependency[SkipValidation[CloudState]]
"""The type of a route's parameter `cloud`, by which Litestar hands it the state."""
Device = NamedDependency[SkipValidation[DeviceIdentity]]
"""The type of a route's parameter `device` on the device listener: it makes a client certificate mandatory."""
