"""The composition root: makes the shared state and the two applications.

Invariant: this is the one place that knows every feature; a feature is plugged in by the tuples and mappings below.
Must not: open sockets or start tasks; `cloud/server.py` does.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from litestar import Litestar, Response, Router, get
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.status_codes import HTTP_503_SERVICE_UNAVAILABLE
from litestar.types import ControllerRouterHandler

from cloud.asgi import Entry, PlainRoute
from cloud.auth import PUBLIC, OperatorGuard, ensure_operator_token
from cloud.backups import routes as backups
from cloud.broker.announcer import Announcer
from cloud.broker.consumer import Consumer
from cloud.broker.desk import batch_desk, health_desk
from cloud.broker.link import BrokerLink, Place
from cloud.broker.metrics import BrokerMetrics
from cloud.database import Pool, known_migrations
from cloud.devices import routes_api as device_api
from cloud.devices import routes_device
from cloud.devices.authority import open_authority
from cloud.devices.guard import DeviceGuard
from cloud.devices.last_seen import LastSeen
from cloud.devices.quarantine import Quarantines
from cloud.doors import routes as doors
from cloud.events import routes_api as events_api
from cloud.events.ingest import Ingest
from cloud.events.metrics import IngestMetrics
from cloud.events.routes_device import ingest_route
from cloud.health import Health, HealthCheck, database_check, disk_check, examine, memory_check, schema_check
from cloud.institutions import routes as institutions
from cloud.issuing import routes_api as issuing_api
from cloud.issuing import routes_commands
from cloud.issuing import routes_device as issuing_device
from cloud.issuing.service import open_issuing
from cloud.issuing.upkeep import Upkeep
from cloud.limits import AttemptLimiter
from cloud.metrics import MEDIA_TYPE, Metrics
from cloud.passes import routes as passes
from cloud.passes.service import Passes
from cloud.problems import respond
from cloud.roster import routes_api as roster_api
from cloud.roster import routes_device as roster_device
from cloud.roster.service import Credentials
from cloud.settings import MIB, CloudSettings
from cloud.state import Cloud, CloudState
from cloud.telemetry import routes_device as telemetry_device
from cloud.telemetry.desk import HealthDesk
from wire.messages import DEVICE_EVENTS

API_ROUTERS: Final[tuple[ControllerRouterHandler, ...]] = (
    institutions.router,
    doors.router,
    device_api.router,
    issuing_api.router,
    routes_commands.router,
    passes.router,
    roster_api.router,
    events_api.router,
    backups.router,
)
"""Routes under /api/v1; each needs an operator token unless its `opt` says public."""
DEVICE_ROUTERS: Final[tuple[ControllerRouterHandler, ...]] = (
    routes_device.router,
    telemetry_device.router,
)
"""Routes of the device listener; one that takes a parameter `device` needs a client certificate."""
_API_BODY_BYTES: Final = MIB
_DEVICE_BODY_BYTES: Final = 64 * 1024


def utc_now() -> datetime:
    """Read the wall clock."""
    return datetime.now(UTC)


async def open_state(
    settings: CloudSettings,
    pool: Pool,
    *,
    now: Callable[[], datetime] = utc_now,
    stopping: asyncio.Event | None = None,
) -> CloudState:
    """Load or make what lives in the state folder, and put it together with the database.

    Args:
        settings: where the state lives.
        pool: a database whose schema is up to date.
        now: the wall clock.
        stopping: set when the service is asked to stop.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    await ensure_operator_token(pool, settings.state / "operator.token", now=now())
    stop = stopping or asyncio.Event()
    last_seen = LastSeen(pool, now=now)
    metrics = Metrics()
    authority = open_authority(settings.state / "ca", now=now())
    issuing = open_issuing(
        pool,
        keys=settings.state / "keys",
        authority=authority.certificate,
        now=now,
        monotonic_s=time.monotonic,
        stopping=stop,
    )
    upkeep = Upkeep(pool, issuing)
    ingest = Ingest(pool, issuing.acknowledgement_signer, IngestMetrics(metrics.registry), now=now)
    return CloudState(
        pool=pool,
        issuing=issuing,
        passes=Passes(pool, issuing, now=now),
        credentials=Credentials(pool, issuing, now=now),
        ingest=ingest,
        upkeep=upkeep,
        authority=authority,
        devices=DeviceGuard(pool, last_seen, monotonic_s=time.monotonic),
        quarantines=Quarantines(pool, metrics.registry),
        operators=OperatorGuard(pool, now=now, monotonic_s=time.monotonic),
        broker_for_doors=settings.broker_for_doors,
        last_seen=last_seen,
        health=HealthDesk(pool, last_seen, metrics.registry, now=now),
        attempts=AttemptLimiter(),
        metrics=metrics,
        checks={**_checks(settings, pool), "ingest": ingest.check, "keys": upkeep.check},
        now=now,
        monotonic_s=time.monotonic,
        stopping=stop,
    )


