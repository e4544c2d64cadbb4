"""The command that trains S-CNN's three networks."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import (
    INTERRUPTED,
    NUMBERS,
    RATE,
    crop_option,
    fields,
    json_option,
    run_options,
)
from featx.system.text import Text, joined, json_text, visible

if TYPE_CHECKING:
    from featx.clips import ClipSpec
    from featx.datasets import Dataset
    from featx.tasks.localization import NetworksReport, Samples, Stage
    from featx.training import Plan, Progress, RunOptions
    from featx.training.loop import Trainer
    from featx.training.progress import TrainingProgress


@click.command()
@click.argument("out")
@click.option("--model", default="res3d", show_default=True, help="A model, such as res3d or c3d.")
@click.option(
    "--weights",
    help="What it is fine-tuned from: a registered checkpoint, a file, or random; the model's own.",
)
@click.option(
    "--stage",
    type=click.Choice(["proposal", "classification", "localization"]),
    help="Train this network alone.",
)
@click.option(
    "--root", metavar="DIR", help="Where THUMOS'14's official files lie; thumos14 in $FEATX_DATA."
)
@click.option(
    "--partial",
    is_flag=True,
    help="Go on with the videos that are there, and say how many are not.",
)
@click.option(
    "--frames",
    type=int,
    help="Frames shown of a window; what the weights take, 8 for res3d and 16 for c3d.",
)
@click.option(
    "--fps",
    type=RATE,
    default="25",
    show_default=True,
    help="Frames a second that windows are made of, or own.",
)
@click.option(
    "--lengths",
    type=NUMBERS,
    default="16,32,64,128,256,512",
    show_default=True,
    help="Of windows, in such frames.",
)
@click.option(
    "--overlap",
    type=float,
    default=0.75,
    show_default=True,
    help="Of a window with the next one of its length.",
)
@click.option(
    "--positive",
    type=float,
    default=0.7,
    show_default=True,
    help="A window of an action has a tIoU above this.",
)
@click.option(
    "--best",
    type=float,
    default=0.5,
    show_default=True,
    help="So has an instance's best window above this.",
)
@click.option(
    "--background",
    type=float,
    default=0.3,
    show_default=True,
    help="Background is below this with every instance.",
)
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE",
              help="Replace a field of the recipes, as in featx train: duration=4; or of one: proposal.lr=0.01.")  # fmt: skip
@crop_option
@run_options
@json_option
def train(
    out: str,
    model: str,
    weights: str | None,
    stage: Stage | None,
    root: str | None,
    partial: bool,
    frames: int | None,
    fps: float | str,
    lengths: tuple[int, ...],
    overlap: float,
    positive: float,
    best: float,
    background: float,
    overrides: tuple[str, ...],
    crop: int | None,
    run: RunOptions,
    as_json: bool,
) -> int:
    """Train S-CNN's proposal, classification and localization network on THUMOS'14 (Shou et al. 2016).

    They are trained one after the other into OUT/proposal, OUT/classification and OUT/localization, on trimmed videos and
    on windows of the untrimmed validation videos, by section 5.3 of the Res3D paper, or for c3d as originally; the
    localization network starts from the classification network, with the overlap loss. Killed or interrupted, the same
    command continues; what is finished is not trained again.

    Exit status: 0 all done, 1 videos that could not be read, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx detect train --model res3d --weights res3d.safetensors runs/scnn
      featx detect train --model c3d --weights c3d.pth --stage proposal runs/scnn-c3d
      featx detect train --model res3d --weights random --crop 40 --set duration=4 --set localization.lr=0.0005 runs/small
    """
    from featx.tasks.localization import (
        Matching,
        NetworkSettings,
        networks_json,
        train_networks,
    )

    asked = NetworkSettings(
        model=model,
        weights=weights,
        stage=stage,
        root=root,
        partial=partial,
        frames=frames,
        fps=None if isinstance(fps, str) else fps,
        lengths=lengths,
        overlap=overlap,
        matching=Matching(positive=positive, best=best, background=background),
        overrides=fields(overrides),
        crop=crop,
        run=run,
    )
    shown = _Shown()
    try:
        report = train_networks(
            asked,
            out,
            on_indexed=shown.indexed,
            on_stage=shown.stage,
            on_start=shown.start,
            on_progress=shown.progress,
        )
    except KeyboardInterrupt:
        shown.close()
        echo("interrupted: run the same command again to continue", err=True)
        return INTERRUPTED
    finally:
        shown.close()
    echo(json_text(networks_json(report)) if as_json else _text(report))
    for video, reason in report.unread:
        echo(f"left out: {video}: {with_flags(reason)}", err=True)
    return 1 if report.unread else 0


class _Shown:
    """What a run looks like while it goes on, on standard error."""

    def __init__(self) -> None:
        self._bar: TrainingProgress | None = None
        self._indexing = ExitStack()
        self._indexed: Callable[[int, int | None], None] | None = None

    def indexed(self, done: int, total: int | None) -> None:
        from featx.system.terminal import bar

        if self._indexed is None:
            self._indexed = self._indexing.enter_context(bar("video"))
        self._indexed(done, total)

    def stage(self, stage: str, data: Dataset, samples: Samples, clip: ClipSpec) -> None:
        self.close()
        rate = "their own frame rate" if clip.fps is None else f"{clip.fps:g} frames a second"
        lengths = ", ".join(str(each.span) for each in clip.at_scales)
        _say(
            f"{stage}: {counts(samples)}; {clip.frames} frames of each window of {lengths} at {rate}"
        )

    def start(self, plan: Plan, trainer: Trainer) -> None:
        from featx.training.progress import TrainingProgress

        for note in plan.notes:
            _say(f"note: {note}")
        row, state = plan.recipe, trainer.state
        _say(
            f"{plan.settings.model} from {plan.start['name']}: recipe {plan.recipe_name}, batch {row.batch}, lr {row.lr:g},"
            f" {_counted(trainer.steps, 'update')}, {_counted(trainer.epochs, 'epoch')}"
            f"{f'; continues after update {state.step}' if 0 < state.step < trainer.steps else ''}"
            f"{'; finished before' if state.step == trainer.steps else ''}"
        )
        self._bar = TrainingProgress()
        self._bar.start(trainer.steps, state.step)

    def progress(self, now: Progress) -> None:
        if self._bar is not None:
            self._bar(now)

    def close(self) -> None:
        self._indexing.close()
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def counts(samples: Samples) -> str:
    """Return how many samples of which kind a network is trained on."""
    return (
        f"{_counted(samples.total, 'sample')}: {_counted(samples.trimmed, 'trimmed video')},"
        f" {_counted(samples.windows, 'window')} of actions,"
        f" {samples.background:,} of {_counted(samples.candidates, 'background window')}"
    )


def _text(report: NetworksReport) -> Text:
    rows = [f"note: {note}" for note in report.notes]
    for each in report.networks:
        epochs = _counted(each.report.epochs, "epoch")
        rows.append(
            f"{each.checkpoint}: {each.report.updates}, {epochs} in all; {counts(each.samples)}"
        )
        rows += [f"note: {each.stage}: {note}" for note in each.report.notes]
        rows += [
            f"replaced {_counted(n, 'time')} by another sample: {name}: {with_flags(why)}"
            for name, why, n in each.report.replaced
        ]
    return joined(_wrapped(row) for row in rows)


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _wrapped(line: str) -> Text:
    """Return a line as several of 100 columns; names stay whole."""
    return Text(
        textwrap.fill(
            visible(line),
            100,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _say(line: str) -> None:
    echo(_wrapped(line), err=True)
