"""Fetching goes on where it broke off: what has come of a document is kept, and the rest is asked for (RFC 9110 §14).

Invariant: two parts are joined only when the cloud says, by the digest of the whole (RFC 9530), that both are of the
same bytes; whoever reads the document verifies its signature all the same.
Must not: keep more than one document, or one without a digest.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from sync.answers import unreadable

LEAST_BYTES: Final = 16 * 1024
"""Less is fetched again; it costs no more than asking for the rest."""
_RANGE: Final = re.compile(r"bytes (\d{1,12})-\d{1,12}/\d{1,12}")


@dataclass(frozen=True, slots=True)
class _Part:
    """The beginning of a document: how it was asked for, what it is a part of, its bytes so far."""

    name: str
    etag: str
    digest: str
    data: bytes


class Resumption:
    """Keeps the beginning of the document that last broke off."""

    def __init__(self) -> None:
        self._part: _Part | None = None

    def asks(self, name: str) -> dict[str, str]:
        """Give the headers that ask for the rest; none when nothing of this document is here."""
        if self._part is None or self._part.name != name:
            return {}
        return {"range": f"bytes={len(self._part.data)}-", "if-range": self._part.etag}

    def begin(self, status: int, headers: Mapping[str, str]) -> bytearray:
        """Give what to append the answer's body to, and forget it here.

        Raises:
            UplinkError: UNREADABLE when the answer is not the rest of what is here.
        """
        part, self._part = self._part, None
        if status != HTTPStatus.PARTIAL_CONTENT:
            return bytearray()
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        if part is None or found is None or int(found[1]) != len(part.data) or _digest(headers) != part.digest:
            raise unreadable("a part of a document that does not fit the part before")
        return bytearray(part.data)

    def broke(self, name: str, headers: Mapping[str, str], body: bytearray) -> None:
        """Keep what has come, if it is worth it and can be recognised."""
        etag, digest = headers.get("etag", ""), _digest(headers)
        if len(body) >= LEAST_BYTES and etag.isascii() and etag and digest:  # it is sent back as a header
            self._part = _Part(name, etag, digest, bytes(body))


def _digest(headers: Mapping[str, str]) -> str:
    return headers.get("repr-digest", "")
