"""Which way batches take, and when a broker that failed is tried again."""

from __future__ import annotations

import pytest

from sync.ports import Reason, UplinkError
from sync.ways import FIRST_CEILING_S, LAST_CEILING_S, Retry, WayStatus
from wire.health import Way

LATE = UplinkError(Reason.DEADLINE, what="no answer", remedy="wait")


def after(failures: int) -> Retry:
    retry = Retry()
    for _ in range(failures):
        retry = retry.lost(held_s=0)
    return retry


@pytest.mark.parametrize(
    ("failures", "least_s", "most_s"),
    [(1, 5, 10), (2, 10, 20), (3, 20, 40), (5, 80, 160), (6, 150, 300), (7, 150, 300), (10_000, 150, 300)],
)
def test_a_broker_is_tried_ever_less_often_and_never_given_up(failures: int, least_s: float, most_s: float):
    assert (after(failures).delay_s(0.0), after(failures).delay_s(1.0)) == (least_s, most_s)


def test_a_session_that_held_for_long_ends_the_row():
    assert after(5).lost(held_s=LAST_CEILING_S) == Retry(1)
    assert after(5).lost(held_s=LAST_CEILING_S - 1) == Retry(6)


def test_the_first_wait_is_not_shorter_than_half_its_ceiling():
    assert Retry().delay_s(0.0) == FIRST_CEILING_S / 2


def test_the_status_tells_since_when_and_why():
    first = WayStatus(Way.HTTPS, 1_000)
    assert (first.reason, first.fault) == (None, None)
    broker = first.turned(Way.MQTT, None, wall_ms=2_000)
    lost = broker.turned(Way.HTTPS, LATE, wall_ms=3_000)
    still = lost.turned(Way.HTTPS, LATE, wall_ms=4_000)
    assert [(each.way, each.since_wall_ms, each.reason) for each in (broker, lost, still)] == [
        (Way.MQTT, 2_000, None),
        (Way.HTTPS, 3_000, Reason.DEADLINE),
        (Way.HTTPS, 3_000, Reason.DEADLINE),
    ]
