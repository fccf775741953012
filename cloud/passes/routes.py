"""Routes of passes."""

from typing import Final

from litestar import Router, get, post
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK

from cloud.models import PathName
from cloud.passes.models import IssuedPass, NewPass, ShownPass
from cloud.state import Cloud
from wire.names import Tenant


@post("/")
async def issue_pass(tenant: PathName, data: JSONBody[NewPass], cloud: Cloud) -> IssuedPass:
    """Issue a pass to a holder's key, or for print."""
    return await cloud.passes.issue(Tenant(tenant), data)


@get("/{pass_id:str}")
async def show_pass(tenant: PathName, pass_id: FromPath[str], cloud: Cloud) -> ShownPass:
    """Show a pass."""
    return await cloud.passes.show(Tenant(tenant), pass_id)


@post("/{pass_id:str}/revoke", status_code=HTTP_200_OK)
async def revoke_pass(tenant: PathName, pass_id: FromPath[str], cloud: Cloud) -> ShownPass:
    """Revoke a pass for good; the doors are told at once."""
    return await cloud.passes.revoke(Tenant(tenant), pass_id)


router: Final = Router(
    "/institutions/{tenant:str}/passes", route_handlers=[issue_pass, show_pass, revoke_pass], tags=["passes"]
)
