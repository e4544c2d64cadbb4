"""The command that says how few dimensions a feature needs."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo
from featx.cli.options import json_option
from featx.errors import UsageError
from featx.system.terminal import bar
from featx.system.text import json_text
from featx.tasks.cli._options import dataset_options, extraction_options
from featx.tasks.cli._provide import provided

if TYPE_CHECKING:
    from featx.extraction.provide import Wanted


@click.command()
@click.option(
    "--dataset",
    required=True,
    help="A name such as ucf101, or your own folder of class folders, or csv.",
)
@click.option("--features", multiple=True, metavar="FILE",
              help="A feature file, or another library's; again for more curves; the dataset's own.")  # fmt: skip
@click.option("--layer", "layers", multiple=True,
              help="Once for all feature files, once for each, or several of one file; the file's first.")  # fmt: skip
@click.option(
    "--dims",
    default="10,50,100,200,300,500",
    show_default=True,
    help="Comma-separated numbers of dimensions.",
)
@click.option("--split", type=int, help="One of the dataset's splits; the mean over all of them.")
@click.option("--C", "C", type=float, default=1.0, show_default=True, help="The SVM's.")
@click.option(
    "--normalise-again", is_flag=True, help="Bring projected rows to length 1 before the SVM."
)
@click.option(
    "--paper/--no-paper",
    default=None,
    help="Show the paper's points beside these; only for ucf101.",
)
@dataset_options
@click.option(
    "--allow-trained-on",
    is_flag=True,
    help="Go on where a checkpoint was trained on the test videos.",
)
@extraction_options
@click.option(
    "--plot",
    "plots",
    multiple=True,
    metavar="PICTURE",
    help="Draw the curves to a .png, .svg or .pdf; again for more.",
)
@click.option(
    "--csv", "csv_file", metavar="FILE", help="Write the curves as comma-separated values."
)
@click.option(
    "--save",
    metavar="FILE",
    help="Write the PCA of one layer, --split and number of --dims to this .npz.",
)
@json_option
def compact(dataset: str, features: tuple[str, ...], layers: tuple[str, ...], dims: str, split: int | None, C: float,
            normalise_again: bool, paper: bool | None, root: str | None, partial: bool, holdout: float, allow_trained_on: bool,
            wanted: Wanted, plots: tuple[str, ...], csv_file: str | None, save: str | None, as_json: bool) -> None:  # fmt: skip
    """Say how few dimensions a feature needs: accuracy of a linear SVM after PCA.

    As figure 3 of the Res3D paper: PCA is fitted on a split's training videos alone, accuracies are on its test videos, averaged
    over the splits, with 95 % intervals. What --save writes, featx extract --project applies to every clip.

    Exit status: 0 done, 1 videos that are not there or have no features, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx compact --dataset ucf101 --features res3d.h5 --layer res5b --features c3d.h5 --layer fc6 --plot compact.png
      featx compact --dataset ucf101 --split 1 --features res3d.h5 --layer res5b --dims 300 --save pca300.npz
    """
    from pathlib import Path

    from featx.datasets import DatasetLists
    from featx.extraction.provide import dataset_features
    from featx.report.picture import check_picture
    from featx.system.files import check_target, keep_inputs
    from featx.tasks.compactness import as_text, check_request, plot_curves, to_json, write_csv
    from featx.tasks.compactness import compact as run
    from featx.tasks.splits import load_splits

    for picture in plots:
        check_picture(picture)
    if csv_file is not None:
        check_target(Path(csv_file), example="compact.csv")
        keep_inputs(csv_file, [dataset, *features])
    numbers = _numbers(dims)
    lists = DatasetLists(dataset, root=root, holdout=holdout)
    # Before features are extracted, which takes hours.
    check_request(load_splits(lists, split=split, partial=partial), dims=numbers, C=C,
                  curves=max(1, len(features), len(layers)), save=save)  # fmt: skip
    find = functools.partial(dataset_features, lists)
    with (
        provided(features, replace(wanted, layers=layers or None), find) as files,
        bar("SVM") as progress,
    ):
        found = run(lists, files, layers=layers, dims=numbers, split=split, C=C, normalise_again=normalise_again, paper=paper,
                    partial=partial, allow_trained_on=allow_trained_on, save=save, on_progress=progress)  # fmt: skip
    echo(json_text(to_json(found)) if as_json else as_text(found))
    if csv_file is not None:
        write_csv(found, csv_file)
        echo(f"{csv_file}: the curves as a table", err=as_json)
    for picture in plots:
        plot_curves(found, picture)
        echo(f"{picture}: the curves", err=as_json)
    if save is not None:
        echo(
            f"{save}: the projection to {numbers[0]} dimensions, for featx extract --project",
            err=as_json,
        )


def _numbers(text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")]
    except ValueError:
        raise UsageError(
            f"dims is {text!r}: give whole numbers separated by commas, such as 10,50,300"
        ) from None
