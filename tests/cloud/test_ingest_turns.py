"""A tenant that floods does not starve another: the order in which waiting batches are taken."""

import asyncio

from cloud.events.turns import Room, TurnLock, Turns
from wire.names import Tenant

FLOOD = Tenant("flood")
CALM = Tenant("calm")


def drained(turns: Turns[int]) -> list[int]:
    taken = []
    while turns:
        first = turns.peek()
        taken.append(turns.pop())
        assert taken[-1] == first
    return taken


def test_one_batch_behind_a_flood_of_another_tenant_is_second():
    turns: Turns[int] = Turns()
    for number in range(1000):
        turns.append(FLOOD, number)
    turns.append(CALM, -1)

    assert drained(turns) == [0, -1, *range(1, 1000)]


def test_a_tenant_that_comes_back_waits_for_its_turn():
    turns: Turns[int] = Turns()
    turns.append(FLOOD, 1)
    turns.append(FLOOD, 2)
    turns.append(CALM, 10)
    assert turns.pop() == 1
    turns.append(FLOOD, 3)

    assert sorted(turns) == [2, 3, 10]
    assert drained(turns) == [10, 2, 3]


def test_a_cleared_queue_is_empty():
    turns: Turns[int] = Turns()
    turns.append(CALM, 1)
    turns.clear()

    assert not turns


async def test_a_lock_goes_from_tenant_to_tenant():
    lock, order = TurnLock(), list[Tenant]()

    async def work(tenant: Tenant) -> None:
        async with lock.turn(tenant):
            order.append(tenant)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(FLOOD) for _ in range(20)), work(CALM), work(CALM))
    assert [place for place, tenant in enumerate(order) if tenant == CALM] == [2, 4]
    assert len(order) == 22


async def test_who_gives_up_waiting_does_not_keep_the_lock():
    lock = TurnLock()

    async def work() -> str:
        async with lock.turn(CALM):
            return "done"

    async with lock.turn(FLOOD):
        waiting = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # just when it is its turn
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [True, True, False]
    assert await work() == "done"


def filled(room: Room, tenant: Tenant) -> int:
    """Let a tenant take all that it may, byte by byte; tells how much that was."""
    taken = 0
    while room.has(tenant, 1):
        room.take(tenant, 1)
        taken += 1
    return taken


def test_a_tenant_alone_takes_half_of_the_room_at_most():
    assert filled(Room(1_000), FLOOD) == 500


def test_however_many_flood_there_is_room_for_one_more():
    room = Room(1_000)
    for number in range(9):
        filled(room, Tenant(f"flood-{number}"))
    assert room.has(CALM, 1)


def test_a_tenant_beside_a_flood_gets_in_until_it_floods_itself():
    room = Room(1_000)
    filled(room, FLOOD)
    assert filled(room, CALM) == 250
    assert not room.has(FLOOD, 1)


def test_what_is_given_back_is_free_again():
    room = Room(1_000)
    for _ in range(3):
        assert filled(room, FLOOD) == 500
        room.give_back(FLOOD, 500)
    assert room.has(CALM, 1_000)
    assert not room.has(CALM, 1_001)
