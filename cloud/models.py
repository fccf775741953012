"""What the API's messages have in common.

Invariant: JSON names are camelCase, unknown members are refused, times are RFC 3339 in UTC.
Must not: hold a message of a single feature.
"""

from typing import Annotated, Final

import msgspec
from litestar.params import PathParameter, QueryParameter

_END: Final = r"$(?!\n)"
"""The end of the text in Python's and in ECMAScript's expressions; a bare $ lets a last line feed pass."""
_SLUG: Final = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?" + _END

Slug = Annotated[str, msgspec.Meta(pattern=_SLUG, description="1 to 32 of a-z, 0-9 and inner hyphens")]
"""A name of ours that also goes over the wire (wire.passes.slug is what the doors accept)."""
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*" + _END)]
"""A name for people: one line without control characters."""
PathName = Annotated[str, PathParameter(pattern="^[a-z0-9-]{1,32}" + _END)]
"""An institution, door or device in a path."""
QueryName = Annotated[str | None, QueryParameter(pattern="^[a-z0-9-]{1,32}" + _END)]
"""The same in a query; None when it does not matter."""
PageNumber = Annotated[int, QueryParameter(ge=1, le=1_000_000, description="Page, from 1")]
PageLimit = Annotated[int, QueryParameter(ge=1, le=100, description="Entries a page")]


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page lies in the whole."""

    page: int
    limit: int
    total: int

    @property
    def offset(self) -> int:
        """Entries before this page."""
        return (self.page - 1) * self.limit
