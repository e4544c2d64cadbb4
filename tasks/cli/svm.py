"""The commands that train and test a linear SVM, and that ask a saved one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from featx.cli.messages import echo
from featx.cli.options import json_option
from featx.errors import UsageError
from featx.system.terminal import bar
from featx.system.text import json_text
from featx.tasks.cli._options import dataset_options, extraction_options

if TYPE_CHECKING:
    from featx.datasets import DatasetLists
    from featx.extraction.provide import Wanted
    from featx.tasks.features import Given


@click.group(invoke_without_command=True, subcommand_metavar="[predict MODEL FEATURES...]")
@click.option(
    "--dataset", help="A name such as ucf101, or your own folder of class folders, or csv."
)
@click.option("--features", multiple=True, metavar="FILE",
              help="A feature file, or another library's .h5, .npz or .npy; again for more; {split} in it is the split's number. "
                   "The dataset's own, extracted first where there is none.")  # fmt: skip
@click.option(
    "--layer",
    "layers",
    multiple=True,
    help="Once for all feature files, or once for each; the file's first.",
)
@click.option("--split", type=int, help="Of the dataset's splits; all of them, and their mean.")
@click.option("--folds", type=int, metavar="K",
              help="Cross-validate over all videos in K parts that share no group; no official protocol.")  # fmt: skip
@click.option("--C", "C", default="1", show_default=True, metavar="NUMBER|cv",
              help="What errors cost; cv chooses it inside the training set, groups kept together.")  # fmt: skip
@click.option("--fusion", type=click.Choice(["concat", "scores"]), default="concat", show_default=True,
              help="Several features one after the other, or the mean of an SVM's scores on each.")  # fmt: skip
@dataset_options
@click.option(
    "--allow-trained-on",
    is_flag=True,
    help="Go on with a checkpoint that was trained on test videos, and say so.",
)
@extraction_options
@click.option(
    "--plot",
    "picture",
    metavar="PICTURE",
    help="Draw the confusion matrix to a .png, .svg or .pdf.",
)
@click.option(
    "--predictions", metavar="CSV", help="Write every test video's prediction to this file."
)
@click.option(
    "--save",
    metavar="MODEL.npz",
    help="Write the fitted SVM; with several splits, {split} in the name.",
)
@json_option
@click.pass_context
def svm(context: click.Context, /, dataset: str | None, features: tuple[str, ...], layers: tuple[str, ...],
        split: int | None, folds: int | None, C: str, fusion: str, root: str | None, partial: bool, holdout: float,
        allow_trained_on: bool, wanted: Wanted, picture: str | None, predictions: str | None, save: str | None,
        as_json: bool) -> int | None:  # fmt: skip
    """Say how well a linear SVM recognises a dataset's actions by clip features (Res3D paper, section 5.1).

    A video's features are the mean over its clips, L2-normalised. The SVM is trained and tested on every official
    split: accuracy per split, and the mean. With --folds, on all videos that are there, each tested once: for
    datasets of which few videos are.

    Exit status: 0 done, 1 videos that are not there or have no features, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx svm --dataset hmdb51
      featx svm --dataset ucf101 --features res3d.h5 --layer pool5 --C cv --plot confusion.png
      featx svm --dataset ucf101 --features 'res3d-split{split}.h5' --features idt.npz --fusion scores
      featx svm --dataset ucf101 --split 1 --features res3d.h5 --save svm.npz
      featx svm --dataset ucf101 --partial --folds 5 --features res3d.h5
      featx svm predict svm.npz my-videos.h5
    """
    if context.invoked_subcommand is not None:
        _check_alone(context)
        return None
    if dataset is None:
        raise UsageError(
            "no dataset: give --dataset, a name such as ucf101, or your own folder of class folders, or csv"
        )
    from featx.datasets import DatasetLists
    from featx.report.picture import check_picture
    from featx.system.files import check_target, keep_inputs
    from featx.tasks.recognition import as_text, check, plot, to_json, write_csv
    from featx.tasks.recognition import svm as run

    if picture is not None:
        check_picture(picture)
    if predictions is not None:
        check_target(Path(predictions), example="predictions.csv")
        keep_inputs(predictions, [dataset, *features])
    lists = DatasetLists(dataset, root=root, holdout=holdout)
    by_split = any("{split}" in path for path in features)
    if not by_split and (not features or wanted.model is not None):
        # Before features are extracted, which takes hours.
        check(
            lists,
            C=C,
            fusion=fusion,
            split=split,
            folds=folds,
            partial=partial,
            holdout=holdout,
            save=save,
        )
    told = _Told()
    with (
        _provided(lists, features, replace(wanted, layers=layers or None), by_split) as files,
        told.bar,
    ):
        found = run(lists, files, layers=layers, split=split, folds=folds, C=C, fusion=fusion, partial=partial, holdout=holdout,
                    allow_trained_on=allow_trained_on, save=save,
                    on_step=told.step, on_progress=told.passed)  # fmt: skip
    echo(json_text(to_json(found)) if as_json else as_text(found))
    for each in found.splits:
        if each.saved is not None:
            echo(f"{each.saved}: the SVM of {each.title}", err=as_json)
    if picture is not None:
        plot(found, picture)
        echo(f"{picture}: confusion matrix", err=as_json)
    if predictions is not None:
        write_csv(found, predictions)
        echo(f"{predictions}: every video's prediction", err=as_json)
    return 0


class _Told:
    """What a run does: a line a split, and below it how many rows are read."""

    def __init__(self) -> None:
        self.bar = ExitStack()
        self._passed: Callable[[int, int | None], None] | None = None

    def step(self, text: str) -> None:
        self.bar.close()
        self._passed = None
        echo(text, err=True)

    def passed(self, done: int, of: int) -> None:
        if self._passed is None:
            self._passed = self.bar.enter_context(bar("row"))
        self._passed(done, of)


def _check_alone(context: click.Context) -> None:
    """Raise UsageError for an option that stands before the name of the command under this one."""
    given = [
        name
        for name in context.params
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if given:
        names = {option.name: option.opts[0] for option in context.command.params}
        raise UsageError(
            f"{names[given[0]]} stands before {context.invoked_subcommand}, which has options of its own: leave it out"
        )


@contextmanager
def _provided(
    lists: DatasetLists, features: Sequence[str], wanted: Wanted, by_split: bool
) -> Iterator[list[Given]]:
    """Give the features to use. by_split: the paths that are given have a split's number in them, and are not found yet."""
    from featx.extraction.provide import dataset_features
    from featx.tasks.cli._provide import provided

    if not by_split:
        with provided(features, wanted, functools.partial(dataset_features, lists)) as files:
            yield files
        return
    if wanted.model is not None or wanted.weights is not None:
        raise UsageError(
            "--model and --weights say whose features to extract, and --features has them: leave one out"
        )
    yield list(features)


