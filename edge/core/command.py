"""A signed command at the door: believed, in time, for this door, and never carried out twice.

Invariant: a command's counter is above that of every command this door took before; the counter is journaled with it.
Must not: act; what a command moves is decided when the journal holds it (edge/core/tap.py).
"""

from dataclasses import dataclass

from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.trust import TrustState
from edge.core.verify import FUTURE_MS, Place
from wire.command import MAX_COMMAND_BYTES, Command, open_command
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError, WireReason
from wire.names import ClockState, KeyPurpose, Reason
from wire.trust import TrustedKey


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a command is not carried out.

    Attributes:
        reason: as the journal tells it.
        command: the command, None when nobody that the door trusts has signed it.
    """

    reason: Reason
    command: Command | None = None


def judge_command(
    data: bytes, trust: TrustState | None, place: Place, memory: Memory, now: Instant
) -> Command | Refused:
    """Open a command that this door is to carry out now, or tell why it is not."""
    if trust is None:
        return Refused(Reason.NO_TRUST)
    if now.clock is ClockState.SUSPECT:
        return Refused(Reason.CLOCK_SUSPECT)
    try:
        key = _find_key(data, trust, now)
        if key is None:
            return Refused(Reason.UNKNOWN_ISSUER_KEY)
        command = open_command(data, key.key)
    except WireError as error:
        forged = error.reason in (WireReason.SIGNATURE_INVALID, WireReason.KEY_INVALID)
        return Refused(Reason.SIGNATURE_INVALID if forged else Reason.MALFORMED)
    reason = _refused(command, place, memory, now)
    return command if reason is None else Refused(reason, command)


def _find_key(data: bytes, trust: TrustState, now: Instant) -> TrustedKey | None:
    envelope = parse_envelope(data, field="command", max_bytes=MAX_COMMAND_BYTES)
    key = trust.bundle.find(parse_key_header(envelope.protected, "command")[1], KeyPurpose.COMMAND)
    return key if key is not None and key.not_before_s <= now.wall_s < key.expires_at_s else None


def _refused(command: Command, place: Place, memory: Memory, now: Instant) -> Reason | None:
    if command.target != place.door:
        return Reason.COMMAND_FOREIGN
    last, *_ = memory.get(MemoKind.COMMAND, b"") or (-1,)
    if command.counter <= last:
        return Reason.COMMAND_REPLAYED
    return Reason.COMMAND_EXPIRED if is_over(command, now) else None


def is_over(command: Command, now: Instant) -> bool:
    """Tell whether a command holds no more, or not yet by more than clocks may differ."""
    return not command.issued_at_s * 1000 - FUTURE_MS <= now.wall_ms < command.expires_at_s * 1000


def note_command(command: Command, now: Instant) -> Memo:
    """Give the memo that keeps a command from being taken again."""
    return Memo(MemoKind.COMMAND, b"", (command.counter, now.wall_s))
