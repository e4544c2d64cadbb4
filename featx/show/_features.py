"""Feature maps of named layers under the frames of a clip."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import UsageError
from featx.extraction.prepare import Prepared, prepare
from featx.extraction.settings import Settings
from featx.report.picture import check_picture, drawable, save_picture
from featx.show._clips import Clip, one_clip, one_video
from featx.show._words import INPUTS, clip_span, model_name, plural
from featx.video.cutting import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """A layer's drawn channels. shape: (C, T, H, W) of the whole layer; mean: of the channel's |activation| over the clip."""

    layer: str
    shape: tuple[int, ...]
    channels: list[int]
    mean: list[float]
    smallest: list[float]
    largest: list[float]


@dataclass(frozen=True, kw_only=True)
class FeatureMaps:
    """What was drawn: of which clip, [start, end) in source frames and seconds, and which layers' channels."""

    out: str
    model: str
    weights: dict[str, Any]
    precision: str
    input: str
    video: str
    clip: int
    clip_frames: tuple[int, int]
    clip_times: tuple[float, float]
    looped: bool
    layers: list[Maps]


def features(
    video: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    clip: int | None = None,
    at: float | None = None,
    channels: Sequence[int] | None = None,
    top: int = 3,
) -> FeatureMaps:
    """Draw feature maps of a clip under its frames, each map under the frames that it covers.

    As figure 3 of Leong et al. 2020 and figure 8a of Yang et al. 2019. settings.layers: those to draw; of crops, the centre
    alone is shown, not mirrored. clip: its number, from 0; at: a time in seconds that it covers; neither: the middle clip.
    channels: which to draw of every layer; None for the `top` that have the largest mean |activation|.
    A channel has one colour scale over the clip, from its smallest value, or 0, to its largest.
    """
    kind = check_picture(out)
    if clip is not None and at is not None:
        raise UsageError(f"both clip {clip} and {at:g} s are given: give one of `clip` and `at`")
    if not settings.layers:
        raise UsageError(
            "no layer is named: give `layers`, such as conv1,res3b,res5b (`featx models MODEL` lists them)"
        )
    if top < 1:
        raise UsageError(f"the number of channels is {top}: give 1 or more")
    source = one_video(video)
    prepared = prepare(settings.changed(crops="center", flip=False))
    shapes = prepared.backend.shapes
    _check_layers(prepared.recorded.model.name, shapes, channels)
    shown = one_clip(prepared, source, lambda summary: _chosen(summary, source.path, clip, at))
    volumes = _volumes(prepared, shown)
    layers = [_maps(layer, volume, channels, top) for layer, volume in volumes.items()]
    result = FeatureMaps(
        out=os.fspath(out),
        model=prepared.recorded.model.name,
        weights=dict(prepared.recorded.weights.values),
        precision=prepared.recorded.precision,
        input=prepared.decode.transform.input,
        video=shown.video,
        clip=shown.number,
        clip_frames=shown.span,
        clip_times=shown.times,
        looped=shown.looped,
        layers=layers,
    )
    which = (
        "the channels asked for"
        if channels is not None
        else "the channels of largest mean |activation|"
    )
    save_picture(_figure(result, shown.frames, volumes, which), out, kind)
    return result


def _check_layers(
    model: str, shapes: Mapping[str, tuple[int, ...]], channels: Sequence[int] | None
) -> None:
    for layer, shape in shapes.items():
        if len(shape) != 4:
            raise UsageError(
                f"{model}'s {layer} gives {shape[0]} numbers without place or time: name layers of maps (`featx models {model}`)"
            )
        for channel in channels or ():
            if not 0 <= channel < shape[0]:
                raise UsageError(
                    f"there is no channel {channel} in {model}'s {layer}: give 0 to {shape[0] - 1}"
                )


def _chosen(summary: Summary, path: str, clip: int | None, at: float | None) -> int:
    """Return the number of the clip asked for; UsageError if the video has none such."""
    times = summary.clip_times
    n = len(times)
    if clip is not None:
        if not 0 <= clip < n:
            raise UsageError(
                f"{path} has {plural(n, 'clip')}, and no number {clip}: give 0 to {n - 1}"
            )
        return clip
    if at is None:
        return n // 2
    covering = np.flatnonzero((times[:, 0] <= at) & (at < times[:, 1]))
    if not len(covering):
        close = int(np.argmin(np.abs(times.mean(axis=1) - at)))
        raise UsageError(
            f"no clip of {path} covers {at:g} s; the nearest is clip {close}, {clip_span(times[close])}: give `clip={close}`"
        )
    # Of clips that overlap, the one with that time nearest to its middle.
    return int(covering[np.argmin(np.abs(times[covering].mean(axis=1) - at))])


