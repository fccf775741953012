"""A door's report as the API shows it.

Invariant: names are those of `wire.names` and `wire.health`, in lower case.
Must not: add what the door has not said; the faults are its own facts in words.
"""

from datetime import UTC, datetime

from cloud.devices.models import DeviceReport, DocumentVersions, Part
from cloud.telemetry.condition import faults
from wire.errors import WireError
from wire.health import Health, parse_health


def read_report(data: bytes | None) -> Health | None:
    """Read a stored report; one in a form of another version of this program is none until the door reports again."""
    try:
        return None if data is None else parse_health(data)
    except WireError:
        return None


def shown_report(health: Health, received_at: datetime) -> DeviceReport:
    """Write a report for people and programs."""
    return DeviceReport(
        at=datetime.fromtimestamp(health.at_ms / 1000, UTC),
        received_at=received_at,
        uptime_s=health.uptime_s,
        clock=health.clock.name.lower(),
        clock_uncertainty_ms=health.uncertainty_ms,
        mode=health.mode.name.lower(),
        epoch=health.epoch.hex(),
        last=health.last,
        durable=health.durable,
        backed_up=health.backed_up,
        queued=max(0, health.last - health.durable),
        way=health.way.name.lower(),
        versions=DocumentVersions(
            trust=health.versions.trust,
            policy=health.versions.policy,
            status={str(number): sequence for number, sequence in health.versions.status.items()},
            roster=health.versions.roster,
            commands=health.versions.commands,
        ),
        parts=[
            Part(name=part.name, kind=part.kind.name.lower(), state=part.state.name.lower()) for part in health.devices
        ],
        alarms=[kind.name.lower() for kind in health.alarms],
        faults=list(faults(health)),
    )
