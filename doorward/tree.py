"""The command tree, loaded one command at a time.

Invariant: help and completion of a group read the table only; a command's module is imported when it is called.
Must not: know any command by name.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from doorward.errors import CliError, ExitCode

_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_OURS: Final = frozenset({"cloud", "doorward", "edge", "firmware_adapters", "provisioning", "sync", "wire"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One command.

    Attributes:
        module: holds the function `run`, whose signature and docstring are the command's options and help, and
            `EXAMPLES`, lines that follow the help.
        summary: one line for the group's help; the first line of the docstring of `run`.
        part: the optional part of the installation that it needs, as `pip install 'doorward[PART]'` names it.
    """

    module: str
    summary: str
    part: str | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Commands that belong together."""

    summary: str
    members: "Mapping[str, Node]"
    examples: str = ""


Node: TypeAlias = "Leaf | Group"


class LazyGroup(TyperGroup):
    """A group whose members are stubs until one is called."""

    nodes: "Mapping[str, Node]"

    # The base class names a context of typer's own below typer.Context; what comes in is passed on untouched.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Show the help when no member is named."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:  # noqa: ANN401
        """Find the member that is called and load it."""
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        return name, build(name, self.nodes[name]), rest


def build(name: str, node: Node) -> TyperCommand | TyperGroup:
    """Make the command or group that a node describes.

    Raises:
        CliError: MISSING_PART when the command needs a part that is not installed.
    """
    return _load(name, node) if isinstance(node, Leaf) else _group(name, node)


def _group(name: str, node: Group) -> LazyGroup:
    group = LazyGroup(
        name=name,
        commands={member: _stub(member, child) for member, child in node.members.items()},
        help=node.summary,
        epilog=_preformatted(node.examples),
        rich_markup_mode=None,
        context_settings=dict(_SETTINGS),
    )
    group.nodes = node.members
    return group


def _stub(name: str, node: Node) -> TyperCommand:
    return TyperCommand(name, help=node.summary, hidden=isinstance(node, Leaf) and node.hidden)


def _load(name: str, leaf: Leaf) -> TyperCommand | TyperGroup:
    try:
        module = import_module(leaf.module)
    except ModuleNotFoundError as error:
        if leaf.part is None or error.name is None or error.name.partition(".")[0] in _OURS:
            raise
        raise CliError(
            ExitCode.MISSING_PART,
            what=f"this installation lacks the part {leaf.part!r} (no module {error.name!r})",
            remedy=f"install it with: pip install 'doorward[{leaf.part}]'",
        ) from error
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    epilog = _preformatted(module.EXAMPLES)
    app.command(name, help=inspect.cleandoc(module.run.__doc__), epilog=epilog, context_settings=dict(_SETTINGS))(
        module.run
    )
    command = typer.main.get_command(app)
    if not isinstance(command, TyperCommand):  # pragma: no cover - one function makes one command
        raise TypeError(leaf.module)
    command.hidden = leaf.hidden
    return command


def _preformatted(examples: str) -> str | None:
    """Keep examples as they are written: a backspace tells the help formatter not to wrap a paragraph."""
    text = inspect.cleandoc(examples)
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.split("\n\n")) if text else None
