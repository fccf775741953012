"""The card's side of every exchange, written from the public documents and not from the door's code.

A card answers APDUs with bytes and keeps its own state; what holds it to a reader
(memory, pcscd, a PN532) is elsewhere.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from firmware_adapters.cards.errors import CardError, CardFault

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBER: Final = bytes.fromhex("04782e21801d80")
NOT_FOUND: Final = b"\x6a\x82"
NO_INSTRUCTION: Final = b"\x6d\x00"
WRONG_LENGTH: Final = b"\x67\x00"
OK: Final = b"\x90\x00"
NDEF_APPLICATION: Final = bytes.fromhex("d2760000850101")


class VirtualCard(Protocol):
    """A card in a field."""

    number: bytes
    speaks: bool

    def reset(self) -> None:
        """Lose what a card loses without power."""
        ...

    def answer(self, apdu: bytes) -> bytes:
        """Answer a command APDU."""
        ...


def _cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def _cbc(key: bytes, data: bytes, vector: bytes = bytes(16)) -> bytes:
    return Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor().update(data)


def _uncbc(key: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CBC(bytes(16))).decryptor().update(data)


def card_key(master: bytes, purpose: int, number: bytes = NUMBER) -> bytes:
    """Derive a card's key as a station that personalises cards does: for 17 bytes AN10922 is a plain CMAC."""
    return _cmac(master, b"\x01" + number + bytes((purpose,)) + b"doorward")


def text_record(text: bytes) -> bytes:
    """Make an NDEF message of one text record."""
    payload = b"\x02en" + text
    if len(payload) < 256:
        return b"\xd1\x01" + bytes((len(payload),)) + b"T" + payload
    return b"\xc1\x01" + len(payload).to_bytes(4, "big") + b"T" + payload


def address_record(address: bytes) -> bytes:
    """Make an NDEF message of one https address."""
    return b"\xd1\x01" + bytes((len(address) + 1,)) + b"U\x04" + address


class NumberCard:
    """Has a number, and takes APDUs for nothing."""

    speaks = True

    def __init__(self, number: bytes = NUMBER) -> None:
        self.number = number

    def reset(self) -> None:
        """Nothing is lost."""

    def answer(self, apdu: bytes) -> bytes:
        return NOT_FOUND if apdu[1] == 0xA4 else NO_INSTRUCTION


class StorageCard(NumberCard):
    """Has a number and takes no APDUs at all, like a MIFARE Classic."""

    speaks = False


class NdefTag:
    """A type 4 tag with one message."""

    speaks = True

    def __init__(
        self, message: bytes = b"", number: bytes = NUMBER, *, piece: int = 0xFF, capacity: int = 4096
    ) -> None:
        self.number = number
        self.message = message
        self._container = bytes.fromhex("000f20") + piece.to_bytes(2, "big") + bytes.fromhex("00ff0406e104")
        self._container += capacity.to_bytes(2, "big") + b"\x00\x00"
        self._application = b""
        self._file = b""

    def reset(self) -> None:
        self._application = self._file = b""

    def answer(self, apdu: bytes) -> bytes:
        match apdu[1]:
            case 0xA4:
                return self._select(apdu)
            case 0xB0:
                return self._read(apdu)
            case _:
                return self.other(apdu)

    def other(self, apdu: bytes) -> bytes:
        """Answer what is neither selecting nor reading."""
        return NO_INSTRUCTION if apdu else WRONG_LENGTH

    def mirrored(self) -> bytes:
        """Make the message as it is read this time."""
        return self.message

    def _select(self, apdu: bytes) -> bytes:
        name = apdu[5 : 5 + apdu[4]]
        if apdu[2] == 0x04:
            self._application = name if name == NDEF_APPLICATION else b""
            return OK if self._application else NOT_FOUND
        if not self._application or name not in (b"\xe1\x03", b"\xe1\x04"):
            return NOT_FOUND
        message = self.mirrored() if name == b"\xe1\x04" else b""
        self._file = self._container if name == b"\xe1\x03" else len(message).to_bytes(2, "big") + message
        return OK

    def _read(self, apdu: bytes) -> bytes:
        offset, size = int.from_bytes(apdu[2:4], "big"), apdu[4] or 256
        return self._file[offset : offset + size] + OK


