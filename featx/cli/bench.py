"""The command that measures speed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo
from featx.cli.options import (
    fields,
    json_option,
    layer_names,
    machine_options,
    refuse_given,
    transform_options,
)
from featx.errors import UsageError
from featx.system.text import json_text

if TYPE_CHECKING:
    from featx.bench import Measured, MeasuredTraining
    from featx.extraction.settings import Machine, TransformOptions

# Options of extraction that training has no use for, and the other way round, by the parameters that click gives.
_EXTRACTION = {
    "input": "--input",
    "flow": "--flow",
    "batch_size": "--batch-size",
    "decoder": "--decoder",
    "layers": "--layers",
}
_TRAINING = {
    "dataset": "--dataset",
    "recipe": "--recipe",
    "overrides": "--set",
    "compile": "--compile",
}


@click.command()
@click.argument("inputs", nargs=-1)
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["res3d"],
    show_default=True,
    help="A model; give it again to compare.",
)
@click.option("--train", is_flag=True, help="Measure training instead of extraction.")
@click.option(
    "--detect",
    is_flag=True,
    help="Measure both networks of featx detect, on its windows, instead of extraction.",
)
@click.option(
    "--share",
    type=float,
    default=0.15,
    show_default=True,
    help="Detection's: of the windows that are proposals.",
)
@click.option(
    "--dataset",
    type=click.Choice(["generated"]),
    help="Training's: on clips made while training, not on videos.",
)
@click.option(
    "--recipe",
    help="Training's: a paper's settings, as for featx train; that of the model's family.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Training's: replace a field of the recipe.",
)
@click.option("--compile", is_flag=True, help="Training's: compile the network first.")
@transform_options()
@machine_options()
@click.option("--layers", help="Comma-separated layers to extract; the model's own.")
@click.option(
    "--seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="How long each measurement lasts.",
)
@click.option(
    "--rounds",
    type=int,
    default=3,
    show_default=True,
    help="How often all is measured; medians are printed.",
)
@json_option
@click.pass_context
def bench(
    context: click.Context,
    /,
    inputs: tuple[str, ...],
    models: tuple[str, ...],
    train: bool,
    detect: bool,
    share: float,
    dataset: str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    compile: bool,
    transform: TransformOptions,
    machine: Machine,
    layers: str | None,
    seconds: float,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure decoding alone, the network alone and both together, and say which binds.

    INPUTS as for extract; without any, videos of 320x240 pixels are generated. Weights are random:
    their values do not change the speed. With --detect it is windows a second, each counted once, though the second
    network sees some of them too. With --train it is the training of the recipe's batches, from drawing clips to the
    update; the videos need no labels. With --dataset generated there are no videos: the clips are made on the device that trains.

    \b
    Example:
      featx bench --model res3d --model c3d videos/
      featx bench --detect --model res3d videos/
      featx bench --train --model res3d --seconds 15 videos/
      featx bench --train --dataset generated --model res3d
    """
    from featx.bench import to_json

    if train and detect:
        raise UsageError("--train and --detect measure different things: give one of them")
    if (
        not detect
        and context.get_parameter_source("share") is click.core.ParameterSource.COMMANDLINE
    ):
        raise UsageError("--share is for detection: leave it out without --detect")
    if detect and layers is not None:
        raise UsageError("--layers is for extraction: leave it out with --detect")
    other, kind = (_EXTRACTION, "extraction") if train else (_TRAINING, "training")
    for name, option in other.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(
                f"{option} is for {kind}: leave it out {'with' if train else 'without'} --train"
            )
    if dataset is not None:
        refuse_given(context, "for videos, and generated clips are none", "workers")
    from featx.bench import bench as measure
    from featx.bench import bench_detection, bench_training
    from featx.extraction.settings import Settings

    measured: Sequence[Measured] | Sequence[MeasuredTraining]
    if train:
        trained = bench_training(
            list(models),
            inputs,
            dataset=dataset,
            recipe_name=recipe,
            overrides=fields(overrides),
            machine=machine,
            compiled=compile,
            seconds=seconds,
            rounds=rounds,
            progress=_say,
        )
        measured, rows = trained, _training_rows(trained, dataset)
    else:
        settings = Settings(
            model=models[0],
            weights="random",
            layers=layer_names(layers),
            transform=transform,
            machine=machine,
        )
        run = partial(bench_detection, share=share) if detect else measure
        extracted = run(
            list(models),
            inputs,
            settings=settings,
            seconds=seconds,
            rounds=rounds,
            progress=_say,
        )
        measured, rows = extracted, _extraction_rows(extracted, detect=detect)
    if as_json:
        echo(json_text(to_json(measured)))
        return
    from featx.report import table

    echo(table(rows, headers=("", *(m.model for m in measured))))


