"""What to extract and how, composed of small parts, each written once; no torch, so that `--help` is quick.

`Machine`, `ClipOptions` and `TransformOptions` are what several commands and functions take. A function that takes
them flat, `extract(..., stride=8, device="cpu")`, says so with `Options`, and `compose` puts them together.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, get_args

from featx.clips import ClipSpec, Tail
from featx.errors import UsageError
from featx.transforms import Crops, FlowMethod, Input, Transform, check_crop
from featx.video.decoders import AUTO, MAX_PIXELS

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Unpack

    from featx.extraction.cascade import Cascade
    from featx.extraction.engine import Stats
    from featx.extraction.extract import Report

F = TypeVar("F", bound=Callable[..., Any])
Layout = Literal["NCTHW", "NTCHW"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How the machine is used.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:1". "auto" is the GPU if there is one.
        precision: "auto", "bf16" or "float32". "auto" is bf16 where the device computes it natively.
        batch_size: Clips computed at once. None is 8 on a CPU and 32 on a GPU.
        decoder: "auto", or a name of `featx.video.decoders.decoder_names()`.
        workers: Decoding processes. None is one a core.
        timeout: Seconds after which a silent decoder is given up.
        max_pixels: Most pixels of a frame. A video of larger frames fails, and takes no memory. It
            changes no row, so it is not recorded.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    decoder: str = AUTO
    workers: int | None = None
    timeout: float = 120.0
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for name, value in (("batch size", self.batch_size), ("workers", self.workers)):
            if value is not None and not 1 <= value <= 4096:
                raise UsageError(f"{name} is {value}: give a whole number from 1 to 4096")
        if not self.timeout > 0:
            raise UsageError(f"timeout is {self.timeout:g}: give a number of seconds above 0")
        if self.max_pixels < 1:
            raise UsageError(
                f"max_pixels is {self.max_pixels}: give pixels of a frame, such as 3840 x 2160 = 8294400"
            )


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Changes to a checkpoint's clips; what is None stays as the checkpoint has it.

    Attributes:
        frames, step, stride, tail, scales: As in `featx.ClipSpec`.
        fps: Resample to this many frames a second first; "own" is each video's own rate.
        clips: This many clips, evenly spread over the video, instead of one every `stride` frames.
    """

    frames: int | None = None
    step: int | None = None
    stride: int | None = None
    fps: float | Literal["own"] | None = None
    tail: Tail | None = None
    clips: int | None = None
    scales: Sequence[int] | None = None

    def of(self, own: ClipSpec) -> ClipSpec:
        """Return a checkpoint's clips with these changes.

        A changed span moves the stride along, unless that is given too.
        """
        names = ("frames", "step", "fps", "tail", "scales")
        changed = {n: v for n in names if (v := getattr(self, n)) is not None}
        if self.fps == "own":
            changed["fps"] = None
        if self.clips is not None:
            if self.stride is not None:
                raise UsageError(
                    f"stride is {self.stride} and clips is {self.clips}, which have no stride:"
                    " give one of the two"
                )
            changed = {"tail": "drop", "scales": (1,), **changed, "count": self.clips}
        clip = replace(own, **changed)
        if self.stride is not None:
            return replace(clip, stride=self.stride, count=None)
        moved = clip.span != own.span and own.stride == own.span
        return replace(clip, stride=clip.span) if moved else clip


