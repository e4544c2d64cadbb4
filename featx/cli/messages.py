"""Messages in the terms of the command line.

A message of featx, or of a task, names a parameter as Python has it, in backquotes: `decoder='pyav'`, `layers`. Whoever
types commands is told the flag: --decoder pyav, --layers. The command that runs says which flag that is, by its options:
of one declared as `"--layer", "layers"`, `layers` is told as --layer. So a task's command needs no table here.
"""

from __future__ import annotations

import ast
import functools
import re
import shlex
from typing import Any

import click

from featx.errors import FeatxError
from featx.system.text import Text, printable, visible

_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`")
# Parameters whose flags have another name in every command.
_FLAGS = {"overrides": "set"}


def with_flags(text: str) -> str:
    """Return a message with its parameters as flags; what is in backquotes and no parameter stays."""
    told = _PARAMETER.sub(_flag, text)
    return Text(told) if isinstance(text, Text) else told


def errors_in_flags(command: click.Command) -> click.Command:
    """Have a command, and those under it, raise errors with their own flags in them; returns it.

    That is done while the command runs, for afterwards nobody knows which one it was.
    """
    if isinstance(command, click.Group):
        for each in command.commands.values():
            errors_in_flags(each)
    if command.callback is not None and not hasattr(command.callback, "in_flags"):
        command.callback = _in_flags(command.callback)
    return command


def _in_flags(callback: Any) -> Any:
    @functools.wraps(callback)
    def call(*args: Any, **values: Any) -> Any:
        try:
            return callback(*args, **values)
        except FeatxError as error:
            error.args = (with_flags(str(error)), *error.args[1:])
            raise

    call.in_flags = True  # type: ignore[attr-defined]
    return call


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, or a `Text`, to stdout or stderr: what files and videos say cannot steer a terminal or forge a line."""
    click.echo(printable(text), err=err)  # noqa: TID251 - the one place


def _flag(found: re.Match[str]) -> str:
    name, given = found.groups()
    option = _option(name)
    flag = option.opts[0] if option else "--" + _FLAGS.get(name, name).replace("_", "-")
    if given is None:
        return flag
    try:
        value = ast.literal_eval(given)
    except (SyntaxError, ValueError):
        return found[0]
    if value is True:
        return flag
    if value is False:
        off = option.secondary_opts if option else []
        return off[0] if off else f"--no-{flag.removeprefix('--')}"
    if isinstance(value, dict):
        # A value for all has no key.
        texts = [f"{key}={item}" if key else str(item) for key, item in value.items()]
        return " ".join(f"{flag} {_word(text)}" for text in texts)
    if isinstance(value, list | tuple):
        if option and option.multiple:
            return " ".join(f"{flag} {_word(str(item))}" for item in value)
        return f"{flag} {_word(','.join(map(str, value)))}"
    return f"{flag} {_word(str(value))}"


def _option(name: str) -> click.Option | None:
    """Return the option, of the command that runs, whose value is the parameter."""
    context = click.get_current_context(silent=True)
    every = context.command.params if context else []
    return next(
        (each for each in every if isinstance(each, click.Option) and each.name == name), None
    )


def _word(text: str) -> str:
    """Return text as a shell takes it for one word."""
    return visible(shlex.quote(text))
