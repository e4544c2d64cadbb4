"""The command that generates videos and datasets."""

from __future__ import annotations

from typing import Any

import click

from featx.cli.messages import echo
from featx.cli.options import json_option
from featx.errors import UsageError
from featx.system.terminal import bar
from featx.system.text import json_text


@click.command()
@click.argument("directory")
@click.option(
    "--dataset",
    metavar="NAME",
    help="Write DIRECTORY/NAME in the layout of aslan, hmdb51, kinetics, thumos14 or ucf101.",
)
@click.option(
    "--per-class",
    type=int,
    help="Videos of each class; 4, with --dataset 8 (aslan 5, thumos14 2 a side).",
)
@click.option(
    "--seconds",
    type=float,
    help="Length of each; 4, with --dataset 3 (thumos14's untrimmed videos 30).",
)
@click.option("--fps", type=float, default=25.0, show_default=True, help="Frames a second.")
@click.option(
    "--size", help="Width x height in pixels, both even; 320x240, with --dataset 160x120."
)
@click.option("--classes", help="Comma-separated motions; all (thumos14: six).")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Other seeds give other videos.",
)
@json_option
def synth(
    directory: str,
    dataset: str | None,
    per_class: int | None,
    seconds: float | None,
    fps: float,
    size: str | None,
    classes: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write generated videos: moving shapes and textures, a motion a class.

    Without --dataset, a folder a class. With it, a small dataset in the official one's layout, names and lists, as if
    DIRECTORY were $FEATX_DATA: commands that take a dataset's name run on it.

    \b
    Example:
      featx synth videos/
      featx synth --dataset ucf101 data/
    """
    sides = _height_and_width(size) if size is not None else None
    names = [name.strip() for name in classes.split(",")] if classes is not None else None
    with bar("frame") as progress:
        if dataset is None:
            from featx.synthetic.render import write_videos

            paths = write_videos(directory, per_class=per_class, seconds=seconds, fps=fps, size=sides, classes=names,
                                 seed=seed, progress=progress)  # fmt: skip
            result: dict[str, Any] = {
                "directory": directory,
                "videos": [str(p) for p in paths],
                "classes": len({p.parent for p in paths}),
            }
        else:
            from featx.synthetic.layouts import write_dataset

            written = write_dataset(dataset, directory, per_class=per_class, seconds=seconds, fps=fps, size=sides,
                                    classes=names, seed=seed, progress=progress)  # fmt: skip
            result = {"directory": str(written.root), "dataset": dataset, "videos": [str(p) for p in written.videos],
                      "files": [str(p) for p in written.files], "classes": len(written.classes)}  # fmt: skip
    text = f"{result['directory']}: {len(result['videos'])} videos of {result['classes']} classes"
    if dataset is not None:
        text += f" and {len(result['files'])} files in {dataset}'s layout, generated: not the official dataset"
    echo(json_text(result) if as_json else text)


def _height_and_width(size: str) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in size.lower().split("x"))
    except ValueError:
        raise UsageError(f"size is {size!r}: give width x height, such as 320x240") from None
    return height, width
