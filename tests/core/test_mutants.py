"""Mutated tokens by the thousand, put to a door: none is granted, none breaks it, each is refused once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from edge.core.effects import CommitGrant, Record
from edge.core.tap import State, handle
from edge.core.trust import TrustState
from edge.core.verify import Place
from tests.core.campus import instant, policy, status, tap
from tests.fuzz.mutate import GENUINE, text_mutants
from tests.vectors.parts.kit import AT, PASS, SITE, TENANT
from wire.names import Assurance, ClockState, KeyPurpose, Reason, Step, Tenant
from wire.policy import ALWAYS
from wire.settings import DoorSettings
from wire.text import to_text
from wire.trust import TrustBundle, TrustedKey

if TYPE_CHECKING:
    from tests.conftest import Effort

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]

_SHARE = 12_500
"""Mutants of one seed; the seeds of tests/wire are others."""
_FIRST_SEED = 1_000_000
_NOW = instant(wall_ms=AT * 1000)


def _door() -> State:
    """A door that would admit every level, printed passes too, at the moment when the genuine tokens hold."""
    key = TrustedKey(key=PASS.public_key, purpose=KeyPurpose.PASS, not_before_s=0, expires_at_s=AT + 1)
    bundle = TrustBundle(tenant=Tenant(TENANT), version=1, issued_at_s=0, keys=(key,))
    lists = {number: status(list_id=number, issued_at_s=AT - 60, expires_at_s=AT + 60) for number in range(3)}
    settings = DoorSettings(minimum_assurance=Assurance.PRINTED, escorts=0)
    rules = policy(settings, levels=dict.fromkeys(range(1024), (ALWAYS,)))
    return State(
        place=Place(tenant=TENANT, site=SITE, door="main"),
        trust=TrustState(bundle, lists),
        policy=rules,
        clock=ClockState.TRUSTED,
    )


def _outcome(state: State, payload: bytes) -> tuple[Step | None, Reason | None]:
    """Where a tap ends; (GRANT, None) for a grant."""
    _, effects = handle(state, tap(payload), _NOW)
    (decided,) = (effect for effect in effects if isinstance(effect, CommitGrant | Record))
    return decided.draft.step, decided.draft.reason


def _run(seed: int) -> Counter[tuple[Step | None, Reason | None]]:
    """Put one seed's mutants to a door; a crash says which mutant of which seed it was."""
    state = _door()
    ends: Counter[tuple[Step | None, Reason | None]] = Counter()
    for place, mutant in enumerate(text_mutants(seed, _SHARE)):
        try:
            ends[_outcome(state, mutant)] += 1
        except Exception as error:
            message = f"mutant {place} of seed {seed}: {mutant!r}"
            raise AssertionError(message) from error
        assert not ends[Step.GRANT, None], f"mutant {place} of seed {seed} was granted: {mutant!r}"
    return ends


@pytest.mark.timeout(6 * 3600)
def test_no_mutant_opens_a_door_and_none_breaks_it(effort: Effort):
    count = effort.pick(usual=25_000, long=10_000_000) // _SHARE
    seeds = range(_FIRST_SEED, _FIRST_SEED + count)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        ends = sum(pool.map(_run, seeds), Counter())
    assert ends.total() == count * _SHARE
    # A fuzzer that never gets past the front door proves nothing: each of these must have been reached.
    for reached in (
        (Step.FORM, Reason.MALFORMED),
        (Step.FORM, Reason.TOO_LARGE),
        (Step.KIND, Reason.UNSUPPORTED_CREDENTIAL),
        (Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY),
        (Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID),
        (Step.HOLDER, Reason.SIGNATURE_INVALID),
    ):
        assert ends[reached] > count, f"{reached}: {ends}"


@pytest.mark.parametrize("token", GENUINE)
def test_the_tokens_that_are_mutated_would_themselves_open_that_door(token: bytes):
    step, reason = _outcome(_door(), to_text(token))
    # One of the genuine passes carries no access level: everything before that check holds.
    assert (step, reason) in ((Step.GRANT, None), (Step.ACCESS, Reason.UNAUTHORIZED))
