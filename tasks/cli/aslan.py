"""The command for ASLAN's benchmark."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo
from featx.cli.options import json_option
from featx.system.text import json_text
from featx.tasks.cli._options import extraction_options

if TYPE_CHECKING:
    from featx.extraction.provide import Wanted


@click.command()
@click.option(
    "--features",
    multiple=True,
    metavar="FILE",
    help="Features of the samples, several with several of these; found beside the dataset, or extracted there first.",
)
@click.option(
    "--root", metavar="DIR", help="Where ASLAN's official files lie; aslan in $FEATX_DATA."
)
@click.option(
    "--layers",
    default="res5b,pool5,prob",
    show_default=True,
    help="Of every feature file, 12 numbers a pair each.",
)
@click.option(
    "--view",
    type=click.IntRange(1, 2),
    default=2,
    show_default=True,
    help="2, ten folds, is for reporting; 1, one training and one test list, for development.",
)
@click.option("--C", "C", type=float, default=1.0, show_default=True, help="The SVM's.")
@click.option("--measures", is_flag=True, help="Also each of the 12 measures alone.")
@click.option(
    "--partial",
    is_flag=True,
    help="Leave out pairs of samples that are not there, and say how many.",
)
@click.option(
    "--allow-trained-on",
    is_flag=True,
    help="Go on with a checkpoint that was trained on ASLAN's samples.",
)
@extraction_options
@click.option(
    "--plot", "picture", metavar="PICTURE", help="Draw the ROC curves to a .png, .svg or .pdf."
)
@click.option("--pairs", metavar="CSV", help="Write every pair's score to this file.")
@json_option
def aslan(features: tuple[str, ...], root: str | None, layers: str, view: int, C: float, measures: bool, partial: bool,
          allow_trained_on: bool, picture: str | None, pairs: str | None, as_json: bool, wanted: Wanted) -> int:  # fmt: skip
    """Tell whether two samples show the same action: ASLAN's benchmark.

    Clip features are averaged over a sample and L2-normalised; 12 measures of each layer tell how alike two samples are; a
    linear SVM decides, trained on nine folds and tested on the tenth, whose actions it has not seen (Res3D paper, section 5.2).

    Exit status: 0 all done, 1 samples without features, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx aslan
      featx aslan --model res3d --measures --plot roc.png
      featx aslan --features c3d.h5 --layers fc6,pool5,prob
    """
    from featx.report.picture import check_picture
    from featx.system.files import check_target
    from featx.system.terminal import bar
    from featx.tasks.cli._provide import provided
    from featx.tasks.similarity import (
        as_text,
        aslan_features,
        check_settings,
        plot,
        to_json,
        write_pairs,
    )
    from featx.tasks.similarity import aslan as run

    if picture is not None:
        check_picture(picture)
    if pairs is not None:
        check_target(Path(pairs), example="pairs.csv")
    names = [name.strip() for name in layers.split(",") if name.strip()]
    check_settings(names, C)
    find = functools.partial(aslan_features, root=root, view=view, partial=partial)
    with provided(features, replace(wanted, layers=names), find) as files, bar("step") as progress:
        found = run(
            files,
            root=root,
            view=view,
            layers=names,
            C=C,
            measures=measures,
            partial=partial,
            allow_trained_on=allow_trained_on,
            on_progress=progress,
        )
    echo(json_text(to_json(found)) if as_json else as_text(found))
    if picture is not None:
        plot(found, picture)
        echo(f"{picture}: ROC curves", err=as_json)
    if pairs is not None:
        write_pairs(found, pairs)
        echo(f"{pairs}: every pair's score", err=as_json)
    return 0
