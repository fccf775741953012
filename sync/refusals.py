"""Broken connections in words a technician can act on.

TLS refusals are the hard ones: they arrive as a read error, a connect error or a plain end of the connection, and the
library's text names neither the culprit nor the cure.

Invariant: decides on numeric codes and OpenSSL's reason names, never on a sentence.
Must not: open connections.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from sync.ports import Reason, UplinkError

# X509_V_ERR_… of OpenSSL's x509_vfy.h
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME: Final = frozenset({62, 64})
_WRONG_PURPOSE: Final = 26

ENROL_AGAIN: Final = "enrol the door again with a new claim code (doorward provision door); it keeps working offline"
_SET_CLOCK: Final = "set this machine's clock (timedatectl); if it is right, that certificate is due for renewal"

_ALERTS: Final = {
    "CERTIFICATE_EXPIRED": "says that this door's certificate has expired",
    "CERTIFICATE_REVOKED": "says that this door's certificate was revoked",
    "CERTIFICATE_REQUIRED": "asks for a certificate and got none",
    "CERTIFICATE_UNKNOWN": "does not accept this door's certificate",
    "UNKNOWN_CA": "does not know the authority that signed this door's certificate",
    "BAD_CERTIFICATE": "does not accept this door's certificate",
    "ACCESS_DENIED": "does not accept this door's certificate",
    "DECRYPT_ERROR": "says that this door's key does not fit its certificate",
}
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


def explain(error: Exception, url: str) -> UplinkError:
    """Translate a failed exchange with the cloud at `url`, or with the broker (mqtts)."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _distrusted(cause.verify_code, url)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return _refused(cause.reason or "", url)
    if isinstance(error, httpx.TimeoutException):
        return late(url)
    return UplinkError(
        Reason.UNREACHABLE,
        what=f"the {peer_at(url)} at {url} cannot be reached ({_innermost(error)})",
        remedy="check cable, network and address; the door keeps working and tries again by itself",
    )


def late(url: str) -> UplinkError:
    """Make the error for a cloud or broker that does not answer in time."""
    return UplinkError(
        Reason.DEADLINE,
        what=f"the {peer_at(url)} at {url} does not answer in time",
        remedy="check the network for loss or a proxy; the door keeps working and tries again by itself",
    )


def peer_at(url: str) -> str:
    """Name who is at an address."""
    return "broker" if url.startswith("mqtts:") else "cloud"


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give the error and what led to it, outermost first; bounded, should the chain be a ring."""
    current: BaseException | None = error
    for _ in range(16):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _innermost(error: BaseException) -> str:
    """Name the system's own error ("Connection refused") if one lies below, else the library's class."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLError | socket.gaierror) and cause.strerror:
            return cause.strerror  # their numbers are their own
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)  # asyncio writes words of its own into strerror
    return type(error).__name__


def _distrusted(code: int, url: str) -> UplinkError:
    peer = peer_at(url)
    if code in (_NOT_YET_VALID, _EXPIRED):
        state = "is not valid yet" if code == _NOT_YET_VALID else "has expired"
        what, remedy = f"by this machine's clock the certificate of the {peer} at {url} {state}", _SET_CLOCK
    elif code in _WRONG_NAME:
        what = f"the certificate of the {peer} is not for the address {url}"
        remedy = "use an address that the certificate names, or add this one in the cloud (DOORWARD_CLOUD_NAMES)"
    elif code in _UNKNOWN_ISSUER:
        whose = "the cloud" if peer == "cloud" else "a broker of the cloud"
        what = f"the server at {url} is not {whose} that this door was enrolled with"
        remedy = "check the address and whether a proxy opens TLS on the way; if the cloud is new, enrol the door again"
    elif code == _WRONG_PURPOSE:
        what = f"the server at {url} shows a door's certificate, not the {peer}'s"
        remedy = "find out who answers at this address: another device may pose as the cloud"
    else:
        what = f"the certificate of the {peer} at {url} does not verify (code {code})"
        remedy = "check the address; if it is right, ask the cloud's operator"
    return UplinkError(Reason.TLS_REFUSED, what=what, remedy=remedy)


def _refused(openssl_reason: str, url: str) -> UplinkError:
    peer = peer_at(url)
    for name, meaning in _ALERTS.items():
        if openssl_reason.endswith(name):
            return UplinkError(Reason.TLS_REFUSED, what=f"the {peer} at {url} {meaning}", remedy=ENROL_AGAIN)
    if openssl_reason in _NOT_TLS:
        return UplinkError(
            Reason.TLS_REFUSED,
            what=f"the server at {url} does not speak TLS",
            remedy="use the broker's port for TLS, 8883 as a rule"
            if peer == "broker"
            else "use the address of the cloud's device listener, not of its web pages",
        )
    return UplinkError(
        Reason.TLS_REFUSED,
        what=f"the {peer} at {url} and this door agree on no secure connection ({openssl_reason.lower()})",
        remedy="check the address; if it is right, ask the cloud's operator which TLS versions it speaks",
    )
