"""Pauses between attempts to open a device."""

from __future__ import annotations

from firmware_adapters.pacing import ReopenPacing


def test_the_first_attempt_is_at_once_and_later_pauses_double_up_to_the_longest():
    pacing = ReopenPacing(first_s=0.1, most_s=1.0)
    assert [round(pacing.pause_s(), 3) for _ in range(7)] == [0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_success_forgets_the_failures():
    pacing = ReopenPacing(first_s=0.1, most_s=1.0)
    for _ in range(5):
        pacing.pause_s()
    pacing.succeeded()
    assert [pacing.pause_s(), pacing.pause_s()] == [0, 0.1]
