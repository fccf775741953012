"""What came through the broker is checked as over HTTPS: a batch is stored and answered, a report handed on.

Invariant: status and body are those of POST /device/v1/events; a device that is revoked or unknown is not heard.
Must not: believe the topic for more than whose key a batch must be signed with.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from cloud import asgi
from cloud.broker.consumer import Take, TakeHealth
from cloud.broker.metrics import BrokerMetrics
from cloud.devices.guard import DeviceGuard
from cloud.events.ingest import Ingest
from cloud.events.routes_device import store_batch
from cloud.problems import Problem
from wire.mqtt import MAX_BODY_BYTES, MAX_RETRY_S, Reply, batch_hash
from wire.names import DeviceId, Tenant

_MAX_DETAIL: Final = 250
_LOG: Final = structlog.get_logger(__name__)

Keep = Callable[[Tenant, DeviceId, bytes], None]
"""Keeps a device's report of health (cloud/telemetry/desk.py)."""


def batch_desk(devices: DeviceGuard, ingest: Ingest, metrics: BrokerMetrics) -> Take:
    """Give what stores a batch."""

    async def take(tenant: Tenant, device: DeviceId, body: bytes) -> Reply:
        try:
            answer = await store_batch(ingest, await devices.named(tenant, device), body)
        except Exception as error:  # noqa: BLE001 - the supervisor of batches: every fault becomes a problem document
            answer = asgi.refuse(error)
        metrics.answers.labels(str(int(answer.status))).inc()
        return _reply(body, answer)

    return take


def health_desk(devices: DeviceGuard, keep: Keep) -> TakeHealth:
    """Give what hands on the reports of devices that are known.

    Args:
        devices: knows them.
        keep: gets each report, unread; may raise CloudError.
    """

    async def take(tenant: Tenant, device: DeviceId, report: bytes) -> None:
        try:
            await devices.named(tenant, device)
            keep(tenant, device, report)
        except Exception as error:  # noqa: BLE001 - the supervisor of reports: the next one comes within a minute
            _LOG.warning("report_dropped", tenant=tenant, device=device, error=str(error))

    return take


def _reply(batch: bytes, answer: asgi.Reply) -> Reply:
    retry_after_s = min(int(answer.headers.get("retry-after", "0")), MAX_RETRY_S)
    return Reply(of=batch_hash(batch), status=int(answer.status), body=_bounded(answer), retry_after_s=retry_after_s)


def _bounded(answer: asgi.Reply) -> bytes:
    """Shorten a problem's detail, which may quote the database, where it is too long for a reply."""
    if len(answer.body) <= MAX_BODY_BYTES:
        return answer.body
    problem = msgspec.json.decode(answer.body, type=Problem)
    return msgspec.json.encode(msgspec.structs.replace(problem, detail=problem.detail[:_MAX_DETAIL], errors=[]))
