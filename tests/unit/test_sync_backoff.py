"""How long a door leaves a silent cloud alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.backoff import LAST_CEILING_S, MAX_RETRY_AFTER_S, Backoff


def after(failures: int) -> Backoff:
    backoff = Backoff()
    for _ in range(failures):
        backoff = backoff.failed()
    return backoff


@pytest.mark.parametrize(
    ("failures", "ceiling_s"),
    [(0, 0.0), (1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (9, 60.0), (10_000, 60.0)],
)
def test_ceiling_doubles_from_half_a_second_to_a_minute(failures: int, ceiling_s: float):
    assert after(failures).ceiling_s == ceiling_s


@given(failures=st.integers(0, 50), fraction=st.floats(0, 1, exclude_max=True))
def test_delay_is_the_fraction_of_the_ceiling(failures: int, fraction: float):
    delay_s = after(failures).delay_s(fraction)
    assert 0 <= delay_s <= LAST_CEILING_S
    assert delay_s == fraction * after(failures).ceiling_s


def test_what_the_cloud_asks_for_comes_on_top_of_the_jitter():
    assert after(1).delay_s(0.5, 7.0) == 7.25


@pytest.mark.parametrize(
    ("asked_s", "given_s"), [(-3.0, 0.0), (0.0, 0.0), (MAX_RETRY_AFTER_S, MAX_RETRY_AFTER_S), (1e9, MAX_RETRY_AFTER_S)]
)
def test_a_mistaken_wish_of_the_cloud_is_cut(asked_s: float, given_s: float):
    assert after(1).delay_s(0.0, asked_s) == given_s
