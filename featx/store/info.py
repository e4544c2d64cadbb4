"""What a feature file holds, for a person and for a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.clips import numbered
from featx.report import table
from featx.store.reader import FeatureStore, Video
from featx.system.text import Text, joined
from featx.weights.description import in_words


def summarise(
    store: FeatureStore, *, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Return what a feature file holds as plain values: settings, layers with their shapes, totals, failures.

    on_progress: called with (videos read, videos in all).
    """
    videos = []
    for video in store.values():
        videos.append((video.id, len(video), video.attrs))
        if on_progress is not None:
            on_progress(len(videos), len(store))
    first = next(iter(store.values()), None)
    return {
        "path": str(store.path),
        "bytes": store.path.stat().st_size,
        "featx_version": store.featx_version,
        **store.settings.to_json(),
        "layer_shapes": {}
        if first is None
        else {n: list(first.dataset(n).clip_shape) for n in store.layers},
        "videos": len(videos),
        "clips": sum(n for _, n, _ in videos),
        "frames": sum(a["frames"] for _, _, a in videos),
        "seconds": sum(a["duration_s"] for _, _, a in videos),
        "looped": [i for i, _, a in videos if a.get("looped")],
        "damaged": {i: n for i, _, a in videos if (n := a.get("damaged_frames"))},
        **_seldom(videos, "discontinuities", "guessed_times", "display_angle", "pixel_aspect"),
        "short": {
            i: [a["frames"], a["container_frames"]]
            for i, _, a in videos
            if a["frames"] < 0.9 * a.get("container_frames", 0)
        },
        "failures": [list(f) for f in store.failures],
    }


def _seldom(videos: list[tuple[str, int, dict[str, Any]]], *names: str) -> dict[str, Any]:
    """Return, for each attribute that few videos have, those videos' values."""
    return {name: {i: a[name] for i, _, a in videos if a.get(name)} for name in names}


def plotted(store: FeatureStore, video: Video) -> tuple[npt.NDArray[np.int64], str]:
    """Return the numbers of the clips that a picture over time shows, and a word on which these are: of several scales one."""
    spec = store.settings.clip
    if spec.scales == (1,):
        return np.arange(len(video)), ""
    shortest = spec.at_scales[0].span
    rows = [
        number
        for number, (_, scale) in enumerate(numbered(len(video), spec))
        if scale.span == shortest
    ]
    return np.asarray(rows, np.int64), f", clips of {shortest} frames"


