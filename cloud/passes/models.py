"""Messages about passes."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from wire.names import PassFlags, PassKind
from wire.passes import MAX_ACCESS_LEVEL, MAX_ACCESS_LEVELS, MAX_LIFETIME_S

KindName = Literal["standard", "temporary", "visitor", "staff", "emergency"]
FlagName = Literal["extended_release"]
_MINUTE_S: Final = 60


class NewPass(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A pass to issue.

    `holderKey` is the holder's public key, a COSE_Key in base64url; without it the pass is for print. `lifetimeS` is by
    default a week, for print a day. `notBefore` puts the start off.
    """

    kind: KindName = "standard"
    access_levels: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=MAX_ACCESS_LEVEL)]], msgspec.Meta(max_length=MAX_ACCESS_LEVELS)
    ] = []
    holder_key: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    lifetime_s: Annotated[int, msgspec.Meta(ge=_MINUTE_S, le=MAX_LIFETIME_S)] | None = None
    not_before: datetime | None = None
    flags: Annotated[list[FlagName], msgspec.Meta(max_length=8)] = []


class IssuedPass(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pass as issued; `pass` is the signed token in base64url."""

    pass_id: str
    token: str = msgspec.field(name="pass")
    issued_at: datetime
    expires_at: datetime


class ShownPass(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the cloud knows of a pass. `status` is active, not_yet_valid, expired or revoked."""

    pass_id: str
    status: str
    kind: str
    access_levels: list[int]
    flags: list[str]
    printed: bool
    issued_at: datetime
    not_before: datetime | None
    expires_at: datetime
    revoked_at: datetime | None


def kind_name(kind: int) -> str:
    """Give a kind's name in JSON."""
    return PassKind(kind).name.lower()


def flag_names(flags: int) -> list[str]:
    """Give the names of the flags that are set."""
    return [str(flag.name).lower() for flag in PassFlags(flags)]
