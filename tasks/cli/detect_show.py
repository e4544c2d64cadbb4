"""The command that shows detections: a page of their evaluation, and a video's time line."""

from __future__ import annotations

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import VIDEO_ID, json_option
from featx.system.text import json_text
from featx.tasks.cli._options import detections_options


@click.command(name="show")
@click.argument("detections", metavar="DETECTIONS")
@detections_options
@click.option(
    "--videos",
    metavar="DIR",
    help="Where the videos lie, at any depth, for frames; without, there are none.",
)
@click.option(
    "--html",
    metavar="PAGE",
    help="Write a page, one file: mAP, curves, time lines, the worst mistakes.",
)
@click.option(
    "--timeline", metavar="PICTURE", help="Draw a video's time line to a .png, .svg or .pdf."
)
@click.option("--video", type=VIDEO_ID, metavar="NAME", help="The time line's.")
@click.option("--tiou", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.5, show_default=True,
              help="At which a detection counts as true or false.")  # fmt: skip
@click.option("--top", type=click.IntRange(1), default=100, show_default=True,
              help="At most so many of the video's detections on its time line, the surest.")  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(0), default=1000, show_default=True,
              help="Draws of videos for the 95 % intervals on the page; 0 leaves them out.")  # fmt: skip
@json_option
def show(detections: str, annotations: str, subset: str | None, videos: str | None, html: str | None, timeline: str | None,
         video: str | None, tiou: float, top: int, annotated_only: bool, class_ids: str | None, prior: str | None,
         prior_annotations: str | None, bootstrap: int, as_json: bool) -> int:  # fmt: skip
    """Show what detections are like: a page of their evaluation, and ground truth and detections on a video's time line.

    DETECTIONS is any file that featx detect eval takes. The page has both protocols' mAP, each class's average precision and
    curve, kinds of mistakes (Alwassel et al., 2018), time lines of six videos, and with their frames the 50 false positives
    of the highest score and the 20 longest instances that were missed.

    Exit status: 0 all done, 1 a video could not be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx detect show detections.json --annotations data/thumos14/annotation_test --videos data/thumos14 --html page.html
      featx detect show detections.txt --annotations data/thumos14/annotation_test --videos data/thumos14 \\
          --timeline line.png --video video_test_0000004
    """
    from featx.system.terminal import bar
    from featx.tasks.localization import show_file

    with bar("video") as progress:
        shown = show_file(
            detections,
            annotations=annotations,
            subset=subset,
            videos=videos,
            html=html,
            timeline=timeline,
            video=video,
            tiou=tiou,
            top=top,
            annotated_only=annotated_only,
            class_ids=class_ids,
            prior=prior,
            prior_annotations=prior_annotations,
            bootstrap=bootstrap if html is not None else 0,
            on_progress=progress,
        )
    if videos is None:
        echo("note: no frames are shown; give the videos' folder with --videos", err=True)
    elif shown.absent:
        echo(
            f"note: {shown.absent} of {shown.of} videos are not in {videos}: no frames of them are shown",
            err=True,
        )
    for note in shown.notes:
        echo(f"note: {note}", err=True)
    for sentence in shown.unread:
        echo(f"failed: {with_flags(sentence)}", err=True)
    if as_json:
        result = {"written": shown.written, "videos": len(shown.videos), "of": shown.of, "unread": shown.unread,
                  "notes": shown.notes}  # fmt: skip
        echo(json_text(result))
    else:
        for path in shown.written:
            echo(path)
    return 1 if shown.unread else 0