class SunTag(NdefTag):
    """An NTAG 424 DNA that mirrors a fresh message into its address each time that its file is selected."""

    def __init__(self, *, meta: bytes, file: bytes, number: bytes = NUMBER, counter: int = 0) -> None:
        super().__init__(number=number)
        self.counter = counter
        self.said_number = number
        self.wrong_mac = False
        self._meta = meta
        self._file_key = card_key(file, 1, number)

    def mirrored(self) -> bytes:
        self.counter += 1
        counter = self.counter.to_bytes(3, "little")
        encrypted = _cbc(self._meta, b"\xc7" + self.said_number + counter + secrets.token_bytes(5))
        session = _cmac(self._file_key, bytes.fromhex("3cc300010080") + self.said_number + counter)
        mac = _cmac(session, b"")[1::2]
        if self.wrong_mac:
            mac = mac[:-1] + bytes((mac[-1] ^ 1,))
        return address_record(
            b"door.example/t?e=" + encrypted.hex().upper().encode() + b"&c=" + mac.hex().upper().encode()
        )


class LrpTag(NdefTag):
    """An NTAG 424 DNA in LRP mode (NT4H2421Gx §9, table 19 and §9.3.4.2).

    What it encrypts is drawn at random here: whoever does not speak LRP cannot tell the difference.
    """

    def mirrored(self) -> bytes:
        encrypted, mac = secrets.token_hex(8 + 16).upper(), secrets.token_hex(8).upper()
        return address_record(f"door.example/t?e={encrypted}&c={mac}".encode())

    def other(self, apdu: bytes) -> bytes:
        if apdu[:2] != b"\x90\x71" or len(apdu) < 7:
            return super().other(apdu)
        capabilities = apdu[7 : 7 + apdu[6]]
        asks_for_lrp = bool(capabilities) and bool(capabilities[0] & 0x02)
        return b"\x01" + secrets.token_bytes(16) + b"\x91\xaf" if asks_for_lrp else b"\x91\x9d"


class CutCard(NdefTag):
    """A right card whose answers arrive with so many bytes at most, status word included."""

    def __init__(self, card: VirtualCard, size: int) -> None:
        super().__init__(number=card.number)
        self._card = card
        self._size = size

    def reset(self) -> None:
        self._card.reset()

    def answer(self, apdu: bytes) -> bytes:
        return self._card.answer(apdu)[: self._size]


class Ev2Card(NdefTag):
    """An NTAG 424 DNA, or a DESFire EV2 when it has an application of three bytes."""

    def __init__(
        self, *, key: bytes, key_number: int = 3, number: bytes = NUMBER, application: bytes | None = None
    ) -> None:
        super().__init__(number=number)
        self.said_number = number
        self.lies = False  # sends back a challenge that it could not decrypt
        self.wrong_mac = False
        self._key = key
        self._key_number = key_number
        self._native_application = application
        self._selected_native = False
        self._challenge = b""
        self._session: tuple[bytes, bytes, bytes] | None = None

    def reset(self) -> None:
        super().reset()
        self._selected_native, self._challenge, self._session = False, b"", None

    def _select(self, apdu: bytes) -> bytes:
        return NOT_FOUND if self._native_application is not None else super()._select(apdu)

    def other(self, apdu: bytes) -> bytes:
        if apdu[0] != 0x90 or len(apdu) < 5:
            return NO_INSTRUCTION
        data = apdu[5 : 5 + apdu[4]]
        match apdu[1]:
            case 0x5A:
                self._selected_native = data == self._native_application
                return b"\x91\x00" if self._selected_native else b"\x91\xa0"
            case 0x71:
                return self._begin(data)
            case 0xAF if self._challenge:
                return self._prove(data)
            case 0x51 if self._session is not None:
                return self._number(data)
            case _:
                return b"\x91\x1c"

    def _begin(self, data: bytes) -> bytes:
        if not (self._selected_native or self._application):
            return b"\x91\xa0"
        if data[:1] != bytes((self._key_number,)):
            return b"\x91\x40"
        self._challenge = secrets.token_bytes(16)
        return _cbc(self._key, self._challenge) + b"\x91\xaf"

    def _prove(self, data: bytes) -> bytes:
        plain, mine = _uncbc(self._key, data), self._challenge
        self._challenge = b""
        theirs = plain[:16]
        if plain[16:] != mine[1:] + mine[:1]:
            return b"\x91\xae"
        mixed = theirs[:2] + bytes(a ^ b for a, b in zip(theirs[2:8], mine[:6], strict=True)) + mine[6:] + theirs[8:]
        transaction = secrets.token_bytes(4)
        encryption = _cmac(self._key, bytes.fromhex("a55a00010080") + mixed)
        authentication = _cmac(self._key, bytes.fromhex("5aa500010080") + mixed)
        self._session = (transaction, encryption, authentication)
        returned = theirs[1:] + theirs[:1] if not self.lies else bytes(16)
        return _cbc(self._key, transaction + returned + bytes(12)) + b"\x91\x00"

    def _number(self, mac: bytes) -> bytes:
        assert self._session is not None
        transaction, encryption, authentication = self._session
        if mac != _cmac(authentication, b"\x51\x00\x00" + transaction)[1::2]:
            return b"\x91\x1e"
        vector = _cbc(encryption, bytes.fromhex("5aa5") + transaction + b"\x01\x00" + bytes(8))
        data = _cbc(encryption, self.said_number + b"\x80" + bytes(8), vector)
        given = _cmac(authentication, b"\x00\x01\x00" + transaction + data)[1::2]
        if self.wrong_mac:
            given = given[:-1] + bytes((given[-1] ^ 1,))
        return data + given + b"\x91\x00"


