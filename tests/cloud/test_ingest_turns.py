"""A tenant that floods does not starve another: the order in which waiting batches are taken."""

from cloud.events.turns import Turns
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
