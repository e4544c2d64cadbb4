"""The filters of a network's first convolution, as a picture and moving."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from featx.errors import UsageError
from featx.report.picture import KINDS, check_picture, drawable, save_animation, save_picture
from featx.show._words import model_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from featx.transforms import Input

Scale = Literal["filter", "joint"]
Floats = NDArray[np.floating[Any]]

# What a filter's three channels are, for each input of a network.
CHANNELS: dict[Input, str] = {
    "rgb": "red, green and blue as they are",
    "flow": "dx, dy and magnitude of flow as red, green and blue",
    "rgbf": "red, green and blue of what moves",
}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What was drawn: the weights (filters, channels, T, H, W) of `layer`.

    largest: the largest |weight| of each filter. moving: which share of each filter's sum of squares is not that of its
    mean over its frames: 0 for a filter that stands still, and for all that have one frame.
    """

    out: str
    model: str
    weights: dict[str, Any]
    input: str
    layer: str
    shape: tuple[int, ...]
    frames: int
    scale: Scale
    largest: list[float]
    moving: list[float]


def filters(
    model: str,
    out: str | os.PathLike[str],
    *,
    weights: str | None = None,
    seed: int = 0,
    scale: Scale = "filter",
) -> Filters:
    """Draw the filters of a network's first convolution, each one's frames side by side; to a .gif, all moving in time.

    As figure 2 of Tran et al. 2017. Gray is a weight of 0. weights, seed: as for `featx.load_model`. scale: "filter" gives
    each filter's largest |weight|, over its frames and channels, the full range; "joint" the largest of all filters.
    """
    kind = check_picture(out, kinds=(*KINDS, "gif"))
    if scale not in get_args(Scale):
        raise UsageError(f"scale is {scale!r}: give filter or joint")
    from featx.weights.checkpoint import load_model

    loaded = load_model(model, weights, seed=seed)
    layer, weight = first_convolution(loaded.model, model)
    frames = filter_frames(weight)
    n_frames = frames.shape[1]
    if kind == "gif" and n_frames == 1:
        raise UsageError(
            f"the filters of {model}'s {layer} have one frame, so that nothing moves: give a name that ends in .png"
        )
    found = Filters(
        out=os.fspath(out),
        model=model,
        weights=loaded.weights_info,
        input=loaded.transform.input,
        layer=layer,
        shape=weight.shape,
        frames=n_frames,
        scale=scale,
        largest=[float(x) for x in np.abs(frames).max(axis=(1, 2, 3, 4))],
        moving=_moving(frames),
    )
    images = scaled(frames, scale)
    title = _title(found, CHANNELS[loaded.transform.input])
    if kind == "gif":
        moving = [
            _figure(images[:, t : t + 1], f"{title}; frame {t + 1} of {n_frames}")
            for t in range(n_frames)
        ]
        save_animation(moving, out, milliseconds=max(120, 1000 // n_frames))
    else:
        save_picture(_figure(images, title), out, kind)
    return found


def first_convolution(network: nn.Module, name: str) -> tuple[str, Floats]:
    """Return the path and the weights (F, C, T, H, W) of the first convolution; UsageError if it does not see RGB frames."""
    from torch import nn

    for path, module in network.named_modules():
        if isinstance(module, nn.Conv3d):
            if module.in_channels % 3:
                raise UsageError(
                    f"{name}'s {path} takes {module.in_channels} channels, not three a frame: show another model"
                )
            return path, module.weight.detach().float().numpy()
    raise UsageError(f"{name} has no convolution: show another model")


def filter_frames(weight: Floats) -> Floats:
    """(F, C, T, H, W) -> (F, frames, H, W, 3).

    A 2D network that takes the clip's frames as channels has them frame by frame, each frame's three together.
    """
    f, c, t, h, w = weight.shape
    frames: Floats = (
        weight.reshape(f, c // 3, 3, t, h, w)
        .transpose(0, 1, 3, 4, 5, 2)
        .reshape(f, c // 3 * t, h, w, 3)
    )
    return frames


def scaled(frames: Floats, scale: Scale) -> Floats:
    """Bring filters (F, T, H, W, 3) to [0, 1], a weight of 0 to 0.5."""
    largest = np.abs(frames).max(axis=(1, 2, 3, 4) if scale == "filter" else None, keepdims=True)
    images: Floats = 0.5 + 0.5 * frames / np.maximum(largest, np.finfo(np.float32).tiny)
    return images


def _moving(frames: Floats) -> list[float]:
    still = frames.shape[1] * (frames.mean(axis=1) ** 2).sum(axis=(1, 2, 3))
    whole = (frames**2).sum(axis=(1, 2, 3, 4))
    return [max(0.0, 1 - float(s / w)) if w else 0.0 for s, w in zip(still, whole, strict=True)]


def _title(found: Filters, channels: str) -> str:
    size = "x".join(map(str, found.shape[2:]))
    stacked = f" of {found.frames} frames" if found.frames != found.shape[2] else ""
    by = (
        "each scaled by its own largest weight"
        if found.scale == "filter"
        else "all scaled by the largest weight"
    )
    who = drawable(model_name(found.model, found.weights, found.input), most=80)
    return f"{who}: the {found.shape[0]} filters ({size}{stacked}) of {found.layer}\n{by}; gray is 0; {channels}"


def sheet(images: Floats, columns: int) -> Floats:
    """Lay filters (F, T, H, W, 3) out on white, `columns` of them a row, each one's frames side by side.

    One pixel lies between two frames, three between two filters.
    """
    f, t, h, w, _ = images.shape
    rows = math.ceil(f / columns)
    width, height = t * (w + 1) + 2, h + 3
    paper = np.ones((rows * height - 3, columns * width - 3, 3), images.dtype)
    for number, filter_ in enumerate(images):
        top, left = number // columns * height, number % columns * width
        for place, image in enumerate(filter_):
            start = left + place * (w + 1)
            paper[top : top + h, start : start + w] = image
    return paper


def _columns(f: int, t: int, h: int, w: int) -> int:
    """Return how many filters go in a row: for a sheet half as wide again as high, and whole rows."""

    def cost(n: int) -> float:
        aspect = n * (t * (w + 1) + 2) / (math.ceil(f / n) * (h + 3))
        return abs(math.log(aspect / 1.4)) + 0.4 * bool(f % n)

    return min(range(1, f + 1), key=cost)


def _figure(images: Floats, title: str) -> Figure:
    from matplotlib.figure import Figure

    f, t, h, w, _ = images.shape
    columns = _columns(f, t, h, w)
    paper = sheet(images, columns)
    times = max(
        1, round(1000 / paper.shape[1])
    )  # enlarged here, because viewers of pdf and svg smooth what they enlarge
    width = 9.5
    high = width * paper.shape[0] / paper.shape[1]
    figure = Figure(figsize=(width + 0.6, high + 0.75), dpi=110)
    axes = figure.add_axes(
        (0.45 / (width + 0.6), 0.1 / (high + 0.75), width / (width + 0.6), high / (high + 0.75))
    )
    axes.imshow(
        np.repeat(np.repeat(paper, times, 0), times, 1),
        extent=(0, paper.shape[1], paper.shape[0], 0),
        aspect="auto",
    )
    rows = range(math.ceil(f / columns))
    axes.set_xticks([])
    axes.set_yticks(
        [row * (h + 3) + h / 2 for row in rows], [str(row * columns) for row in rows], fontsize=7
    )
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.suptitle(title, fontsize=10, y=1 - 0.08 / (high + 0.75), va="top", parse_math=False)
    return figure
