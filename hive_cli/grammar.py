"""How commands are declared and parsed.

A command is a function whose first parameter is the `Hive` it works with; the others are its arguments and options,
as Typer reads them. A parameter whose type is a dataclass stands for the fields of that dataclass. Every command
gets `--json`, `--socket` and `--no-color` besides, which may also stand before it.

Every value reaches a command as text, which it checks with a sentence of its own. (Typer's own conversion loads
pydantic, which takes longer than all the rest of `hive stats`.)
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from hive_cli.failures import usage

if TYPE_CHECKING:
    from hive_cli.client import Client

Work = TypeVar("Work", bound=Callable[..., int | None])

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
SocketOption = Annotated[
    str, typer.Option("--socket", metavar="PATH", help="The daemon's socket (HIVE_SOCKET).")
]
PlainFlag = Annotated[bool, typer.Option("--no-color", help="No colours (NO_COLOR).")]


@dataclass(frozen=True, slots=True)
class Hive:
    """What a command works with: the daemon, and whether its answer is for a program."""

    client: Client
    as_json: bool


@dataclass(frozen=True, slots=True)
class Common:
    """The options that every command has."""

    as_json: JsonFlag = False
    socket: SocketOption = ""
    no_color: PlainFlag = False

    def or_else(self, outer: object) -> Common:
        """Return these options, with those given before the command where they are not given after it."""
        if not isinstance(outer, Common):
            return self
        return Common(
            self.as_json or outer.as_json,
            self.socket or outer.socket,
            self.no_color or outer.no_color,
        )

    def hive(self) -> Hive:
        """Return what a command works with under these options."""
        from hive_cli.client import Client  # `hive --help` needs no HTTP

        if self.no_color:
            os.environ["NO_COLOR"] = "1"
        return Hive(Client(self.socket or None), self.as_json)


class HiveCommand(TyperCommand):
    """A command that takes every value as the text it was given."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, none of which converts anything."""
        return [_as_text(parameter) for parameter in super().get_params(ctx)]


class HiveGroup(TyperGroup):
    """A group of commands: without one it shows its help, with an unknown one it says which is near."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, none of which converts anything."""
        return [_as_text(parameter) for parameter in super().get_params(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments of the group, `--help` if there are none."""
        return super().parse_args(ctx, args or ["--help"])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command with this name. Raises Failure."""
        found = self.find(ctx, cmd_name)
        if found is not None or cmd_name.startswith("-"):
            return found
        near = difflib.get_close_matches(cmd_name, self.list_commands(ctx), 1)
        raise usage(
            f'"{ctx.command_path}" has no command "{cmd_name}"',
            f"did you mean `{ctx.command_path} {near[0]}`?"
            if near
            else f"see `{ctx.command_path} --help`",
        )

    def find(self, ctx: Any, name: str) -> Any:
        """Return the command with this name, None if there is none."""
        return super().get_command(ctx, name)


def group(summary: str) -> typer.Typer:
    """Make the group of commands of one noun."""
    return typer.Typer(cls=HiveGroup, help=summary, **SETTINGS)


def single() -> typer.Typer:
    """Make the place of a command that stands alone."""
    return typer.Typer(**SETTINGS)


SETTINGS: Mapping[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def command(place: typer.Typer, name: str) -> Callable[[Work], Work]:
    """Declare the decorated function as a command; its docstring is the help."""

    def declare(work: Work) -> Work:
        place.command(name, cls=HiveCommand)(_typer_function(work))
        return work

    return declare


@dataclass(frozen=True, slots=True)
class _Part:
    """One parameter of a command's function, and the Typer parameters that make it."""

    name: str
    bundle: type | None
    parameters: tuple[inspect.Parameter, ...]

    def value(self, values: Mapping[str, object]) -> object:
        """Make the parameter's value from what Typer parsed."""
        if self.bundle is None:
            return values[self.name]
        return self.bundle(**{given.name: values[given.name] for given in self.parameters})


def _typer_function(work: Callable[..., int | None]) -> Callable[..., int | None]:
    """Wrap a command so that Typer sees plain parameters: the command's own and the common ones."""
    parts = [*_parts(work), _part("common", Common, None)]

    def run(context: typer.Context, **values: object) -> int | None:
        *own, common = (part.value(values) for part in parts)
        assert isinstance(common, Common)
        return work(common.or_else(context.obj).hive(), *own)

    own = [parameter for part in parts for parameter in part.parameters]
    context = inspect.Parameter("context", _KEYWORD, annotation=typer.Context)
    signature = inspect.Signature([context, *own])
    run.__signature__ = signature  # type: ignore[attr-defined]  # where inspect looks first
    run.__annotations__ = {name: given.annotation for name, given in signature.parameters.items()}
    run.__doc__ = work.__doc__
    return run


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _parts(work: Callable[..., int | None]) -> list[_Part]:
    """Return the parameters of a command's function after the first, which is the `Hive`."""
    hints = get_type_hints(work, include_extras=True)
    _, *own = inspect.signature(work).parameters.values()
    return [_part(parameter.name, hints[parameter.name], parameter) for parameter in own]


def _part(name: str, hint: Any, parameter: inspect.Parameter | None) -> _Part:
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        fields = inspect.signature(hint).parameters.values()
        own = (_keyword(field.name, hints[field.name], field.default) for field in fields)
        return _Part(name, hint, tuple(own))
    default = inspect.Parameter.empty if parameter is None else parameter.default
    return _Part(name, None, (_keyword(name, hint, default),))


def _keyword(name: str, hint: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, _KEYWORD, annotation=hint, default=default)


def _as_text(parameter: Any) -> Any:
    # Only a Typer that converts by pydantic describes its types so; an older one does not convert text at all.
    if hasattr(parameter, "type_descriptor"):
        parameter.process_value = partial(_given, parameter)
    return parameter


def _given(parameter: Any, context: Any, value: Any) -> Any:
    """Return what was given for a parameter, or complain that it is missing."""
    if value is None and (parameter.multiple or parameter.nargs != 1):
        value = ()
    if parameter.required and value in (None, ()):
        name = parameter.metavar or parameter.name.upper()
        context.fail(f"Missing {parameter.param_type_name} '{name}'.")
    return parameter.callback(context, parameter, value) if parameter.callback else value
