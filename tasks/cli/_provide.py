"""Features of a dataset for a command: those that are given, found, or extracted now, with a word about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.errors import UsageError
from featx.terminal import Progress

if TYPE_CHECKING:
    from featx.extraction import Report


def provide(
    dataset: str,
    features: Sequence[str],
    *,
    root: str | None = None,
    holdout: float = 0.2,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> list[str]:
    """Return the feature files to use: those given, or the dataset's own, extracted first where there is none."""
    from featx.features import dataset_features

    lacking = [path for path in features if not Path(path).exists()]
    if features and not (lacking and len(features) == 1 and model is not None):
        if lacking:
            raise UsageError(f"{lacking[0]} is not there: give a feature file, or name the --model to extract it with")
        if model is not None or weights is not None:
            raise UsageError("--model and --weights say whose features to extract, and --features has them: leave one out")
        return list(features)
    progress = Progress()

    def begin(report: Report) -> None:
        click.echo(f"extracting features of {report.total} videos to {report.out}: stop and run again at will", err=True)
        progress.start(report)

    try:
        found = dataset_features(
            dataset,
            root=root,
            holdout=holdout,
            model=model,
            weights=weights,
            layers=layers,
            out=features[0] if features else None,
            device=device,
            workers=workers,
            on_start=begin,
            on_progress=progress,
            on_publish=progress.publish,
        )
    finally:
        progress.close()
    if found.report is None:
        click.echo(f"features: {found.path}", err=True)
    else:
        for path, reason in found.report.failures:
            click.echo(f"failed: {path}: {reason}", err=True)
    return [str(found.path)]
