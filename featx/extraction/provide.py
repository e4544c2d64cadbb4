"""What a task needs of videos: a dataset's features, found beside it or extracted first, and scores of their windows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from featx.datasets import about, all_items, aslan
from featx.errors import FeatxError, UsageError
from featx.extraction.extract import Report, extract
from featx.extraction.settings import Hooks, Machine, Settings
from featx.store.reader import FeatureStore
from featx.system.files import check_target, sha256_of
from featx.video.source import find_videos

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
    machine: Machine | None = None,
    hooks: Hooks | None = None,
) -> Provided:
    """Return a dataset's feature file: the one beside it, or one that is extracted there from all of its videos now.

    name_or_path, root, holdout: as for `featx.load_dataset`; beside it is `featx.datasets.about(...).beside("features")`.
    model, weights: whose features; by default those of the one file that is there, or res3d's own. layers: that the file has to
    have. out: another place for what is extracted. machine: for extracting.
    hooks: as for `featx.extract`, called only if there is something to extract.
    An extraction that was interrupted is continued. Raises UsageError where several files fit, or a file lacks a layer or
    is by another checkpoint of the same name.
    """
    dataset = about(name_or_path, root=root, holdout=holdout)

    def videos() -> list[str]:
        paths = [item.path for item in all_items(name_or_path, root=root, holdout=holdout)]
        if not paths:
            raise UsageError(f"{os.fspath(name_or_path)} has no videos that are there: get them")
        return paths

    return _features_in(
        dataset.beside(FOLDER),
        videos,
        dataset.folder,
        Settings(
            model=model or "res3d",
            weights=weights,
            layers=layers,
            machine=machine or Machine(),
        ),
        any_model=model is None,
        out=out,
        hooks=hooks or Hooks(),
    )


def aslan_features(
    *,
    root: str | os.PathLike[str] | None = None,
    view: int = 2,
    partial: bool = False,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    machine: Machine | None = None,
    hooks: Hooks | None = None,
) -> Provided:
    """Return ASLAN's feature file: the one beside it, or one that is extracted there from all of its samples now.

    root: where its official files lie, by default its folder in $FEATX_DATA. partial: extract the samples that are there, though
    the view's pairs have others; else FeatxError names those, before anything is extracted. The rest as for `dataset_features`.
    """
    base = aslan.folder_of(root)

    def videos() -> list[str]:
        pairs = aslan.read_pairs(root, view=view)
        there = aslan.videos_of(root)
        if pairs.absent and (not partial or not there):
            named = ", ".join(pairs.absent[:3]) + (" …" if pairs.absent[3:] else "")
            remedy = ", or go on with those that are there with --partial" if there else ""
            raise FeatxError(
                f"{len(pairs.absent)} of {len(pairs.samples)} samples that ASLAN's pairs have are not in {base} ({named}):"
                f" get them{remedy}"
            )
        return list(there.values())

    return _features_in(
        base / FOLDER,
        videos,
        base,
        Settings(
            model=model or "res3d",
            weights=weights,
            layers=layers,
            machine=machine or Machine(),
        ),
        any_model=model is None,
        out=out,
        hooks=hooks or Hooks(),
    )


def videos_by_id(inputs: Sequence[str], *, root: str | None = None) -> dict[str, str]:
    """Return the videos that inputs come to, as `featx.extract` takes them: path by id, sorted."""
    return {source.id: source.path for source in find_videos(inputs, root=root).sources}


def _features_in(
    folder: Path,
    videos: Callable[[], Sequence[str]],
    videos_folder: Path,
    asked: Settings,
    *,
    any_model: bool,
    out: str | os.PathLike[str] | None,
    hooks: Hooks,
) -> Provided:
    """Return the one feature file in a folder that is as asked, or extract the videos' there.

    videos: their paths; called, and only then has to succeed, where there is something to extract.
    videos_folder: ids are relative to it. any_model: `asked.model` is only what to extract, a file of another one fits too.
    """
    own = folder / _name(asked.architecture, asked.weights)
    model = None if any_model else asked.architecture
    there = [] if out is not None else sorted(folder.glob(f"*{SUFFIX}"))
    fitting = [path for path in there if _fits(path, model, own, asked.weights)]
    if len(fitting) > 1:
        fitting = [path for path in fitting if _has(path, asked.layers)] or fitting
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        raise UsageError(
            f"{folder} has several feature files that fit ({names}): say which with --features"
        )
    target = fitting[0] if fitting else own if out is None else Path(out)
    if target.exists():
        _check_made_by(target, model, asked.weights)
        _check_layers(target, asked.layers)
        return Provided(path=target)
    check_target(target, example=own.name)
    paths = videos()
    # The dataset's own folder, unless videos lie elsewhere: an id must not depend on which of them are there.
    base = os.path.commonpath(
        [os.path.abspath(path) for path in (*paths, str(videos_folder / "any"))]
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    return Provided(
        path=target, report=extract(paths, target, settings=asked, root=base, hooks=hooks)
    )


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


def _has(path: Path, layers: Sequence[str] | None) -> bool:
    """Return whether a file is a feature file that has the layers."""
    try:
        _check_layers(path, layers)
    except UsageError:
        return False
    return True


def _check_made_by(path: Path, model: str | None, weights: str | None) -> None:
    """Raise UsageError for a file of another model or other weights: two checkpoints may have the same name."""
    with FeatureStore(path) as store:
        made_by, found = store.settings.model.name, store.settings.weights
    elsewhere = (
        f"extract to another file, such as with --features NEW{SUFFIX} --model {model or made_by}"
    )
    if model not in (None, made_by):
        raise UsageError(f"{path} has features of {made_by}, not of {model}: {elsewhere}")
    if weights is None or (weights in (found.name, found.file) and not os.path.isfile(weights)):
        return
    if os.path.isfile(weights):
        with open(weights, "rb") as file:
            digest = sha256_of(file)
        if digest == found.sha256:
            return
    raise UsageError(
        f"{path} has features by other weights, {found.file or found.name}, not by {weights}: {elsewhere}"
    )


def _check_layers(path: Path, layers: Sequence[str] | None) -> None:
    with FeatureStore(path) as store:
        lacking = [layer for layer in layers or () if layer not in store.layers]
    if lacking:
        raise UsageError(
            f"{path} has {', '.join(store.layers)}, not {', '.join(lacking)}:"
            f" choose another layer, or another file with --features; one that is not there, such as NEW{SUFFIX}, is extracted if"
            " --model is given"
        )
