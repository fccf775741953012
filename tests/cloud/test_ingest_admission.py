"""The high-water mark rule by itself: what is new, known, or does not follow."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.guard import DeviceIdentity
from cloud.errors import Reason
from cloud.events.admission import Alarm, Mark, Older, Refused, Repeated, Stored, Verdict, arrange, judge
from cloud.events.reading import ReadBatch, read_batch
from cloud.events.rows import PARTS_A_ROW
from tests.support.door_batches import EPOCH, NOW_MS, Journal
from wire.event import CHAIN_START
from wire.keys import P256Signer
from wire.names import DeviceId, DoorId, EventKind, Tenant

_SIGNER = P256Signer(ec.generate_private_key(ec.SECP256R1()))
_WHO = DeviceIdentity(Tenant("north"), DoorId("main-entrance"), DeviceId("door-1"), _SIGNER.public_key, bytes(32))
_KEY = (_WHO.tenant, _WHO.device)
_JOURNAL = Journal(_WHO.device, _SIGNER)
_JOURNAL.grow(20)
_NEXT = Journal(_WHO.device, _SIGNER, epoch=b"epoch-02")
_NEXT.grow(5)
_THIRD = Journal(_WHO.device, _SIGNER, epoch=b"epoch-03")
_THIRD.grow(1)


def batch(first: int, last: int, journal: Journal = _JOURNAL) -> ReadBatch:
    return read_batch(journal.batch(first, last), _WHO, now_ms=NOW_MS)


def mark(
    durable: int,
    journal: Journal = _JOURNAL,
    *,
    closed: dict[bytes, int] | None = None,
    accepted: bytes | None = None,
) -> Mark:
    head = journal.head_at(durable)
    return Mark(epoch=journal.epoch, durable=durable, head=head, closed=closed or {}, accepted=accepted)


def refused(verdict: Verdict) -> tuple[Reason, int]:
    assert isinstance(verdict, Refused)
    return verdict.reason, verdict.durable


def reason(verdict: Verdict) -> Reason:
    return refused(verdict)[0]


def test_the_first_event_of_a_device_goes_in():
    assert judge(Mark(), batch(1, 3)) == Stored(0)


def test_a_device_that_does_not_start_with_event_one_has_a_gap():
    assert refused(judge(Mark(), batch(2, 3))) == (Reason.SEQUENCE_GAP, 0)


def test_the_next_event_goes_in():
    assert judge(mark(5), batch(6, 8)) == Stored(0)


def test_an_overlap_is_skipped():
    assert judge(mark(5), batch(3, 8)) == Stored(3)


def test_one_event_too_far_is_a_gap_that_names_the_mark():
    assert refused(judge(mark(5), batch(7, 8))) == (Reason.SEQUENCE_GAP, 5)


def test_a_batch_that_ends_at_the_mark_is_a_repetition():
    assert judge(mark(5), batch(2, 5)) == Repeated()


def test_a_batch_that_ends_before_the_mark_is_compared_with_what_is_stored():
    assert judge(mark(5), batch(1, 4)) == Older(4, _JOURNAL.head_at(4))


def forked(at: int, count: int = 3) -> Journal:
    other = _JOURNAL.branched(at)
    other.grow(count, kind=EventKind.ACCESS_DENIED)
    return other


def test_another_event_under_the_next_number_goes_in_because_nothing_contradicts_it():
    assert judge(mark(5), batch(6, 8, forked(6))) == Stored(0)


def test_another_event_under_the_last_stored_number_breaks_the_chain():
    assert reason(judge(mark(5), batch(5, 7, forked(5)))) is Reason.CHAIN_BROKEN


def test_an_event_that_follows_another_past_breaks_the_chain():
    assert reason(judge(mark(6), batch(7, 8, forked(5, 4)))) is Reason.CHAIN_BROKEN


def test_a_repetition_with_another_end_breaks_the_chain():
    assert reason(judge(mark(7), batch(5, 7, forked(5)))) is Reason.CHAIN_BROKEN


def test_a_further_epoch_is_unexpected_wherever_it_starts():
    assert reason(judge(mark(5), batch(1, 2, _NEXT))) is Reason.EPOCH_UNEXPECTED
    assert reason(judge(mark(5), batch(2, 3, _NEXT))) is Reason.EPOCH_UNEXPECTED
    assert reason(judge(mark(5, accepted=b"epoch-03"), batch(1, 2, _NEXT))) is Reason.EPOCH_UNEXPECTED


def test_an_accepted_epoch_starts_at_one():
    assert judge(mark(5, accepted=_NEXT.epoch), batch(1, 2, _NEXT)) == Stored(0)
    assert refused(judge(mark(5, accepted=_NEXT.epoch), batch(2, 3, _NEXT))) == (Reason.SEQUENCE_GAP, 0)


def test_until_the_accepted_epoch_comes_the_stored_one_goes_on():
    assert judge(mark(5, accepted=_NEXT.epoch), batch(6, 8)) == Stored(0)


def test_nothing_of_a_device_in_quarantine_goes_in_not_even_a_repetition():
    held = replace(mark(5, accepted=_NEXT.epoch), quarantined=True)
    assert refused(judge(held, batch(6, 8))) == (Reason.DEVICE_QUARANTINED, 5)
    assert refused(judge(held, batch(4, 5))) == (Reason.DEVICE_QUARANTINED, 5)
    assert refused(judge(held, batch(1, 2, _NEXT))) == (Reason.DEVICE_QUARANTINED, 0)


def test_a_batch_that_breaks_in_itself_breaks_the_chain():
    assert refused(judge(mark(5), replace(batch(6, 8), broken_at=7))) == (Reason.CHAIN_BROKEN, 5)
    assert refused(judge(Mark(), replace(batch(1, 8), broken_at=7))) == (Reason.CHAIN_BROKEN, 0)


def test_an_alarm_stops_what_comes_behind_it_in_the_same_group():
    plan = arrange({_KEY: mark(5)}, [batch(6, 7), batch(1, 3, _NEXT), batch(1, 1, _THIRD)])
    assert plan.verdicts[0] == Stored(0)
    assert [reason(verdict) for verdict in plan.verdicts[1:]] == [Reason.EPOCH_UNEXPECTED, Reason.DEVICE_QUARANTINED]
    assert plan.alarms == {_KEY: Alarm(Reason.EPOCH_UNEXPECTED, _NEXT.epoch, 1)}
    assert plan.marks == {_KEY: mark(7)}


def test_a_gap_and_a_repetition_are_no_alarm():
    assert arrange({_KEY: mark(5)}, [batch(9, 12), batch(1, 5), batch(2, 3)]).alarms == {}


def test_a_new_epoch_whose_first_event_has_a_past_breaks_the_chain():
    odd = batch(1, 1, _THIRD)
    assert odd.prev == CHAIN_START
    verdict = judge(mark(5, accepted=b"epoch-03"), replace(odd, prev=b"\1" * 32))
    assert reason(verdict) is Reason.CHAIN_BROKEN


def test_a_closed_epoch_never_opens_again():
    assert reason(judge(mark(2, _NEXT, closed={EPOCH: 8}), batch(1, 9))) is Reason.EPOCH_CLOSED


def test_what_is_stored_of_a_closed_epoch_is_to_be_compared():
    assert judge(mark(2, _NEXT, closed={EPOCH: 9}), batch(4, 9)) == Older(9, batch(4, 9).head, closed=True)
    plan = arrange({_KEY: mark(2, _NEXT, closed={EPOCH: 9})}, [batch(4, 9), batch(1, 3, _NEXT)])
    assert (plan.alarms, set(plan.answers)) == ({}, {(_KEY, _NEXT.epoch)})


def test_a_device_that_is_not_known_any_more_is_refused():
    assert reason(arrange({}, [batch(1, 1)]).verdicts[0]) is Reason.DEVICE_REVOKED


def test_batches_that_overtook_each_other_in_one_group_all_go_in():
    plan = arrange({_KEY: Mark()}, [batch(6, 9), batch(1, 5), batch(1, 5)])
    assert plan.verdicts == [Stored(0), Stored(0), Repeated()]
    assert plan.events == 9
    assert plan.marks == {_KEY: mark(9)}


def test_a_gap_in_a_group_does_not_spoil_the_others():
    plan = arrange({_KEY: Mark()}, [batch(9, 12), batch(1, 5)])
    assert plan.verdicts[1] == Stored(0)
    assert reason(plan.verdicts[0]) is Reason.SEQUENCE_GAP
    assert plan.marks[_KEY].durable == 5


def test_two_epochs_in_one_group_are_taken_in_order_of_arrival():
    plan = arrange({_KEY: mark(5, accepted=_NEXT.epoch)}, [batch(6, 9), batch(1, 3, _NEXT)])
    old = mark(9, accepted=_NEXT.epoch)
    assert plan.verdicts == [Stored(0), Stored(0)]
    assert plan.closing == [(_KEY, old)]
    assert plan.marks == {_KEY: mark(3, _NEXT, closed={EPOCH: 9})}
    assert plan.answers == {(_KEY, EPOCH): old, (_KEY, _NEXT.epoch): plan.marks[_KEY]}


def test_the_old_epoch_in_a_group_after_the_new_one_is_closed():
    plan = arrange({_KEY: mark(5, accepted=_NEXT.epoch)}, [batch(1, 3, _NEXT), batch(6, 9)])
    assert reason(plan.verdicts[1]) is Reason.EPOCH_CLOSED


_RUNS = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(lambda ends: (min(ends), max(ends)))
_BATCHES = {(first, last): batch(first, last) for first in range(1, 21) for last in range(first, 21)}


@given(st.lists(st.lists(_RUNS, max_size=6), max_size=12))
def test_whatever_arrives_in_whatever_groups_the_stored_rows_are_the_journal_from_its_start(
    groups: list[list[tuple[int, int]]],
):
    now, parts = Mark(), []
    for group in groups:
        plan = arrange({_KEY: now}, [_BATCHES[run] for run in group])
        parts += [part for run in plan.runs for part in run]
        now = plan.marks.get(_KEY, now)
    assert parts[PARTS_A_ROW - 1 :: PARTS_A_ROW] == _JOURNAL.events[: now.durable]
    assert now.head == (_JOURNAL.head_at(now.durable))
