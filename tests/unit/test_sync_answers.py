"""What the cloud answers, read without trust."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.answers import parse_versions, refuse
from sync.ports import Reason, UplinkError
from wire.versions import MAX_STATUS_LISTS, Versions


def refusal(status: int, body: bytes, retry_after: str | None = None) -> UplinkError:
    with pytest.raises(UplinkError) as caught:
        refuse(status, body, retry_after=retry_after)
    return caught.value


@pytest.mark.parametrize(
    ("status", "name", "reason"),
    [
        (409, "SEQUENCE_GAP", Reason.SEQUENCE_GAP),
        (409, "CHAIN_BROKEN", Reason.CHAIN_BROKEN),
        (409, "EPOCH_CLOSED", Reason.EPOCH_CLOSED),
        (409, "EPOCH_UNEXPECTED", Reason.QUARANTINED),
        (409, "DEVICE_QUARANTINED", Reason.QUARANTINED),
        (401, "DEVICE_CERTIFICATE_REQUIRED", Reason.NOT_ENROLLED),
        (403, "DEVICE_CERTIFICATE_UNKNOWN", Reason.NOT_ENROLLED),
        (403, "DEVICE_REVOKED", Reason.NOT_ENROLLED),
        (403, "SOMETHING_NEW", Reason.NOT_ENROLLED),
        (429, "INGEST_BUSY", Reason.BUSY),
        (503, "DATABASE_UNAVAILABLE", Reason.BUSY),
        (500, "INTERNAL", Reason.BUSY),
        (404, "NOT_FOUND", Reason.REFUSED),
        (400, "BATCH_INVALID", Reason.REFUSED),
    ],
)
def test_a_problem_document_gives_its_class(status: int, name: str, reason: Reason):
    assert refusal(status, json.dumps({"reason": name}).encode()).reason is reason


def test_the_detail_of_a_problem_is_shown():
    assert "come back on Monday" in str(refusal(503, b'{"detail": "come back on Monday"}'))


def test_the_remedy_follows_a_detail_that_is_a_sentence():
    told = str(refusal(404, b'{"detail": "There is nothing here."}'))
    assert told.startswith("the cloud answered 404: There is nothing here; ")


def test_a_detail_is_cut_and_freed_of_control_characters():
    error = refusal(503, json.dumps({"detail": "\x1b[2J" + "x" * 10_000}).encode())
    assert "\x1b" not in str(error)
    assert len(str(error)) < 500


def test_a_gap_says_up_to_where_the_cloud_has_the_journal():
    assert refusal(409, b'{"reason": "SEQUENCE_GAP", "durable": 17}').durable == 17


@pytest.mark.parametrize("durable", ["-1", "true", '"17"', "1.5", "null", str(2**63)])
def test_a_mark_that_is_no_event_number_is_ignored(durable: str):
    assert refusal(409, f'{{"reason": "SEQUENCE_GAP", "durable": {durable}}}'.encode()).durable is None


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("", None)]
)
def test_retry_after_is_read_in_seconds(header: str | None, seconds: float | None):
    assert refusal(503, b"", header).retry_after_s == seconds


def test_versions_are_read():
    assert parse_versions(b'{"trust": 12, "policy": 17, "status": {"0": 881, "7": 2}}') == Versions(
        12, 17, {0: 881, 7: 2}, 0
    )
    assert parse_versions(b'{"trust": 1, "policy": 2, "status": {}, "roster": 3}') == Versions(1, 2, {}, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"trust": 1, "policy": 1}',
        b'{"trust": -1, "policy": 1, "status": {}}',
        b'{"trust": true, "policy": 1, "status": {}}',
        b'{"trust": 1, "policy": 1.0, "status": {}}',
        b'{"trust": 1, "policy": 1, "status": []}',
        b'{"trust": 1, "policy": 1, "status": {"x": 1}}',
        b'{"trust": 1, "policy": 1, "status": {"65536": 1}}',
        b'{"trust": 1, "policy": 1, "status": {"0": null}}',
        b'{"trust": 1, "policy": 1, "status": {}, "roster": -1}',
        b'{"trust": 1, "policy": 1, "status": {}, "commands": -1}',
        b'{"trust": 1, "policy": 1, "status": {}, "roster": null}',
        b"[" * 60_000,
    ],
)
def test_an_announcement_that_is_none_is_refused(body: bytes):
    with pytest.raises(UplinkError) as caught:
        parse_versions(body)
    assert caught.value.reason is Reason.UNREADABLE


@pytest.mark.parametrize(("count", "accepted"), [(MAX_STATUS_LISTS, True), (MAX_STATUS_LISTS + 1, False)])
def test_the_number_of_status_lists_is_bounded(count: int, accepted: bool):  # noqa: FBT001 - a column of the table
    body = json.dumps({"trust": 1, "policy": 1, "status": {str(n): 1 for n in range(count)}}).encode()
    if accepted:
        assert len(parse_versions(body).status) == count
    else:
        with pytest.raises(UplinkError):
            parse_versions(body)


@given(body=st.binary(max_size=200), status=st.integers(300, 599))
def test_any_bytes_give_an_uplink_error(body: bytes, status: int):
    assert refusal(status, body).reason in Reason
