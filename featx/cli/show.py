"""The commands that draw the papers' pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import (
    RATE,
    clip_options,
    crops_option,
    json_option,
    layer_names,
    machine_options,
    transform_options,
    weights_options,
)
from featx.errors import UsageError
from featx.extraction.progress import Progress, tell_weights
from featx.system.text import json_text

if TYPE_CHECKING:
    from featx.extraction.settings import ClipOptions, Machine, TransformOptions

_clip_options = clip_options(
    click.option("--frames", type=int, help="Frames in a clip; the checkpoint's."),
    click.option(
        "--step",
        type=int,
        help="Source frames from one frame of a clip to the next; the checkpoint's.",
    ),
    click.option(
        "--stride", type=int, help="Source frames from one clip to the next; the checkpoint's."
    ),
    click.option(
        "--fps",
        type=RATE,
        help="Resample to this rate by presentation time first, or own; the checkpoint's, mostly own.",
    ),
    name="clips",
)


@click.group()
def show() -> None:
    """Draw the papers' pictures, from any checkpoint and any video.

    \b
    Example:
      featx show filters --model r3d_18 filters.png
    """


@show.command()
@click.argument("out")
@weights_options
@click.option("--scale", type=click.Choice(["filter", "joint"]), default="filter", show_default=True,
              help="The range of colours is each filter's own, or one for all.")  # fmt: skip
@json_option
def filters(
    out: str,
    model: str,
    weights: str | None,
    seed: int,
    scale: Literal["filter", "joint"],
    as_json: bool,
) -> None:
    """Draw the filters of the first convolution: a .png, .svg or .pdf, or a .gif in which they move.

    As figure 2 of Tran et al. 2017. A filter's frames stand side by side; gray is a weight of 0. A network in 2D that
    takes the frames of a clip as channels has that many frames, each other one in 2D has a single one.

    \b
    Example:
      featx show filters --model res3d --weights my.safetensors filters.png
      featx show filters --model res3d --weights my.safetensors filters.gif
    """
    from featx.show import filters as run

    found = run(out=out, model=model, weights=weights, seed=seed, scale=scale)
    tell_weights(found.weights)
    if as_json:
        echo(json_text(asdict(found)))
        return
    changes = sum(found.moving) / len(found.moving)
    each = (
        f"{found.frames} frames each, {changes:.0%} of their energy changes in time"
        if found.frames > 1
        else "one frame each"
    )
    echo(f"{out}: {found.shape[0]} filters of {found.layer} of {_named(found)}, {each}")


@show.command()
@click.argument("video")
@click.argument("out")
@weights_options
@click.option(
    "--layers",
    required=True,
    help="Comma-separated layers that give maps, such as conv1,res3b,res5b.",
)
@click.option("--clip", type=int, help="The clip's number, from 0; the middle one.")
@click.option("--at", type=float, metavar="SECONDS", help="The clip that covers this time.")
@click.option(
    "--channels", help="Comma-separated numbers, drawn of every layer; the most active ones."
)
@click.option(
    "--top",
    type=int,
    default=3,
    show_default=True,
    help="How many channels of a layer, without --channels.",
)
@_clip_options
@transform_options()
@machine_options()
@json_option
def features(
    video: str,
    out: str,
    model: str,
    weights: str | None,
    seed: int,
    layers: str,
    channels: str | None,
    clip: int | None,
    at: float | None,
    top: int,
    clips: ClipOptions,
    transform: TransformOptions,
    machine: Machine,
    as_json: bool,
) -> None:
    """Draw feature maps of a clip under its frames, each map under the frames that it covers.

    As figure 3 of Leong et al. 2020 and figure 8a of Yang et al. 2019. The most active channels are those of the largest
    mean |activation| over the clip.

    \b
    Example:
      featx show features --model r3d_18 --layers conv1,res3b,res5b v.avi maps.png
      featx show features --model r3d_18 --layers res4b --channels 3,17 --at 2.5 v.avi maps.png
    """
    from featx.extraction.settings import Settings
    from featx.show import features as run

    numbers = _numbers(channels)
    found = run(
        video,
        out,
        Settings(
            model=model,
            weights=weights,
            seed=seed,
            layers=layer_names(layers),
            clip=clips,
            transform=transform,
            machine=machine,
        ),
        clip=clip,
        at=at,
        channels=numbers,
        top=top,
    )
    tell_weights(found.weights)
    if as_json:
        echo(json_text(asdict(found)))
        return
    for maps in found.layers:
        drawn = ", ".join(
            f"{c} (mean |activation| {m:.3g})"
            for c, m in zip(maps.channels, maps.mean, strict=True)
        )
        echo(f"{maps.layer}, {'x'.join(map(str, maps.shape))}: channels {drawn}")
    start, end = found.clip_times
    looped = ", looped: the video is shorter than a clip" if found.looped else ""
    echo(
        f"{out}: clip {found.clip} of {found.video}, {start:.2f} to {end:.2f} s{looped}; {_named(found)}, {found.precision}"
    )


@show.command()
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@weights_options
@click.option("--layer", required=True, help="The layer, such as conv5b or res5b.")
@click.option("--channel", type=int, required=True, help="Its channel, from 0.")
@click.option("--top", type=int, default=10, show_default=True, help="How many clips are drawn.")
@click.option(
    "--per-video",
    type=int,
    default=1,
    show_default=True,
    help="How many of them one video may have.",
)
@_clip_options
@transform_options()
@machine_options()
@click.option("--root", help="Folder that video ids are relative to; the folder given.")
@json_option
def exciting(
    inputs: tuple[str, ...],
    out: str,
    model: str,
    weights: str | None,
    seed: int,
    layer: str,
    channel: int,
    top: int,
    per_video: int,
    clips: ClipOptions,
    transform: TransformOptions,
    machine: Machine,
    root: str | None,
    as_json: bool,
) -> int:
    """Draw the clips that excite a channel most, of all clips of many videos.

    As figure 8b of Yang et al. 2019. INPUTS as for extract. A clip's value is the channel's largest activation anywhere
    in it; of equal ones, the first by the video's id and by time goes first.

    Exit status: 0 all done, 1 some videos failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx show exciting --model r3d_18 --layer res5b --channel 3 videos/ exciting.png
    """
    from featx.extraction.settings import Settings
    from featx.report import table
    from featx.show import exciting as run

    progress = Progress()
    try:
        settings = Settings(
            model=model,
            weights=weights,
            seed=seed,
            layers=layer_names(layer),
            clip=clips,
            transform=transform,
            machine=machine,
        )
        found = run(
            inputs,
            out,
            settings,
            channel,
            top=top,
            per_video=per_video,
            root=root,
            hooks=progress.hooks,
        )
    finally:
        progress.close()
    if as_json:
        echo(json_text(asdict(found)))
        return 1 if found.failures else 0
    _print_failures(found.failures)
    rows = [
        (e.value, e.video, e.clip, f"{e.clip_times[0]:.2f} to {e.clip_times[1]:.2f}")
        for e in found.top
    ]
    echo(table(rows, ("value", "video", "clip", "seconds")))
    echo(f"{out}: channel {channel} of {layer}, {found.clips} clips of {found.videos} videos; "
               f"{_named(found)}, {found.precision}")  # fmt: skip
    return 1 if found.failures else 0


@show.command()
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@weights_options
@click.option("--top", type=int, default=5, show_default=True, help="How many classes are drawn.")
@click.option("--label", help="The true class; a video's folder, where that is named as a class.")
@_clip_options
@transform_options(crops_option)
@machine_options()
@click.option("--root", help="Folder that video ids are relative to; the folder given.")
@json_option
def predictions(
    inputs: tuple[str, ...],
    out: str,
    model: str,
    weights: str | None,
    seed: int,
    top: int,
    label: str | None,
    clips: ClipOptions,
    transform: TransformOptions,
    machine: Machine,
    root: str | None,
    as_json: bool,
) -> int:
    """Draw frames of videos with the most probable classes as bars.

    As figure 3 of Leong et al. 2020 and figure 4 of Hara et al. 2017. INPUTS as for extract, up to 24 videos. Probabilities
    are the mean over all clips of a video. Classes have the names that the weights bring, else numbers from 0.

    Exit status: 0 all done, 1 some videos failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx show predictions --model r3d_18 a.mp4 b.avi predictions.png
    """
    from featx.extraction.settings import Settings
    from featx.report import table
    from featx.show import predictions as run

    progress = Progress()
    try:
        settings = Settings(
            model=model,
            weights=weights,
            seed=seed,
            clip=clips,
            transform=transform,
            machine=machine,
        )
        found = run(inputs, out, settings, top=top, label=label, root=root, hooks=progress.hooks)
    finally:
        progress.close()
    if as_json:
        echo(json_text(asdict(found)))
        return 1 if found.failures else 0
    _print_failures(found.failures)
    rows = []
    for each in found.videos:
        best = ", ".join(
            f"{name} {100 * p:.1f} %"
            for name, p in zip(each.classes, each.probabilities, strict=True)
        )
        true = (
            f"{each.label} ({each.label_from}), rank {each.rank}" if each.label is not None else ""
        )
        rows.append((each.video, each.clips, best, true))
    echo(table(rows, ("video", "clips", "most probable", "true class")))
    numbered = (
        ""
        if found.named
        else "; these weights do not name their classes, which are numbered from 0"
    )
    echo(f"{out}: {len(found.videos)} videos; {_named(found)}, {found.precision}{numbered}")
    return 1 if found.failures else 0


@show.command()
@click.argument("results")
@click.argument("out")
@click.option("--title", help="The picture's title; the file's name.")
@json_option
def cost(results: str, out: str, title: str | None, as_json: bool) -> None:
    """Draw accuracy against multiply-adds for the networks of a study.

    As figure 5 of Tran et al. 2017. RESULTS is a .csv with the columns name, accuracy (percent) and multiply_adds; where it
    also has paper (percent), that is drawn hollow, and where it has group, every group has its colour.

    \b
    Example:
      featx show cost results.csv cost.png
    """
    from featx.report import table
    from featx.show import cost as run

    rows = run(results, out, title=title)
    if as_json:
        echo(json_text([asdict(row) for row in rows]))
        return
    shown = [(r.name, r.group, r.multiply_adds / 1e9, r.accuracy, r.paper) for r in rows]
    echo(table(shown, ("name", "group", "mult.-adds, 1e9", "accuracy, %", "paper, %")))
    missing = sum(row.accuracy is None for row in rows)
    echo(
        f"{out}: {len(rows)} networks"
        + (f", {missing} of them without an accuracy yet" if missing else "")
    )


def _numbers(channels: str | None) -> list[int] | None:
    if channels is None:
        return None
    try:
        return [int(text) for text in channels.split(",")]
    except ValueError:
        raise UsageError(
            f"channels is {channels!r}: give numbers separated by commas, such as 0,5,7"
        ) from None


def _named(found: Any) -> str:
    from featx.show import model_name

    return model_name(found.model, found.weights, found.input)


def _print_failures(failures: Sequence[tuple[str, str]]) -> None:
    for path, reason in failures:
        echo(f"failed: {path}: {with_flags(reason)}", err=True)
