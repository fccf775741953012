"""POST /device/v1/events: a plain route, because every door comes through here all day.

Invariant: 200 means committed, and carries the proof; nothing else does.
Must not: read a body that is larger than a batch may be.
"""

from http import HTTPStatus
from typing import Final

import msgspec
from litestar.types import HTTPScope, Receive

from cloud import problems
from cloud.asgi import PlainRoute, Reply, read_body
from cloud.devices.guard import DeviceIdentity
from cloud.events.ingest import Ingest, JournalConflict
from cloud.state import CloudState
from wire.batch import MAX_BATCH_BYTES
from wire.messages import MEDIA_COSE


class ConflictProblem(problems.Problem, frozen=True, kw_only=True):
    """A problem document that tells the device from where to send again."""

    durable: int


def ingest_route(cloud: CloudState) -> PlainRoute:
    """Give the route."""

    async def post_events(scope: HTTPScope, receive: Receive) -> Reply:
        who = await cloud.devices.identify(scope)
        return await store_batch(cloud.ingest, who, await read_body(scope, receive, max_bytes=MAX_BATCH_BYTES))

    return post_events


async def store_batch(ingest: Ingest, who: DeviceIdentity, body: bytes) -> Reply:
    """Store a batch and give the answer, which is the same whichever way the batch came.

    Raises:
        CloudError: as `Ingest.submit`, but for JournalConflict, which is an answer.
    """
    try:
        return Reply(await ingest.submit(who, body), MEDIA_COSE)
    except JournalConflict as conflict:
        return _conflict(conflict)


def _conflict(conflict: JournalConflict) -> Reply:
    status: Final = HTTPStatus(conflict.reason.status)
    problem = ConflictProblem(
        status=status,
        title=status.phrase,
        reason=conflict.reason.name,
        detail=conflict.detail,
        durable=conflict.durable,
    )
    wait_s = conflict.retry_after_s
    headers = {} if wait_s is None else {"retry-after": str(wait_s)}
    return Reply(msgspec.json.encode(problem), problems.MEDIA_TYPE, status, headers)
