"""The command that evaluates detections of actions in untrimmed videos."""

from __future__ import annotations

import click

from featx.cli.messages import echo
from featx.cli.options import json_option
from featx.system.text import json_text
from featx.tasks.cli._options import detections_options, thresholds_of


@click.command(name="eval")
@click.argument("detections", metavar="DETECTIONS")
@detections_options
@click.option("--tiou", "tious", default="0.1,0.2,0.3,0.4,0.5,0.6,0.7", show_default=True,
              help="Comma-separated thresholds, or first:step:last such as 0.3:0.1:0.7.")  # fmt: skip
@click.option(
    "--videos",
    metavar="FILE",
    help="The videos to compute over, a name a line; all that were annotated.",
)
@click.option("--rounded/--not-rounded", default=None,
              help="Round times to 0.1 s and scores to five digits first; done for the S-CNN authors' windows.")  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(min=0), default=1000, show_default=True,
              help="Draws of videos for the 95 % intervals; 0 leaves them out.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of these draws."
)
@click.option(
    "--plot",
    "picture",
    metavar="PICTURE",
    help="Draw the THUMOS'14 protocol's precision-recall curves to a .png, .svg or .pdf.",
)
@json_option
def evaluate(detections: str, annotations: str, subset: str | None, tious: str, videos: str | None, annotated_only: bool,
             class_ids: str | None, prior: str | None, prior_annotations: str | None, rounded: bool | None, bootstrap: int,
             seed: int, picture: str | None, as_json: bool) -> None:  # fmt: skip
    """Evaluate anybody's detections by the THUMOS'14 protocol and by ActivityNet's.

    DETECTIONS is the official text format, <video> <start> <end> <class id> <score> a line, # before comments; JSON as
    ActivityNet's evaluation reads it; a csv with the columns video, class, start, end and score; or the S-CNN authors'
    res_seg_swin.mat, whose windows are weighted by the length prior and suppressed at the evaluation's tIoU less 0.1 first.
    Videos' names may have a suffix.

    The two protocols give different figures for the same detections: name the one you quote, and the videos. ActivityNet's code
    is run on THUMOS'14 with 210 to 213 test videos in the literature; --videos takes a list.

    Exit status: 0 done, 1 a file that cannot be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx detect eval detections.txt --annotations data/thumos14/annotation_test
      featx detect eval results.json --annotations thumos14.json --subset test --tiou 0.3,0.4,0.5,0.6,0.7 --json
      featx detect eval res_seg_swin.mat --annotations data/thumos14/annotation_test --plot curves.png
    """
    from typing import cast

    from featx.report.picture import check_picture
    from featx.system.files import keep_inputs
    from featx.tasks.localization import ClassIds, evaluate_file, file_json, file_text, plot_curves

    thresholds = thresholds_of(tious)
    if picture is not None:
        check_picture(picture)
        keep_inputs(
            picture, [each for each in (detections, annotations, videos, prior) if each is not None]
        )
    found = evaluate_file(
        detections,
        annotations=annotations,
        subset=subset,
        tious=thresholds,
        videos=videos,
        annotated_only=annotated_only,
        class_ids=cast(ClassIds | None, class_ids),
        prior=prior,
        prior_annotations=prior_annotations,
        rounded=rounded,
        bootstrap=bootstrap,
        seed=seed,
    )
    echo(json_text(file_json(found)) if as_json else file_text(found))
    if picture is not None:
        plot_curves(picture, found.evaluations[0], title=[found.source])
        echo(f"{picture}: precision-recall curves", err=as_json)
