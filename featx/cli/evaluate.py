"""The command that evaluates a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import (
    dataset_options,
    json_option,
    machine_options,
    refuse_given,
    timeout_option,
    transform_options,
)
from featx.extraction.progress import Progress
from featx.system.terminal import bar
from featx.system.text import joined, json_text

if TYPE_CHECKING:
    from featx.datasets import DatasetRef
    from featx.evaluation import Evaluation
    from featx.extraction.settings import Machine, Settings, TransformOptions

# Options that generated clips have no use for, by the parameters that click gives.
_FOR_VIDEOS = ("root", "split", "subset", "partial", "holdout", "protocols", "input", "flow", "flow_cache", "decoder", "workers",
               "timeout")  # fmt: skip


@click.command("eval")
@click.option(
    "--checkpoint",
    required=True,
    help="A .safetensors or .pth file, a registered checkpoint, or random.",
)
@dataset_options(
    click.option(
        "--dataset",
        required=True,
        help="A name such as ucf101; your own folder of class folders, or csv; or generated.",
    )
)
@click.option("--model", help="The checkpoint's model, where its file does not say.")
@click.option(
    "--subset",
    type=click.Choice(["train", "val", "test"]),
    default="test",
    show_default=True,
    help="Of the split.",
)
@click.option("--protocol", "protocols", type=click.Choice(["clip", "tran2017", "hara", "asymmetric"]), multiple=True,
              default=["tran2017"], show_default=True, help="Clips and crops to average; give it again for more.")  # fmt: skip
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Of random weights; of generated clips, by default that of the checkpoint's run.",
)
@transform_options()
@click.option(
    "--flow-cache", metavar="DIR", help="Keep flow here, once computed; 4 bytes a pixel and frame."
)
@machine_options(timeout_option)
@click.option(
    "--plot",
    metavar="PICTURE",
    help="Draw the confusion matrix, one a protocol, to a .png, .svg or .pdf.",
)
@click.option("--predictions", metavar="CSV", help="Write every video's prediction to this file.")
@json_option
@click.pass_context
def evaluate(
    context: click.Context,
    /,
    checkpoint: str,
    model: str | None,
    dataset: DatasetRef,
    subset: str,
    protocols: tuple[str, ...],
    seed: int,
    transform: TransformOptions,
    flow_cache: str | None,
    machine: Machine,
    plot: str | None,
    predictions: str | None,
    as_json: bool,
) -> int:
    """Say how well a checkpoint recognises a dataset's videos, by the papers' protocols.

    \b
    clip        one clip from the middle, centre crop (Tran et al. 2017)
    tran2017    10 clips evenly spread, centre crop (Tran et al. 2017)
    hara        non-overlapping clips, centre crop (Hara et al. 2017)
    asymmetric  25 clips evenly spread, ten crops (Yang et al.)

    A clip's frames and size are the checkpoint's. A video that cannot be read is listed and counts as wrong.

    --dataset generated shows 1,000 clips of `featx train --dataset generated` that no training shows; the protocols have no
    part in it. With --precision auto the answers are those of the run's own validation on that device.

    Exit status: 0 all done, 1 some videos could not be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx eval --checkpoint res3d-ucf101.safetensors --dataset ucf101 --split 1
      featx eval --checkpoint my.safetensors --dataset videos/ --protocol clip --protocol hara --plot confusion.png
      featx eval --checkpoint runs/motion/last.safetensors --dataset generated
    """
    from featx.datasets import GENERATED_CLIPS

    names = dict.fromkeys(protocols)
    if generated := dataset.name in GENERATED_CLIPS:
        refuse_given(context, "for videos, and generated clips are none", *_FOR_VIDEOS)
        names = dict.fromkeys(["held-out"])
    from featx.evaluation import as_text, plot_confusion, to_json, write_csv
    from featx.extraction.settings import Settings
    from featx.report.picture import check_picture
    from featx.system.files import check_target, keep_inputs
    from featx.weights.checkpoint import architecture_of

    pictures = (
        {name: _picture(plot, name, alone=len(names) == 1) for name in names}
        if plot is not None
        else {}
    )
    for picture in pictures.values():
        check_picture(picture)
    if predictions is not None:
        check_target(Path(predictions), example="predictions.csv")
        keep_inputs(predictions, [checkpoint] if generated else [dataset.name, checkpoint])
    network = Settings(
        model=model or architecture_of(checkpoint),
        weights=checkpoint,
        seed=seed,
        transform=transform,
        flow_cache=flow_cache,
        machine=machine,
    )
    if generated:
        seed_given = context.get_parameter_source("seed") is click.core.ParameterSource.COMMANDLINE
        evaluations = _on_generated(network, str(dataset.name), seed if seed_given else None)
    else:
        evaluations = _on_videos(network, names, dataset, subset)
    found = []
    for each in evaluations:
        found.append(each)
        if not as_json:
            echo(joined([as_text(each), ""]))
        if (name := each.protocol.name) in pictures:
            plot_confusion(each, pictures[name])
            echo(f"{pictures[name]}: confusion matrix, {name}", err=as_json)
    if as_json:
        echo(json_text([to_json(each) for each in found]))
    if predictions is not None:
        write_csv(found, predictions)
        echo(f"{predictions}: every video's prediction", err=as_json)
    failures = dict.fromkeys(failure for each in found for failure in each.failures)
    for name, path, reason in failures:
        echo(f"failed: {name} ({path}): {with_flags(reason)}", err=True)
    return 1 if failures else 0


def _on_videos(
    network: Settings, protocols: Iterable[str], dataset: DatasetRef, subset: str
) -> Iterator[Evaluation]:
    from featx.evaluation import recognise

    videos = dataset.load(subset)
    for name in protocols:
        progress = Progress()
        try:
            found = recognise(network, videos, protocol=name, hooks=progress.hooks)
        finally:
            progress.close()
        yield found


def _on_generated(network: Settings, dataset: str, seed: int | None) -> Iterator[Evaluation]:
    from featx.evaluation import evaluate_generated

    with bar("clip") as progress:
        found = evaluate_generated(network, dataset, seed=seed, on_progress=progress)
    yield found


def _picture(plot: str, protocol: str, *, alone: bool) -> str:
    """Return the picture's name, with the protocol in it where there are several."""
    path = Path(plot)
    return plot if alone else str(path.with_name(f"{path.stem}-{protocol}{path.suffix}"))
