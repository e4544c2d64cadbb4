"""Features of a dataset for a command: those that are given, found, or extracted now, with a word about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.errors import UsageError
from featx.extraction.progress import Progress

if TYPE_CHECKING:
    from featx.extraction.extract import Report
    from featx.extraction.provide import Provided
    from featx.extraction.settings import Machine


def provide(
    dataset: str,
    features: Sequence[str],
    *,
    root: str | None = None,
    holdout: float = 0.2,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    machine: Machine | None = None,
) -> list[str]:
    """Return the feature files to use: those given, or the dataset's own, extracted first where there is none."""
    from featx.extraction.provide import dataset_features

    def find(**asked: Any) -> Provided:
        return dataset_features(dataset, root=root, holdout=holdout, **asked)

    return _provide(find, features, model=model, weights=weights, layers=layers, machine=machine)


def provide_aslan(
    features: Sequence[str],
    *,
    root: str | None = None,
    view: int = 2,
    partial: bool = False,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    machine: Machine | None = None,
) -> list[str]:
    """Return the feature files to use: those given, or ASLAN's own, extracted first where there is none."""
    from featx.extraction.provide import aslan_features

    def find(**asked: Any) -> Provided:
        return aslan_features(root=root, view=view, partial=partial, **asked)

    return _provide(find, features, model=model, weights=weights, layers=layers, machine=machine)


def _provide(
    find: Callable[..., Provided],
    features: Sequence[str],
    *,
    model: str | None,
    weights: str | None,
    **asked: Any,
) -> list[str]:
    """Return the feature files that are given, or what `find` finds or extracts, with a word about it."""
    lacking = [path for path in features if not Path(path).exists()]
    if features and not (lacking and len(features) == 1 and model is not None):
        if lacking:
            raise UsageError(
                f"{lacking[0]} is not there: give a feature file, or name the --model to extract it with"
            )
        if model is not None or weights is not None:
            raise UsageError(
                "--model and --weights say whose features to extract, and --features has them: leave one out"
            )
        return list(features)
    progress = Progress()

    def begin(report: Report) -> None:
        click.echo(
            f"extracting features of {report.total} videos to {report.out}: stop and run again at will",
            err=True,
        )
        progress.start(report)

    try:
        found = find(
            model=model,
            weights=weights,
            out=features[0] if features else None,
            hooks=replace(progress.hooks, on_start=begin),
            **asked,
        )
    finally:
        progress.close()
    if found.report is None:
        click.echo(f"features: {found.path}", err=True)
    else:
        for path, reason in found.report.failures:
            click.echo(f"failed: {path}: {reason}", err=True)
    return [str(found.path)]
