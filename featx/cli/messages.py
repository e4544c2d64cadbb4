"""Messages in the terms of the command line.

A message of featx names a parameter as Python has it, in backquotes: `decoder='pyav'`, `layers`. Whoever types
commands is told the flag: --decoder pyav, --layers.
"""

from __future__ import annotations

import ast
import re
import shlex

import click

from featx.system.text import Text, printable, visible

_PARAMETER = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`")
# Parameters whose flags have another name.
_FLAGS = {"overrides": "set"}


def with_flags(text: str) -> str:
    """Return a message with its parameters as flags; what is in backquotes and no parameter stays."""
    told = _PARAMETER.sub(_flag, text)
    return Text(told) if isinstance(text, Text) else told


def echo(text: str, *, err: bool = False) -> None:
    """Print a line, or a `Text`, to stdout or stderr: what files and videos say cannot steer a terminal or forge a line."""
    click.echo(printable(text), err=err)  # noqa: TID251 - the one place


def _flag(found: re.Match[str]) -> str:
    name, given = found.groups()
    flag = "--" + _FLAGS.get(name, name).replace("_", "-")
    if given is None:
        return flag
    try:
        value = ast.literal_eval(given)
    except (SyntaxError, ValueError):
        return found[0]
    if value is True:
        return flag
    if value is False:
        return f"--no-{flag.removeprefix('--')}"
    if isinstance(value, dict):
        return " ".join(f"{flag} {_word(f'{key}={item}')}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return f"{flag} {_word(','.join(map(str, value)))}"
    return f"{flag} {_word(str(value))}"


def _word(text: str) -> str:
    """Return text as a shell takes it for one word."""
    return visible(shlex.quote(text))
