"""Routes for operators: enrol, list and remove the credentials of a site that carry no signature."""

from typing import Annotated, Final

from litestar import Router, get, post, put
from litestar.params import JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from cloud.models import PageLimit, PageNumber, PathName
from cloud.roster.models import NewCredentials, Removals, Report, ShownCredentials, ShownRoster
from cloud.state import Cloud

_Holder = Annotated[str | None, QueryParameter(pattern="^[0-9a-f]{16}$(?!\n)", description="Only this holder's")]


@put("/credentials")
async def put_credentials(tenant: PathName, site: PathName, data: JSONBody[NewCredentials], cloud: Cloud) -> Report:
    """Enrol credentials or replace them; each is reported, and one that is refused keeps no other out."""
    return await cloud.credentials.put(tenant, site, data.credentials)


@post("/credentials/remove", status_code=HTTP_200_OK)
async def remove_credentials(tenant: PathName, site: PathName, data: JSONBody[Removals], cloud: Cloud) -> Report:
    """Remove credentials by identifier or by holder; the doors are told at once."""
    return await cloud.credentials.remove(tenant, site, data.credentials)


@get("/credentials")
async def list_credentials(
    tenant: PathName,
    site: PathName,
    cloud: Cloud,
    holder: _Holder = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
) -> ShownCredentials:
    """List a site's credentials by key, or those of one holder."""
    return await cloud.credentials.show(tenant, site, holder=holder, page=page, limit=limit)


@get("/roster")
async def show_roster(tenant: PathName, site: PathName, cloud: Cloud) -> ShownRoster:
    """Show the roster that the site's doors fetch."""
    return await cloud.credentials.roster(tenant, site)


router: Final = Router(
    "/institutions/{tenant:str}/sites/{site:str}",
    route_handlers=[put_credentials, remove_credentials, list_credentials, show_roster],
    tags=["credentials"],
)
