"""A site of the real cloud: its operator, who enrols and removes, and what a door is given of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloud.issuing.keys import KeyRole
from cloud.roster.models import EnrolledIdentifier, NewCredential
from cloud.roster.service import Credentials
from wire.messages import MEDIA_ROSTER, MEDIA_ROSTER_DELTA
from wire.roster import IdentifierForm, identifier_key, open_roster
from wire.roster_delta import open_roster_delta

if TYPE_CHECKING:
    from cloud.issuing.rosters import SignedRoster
    from cloud.roster.models import Report
    from tests.support.cloud_parts import Parts
    from wire.keys import PublicKey
    from wire.names import Tenant
    from wire.roster import Roster
    from wire.roster_delta import RosterDelta

SITE = "campus"


class Site:
    """One site.

    Args:
        parts: the services.
        tenant: an institution that has a door there.
    """

    def __init__(self, parts: Parts, tenant: Tenant) -> None:
        self.parts = parts
        self.tenant = tenant
        self.credentials = Credentials(parts.pool, parts.issuing, now=parts.clock.now)

    async def put(self, *items: NewCredential) -> Report:
        """Enrol credentials or replace them."""
        return await self.credentials.put(self.tenant, SITE, items)

    async def enrol(self, *numbers: int, level: int = 1) -> None:
        """Enrol barcodes that are these numbers, with this access level."""
        report = await self.put(*(barcode(str(number), access_levels=[level]) for number in numbers))
        assert not report.counts.get("refused")

    async def remove(self, *numbers: int) -> Report:
        """Remove barcodes that are these numbers."""
        items = [EnrolledIdentifier(identifier=str(number), form="barcode") for number in numbers]
        return await self.credentials.remove(self.tenant, SITE, items)

    async def document(self, since: int | None = None) -> SignedRoster:
        """What a door gets."""
        return await self.parts.issuing.rosters.document(self.tenant, SITE, since=since)

    async def whole(self) -> Roster:
        """The whole roster, verified."""
        found = await self.document()
        assert found.media_type == MEDIA_ROSTER
        roster = open_roster(found.data, await self.key())
        assert (roster.tenant, roster.site, roster.version) == (self.tenant, SITE, found.version)
        return roster

    async def delta(self, since: int) -> RosterDelta:
        """The delta from a version, verified."""
        found = await self.document(since)
        assert found.media_type == MEDIA_ROSTER_DELTA
        return open_roster_delta(found.data, await self.key())

    async def key(self) -> PublicKey:
        """The key that signs now."""
        return (await self.parts.issuing.keyring.signer(self.tenant, KeyRole.POLICY)).public_key

    def numbers(self, roster: Roster) -> list[int]:
        """Which of the barcodes 0 to 39 are enrolled."""
        return [number for number in range(40) if roster.find(key(roster, str(number))) is not None]


def key(roster: Roster, text: str) -> bytes:
    """The key of a barcode."""
    return identifier_key(roster.pepper, IdentifierForm.BARCODE, text.encode())


def barcode(text: str, **rest: object) -> NewCredential:
    """A barcode to enrol."""
    return NewCredential(identifier=text, form="barcode", **rest)  # type: ignore[arg-type]
