"""What doors fetch: trust, policy, status lists, and the long poll that says when to.

Invariant: an ETag stands for exactly one signed document; what a door already has is answered with 304.
Must not: serve one tenant's or door's documents to another; both come from the certificate.
"""

from typing import Annotated, Any, Final

from litestar import Request, Response, Router, get
from litestar.params import PathParameter, QueryParameter
from litestar.status_codes import HTTP_304_NOT_MODIFIED

from cloud.issuing.changes import Versions, read_known
from cloud.issuing.trust import Signed
from cloud.state import Cloud, Device
from wire.messages import DEVICE_CHANGES, DEVICE_POLICY, DEVICE_STATUS, DEVICE_TRUST, MEDIA_COSE
from wire.status_list import MAX_LIST_ID

ListId = Annotated[int, PathParameter(ge=0, le=MAX_LIST_ID)]


@get(DEVICE_TRUST)
async def trust(request: Request[Any, Any, Any], cloud: Cloud, device: Device) -> Response[bytes]:
    """Give the tenant's newest trust bundle."""
    return _document(request, await cloud.issuing.trust.current(cloud.pool, device.tenant))


@get(DEVICE_POLICY)
async def policy(request: Request[Any, Any, Any], cloud: Cloud, device: Device) -> Response[bytes]:
    """Give the door's newest policy."""
    return _document(request, await cloud.issuing.policies.current(device.tenant, device.door))


@get(DEVICE_STATUS + "/{list_id:int}")
async def status(
    request: Request[Any, Any, Any],
    cloud: Cloud,
    device: Device,
    list_id: ListId,
    since: Annotated[int | None, QueryParameter(ge=0)] = None,
) -> Response[bytes]:
    """Give a status list, or the delta from `since` when that is smaller."""
    token = await cloud.issuing.status.token(device.tenant, list_id, since=since)
    return answer(request, token.sequence, token.data, token.media_type)


@get(DEVICE_CHANGES)
async def changes(request: Request[Any, Any, Any], cloud: Cloud, device: Device) -> Versions:
    """Answer as soon as something is newer than what the door says it has."""
    known, wait_s = read_known(request.query_params)
    return await cloud.issuing.changes.wait(device.tenant, device.door, known, wait_s=wait_s)


def answer(request: Request[Any, Any, Any], version: int, data: bytes, media_type: str) -> Response[bytes]:
    """Answer with a document at a version, or 304 to who has it."""
    return not_modified(request, version) or Response(data, media_type=media_type, headers={"etag": f'"{version}"'})


def not_modified(request: Request[Any, Any, Any], version: int) -> Response[bytes] | None:
    """Give the answer to who has this version, None when the caller does not."""
    etag = f'"{version}"'
    if not _names(request.headers.get("if-none-match", ""), etag):
        return None
    return Response(b"", status_code=HTTP_304_NOT_MODIFIED, headers={"etag": etag})


def _document(request: Request[Any, Any, Any], signed: Signed) -> Response[bytes]:
    return answer(request, signed.version, signed.data, MEDIA_COSE)


def _names(header: str, etag: str) -> bool:
    """Compare weakly, as RFC 9110 §13.1.2 asks."""
    return any(item.strip().removeprefix("W/") in {etag, "*"} for item in header.split(","))


router: Final = Router("/", route_handlers=[trust, policy, status, changes])
