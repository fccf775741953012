"""Command and response APDUs, their chaining and their bounds."""

from __future__ import annotations

import pytest

from firmware_adapters.cards.apdu import (
    MOST_RESPONSE_BYTES,
    MOST_ROUNDS,
    Command,
    encode_command,
    exchange,
    parse_response,
    require,
    select,
)
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.cards.tlv import MOST_TAGS, encode_tlv, parse_tlv, value_of


class _Answers:
    """Gives answers in turn and keeps what was asked."""

    def __init__(self, *answers: str) -> None:
        self._answers = [bytes.fromhex(each) for each in answers]
        self.asked: list[bytes] = []

    async def transceive(self, command: bytes) -> bytes:
        self.asked.append(command)
        return self._answers.pop(0)


@pytest.mark.parametrize(
    ("command", "written"),
    [
        (Command(ins=0x10), "00100000"),
        (Command(ins=0x10, le=1), "0010000001"),
        (Command(ins=0x10, le=256), "0010000000"),
        (Command(ins=0x10, data=b"\xaa"), "0010000001aa"),
        (Command(cla=0x80, ins=0x10, p1=1, p2=2, data=b"\xaa", le=256), "8010010201aa00"),
        (Command(ins=0x10, data=bytes(255)), "00100000ff" + "00" * 255),
        (Command(ins=0x10, data=bytes(256)), "00100000000100" + "00" * 256),
        (Command(ins=0x10, le=257), "00100000000101"),
        (Command(ins=0x10, le=65_536), "00100000000000"),
        (Command(ins=0x10, data=b"\xaa", le=448), "00100000000001aa01c0"),
    ],
)
def test_a_command_is_short_where_it_can_be(command: Command, written: str):
    assert encode_command(command).hex() == written


@pytest.mark.parametrize(
    "command", [Command(ins=1, le=0), Command(ins=1, le=65_537), Command(ins=1, data=bytes(65_536))]
)
def test_a_command_that_cannot_be_written_is_refused(command: Command):
    with pytest.raises(ValueError, match="APDU"):
        encode_command(command)


def test_a_response_is_data_and_a_status_word():
    response = parse_response(bytes.fromhex("aabb9000"))
    assert (response.data, response.status) == (b"\xaa\xbb", 0x9000)
    assert parse_response(b"\x6a\x82").data == b""


@pytest.mark.parametrize("raw", [b"", b"\x90"])
def test_a_response_without_a_status_word_is_malformed(raw: bytes):
    with pytest.raises(CardError) as caught:
        parse_response(raw)
    assert caught.value.fault is CardFault.MALFORMED


def test_a_response_longer_than_an_apdu_is_refused():
    assert len(parse_response(bytes(MOST_RESPONSE_BYTES)).data) == MOST_RESPONSE_BYTES - 2
    with pytest.raises(CardError) as caught:
        parse_response(bytes(MOST_RESPONSE_BYTES + 1))
    assert caught.value.fault is CardFault.TOO_LARGE


async def test_an_answer_in_pieces_is_gathered():
    card = _Answers("aa6102", "bbcc6100", "dd9000")
    response = await exchange(card, Command(cla=0x80, ins=0x20, le=256), most_bytes=4)
    assert (response.data.hex(), response.status) == ("aabbccdd", 0x9000)
    assert [each.hex() for each in card.asked] == ["8020000000", "80c0000002", "80c0000000"]


async def test_a_wrong_le_is_corrected_once():
    card = _Answers("6c03", "aabbcc9000")
    assert (await exchange(card, Command(ins=0xB0, le=256), most_bytes=256)).data.hex() == "aabbcc"
    assert [each.hex() for each in card.asked] == ["00b0000000", "00b0000003"]
    assert (await exchange(_Answers("6c03", "6c03"), Command(ins=0xB0, le=256), most_bytes=256)).status == 0x6C03


