"""A dataset's features: the file that lies beside it, or one that is extracted there now."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from featx.datasets import DatasetLists
from featx.errors import UsageError
from featx.extraction.settings import Hooks, Machine, Settings
from featx.store.reader import FeatureStore
from featx.system.files import check_target, sha256_of

if TYPE_CHECKING:
    from featx.extraction.extract import Report

FOLDER = "features"
SUFFIX = ".h5"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose features are wanted.

    Attributes:
        model: A registered name. None takes any model's file that is there, and extracts with res3d where there is none.
        weights: A registered checkpoint, a file, or "random". None is the model's own.
        layers: Layers that the file has to have. None asks for none.
        machine: How the machine is used, if there is something to extract.
    """

    model: str | None = None
    weights: str | None = None
    layers: Sequence[str] | None = None
    machine: Machine = field(default_factory=Machine)

    @property
    def settings(self) -> Settings:
        """What to extract with."""
        return Settings(
            model=self.model or "res3d",
            weights=self.weights,
            layers=self.layers,
            machine=self.machine,
        )


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A feature file, open; a context manager. report: of the extraction that made it; None where it was there."""

    store: FeatureStore
    report: Report | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.store.path

    def __enter__(self) -> Provided:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def dataset_features(
    dataset: str | os.PathLike[str] | DatasetLists,
    wanted: Wanted | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    hooks: Hooks | None = None,
) -> Provided:
    """Return a dataset's feature file: the one beside it, or one that is extracted there from all of its videos now.

    An extraction that was interrupted is continued.

    Args:
        dataset: A name or path, as for `featx.load_dataset`, or its lists. Beside it is `About.beside("features")`.
        wanted: Whose features.
        out: Another place for what is extracted.
        hooks: As for `featx.extract`, called only if there is something to extract.

    Raises:
        UsageError: Where several files fit, or a file lacks a layer or is by another checkpoint of the same name.
    """
    lists = dataset if isinstance(dataset, DatasetLists) else DatasetLists(dataset)
    about = lists.about

    def videos() -> Sequence[str]:
        paths = lists.videos()
        if not paths:
            which = about.name if about.official else about.folder
            raise UsageError(f"{which} has no videos that are there: get them")
        return paths

    return features_in(about.beside(FOLDER), videos, about.folder, wanted, out=out, hooks=hooks)


def features_in(
    folder: Path,
    videos: Callable[[], Sequence[str]],
    videos_folder: Path,
    wanted: Wanted | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    hooks: Hooks | None = None,
) -> Provided:
    """Return the one feature file in a folder that is as wanted, or extract the videos' there.

    Args:
        folder: Where feature files lie.
        videos: Gives the videos' paths. It is called, and has to succeed, only where there is something to extract.
        videos_folder: Folder that ids are relative to.
        wanted, out, hooks: As for `dataset_features`, which says what is raised, too.
    """
    wanted = wanted or Wanted()
    own = folder / _name(wanted)
    with _Opened() as opened:
        there = [] if out is not None else sorted(folder.glob(f"*{SUFFIX}"))
        fitting = [path for path in there if _fits(path, own, wanted, opened)]
        if len(fitting) > 1:
            fitting = [path for path in fitting if _has(path, wanted, opened)] or fitting
        if len(fitting) > 1:
            names = ", ".join(path.name for path in fitting)
            raise UsageError(
                f"{folder} has several feature files that fit ({names}): say which, `features='FILE'`"
            )
        target = fitting[0] if fitting else own if out is None else Path(out)
        if target.exists():
            _check_made_by(opened(target), wanted)
            _check_layers(opened(target), wanted)
            return Provided(store=opened.keep(target))
    from featx.extraction.extract import extract

    check_target(target, example=own.name)
    paths = videos()
    # The dataset's own folder, unless videos lie elsewhere: an id must not depend on which of them are there.
    base = os.path.commonpath(
        [os.path.abspath(path) for path in (*paths, str(videos_folder / "any"))]
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    report = extract(paths, target, settings=wanted.settings, root=base, hooks=hooks)
    return Provided(store=FeatureStore(target), report=report)


class _Opened:
    """Feature files by path, each opened once; at the end all are closed but one that is kept."""

    def __init__(self) -> None:
        self._stores: dict[Path, FeatureStore] = {}

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._stores.values():
            store.close()

    def __call__(self, path: Path) -> FeatureStore:
        """Return a file's store; raises UsageError where it is none."""
        if path not in self._stores:
            self._stores[path] = FeatureStore(path)
        return self._stores[path]

    def keep(self, path: Path) -> FeatureStore:
        """Return a file's store, which its new owner closes."""
        self(path)
        return self._stores.pop(path)


def _name(wanted: Wanted) -> str:
    model, weights = wanted.settings.architecture, wanted.weights
    return (model if weights is None else f"{model}-{Path(weights).stem}") + SUFFIX


def _fits(path: Path, own: Path, wanted: Wanted, opened: _Opened) -> bool:
    """Return whether a feature file is of the model and weights that are wanted; any is where none are."""
    if wanted.weights is not None:
        return path == own
    if wanted.model is None:
        return True
    try:
        return bool(opened(path).settings.model.name == wanted.model)
    except UsageError:
        return False


def _has(path: Path, wanted: Wanted, opened: _Opened) -> bool:
    """Return whether a file is a feature file that has the layers."""
    try:
        _check_layers(opened(path), wanted)
    except UsageError:
        return False
    return True


def _check_made_by(store: FeatureStore, wanted: Wanted) -> None:
    """Raise UsageError for a file of another model or other weights: two checkpoints may have the same name."""
    path, model, weights = store.path, wanted.model, wanted.weights
    made_by, found = store.settings.model.name, store.settings.weights
    elsewhere = f"extract to another file, such as `features={'NEW' + SUFFIX!r}` `model={model or made_by!r}`"
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


def _check_layers(store: FeatureStore, wanted: Wanted) -> None:
    lacking = [layer for layer in wanted.layers or () if layer not in store.layers]
    if lacking:
        raise UsageError(
            f"{store.path} has {', '.join(store.layers)}, not {', '.join(lacking)}:"
            f" choose another layer, or another file with `features`; one that is not there, such as NEW{SUFFIX}, is extracted if"
            " `model` is given"
        )
