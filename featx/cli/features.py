"""Commands that make feature files and look into them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import (
    INTERRUPTED,
    NUMBERS,
    RATE,
    VIDEO_ID,
    clip_options,
    crops_option,
    json_option,
    layer_names,
    machine_options,
    timeout_option,
    transform_options,
    weights_options,
)
from featx.errors import UsageError
from featx.extraction.progress import Progress
from featx.system.terminal import bar
from featx.system.text import json_text

if TYPE_CHECKING:
    from featx.extraction.extract import Report
    from featx.extraction.settings import ClipOptions, Machine, TransformOptions
    from featx.store.reader import FeatureStore, Video


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@weights_options
@click.option(
    "--layers",
    help="Comma-separated: the paper's names (res5b,pool5,prob) or module paths; the model's own.",
)
@clip_options(
    click.option("--frames", type=int, help="Frames in a clip; the checkpoint's."),
    click.option(
        "--step",
        type=int,
        help="Source frames from one frame of a clip to the next; the checkpoint's.",
    ),
    click.option(
        "--stride",
        type=int,
        help="Source frames from one clip to the next; less than frames x step overlaps.",
    ),
    click.option(
        "--fps",
        type=RATE,
        help="Resample to this rate by presentation time first, or own; the checkpoint's, mostly own.",
    ),
    click.option(
        "--tail",
        type=click.Choice(["drop", "pad", "align"]),
        help="Frames after the last whole clip: drop them, pad a clip, or align one more to the end; drop.",
    ),
    click.option(
        "--clips",
        type=int,
        help="So many clips, evenly spread over the video, instead of one every --stride frames.",
    ),
    click.option(
        "--scales",
        type=NUMBERS,
        metavar="N,N",
        help="Clips of several lengths: 1,2,4 adds some of 2 and 4 times the span; the checkpoint's.",
    ),
)
@transform_options(
    click.option(
        "--crop",
        type=int,
        help="Side of a network's input in pixels, frames resized in proportion; the checkpoint's.",
    ),
    crops_option,
    click.option("--flip/--no-flip", default=None, help="Average with the mirror image."),
)
@click.option(
    "--flow-cache",
    metavar="DIR",
    help="Keep flow here, once computed, for other models; 4 bytes a pixel and frame.",
)
@click.option(
    "--project",
    metavar="FILE",
    help="Store a layer projected to fewer numbers, by a file of featx compact --save.",
)
@machine_options(timeout_option)
@click.option("--root", help="Folder that video ids are relative to; the folder given.")
@json_option
def extract(
    inputs: tuple[str, ...],
    out: str,
    model: str,
    weights: str | None,
    seed: int,
    layers: str | None,
    clip: ClipOptions,
    transform: TransformOptions,
    flow_cache: str | None,
    project: str | None,
    machine: Machine,
    root: str | None,
    as_json: bool,
) -> int:
    """Extract clip features of videos to one HDF5 file.

    INPUTS are files, folders (searched recursively), glob patterns, or a text file, or - for
    standard input, with one path a line. Killed or interrupted, the same command continues where
    it was. A video that cannot be read is listed with its reason and costs the others nothing.

    Exit status: 0 all done, 1 some videos failed or a file is damaged, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx extract --model res3d videos/ out.h5
      featx extract --model c3d --layers fc6,pool5 --stride 8 a.mp4 b.avi out.h5
      featx extract --model res3d --weights my.safetensors --input rgbf --flow dis videos/ out.h5
      featx extract --model res3d --layers res5b --project pca300.npz videos/ small.h5
    """
    from featx.extraction.extract import extract as run
    from featx.extraction.extract import to_json

    progress = Progress()
    try:
        report = run(
            inputs,
            out,
            model,
            weights=weights,
            seed=seed,
            layers=layer_names(layers),
            clip=clip,
            transform=transform,
            flow_cache=flow_cache,
            project=project,
            machine=machine,
            root=root,
            hooks=progress.hooks,
        )
    except KeyboardInterrupt:
        progress.close()
        safe = f"{progress.done()} of {progress.total} videos are done; " if progress.total else ""
        echo(f"interrupted: {safe}run the same command again to continue", err=True)
        return INTERRUPTED
    finally:
        progress.close()
    echo(to_json(report)) if as_json else _print_report(report)
    return 1 if report.failures else 0


def _print_report(report: Report) -> None:
    for note in report.notes:
        echo(f"note: {note}", err=True)
    for path, reason in report.failures:
        echo(f"failed: {path}: {with_flags(reason)}", err=True)
    if report.ignored:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in sorted(report.ignored.items()))
        echo(f"ignored in folders, not a video's suffix: {kinds}", err=True)
    if report.new or report.failures:
        how = (
            f" ({report.clips / report.seconds:.1f} clips/s, {report.binding} binds)"
            if report.clips
            else ""
        )
        before = (
            f", {report.done - report.new} were there before" if report.done > report.new else ""
        )
        failed = f", {len(report.failures)} failed" if report.failures else ""
        echo(f"{report.out}: {report.new} videos; {report.clips} clips computed in {report.seconds:.1f} s"
                   f"{how}{before}{failed}")  # fmt: skip
    else:
        echo(f"{report.out}: nothing to do, all {report.total} videos are there")


@click.command()
@click.argument("path")
@click.option(
    "--plot", metavar="PICTURE", help="Draw a video's features over time to a .png, .svg or .pdf."
)
@click.option(
    "--video",
    type=VIDEO_ID,
    metavar="ID",
    help="The id of the video to draw; the one with most clips.",
)
@click.option("--layer", help="The layer to draw; the file's first.")
@json_option
def info(path: str, plot: str | None, video: str | None, layer: str | None, as_json: bool) -> None:
    """Say what is in a feature file.

    \b
    Example:
      featx info out.h5
      featx info out.h5 --plot features.png --video Biking/v_Biking_g01_c01
    """
    if plot is None and (video or layer):
        raise UsageError("--video and --layer choose what --plot draws: give --plot PICTURE too")
    from featx.report.picture import check_picture
    from featx.store.info import as_text, plotted, summarise
    from featx.store.reader import FeatureStore

    if plot is not None:
        check_picture(plot)
    with FeatureStore(path) as store:
        # What cannot be drawn is said before a screen of everything else.
        drawn, chosen = None, ""
        if plot is not None:
            drawn, chosen = _drawn(store, video), layer or store.layers[0]
            drawn.dataset(chosen)
        with bar("video") as progress:
            summary = summarise(store, on_progress=progress)
        echo(json_text(summary) if as_json else as_text(summary))
        if plot is not None and drawn is not None:
            from featx.report import plot_features

            rows, which = plotted(store, drawn)
            plot_features(
                plot,
                drawn.clip_times[rows],
                drawn[chosen][rows],
                title=f"{drawn.id}, {chosen}{which}",
            )
            echo(f"{plot}: {chosen} of {drawn.id}{which}", err=as_json)


def _drawn(store: FeatureStore, video: str | None) -> Video:
    """Return the video of this id, or the one with most clips; UsageError if there is none."""
    if video is not None:
        return store[video]
    if not store:
        raise UsageError(f"{store.path} holds no video to draw")
    return max(store.values(), key=len)


@click.command()
@click.argument("path")
@click.option(
    "--clips",
    type=click.IntRange(0),
    default=32,
    show_default=True,
    help="How many random clips to make again.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the choice of clips."
)
@click.option("--weights", help="The checkpoint's file, where it is not at its recorded place.")
@click.option(
    "--project",
    metavar="FILE",
    help="The projection's file, where it is not at its recorded place.",
)
@json_option
def verify(
    path: str, clips: int, seed: int, weights: str | None, project: str | None, as_json: bool
) -> int:
    """Check a feature file: its structure, and a random sample of clips made again from the videos.

    \b
    Example:
      featx verify out.h5
    """
    from featx.extraction.verify import verify as run

    progress = Progress()
    with ExitStack() as bars:
        bars.callback(progress.close)
        checking = bars.enter_context(ExitStack())
        checked = checking.enter_context(bar("video"))

        def on_check(done: int, of: int) -> None:
            checked(done, of)
            if done == of:  # what makes clips again has a bar of its own
                checking.close()

        found = run(path, clips=clips, seed=seed, weights=weights, project=project, on_check=on_check,
                    hooks=progress.hooks)  # fmt: skip
    if as_json:
        echo(json_text({**vars(found), "ok": found.ok}))
    else:
        for note in found.notes:
            echo(f"note: {note}")
        for video_id, reason in found.unread:
            echo(f"not made again: {video_id}: {reason}")
        if found.clips:
            where = f" ({found.worst})" if found.worst else ""
            echo(f"{found.clips} clips made again: largest deviation {found.deviation:.3g}, {found.relative:.2g} of the "
                       f"largest value, smallest cosine {found.cosine:.6f}{where}")  # fmt: skip
        for problem in found.problems:
            echo(f"problem: {problem}")
        echo(
            f"{path}: {found.videos} videos, {'no problems' if found.ok else f'{len(found.problems)} problems'}"
        )
    return 0 if found.ok else 1


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.argument("out")
@json_option
def merge(inputs: tuple[str, ...], out: str, as_json: bool) -> None:
    """Merge feature files made with the same settings into one.

    \b
    Example:
      featx merge part1.h5 part2.h5 all.h5
    """
    from featx.store.writer import merge as run

    with bar("video") as progress:
        videos = run(inputs, out, on_progress=progress)
    echo(
        json_text({"out": out, "videos": videos}, indent=None)
        if as_json
        else f"{out}: {videos} videos"
    )
