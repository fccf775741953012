"""Let the door rest as it is ordered to, and journal who orders it.

Invariant: what a command ordered is remembered with the event that tells of its beginning, and forgotten with that of
its end.
Must not: decide how the door is to rest (edge/core/orders.py).
"""

from dataclasses import replace

from edge.core import door as doors
from edge.core import orders
from edge.core.door_state import Trigger
from edge.core.effects import EventDraft, Record
from edge.core.instant import Instant
from edge.core.orders import Orders
from edge.core.outcome import Outcome, circumstances, emit, move, then
from edge.core.state import State
from wire.names import EventKind


def follow_orders(state: State, now: Instant) -> Outcome:
    """Let the door rest as it is to rest now."""
    return rest_by(state, orders.follow(state.orders, state.policy, now), now)


def rest_by(state: State, ordered: Orders, now: Instant) -> Outcome:
    """Put orders into force, in the door too where they let it rest otherwise."""
    before = state.orders
    if ordered is before:
        return state, ()
    state = replace(state, orders=ordered)
    if ordered.rest is before.rest:
        return note_mode(state, before, now)
    outcome = move(state, *doors.step(state.door, Trigger.POLICY, circumstances(state, now)))
    return then(outcome, lambda moved: note_mode(moved, before, now))


def note_mode(state: State, before: Orders, now: Instant) -> Outcome:
    """Journal that the door rests otherwise than before, or that a command's order began or ended."""
    after = state.orders
    if after.rest is before.rest and after.ordered == before.ordered:
        return state, ()
    memos = () if after.ordered == before.ordered else (orders.note_order(after.ordered),)
    return emit(state, Record(EventDraft(kind=EventKind.MODE_CHANGED, at=now, rule=after.rule), memos))
