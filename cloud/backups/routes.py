"""Routes for operators whose own engine makes the backups: begin before it starts, complete once it is verified."""

from typing import Annotated

from litestar import Router, post
from litestar.params import PathParameter
from litestar.status_codes import HTTP_200_OK

from cloud.backups import marks
from cloud.backups.models import Backup, Restoration
from cloud.state import Cloud

BackupId = Annotated[str, PathParameter(pattern="^[0-9a-f]{16}$", description="As the beginning gave it")]


@post("/")
async def begin_backup(cloud: Cloud) -> Backup:
    """Note how far every device's journal has come; start the backup after the answer."""
    return await marks.begin(cloud.pool, now=cloud.now())


@post("/{backup:str}/complete", status_code=HTTP_200_OK)
async def complete_backup(backup: BackupId, cloud: Cloud) -> Backup:
    """Say that the backup is made, durable and verified: doors may forget the events that it holds."""
    return await marks.complete(cloud.pool, backup, now=cloud.now())


@post("/restored", status_code=HTTP_200_OK)
async def note_restoration(cloud: Cloud) -> Restoration:
    """Say, before doors reach it, that this database was restored: its versions go on above those that were lost."""
    await marks.pass_lost_versions(cloud.pool)
    await cloud.upkeep.look()
    return Restoration(versions_raised_by=marks.LOST_VERSIONS)


router = Router("/backups", route_handlers=[begin_backup, complete_backup, note_restoration], tags=["backups"])
