"""The command that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import (
    INTERRUPTED,
    clip_options,
    crop_option,
    dataset_options,
    fields,
    input_options,
    json_option,
    refuse_given,
    run_options,
)
from featx.system.text import json_text

if TYPE_CHECKING:
    from featx.datasets import DatasetRef
    from featx.extraction.settings import ClipOptions
    from featx.training import Plan, RunOptions, TrainReport
    from featx.training.loop import Trainer
    from featx.transforms import FlowMethod, Input

# Options that generated clips have no use for, by the parameters that click gives.
_FOR_VIDEOS = (
    "root",
    "split",
    "partial",
    "holdout",
    "input",
    "flow",
    "flow_cache",
    "protocol",
    "workers",
    "timeout",
)


@click.command()
@click.argument("out")
@click.option("--model", required=True, help="A model, such as res3d, c3d or hara_resnet18.")
@dataset_options(
    click.option(
        "--dataset",
        required=True,
        help="ucf101, hmdb51, kinetics, sports1m, activitynet, weizmann; a folder of classes; a csv; or generated.",
    )
)
@click.option(
    "--recipe",
    help="A paper's settings (--list-recipes shows them); that of the model's family, or of generated clips.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Replace a field of the recipe: lr=0.05, schedule.every=5, augmentation=spatial-center, freeze=conv4.",
)
@click.option(
    "--list-recipes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda c, p, v: _list_recipes(c, v),
    help="Show the recipes, and exit.",
)
@click.option(
    "--weights", help="Start from a registered checkpoint or a file; without it, from nothing."
)
@click.option(
    "--init-2d", help="Start a semi-CNN's spatial layers from a file of ImageNet weights."
)
@clip_options(
    click.option("--frames", type=int, help="Frames in a clip; the network's."),
    click.option(
        "--step",
        type=int,
        help="Source frames from one frame of a clip to the next; the network's.",
    ),
)
@input_options
@click.option(
    "--flow-cache", metavar="DIR", help="Read flow that `featx extract --flow-cache DIR` kept."
)
@click.option(
    "--validate",
    help="The side to validate on, or none; val where there is one, else test, as the papers do.",
)
@click.option(
    "--validate-every",
    type=int,
    default=1,
    show_default=True,
    help="Epochs from one validation to the next.",
)
@click.option(
    "--protocol", default="clip", show_default=True, help="Of validation, as in featx eval."
)
@crop_option
@run_options
@json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    out: str,
    model: str,
    dataset: DatasetRef,
    recipe: str | None,
    overrides: tuple[str, ...],
    weights: str | None,
    init_2d: str | None,
    clip: ClipOptions,
    input: Input | None,
    flow: FlowMethod | Literal["auto"] | None,
    flow_cache: str | None,
    validate: str | None,
    validate_every: int,
    protocol: str,
    crop: int | None,
    run: RunOptions,
    as_json: bool,
) -> int:
    """Train a network on a dataset, or fine-tune a checkpoint, and leave checkpoints in the folder OUT.

    OUT gets last.safetensors and best.safetensors for `featx extract --weights` and `featx eval`, steps.csv, epochs.csv,
    curves.png and TensorBoard's events. Killed or interrupted, the same command continues where it was; on a
    CPU it comes to the same numbers to the bit. Under `torchrun` the processes share each batch.

    --dataset generated is a stream of labelled motion without end, made on the device while it trains: no videos, no folder, and
    an epoch is 10,000 clips of it.

    Exit status: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx train --model res3d --dataset ucf101 --split 1 runs/res3d-ucf101
      featx train --model r3d_18 --weights r3d_18-kinetics400 --dataset hmdb51 --set freeze=conv4 runs/r3d-hmdb51
      featx train --model res3d --dataset videos/ --set duration=20 --set augmentation.flip=0 runs/mine
      featx train --model res3d --dataset generated --seed 1 runs/motion
      torchrun --nproc-per-node 4 --no-python featx train --model hara_resnet34 --dataset kinetics runs/kinetics
    """
    from featx.datasets import GENERATED_CLIPS

    if dataset.name in GENERATED_CLIPS:
        refuse_given(context, "for videos, and generated clips are none", *_FOR_VIDEOS)
    from featx.extraction.settings import TransformOptions
    from featx.training import TrainHooks, TrainSettings, run_training
    from featx.training.progress import TrainingProgress

    settings = TrainSettings(
        model=model,
        dataset=dataset,
        recipe=recipe,
        overrides=fields(overrides),
        weights=weights,
        init_2d=init_2d,
        clip=clip,
        transform=TransformOptions(crop=crop, input=input, flow=flow),
        flow_cache=flow_cache,
        validate=validate,
        validate_every=validate_every,
        protocol=protocol,
        run=run,
    )
    progress = TrainingProgress()
    hooks = TrainHooks(
        on_start=lambda plan, trainer: _print_plan(plan, trainer, progress),
        on_progress=progress,
        on_validation=progress.validated,
    )
    try:
        report = run_training(settings, out, hooks=hooks)
    except KeyboardInterrupt:
        progress.close()
        echo(
            f"interrupted at update {progress.step}: run the same command again to continue",
            err=True,
        )
        return INTERRUPTED
    finally:
        progress.close()
    if report is not None:
        echo(json_text(_json(report))) if as_json else _print_report(report)
    return 0


def _list_recipes(context: click.Context, wanted: bool) -> None:
    if not wanted:
        return
    from featx.report import table
    from featx.training.recipes import RECIPES

    rows = []
    for name, r in RECIPES.items():
        falls = {"constant": "", "step": f"x {r.schedule.factor:g} every {r.schedule.every:,} {r.schedule.unit}",
                 "plateau": f"x {r.schedule.factor:g} after {r.schedule.every} epochs without gain",
                 "one-cycle": "up, then a cosine down"}[r.schedule.kind]  # fmt: skip
        rows.append(
            (
                name,
                f"{r.lr:g}",
                falls,
                f"{r.batch}",
                f"{r.weight_decay:g}",
                f"{r.duration:,} {r.unit}",
                r.source,
            )
        )
    echo(table(rows, headers=("recipe", "lr", "falls", "batch", "decay", "for", "source")))
    context.exit()


def _print_plan(plan: Plan, trainer: Trainer, progress: Any) -> None:
    for note in plan.notes:
        echo(f"note: {note}", err=True)
    state, row = trainer.state, plan.recipe
    source = plan.source
    validated = f", validated on {source.validated}" if source.validated is not None else ""
    echo(
        f"{plan.settings.model} from {plan.start['name']} on {source.title}: {source.size},"
        f" {len(source.classes)} classes{validated}; recipe {plan.recipe_name}, batch {row.batch}, lr {row.lr:g},"
        f" {trainer.steps} updates, {trainer.epochs} epochs",
        err=True,
    )
    if state.step:
        echo(f"continues after update {state.step}", err=True)
    progress.start(trainer.steps, state.step)


def _print_report(report: TrainReport) -> None:
    for note in report.notes:
        echo(f"note: {note}", err=True)
    for video, reason, times in report.replaced:
        echo(f"replaced {times} times by another video: {video}: {with_flags(reason)}", err=True)
    if report.damaged_frames:
        echo(f"{report.damaged_frames} damaged frames were shown", err=True)
    found = ""
    if report.validation is not None:
        best = f"best {report.best:.1%} after epoch {report.best_epoch}"
        found = f"; validation top-1 {report.validation.top1:.1%} at the end, {best}"
    echo(f"{report.out}: {report.updates}, {report.epochs} epochs in all{found}")


def _json(report: TrainReport) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(report)