@dataclass(frozen=True, kw_only=True)
class TransformOptions:
    """Changes to a checkpoint's preprocessing; what is None stays as the checkpoint has it.

    Attributes:
        crop: Side of the network's input in pixels; frames are resized in proportion.
        crops: "center", or "ten" for the mean over ten crops.
        flip: Average with the mirror image.
        input: "rgb", "flow" or "rgbf".
        flow: Method of optical flow: "tvl1", "dis", "farneback", or "auto" for TV-L1 where OpenCV has it, else DIS.
    """

    crop: int | None = None
    crops: Crops | None = None
    flip: bool | None = None
    input: Input | None = None
    flow: FlowMethod | Literal["auto"] | None = None

    def of(self, own: Transform) -> Transform:
        """Return a checkpoint's preprocessing with these changes."""
        from featx.video.flow import resolve_method

        if self.crop is not None:
            check_crop(self.crop)
            own = own.at(self.crop)
        chosen = self.input or own.input
        if chosen not in get_args(Input):
            raise UsageError(f"input is {chosen!r}: give one of {', '.join(get_args(Input))}")
        if chosen != "rgb":
            own = replace(own, input=chosen, flow=resolve_method(self.flow or own.flow or "auto"))
        elif self.flow is not None:
            raise no_flow("flow", self.flow)
        else:
            own = replace(own, input="rgb", flow=None)
        if self.crops is not None:
            own = replace(own, crops=self.crops)
        return own if self.flip is None else replace(own, flip=self.flip)


