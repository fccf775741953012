"""The one error of the parsers."""

from __future__ import annotations

import pickle

from wire.errors import WireError, WireReason


def test_an_error_keeps_its_reason_and_place_across_processes():
    error = WireError(WireReason.TOO_LARGE, "pass.exp")
    assert (error.args, str(error)) == ((WireReason.TOO_LARGE, "pass.exp"), "pass.exp: too_large")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.reason, again.field) == (error.reason, error.field)
