"""A dataset's features: found beside it, or extracted first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from featx.datasets import about, all_items
from featx.errors import UsageError
from featx.extraction import Report, Settings, extract

if TYPE_CHECKING:
    from featx.engine import Stats

FOLDER = "features"
SUFFIX = ".h5"


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A dataset's feature file. report: of the extraction that made it; None where it was there."""

    path: Path
    report: Report | None = None


def dataset_features(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    holdout: float = 0.2,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    on_start: Callable[[Report], None] | None = None,
    on_progress: Callable[[Stats], None] | None = None,
    on_publish: Callable[[int, int], None] | None = None,
) -> Provided:
    """Return a dataset's feature file: the one beside it, or one that is extracted there from all of its videos now.

    name_or_path, root, holdout: as for `featx.load_dataset`; beside it is `featx.datasets.about(...).beside("features")`.
    model, weights: whose features; by default those of the one file that is there, or res3d's own. layers: that the file has to
    have. out: another place for what is extracted. device, workers: as in `featx.Settings`, for extracting.
    on_start, on_progress, on_publish: as for `featx.extract`, called only if there is something to extract.
    An extraction that was interrupted is continued. Raises UsageError where several files fit, or a file lacks a layer.
    """
    dataset = about(name_or_path, root=root, holdout=holdout)
    folder = dataset.beside(FOLDER)
    own = folder / _name(model or "res3d", weights)
    fitting = [] if out is not None else [path for path in sorted(folder.glob(f"*{SUFFIX}")) if _fits(path, model, own, weights)]
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        raise UsageError(f"{folder} has several feature files that fit ({names}): say which with --features")
    if fitting:
        _check_layers(fitting[0], layers)
        return Provided(path=fitting[0])
    target = Path(out) if out is not None else own
    if target.exists():
        _check_layers(target, layers)
        return Provided(path=target)
    asked = Settings(model=model or "res3d", weights=weights, layers=layers, device=device, workers=workers)
    paths = [item.path for item in all_items(name_or_path, root=root, holdout=holdout)]
    if not paths:
        raise UsageError(f"{os.fspath(name_or_path)} has no videos that are there: get them")
    # The dataset's own folder, unless videos lie elsewhere: an id must not depend on which of them are there.
    base = os.path.commonpath([os.path.abspath(path) for path in (*paths, str(dataset.folder / "any"))])
    target.parent.mkdir(parents=True, exist_ok=True)
    report = extract(paths, target, asked, root=base, on_start=on_start, on_progress=on_progress, on_publish=on_publish)
    return Provided(path=target, report=report)


def _name(model: str, weights: str | None) -> str:
    return (model if weights is None else f"{model}-{Path(weights).stem}") + SUFFIX


def _fits(path: Path, model: str | None, own: Path, weights: str | None) -> bool:
    """Return whether a feature file is of the model and weights that were asked for; any is where none were."""
    if weights is not None:
        return path == own
    if model is None:
        return True
    try:
        with h5py.File(path, "r") as file:
            return bool(json.loads(file.attrs["model"])["name"] == model)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _check_layers(path: Path, layers: Sequence[str] | None) -> None:
    from featx.store import FeatureStore

    with FeatureStore(path) as store:
        lacking = [layer for layer in layers or () if layer not in store.layers]
    if lacking:
        raise UsageError(
            f"{path} has {', '.join(store.layers)}, not {', '.join(lacking)}:"
            " choose another layer, or another file with --features"
        )