def no_flow(name: str, value: object) -> UsageError:
    """Return the error for an option of flow where the input has none."""
    return UsageError(
        f"{name} is {value!r} and the input is rgb, which has no flow: give `input='flow'` or rgbf"
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to extract and how: everything a row depends on, and how the machine is used.

    Attributes:
        model: A name of `featx.list_models()`, or a module (see `featx.extract`).
        weights: A registered checkpoint, a file, or "random". None is the model's own, if it is on this machine.
        seed: Seed for random weights.
        layers: Names as in the paper, or module paths. None is the model's own.
        clip: Changes to the checkpoint's clips, or the clips altogether.
        transform: Changes to the checkpoint's preprocessing, or the preprocessing altogether.
        machine: Device, precision, batch size, decoder, workers, timeout.
        flow_cache: A folder in which flow is kept for later extractions. The rows are the same with and without.
        project: A projection's file (`featx compact --save`). Its layer's rows are stored projected.
        cascade: A second network for some of the clips. `layers` is then left out.
        layout: Order of the dimensions that a module of yours takes: "NCTHW" or "NTCHW".
    """

    model: str | nn.Module = "res3d"
    weights: str | None = None
    seed: int = 0
    layers: Sequence[str] | None = None
    clip: ClipOptions | ClipSpec = field(default_factory=ClipOptions)
    transform: TransformOptions | Transform = field(default_factory=TransformOptions)
    machine: Machine = field(default_factory=Machine)
    flow_cache: str | os.PathLike[str] | None = None
    project: str | os.PathLike[str] | None = None
    cascade: Cascade | None = None
    layout: Layout = "NCTHW"

    @property
    def architecture(self) -> str:
        """The registered model's name; UsageError for a module, where only registered models go."""
        if isinstance(self.model, str):
            return self.model
        raise UsageError(
            f"model is a {type(self.model).__name__}: a module of yours can be extracted with, and nothing else;"
            " name one of featx.list_models()"
        )

    @property
    def layer_names(self) -> list[str] | None:
        """The layers as a list, where they are given; text is names separated by commas."""
        if self.layers is None:
            return None
        return self.layers.split(",") if isinstance(self.layers, str) else list(self.layers)

    def clip_of(self, own: ClipSpec) -> ClipSpec:
        """Return the clips: a checkpoint's `own` with the changes, or those that were given altogether."""
        return self.clip if isinstance(self.clip, ClipSpec) else self.clip.of(own)

    def transform_of(self, own: Transform) -> Transform:
        """Return the preprocessing: a checkpoint's `own` with the changes, or what was given altogether."""
        given = self.transform
        if isinstance(given, Transform):
            made = given
            if made.flow is not None:
                from featx.video.flow import resolve_method

                resolve_method(made.flow)  # which says what to install where it is not there
        else:
            made = given.of(own)
        if made.input == "rgb" and self.flow_cache is not None:
            raise no_flow("flow cache", os.fspath(self.flow_cache))
        return made

    def changed(self, **options: Unpack[Options]) -> Settings:
        """Return these settings with some of the parts' fields replaced, such as `settings.changed(workers=1)`."""
        parts = {name: _with(getattr(self, name), name, options) for name in _PARTS}
        return replace(self, **parts)


class Options(TypedDict, total=False):
    """The fields of `ClipOptions`, `TransformOptions` and `Machine`, as a function takes them flat; a test compares."""

    frames: int | None
    step: int | None
    stride: int | None
    fps: float | Literal["own"] | None
    tail: Tail | None
    clips: int | None
    scales: Sequence[int] | None
    crop: int | None
    crops: Crops | None
    flip: bool | None
    input: Input | None
    flow: FlowMethod | Literal["auto"] | None
    device: str
    precision: str
    batch_size: int | None
    decoder: str
    workers: int | None
    timeout: float
    max_pixels: int


_PARTS: dict[str, type[Any]] = {
    "clip": ClipOptions,
    "transform": TransformOptions,
    "machine": Machine,
}


def _with(part: Any, name: str, options: Options) -> Any:
    """Return a part with those of the options that are its fields."""
    kind = _PARTS[name]
    own = {each.name for each in fields(kind)}
    given = {n: v for n, v in options.items() if n in own}
    if not given:
        return part
    if not isinstance(part, kind):
        raise UsageError(
            f"{name} is given altogether, and {', '.join(given)} with it: leave one of them out"
        )
    return replace(part, **given)


def compose(
    model: str | nn.Module = "res3d",
    *,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    clip: ClipOptions | ClipSpec | None = None,
    transform: TransformOptions | Transform | None = None,
    machine: Machine | None = None,
    flow_cache: str | os.PathLike[str] | None = None,
    project: str | os.PathLike[str] | None = None,
    cascade: Cascade | None = None,
    layout: Layout = "NCTHW",
    **options: Unpack[Options],
) -> Settings:
    """Return the settings that parts and flat options come to.

    Raises:
        TypeError: For an option that there is not.
        UsageError: For a part that is given altogether, and options of it too.
    """
    if unknown := [name for name in options if name not in Options.__annotations__]:
        raise TypeError(f"there is no option {', '.join(unknown)}")
    settings = Settings(
        model=model,
        weights=os.fspath(weights) if weights is not None else None,
        seed=seed,
        layers=layers,
        clip=clip if clip is not None else ClipOptions(),
        transform=transform if transform is not None else TransformOptions(),
        machine=machine if machine is not None else Machine(),
        flow_cache=flow_cache,
        project=project,
        cascade=cascade,
        layout=layout,
    )
    return settings.changed(**options) if options else settings


def whole(settings: Settings | None, given: Settings) -> Settings:
    """Return the settings that were given whole, or else one by one; UsageError for both."""
    if settings is None:
        return given
    if given != Settings():
        raise UsageError(
            "settings are given whole, and others of them with it: give them in one way"
        )
    return settings


def takes_options(function: F) -> F:
    """Show the fields of `Options` in a function's signature, where it takes them by `**options`."""
    signature = inspect.signature(function)
    plain = [
        p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    shown = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
        )
        for part in _PARTS.values()
        for each in fields(part)
        if each.name not in signature.parameters
    ]

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        if unknown := [name for name in given if name not in known]:
            raise TypeError(f"{function.__name__}() has no parameter {unknown[0]!r}")
        return function(*args, **given)

    known = {p.name for p in [*plain, *shown]}
    call.__signature__ = signature.replace(parameters=[*plain, *shown])  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What is called while videos pass.

    Attributes:
        on_start: Called with the `Report` when it is known what there is to do.
        on_progress: Called with the engine's `Stats`, many times a second.
        on_publish: Called at the end, with (videos written, videos in all).
    """

    on_start: Callable[[Report], None] | None = None
    on_progress: Callable[[Stats], None] | None = None
    on_publish: Callable[[int, int], None] | None = None
