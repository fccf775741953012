"""Every error as a problem document (RFC 9457) with a `reason` for programs.

Invariant: nothing about the inside of the service leaves with an unexpected fault.
Must not: be built by hand anywhere else.
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from cloud.database import AWAY
from cloud.errors import CloudError, Reason

MEDIA_TYPE: Final = "application/problem+json"
_CHALLENGES: Final = {
    Reason.TOKEN_REQUIRED: "Bearer",
    Reason.TOKEN_UNKNOWN: 'Bearer error="invalid_token"',
    Reason.TOKEN_EXPIRED: 'Bearer error="invalid_token"',
    Reason.CLAIM_REQUIRED: 'Basic realm="doorward enrolment"',
    Reason.CLAIM_UNKNOWN: 'Basic realm="doorward enrolment"',
    Reason.CLAIM_USED: 'Basic realm="doorward enrolment"',
    Reason.CLAIM_EXPIRED: 'Basic realm="doorward enrolment"',
}
_LOG: Final = structlog.get_logger(__name__)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document. `type` stays "about:blank", so `title` is the status's phrase (RFC 9457 §4.2.1)."""

    status: int
    title: str
    reason: str
    detail: str
    errors: list[dict[str, str]] = msgspec.field(default_factory=list)


def describe(error: Exception) -> tuple[Problem, dict[str, str]]:
    """Give the problem document and the extra headers of any exception; log the unexpected ones."""
    if isinstance(error, CloudError):
        return _known(error)
    if isinstance(error, HTTPException):
        return _framework(error)
    if isinstance(error, AWAY):
        _LOG.warning("database_unavailable", error=str(error))
        detail = "The database does not answer; the same request may succeed soon."
        return _known(CloudError(Reason.DATABASE_UNAVAILABLE, detail, retry_after_s=2))
    _LOG.error("request_failed", exc_info=error)
    return _known(CloudError(Reason.INTERNAL, "An unexpected fault; the service's log tells more."))


def respond(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer with a problem document: Litestar's exception handler for everything."""
    problem, headers = describe(error)
    return Response(encode(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def encode(problem: Problem) -> bytes:
    """Write the document as JSON."""
    return msgspec.json.encode(problem)


def _known(error: CloudError) -> tuple[Problem, dict[str, str]]:
    headers = {}
    if error.reason in _CHALLENGES:
        headers["www-authenticate"] = _CHALLENGES[error.reason]
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    status = HTTPStatus(error.reason.status)
    problem = Problem(status=status, title=status.phrase, reason=error.reason.name, detail=error.detail)
    return problem, headers


def _framework(error: HTTPException) -> tuple[Problem, dict[str, str]]:
    """Name what Litestar found: the reason is the status's own name (NOT_FOUND, METHOD_NOT_ALLOWED, BAD_REQUEST …)."""
    status = HTTPStatus(error.status_code)
    extra = error.extra if isinstance(error.extra, list) else []
    errors = [{str(name): str(value) for name, value in item.items()} for item in extra if isinstance(item, dict)]
    detail = error.detail if status < HTTPStatus.INTERNAL_SERVER_ERROR else status.phrase
    problem = Problem(status=status, title=status.phrase, reason=status.name, detail=detail, errors=errors)
    return problem, dict(error.headers or {})
