"""Operators: who may use the API.

Invariant: a route is closed unless it says `public`; the database knows only a token's hash.
Must not: log a token.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from cloud.database import Pool
from cloud.errors import CloudError, Reason
from cloud.files import read_secret, write_file

PUBLIC: Final = "public"
"""The `opt` of a route that needs no token: `@get(…, opt={PUBLIC: True})`."""
ADMIN: Final = "admin"
_FIRST_TOKEN: Final = "first"  # noqa: S105 - the name of a row
_TOKEN_BYTES: Final = 32
_MAX_TOKEN_CHARACTERS: Final = 256
_CACHE_S: Final = 5.0
_MAX_CACHED: Final = 10_000


async def ensure_operator_token(pool: Pool, path: Path, *, now: datetime) -> None:
    """Make STATE/operator.token at the first start, and let the database know its hash.

    Raises:
        CloudError: STATE_UNUSABLE.
    """
    held = read_secret(path)
    if held is None:
        held = secrets.token_urlsafe(_TOKEN_BYTES).encode("ascii") + b"\n"
        write_file(path, held)
    await pool.execute(
        "INSERT INTO operator_tokens (token_hash, name, scopes, created_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (name) DO UPDATE SET token_hash = excluded.token_hash",
        _hash(held.decode("ascii").strip()),
        _FIRST_TOKEN,
        [ADMIN],
        now,
    )


class OperatorGuard:
    """Litestar's guard for the whole API.

    Args:
        pool: the database.
        now: the wall clock, for a token's end.
        monotonic_s: a clock that never goes back, for the memory.
    """

    def __init__(self, pool: Pool, *, now: Callable[[], datetime], monotonic_s: Callable[[], float]) -> None:
        self._pool = pool
        self._now = now
        self._monotonic_s = monotonic_s
        self._known: OrderedDict[bytes, tuple[float, datetime | None]] = OrderedDict()

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Return when the caller may use the route.

        Raises:
            CloudError: TOKEN_REQUIRED, TOKEN_UNKNOWN or TOKEN_EXPIRED.
        """
        if handler.opt.get(PUBLIC):
            return
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_TOKEN_CHARACTERS:
            detail = "Send the operator token: Authorization: Bearer TOKEN (it is in the state folder, operator.token)."
            raise CloudError(Reason.TOKEN_REQUIRED, detail)
        expires_at = await self._look_up(_hash(token.strip()))
        if expires_at is not None and expires_at <= self._now():
            raise CloudError(Reason.TOKEN_EXPIRED, "This operator token has expired; ask for a new one.")

    async def _look_up(self, digest: bytes) -> datetime | None:
        """Give a known token's end; remembered for some seconds."""
        now_s = self._monotonic_s()
        known = self._known.get(digest)
        if known is not None and known[0] > now_s:
            return known[1]
        row = await self._pool.fetchrow(
            "SELECT token_hash, expires_at FROM operator_tokens WHERE token_hash = $1", digest
        )
        if row is None or not hmac.compare_digest(bytes(row["token_hash"]), digest):
            raise CloudError(Reason.TOKEN_UNKNOWN, "This operator token is not known.")
        expires_at: datetime | None = row["expires_at"]
        self._known[digest] = (now_s + _CACHE_S, expires_at)
        if len(self._known) > _MAX_CACHED:
            self._known.popitem(last=False)
        return expires_at


def _hash(token: str) -> bytes:
    """SHA-256 suffices: a token is 256 random bits, not a password."""
    return hashlib.sha256(token.encode()).digest()
