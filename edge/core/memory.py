"""What a door has to remember beyond its journal: who is where, how often, how many wrong PINs, whether there was fire.

Invariant: memory changes only by memos, and every memo travels with the event that caused it into one transaction, so
that what a restarted daemon recalls is what the journal tells.
Must not: know what a fact means; the modules that keep one do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import Final

from immutables import Map

MAX_FACTS: Final = 65_536
"""More people than one door lets in; about 10 MB. Beyond it the oldest sixteenth of a kind is forgotten, and a kind
that had none yet takes one more. Finding them takes a look at every fact: 0.1 s, once in 4,096 people."""


@unique
class MemoKind(IntEnum):
    """What a fact is about; a number, once given, never gets another meaning (it is in databases)."""

    PRESENCE = 1
    USES = 2
    WRONG_PINS = 3
    FIRE = 4
    COMMAND = 5
    MODE = 6


@dataclass(frozen=True, slots=True)
class Memo:
    """A fact to be kept, or forgotten when `value` is None.

    Attributes:
        key: whom or what it is about, at most 32 bytes.
        value: the last number is when it was noted, Unix seconds.
    """

    kind: MemoKind
    key: bytes
    value: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Memory:
    """The facts in force.

    Attributes:
        facts: (kind, key) -> value.
        present: area -> how many PRESENCE facts name it (their first number); kept, because a tap cannot count them.
    """

    facts: Map[tuple[MemoKind, bytes], tuple[int, ...]] = field(default_factory=Map)
    present: Map[int, int] = field(default_factory=Map)

    def get(self, kind: MemoKind, key: bytes) -> tuple[int, ...] | None:
        """Give a fact, None when nothing is remembered."""
        return self.facts.get((kind, key))

    def with_memo(self, memo: Memo) -> "Memory":
        """Give the memory with one fact more, changed or forgotten."""
        before = self.get(memo.kind, memo.key)
        place = (memo.kind, memo.key)
        present = self.present
        if memo.kind is MemoKind.PRESENCE:
            present = _counted(_counted(present, before, -1), memo.value, 1)
        if memo.value is None:
            return Memory(self.facts.delete(place), present) if before is not None else self
        return Memory(self.facts.set(place, memo.value), present)

    def with_memos(self, memos: Iterable[Memo]) -> "Memory":
        """Give the memory with some memos taken in, in their order."""
        memory = self
        for memo in memos:
            memory = memory.with_memo(memo)
        return memory

    def to_forget(self, kind: MemoKind, over: Callable[[tuple[int, ...]], bool]) -> tuple[Memo, ...]:
        """Give the memos that forget the facts of a kind for which `over` holds."""
        return tuple(Memo(kind, key, None) for (of, key), value in self.facts.items() if of is kind and over(value))

    def with_room(self, memos: tuple[Memo, ...]) -> tuple[Memo, ...]:
        """Give memos, before them those that make room for what they add: the oldest of its kind are forgotten."""
        added = [memo.kind for memo in memos if memo.value is not None and self.get(memo.kind, memo.key) is None]
        if len(self.facts) + len(added) <= MAX_FACTS:
            return memos
        return (*(memo for kind in dict.fromkeys(added) for memo in self._oldest(kind)), *memos)

    def _oldest(self, kind: MemoKind) -> tuple[Memo, ...]:
        noted = sorted((value[-1], key) for (of, key), value in self.facts.items() if of is kind)
        return tuple(Memo(kind, key, None) for _, key in noted[: len(noted) // 16 + 1])


def _counted(present: Map[int, int], value: tuple[int, ...] | None, change: int) -> Map[int, int]:
    if value is None:
        return present
    count = present.get(value[0], 0) + change
    return present.set(value[0], count) if count else present.delete(value[0])
