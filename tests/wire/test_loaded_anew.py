"""Tables that modules build when they are loaded: what builds them is only tested by loading a module once more."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from tests.vectors.parts.events import DENIED, GRANTED, LARGEST, RELOCKED
from wire.codec import Value
from wire.errors import WireError, WireReason
from wire.event import encode_event
from wire.settings import DoorSettings, settings_value


def _anew(name: str) -> Any:  # noqa: ANN401 - a module is asked for what its source defines
    """Load a module a second time, beside the one that everybody uses."""
    path = sys.modules[name].__file__
    assert path is not None
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_pattern_of_an_event_takes_members_with_and_without_a_value():
    events = _anew("wire.event")
    for event in (GRANTED, DENIED, RELOCKED, LARGEST):
        assert events.event_values(encode_event(event))
    with pytest.raises(WireError):
        events.event_values(encode_event(GRANTED).replace(b"\x06\x00", b"\x06\x03"))


@pytest.mark.parametrize(("key", "beyond", "reason"), [(7, 3_600_001, "OUT_OF_RANGE"), (1, 4, "UNKNOWN_VALUE")])
def test_readers_of_settings_know_their_limits(key: int, beyond: Value, reason: str):
    settings = _anew("wire.settings")
    usual = replace(DoorSettings(), release_time_ms=3_600_000)
    assert settings.parse_settings(settings_value(usual)).release_time_ms == 3_600_000
    with pytest.raises(WireError) as refused:
        settings.parse_settings({**settings_value(usual), key: beyond})
    assert refused.value.reason is WireReason[reason]
