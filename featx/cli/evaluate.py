"""The command that evaluates a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from featx.cli.options import dataset_options, input_options, json_option, machine_options
from featx.terminal import Progress


@click.command("eval")
@click.option("--checkpoint", required=True, help="A .safetensors or .pth file, a registered checkpoint, or random.")
@click.option("--dataset", required=True, help="A name such as ucf101, or your own folder of class folders, or csv.")
@dataset_options
@click.option("--model", help="The checkpoint's model, where its file does not say.")
@click.option("--subset", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Of the split.")
@click.option("--protocol", "protocols", type=click.Choice(["clip", "tran2017", "hara", "asymmetric"]), multiple=True,
              default=["tran2017"], show_default=True, help="Clips and crops to average; give it again for more.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of random weights.")
@input_options
@click.option("--flow-cache", metavar="DIR", help="Keep flow here, once computed; 4 bytes a pixel and frame.")
@machine_options
@click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds until a silent decoder is given up.")
@click.option("--plot", metavar="PICTURE", help="Draw the confusion matrix, one a protocol, to a .png, .svg or .pdf.")
@click.option("--predictions", metavar="CSV", help="Write every video's prediction to this file.")
@json_option
def evaluate(checkpoint: str, model: str | None, dataset: str, split: int, subset: str, root: str | None, partial: bool,
             holdout: float, protocols: tuple[str, ...], plot: str | None, predictions: str | None, as_json: bool,
             **settings: Any) -> int:  # fmt: skip
    """Say how well a checkpoint recognises a dataset's videos, by the papers' protocols.

    \b
    clip        one clip from the middle, centre crop (Tran et al. 2017)
    tran2017    10 clips evenly spread, centre crop (Tran et al. 2017)
    hara        non-overlapping clips, centre crop (Hara et al. 2017)
    asymmetric  25 clips evenly spread, ten crops (Yang et al.)

    A clip's frames and size are the checkpoint's. A video that cannot be read is listed and counts as wrong.

    Exit status: 0 all done, 1 some videos could not be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx eval --checkpoint res3d-ucf101.safetensors --dataset ucf101 --split 1
      featx eval --checkpoint my.safetensors --dataset videos/ --protocol clip --protocol hara --plot confusion.png
    """
    from featx.datasets import load_dataset
    from featx.evaluation import as_text, plot_confusion, to_json, write_csv
    from featx.evaluation import evaluate as run
    from featx.files import check_target, keep_inputs
    from featx.picture import check_picture
    from featx.preparation import Settings
    from featx.weights import architecture_of

    pictures = {name: _picture(plot, name, alone=len(protocols) == 1) for name in protocols} if plot is not None else {}
    for picture in pictures.values():
        check_picture(picture)
    if predictions is not None:
        check_target(Path(predictions), example="predictions.csv")
        keep_inputs(predictions, [dataset, checkpoint])
    network = Settings(model=model or architecture_of(checkpoint), weights=checkpoint, **settings)
    videos = load_dataset(dataset, root=root, split=split, subset=subset, partial=partial, holdout=holdout)
    found = []
    for name in dict.fromkeys(protocols):
        progress = Progress()
        try:
            found.append(run(network, videos, protocol=name, on_start=progress.start, on_progress=progress))
        finally:
            progress.close()
        if not as_json:
            click.echo(as_text(found[-1]) + "\n")
        if name in pictures:
            plot_confusion(found[-1], pictures[name])
            click.echo(f"{pictures[name]}: confusion matrix, {name}", err=as_json)
    if as_json:
        click.echo(json.dumps([to_json(each) for each in found], indent=1))
    if predictions is not None:
        write_csv(found, predictions)
        click.echo(f"{predictions}: every video's prediction", err=as_json)
    failures = dict.fromkeys(failure for each in found for failure in each.failures)
    for name, path, reason in failures:
        click.echo(f"failed: {name} ({path}): {reason}", err=True)
    return 1 if failures else 0


def _picture(plot: str, protocol: str, *, alone: bool) -> str:
    """Return the picture's name, with the protocol in it where there are several."""
    path = Path(plot)
    return plot if alone else str(path.with_name(f"{path.stem}-{protocol}{path.suffix}"))