@svm.command("predict")
@click.argument("model")
@click.argument("features", nargs=-1, required=True)
@click.option("--csv", "target", metavar="CSV", help="Write every video's class to this file.")
@json_option
def predict(model: str, features: tuple[str, ...], target: str | None, as_json: bool) -> int:
    """Say what a saved SVM takes the videos of feature files for.

    MODEL is what `featx svm --save` wrote, FEATURES are files made with the settings of those it was trained on, as many
    and in that order. The videos need belong to no dataset.

    Exit status: 0 done, 1 videos that a file lacks, 2 wrong usage or features made otherwise.

    \b
    Example:
      featx extract --model res3d my-videos/ my-videos.h5
      featx svm predict svm.npz my-videos.h5
      featx svm predict fused.npz rgb.h5 rgbf.h5 --csv classes.csv
    """
    from featx.system.files import check_target, keep_inputs
    from featx.tasks.recognition import predict as run
    from featx.tasks.recognition import prediction_lines, prediction_to_json, write_prediction

    if target is not None:
        check_target(Path(target), example="classes.csv")
        keep_inputs(target, [model, *features])
    found = run(model, features)
    echo(json_text(prediction_to_json(found)) if as_json else prediction_lines(found))
    if target is not None:
        write_prediction(found, target)
        echo(f"{target}: every video's class", err=as_json)
    return 0
