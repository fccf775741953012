"""A refusal, wherever it was found: shown to the person, journaled, counted when there are too many.

Invariant: what a refusal carries to be remembered is journaled also in a flood.
Must not: decide.
"""

from dataclasses import replace

from edge.core import flood as floods
from edge.core.effects import Denied, EventDraft, Record, Show, feedback_of
from edge.core.instant import Instant
from edge.core.memory import Memo
from edge.core.outcome import Outcome, emit
from edge.core.state import State
from edge.core.trust import Revocation
from edge.core.verify import roster_revocation
from wire.names import EventKind, PassId, Step
from wire.passes import PASS_ID_BYTES


def refuse(state: State, denied: Denied, reader: str, now: Instant, *, memos: tuple[Memo, ...] = ()) -> Outcome:
    """Show and journal a refusal; of a flood only the number, unless there is something to remember."""
    show = Show(reader, feedback_of(denied.reason))
    flood, journaled = (state.flood, True) if memos else floods.admit(state.flood, floods.DENIALS_A_WINDOW, now)
    state = replace(state, flood=flood)
    return emit(state, show, Record(denial(state, denied, reader, now), memos)) if journaled else (state, (show,))


def denial(state: State, denied: Denied, reader: str, now: Instant) -> EventDraft:
    """Give the event of a refusal."""
    asked = _revocation_asked(state, denied, now)
    return EventDraft(
        kind=EventKind.ACCESS_DENIED,
        at=now,
        step=denied.step,
        reason=denied.reason,
        granted=False,
        credential=denied.credential,
        assurance=denied.assurance,
        reader=reader,
        status_sequence=None if asked is None else asked.sequence,
        status_age_s=None if asked is None else asked.age_s,
    )


def _revocation_asked(state: State, denied: Denied, now: Instant) -> Revocation | None:
    """Give the list (or the roster) that a refusal at step 8 or later had asked."""
    if denied.step < Step.REVOCATION or denied.credential is None:
        return None
    if len(denied.credential) != PASS_ID_BYTES:
        return None if state.roster is None else roster_revocation(state.roster, now)
    return None if state.trust is None else state.trust.revocation(PassId(denied.credential), now.wall_s)
