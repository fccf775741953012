"""What doors and operators fetch from a running service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wire.messages import (
    DEVICE_CHANGES,
    DEVICE_POLICY,
    DEVICE_STATUS,
    DEVICE_TRUST,
    MEDIA_COSE,
    MEDIA_STATUS_DELTA,
    MEDIA_STATUS_LIST,
)
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from tests.support.clouds import RunningCloud

_POLICY = {"accessLevels": [{"id": 1, "schedules": [0]}]}


async def test_each_document_has_an_etag_and_is_not_sent_twice(cloud: RunningCloud):
    device = await cloud.enrolled("fetch-1")
    await cloud.api.put("/api/v1/institutions/fetch-1/doors/main-entrance/policy", json=_POLICY)
    async with device.client() as client:
        for path, media in (
            (DEVICE_TRUST, MEDIA_COSE),
            (DEVICE_POLICY, MEDIA_COSE),
            (f"{DEVICE_STATUS}/0", MEDIA_STATUS_LIST),
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["content-type"], answer.headers["etag"]) == (200, media, '"1"')
            again = await client.get(path, headers={"if-none-match": '"0", W/"1"'})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"1"')
            assert (await client.get(path, headers={"if-none-match": '"2"'})).status_code == 200


async def test_a_waiting_door_learns_of_a_revocation_and_fetches_the_delta(cloud: RunningCloud):
    device = await cloud.enrolled("fetch-2")
    passes = "/api/v1/institutions/fetch-2/passes"
    issued = (await cloud.api.post(passes, json={"kind": "visitor"})).json()
    async with device.client() as client:
        offered = (await client.get(DEVICE_CHANGES)).json()
        assert offered == {"trust": 1, "policy": 0, "status": {"0": 1}, "roster": 0, "commands": 0}
        query = {"trust": "1", "policy": "0", "status": "0:1", "wait_s": "30"}
        polling = asyncio.create_task(client.get(DEVICE_CHANGES, params=query))
        revoked = await cloud.api.post(f"{passes}/{issued['passId']}/revoke")
        assert revoked.json()["status"] == "revoked"
        assert (await polling).json()["status"] == {"0": 2}
        delta = await client.get(f"{DEVICE_STATUS}/0", params={"since": "1"})
        assert (delta.headers["content-type"], delta.headers["etag"]) == (MEDIA_STATUS_DELTA, '"2"')


async def test_a_door_without_policy_or_with_an_odd_question_is_told_why(cloud: RunningCloud):
    device = await cloud.enrolled("fetch-3")
    async with device.client() as client:
        for path, status, reason in (
            (DEVICE_POLICY, 404, "POLICY_UNKNOWN"),
            (f"{DEVICE_STATUS}/7", 404, "STATUS_LIST_UNKNOWN"),
            (f"{DEVICE_STATUS}/65536", 404, "STATUS_LIST_UNKNOWN"),
            (f"{DEVICE_STATUS}/x", 404, "STATUS_LIST_UNKNOWN"),
            (f"{DEVICE_STATUS}/0?since=-1", 422, "QUERY_INVALID"),
            (f"{DEVICE_STATUS}/0?since={2**63}", 422, "QUERY_INVALID"),
            (f"{DEVICE_CHANGES}?trust=x", 422, "QUERY_INVALID"),
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_operators_give_policies_and_fetch_what_verifiers_need(cloud: RunningCloud):
    await cloud.make_door("fetch-4")
    place = "/api/v1/institutions/fetch-4"
    put = await cloud.api.put(f"{place}/doors/main-entrance/policy", json=_POLICY)
    assert (put.status_code, put.json()) == (200, {"version": 1})
    shown = (await cloud.api.get(f"{place}/doors/main-entrance/policy")).json()
    assert (shown["version"], shown["policy"]["accessLevels"]) == (1, _POLICY["accessLevels"])
    trust = await cloud.api.get(f"{place}/trust")
    assert (trust.headers["content-type"], parse_pinned(trust.content).open().version) == ("application/cbor", 1)
    status = await cloud.api.get(f"{place}/status/0")
    assert status.headers["content-type"] == MEDIA_STATUS_LIST
    rotated = await cloud.api.post(f"{place}/keys/rotate", json={"roles": ["pass", "pass"]})
    assert (rotated.status_code, rotated.json()) == (200, {"version": 2})


async def test_operators_are_told_what_is_wrong(cloud: RunningCloud):
    await cloud.make_door("fetch-5")
    place = "/api/v1/institutions/fetch-5"
    for answer, status, reason in (
        (await cloud.api.put(f"{place}/doors/nowhere/policy", json={}), 404, "DOOR_UNKNOWN"),
        (await cloud.api.put("/api/v1/institutions/none/doors/a/policy", json={}), 404, "INSTITUTION_UNKNOWN"),
        (
            await cloud.api.put(
                f"{place}/doors/main-entrance/policy", json={"accessLevels": [{"id": 1, "schedules": [9]}]}
            ),
            422,
            "POLICY_INVALID",
        ),
        (await cloud.api.put(f"{place}/doors/main-entrance/policy", json={}), 409, "POLICY_LOCKS_OUT"),
        (await cloud.api.post(f"{place}/keys/rotate", json={"roles": ["root"]}), 400, "BAD_REQUEST"),
        (await cloud.api.get("/api/v1/institutions/none/trust"), 404, "INSTITUTION_UNKNOWN"),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_a_missing_root_is_a_conflict_that_says_what_to_do(cloud: RunningCloud):
    await cloud.make_door("fetch-6")
    (root,) = (cloud.state / "keys" / "fetch-6").glob("root-*.pem")
    root.unlink()
    answer = await cloud.api.post("/api/v1/institutions/fetch-6/keys/rotate", json={"roles": ["pass"]})
    assert (answer.status_code, answer.json()["reason"]) == (409, "ROOT_OFFLINE")
    assert "Bring" in answer.json()["detail"]
