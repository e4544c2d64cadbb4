"""Messages name parameters in Python and flags on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from conftest import encode, featx

import featx as package
from featx.cli import cli
from featx.cli.messages import with_flags
from featx.errors import UsageError

HERE = Path(package.__file__).parent
# What speaks to the command line alone, and tasks, whose messages still have flags.
ROOMS = sorted(
    path
    for path in HERE.rglob("*.py")
    if path.relative_to(HERE).parts[0] not in ("cli", "tasks", "export", "study", "_weights")
    and path != HERE / "report" / "page.py"  # style sheets have such names
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("use `decoder='pyav'`", "use --decoder pyav"),
        ("add it to `layers`, or go", "add it to --layers, or go"),
        ("or with `partial=True`", "or with --partial"),
        ("or with `flip=False`", "or with --no-flip"),
        ("give `batch_size=2`", "give --batch-size 2"),
        ("give `layers=['res5b', 'fc']`,", "give --layers res5b,fc,"),
        (
            "give `overrides={'loss': 'softmax', 'batch': '8'}`",
            "give --set loss=softmax --set batch=8",
        ),
        ("give `root='/a b/c'`", "give --root '/a b/c'"),
        ("`features='a.h5'` `model='c3d'`", "--features a.h5 --model c3d"),
        # No parameters.
        (
            "`featx synth --dataset ucf101 DIR` writes one",
            "`featx synth --dataset ucf101 DIR` writes one",
        ),
        ("give clip=featx.ClipSpec(...)", "give clip=featx.ClipSpec(...)"),
        ("give `clip=featx.ClipSpec(frames=8)`", "give `clip=featx.ClipSpec(frames=8)`"),
        ("a file named a=b is 'x=y'", "a file named a=b is 'x=y'"),
        ("`two words`, `Upper`, ``, `", "`two words`, `Upper`, ``, `"),
    ],
)
def test_parameters_become_flags_and_nothing_else_does(text: str, told: str) -> None:
    assert with_flags(text) == told


def texts(path: Path) -> Iterator[str]:
    """What a module's string constants say, docstrings left out; the values in f-strings are '…'."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        if isinstance(node, ast.JoinedStr):
            skipped.update(part for part in node.values if isinstance(part, ast.Constant))
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value


def test_no_message_of_the_library_names_a_flag() -> None:
    """Commands that a message tells to type have flags, of course; `--json` is the printed texts'."""
    found = []
    for path in ROOMS:
        for text in texts(path):
            plain = re.sub(r"featx [a-z]+( [a-z]+)?( --[a-z-]+)*|--json", "", text)
            if re.search(r"(^|[\s`(])--[a-z]", plain):
                found.append((path.name, text))
    assert not found


def flags(command: click.Command) -> set[str]:
    found = {opt for each in command.params for opt in (*each.opts, *each.secondary_opts)}
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            if inner is not None:
                found |= flags(inner)
    return found


def test_every_parameter_that_a_message_names_is_a_flag_of_a_command() -> None:
    known = flags(cli)
    named = {}
    for path in ROOMS:
        for text in texts(path):
            for name, value in re.findall(r"`([a-z][a-z0-9_]*)(=[^`]+)?`", text):
                shown = with_flags(f"`{name}`" if not value or "…" in value else f"`{name}{value}`")
                named[shown.split()[0]] = (path.name, text)
    named.pop("--failures")  # of VideoClips, which no command has
    assert len(named) > 10
    assert {flag: where for flag, where in named.items() if flag not in known} == {}


def test_the_same_mistake_in_both_interfaces(tmp_path: Path) -> None:
    video = encode(tmp_path / "a.mp4", 20)
    args = ("res3d", "--weights", "random", "--flow", "dis")
    on_command_line = featx("extract", "--model", *args, video, tmp_path / "out.h5")
    assert on_command_line.returncode == 2
    assert "--input flow" in on_command_line.stderr
    assert "`" not in on_command_line.stderr
    with pytest.raises(UsageError) as caught:
        package.extract(video, tmp_path / "out.h5", weights="random", flow="dis")
    assert "input='flow'" in str(caught.value)
    assert "--" not in str(caught.value)
