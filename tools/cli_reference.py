"""Write the command reference, every command's --help, between README.md's markers.

python tools/cli_reference.py README.md            rewrite it
python tools/cli_reference.py --check README.md    exit 1 when it is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

START, END = "<!-- cli:start -->", "<!-- cli:end -->"
# Fixed: the reference must not depend on the terminal it was made in.
WIDTH = 100


def reference(command: click.Command, name: str = "featx") -> str:
    """Return the help of a command and of all commands under it, as Markdown."""
    return "\n\n".join(
        f"### `{path}`\n\n```text\n{help_}\n```" for path, help_ in _helps(command, name, None)
    )


def replaced(text: str, content: str) -> str:
    """Return the text with `content` between its markers."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise SystemExit(f"README.md must have one {START} and, after it, one {END}")
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n\n{content}\n\n{END}{after}"


def _helps(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    with click.Context(command, info_name=name, parent=parent, **settings) as context:
        lines = command.get_help(context).splitlines()
        yield context.command_path, "\n".join(line.rstrip() for line in lines).strip()
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                if found is not None and not found.hidden:
                    yield from _helps(found, each, context)


def main(arguments: list[str]) -> int:
    """Rewrite or check the file named last; return the exit status."""
    from featx.cli import cli

    path = Path(arguments[-1])
    old = path.read_text(encoding="utf-8")
    new = replaced(old, reference(cli))
    if "--check" in arguments:
        return int(new != old)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
