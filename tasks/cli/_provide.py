"""Features of a dataset for a command: those that are given, found, or extracted now, with a word about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featx.cli.messages import echo, with_flags
from featx.errors import UsageError
from featx.extraction.progress import Progress

if TYPE_CHECKING:
    from featx.extraction.extract import Report
    from featx.extraction.provide import Provided, Wanted
    from featx.tasks.features import Given


@contextmanager
def provided(
    features: Sequence[str], wanted: Wanted, find: Callable[..., Provided]
) -> Iterator[list[Given]]:
    """Give the features to use: the files that are given, or the one file that `find` finds or extracts, open.

    find: called with what is wanted, and `out` and `hooks` of `featx.extraction.provide.dataset_features`.
    """
    if _are_there(features, wanted):
        yield list(features)
        return
    progress = Progress()

    def begin(report: Report) -> None:
        echo(
            f"extracting features of {report.total} videos to {report.out}: stop and run again at will",
            err=True,
        )
        progress.start(report)

    try:
        hooks = replace(progress.hooks, on_start=begin)
        found = find(wanted, out=features[0] if features else None, hooks=hooks)
    finally:
        progress.close()
    with found:
        if found.report is None:
            echo(f"features: {found.path}", err=True)
        else:
            for path, reason in found.report.failures:
                echo(f"failed: {path}: {with_flags(reason)}", err=True)
        yield [found.store]


def _are_there(features: Sequence[str], wanted: Wanted) -> bool:
    """Return whether the features that are given are all there is to use; UsageError where that makes no sense."""
    lacking = [path for path in features if not Path(path).exists()]
    if not features or (lacking and len(features) == 1 and wanted.model is not None):
        return False
    if lacking:
        raise UsageError(
            f"{lacking[0]} is not there: give a feature file, or name the --model to extract it with"
        )
    if wanted.model is not None or wanted.weights is not None:
        raise UsageError(
            "--model and --weights say whose features to extract, and --features has them: leave one out"
        )
    return True
