"""Commands and lockdowns at the API: what is refused, what is the same order, what a door is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wire.command_list import MAX_COMMANDS, CommandList, parse_command_list
from wire.messages import DEVICE_CHANGES, DEVICE_COMMANDS, MEDIA_COMMANDS

if TYPE_CHECKING:
    from tests.support.clouds import RunningCloud


def place(tenant: str, door: str = "main-entrance") -> str:
    return f"/api/v1/institutions/{tenant}/doors/{door}/commands"


async def test_an_order_that_cannot_be_signed_says_why(cloud: RunningCloud):
    await cloud.make_door("order-1")
    for path, body, status, reason in (
        (place("order-1"), {"action": "unlock", "expiresInS": 61}, 422, "COMMAND_INVALID"),
        (place("order-1", "nowhere"), {"action": "unlock"}, 404, "DOOR_UNKNOWN"),
        (place("order-0"), {"action": "unlock"}, 404, "INSTITUTION_UNKNOWN"),
    ):
        answer = await cloud.api.post(path, json=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    for body in ({"action": "explode"}, {"action": "unlock", "expiresInS": 0}, {"action": "unlock", "more": 1}, {}):
        assert (await cloud.api.post(place("order-1"), json=body)).status_code in {400, 422}
    assert (await cloud.api.get(place("order-1"))).json() == {"data": []}
    assert (await cloud.api.get(place("order-1", "nowhere"))).json()["reason"] == "DOOR_UNKNOWN"


async def test_a_key_stands_for_one_order(cloud: RunningCloud):
    await cloud.make_door("order-2")
    key = {"idempotency-key": "press-1"}
    sent = [cloud.api.post(place("order-2"), json={"action": "unlock"}, headers=key) for _ in range(4)]
    answers = await asyncio.gather(*sent)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    shown = await cloud.api.get(f"{place('order-2')}/{answers[0].json()['id']}")
    assert shown.json() == {**answers[0].json(), "state": "pending"}
    unknown = await cloud.api.get(f"{place('order-2')}/{'0' * 32}")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "COMMAND_UNKNOWN")
    assert (await cloud.api.get(f"{place('order-2')}/no-id")).status_code == 404
    other = await cloud.api.post(place("order-2"), json={"action": "reset-fire"}, headers=key)
    assert (other.status_code, other.json()["reason"]) == (409, "COMMAND_CONFLICT")


async def test_a_waiting_door_is_told_and_fetches_what_follows(cloud: RunningCloud):
    device = await cloud.enrolled("order-3")
    async with device.client() as client:
        query = {"trust": "1", "policy": "0", "status": "0:1", "wait_s": "30"}
        polling = asyncio.create_task(client.get(DEVICE_CHANGES, params=query))
        given = [(await cloud.api.post(place("order-3"), json={"action": "unlock"})).json() for _ in range(17)]
        counters = [each["counter"] for each in given]
        assert counters == sorted(set(counters))
        assert (await polling).json()["commands"] in counters
        answer = await client.get(DEVICE_COMMANDS)
        assert answer.headers["content-type"] == MEDIA_COMMANDS
        first = parse_command_list(answer.content)
        assert (first.last, len(first.commands)) == (counters[15], MAX_COMMANDS)
        rest = parse_command_list((await client.get(DEVICE_COMMANDS, params={"after": str(first.last)})).content)
        assert (rest.last, len(rest.commands)) == (counters[16], 1)
        done = parse_command_list((await client.get(DEVICE_COMMANDS, params={"after": str(rest.last)})).content)
        assert done == CommandList(rest.last, ())
        # Commands that a door has taken are no news; a cloud that knows of fewer does not take them back.
        known = {**query, "commands": str(rest.last + 5), "wait_s": "0"}
        assert (await client.get(DEVICE_CHANGES, params=known)).json()["commands"] == rest.last + 5


async def test_a_lockdown_needs_a_place_and_no_policy(cloud: RunningCloud):
    await cloud.make_door("order-4")
    root = "/api/v1/institutions/order-4"
    for kind in ("doors", "sites"):
        answer = await cloud.api.put(f"{root}/{kind}/nowhere/lockdown", json={"on": True})
        assert (answer.status_code, answer.json()["reason"]) == (404, f"{kind[:-1].upper()}_UNKNOWN")
    done = await cloud.api.put(f"{root}/sites/campus/lockdown", json={"on": True})
    assert done.json() == {"data": [{"door": "main-entrance", "on": True, "policyVersion": 0}]}
    # The same order again signs nothing new.
    put = await cloud.api.put(
        f"{root}/doors/main-entrance/policy", json={"accessLevels": [{"id": 1, "schedules": [0]}]}
    )
    assert put.json() == {"version": 1}
    for on, version in ((True, 1), (False, 2), (False, 2), (True, 3)):
        done = await cloud.api.put(f"{root}/doors/main-entrance/lockdown", json={"on": on})
        assert done.json()["data"][0]["policyVersion"] == version
