"""Every example of every help text is a command that runs as written.

Those that would compute for minutes are followed up to the function that does the work, which gets what they say.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import example_world
import pytest
from click.testing import CliRunner, Result

from featx.cli import cli
from featx.weights import manifest
from featx.weights.manifest import Checkpoint

# The functions that would train or measure for long, or take hundreds of videos, by how the example begins.
LONG = {
    "featx train": ["featx.training.run_training"],
    "featx study": ["featx.study.run_study"],
    "featx bench": [
        f"featx.bench.{name}" for name in ("bench", "bench_detection", "bench_training")
    ],
    "featx detect train": ["featx.tasks.localization.train_networks"],
    "featx compact --dataset ucf101 --split 1": ["featx.tasks.compactness.compact"],
    "featx synth videos": ["featx.synthetic.render.write_videos"],
    "featx synth --dataset": ["featx.synthetic.layouts.write_dataset"],
    # It writes outside of the folder that examples run in.
    "featx index out.h5 --layer res5b --index /scratch": ["featx.tasks.retrieval.index"],
}
# These end at once, although their commands' others do not.
SHORT = ("featx study tran2017-search --list",)
# Their outputs stand in the world for others to read, and would be gone on with.
MAKING = ("featx extract", "featx merge")
# These are about the networks themselves, not the tiny ones that stand for them.
OF_NETWORKS = ("featx models",)


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield context.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            under = command.get_command(context, name)
            assert under is not None
            with click.Context(under, info_name=name, parent=context) as deeper:
                yield from commands(under, deeper)


def examples(help_text: str) -> list[str]:
    """Return the lines of the paragraphs that begin with Example: or Examples:, those that go on joined."""
    found = []
    for block in re.findall(r"Examples?:\n(.+?)(?:\n\s*\n|\Z)", help_text, flags=re.S):
        joined = re.sub(r"\\\n\s*", "", block)
        found += [" ".join(line.split()) for line in joined.splitlines() if line.strip()]
    return found


def every_example() -> list[str]:
    with click.Context(cli, info_name="featx") as context:
        helps = [command.help or "" for _, command in commands(cli, context)]
    return list(dict.fromkeys(line for text in helps for line in examples(text)))


def test_every_command_has_an_example() -> None:
    with click.Context(cli, info_name="featx") as context:
        lacking = [
            path for path, command in commands(cli, context) if not examples(command.help or "")
        ]
    assert lacking == []
    assert len(every_example()) > 60


@contextmanager
def at_home(world: Path, checkpoints: Sequence[Checkpoint]) -> Iterator[None]:
    """Have tiny networks stand for the large ones, and checkpoints and datasets be the world's."""
    with example_world.small_networks(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATX_CACHE", str(world / "cache"))
        patch.setenv("FEATX_DATA", str(world / "data"))
        patch.setattr(manifest, "list_checkpoints", lambda: list(checkpoints))
        patch.setattr("featx.evaluation._generated.HELD_OUT", 8)  # of 1,000: seconds
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Checkpoint]]:
    """The folder with all that examples name, and the registered checkpoints."""
    folder = tmp_path_factory.mktemp("world")
    with example_world.small_networks():
        checkpoints = example_world.registered_checkpoints(folder / "cache")
    with at_home(folder, checkpoints):
        example_world.build(folder)
    return folder, checkpoints


@pytest.fixture
def here(
    world: tuple[Path, list[Checkpoint]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder with links to what is in the world; what an example writes is its own."""
    whole, checkpoints = world
    for path in (*whole.iterdir(), *whole.glob("runs/*")):
        if path.name != "runs":
            place = tmp_path / path.relative_to(whole)
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    with at_home(whole, checkpoints):
        yield tmp_path


def arguments_of(line: str) -> list[str]:
    """Return what follows `featx`; of a line of torchrun, what it would run on each process."""
    words = shlex.split(line)
    if words[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        asked = get_args_parser().parse_args(words[1:])
        assert asked.no_python
        words = [asked.training_script, *asked.training_script_args]
    assert words[0] == "featx"
    return words[1:]


class Reached(Exception):
    """The function that does the work was called."""


def leaves(value: object) -> Iterator[str]:
    """Yield the texts of the values in a call's arguments, those in settings and collections too."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from (str(name), *leaves(each))
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from leaves(each)
    else:
        yield f"{value:g}" if isinstance(value, float) else str(value)
        # Of what was opened already: a dataset's name, a file's path.
        yield from (str(getattr(value, name)) for name in ("name", "path") if hasattr(value, name))


def beginning(line: str) -> str | None:
    """Return the longest of LONG's beginnings that an example has, None where it has none."""
    _, _, plain = f" {line}".partition(" featx ")
    found = [name for name in LONG if f"featx {plain}".startswith(name)]
    return max(found, key=len) if found and line not in SHORT else None


def given(line: str) -> set[str]:
    """Return the values that an example gives: its arguments' and its options'."""
    words = [word for word in arguments_of(line) if not word.startswith("--")]
    names = (beginning(line) or "").split()
    return {part for word in words if word not in names for part in re.split("[=,]", word)}


def invoked(line: str) -> Result:
    return CliRunner().invoke(cli, arguments_of(line), standalone_mode=False)


EXAMPLES = every_example()


@pytest.mark.parametrize("line", [line for line in EXAMPLES if beginning(line)], ids=str)
@pytest.mark.usefixtures("here")
def test_a_long_example_reaches_the_function_that_does_the_work(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def reached(*args: Any, **kwargs: Any) -> None:
        calls.append([args, kwargs])
        raise Reached

    for target in LONG[beginning(line) or ""]:
        monkeypatch.setattr(target, reached)
    result = invoked(line)
    assert isinstance(result.exception, Reached), (result.exception, result.output)
    assert given(line) <= set(leaves(calls))


@pytest.mark.parametrize("line", [line for line in EXAMPLES if not beginning(line)], ids=str)
def test_an_example_runs_as_written(line: str, request: pytest.FixtureRequest) -> None:
    if "--flow" in line:
        pytest.importorskip("cv2", reason="OpenCV, the extra featx[flow], is not installed")
    if not line.startswith(OF_NETWORKS):
        here: Path = request.getfixturevalue("here")
        if line.startswith(MAKING):
            (here / shlex.split(line)[-1]).unlink(missing_ok=True)
    result = invoked(line)
    assert result.exception is None, (result.exception, result.output)
    assert not result.return_value, result.output
