"""Whoever keeps the log, for tests: what synchronisation told, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync.ports import Notice, Reason


class Logged:
    """`sync.ports.Notices` that keeps them."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    @property
    def reasons(self) -> list[Reason | None]:
        """What was wrong, None where all was well again."""
        return [each.reason for each in self.notices]
