"""Routes of institutions."""

from litestar import Router, get, post
from litestar.params import JSONBody

from cloud.institutions import service
from cloud.institutions.models import Institution, Institutions, NewInstitution
from cloud.models import PageLimit, PageNumber
from cloud.state import Cloud


@post("/")
async def make_institution(data: JSONBody[NewInstitution], cloud: Cloud) -> Institution:
    """Make an institution with its signing keys."""
    return await service.make_institution(cloud.pool, cloud.issuing, data, now=cloud.now())


@get("/")
async def list_institutions(cloud: Cloud, page: PageNumber = 1, limit: PageLimit = 20) -> Institutions:
    """List institutions by id."""
    return await service.list_institutions(cloud.pool, page=page, limit=limit)


router = Router("/institutions", route_handlers=[make_institution, list_institutions], tags=["institutions"])
