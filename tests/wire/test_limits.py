"""Sizes and work are bounded: the last that is taken and the first that is not."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from tests.vectors.parts.events import DEVICE_ID, EPOCH
from tests.vectors.parts.events import LARGEST as LARGEST_EVENT
from tests.vectors.parts.kit import (
    DEVICE,
    HOLDER,
    PASS,
    POLICY,
    ROOT,
    SITE,
    STATUS,
    STRANGER,
    array,
    cose_key,
    mapping,
    num,
    octets,
    pairs,
    sign1,
    signed,
    text,
)
from tests.vectors.parts.passes import LARGEST as LARGEST_PASS
from tests.vectors.parts.passes import USUAL as USUAL_PASS
from tests.vectors.parts.policies import USUAL as USUAL_POLICY
from tests.vectors.parts.status import USUAL as USUAL_LIST
from tests.wire.formats import FORMATS
from wire.batch import open_batch, seal_batch
from wire.codec import MAX_TIME_S, MAX_UINT, Value, decode, encode, head
from wire.command_list import CommandList, encode_command_list, parse_command_list
from wire.envelope import parse_envelope, parse_key_header, seal
from wire.errors import WireError, WireReason
from wire.event import MAX_EVENT_BYTES, encode_event
from wire.names import Assurance, ExternalAad
from wire.passes import MAX_PASS_BYTES, make_pass_id, seal_pass, split_pass_id
from wire.policy import (
    ALL_DAYS,
    ALWAYS,
    MAX_AREAS,
    MAX_ASSURANCE_HOURS,
    MAX_EXCEPTIONS,
    MAX_HOLIDAYS,
    MAX_LEVELS,
    MAX_PASSAGES,
    MAX_PERSONS,
    MAX_POLICY_BYTES,
    MAX_SCHEDULES,
    MAX_WINDOWS,
    Area,
    AssuranceHours,
    Passage,
    PolicyBundle,
    Schedule,
    Window,
    open_policy,
    seal_policy,
    unverified_policy,
)
from wire.presentation import MAX_PRESENTATION_BYTES, parse_presented, seal_presentation
from wire.status_delta import MAX_DELTA_BYTES, MAX_FLIPS, StatusDelta, make_delta, open_delta, seal_delta
from wire.status_list import MAX_LIST_BYTES, MAX_TOKEN_BYTES, is_set, open_status_list, seal_status_list
from wire.text import MAX_TEXT_BYTES, MAX_TEXT_CHARACTERS, from_text, to_text
from wire.trust import MAX_PINNED_BYTES, PinnedTrust, encode_pinned, open_root_change, parse_pinned

if TYPE_CHECKING:
    from collections.abc import Callable


def _reason(refused: pytest.ExceptionInfo[WireError]) -> tuple[WireReason, str]:
    return refused.value.reason, refused.value.field


# --- tokens ------------------------------------------------------------------------------------------------


def test_largest_pass_and_presentation_are_within_their_limits():
    data = seal_pass(LARGEST_PASS, PASS)
    shown = seal_presentation(data, HOLDER, issued_at_s=MAX_TIME_S, audience="s" * 32)
    bound = seal_presentation(data, HOLDER, issued_at_s=MAX_TIME_S, audience="s" * 32 + "/" + "d" * 32, nonce=bytes(16))
    assert (len(data), len(shown), len(bound)) == (255, 383, 435)
    assert len(data) <= MAX_PASS_BYTES
    assert len(bound) <= MAX_PRESENTATION_BYTES
    assert len(to_text(shown)) == 579
    assert len(to_text(shown)) <= MAX_TEXT_CHARACTERS


def test_largest_event_is_within_its_limit():
    assert len(encode_event(LARGEST_EVENT)) == 346
    assert len(encode_event(LARGEST_EVENT)) <= MAX_EVENT_BYTES


def test_text_is_written_only_as_long_as_it_is_read():
    assert len(to_text(bytes(MAX_TEXT_BYTES))) == MAX_TEXT_CHARACTERS
    assert from_text(to_text(bytes(MAX_TEXT_BYTES))) == bytes(MAX_TEXT_BYTES)
    with pytest.raises(WireError) as refused:
        to_text(bytes(MAX_TEXT_BYTES + 1))
    assert _reason(refused) == (WireReason.TOO_LARGE, "text")


def test_nothing_is_inflated_when_a_code_is_read():
    bomb = signed(zlib.compress(bytes(1 << 16)), PASS, ExternalAad.PASS)
    with pytest.raises(WireError):
        parse_presented(bomb)


# --- status lists ------------------------------------------------------------------------------------------


def test_largest_status_list_is_read():
    bits = bytes(range(256)) * (MAX_LIST_BYTES // 256)
    data = seal_status_list(replace(USUAL_LIST, bits=bits), STATUS)
    assert open_status_list(data, STATUS.public_key).bits == bits


def test_list_that_cannot_be_compressed_still_fits():
    stored = zlib.compress(bytes(MAX_LIST_BYTES), 0)
    assert len(stored) + 512 < MAX_TOKEN_BYTES


def test_larger_status_list_is_neither_written_nor_read():
    with pytest.raises(WireError) as refused:
        seal_status_list(replace(USUAL_LIST, bits=bytes(MAX_LIST_BYTES + 1)), STATUS)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "status.size")


def test_no_more_is_inflated_than_the_list_says():
    # 64 MiB in 64 KiB that say they are two bytes: the inflater is stopped at the third.
    bomb = zlib.compress(bytes(1 << 26), 9)
    header = mapping({1: num(-19), 4: octets(STATUS.public_key.key_id), 16: text("application/statuslist+cwt")})
    claims = mapping(
        {
            2: text(f"urn:doorward:status:{USUAL_LIST.tenant}:0"),
            4: num(USUAL_LIST.expires_at_s),
            6: num(USUAL_LIST.issued_at_s),
            65533: pairs((text("lst"), octets(bomb)), (text("bits"), num(1))),
            65534: num(300),
            -65537: array(num(0), num(41), num(2)),
        }
    )
    data = sign1(header, claims, STATUS, ExternalAad.STATUS_LIST)
    tracemalloc.start()
    with pytest.raises(WireError) as refused:
        open_status_list(data, STATUS.public_key)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "status.lst")


def test_list_and_delta_may_be_kept_for_a_second():
    brief = replace(USUAL_LIST, ttl_s=1)
    assert open_status_list(seal_status_list(brief, STATUS), STATUS.public_key) == brief
    delta = replace(make_delta(USUAL_LIST, replace(USUAL_LIST, sequence=42)), ttl_s=1)
    assert open_delta(seal_delta(delta, STATUS), STATUS.public_key) == delta


def test_list_is_compressed_as_far_as_zlib_goes():
    assert encode({"bits": 1, "lst": zlib.compress(USUAL_LIST.bits, 9)})[1:] in seal_status_list(USUAL_LIST, STATUS)


def test_compressed_list_of_one_byte_is_cut():
    with pytest.raises(WireError) as refused:
        FORMATS["status"].read(_status_token(b"\x78"))
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "status.lst")


def _status_token(compressed: bytes) -> bytes:
    claims = cast("dict[int | str, Value]", FORMATS["status"].claims)
    return FORMATS["status"].write(encode({**claims, 65533: {"bits": 1, "lst": compressed}}))


def test_index_beyond_the_list_counts_as_revoked():
    assert [is_set(b"\x80", index) for index in (6, 7, 8, 2**40)] == [False, True, True, True]
    assert is_set(b"", 0)


# --- deltas ------------------------------------------------------------------------------------------------


def _delta(flips: tuple[int, ...]) -> StatusDelta:
    newer = replace(USUAL_LIST, sequence=42, bits=USUAL_LIST.bits)
    return replace(make_delta(USUAL_LIST, newer), flips=flips)


def test_delta_with_the_most_changes_is_read():
    flips = tuple(range(0, 64 * MAX_FLIPS, 64))
    data = seal_delta(_delta(flips), STATUS)
    assert len(data) <= MAX_DELTA_BYTES
    assert open_delta(data, STATUS.public_key).flips == flips


@pytest.mark.parametrize(("gap", "written"), [(127, "7f"), (128, "8001"), (2**14 - 1, "ff7f"), (2**14, "808001")])
def test_gap_is_written_in_as_few_bytes_as_hold_it(gap: int, written: str):
    data = seal_delta(_delta((gap,)), STATUS)
    assert encode(bytes.fromhex(written)) in data
    assert open_delta(data, STATUS.public_key).flips == (gap,)


def test_delta_with_one_change_more_is_not_written():
    with pytest.raises(WireError) as refused:
        seal_delta(_delta(tuple(range(MAX_FLIPS + 1))), STATUS)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "delta.gaps")


def test_lists_that_differ_too_much_make_no_delta():
    old = replace(USUAL_LIST, bits=bytes(MAX_FLIPS // 8 + 1))
    with pytest.raises(WireError) as refused:
        make_delta(old, replace(old, sequence=42, bits=b"\xff" * len(old.bits)))
    assert _reason(refused) == (WireReason.TOO_LARGE, "delta")
    most = b"\xff" * (MAX_FLIPS // 8) + b"\x00"
    assert len(make_delta(old, replace(old, sequence=42, bits=most)).flips) == MAX_FLIPS


# --- policies ----------------------------------------------------------------------------------------------


def _largest_policy() -> PolicyBundle:
    whole = (Window(ALL_DAYS, 0, 1440),) * MAX_WINDOWS
    readers = {f"reader-{number}": Passage(2 * number + 1, 2 * number + 2) for number in range(MAX_PASSAGES)}
    return replace(
        USUAL_POLICY,
        levels={**dict.fromkeys(range(MAX_LEVELS), (ALWAYS,)), 1: (ALWAYS,) * MAX_WINDOWS},
        schedules={
            **{number: Schedule(()) for number in range(1, MAX_SCHEDULES + 1)},
            1: Schedule(whole, whole, {**dict.fromkeys(range(MAX_EXCEPTIONS), ()), 1: whole}),
        },
        holidays=frozenset(range(MAX_HOLIDAYS)),
        assurance_hours=tuple(AssuranceHours(number, Assurance.ROTATING) for number in range(MAX_ASSURANCE_HOURS)),
        passages=readers,
        areas=dict.fromkeys(range(1, MAX_AREAS + 1), Area(MAX_PERSONS, MAX_PERSONS)),
    )


def test_limits_of_a_policy_are_what_the_page_says():
    assert (MAX_POLICY_BYTES, MAX_LEVELS, MAX_SCHEDULES, MAX_WINDOWS, MAX_HOLIDAYS) == (524_288, 4096, 1024, 64, 512)
    assert (MAX_EXCEPTIONS, MAX_ASSURANCE_HOURS, MAX_PASSAGES, MAX_AREAS, MAX_PERSONS) == (128, 64, 16, 32, 1_000_000)


def test_policy_with_the_most_of_everything_is_read():
    bundle = _largest_policy()
    data = seal_policy(bundle, POLICY)
    assert len(data) <= MAX_POLICY_BYTES
    assert open_policy(data, POLICY.public_key) == bundle


def test_policy_of_more_bytes_is_neither_written_nor_read():
    many = {number: Schedule((Window(ALL_DAYS, 600, 1440),) * MAX_WINDOWS) for number in range(1, MAX_SCHEDULES + 1)}
    with pytest.raises(WireError) as refused:
        seal_policy(replace(USUAL_POLICY, schedules={**USUAL_POLICY.schedules, **many}), POLICY)
    assert _reason(refused) == (WireReason.TOO_LARGE, "policy")
    with pytest.raises(WireError) as refused:
        open_policy(bytes(MAX_POLICY_BYTES + 1), POLICY.public_key)
    assert _reason(refused) == (WireReason.TOO_LARGE, "policy")


def test_policy_that_is_shown_before_anybody_verified_it_is_as_bounded():
    data = seal_policy(USUAL_POLICY, STRANGER)
    assert unverified_policy(data) == USUAL_POLICY
    for wrong, reason in (
        (bytes(MAX_POLICY_BYTES + 1), WireReason.TOO_LARGE),
        (bytes(MAX_POLICY_BYTES), WireReason.WRONG_TYPE),
        (b"", WireReason.EMPTY),
    ):
        with pytest.raises(WireError) as refused:
            unverified_policy(wrong)
        assert _reason(refused) == (reason, "policy")


def test_one_level_or_schedule_more_is_refused():
    too_many_levels = replace(USUAL_POLICY, levels=dict.fromkeys(range(MAX_LEVELS + 1), (ALWAYS,)))
    schedules = {number: Schedule(()) for number in range(1, MAX_SCHEDULES + 2)}
    with pytest.raises(WireError) as refused:
        seal_policy(too_many_levels, POLICY)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "policy.levels")
    with pytest.raises(WireError) as refused:
        seal_policy(replace(USUAL_POLICY, schedules=schedules), POLICY)
    assert _reason(refused) == (WireReason.OUT_OF_RANGE, "policy.schedules")


# --- CBOR --------------------------------------------------------------------------------------------------


def test_input_is_measured_before_it_is_read():
    assert decode(bytes(1), field="item", max_bytes=1) == 0
    with pytest.raises(WireError) as refused:
        decode(b"\xff\xff", field="item", max_bytes=1)
    assert _reason(refused) == (WireReason.TOO_LARGE, "item")


@pytest.mark.parametrize("number", [23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, MAX_UINT])
def test_heads_are_the_shortest_on_both_sides_of_each_width(number: int):
    assert head(0, number) == num(number)
    assert encode(-1 - number) == num(-1 - number)


def test_number_beyond_63_bits_is_not_written():
    for number in (MAX_UINT + 1, -MAX_UINT - 2):
        with pytest.raises(WireError) as refused:
            encode(number)
        assert _reason(refused) == (WireReason.OUT_OF_RANGE, "value")


@pytest.mark.parametrize("piece", [b"\x81", b"\xa1\x00", b"\xd2", b"\x9f", b"\xbf\x00", b"\xd8\x1c", b"\xa1"])
def test_deep_nesting_is_refused_at_once(piece: bytes):
    with pytest.raises(WireError):
        decode(piece * 500_000, field="item", max_bytes=1 << 21)


def test_trust_file_is_as_large_as_its_bundle_may_be():
    largest = encode_pinned(PinnedTrust(ROOT.public_key, bytes(MAX_PINNED_BYTES - 256)))
    assert len(largest) <= MAX_PINNED_BYTES
    assert parse_pinned(largest).root == ROOT.public_key


@pytest.mark.parametrize("junk", [b"\x00", b"\x60", b"\xa0", b"\x80"])
def test_large_junk_is_refused_without_being_taken_apart(junk: bytes):
    inside = array(octets(b"header"), b"\xa0", head(4, MAX_LIST_BYTES) + junk * MAX_LIST_BYTES, octets(bytes(64)))
    tracemalloc.start()
    for data in (head(4, MAX_LIST_BYTES) + junk * MAX_LIST_BYTES, b"\xd2" + inside):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(WireError):
            parse_envelope(data, field="message", max_bytes=MAX_TOKEN_BYTES)
        assert tracemalloc.get_traced_memory()[1] - before < 64 * 1024
    tracemalloc.stop()


def test_envelope_of_another_size_than_its_message_is_refused():
    good = signed(octets(b"payload"), PASS, ExternalAad.COMMAND)
    assert parse_envelope(good, field="message", max_bytes=len(good)).signature == good[-64:]
    with pytest.raises(WireError) as refused:
        parse_envelope(good, field="message", max_bytes=len(good) - 1)
    assert _reason(refused) == (WireReason.TOO_LARGE, "message")


def test_usual_sizes_are_what_the_pages_say():
    data = seal_pass(USUAL_PASS, PASS)
    shown = seal_presentation(data, HOLDER, issued_at_s=USUAL_PASS.issued_at_s, audience=SITE)
    assert (len(data), len(shown), len(to_text(shown))) == (175, 271, 411)
    assert len(cose_key(HOLDER.public_key)) == 42


def test_two_faults_of_encoding_at_once_are_no_cbor():
    for data in ("9fc000ff", "9fa200000000ff"):  # a length left open, and in it a tag or a key that stands there twice
        with pytest.raises(WireError) as refused:
            decode(bytes.fromhex(data), field="item", max_bytes=16)
        assert _reason(refused) == (WireReason.NOT_CBOR, "item")


def test_protected_header_has_at_most_64_bytes():
    for length, reason in ((64, WireReason.NOT_CBOR), (65, WireReason.TOO_LARGE)):
        with pytest.raises(WireError) as refused:
            parse_key_header(b"\x1c" * length, "message")
        assert _reason(refused) == (reason, "message")


def test_payload_of_a_presentation_has_at_most_128_bytes():
    for length, reason in ((128, WireReason.NOT_CBOR), (129, WireReason.TOO_LARGE)):
        with pytest.raises(WireError) as refused:
            parse_presented(FORMATS["presentation"].write(b"\x1c" * length))
        assert _reason(refused) == (reason, "presentation")


# --- shortest and longest parts ----------------------------------------------------------------------------


def test_events_of_a_batch_and_commands_of_a_list_have_at_least_one_byte():
    batch = seal_batch(device=DEVICE_ID, epoch=EPOCH, first=1, events=[b"\x00"], signer=DEVICE)
    assert open_batch(batch, DEVICE.public_key).events == (b"\x00",)
    assert parse_command_list(encode_command_list(CommandList(1, (b"\x00",)))).commands == (b"\x00",)


def test_trust_file_holds_a_bundle_of_at_least_one_byte():
    assert parse_pinned(encode_pinned(PinnedTrust(ROOT.public_key, b"\x00"))).bundle_bytes == b"\x00"


@pytest.mark.parametrize(
    ("data", "most"),
    [
        pytest.param(bytes, 1024, id="both signatures"),
        pytest.param(lambda size: seal(bytes(size), STRANGER, ExternalAad.ROOT_CHANGE), 512, id="the old root's"),
        pytest.param(
            lambda size: seal(seal(bytes(size), ROOT, ExternalAad.ROOT_CHANGE), STRANGER, ExternalAad.ROOT_CHANGE),
            256,
            id="the key",
        ),
    ],
)
def test_root_change_is_measured_at_each_of_its_layers(data: Callable[[int], bytes], most: int):
    with pytest.raises(WireError) as refused:
        open_root_change(data(most), ROOT.public_key)
    assert refused.value.reason is not WireReason.TOO_LARGE
    with pytest.raises(WireError) as refused:
        open_root_change(data(most + 1), ROOT.public_key)
    assert _reason(refused) == (WireReason.TOO_LARGE, "root_change")


def test_pass_id_is_joined_and_split_big_endian():
    assert make_pass_id(0x0102, 0x03040506) == bytes((1, 2, 3, 4, 5, 6))
    assert split_pass_id(make_pass_id(0x0102, 0x03040506)) == (0x0102, 0x03040506)
