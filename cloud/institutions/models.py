"""Messages about institutions."""

from datetime import datetime

import msgspec

from cloud.models import Pagination, Slug, Title


class NewInstitution(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An institution to make. `timezone` is an IANA name."""

    id: Slug
    name: Title
    timezone: str = "UTC"


class Institution(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An institution: one tenant."""

    id: str
    name: str
    timezone: str
    created_at: datetime


class Institutions(msgspec.Struct, frozen=True, kw_only=True):
    """A page of institutions, by id."""

    data: list[Institution]
    pagination: Pagination
