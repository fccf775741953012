"""The reference of the command line, written from the commands themselves: docs/cli.md and manual pages.

Invariant: nothing is said here that a command does not say of itself.
Must not: run a command.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import typer

from doorward.errors import MEANINGS
from doorward.tree import Group, Leaf, build

_PROGRAM: Final = "doorward"
_HEAD: Final = """# Command line

This page is written by `doorward reference` from the commands themselves; a test keeps it current.

With `--json`, standard output carries one JSON object a line with stable keys, times are RFC 3339 in UTC, and a fault
is one JSON object on standard error: `error`, `message`, `remedy`, `exit_code`. Without it, times are in your own zone,
and colours appear on terminals only, never with `NO_COLOR`. `-h` and `--help` work everywhere. Completion for your
shell: `doorward completion --help`.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What one command says of itself.

    Attributes:
        name: with its groups, "doorward pass show".
        usage: one line.
        summary: the first sentence; paragraphs: the rest, unwrapped.
        entries: arguments and options, each with its meaning.
        examples: as written.
    """

    name: str
    usage: str
    summary: str
    paragraphs: tuple[str, ...]
    entries: tuple[tuple[str, str], ...]
    examples: str


def pages(node: Group, name: str = _PROGRAM) -> Iterator[Page]:
    """Give the page of every command that is not hidden, in the table's order."""
    for member, child in node.members.items():
        if isinstance(child, Group):
            yield from pages(child, f"{name} {member}")
        elif not child.hidden:
            yield _page(child, f"{name} {member}")


def exit_codes() -> list[str]:
    """Give one line an exit code."""
    return [f"{int(code):<4} {meaning}" for code, meaning in MEANINGS.items()]


def _page(leaf: Leaf, name: str) -> Page:
    command = build(name, leaf)
    context = typer.Context(command, info_name=name)
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    records = (param.get_help_record(context) for param in command.params)
    return Page(
        name=name,
        usage=" ".join([name, *command.collect_usage_pieces(context)]),
        summary=paragraphs[0],
        paragraphs=tuple(paragraphs[1:]),
        entries=tuple((label, " ".join(meaning.split())) for label, meaning in filter(None, records)),
        examples=inspect.cleandoc(import_module(leaf.module).EXAMPLES),
    )


def markdown(tree: Group) -> str:
    """Write docs/cli.md."""
    parts = [_HEAD, "## Exit codes", "| code | meaning |\n|---|---|"]
    parts[-1] += "".join(f"\n| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items())
    for name, node in tree.members.items():
        found = list(pages(Group("", {name: node})))
        if isinstance(node, Group):
            parts.append(f"## {_PROGRAM} {name}\n\n{node.summary}")
        parts += [_section(page, "###" if isinstance(node, Group) else "##") for page in found]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _section(page: Page, level: str) -> str:
    parts = [f"{level} {page.name}", f"`{page.usage}`", page.summary, *page.paragraphs]
    parts.append("\n".join(f"- `{label}`: {meaning}" for label, meaning in page.entries))
    parts.append(f"```\n{page.examples}\n```")
    return "\n\n".join(parts)


def manual(page: Page, version: str) -> str:
    """Write a manual page in man(7) macros."""
    title = page.name.replace(" ", "-")
    lines = [
        f'.TH "{title.upper()}" 1 "" "Doorward {version}" "Doorward"',
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(page.summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_roff(page.usage)}",
        ".SH DESCRIPTION",
        _roff(page.summary),
    ]
    for paragraph in page.paragraphs:
        lines += [".PP", _roff(paragraph)]
    lines.append(".SH OPTIONS")
    for label, meaning in page.entries:
        lines += [".TP", f".B {_roff(label)}", _roff(meaning)]
    lines += [
        ".SH EXAMPLES",
        ".nf",
        *(_roff(line) for line in page.examples.removeprefix("Examples:\n").splitlines()),
        ".fi",
    ]
    lines += [".SH EXIT STATUS", ".nf", *(_roff(line) for line in exit_codes()), ".fi"]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Escape what troff would read as its own: backslashes, hyphens, and a dot or quote that begins a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"^([.'])", r"\\&\1", escaped)