def _volumes(prepared: Prepared, shown: Clip) -> dict[str, Floats]:
    import torch

    rows = prepared.backend(
        prepared.decode.transform.normalise(torch.from_numpy(shown.frames)[None])
    )
    shapes = prepared.backend.shapes
    return {layer: row[0].cpu().numpy().reshape(shapes[layer]) for layer, row in rows.items()}


def _maps(layer: str, volume: Floats, channels: Sequence[int] | None, top: int) -> Maps:
    mean = np.abs(volume).mean(axis=(1, 2, 3))
    chosen = (
        list(channels)
        if channels is not None
        else [int(c) for c in np.argsort(-mean, kind="stable")[:top]]
    )
    return Maps(
        layer=layer,
        shape=volume.shape,
        channels=chosen,
        mean=[float(mean[c]) for c in chosen],
        smallest=[float(volume[c].min()) for c in chosen],
        largest=[float(volume[c].max()) for c in chosen],
    )


def covered(n_frames: int, length: int) -> list[tuple[float, float]]:
    """Return which of a clip's frames, [from, to), each of a layer's `length` steps in time stands for: equal shares."""
    return [(j * n_frames / length, (j + 1) * n_frames / length) for j in range(length)]


def _figure(
    result: FeatureMaps, frames: NDArray[np.uint8], volumes: Mapping[str, Floats], which: str
) -> Figure:
    from matplotlib.figure import Figure

    n = len(frames)
    cell = min(1.5, max(0.75, 12 / n))  # inches
    left, head, gap = 1.25, 0.85, 0.14
    n_rows = 1 + sum(len(maps.channels) for maps in result.layers)
    width = max(left + n * cell + 0.15, 8.5)
    height = head + n_rows * (cell + gap) + gap * len(result.layers) + 0.1
    figure = Figure(figsize=(width, height), dpi=110)
    top = height - head

    def row(label: str) -> Axes:
        nonlocal top
        top -= cell + gap
        # A unit is a frame's width; what is below 0 is for the brackets.
        axes = figure.add_axes(
            (left / width, top / height, n * cell / width, (cell + gap) / height)
        )
        axes.set_xlim(0, n)
        axes.set_ylim(-gap / cell, 1)
        axes.axis("off")
        figure.text(
            (left - 0.1) / width,
            (top + gap + cell / 2) / height,
            label,
            ha="right",
            va="center",
            fontsize=8,
        )
        return axes

    axes = row(INPUTS[result.input])
    for t, image in enumerate(frames):
        axes.imshow(image, extent=(t + 0.02, t + 0.98, 0.02, 0.98), aspect="auto")
        axes.text(t + 0.5, -0.02, str(t + 1), ha="center", va="top", fontsize=6.5, color="gray")
    for maps in result.layers:
        top -= gap
        for channel, smallest, largest in zip(
            maps.channels, maps.smallest, maps.largest, strict=True
        ):
            label = f"{drawable(maps.layer, most=24)}\nchannel {channel}\n{min(smallest, 0.0):.3g} to {largest:.3g}"
            _draw_maps(row(label), volumes[maps.layer][channel], n, min(smallest, 0.0), largest)
    figure.text(
        0.5,
        1 - 0.12 / height,
        _title(result, which),
        ha="center",
        va="top",
        fontsize=9,
        parse_math=False,
    )
    return figure


def _draw_maps(axes: Axes, volume: Floats, n_frames: int, smallest: float, largest: float) -> None:
    """volume: (T, H, W) of one channel."""
    for (start, end), image in zip(covered(n_frames, len(volume)), volume, strict=True):
        middle = (start + end) / 2
        extent = (middle - 0.48, middle + 0.48, 0.02, 0.98)
        axes.imshow(
            image,
            extent=extent,
            vmin=smallest,
            vmax=max(largest, smallest + 1e-30),
            cmap="inferno",
            aspect="auto",
        )
        if end - start > 1:
            axes.plot(
                [start + 0.06, start + 0.06, end - 0.06, end - 0.06],
                [0.04, -0.03, -0.03, 0.04],
                color="gray",
                linewidth=1,
            )


def _title(result: FeatureMaps, which: str) -> str:
    start, end = result.clip_frames
    place = f"frame {start}" if end - start == 1 else f"frames {start} to {end - 1}"
    who = drawable(model_name(result.model, result.weights, result.input), most=80)
    lines = [
        f"{who}: feature maps of {drawable(result.video, most=60)}",
        f"clip {result.clip}, {clip_span(result.clip_times)}, {place}"
        + (", looped: the video is shorter than a clip" if result.looped else ""),
        f"{which}, each with a colour scale of its own\nbrackets span the frames that a map covers",
    ]
    return "\n".join(lines)
