"""The command that generates videos."""

from __future__ import annotations

import json
from typing import Any

import click

from featx.cli._options import json_option
from featx.errors import UsageError
from featx.terminal import bar


@click.command()
@click.argument("directory")
@click.option("--per-class", type=int, default=4, show_default=True, help="Videos of each class.")
@click.option("--seconds", type=float, default=4.0, show_default=True, help="Length of each.")
@click.option("--fps", type=float, default=25.0, show_default=True, help="Frames a second.")
@click.option("--size", default="320x240", show_default=True, help="Width x height in pixels, both even.")
@click.option("--classes", help="Comma-separated motions; all.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other seeds give other videos.")
@json_option
def synth(directory: str, size: str, classes: str | None, as_json: bool, **options: Any) -> None:
    """Write generated videos: moving shapes and textures, a folder and a motion a class.

    \b
    Example:
      featx synth videos/
    """
    from featx.synth import write_videos

    try:
        width, height = (int(side) for side in size.lower().split("x"))
    except ValueError:
        raise UsageError(f"size is {size!r}: give width x height, such as 320x240") from None
    names = [c.strip() for c in classes.split(",")] if classes else None
    with bar("video") as progress:
        paths = write_videos(directory, size=(height, width), classes=names, progress=progress, **options)
    n_classes = len({p.parent for p in paths})
    result = {"directory": directory, "videos": [str(p) for p in paths], "classes": n_classes}
    click.echo(json.dumps(result, indent=1) if as_json else f"{directory}: {len(paths)} videos of {n_classes} classes")
