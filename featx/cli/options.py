"""Options that several commands share, and their exit statuses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import click

from featx.errors import UsageError
from featx.system.interrupts import STATUS
from featx.video.decoders import AUTO, MAX_PIXELS, decoder_names

INTERRUPTED = STATUS


def options(*each: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for option in reversed(each):
            function = option(function)
        return function

    return apply


def grouped(
    name: str, make: Callable[[], Callable[..., Any]], *each: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Return options that reach the command as one object.

    Args:
        name: The command's parameter.
        make: Returns what makes the object of the options' values; called when the command runs, for it may be heavy
            to import.
        *each: The options.
    """

    def apply(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **values: Any) -> Any:
            own = {option: values.pop(option) for option in names}
            return function(*args, **{name: make()(**own)}, **values)

        before = set(_parameters(function))
        for option in reversed(each):
            call = option(call)
        names = [option for option in _parameters(call) if option not in before]
        return call

    return apply


def _parameters(function: Any) -> list[str]:
    """Return the names of the options that a function that is to be a command has so far."""
    return [option.name for option in getattr(function, "__click_params__", ())]


def layer_names(text: str | None) -> list[str] | None:
    """Return layers separated by commas; None where there is no text, UsageError where it names none."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"layers is {text!r}: give names separated by commas, or leave it out")
    return names


def fields(texts: Iterable[str]) -> dict[str, str]:
    """Return what --set gives, FIELD=VALUE each, by field."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: give FIELD=VALUE, such as --set lr=0.05")
        found[name.strip()] = value.strip()
    return found


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


class _Numbers(click.ParamType):  # type: ignore[type-arg]
    """Whole numbers separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            what = param.name if param is not None else "value"
            raise UsageError(
                f"{what} is {value!r}: give whole numbers separated by commas, such as 1,2,4"
            ) from None


NUMBERS = _Numbers()


def id_text(argument: str) -> str:
    """Return a video's id as files have it, in UTF-8, whatever the encoding of the command line's arguments."""
    from featx.video.source import as_text

    return as_text(argument)


class _VideoId(click.ParamType):  # type: ignore[type-arg]
    """A video's id."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return id_text(value)


VIDEO_ID = _VideoId()


# Choices are spelled out here: importing the modules that own them would make --help slow. A test holds them together.
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_INPUT = (
    click.option("--input", type=click.Choice(["rgb", "flow", "rgbf"]),
                 help="RGB frames, optical flow, or RGB where something moves; the checkpoint's."),
    click.option("--flow", type=click.Choice(["auto", "tvl1", "dis", "farneback"]),
                 help="Flow's method; the checkpoint's, or auto: TV-L1 where OpenCV has it, else DIS, 100 times as fast."),
)  # fmt: skip
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=MAX_PIXELS,
    show_default=True,
    help="Most pixels of a frame; a video of larger ones fails.",
)
_MACHINE = (
    click.option("--precision", type=click.Choice(["auto", "bf16", "float32"]), default="auto", show_default=True,
                 help="auto is bf16 where the processor has it; float32 is exact."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--batch-size", type=int, help="Clips at once; 8 on CPU, 32 on a GPU."),
    click.option("--decoder", type=click.Choice([AUTO, *decoder_names()]), default=AUTO, show_default=True,
                 help="auto is pyav; decord hands files over that it does not decode exactly."),
    click.option("--workers", type=int, help="Decoding processes; one a core."),
    max_pixels_option,
)  # fmt: skip


def _machine() -> Callable[..., Any]:
    from featx.extraction.settings import Machine

    return Machine


def _transform() -> Callable[..., Any]:
    from featx.extraction.settings import TransformOptions

    return TransformOptions


def _clip() -> Callable[..., Any]:
    from featx.extraction.settings import ClipOptions

    return ClipOptions


timeout_option = click.option(
    "--timeout",
    type=float,
    default=120.0,
    show_default=True,
    help="Seconds until a silent decoder is given up.",
)
crops_option = click.option(
    "--crops",
    type=click.Choice(["center", "ten"]),
    help="The centre, or the mean over ten crops; center.",
)
weights_options = options(
    click.option("--model", required=True, help="A model, such as res3d, c3d or r3d_18."),
    click.option(
        "--weights",
        help="A registered checkpoint, a .safetensors or .pth file, or random; the model's own if it is here.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of --weights random."),
)


input_options = options(*_INPUT)


def transform_options(*before: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the options of the network's input, as `transform`; before: options that come before them."""
    return grouped("transform", _transform, *before, *_INPUT)


def clip_options(*each: Callable[[Any], Any], name: str = "clip") -> Callable[[Any], Any]:
    """Return options of clips, as `clip` or another name."""
    return grouped(name, _clip, *each)


def machine_options(*after: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the options of how the machine is used, as `machine`; after: options that come after them."""
    return grouped("machine", _machine, *_MACHINE, *after)


root_option = click.option(
    "--root",
    metavar="DIR",
    help="Where the dataset's official files lie; its folder in $FEATX_DATA.",
)
split_option = click.option(
    "--split", type=int, default=1, show_default=True, help="Of the dataset's official splits."
)
partial_option = click.option(
    "--partial",
    is_flag=True,
    help="Go on with the videos that are there, and say how many are not.",
)
holdout_option = click.option(
    "--holdout",
    type=float,
    default=0.2,
    show_default=True,
    help="Test side's share of own data that has none.",
)


def dataset_options(dataset: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the options of which dataset is meant, as `dataset`; dataset: the option `--dataset`."""
    each = (dataset, root_option, split_option, partial_option, holdout_option)
    return grouped("dataset", _dataset, *each)


def _dataset() -> Callable[..., Any]:
    from featx.datasets import DatasetRef

    def named(dataset: str | None, **which: Any) -> DatasetRef | None:
        return DatasetRef(name=dataset, **which) if dataset is not None else None

    return named


_TRAINING_MACHINE = (
    click.option(
        "--precision",
        type=click.Choice(["auto", "bf16", "float32"]),
        default="auto",
        show_default=True,
        help="auto is bf16 on a GPU, where that is safe, and float32 on a CPU.",
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--compile",
        is_flag=True,
        help="Compile a network first: minutes once, then faster on a GPU.",
    ),
    click.option("--workers", type=int, help="Decoding processes; one a core."),
    timeout_option,
    max_pixels_option,
)
crop_option = click.option(
    "--crop",
    type=int,
    help="Side of a network's input in pixels, frames resized in proportion; the network's.",
)
# The options of a training run, as `run`.
run_options = grouped(
    "run",
    lambda: _run,
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Of untrained weights, clips, crops and dropout.",
    ),
    *_TRAINING_MACHINE,
    click.option(
        "--save-seconds",
        type=float,
        default=300.0,
        show_default=True,
        help="How often a run's state is written.",
    ),
)


def _run(
    *,
    seed: int,
    compile: bool,
    save_seconds: float,
    precision: str,
    device: str,
    workers: int | None,
    timeout: float,
    max_pixels: int,
) -> Any:
    from featx.extraction.settings import Machine
    from featx.training import RunOptions

    machine = Machine(
        precision=precision,
        device=device,
        workers=workers,
        timeout=timeout,
        max_pixels=max_pixels,
    )
    return RunOptions(seed=seed, machine=machine, compile=compile, save_seconds=save_seconds)
