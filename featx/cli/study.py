"""The command that reruns the papers' comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli.messages import echo, with_flags
from featx.cli.options import (
    INTERRUPTED,
    crop_option,
    dataset_options,
    fields,
    json_option,
    run_options,
)
from featx.errors import UsageError
from featx.system.text import joined, json_text

if TYPE_CHECKING:
    from featx.datasets import DatasetRef
    from featx.training import RunOptions


@click.command()
@click.argument("name", required=False)
@click.argument("out", required=False)
@dataset_options(
    click.option("--dataset", help="ucf101, hmdb51, kinetics, ...; a folder of classes; or a csv.")
)
@click.option(
    "--rows", help="Comma-separated rows to do; all. Those done before stay in the table."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Replace a field of every row's recipe.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[ROW=]FILE",
    help="What rows start from that the paper fine-tunes, or fills with ImageNet weights; none starts from nothing.",
)
@click.option(
    "--list",
    "lists",
    is_flag=True,
    help="Show the studies, or NAME's rows with the paper's figures, and exit.",
)
@crop_option
@run_options
@json_option
def study(
    name: str | None,
    out: str | None,
    dataset: DatasetRef | None,
    rows: str | None,
    overrides: tuple[str, ...],
    weights: tuple[str, ...],
    lists: bool,
    crop: int | None,
    run: RunOptions,
    as_json: bool,
) -> int:
    """Rerun the comparison NAME of a paper on a dataset, and set its accuracies beside the paper's.

    Every row is trained by the paper's recipe into OUT/ROW, and evaluated by the paper's protocol; OUT/results.csv, .txt
    and .png are written anew after each. Killed or interrupted, the same command continues. A row that fails is told,
    and the others go on. The table says whether its accuracies can be compared with the paper's.

    \b
    tran2017-search        2D and 3D ResNets, strides, resolutions, convolutions, depths (tables 3 to 7)
    hara2018-augmentation  five ways to crop training clips (tables II and III)
    hara2018-freezing      fine-tuning above conv1 ... conv5 (figure 2)
    semi-cnn               3D-CNNs against semi-CNNs (table 3)
    asymmetric             asymmetric convolutions and MicroNets (tables 2, 3 and 4)

    Exit status: 0 all done, 1 some rows failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      featx study tran2017-search --list
      featx study tran2017-search --dataset ucf101 runs/search
      featx study hara2018-freezing --dataset hmdb51 --weights kinetics.safetensors runs/freezing
      featx study asymmetric --dataset ucf101 --rows c3d-b5,b5-asyconv5 --set duration=5 runs/asymmetric
    """
    from featx.study import (
        StudySettings,
        as_text,
        listed,
        overview,
        run_study,
        study_named,
        to_json,
    )

    if lists:
        echo(listed(study_named(name)) if name is not None else overview())
        return 0
    if name is None or out is None or dataset is None:
        raise UsageError(
            "give the study's name, --dataset and a folder for the results, or --list to see the studies"
        )
    given = StudySettings(
        study=name,
        dataset=dataset,
        rows=tuple(row.strip() for row in rows.split(",")) if rows is not None else None,
        overrides=fields(overrides),
        weights=dict(_weights(text) for text in weights),
        crop=crop,
        run=run,
    )
    watcher = _watcher()
    try:
        report = run_study(given, out, watcher=watcher)
    except KeyboardInterrupt:
        watcher.close()
        echo("interrupted: run the same command again to continue", err=True)
        return INTERRUPTED
    finally:
        watcher.close()
    echo(json_text(to_json(report)) if as_json else joined(["", with_flags(as_text(report))]))
    echo(f"{out}: {', '.join(sorted(path.name for path in Path(out).glob('results.*')))}", err=True)
    return 1 if report.failures else 0


def _weights(text: str) -> tuple[str, str]:
    row, equals, file = text.partition("=")
    return (row, file) if equals else ("", text)


def _watcher() -> Any:
    """Return what prints a study's progress; made here, for its base is heavy to import."""
    from featx.extraction.progress import Progress
    from featx.study import Entry, Row, Watcher
    from featx.training.loop import Trainer
    from featx.training.progress import TrainingProgress

    class Printer(Watcher):
        def __init__(self) -> None:
            self._training, self._evaluating = TrainingProgress(), Progress()

        def close(self) -> None:
            self._training.close()
            self._evaluating.close()

        def row(self, row: Row, number: int, of: int) -> None:
            self.close()
            self._training, self._evaluating = TrainingProgress(), Progress()
            options = f" ({row.options})" if row.options else ""
            echo(f"row {number}/{of}, {row.name}: {row.model}{options}", err=True)

        def training(self, plan: Any, trainer: Trainer) -> None:
            state = trainer.state
            if state.step:
                echo(f"continues after update {state.step} of {trainer.steps}", err=True)
            self._training.start(trainer.steps, state.step)

        def trained(self, progress: Any) -> None:
            self._training(progress)

        def validated(self, epoch: int, found: Any) -> None:
            self._training.validated(epoch, found)

        def evaluating(self, report: Any) -> None:
            self._training.close()
            self._evaluating.start(report)

        def evaluated(self, stats: Any) -> None:
            self._evaluating(stats)

        def ended(self, entry: Entry) -> None:
            self.close()
            found = entry.result
            text = (
                f"failed: {entry.failure}"
                if found is None
                else f"{found.accuracy:.1f} % of {found.videos} videos"
            )
            echo(f"{entry.row.name}: {with_flags(text)}", err=True)

    return Printer()
