"""Messages about doors."""

from datetime import datetime

import msgspec

from cloud.models import Pagination, Slug, Title


class NewDoor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A door to make; without a name it is called by its id. `accessPoint` is the direction that is controlled."""

    id: Slug
    site: Slug
    name: Title | None = None
    access_point: Slug = "entry"


class Door(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A door."""

    id: str
    site: str
    name: str
    access_point: str
    created_at: datetime


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """A page of doors, by id."""

    data: list[Door]
    pagination: Pagination