async def test_an_answer_may_have_as_many_bytes_as_allowed_and_no_more():
    assert len((await exchange(_Answers("aaaa9000"), Command(ins=1), most_bytes=2)).data) == 2
    for answers in (["aaaaaa9000"], ["aa6101", "aaaa9000"]):
        with pytest.raises(CardError) as caught:
            await exchange(_Answers(*answers), Command(ins=1), most_bytes=2)
        assert caught.value.fault is CardFault.TOO_LARGE


async def test_a_card_that_never_ends_its_answer_is_given_up():
    card = _Answers(*["6101"] * (MOST_ROUNDS + 1))
    with pytest.raises(CardError) as caught:
        await exchange(card, Command(ins=1), most_bytes=256)
    assert caught.value.fault is CardFault.TOO_LARGE
    assert len(card.asked) == MOST_ROUNDS + 1


async def test_a_long_command_is_chained():
    card = _Answers("9000", "9000", "aa9000")
    await exchange(card, Command(ins=0x20, data=bytes(255) + bytes([1]) * 255 + b"\x02", le=256), most_bytes=1)
    assert [each[:5].hex() for each in card.asked] == ["10200000ff", "10200000ff", "0020000001"]
    assert card.asked[2].hex() == "00200000010200"


async def test_a_chain_that_a_card_refuses_is_not_continued():
    card = _Answers("6884")
    with pytest.raises(CardError) as caught:
        await exchange(card, Command(ins=0x20, data=bytes(256)), most_bytes=1)
    assert (caught.value.fault, caught.value.status) == (CardFault.REFUSED, 0x6884)


async def test_a_command_that_asks_for_a_long_answer_is_extended_and_not_chained():
    card = _Answers("9000")
    await exchange(card, Command(ins=0x20, data=bytes(256), le=448), most_bytes=448)
    assert card.asked[0][4:7].hex() == "000100"


@pytest.mark.parametrize(
    ("status", "fault"), [("6a82", CardFault.ABSENT), ("6d00", CardFault.ABSENT), ("6985", CardFault.REFUSED)]
)
async def test_what_a_card_does_not_know_is_told_from_what_it_refuses(status: str, fault: CardFault):
    with pytest.raises(CardError) as caught:
        await select(_Answers(status), b"\xf0ANY")
    assert (caught.value.fault, caught.value.status) == (fault, int(status, 16))


async def test_selecting_asks_by_name():
    card = _Answers("5c0201009000")
    assert (await select(card, b"\xf0ANY")).hex() == "5c020100"
    assert card.asked[0].hex() == "00a4040004f0414e5900"


def test_the_expected_status_may_be_another():
    assert require(parse_response(b"\x01\x91\xaf"), status=0x91AF) == b"\x01"


def test_tags_are_read_and_written():
    values = ((0x5C, b"\x01\x00"), (0x4C, b""), (0x4D, bytes(127)))
    assert tuple(parse_tlv(encode_tlv(values)).items()) == values
    assert parse_tlv(b"") == {}


@pytest.mark.parametrize("data", ["5c", "5c02", "5c0201", "5c8101aa", "5f0100", "5c0101" * 2, "1f00"])
def test_what_is_not_whole_tags_is_malformed(data: str):
    with pytest.raises(CardError) as caught:
        parse_tlv(bytes.fromhex(data))
    assert caught.value.fault is CardFault.MALFORMED


def test_the_number_of_tags_is_bounded():
    tags = [each for each in range(0x100) if each & 0x1F != 0x1F]
    assert len(parse_tlv(encode_tlv((tag, b"") for tag in tags[:MOST_TAGS]))) == MOST_TAGS
    with pytest.raises(CardError):
        parse_tlv(encode_tlv((tag, b"") for tag in tags[: MOST_TAGS + 1]))


def test_a_value_of_another_size_is_malformed():
    assert value_of({0x5A: b"ab"}, 0x5A, size=2) == b"ab"
    for values in ({}, {0x5A: b"a"}, {0x5A: b"abc"}):
        with pytest.raises(CardError):
            value_of(values, 0x5A, size=2)


def test_a_value_that_is_too_long_is_not_written():
    with pytest.raises(ValueError, match="127"):
        encode_tlv(((0x5C, bytes(128)),))
