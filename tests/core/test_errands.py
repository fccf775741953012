"""What commands ask of the daemon, reboot, refresh, snapshot; and that no command of any kind is carried out twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.core.door_state import InputLine, LineState
from edge.core.effects import AskCloud, Restart, TakePictures
from edge.core.tap import CommandReceived, LineChanged, handle
from tests.core.campus import NOW, command, commanded, door, drafts
from wire.names import Action, EventKind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.core.effects import Effect


def told(effects: Iterable[Effect]) -> list[tuple[EventKind, Reason | None, str | None]]:
    return [(draft.kind, draft.reason, draft.rule) for draft in drafts(effects)]


@pytest.mark.parametrize(
    ("action", "effect"),
    [(Action.REBOOT, Restart()), (Action.REFRESH, AskCloud()), (Action.SNAPSHOT, TakePictures(31))],
)
def test_what_a_command_asks_of_the_daemon_follows_its_event_and_moves_nothing(action: Action, effect: Effect):
    before = door()
    state, effects = commanded(before, command(action), seq=31)
    assert effects[1:] == (effect,)
    assert told(effects[:1]) == [(EventKind.COMMAND_EXECUTED, None, action.name.lower())]
    assert (state.door, state.orders) == (before.door, before.orders)


@pytest.mark.parametrize("action", [Action.REFRESH, Action.SNAPSHOT])
def test_a_door_that_is_not_equipped_for_a_command_refuses_it(action: Action):
    state = replace(door(), unequipped=frozenset({action}))
    state, effects = commanded(state, command(action))
    assert told(effects) == [(EventKind.COMMAND_REFUSED, Reason.COMMAND_UNSUPPORTED, action.name.lower())]
    _, effects = commanded(state, command(Action.UNLOCK, counter=2))
    assert [draft.reason for draft in drafts(effects)] == [None]


def test_a_door_on_fire_is_not_started_again_because_that_would_close_it():
    state, _ = handle(door(), LineChanged(InputLine.FIRE, LineState.ACTIVE), NOW)
    for counter, line in ((1, LineState.ACTIVE), (2, LineState.INACTIVE)):
        state, _ = handle(state, LineChanged(InputLine.FIRE, line), NOW)
        state, effects = commanded(state, command(Action.REBOOT, counter=counter))
        assert told(effects) == [(EventKind.COMMAND_REFUSED, Reason.FIRE_LASTS, "reboot")]
    state, _ = commanded(state, command(Action.RESET_FIRE, counter=3))
    _, effects = commanded(state, command(Action.REBOOT, counter=4))
    assert Restart() in effects


@pytest.mark.parametrize("action", list(Action))
def test_no_command_is_carried_out_twice_nor_after_a_younger_one(action: Action):
    first, younger = command(action, counter=7), command(action, counter=8)
    state, _ = handle(door(), LineChanged(InputLine.FIRE, LineState.INACTIVE), NOW)
    state, _ = commanded(state, younger)
    for data in (younger, first):
        _, effects = handle(state, CommandReceived(data), NOW)
        assert told(effects) == [(EventKind.COMMAND_REFUSED, Reason.COMMAND_REPLAYED, None)]
    started = replace(door(), memory=state.memory)
    _, effects = handle(started, CommandReceived(younger), NOW)
    assert told(effects) == [(EventKind.COMMAND_REFUSED, Reason.COMMAND_REPLAYED, None)]
