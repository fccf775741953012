"""Routes for operators: policies, the trust file, status lists, key rotation."""

from typing import Annotated, Any, Final

from litestar import Request, Response, Router, get, post, put
from litestar.params import JSONBody, PathParameter
from litestar.status_codes import HTTP_200_OK

from cloud.asgi import Reply
from cloud.institutions.service import require_institution
from cloud.issuing.models import NewKeys, TrustVersion
from cloud.issuing.policy_models import PolicyDocument, PolicyVersion, StoredPolicy
from cloud.issuing.rest import answer
from cloud.models import PathName
from cloud.state import Cloud
from wire.names import DoorId, Tenant
from wire.status_list import MAX_LIST_ID

_TRUST_FILE: Final = "application/cbor"


@put("/doors/{door:str}/policy")
async def put_policy(tenant: PathName, door: PathName, data: JSONBody[PolicyDocument], cloud: Cloud) -> PolicyVersion:
    """Give a door its policy: all of it. What would let nobody in any more is refused without `lockOut`."""
    await require_institution(cloud.pool, tenant)
    return PolicyVersion(version=await cloud.issuing.put_policy(Tenant(tenant), DoorId(door), data))


@get("/doors/{door:str}/policy")
async def show_policy(tenant: PathName, door: PathName, cloud: Cloud) -> StoredPolicy:
    """Show the policy in force."""
    return await cloud.issuing.policies.show(Tenant(tenant), DoorId(door))


@get("/trust")
async def trust_file(request: Request[Any, Any, Any], tenant: PathName, cloud: Cloud) -> Response[bytes]:
    """Give the trust file: root key and newest trust bundle, for `doorward pass verify --trust`."""
    pinned = await cloud.issuing.trust.pinned(Tenant(tenant))
    return _response(answer(request.scope, pinned.version, pinned.data, _TRUST_FILE))


@get("/status/{list_id:int}")
async def status_list(
    request: Request[Any, Any, Any],
    tenant: PathName,
    list_id: Annotated[int, PathParameter(ge=0, le=MAX_LIST_ID)],
    cloud: Cloud,
) -> Response[bytes]:
    """Give a status list as doors get it, for `doorward pass verify --status`."""
    token = await cloud.issuing.status.token(Tenant(tenant), list_id)
    return _response(answer(request.scope, token.sequence, token.data, token.media_type))


@post("/keys/rotate", status_code=HTTP_200_OK)
async def rotate_keys(tenant: PathName, data: JSONBody[NewKeys], cloud: Cloud) -> TrustVersion:
    """Add new signing keys and publish the trust bundle that lists them; the root key must be at hand.

    Old keys stay in the bundle until they end: TRUST_FULL says from which day there is room for more.
    """
    published = await cloud.issuing.rotate(Tenant(tenant), data.parsed())
    return TrustVersion(version=published.version)


def _response(reply: Reply) -> Response[bytes]:
    return Response(reply.body, status_code=reply.status, media_type=reply.media_type, headers=dict(reply.headers))


router: Final = Router(
    "/institutions/{tenant:str}",
    route_handlers=[put_policy, show_policy, trust_file, status_list, rotate_keys],
    tags=["issuing"],
)
