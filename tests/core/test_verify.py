"""Steps 3 to 8: what a door verifies before it asks its policy, at each boundary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.effects import Denied
from edge.core.trust import MEMO_PASSES, HeldStatus, PassMemo, TrustState
from edge.core.verify import VerifiedCredential, verify
from tests.core.campus import (
    DAY_S,
    KEYS,
    NOW,
    NOW_MS,
    NOW_S,
    PLACE,
    bundle,
    claims,
    code,
    instant,
    issue,
    pass_id,
    present,
    printed,
    read,
    status,
    trust,
    trusted,
)
from tests.core.denials import NONCE
from wire.errors import WireError, WireReason
from wire.keys import Algorithm, PublicKey
from wire.names import Assurance, ClockState, KeyPurpose, Reason, StalenessRule, Step
from wire.passes import make_pass_id, parse_pass, seal_pass
from wire.settings import DoorSettings
from wire.text import from_text, to_text

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def judged(
    payload: bytes,
    *,
    at_ms: int = NOW_MS,
    held: TrustState | None = None,
    settings: DoorSettings | None = None,
    clock: ClockState = ClockState.TRUSTED,
    uncertainty_ms: int = 0,
) -> VerifiedCredential | tuple[Step, Reason]:
    """Verify a code; gives the credential, or step and reason."""
    now = instant(wall_ms=at_ms, clock=clock, uncertainty_ms=uncertainty_ms)
    found = verify(read(payload), trust() if held is None else held, PLACE, settings or DoorSettings(), now)
    return (found.step, found.reason) if isinstance(found, Denied) else found


def holds(found: object) -> bool:
    return isinstance(found, VerifiedCredential)


# --- what comes out --------------------------------------------------------------------------------------------


def test_a_rotating_code_gives_the_claims_that_were_signed():
    found = judged(code())
    assert isinstance(found, VerifiedCredential)
    signed = claims()
    assert (found.credential, found.kind, found.flags, found.access_levels, found.expires_at_s) == (
        signed.pass_id,
        signed.kind,
        signed.flags,
        signed.access_levels,
        signed.expires_at_s,
    )
    assert found.assurance is Assurance.ROTATING
    assert found.replay_key == read(code()).rotating.replay_key  # type: ignore[union-attr]
    assert (found.revocation.revoked, found.revocation.sequence, found.revocation.age_s) == (False, 881, 60)


def test_a_printed_pass_has_nothing_to_remember():
    found = judged(printed())
    assert isinstance(found, VerifiedCredential)
    assert (found.assurance, found.replay_key) == (Assurance.PRINTED, None)


def test_a_holder_may_have_an_ed25519_key():
    token = issue(holder_key=KEYS.holder_ed.public_key)
    assert holds(judged(present(token, signer=KEYS.holder_ed)))


# --- 3 clock ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [ClockState.TRUSTED, ClockState.HOLDOVER])
@pytest.mark.parametrize("payload", [code(), printed()], ids=["rotating", "printed"])
def test_a_clock_that_is_known_allows_every_kind(clock: ClockState, payload: bytes):
    assert holds(judged(payload, clock=clock))


@pytest.mark.parametrize("payload", [code(), printed()], ids=["rotating", "printed"])
def test_a_suspect_clock_refuses_what_depends_on_the_time(payload: bytes):
    assert judged(payload, clock=ClockState.SUSPECT) == (Step.CLOCK, Reason.CLOCK_SUSPECT)


def test_a_suspect_clock_lets_a_nonce_bound_credential_reach_its_own_check():
    payload = present(issue(), audience=f"{PLACE.site}/{PLACE.door}", nonce=NONCE)
    assert judged(payload, clock=ClockState.SUSPECT) == (Step.HOLDER, Reason.NONCE_MISMATCH)


# --- 4 and 5 issuer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts_s", "ends_s", "valid"),
    [
        (NOW_S, NOW_S + 1, True),
        (NOW_S + 1, NOW_S + 2, False),
        (NOW_S - 9, NOW_S, False),
    ],
)
def test_an_issuer_key_holds_from_its_start_until_before_its_end(starts_s: int, ends_s: int, *, valid: bool):
    held = trust(bundle(trusted(KEYS.issuer, KeyPurpose.PASS, starts_s=starts_s, ends_s=ends_s)))
    found = judged(code(), held=held, at_ms=NOW_MS + 999)
    assert holds(found) if valid else found == (Step.ISSUER_KEY, Reason.ISSUER_KEY_NOT_VALID)


@pytest.mark.parametrize("purpose", [purpose for purpose in KeyPurpose if purpose is not KeyPurpose.PASS])
def test_a_key_for_another_purpose_signs_no_pass(purpose: KeyPurpose):
    held = trust(bundle(trusted(KEYS.issuer, purpose)))
    assert judged(code(), held=held) == (Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY)


def test_a_pass_with_one_flipped_bit_of_its_signature_is_refused():
    token = bytearray(issue())
    token[-1] ^= 1
    assert judged(present(bytes(token))) == (Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID)


# --- 6 validity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_ms", "reason"), [(-1, None), (0, Reason.CREDENTIAL_EXPIRED)])
def test_a_pass_holds_until_the_millisecond_before_its_end(at_ms: int, reason: Reason | None):
    found = judged(printed(expires_at_s=NOW_S), at_ms=NOW_MS + at_ms)
    assert holds(found) if reason is None else found == (Step.VALIDITY, reason)


@pytest.mark.parametrize(("at_ms", "reason"), [(0, None), (-1, Reason.CREDENTIAL_NOT_ACTIVE)])
@pytest.mark.parametrize("payload", [printed(not_before_s=NOW_S), printed(issued_at_s=NOW_S)], ids=["nbf", "iat"])
def test_a_pass_holds_from_its_first_second(payload: bytes, at_ms: int, reason: Reason | None):
    found = judged(payload, at_ms=NOW_MS + at_ms)
    assert holds(found) if reason is None else found == (Step.VALIDITY, reason)


def test_the_uncertainty_of_the_clock_extends_no_pass():
    found = judged(printed(expires_at_s=NOW_S), uncertainty_ms=90_000, clock=ClockState.HOLDOVER)
    assert found == (Step.VALIDITY, Reason.CREDENTIAL_EXPIRED)


# --- 7 holder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uncertainty_ms", "oldest_ms", "newest_ms"),
    [
        (0, 30_999, 10_000),
        (5_000, 35_999, 15_000),
        (60_000, 90_999, 70_000),
        (80_000, 90_999, 90_000),
        (10_000_000, 90_999, 90_000),
    ],
)
def test_a_code_is_fresh_within_a_window_that_uncertainty_widens_to_a_limit(
    uncertainty_ms: int, oldest_ms: int, newest_ms: int
):
    def at(age_ms: int) -> VerifiedCredential | tuple[Step, Reason]:
        return judged(code(), at_ms=NOW_MS + age_ms, uncertainty_ms=uncertainty_ms)

    assert holds(at(oldest_ms))
    assert at(oldest_ms + 1) == (Step.HOLDER, Reason.PRESENTATION_EXPIRED)
    assert holds(at(-newest_ms))
    assert at(-newest_ms - 1) == (Step.HOLDER, Reason.PRESENTATION_FROM_FUTURE)


def test_a_code_signed_with_another_algorithm_than_the_holders_is_refused():
    assert judged(present(issue(), signer=KEYS.holder_ed)) == (Step.HOLDER, Reason.SIGNATURE_INVALID)


def test_a_holder_key_off_the_curve_signs_nothing():
    nowhere = PublicKey(Algorithm.ESP256, b"\x02" + b"\xff" * 32)
    assert judged(present(issue(holder_key=nowhere))) == (Step.HOLDER, Reason.SIGNATURE_INVALID)


@pytest.mark.parametrize("point", [b"\x01" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_a_low_order_holder_key_signs_nothing(point: bytes):
    token = issue(holder_key=PublicKey(Algorithm.ED25519, point))
    assert judged(present(token, signer=KEYS.holder_ed)) == (Step.HOLDER, Reason.SIGNATURE_INVALID)


def test_the_other_form_of_an_ecdsa_signature_is_the_same_presentation():
    data = from_text(code())
    twin = data[:-32] + (P256_ORDER - int.from_bytes(data[-32:], "big")).to_bytes(32, "big")
    first, second = judged(code()), judged(to_text(twin))
    assert isinstance(first, VerifiedCredential)
    assert isinstance(second, VerifiedCredential)
    assert first.replay_key == second.replay_key


def test_a_presentation_around_a_pass_without_holder_is_refused():
    mixed = replace(read(printed()), rotating=read(code()).rotating)
    found = verify(mixed, trust(), PLACE, DoorSettings(), NOW)
    assert isinstance(found, Denied)
    assert (found.step, found.reason) == (Step.HOLDER, Reason.SIGNATURE_INVALID)


# --- 8 revocation ----------------------------------------------------------------------------------------------


def with_list(held: HeldStatus) -> TrustState:
    return trust(lists={0: held})


@pytest.mark.parametrize("index", [41, 42, 43])
def test_only_the_pass_whose_bit_is_set_is_revoked(index: int):
    found = judged(code(), held=with_list(status(index)))
    assert found == (Step.REVOCATION, Reason.REVOKED) if index == 42 else holds(found)


@pytest.mark.parametrize(("index", "revoked"), [(63, False), (64, True), (2**32 - 1, True)])
def test_a_pass_beyond_the_list_counts_as_revoked(index: int, *, revoked: bool):
    found = judged(code(index=index), held=with_list(status(passes=64)))
    assert found == (Step.REVOCATION, Reason.REVOKED) if revoked else holds(found)


def test_a_list_that_the_door_does_not_hold_is_stale():
    payload = present(issue(pass_id=make_pass_id(1, 42)))
    assert judged(payload) == (Step.REVOCATION, Reason.REVOCATION_STALE)
    assert holds(judged(payload, held=trust(lists={1: status(list_id=1)})))


STALE = (Step.REVOCATION, Reason.REVOCATION_STALE)


@pytest.mark.parametrize(("age_s", "fresh"), [(DAY_S, True), (DAY_S + 1, False)])
def test_a_list_is_fresh_up_to_the_doors_limit(age_s: int, *, fresh: bool):
    found = judged(code(), held=with_list(status(issued_at_s=NOW_S - age_s)))
    assert holds(found) if fresh else found == STALE


@pytest.mark.parametrize(("left_s", "fresh"), [(1, True), (0, False)])
def test_a_list_is_fresh_until_its_own_end(left_s: int, *, fresh: bool):
    found = judged(code(), held=with_list(status(expires_at_s=NOW_S + left_s)))
    assert holds(found) if fresh else found == STALE


def test_a_list_from_the_future_is_no_older_than_now():
    found = judged(code(), held=with_list(status(issued_at_s=NOW_S + 500)))
    assert isinstance(found, VerifiedCredential)
    assert found.revocation.age_s == 0


@pytest.mark.parametrize(("issued_ago_s", "admitted"), [(3600, True), (3601, False)])
def test_a_stale_door_may_admit_passes_issued_recently(issued_ago_s: int, *, admitted: bool):
    settings = DoorSettings(staleness=StalenessRule.RECENTLY_ISSUED, recently_issued_s=3600)
    payload = present(issue(issued_at_s=NOW_S - issued_ago_s))
    found = judged(payload, held=with_list(status(issued_at_s=NOW_S - 9 * DAY_S)), settings=settings)
    assert holds(found) if admitted else found == STALE


@pytest.mark.parametrize("rule", [StalenessRule.DENY, StalenessRule.NONCE_BOUND_ONLY])
def test_other_stale_doors_admit_no_code(rule: StalenessRule):
    found = judged(code(), held=with_list(status(issued_at_s=NOW_S - 9 * DAY_S)), settings=DoorSettings(staleness=rule))
    assert found == STALE


@pytest.mark.parametrize("rule", list(StalenessRule))
def test_a_revoked_pass_is_refused_however_old_the_list(rule: StalenessRule):
    held = with_list(status(42, issued_at_s=NOW_S - 9 * DAY_S))
    settings = DoorSettings(staleness=rule, recently_issued_s=90 * DAY_S)
    assert judged(code(), held=held, settings=settings) == (Step.REVOCATION, Reason.REVOKED)


# --- the memory of issuer signatures ---------------------------------------------------------------------------


def test_a_remembered_pass_gives_the_same_claims():
    memo, key = PassMemo(), bundle().find(KEYS.issuer.public_key.key_id, KeyPurpose.PASS)
    assert key is not None
    first = memo.verified(parse_pass(issue()), key)
    assert memo.verified(parse_pass(issue()), key) == first == claims()


def test_a_remembered_pass_is_not_believed_under_another_key():
    memo = PassMemo()
    signed = parse_pass(issue())
    memo.verified(signed, trusted(KEYS.issuer, KeyPurpose.PASS))
    with pytest.raises(WireError) as caught:
        memo.verified(signed, trusted(KEYS.stranger, KeyPurpose.PASS))
    assert caught.value.reason is WireReason.SIGNATURE_INVALID


def test_a_remembered_pass_does_not_vouch_for_other_bytes():
    held = trust()
    assert holds(judged(code(), held=held))
    token = bytearray(issue())
    token[-1] ^= 1
    assert judged(present(bytes(token)), held=held) == (Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID)


def test_a_refused_pass_is_refused_again():
    held = trust()
    token = seal_pass(claims(), KEYS.issuer)[:-1] + b"\x00"
    expected = (Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID)
    assert [judged(present(token), held=held) for _ in range(2)] == [expected, expected]


def test_the_memory_is_bounded_and_forgets_what_was_not_used_longest():
    memo, key = PassMemo(), trusted(KEYS.issuer, KeyPurpose.PASS)
    kept, forgotten = parse_pass(issue()), parse_pass(issue(pass_id=pass_id(43)))
    first = memo.verified(kept, key)
    before = memo.verified(forgotten, key)
    for index in range(MEMO_PASSES - 2):
        memo.verified(parse_pass(issue(pass_id=pass_id(1000 + index))), key)
    assert memo.verified(parse_pass(issue()), key) is first
    memo.verified(parse_pass(issue(pass_id=pass_id(44))), key)
    assert memo.verified(parse_pass(issue()), key) is first
    assert memo.verified(parse_pass(issue(pass_id=pass_id(43))), key) is not before
