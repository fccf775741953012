"""Routes for devices: enrolment over secure transport (RFC 7030) and bootstrap.

Invariant: identity comes from the claim or the certificate, never from the request's content.
Must not: answer a secret; certificates are public.
"""

import base64
from typing import Any, Final

from cryptography import x509
from litestar import Request, Response, Router, get, post
from litestar.di import Provide
from litestar.status_codes import HTTP_200_OK

from cloud.devices import service
from cloud.devices.authority import certificates_only
from cloud.devices.enrolment import MAX_REQUEST_BYTES, enrol, re_enrol, read_claim_secret, read_request
from cloud.devices.guard import DeviceIdentity
from cloud.devices.models import Bootstrap
from cloud.errors import CloudError
from cloud.state import Cloud, Device
from wire.messages import DEVICE_BOOTSTRAP, EST_CACERTS, EST_ENROL, EST_REENROL

_PKCS7: Final = "application/pkcs7-mime; smime-type=certs-only"
_BASE64: Final = {"content-transfer-encoding": "base64"}


@get(EST_CACERTS)
async def ca_certificates(cloud: Cloud) -> Response[bytes]:
    """Give the device CA; the claim code says how to recognise it (RFC 7030 §4.1)."""
    return _certificates(cloud.authority.certificate)


@post(EST_ENROL, status_code=HTTP_200_OK, request_max_body_size=MAX_REQUEST_BYTES)
async def simple_enrol(request: Request[Any, Any, Any], cloud: Cloud) -> Response[bytes]:
    """Turn a claim and a certificate request into a certificate (RFC 7030 §4.2.1)."""
    address = request.client.host if request.client else "unknown"
    cloud.attempts.check(address, now_s=cloud.monotonic_s())
    try:
        secret = read_claim_secret(request.headers.get("authorization"))
        public_key = read_request(await request.body())
        certificate = await enrol(cloud.pool, cloud.authority, secret=secret, public_key=public_key, now=cloud.now())
    except CloudError:
        cloud.attempts.failed(address, now_s=cloud.monotonic_s())
        raise
    return _certificates(certificate)


@post(EST_REENROL, status_code=HTTP_200_OK, request_max_body_size=MAX_REQUEST_BYTES)
async def simple_re_enrol(request: Request[Any, Any, Any], cloud: Cloud, device: Device) -> Response[bytes]:
    """Renew a certificate over mutual TLS (RFC 7030 §4.2.2)."""
    public_key = read_request(await request.body())
    certificate = await re_enrol(cloud.pool, cloud.authority, identity=device, public_key=public_key, now=cloud.now())
    return _certificates(certificate)


@get(DEVICE_BOOTSTRAP)
async def bootstrap(cloud: Cloud, device: Device) -> Bootstrap:
    """Tell a device where it stands, which root key to pin, and at which broker it is heard."""
    return await service.bootstrap(cloud.pool, cloud.issuing.keyring, device, broker=cloud.broker_for_doors)


async def identify(request: Request[Any, Any, Any], cloud: Cloud) -> DeviceIdentity:
    """Give the device behind a request; the dependency `device` of a route."""
    return await cloud.devices.identify(request.scope)


def _certificates(certificate: x509.Certificate) -> Response[bytes]:
    body = base64.encodebytes(certificates_only([certificate]))
    return Response(body, media_type=_PKCS7, headers=_BASE64)


router = Router("/", route_handlers=[ca_certificates, simple_enrol, simple_re_enrol, bootstrap])
identify_device = Provide(identify)
