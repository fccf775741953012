"""A document at a version, as an answer: whole, its rest, or the news that the caller has it.

The rest of a document whose beginning a door has goes by Range, If-Range (RFC 9110 §14) and Repr-Digest (RFC 9530).

Invariant: an ETag stands for exactly one signed document; each part says the digest of the whole, so that a door joins
only what belongs together: two signatures of one version may differ.
Must not: answer several ranges, or ranges of what is quickly fetched again.
"""

import base64
import hashlib
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from litestar.types import HTTPScope

from cloud.asgi import Reply, header
from cloud.errors import CloudError, Reason
from cloud.issuing.changes import digits

LEAST_BYTES: Final = 16 * 1024
_FROM: Final = re.compile(r"bytes=(\d{1,12})-")


def answer(scope: HTTPScope, version: int, data: bytes, media_type: str) -> Reply:
    """Answer with a document at a version, or 304 to who has it."""
    return not_modified(scope, version) or _whole_or_rest(scope, data, media_type, etag=f'"{version}"')


def not_modified(scope: HTTPScope, version: int) -> Reply | None:
    """Give the answer to who has this version, None when the caller does not."""
    etag = f'"{version}"'
    if not _names(header(scope, b"if-none-match"), etag):
        return None
    return Reply(b"", None, HTTPStatus.NOT_MODIFIED, {"etag": etag})


def number(scope: HTTPScope, name: str) -> int | None:
    """Read a whole number of the query, None without it.

    Raises:
        CloudError: QUERY_INVALID.
    """
    text = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get(name)
    if text is None:
        return None
    try:
        return digits(text)
    except ValueError as error:
        raise CloudError(Reason.QUERY_INVALID, f"Expected a whole number as {name}: {error}.") from error


def _names(listed: str, etag: str) -> bool:
    """Compare weakly, as RFC 9110 §13.1.2 asks."""
    return any(item.strip().removeprefix("W/") in {etag, "*"} for item in listed.split(","))


def _whole_or_rest(scope: HTTPScope, data: bytes, media_type: str, *, etag: str) -> Reply:
    """Answer with the document, or with its rest if that is asked for and the caller's part is of this one."""
    headers = {"etag": etag}
    if len(data) < LEAST_BYTES:
        return Reply(data, media_type, headers=headers)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    headers |= {"accept-ranges": "bytes", "repr-digest": f"sha-256=:{digest}:"}
    asked = _FROM.fullmatch(header(scope, b"range"))
    start = 0 if asked is None else int(asked[1])
    if header(scope, b"if-range") != etag or not 0 < start < len(data):
        return Reply(data, media_type, headers=headers)
    headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return Reply(data[start:], media_type, HTTPStatus.PARTIAL_CONTENT, headers)
