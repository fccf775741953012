"""What cards say, by vectors from the public documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from firmware_adapters.cards.aes import cmac, diversify, encrypt, key_check_value, short_cmac
from firmware_adapters.cards.errors import CardError, CardFault
from firmware_adapters.cards.ev2 import Session, authenticate, read_number
from firmware_adapters.cards.keys import CardKey, CardKeys
from firmware_adapters.cards.phone import exchange_presentation
from firmware_adapters.cards.pkoc import verify_answer
from firmware_adapters.cards.sun import parse_address, verify_sun
from tests.support.virtual_cards import NUMBER, card_key
from wire.presentation import RotatingPresentation, parse_presented

_FOLDER = Path(__file__).parents[1] / "vectors"
_hex = bytes.fromhex


def _vectors(name: str) -> list[Any]:
    return [
        pytest.param(vector, id=vector["name"])
        for vector in json.loads((_FOLDER / f"{name}.json").read_text())["vectors"]
    ]


class _Script:
    """A card that says what a vector says, and fails the test for any other command."""

    def __init__(self, exchanges: list[list[str]]) -> None:
        self._left = [(_hex(command), _hex(answer)) for command, answer in exchanges]

    @property
    def is_over(self) -> bool:
        return not self._left

    async def transceive(self, command: bytes) -> bytes:
        expected, answer = self._left.pop(0)
        assert command == expected
        return answer


@pytest.mark.parametrize("vector", _vectors("card-key"))
def test_a_card_has_its_own_key(vector: dict[str, Any]):
    assert diversify(_hex(vector["key"]), _hex(vector["input"])).hex() == vector["expect"]["key"]


@pytest.mark.parametrize("size", [1, 15, 16, 30, 31])
def test_a_diversified_key_is_the_cmac_of_two_blocks(size: int):
    """From 16 bytes on, the two are the same (SP 800-38B); below, AN10922 pads one block more."""
    master, differs = bytes(range(16)), bytes(range(100, 100 + size))
    same = diversify(master, differs) == cmac(master, b"\x01" + differs)
    assert same == (size >= 16)


@pytest.mark.parametrize("size", [0, 32])
def test_other_sizes_of_what_differs_are_refused(size: int):
    with pytest.raises(ValueError, match="1 to 31"):
        diversify(bytes(16), bytes(size))


def test_the_keys_of_one_card_are_as_the_page_says_and_differ_by_purpose():
    keys = CardKeys(dict.fromkeys(CardKey, bytes(range(16))))
    own = {purpose: keys.of_card(purpose, NUMBER) for purpose in (CardKey.SUN_FILE, CardKey.NTAG424, CardKey.DESFIRE)}
    assert own == {
        CardKey.SUN_FILE: card_key(bytes(range(16)), 1),
        CardKey.NTAG424: card_key(bytes(range(16)), 2),
        CardKey.DESFIRE: card_key(bytes(range(16)), 3),
    }
    assert len(set(own.values())) == 3


def test_keys_are_not_printed():
    keys = CardKeys({CardKey.NTAG424: b"SIXTEEN SECRETS!"})
    assert "SECRET" not in repr(keys) + str(keys)


def test_a_key_check_value_is_six_digits_of_an_encrypted_block_of_zeroes():
    # FIPS 197's cipher of 16 zero bytes under the zero key begins 66 E9 4B.
    assert key_check_value(bytes(16)) == "66E94B"


@pytest.mark.parametrize("vector", _vectors("card-sun"))
def test_a_tags_message_is_verified(vector: dict[str, Any]):
    found: dict[str, object]
    try:
        message = parse_address(vector["address"].encode())
        reading = message and verify_sun(message, meta=_hex(vector["meta"]), key_of=lambda _: _hex(vector["file"]))
        found = {"number": reading.number.hex(), "counter": reading.counter} if reading else {"none": True}
    except CardError as error:
        found = {"fault": error.fault.value}
    assert found == vector["expect"]


@pytest.mark.parametrize("address", [b"\xff\xfe", b"https://[::1", b"https://x.example/?" + b"a=1&" * 20])
def test_what_is_no_address_has_no_message(address: bytes):
    assert parse_address(address) is None


async def test_mutual_authentication_is_as_published():
    vector, _ = (parameter.values[0] for parameter in _vectors("card-session"))
    session = await authenticate(
        _Script(vector["exchanges"]),
        _hex(vector["key"]),
        key_number=vector["key_number"],
        entropy=lambda _: _hex(vector["challenge"]),
    )
    assert session.transaction.hex() == vector["expect"]["transaction"]
    assert session.encryption.hex() == vector["expect"]["encryption"]
    assert session.authentication.hex() == vector["expect"]["authentication"]
    assert vector["expect"]["encryption"] not in repr(session)


async def test_the_number_inside_a_session_is_as_published():
    _, vector = (parameter.values[0] for parameter in _vectors("card-session"))
    session = Session(_hex(vector["encryption"]), _hex(vector["authentication"]), _hex(vector["transaction"]))
    number = await read_number(_Script(vector["exchanges"]), session)
    assert number.hex() == vector["expect"]["number"]


@pytest.mark.parametrize("cut", [0, 1])
async def test_a_step_of_the_authentication_that_is_a_byte_short_is_malformed(cut: int):
    vector, _ = (parameter.values[0] for parameter in _vectors("card-session"))
    exchanges = [list(each) for each in vector["exchanges"]]
    exchanges[cut][1] = exchanges[cut][1][2:]
    with pytest.raises(CardError) as caught:
        await authenticate(
            _Script(exchanges), _hex(vector["key"]), key_number=0, entropy=lambda _: _hex(vector["challenge"])
        )
    assert caught.value.fault is CardFault.MALFORMED


@pytest.mark.parametrize(
    ("plain", "fault"),
    [
        (NUMBER + b"\x80" + bytes(8), None),
        (NUMBER + bytes(9), CardFault.MALFORMED),
        (NUMBER + b"\x01\x80" + bytes(7), CardFault.MALFORMED),
    ],
)
async def test_a_number_inside_a_session_has_seven_bytes(plain: bytes, fault: CardFault | None):
    session = Session(b"e" * 16, b"a" * 16, b"tttt")
    vector = encrypt(session.encryption, b"\x5a\xa5tttt\x01\x00" + bytes(8))
    data = encrypt(session.encryption, plain, vector)
    mac = short_cmac(session.authentication, b"\x00\x01\x00tttt" + data)
    asked = "9051000008" + short_cmac(session.authentication, b"\x51\x00\x00tttt").hex() + "00"
    script = _Script([[asked, (data + mac).hex() + "9100"]])
    if fault is None:
        assert await read_number(script, session) == NUMBER
        return
    with pytest.raises(CardError) as caught:
        await read_number(script, session)
    assert caught.value.fault is fault


@pytest.mark.parametrize("vector", _vectors("card-pkoc"))
def test_a_card_proves_its_key(vector: dict[str, Any]):
    try:
        found = {"key": verify_answer(_hex(vector["answer"]), _hex(vector["transaction"])).hex()}
    except CardError as error:
        found = {"fault": error.fault.value}
    assert found == vector["expect"]


@pytest.mark.parametrize("vector", _vectors("phone-exchange"))
async def test_a_phone_is_talked_to(vector: dict[str, Any]):
    script = _Script(vector["exchanges"])
    try:
        answer = await exchange_presentation(script, nonce=_hex(vector["nonce"]), door=vector["door"])
        found = {"presentation": answer.hex()}
    except CardError as error:
        found = {"fault": error.fault.value}
    assert found == vector["expect"]
    assert script.is_over


def test_the_answer_of_the_example_is_a_presentation_for_that_door_and_nonce():
    vector = _vectors("phone-exchange")[0].values[0]
    presentation = parse_presented(_hex(vector["expect"]["presentation"]))
    assert isinstance(presentation, RotatingPresentation)
    assert presentation.nonce == _hex(vector["nonce"])
    assert vector["door"] == f"{presentation.signed_pass.unverified.issuer}/{presentation.audience}"
