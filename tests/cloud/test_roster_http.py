"""Enrolled credentials over HTTP: what operators send, what doors fetch, what both are told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.support.clouds import enrol
from wire.messages import DEVICE_CHANGES, DEVICE_ROSTER, MEDIA_ROSTER, MEDIA_ROSTER_DELTA

if TYPE_CHECKING:
    from tests.support.clouds import RunningCloud

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(name="cloud")
def _cloud(shared_cloud: RunningCloud) -> RunningCloud:
    return shared_cloud


def place(tenant: str) -> str:
    return f"/api/v1/institutions/{tenant}/sites/campus"


def barcodes(*numbers: int) -> dict[str, object]:
    return {"credentials": [{"identifier": str(number), "form": "barcode"} for number in numbers]}


async def test_a_door_fetches_the_roster_and_then_what_has_changed(cloud: RunningCloud):
    device = await cloud.enrolled("roster-1")
    put = await cloud.api.put(f"{place('roster-1')}/credentials", json=barcodes(1, 2, 3, 4))
    assert (put.status_code, put.json()["counts"]) == (200, {"added": 4})
    async with device.client() as client:
        whole = await client.get(DEVICE_ROSTER)
        headers = (whole.status_code, whole.headers["content-type"], whole.headers["etag"])
        assert headers == (200, MEDIA_ROSTER, '"1"')
        again = await client.get(DEVICE_ROSTER, headers={"if-none-match": '"1"'})
        assert (again.status_code, again.content) == (304, b"")
        polling = asyncio.create_task(
            client.get(DEVICE_CHANGES, params={"trust": "1", "status": "0:1", "roster": "1", "wait_s": "30"})
        )
        removed = await cloud.api.post(f"{place('roster-1')}/credentials/remove", json=barcodes(2, 9))
        assert [row["status"] for row in removed.json()["rows"]] == ["removed", "not_enrolled"]
        assert (await polling).json()["roster"] == 2
        delta = await client.get(DEVICE_ROSTER, params={"since": "1"}, headers={"if-none-match": '"1"'})
        headers = (delta.status_code, delta.headers["content-type"], delta.headers["etag"])
        assert headers == (200, MEDIA_ROSTER_DELTA, '"2"')


async def test_a_door_of_a_site_without_credentials_is_told_so(cloud: RunningCloud):
    device = await cloud.enrolled("roster-2")
    made = await cloud.api.post("/api/v1/institutions/roster-2/doors", json={"id": "lab-door", "site": "lab"})
    assert made.status_code == 201
    await cloud.api.put("/api/v1/institutions/roster-2/sites/lab/credentials", json=barcodes(1))
    async with device.client() as client:
        answer = await client.get(DEVICE_ROSTER)
        assert (answer.status_code, answer.json()["reason"]) == (404, "ROSTER_UNKNOWN")
        assert (await client.get(DEVICE_CHANGES)).json()["roster"] == 0
        for query in ("since=x", "since=-1"):
            assert (await client.get(f"{DEVICE_ROSTER}?{query}")).status_code == 422
    other = await enrol(cloud.addresses.device_url, await cloud.claim("roster-2", "lab-door"))
    async with other.client() as client:
        assert (await client.get(DEVICE_ROSTER)).status_code == 200


async def test_operators_list_and_count(cloud: RunningCloud):
    await cloud.make_door("roster-3")
    credentials = f"{place('roster-3')}/credentials"
    item = {
        "identifier": "04a2b3c4",
        "form": "card_uid",
        "holder": "0123456789abcdef",
        "kind": "staff",
        "flags": ["extended_release"],
        "accessLevels": [2, 1],
        "pin": "2468",
        "duressPin": "1357",
    }
    put = await cloud.api.put(credentials, json={"credentials": [item, {**item, "pin": "1"}]})
    assert put.json() == {
        "counts": {"added": 1, "refused": 1},
        "rows": [
            {"row": 0, "status": "added", "holder": "0123456789abcdef"},
            {"row": 1, "status": "refused", "detail": "pin is not 4 to 8 digits"},
        ],
    }
    await cloud.api.put(credentials, json=barcodes(*range(5)))
    shown = (await cloud.api.get(credentials, params={"holder": "0123456789abcdef"})).json()
    assert shown["pagination"] == {"page": 1, "limit": 20, "total": 1}
    (one,) = shown["data"]
    assert {name: one[name] for name in one if name not in {"key", "changedAt"}} == {
        "holder": "0123456789abcdef",
        "kind": "staff",
        "flags": ["extended_release"],
        "accessLevels": [1, 2],
        "pin": True,
        "duressPin": True,
    }
    page = (await cloud.api.get(credentials, params={"page": "2", "limit": "4"})).json()
    assert (len(page["data"]), page["pagination"]["total"]) == (2, 6)
    roster = (await cloud.api.get(f"{place('roster-3')}/roster")).json()
    assert {name: roster[name] for name in ("version", "credentials", "withPin", "levelSets")} == {
        "version": 1,
        "credentials": 6,
        "withPin": 1,
        "levelSets": 2,
    }


async def test_operators_are_told_what_is_wrong(cloud: RunningCloud):
    await cloud.make_door("roster-4")
    credentials = f"{place('roster-4')}/credentials"
    elsewhere = "/api/v1/institutions/roster-4/sites/nowhere"
    for answer, status, reason in (
        (await cloud.api.put(f"{elsewhere}/credentials", json=barcodes(1)), 404, "SITE_UNKNOWN"),
        (await cloud.api.put(f"{place('none')}/credentials", json=barcodes(1)), 404, "INSTITUTION_UNKNOWN"),
        (await cloud.api.post(f"{credentials}/remove", json=barcodes(1)), 404, "ROSTER_UNKNOWN"),
        (await cloud.api.get(f"{place('roster-4')}/roster"), 404, "ROSTER_UNKNOWN"),
        (await cloud.api.put(credentials, json=barcodes()), 400, "BAD_REQUEST"),
        (await cloud.api.put(credentials, json=barcodes(*range(1_001))), 400, "BAD_REQUEST"),
        (await cloud.api.get(credentials, params={"holder": "x"}), 400, "BAD_REQUEST"),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    for change in (
        {"form": "fingerprint"},
        {"holder": "0123456789ABCDEF"},
        {"holder": "0123456789abcdef\n"},
        {"accessLevels": [65_536]},
        {"accessLevels": list(range(17))},
        {"kind": "guest"},
        {"name": "Ada"},
    ):
        body = {"credentials": [{"identifier": "1", "form": "barcode", **change}]}
        assert (await cloud.api.put(credentials, json=body)).status_code == 400, change


async def test_a_thousand_credentials_are_enrolled_at_once(cloud: RunningCloud):
    await cloud.make_door("roster-5")
    put = await cloud.api.put(f"{place('roster-5')}/credentials", json=barcodes(*range(1_000)))
    assert put.json()["counts"] == {"added": 1_000}


async def test_a_stranger_sees_nothing(cloud: RunningCloud):
    await cloud.make_door("roster-6")
    answer = await cloud.api.get(f"{place('roster-6')}/credentials", headers={"authorization": "Bearer wrong"})
    assert answer.status_code == 401


async def test_a_door_fetches_the_rest_of_a_roster_of_which_it_has_the_beginning(cloud: RunningCloud):
    device = await cloud.enrolled("roster-rest")
    put = await cloud.api.put(f"{place('roster-rest')}/credentials", json=barcodes(*range(1_000)))
    assert put.status_code == 200
    async with device.client() as client:
        whole = await client.get(DEVICE_ROSTER)
        assert len(whole.content) > 16 * 1024
        digest = base64.b64encode(hashlib.sha256(whole.content).digest()).decode()
        assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"
        for wanted, condition, status in (
            ("bytes=20000-", whole.headers["etag"], 206),
            ("bytes=20000-", '"7"', 200),
            (f"bytes={len(whole.content)}-", whole.headers["etag"], 200),
            ("bytes=0-", whole.headers["etag"], 200),
            ("bytes=1-2,5-6", whole.headers["etag"], 200),
            ("lines=7-", whole.headers["etag"], 200),
        ):
            rest = await client.get(DEVICE_ROSTER, headers={"range": wanted, "if-range": condition})
            assert (wanted, rest.status_code) == (wanted, status)
            assert rest.headers["repr-digest"] == whole.headers["repr-digest"]
            assert rest.content == (whole.content[20_000:] if status == 206 else whole.content)
            size = len(whole.content)
            assert rest.headers.get("content-range") == (f"bytes 20000-{size - 1}/{size}" if status == 206 else None)
