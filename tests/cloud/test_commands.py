"""Commands and lockdowns at the API: what is refused, what is the same order, what a door is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wire.codec import decode
from wire.command import MAX_COMMAND_BYTES
from wire.command_list import MAX_COMMANDS, CommandList, parse_command_list
from wire.envelope import parse_envelope
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
    for body, wanted in (
        ({"action": "mode"}, '"mode": "locked", "unlocked" or "blocked"'),
        ({"action": "mode", "holdS": 60}, '"mode": "locked", "unlocked" or "blocked"'),
        ({"action": "mode", "mode": "locked_down"}, "PUT doors/{door}/lockdown"),
        ({"action": "unlock", "mode": "locked_down"}, "PUT doors/{door}/lockdown"),
        ({"action": "unlock", "mode": "unlocked"}, 'Only the action "mode" takes mode and holdS; unlock has none.'),
        ({"action": "release", "holdS": 60}, 'Only the action "mode" takes mode and holdS; release has none.'),
    ):
        answer = await cloud.api.post(place("order-1"), json=body)
        assert (answer.status_code, answer.json()["reason"]) == (422, "COMMAND_INVALID")
        assert wanted in answer.json()["detail"]
    for hold_s in (0, 43_201, 1.5):
        held = {"action": "mode", "mode": "unlocked", "holdS": hold_s}
        assert (await cloud.api.post(place("order-1"), json=held)).status_code in {400, 422}
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


def said(command: bytes) -> tuple[object, ...]:
    """What a sealed command says of action, mode and hold."""
    payload = parse_envelope(command, field="command", max_bytes=MAX_COMMAND_BYTES).payload
    claims = decode(payload, field="command", max_bytes=MAX_COMMAND_BYTES)
    assert isinstance(claims, dict)
    return tuple(claims.get(key) for key in (3, 7, 8))


async def test_an_order_of_a_mode_is_signed_and_shown_as_it_was_given(cloud: RunningCloud):
    device = await cloud.enrolled("order-5")
    bodies: list[dict[str, object]] = [
        {"action": "mode", "mode": "unlocked", "holdS": 43_200, "expiresInS": 3_600},
        {"action": "mode", "mode": "blocked"},
        {"action": "release"},
        {"action": "reboot"},
        {"action": "refresh"},
        {"action": "snapshot"},
    ]
    for number, body in enumerate(bodies):
        key = {"idempotency-key": f"press-{number}"}
        given = await cloud.api.post(place("order-5"), json=body, headers=key)
        assert given.status_code == 201, given.text
        shown = {name: given.json()[name] for name in ("action", "mode", "holdS")}
        assert shown == {"mode": None, "holdS": None, **{name: body[name] for name in body if name in shown}}
        assert (await cloud.api.post(place("order-5"), json=body, headers=key)).json() == given.json()
    async with device.client() as client:
        found = parse_command_list((await client.get(DEVICE_COMMANDS)).content)
    assert [said(each) for each in found.commands] == [
        (3, 1, 43_200),
        (3, 2, None),
        *((action, None, None) for action in (4, 5, 6, 7)),
    ]
    for changed in ({"mode": "locked"}, {"holdS": 60}, {"action": "release"}):
        other = {**bodies[0], **changed} if "action" not in changed else changed
        answer = await cloud.api.post(place("order-5"), json=other, headers={"idempotency-key": "press-0"})
        assert (answer.status_code, answer.json()["reason"]) == (409, "COMMAND_CONFLICT")


async def test_a_site_is_ordered_door_by_door(cloud: RunningCloud):
    await cloud.make_door("order-6")
    root = "/api/v1/institutions/order-6"
    for door, site in (("annex", "campus"), ("lab", "elsewhere")):
        assert (await cloud.api.post(f"{root}/doors", json={"id": door, "site": site})).status_code == 201
    body = {"action": "mode", "mode": "locked", "holdS": 600}
    given = await cloud.api.post(f"{root}/sites/campus/commands", json=body, headers={"idempotency-key": "k"})
    assert given.status_code == 201, given.text
    assert [(each["door"], each["mode"]) for each in given.json()["data"]] == [
        ("annex", "locked"),
        ("main-entrance", "locked"),
    ]
    again = await cloud.api.post(f"{root}/sites/campus/commands", json=body, headers={"idempotency-key": "k"})
    assert again.json() == given.json()
    assert (await cloud.api.get(f"{root}/doors/lab/commands")).json() == {"data": []}
    nowhere = await cloud.api.post(f"{root}/sites/nowhere/commands", json=body)
    assert (nowhere.status_code, nowhere.json()["reason"]) == (404, "SITE_UNKNOWN")
    wrong = await cloud.api.post(f"{root}/sites/campus/commands", json={"action": "mode"})
    assert (wrong.status_code, wrong.json()["reason"]) == (422, "COMMAND_INVALID")


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