def make_link(settings: CloudSettings, cloud: CloudState, *, database: str) -> BrokerLink | None:
    """Put together what follows the broker, with its check; None without a broker.

    Args:
        settings: where it is.
        cloud: what it works for.
        database: URL of the database, which leases the lanes.
    """
    if settings.broker is None:
        return None
    metrics = BrokerMetrics(cloud.metrics.registry)
    link = BrokerLink(
        Place(address=settings.broker, authority=cloud.authority, folder=settings.state / "ca", database=database),
        Consumer(batch_desk(cloud.devices, cloud.ingest, metrics), health_desk(cloud.devices, cloud.health.take)),
        Announcer(cloud.pool, cloud.issuing.changes, metrics, monotonic_s=cloud.monotonic_s),
        metrics,
        now=cloud.now,
        monotonic_s=cloud.monotonic_s,
    )
    cloud.checks["broker"] = link.check
    return link


def _checks(settings: CloudSettings, pool: Pool) -> dict[str, HealthCheck]:
    return {
        "database": database_check(pool),
        "schema": schema_check(pool, expected=max(migration.number for migration in known_migrations())),
        "disk": disk_check(settings.state, min_free_bytes=settings.min_free_bytes),
        "memory": memory_check(),
    }


def plain_device_routes(cloud: CloudState) -> Mapping[tuple[str, str], PlainRoute]:
    """Give the device listener's hot routes, which bypass the framework: (method, path) -> route."""
    fetched = issuing_device.ROUTES | roster_device.ROUTES
    return {
        ("POST", DEVICE_EVENTS): ingest_route(cloud),
        **{("GET", path): issuing_device.for_device(cloud, route) for path, route in fetched.items()},
    }


def make_api(cloud: CloudState) -> Entry:
    """Make the operators' application."""
    versioned = Router("/api/v1", route_handlers=[*API_ROUTERS])
    app = Litestar(
        [versioned, health, metrics],
        dependencies={"cloud": _provide(cloud)},
        exception_handlers={Exception: respond},
        guards=[cloud.operators],
        openapi_config=_openapi(),
        request_max_body_size=_API_BODY_BYTES,
        logging_config=None,
        debug=False,
    )
    return Entry(app=app, listener="api", metrics=cloud.metrics, tls=False, plain={})


def make_device_app(cloud: CloudState) -> Entry:
    """Make the doors' application."""
    app = Litestar(
        [*DEVICE_ROUTERS],
        dependencies={"cloud": _provide(cloud), "device": routes_device.identify_device},
        exception_handlers={Exception: respond},
        openapi_config=None,
        request_max_body_size=_DEVICE_BODY_BYTES,
        logging_config=None,
        debug=False,
    )
    return Entry(app=app, listener="devices", metrics=cloud.metrics, tls=True, plain=plain_device_routes(cloud))


@get("/health", opt={PUBLIC: True}, tags=["service"])
async def health(cloud: Cloud) -> Response[Health]:
    """Say whether the service can do its work: 200, or 503 with what is missing."""
    found = await examine(cloud.checks, now=cloud.now())
    return Response(found, status_code=200 if found.healthy else HTTP_503_SERVICE_UNAVAILABLE)


@get("/metrics", opt={PUBLIC: True}, include_in_schema=False)
async def metrics(cloud: Cloud) -> Response[bytes]:
    """Give the metrics in Prometheus's text format."""
    return Response(cloud.metrics.exposition(), media_type=MEDIA_TYPE)


def _provide(cloud: CloudState) -> Provide:
    return Provide(lambda: cloud, sync_to_thread=False)


def _openapi() -> OpenAPIConfig:
    token = SecurityScheme(type="http", scheme="bearer", description="The operator token.")
    return OpenAPIConfig(
        title="Doorward cloud",
        version="1",
        path="/api/v1",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        use_handler_docstrings=True,
        components=Components(security_schemes={"operatorToken": token}),
        security=[{"operatorToken": []}],
    )
