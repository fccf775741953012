"""Messages about enrolled credentials.

Invariant: an identifier or PIN is in no answer.
Must not: know the database.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from cloud.models import Pagination
from cloud.passes.models import FlagName, KindName
from wire.passes import MAX_ACCESS_LEVEL, MAX_ACCESS_LEVELS

MAX_AT_ONCE: Final = 1_000
"""Credentials in one request: a part of a second of work."""
MAX_PINS_AT_ONCE: Final = 200
"""PINs in one request: each takes some ten milliseconds of a core, and several times that where other work is done."""
_MAX_IDENTIFIER_CHARACTERS: Final = 256

FormName = Literal["barcode", "card_uid", "public_key"]
Holder = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$(?!\n)", description="16 hexadecimal digits")]
"""A holder's pseudonym: the roster id that events name."""
Identifier = Annotated[str, msgspec.Meta(max_length=_MAX_IDENTIFIER_CHARACTERS)]
"""A barcode's text; in hexadecimal digits a card's UID as the reader gives it, or SHA-256 of a public key."""
_Pin = Annotated[str, msgspec.Meta(max_length=64, description="4 to 8 digits")]


class NewCredential(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A credential to enrol, or to replace when it is enrolled.

    Without `holder` that of before stays; a new one gets a new pseudonym. Without `pin` and `duressPin` those of before
    stay; null takes them away. A PIN is turned to its argon2id at once and kept in no other form.
    """

    identifier: Identifier
    form: FormName
    holder: Holder | None = None
    kind: KindName = "standard"
    flags: Annotated[list[FlagName], msgspec.Meta(max_length=8)] = []
    access_levels: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=MAX_ACCESS_LEVEL)]], msgspec.Meta(max_length=MAX_ACCESS_LEVELS)
    ] = []
    pin: _Pin | msgspec.UnsetType | None = msgspec.UNSET
    duress_pin: _Pin | msgspec.UnsetType | None = msgspec.UNSET


class NewCredentials(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Credentials to enrol or replace; others stay as they are."""

    credentials: Annotated[list[NewCredential], msgspec.Meta(min_length=1, max_length=MAX_AT_ONCE)]


class EnrolledIdentifier(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A credential to remove: by its identifier and form, or all of a holder."""

    identifier: Identifier | None = None
    form: FormName | None = None
    holder: Holder | None = None


class Removals(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Credentials that are to open nothing any more."""

    credentials: Annotated[list[EnrolledIdentifier], msgspec.Meta(min_length=1, max_length=MAX_AT_ONCE)]


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What became of one credential of a request; `row` counts from 0.

    `status` is added, replaced, unchanged, removed, not_enrolled or refused; `detail` says why it was refused.
    """

    row: int
    status: str
    holder: str | None = None
    detail: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of each credential, and how many of each status there are."""

    counts: dict[str, int]
    rows: list[Row]


class ShownCredential(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the cloud knows of an enrolled credential; `key` is the hash of its identifier."""

    key: str
    holder: str
    kind: str
    flags: list[str]
    access_levels: list[int]
    pin: bool
    duress_pin: bool
    changed_at: datetime


class ShownCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """A page of credentials, by key."""

    data: list[ShownCredential]
    pagination: Pagination


class ShownRoster(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A site's roster: the version that its doors fetch, since when, and how much is in it."""

    version: int
    issued_at: datetime
    credentials: int
    with_pin: int
    level_sets: int