def _say(text: str) -> None:
    echo(text, err=True)


def _extraction_rows(measured: Sequence[Measured], *, detect: bool) -> list[tuple[str, ...]]:
    what = "windows/s" if detect else "clips/s"
    seen = (
        []
        if not detect
        else [("seen by the second network too", *(f"{m.share:.0%}" for m in measured))]
    )
    return [
        (f"decoding alone, {what}", *(f"{m.decode:.1f}" for m in measured)),
        (f"backbone alone, {what}", *(f"{m.backbone:.1f}" for m in measured)),
        *seen,
        (f"ceiling, {what}", *(f"{m.ceiling:.1f}" for m in measured)),
        (f"end to end, {what}", *(f"{m.end_to_end:.1f}" for m in measured)),
        ("end to end / ceiling", *(_fraction(m) for m in measured)),
        ("binds", *(m.binding for m in measured)),
        ("video seconds a second", *(f"{m.video_rate:.1f}" for m in measured)),
        ("matrix multiplication, 1e12 multiply-adds/s", *(f"{m.matmul:.3f}" for m in measured)),
        ("backbone / matrix multiplication", *(f"{m.of_matmul:.1%}" for m in measured)),
        ("parameters, millions", *(f"{m.params:.1f}" for m in measured)),
        ("multiply-adds a clip, 1e9", *(f"{m.multiply_adds:.1f}" for m in measured)),
        ("input", *(m.input for m in measured)),
        (
            "precision, device, batch",
            *(f"{m.precision}, {m.device}, {m.batch_size}" for m in measured),
        ),
    ]


def _training_rows(
    measured: Sequence[MeasuredTraining], dataset: str | None
) -> list[tuple[str, ...]]:
    feed = "input pipeline" if dataset is None else "generator"
    return [
        (f"{feed} alone, clips/s", *(f"{m.decode:.1f}" for m in measured)),
        ("training step alone, clips/s", *(f"{m.step:.2f}" for m in measured)),
        ("ceiling, clips/s", *(f"{m.ceiling:.2f}" for m in measured)),
        ("together, clips/s", *(f"{m.together:.2f}" for m in measured)),
        ("together / ceiling", *(_fraction(m) for m in measured)),
        ("binds", *(m.binding for m in measured)),
        (
            "matrix multiplication, 1e12 multiply-adds/s",
            *(f"{m.matmul:.3f}" if m.matmul else "on a GPU only" for m in measured),
        ),
        ("training step / matrix multiplication", *(_share(m.of_matmul) for m in measured)),
        ("together / matrix multiplication", *(_share(m.together_of_matmul) for m in measured)),
        ("parameters, millions", *(f"{m.params:.1f}" for m in measured)),
        ("multiply-adds a clip, forward, 1e9", *(f"{m.multiply_adds:.1f}" for m in measured)),
        ("recipe", *(m.recipe for m in measured)),
        ("batch, forward passes", *(f"{m.batch}, {m.passes}" for m in measured)),
        (
            "precision, device, decoding processes",
            *(f"{m.precision}, {m.device}, {m.workers or 'none'}" for m in measured),
        ),
        ("videos", *(f"{'none' if m.videos is None else m.videos}" for m in measured)),
    ]


def _share(value: float | None) -> str:
    return f"{value:.1%}" if value is not None else "on a GPU only"


def _fraction(m: Measured | MeasuredTraining) -> str:
    return f"{m.fraction:.1%} ({m.fraction_range[0]:.1%} to {m.fraction_range[1]:.1%})"