def _tlv(tag: int, value: bytes) -> bytes:
    return bytes((tag, len(value))) + value


def _untlv(data: bytes) -> dict[int, bytes]:
    values = {}
    while data:
        values[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return values


class PkocCard:
    """A PKOC card with a key of its own."""

    application = bytes.fromhex("a000000898000001")

    def __init__(self, number: bytes = b"\x08\x11\x22\x33", *, versions: bytes = b"\x01\x00") -> None:
        self.number = number
        self.speaks = True
        self.versions = versions
        self.reader = b""
        self.forged = False
        self._selected = False
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def point(self) -> bytes:
        """The public key, uncompressed."""
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def credential(self) -> bytes:
        """What a door takes for this card's number."""
        return hashlib.sha256(self.point).digest()

    def reset(self) -> None:
        self._selected = False

    def answer(self, apdu: bytes) -> bytes:
        if apdu[1] == 0xA4:
            self._selected = apdu[5 : 5 + apdu[4]] == self.application
            return _tlv(0x5C, self.versions) + OK if self._selected else NOT_FOUND
        if not self._selected or apdu[:5] != bytes.fromhex("8080000138"):
            return NO_INSTRUCTION
        values = _untlv(apdu[5:-1])
        if len(values[0x4C]) != 16 or len(values[0x4D]) != 32 or values[0x5C] not in self.versions:
            return b"\x6a\x80"
        self.reader = values[0x4D]
        signed = bytes(16) if self.forged else values[0x4C]
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return _tlv(0x5A, self.point) + _tlv(0x9E, r.to_bytes(32, "big") + s.to_bytes(32, "big")) + OK


class Phone:
    """A wallet on a phone: answers a door's nonce with what `sign` makes of it."""

    application = b"\xf0DOORWARD"

    def __init__(
        self, sign: Callable[[bytes, str], bytes], *, number: bytes = b"\x08\xa1\xb2\xc3", piece: int | None = 200
    ) -> None:
        """Prepare it; `piece` is what it answers at once, None when only an extended command gets all of it."""
        self.number = number
        self.speaks = True
        self.refuses = b""
        self.served = 0
        self._sign = sign
        self._piece = piece
        self._selected = False
        self._left = b""

    def reset(self) -> None:
        self._selected, self._left = False, b""

    def answer(self, apdu: bytes) -> bytes:
        if apdu[1] == 0xA4:
            self._selected = apdu[5 : 5 + apdu[4]] == self.application
            return _tlv(0x5C, b"\x01\x00") + OK if self._selected else NOT_FOUND
        if not self._selected:
            return NO_INSTRUCTION
        if apdu[1] == 0xC0:
            return self._next(apdu[4] or 256)
        if self.refuses:
            return self.refuses
        extended = apdu[4] == 0
        if self._piece is None and not extended:
            return WRONG_LENGTH
        values = _untlv(apdu[7:-2] if extended else apdu[5:-1])
        self._left = self._sign(values[0x4C], values[0x4D].decode())
        return self._next(len(self._left) if extended else 256)

    def _next(self, most: int) -> bytes:
        size = min(most, self._piece or most)
        now, self._left = self._left[:size], self._left[size:]
        if self._left:
            return now + bytes((0x61, min(len(self._left), 255)))
        self.served += 1
        return now + OK


class Held:
    """A card that the door's code talks to directly; it leaves after `stays` commands, if that is given."""

    def __init__(self, card: VirtualCard, *, stays: int | None = None) -> None:
        self.card = card
        self.commands = 0
        self._stays = stays
        card.reset()

    async def transceive(self, command: bytes) -> bytes:
        if self.commands == self._stays:
            raise CardError(CardFault.REMOVED, "the card has left")
        self.commands += 1
        return self.card.answer(command)
