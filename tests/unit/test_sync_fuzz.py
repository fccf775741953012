"""Whatever is written to a door by its cloud, a broker or somebody between them: a value or the parser's one error."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from provisioning.documents import read_identity, read_versions
from provisioning.errors import ProvisioningError
from provisioning.est import CertifiedAs
from sync.answers import parse_versions as parse_changes
from sync.answers import refuse
from sync.ports import Reason, UplinkError
from tests.fuzz.heard import (
    ANNOUNCEMENTS,
    BOOTSTRAPS,
    CHANGES,
    PROBLEMS,
    REPLIES,
    cbor_mutants,
    json_mutants,
    texts,
)
from wire.codec import MAX_UINT
from wire.errors import WireError, WireReason
from wire.mqtt import MAX_BODY_BYTES, parse_reply
from wire.status_list import MAX_LIST_ID
from wire.versions import MAX_STATUS_LISTS, Versions, parse_versions

if TYPE_CHECKING:
    from tests.conftest import Effort

pytestmark = pytest.mark.fuzz

_LONGEST_SENTENCE = 1_000


def bounded(found: Versions) -> bool:
    """Tell whether versions are within what may travel in the next question's address."""
    numbers = [found.trust, found.policy, found.roster, found.commands, *found.status.values()]
    return (
        all(type(each) is int and 0 <= each <= MAX_UINT for each in numbers)
        and len(found.status) <= MAX_STATUS_LISTS
        and all(0 <= each <= MAX_LIST_ID for each in found.status)
    )


def test_replies(effort: Effort):
    ends: Counter[str] = Counter()
    for data in cbor_mutants(1, effort.pick(usual=20_000, long=1_000_000), REPLIES):
        try:
            found = parse_reply(data)
        except WireError as error:
            ends[error.reason.value] += 1
        else:
            ends["read"] += 1
            assert 200 <= found.status <= 599
            assert len(found.body) <= MAX_BODY_BYTES
    reached(ends, "read", WireReason.OUT_OF_RANGE, WireReason.MISSING_FIELD, WireReason.WRONG_TYPE, WireReason.NOT_CBOR)


def test_announcements(effort: Effort):
    ends: Counter[str] = Counter()
    for data in cbor_mutants(2, effort.pick(usual=20_000, long=1_000_000), ANNOUNCEMENTS):
        try:
            found = parse_versions(data)
        except WireError as error:
            ends[error.reason.value] += 1
        else:
            ends["read"] += 1
            assert bounded(found)
    reached(ends, "read", WireReason.OUT_OF_RANGE, WireReason.MISSING_FIELD, WireReason.WRONG_TYPE, WireReason.NOT_CBOR)


def test_answers_about_changes(effort: Effort):
    ends: Counter[str] = Counter()
    reasons: set[Reason] = set()
    for data in json_mutants(3, effort.pick(usual=20_000, long=1_000_000), CHANGES):
        try:
            found = parse_changes(data)
        except UplinkError as error:
            ends[error.what] += 1
            reasons.add(error.reason)
        else:
            ends["read"] += 1
            assert bounded(found)
    assert (len(ends), reasons) == (5, {Reason.UNREADABLE}), ends


def test_refusals(effort: Effort):
    ends: Counter[str] = Counter()
    count = effort.pick(usual=20_000, long=1_000_000)
    headers = texts(4, count)
    for number, data in enumerate(json_mutants(5, count, PROBLEMS)):
        with pytest.raises(UplinkError) as caught:
            refuse((400, 401, 409, 429, 503)[number % 5], data, retry_after=next(headers))
        ends[caught.value.reason.value] += 1
        assert len(str(caught.value)) <= _LONGEST_SENTENCE
        assert str(caught.value).isprintable()
        assert caught.value.durable is None or 0 <= caught.value.durable <= MAX_UINT
        assert caught.value.retry_after_s is None or 0 <= caught.value.retry_after_s < 1_000_000
    reached(ends, Reason.SEQUENCE_GAP, Reason.BUSY, Reason.NOT_ENROLLED, Reason.REFUSED)


def test_what_an_installers_machine_is_told(effort: Effort):
    ends: Counter[str] = Counter()
    who = CertifiedAs(tenant="oakfield", device="main-entrance-k3v9")
    count = effort.pick(usual=10_000, long=500_000)
    for data in json_mutants(6, count, BOOTSTRAPS):
        try:
            read_identity(data, who)
        except ProvisioningError as error:
            ends[error.reason.name] += 1
        else:
            ends["identity"] += 1
    for data in json_mutants(7, count, CHANGES):
        try:
            policy, lists = read_versions(data)
        except ProvisioningError as error:
            ends[error.reason.name] += 1
        else:
            ends["read"] += 1
            assert 0 <= policy <= MAX_UINT
            assert len(lists) <= MAX_STATUS_LISTS
    reached(ends, "identity", "read", "ANSWER_UNREADABLE", "DOCUMENT_REFUSED")


def reached(ends: Counter[str], *wanted: str | WireReason | Reason) -> None:
    """A fuzzer that never gets past the front door proves nothing."""
    for each in wanted:
        name = each if isinstance(each, str) else each.value
        assert ends[name] > ends.total() // 1_000, f"{name}: {ends}"
