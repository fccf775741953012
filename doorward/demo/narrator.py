"""Telling what the demonstration does and sees, step by step.

Invariant: the narration goes to one stream and never to the one that carries the JSON result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.markup import escape

_WIDTH: Final = 100


class Narrator:
    """Tells a demonstration to a person.

    Args:
        stream: a terminal gets a moving line while something is waited for.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True, width=None if stream.isatty() else _WIDTH)

    def title(self, text: str) -> None:
        """Open the narration."""
        self._console.print(f"[bold]{escape(text)}[/bold]")

    def say(self, text: str) -> None:
        """Add a sentence."""
        self._console.print(f"      {escape(text)}")

    def seen(self, text: str) -> None:
        """Tell what was seen, as it was wanted."""
        self._console.print(f"    [green]✓[/green] {escape(text)}")

    def failed(self, text: str) -> None:
        """Tell what was not seen."""
        self._console.print(f"    [red]✗[/red] {escape(text)}")

    @contextmanager
    def step(self, number: int, count: int, text: str) -> Iterator[None]:
        """Announce a step; on a terminal something moves until it ends."""
        self._console.print(f"[bold]{number:>2}/{count}[/bold] {escape(text)}")
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("", spinner="dots"):
            yield
