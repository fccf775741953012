"""How the parts of `handle` join: each gives a state and effects, and every effect leaves by one way.

Invariant: what an effect carries to be remembered is remembered in the state that leaves with it, and every event names
the versions it was decided under.
Must not: decide.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from edge.core.door_state import Circumstances, DoorState
from edge.core.effects import Effect, EventDraft, Journaling, Record
from edge.core.instant import Instant
from edge.core.state import State
from wire.names import DoorId, DoorMode, EventKind, Tenant
from wire.policy import PolicyBundle
from wire.settings import DoorSettings

Outcome: TypeAlias = tuple[State, tuple[Effect, ...]]
_T = TypeVar("_T")
_NOBODY: Final = PolicyBundle(tenant=Tenant(""), door=DoorId(""), version=0, issued_at_s=0, levels={}, schedules={})


def then(outcome: Outcome, step: Callable[[State], Outcome]) -> Outcome:
    """Go on from an outcome; the effects stay in order."""
    state, effects = outcome
    state, more = step(state)
    return state, (*effects, *more)


def for_each(state: State, items: Iterable[_T], step: Callable[[State, _T], Outcome]) -> Outcome:
    """Take one step for each item, from the state that the one before left."""
    effects: list[Effect] = []
    for item in items:
        state, more = step(state, item)
        effects.extend(more)
    return state, tuple(effects)


def emit(state: State, *effects: Effect) -> Outcome:
    """Let effects leave: events stamped, what they carry remembered."""
    memory = state.memory
    for effect in effects:
        if isinstance(effect, Journaling):
            memory = memory.with_memos(effect.memos)
    if memory is not state.memory:
        state = replace(state, memory=memory)
    return state, tuple(_versioned(effect, state) for effect in effects)


def _versioned(effect: Effect, state: State) -> Effect:
    if not isinstance(effect, Journaling):
        return effect
    policy = 0 if state.policy is None else state.policy.bundle.version
    trust = 0 if state.trust is None else state.trust.bundle.version
    return replace(effect, draft=replace(effect.draft, policy_version=policy, trust_version=trust))


def note(state: State, kind: EventKind | None, now: Instant) -> Outcome:
    """Journal that something happened; None for nothing."""
    return (state, ()) if kind is None else emit(state, Record(EventDraft(kind=kind, at=now)))


def move(state: State, door: DoorState, effects: tuple[Effect, ...]) -> Outcome:
    """Take over what the door's table gave."""
    return emit(state if door is state.door else replace(state, door=door), *effects)


def rules_of(state: State) -> PolicyBundle:
    """Give the rules in force; before the first ones, those that admit nobody."""
    return _NOBODY if state.policy is None else state.policy.bundle


def settings_of(state: State) -> DoorSettings:
    """Give the settings in force; the defaults admit nobody, since no level stands beside them."""
    return rules_of(state).settings


def mode_of(state: State) -> DoorMode:
    """Give the mode that decides who may pass: the policy's, or BLOCKED while a command orders that."""
    return DoorMode.BLOCKED if state.orders.rest is DoorMode.BLOCKED else settings_of(state).mode


def circumstances(state: State, now: Instant, *, hold_ms: int = 0, cause_seq: int = 0) -> Circumstances:
    """Give what an action on the door needs to know."""
    return Circumstances(
        settings=settings_of(state), rest=state.orders.rest, now=now, hold_ms=hold_ms, cause_seq=cause_seq
    )
