"""A command: one order to one door, for seconds (docs/spec/command.md).

Invariant: a command expires, an unlock within 60 s of being issued; what it orders for a while ends within 12 h.
Must not: be executed twice: its id is journaled before acting (edge/core/command.py).
"""

from dataclasses import dataclass
from typing import Final

from wire.codec import Fields, Value, decode, encode
from wire.envelope import check_signed_by, parse_envelope, seal
from wire.errors import WireError, WireReason
from wire.keys import PublicKey, Signer
from wire.names import Action, DoorId, DoorMode, ExternalAad
from wire.passes import MAX_TENANT_CHARACTERS, slug

MAX_COMMAND_BYTES: Final = 512
MAX_UNLOCK_LIFETIME_S: Final = 60
MAX_LIFETIME_S: Final = 3_600
MAX_HOLD_S: Final = 43_200
"""Twelve hours, as for a door that staff left unlocked: what is to last longer is a policy."""
COMMAND_ID_BYTES: Final = 16

_MODES: Final = {int(mode): mode for mode in (DoorMode.LOCKED, DoorMode.UNLOCKED, DoorMode.BLOCKED)}
"""A lockdown is a state of the policy, not a command (docs/adr/0009-lockdown.md)."""
_ACTIONS: Final = {int(action): action for action in Action}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """An order.

    Attributes:
        command_id: 16 random bytes.
        target: the door's id.
        issued_at_s, expires_at_s: Unix seconds; at `expires_at_s` it no longer holds.
        counter: rises with every command to this door.
        mode: how the door is to rest for a while; for MODE, and None for any other action.
        hold_s: for MODE, how long after `issued_at_s` that ends; None for `expires_at_s`.
    """

    command_id: bytes
    target: DoorId
    action: Action
    issued_at_s: int
    expires_at_s: int
    counter: int
    mode: DoorMode | None = None
    hold_s: int | None = None

    @property
    def ends_at_s(self) -> int:
        """When a mode that it orders is over, Unix seconds."""
        return self.expires_at_s if self.hold_s is None else self.issued_at_s + self.hold_s


def seal_command(command: Command, signer: Signer) -> bytes:
    """Sign a command and check that it reads back.

    Raises:
        WireError: when it breaks a rule of the format.
    """
    claims: dict[int | str, Value] = {
        1: command.command_id,
        2: str(command.target),
        3: int(command.action),
        4: command.issued_at_s,
        5: command.expires_at_s,
        6: command.counter,
    }
    if command.mode is not None:
        claims[7] = int(command.mode)
    if command.hold_s is not None:
        claims[8] = command.hold_s
    payload = encode(claims, field="command")
    _parse(payload)
    return seal(payload, signer, ExternalAad.COMMAND)


def open_command(data: bytes, key: PublicKey) -> Command:
    """Verify and read a command.

    Raises:
        WireError: KEY_INVALID or SIGNATURE_INVALID when the key did not sign it, or a fault of form.
    """
    envelope = parse_envelope(data, field="command", max_bytes=MAX_COMMAND_BYTES)
    check_signed_by(envelope, key, ExternalAad.COMMAND, "command")
    return _parse(envelope.payload)


def _parse(payload: bytes) -> Command:
    fields = Fields(decode(payload, field="command", max_bytes=MAX_COMMAND_BYTES), "command")
    command_id = fields.octets(1, "id", COMMAND_ID_BYTES, COMMAND_ID_BYTES)
    target = slug(fields.text(2, "target", MAX_TENANT_CHARACTERS), "command.target")
    action = fields.member(3, "action", _ACTIONS)
    issued, expires = fields.time(4, "iat"), fields.time(5, "exp")
    counter = fields.uint(6, "counter")
    mode = fields.member(7, "mode", _MODES) if action is Action.MODE else None
    hold_s = fields.uint(8, "hold", MAX_HOLD_S) if mode is not None and fields.has(8) else None
    fields.close()
    limit = MAX_UNLOCK_LIFETIME_S if action is Action.UNLOCK else MAX_LIFETIME_S
    if not issued < expires <= issued + limit:
        raise WireError(WireReason.OUT_OF_RANGE, "command.exp")
    if hold_s == 0:
        raise WireError(WireReason.OUT_OF_RANGE, "command.hold")
    return Command(
        command_id=command_id,
        target=DoorId(target),
        action=action,
        issued_at_s=issued,
        expires_at_s=expires,
        counter=counter,
        mode=mode,
        hold_s=hold_s,
    )
