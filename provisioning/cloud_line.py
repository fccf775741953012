"""Questions to the cloud during provisioning: first without trust, then with its CA, then as this device.

Invariant: an answer is bounded in bytes and time; a refusal becomes a sentence for the installer.
Must not: send the claim's secret over a connection whose certificate was not verified.
"""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.config import is_broker_url
from provisioning.errors import ProvisioningError, Reason
from provisioning.est import unreadable

OPERATION_S: Final = 15.0
"""For connecting and for each piece of an answer."""
ANSWER_S: Final = 90.0
"""For a whole answer: a revocation list of 1.3 MB on a line of 200 kbit/s takes 52 s."""
MAX_PROBLEM_BYTES: Final = 16 * 1024
_MAX_DETAIL: Final = 300

# X509_V_ERR_… of OpenSSL's x509_vfy.h
_CLOCK_CODES: Final = (9, 10)
_NAME_CODES: Final = (62, 64)

_CLAIM_REMEDY: Final = (
    "make a new claim code for this door in the cloud (doorward cloud call POST institutions/TENANT/doors/DOOR/claims)"
    " and run the command again with it"
)
_REASONS: Final = {
    "CLAIM_UNKNOWN": (Reason.CLAIM_UNKNOWN, "the cloud does not know this claim code", "check it; if it is right, "),
    "CLAIM_EXPIRED": (Reason.CLAIM_EXPIRED, "this claim code has expired", ""),
    "CLAIM_USED": (
        Reason.CLAIM_USED,
        "this claim code has been used before, and not for the certificate that is here",
        "if that was not you, tell the operator; ",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request and the bounds of its answer.

    Attributes:
        max_bytes: a longer answer is refused.
        welcome: the HTTP statuses that count as an answer.
    """

    path: str
    max_bytes: int
    method: str = "GET"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = None
    welcome: tuple[HTTPStatus, ...] = (HTTPStatus.OK,)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, complete; `date` as the server's clock says, empty when it does not."""

    status: int
    body: bytes
    date: str


def check_cloud_url(url: str) -> str:
    """Give an address that is https://host or https://host:port, without a slash at its end.

    Raises:
        ProvisioningError: ADDRESS_INVALID.
    """
    try:
        parts = urlsplit(url)
        plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and plain
    except ValueError:
        usable = False
    if not usable:
        raise ProvisioningError(
            Reason.ADDRESS_INVALID,
            what=f"{url!r} is not the address of a cloud",
            remedy="write it like https://cloud.example:8443",
        )
    return url.rstrip("/")


def check_broker_url(url: str) -> str:
    """Give an address that is mqtts://host or mqtts://host:port, without a slash at its end.

    Raises:
        ProvisioningError: ADDRESS_INVALID.
    """
    if not is_broker_url(url):
        raise ProvisioningError(
            Reason.ADDRESS_INVALID,
            what=f"{url!r} is not the address of a broker",
            remedy="write --broker mqtts://cloud.example:8883, or --broker none for HTTPS alone",
        )
    return url.rstrip("/")


class CloudLine:
    """A line to one server; use it in a `with` statement.

    Args:
        url: as `check_cloud_url` gives it.
        context: decides whom to believe and what to show.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self._url = url
        self._client = httpx.Client(
            base_url=url,
            verify=context,
            follow_redirects=False,
            trust_env=False,
            timeout=OPERATION_S,
            headers={"accept-encoding": "identity", "user-agent": "doorward"},
        )

    def __enter__(self) -> Self:
        """Give the line."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its connections."""
        self._client.close()

    def ask(self, question: Question) -> Answer:
        """Ask and give the whole answer.

        Raises:
            ProvisioningError: no answer, a refusal, or an answer that is too long.
        """
        until_s = time.monotonic() + ANSWER_S
        request = self._client.build_request(
            question.method,
            question.path,
            params=question.query,
            headers=question.headers,
            content=question.content,
        )
        try:
            response = self._client.send(request, stream=True)
            try:
                welcome = response.status_code in question.welcome
                body = self._read(response, question.max_bytes if welcome else MAX_PROBLEM_BYTES, until_s)
            finally:
                response.close()
        except (httpx.HTTPError, OSError) as error:
            raise self._explain(error) from error
        if not welcome:
            raise _refused(response.status_code, body)
        return Answer(response.status_code, body, response.headers.get("date", ""))

    def _read(self, response: httpx.Response, limit: int, until_s: float) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise unreadable("a compressed body, which was not asked for")
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > limit:
                raise unreadable(f"more than {limit} bytes")
            if time.monotonic() > until_s:
                raise self._late()
        return bytes(body)

    def _late(self) -> ProvisioningError:
        return ProvisioningError(
            Reason.DEADLINE,
            what=f"the cloud at {self._url} does not answer in time",
            remedy="check the network, then run the same command again: it goes on where it stopped",
        )

    def _explain(self, error: Exception) -> ProvisioningError:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._distrusted(cause.verify_code)
            if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
                return ProvisioningError(
                    Reason.TLS_REFUSED,
                    what=f"the server at {self._url} agrees on no secure connection ({(cause.reason or '').lower()})",
                    remedy="check that host and port are those of the cloud's listener for doors, not of its web pages",
                )
        if isinstance(error, httpx.TimeoutException):
            return self._late()
        return ProvisioningError(
            Reason.UNREACHABLE,
            what=f"the cloud at {self._url} cannot be reached ({_innermost(error)})",
            remedy="check cable, network and address, then run the same command again: it goes on where it stopped",
        )

    def _distrusted(self, code: int) -> ProvisioningError:
        if code in _CLOCK_CODES:
            return ProvisioningError(
                Reason.CLOCK_WRONG,
                what=f"by this machine's clock the certificate of {self._url} is not valid",
                remedy="compare the clock (timedatectl); if it is right, the cloud's certificate has to be renewed",
            )
        if code in _NAME_CODES:
            return ProvisioningError(
                Reason.TLS_REFUSED,
                what=f"the cloud's certificate is not for the address {self._url}",
                remedy="use an address that it names, or have the operator add this one (DOORWARD_CLOUD_NAMES)",
            )
        return ProvisioningError(
            Reason.TLS_REFUSED,
            what=f"the server at {self._url} showed the right CA, but its own certificate is not by it (code {code})",
            remedy="somebody may stand between this machine and the cloud: do not go on here, try another network",
        )


def without_trust() -> ssl.SSLContext:
    """Believe anybody: only for fetching the CA, which the claim code then judges (RFC 7030 §4.1.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trusting(ca: x509.Certificate) -> ssl.SSLContext:
    """Believe one authority and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca.public_bytes(Encoding.PEM).decode("ascii"))
    return context


def identified(ca: x509.Certificate, *, certificate: Path, key: Path) -> ssl.SSLContext:
    """Believe one authority, and show who we are.

    Raises:
        ProvisioningError: KEY_UNUSABLE when the two files do not belong together.
    """
    context = trusting(ca)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ProvisioningError(
            Reason.KEY_UNUSABLE,
            what=f"{certificate} and {key} cannot be used together",
            remedy=f"remove both and run the command again with a new claim code (rm {certificate} {key})",
        ) from error
    return context


def _refused(status: int, body: bytes) -> ProvisioningError:
    problem = json_object(body)
    name = str(problem.get("reason", ""))
    if name in _REASONS:
        reason, what, hint = _REASONS[name]
        return ProvisioningError(reason, what=what, remedy=hint + _CLAIM_REMEDY)
    said = "".join(letter if letter.isprintable() else " " for letter in str(problem.get("detail", ""))[:_MAX_DETAIL])
    what = f"the cloud answered {status}{f' ({said})' if said else ''}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return ProvisioningError(Reason.NOT_ENROLLED, what=what, remedy=_CLAIM_REMEDY)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        remedy = "wait a minute and run the same command again: it goes on where it stopped"
        return ProvisioningError(Reason.BUSY, what=what, remedy=remedy)
    remedy = "check that the address is the cloud's listener for doors and that both run versions that fit"
    return ProvisioningError(Reason.REFUSED, what=what, remedy=remedy)


def json_object(body: bytes) -> dict[str, object]:
    """Read a JSON object; anything else is an empty one."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(16):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _innermost(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(error).__name__