def as_text(summary: dict[str, Any]) -> Text:
    """Return the summary as text for a person."""
    clip, transform, weights = summary["clip"], summary["transform"], summary["weights"]
    rate = f" at {clip['fps']:g} fps" if clip["fps"] else ""
    grid = f"a clip every {clip['stride']} frames, tail {clip['tail']}"
    if "scales" in clip:
        grid += f"; at scales {', '.join(map(str, clip['scales']))} of these"
    places = f"{clip['count']} clips evenly spread" if "count" in clip else grid
    size = transform["resize"]
    resize = f"{size[0]}x{size[1]}" if isinstance(size, list) else f"shorter side {size}"
    choice = summary["decoder"]["choice"]
    versions = {k: v for k, v in summary["decoder"].items() if k not in ("choice", "flow")}
    named = [] if choice in versions else [choice]
    decoder = ", ".join([*named, *(f"{k} {v}" for k, v in versions.items())])
    rows = [
        ("model", summary["model"]["name"]),
        ("weights", in_words(weights)),
        *((key, str(weights[key])) for key in ("sha256", "source", "note") if weights.get(key)),
        (
            "clip",
            f"{clip['frames']} frames, one in {clip['step']}{rate}, {places}",
        ),
        (
            "frames",
            f"resized to {resize}, {transform['crops']} crop {transform['crop']}{', mirrored too' if transform['flip'] else ''}",
        ),
        *_input_row(transform, summary["decoder"]),
        *_projection_rows(summary.get("projection")),
        *_cascade_rows(summary.get("cascade")),
        (
            "computed",
            f"{summary['precision']} on {summary['device']}, {summary['batch_size']} clips at once; decoded by {decoder}",
        ),
        (
            "videos",
            f"{summary['videos']}, {summary['clips']} clips, {summary['frames']} frames, {_time(summary['seconds'])} of video",
        ),
    ]
    lines = [
        f"{summary['path']}: features written by featx {summary['featx_version']}, {summary['bytes'] / 1e6:.1f} MB",
        "",
    ]
    lines += [f"{name:<9} {value}" for name, value in rows]
    shapes = [(n, "x".join(map(str, s)), _product(s)) for n, s in summary["layer_shapes"].items()]
    if shapes:
        lines += ["", table(shapes, headers=("layer", "shape", "numbers a clip"))]
    lines += _listed("looped, being shorter than a clip", summary["looped"])
    lines += _listed(
        "with damaged frames", [f"{i}: {n} damaged" for i, n in summary["damaged"].items()]
    )
    lines += _listed(
        "whose timestamps start again, and were made to go on",
        [f"{i}: {n} restarts" for i, n in summary["discontinuities"].items()],
    )
    lines += _listed(
        "with frames that have no time of their own; they got one by the frame rate",
        [f"{i}: {n} frames" for i, n in summary["guessed_times"].items()],
    )
    lines += _listed(
        "to be shown at an angle that is no multiple of 90 degrees; they were turned to the nearest one",
        [f"{i}: {angle:.0f} degrees" for i, angle in summary["display_angle"].items()],
    )
    lines += _listed(
        "whose pixels are not square; their frames were not stretched",
        [
            f"{i}: {aspect:.4g} times as wide as high"
            for i, aspect in summary["pixel_aspect"].items()
        ],
    )
    lines += _listed(
        "shorter than they claim",
        [f"{i}: {a} of {b} frames" for i, (a, b) in summary["short"].items()],
    )
    lines += _listed("failed", [f"{path}: {reason}" for path, reason in summary["failures"]])
    return joined(lines)


_INPUTS = {
    "flow": "optical flow: dx, dy and magnitude",
    "rgbf": "RGB times the magnitude of optical flow (RGBF)",
}


def _input_row(transform: dict[str, Any], decoder: dict[str, Any]) -> list[tuple[str, str]]:
    if "input" not in transform:
        return []
    flow = decoder["flow"]
    settings = "".join(f", {name} {value}" for name, value in flow.items() if name != "opencv")
    return [
        (
            "input",
            f"{_INPUTS[transform['input']]}, by {transform['flow']} of OpenCV {flow['opencv']}{settings}",
        )
    ]


def _projection_rows(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    on = found["fitted_on"]
    gone = f" ({on['absent']} of its list were not there)" if on.get("absent") else ""
    told = {name: on.get(name, "unknown") for name in ("videos", "dataset", "split", "subset")}
    fitted = "{videos} videos of {dataset} split {split}, {subset}".format(**told) + gone
    return [
        (
            "projected",
            f"{found['layer']}, each row brought to length 1, to {found['dims']} of {found['from']} dimensions by PCA",
        ),
        (
            "",
            f"fitted on {fitted}, of whose variance they hold {found['explained']:.1%}; sha256 {found['sha256']}",
        ),
    ]


def _cascade_rows(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    weights = found["weights"]
    gate = f"clips that it gives {found['gate']} with {found['threshold']:g} or more; rows of the others are zeros"
    return [
        ("then", f"{found['name']}: {weights['name']}, of {gate}"),
        ("", f"sha256 {weights.get('sha256')}"),
    ]


def _listed(title: str, items: list[str], most: int = 20) -> list[str]:
    if not items:
        return []
    more = (
        [f"  ... and {len(items) - most} more: --json lists them all"] if len(items) > most else []
    )
    return ["", f"{len(items)} {title}:", *(f"  {item}" for item in items[:most]), *more]


def _product(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _time(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return (
        f"{int(minutes // 60)} h {int(minutes % 60)} min {rest:.0f} s"
        if minutes >= 60
        else f"{int(minutes)} min {rest:.0f} s"
    )
