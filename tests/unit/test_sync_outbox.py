"""What is sent next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.outbox import Outbox, Run
from sync.ports import Marks


def test_a_run_starts_after_the_durable_mark():
    assert Outbox().next_run(Marks(durable=7, backed_up=3, last=8)) == Run(7, 100)


def test_nothing_is_sent_when_all_is_durable():
    assert Outbox().next_run(Marks(durable=8, backed_up=0, last=8)) is None


def test_a_run_starts_where_the_cloud_was_set_back_to():
    assert Outbox().rewound(2).next_run(Marks(durable=7, backed_up=0, last=7)) == Run(2, 100)


def test_what_the_cloud_says_unsigned_never_skips_an_event():
    assert Outbox().rewound(9).next_run(Marks(durable=7, backed_up=0, last=12)) == Run(7, 100)


def test_an_acknowledgement_ends_the_rewind():
    assert Outbox().rewound(2).acknowledged().next_run(Marks(durable=7, backed_up=0, last=7)) is None


def test_a_failure_keeps_the_rewind():
    assert Outbox().rewound(2).failed().next_run(Marks(durable=7, backed_up=0, last=7)) == Run(2, 100)


def test_a_rewind_to_events_that_are_gone_is_forgotten():
    assert Outbox().rewound(2).unwound().next_run(Marks(durable=7, backed_up=0, last=8)) == Run(7, 100)


def test_runs_grow_with_success_to_five_hundred():
    outbox, limits = Outbox(), []
    for _ in range(4):
        limits.append(outbox.limit)
        outbox = outbox.acknowledged()
    assert limits == [100, 200, 400, 500]


@pytest.mark.parametrize(("bearable", "events"), [(100, 100), (399, 399), (400, 400), (500, 400)])
def test_a_run_is_no_longer_than_the_way_bears(bearable: int, events: int):
    assert Outbox(400).next_run(Marks(durable=0, backed_up=0, last=900), bearable=bearable) == Run(0, events)


@pytest.mark.parametrize(("limit", "after"), [(500, 250), (250, 125), (125, 100), (100, 100)])
def test_runs_shrink_with_failure_to_a_hundred(limit: int, after: int):
    assert Outbox(limit).failed().limit == after


def test_a_probe_repeats_the_newest_event():
    assert Outbox().probe(Marks(durable=8, backed_up=8, last=8)) == Run(7, 1, probe=True)


def test_an_empty_journal_has_nothing_to_probe_with():
    assert Outbox().probe(Marks(durable=0, backed_up=0, last=0)) is None


@given(
    durable=st.integers(0, 1_000),
    pending=st.integers(0, 1_000),
    limit=st.integers(100, 500),
    rewound=st.none() | st.integers(0, 3_000),
)
def test_no_run_leaves_out_an_event_that_is_not_durable(durable: int, pending: int, limit: int, rewound: int | None):
    run = Outbox(limit, rewound).next_run(Marks(durable=durable, backed_up=0, last=durable + pending))
    assert run is None or run.after <= durable
    assert run is not None or pending == 0
