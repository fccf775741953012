"""Messages about keys."""

from typing import Annotated, Literal

import msgspec

from cloud.issuing.keys import KeyRole


class NewKeys(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The roles that get a new key."""

    roles: Annotated[
        list[Literal["pass", "status", "policy", "command", "acknowledgement"]],
        msgspec.Meta(min_length=1, max_length=5),
    ]

    def parsed(self) -> list[KeyRole]:
        """Give each role once."""
        return [KeyRole(name) for name in dict.fromkeys(self.roles)]


class TrustVersion(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The version of the trust bundle that doors fetch."""

    version: int
