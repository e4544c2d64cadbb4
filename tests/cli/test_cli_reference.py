"""README's command reference is what --help says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import click
import pytest
from told import telling

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "tools" / "cli_reference.py")
cli_reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cli_reference)


@click.group()
def tool():
    """A tool."""


@tool.group()
def inner():
    """A group in it."""


@inner.command()
@click.option(
    "--number", default=3, show_default=True, help="How many " + "and how many more " * 10
)
def leaf(number):
    """Do it."""


@tool.command(hidden=True)
def secret():
    """Not for the reference."""


def test_readme_is_up_to_date():
    """In a process of its own: click keeps a command's help option from whoever has called it first, a test without its group."""
    tool = [
        sys.executable,
        str(ROOT / "tools" / "cli_reference.py"),
        "--check",
        str(ROOT / "README.md"),
    ]
    assert subprocess.run(tool, check=False).returncode == 0, "run `make docs`"


def test_every_command_of_the_group_has_its_help():
    from featx.cli import cli

    text = cli_reference.reference(cli)
    names = [name for name, command in cli.commands.items() if not command.hidden]
    assert names
    for name in names:
        assert f"### `featx {name}`\n" in text


def test_groups_are_followed_to_their_leaves():
    text = cli_reference.reference(tool, "tool")
    headings = [line for line in text.splitlines() if line.startswith("### ")]
    assert headings == ["### `tool`", "### `tool inner`", "### `tool inner leaf`"]
    assert "Usage: tool inner leaf [OPTIONS]" in text
    assert "[default: 3]" in text


@pytest.mark.parametrize("columns", ["40", "300"])
def test_the_terminal_makes_no_difference(monkeypatch, columns):
    before = cli_reference.reference(tool, "tool")
    monkeypatch.setenv("COLUMNS", columns)
    assert cli_reference.reference(tool, "tool") == before
    assert max(map(len, before.splitlines())) <= cli_reference.WIDTH


def test_only_what_is_between_the_markers_changes():
    text = f"above\n{cli_reference.START}\nold\n{cli_reference.END}\nbelow\n"
    new = cli_reference.replaced(text, "new")
    assert new == f"above\n{cli_reference.START}\n\nnew\n\n{cli_reference.END}\nbelow\n"
    assert cli_reference.replaced(new, "new") == new


@pytest.mark.parametrize("text", ["", cli_reference.START, cli_reference.END + cli_reference.START])
def test_missing_markers_are_reported(text):
    with pytest.raises(SystemExit, match=telling("README.md")):
        cli_reference.replaced(text, "new")
