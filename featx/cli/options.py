"""Options that several commands share, and their exit statuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from featx.errors import UsageError

INTERRUPTED = 130


def options(*each: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for option in reversed(each):
            function = option(function)
        return function

    return apply


def fields(texts: Iterable[str]) -> dict[str, str]:
    """Return what --set gives, FIELD=VALUE each, by field."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: give FIELD=VALUE, such as --set lr=0.05")
        found[name.strip()] = value.strip()
    return found


def numbers(name: str, text: str | None) -> tuple[int, ...] | None:
    """Return whole numbers separated by commas; None where there is no text."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{name} is {text!r}: give whole numbers separated by commas, such as 1,2,4"
        ) from None


def refuse_given(context: click.Context, why: str, *names: str) -> None:
    """Raise UsageError where an option of these names is given, even with the value that it has by itself."""
    by_name = {parameter.name: parameter.opts[-1] for parameter in context.command.params}
    for name in names:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"{by_name[name]} is {why}: leave it out")


class _Rate(click.ParamType):  # type: ignore[type-arg]
    """Frames a second, or "own"."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "own":
            return value
        try:
            return float(value)
        except ValueError:
            raise UsageError(
                f"fps is {value!r}: give a number of frames a second, or own for each video's own rate"
            ) from None


RATE = _Rate()


# Choices are spelled out here: importing the modules that own them would make --help slow. A test holds them together.
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
input_options = options(
    click.option("--input", type=click.Choice(["rgb", "flow", "rgbf"]),
                 help="RGB frames, optical flow, or RGB where something moves; the checkpoint's."),
    click.option("--flow", type=click.Choice(["auto", "tvl1", "dis", "farneback"]),
                 help="Flow's method; the checkpoint's, or auto: TV-L1 where OpenCV has it, else DIS, 100 times as fast."),
)  # fmt: skip
machine_options = options(
    click.option("--precision", type=click.Choice(["auto", "bf16", "float32"]), default="auto", show_default=True,
                 help="auto is bf16 where the processor has it; float32 is exact."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--batch-size", type=int, help="Clips at once; 8 on CPU, 32 on a GPU."),
    click.option("--decoder", type=click.Choice(["auto", "pyav", "decord"]), default="auto", show_default=True,
                 help="auto is pyav; decord hands files over that it does not decode exactly."),
    click.option("--workers", type=int, help="Decoding processes; one a core."),
)  # fmt: skip
dataset_options = options(
    click.option(
        "--root",
        metavar="DIR",
        help="Where the dataset's official files lie; its folder in $FEATX_DATA.",
    ),
    click.option(
        "--split", type=int, default=1, show_default=True, help="Of the dataset's official splits."
    ),
    click.option(
        "--partial",
        is_flag=True,
        help="Go on with the videos that are there, and say how many are not.",
    ),
    click.option(
        "--holdout",
        type=float,
        default=0.2,
        show_default=True,
        help="Test side's share of own data that has none.",
    ),
)
training_options = options(
    click.option("--crop", type=int, help="Side of a network's input in pixels, frames resized in proportion; the network's."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of untrained weights, clips, crops and dropout."),
    click.option("--precision", type=click.Choice(["auto", "bf16", "float32"]), default="auto", show_default=True,
                 help="auto is bf16 on a GPU, where that is safe, and float32 on a CPU."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--compile", is_flag=True, help="Compile a network first: minutes once, then faster on a GPU."),
    click.option("--workers", type=int, help="Decoding processes; one a core."),
    click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds until a silent decoder is given up."),
    click.option("--save-seconds", type=float, default=300.0, show_default=True, help="How often a run's state is written."),
)  # fmt: skip
