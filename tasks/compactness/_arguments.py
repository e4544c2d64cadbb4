"""What compactness was asked for, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from featx.errors import UsageError
from featx.extraction.projection import SUFFIX
from featx.system.files import check_target
from featx.tasks.features import Features, Files, Given
from featx.tasks.linear import check_C, check_installed
from featx.tasks.splits import Split

Path_ = str | os.PathLike[str]


def paired(given: Sequence[Given], layers: Sequence[str], files: Files) -> list[Features]:
    """Return each curve's features, opened: a layer of each of the files, or several layers of one file."""
    if not given:
        raise UsageError("no feature files: give at least one")
    if len(given) == 1 and layers:
        return [files.open(given[0], layer) for layer in layers]
    own = [files.has_layers(each) for each in given]
    if len(layers) not in (0, 1, sum(own)):
        raise UsageError(
            f"{len(layers)} layers of {sum(own)} feature files: give a layer for each, or one for all"
        )
    left = iter(layers if len(layers) == sum(own) else list(layers) * sum(own))
    return [
        files.open(each, next(left, None) if its_own else None)
        for each, its_own in zip(given, own, strict=True)
    ]


def checked_dims(dims: Sequence[int]) -> list[int]:
    """Return numbers of dimensions in order, each once."""
    if not dims or min(dims) < 1:
        raise UsageError(
            f"dims is {', '.join(map(str, dims)) or 'empty'}: give whole numbers from 1"
        )
    return sorted(set(dims))


def check_request(
    splits: Sequence[Split],
    *,
    dims: Sequence[int],
    C: float,
    curves: int,
    save: Path_ | None = None,
) -> None:
    """Raise UsageError for what no features can make right; curves: how many there are to be."""
    check_installed()
    checked_dims(dims)
    check_C(C)
    if save is None:
        return
    path = Path(save)
    if path.suffix != SUFFIX:
        raise UsageError(f"cannot save a projection to {path}: give a name that ends in {SUFFIX}")
    if curves > 1 or len(set(dims)) > 1:
        what = (
            f"{curves} feature files or layers"
            if curves > 1
            else f"{len(set(dims))} numbers of dimensions"
        )
        raise UsageError(
            f"a projection is of one layer to one number of dimensions, not of {what}: give one, such as `dims=[300]`"
        )
    if len(splits) > 1:
        raise UsageError(
            f"{splits[0].test.name} has {len(splits)} splits and a projection is of one: say which with `split`"
        )
    check_target(path, example=f"pca{dims[0]}{SUFFIX}")


def check_savable(features: Features) -> None:
    """Raise UsageError for rows of which no projection can be saved, for nobody could tell what it fits."""
    if features.settings is None or features.layer is None:
        raise UsageError(
            f"{features.path} does not say how its rows were made: save a projection of a feature file's rows"
        )
    if (
        features.settings.projection is not None
        and features.settings.projection.layer == features.layer
    ):
        raise UsageError(
            f"{features.path} has {features.layer} projected already: save a projection of the layer's own rows"
        )
