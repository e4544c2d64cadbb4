"""`featx svm`: a linear SVM for each split or fold of a dataset, tested on its other side."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Hashable, Sequence
from functools import partial as bound
from pathlib import Path

import numpy as np

from featx.datasets import DatasetLists, Item
from featx.errors import UsageError
from featx.store.reader import FeatureStore
from featx.system.files import check_target, keep_inputs
from featx.tasks.features import Features, Files, Given, listed, path_of
from featx.tasks.folds import group_of, load_folds
from featx.tasks.linear import C as DEFAULT_C
from featx.tasks.linear import Rows, check_C, check_installed
from featx.tasks.recognition._classifier import FUSIONS, fit_classifier
from featx.tasks.recognition._model_file import Model, write_model
from featx.tasks.recognition._paper import is_whole, printed
from featx.tasks.recognition._result import Origin, SplitResult, SvmResult
from featx.tasks.splits import (
    AnyDataset,
    Split,
    check_split,
    labels_of,
    load_splits,
)
from featx.tasks.tuning import TUNED

# In a path, the split's number.
PLACEHOLDER = "{split}"
# As `featx.load_dataset`'s.
HOLDOUT = 0.2


def svm(
    dataset: AnyDataset,
    features: Given | Sequence[Given],
    *,
    layers: str | Sequence[str] | None = None,
    split: int | None = None,
    folds: int | None = None,
    C: float | str = DEFAULT_C,
    fusion: str = "concat",
    root: str | os.PathLike[str] | None = None,
    partial: bool = False,
    holdout: float = HOLDOUT,
    allow_trained_on: bool = False,
    save: str | os.PathLike[str] | None = None,
    on_step: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SvmResult:
    """Train and test a linear SVM on video-level features, on every split of a dataset (Res3D paper, section 5.1).

    A video's features are the mean over its clips, L2-normalised; one class against the rest.

    dataset, root, partial, holdout: as for `featx.load_dataset`, or `featx.datasets.DatasetLists`; split: one of its splits, all
    of them by default.
    folds: cross-validate instead over all of its videos, each tested once, in so many parts that share no group
    (`featx.tasks.folds.load_folds`).
    features: feature files, open ones too, or other libraries' files (`featx.tasks.open_features`); "{split}" in a path is the
    split's number.
    layers: one for all feature files, or one for each; the files' first by default.
    C: a number, or "cv" to choose it in the training set, by cross-validation that keeps groups together.
    fusion: of several features, "concat" (one after the other, each L2-normalised) or "scores" (the mean of an SVM's on each).
    allow_trained_on: go on where a checkpoint was trained on a split's test videos, and say so.
    save: where to write the model, with "{split}" in it where there are several splits. on_step: called with what comes next.
    on_progress: called with (rows of videos read, rows in all).
    Raises UsageError for wrong arguments, FeatxError for videos without features and sides that are no measurement
    (`featx.tasks.splits.check_split`).
    """
    number = _number(C)
    given = listed(features)
    if not given:
        raise UsageError("no features: give a feature file")
    if folds is not None and any(PLACEHOLDER in path_of(each) for each in given):
        raise UsageError(
            f"{PLACEHOLDER} in a feature file's path is a split's number, and folds are none: name one file for all"
        )
    splits, targets = check(dataset, C=C, fusion=fusion, split=split, folds=folds, root=root, partial=partial,
                            holdout=holdout, save=save)  # fmt: skip
    place = dataset.about.folder if isinstance(dataset, DatasetLists) else dataset
    for each, target in zip(splits, targets, strict=True):
        if target is not None:
            keep_inputs(target, [place, *(path_of(_expanded(one, each)) for one in given)])
    with Files() as files:
        names = [layers] if isinstance(layers, str) else list(layers or ())
        opened = [_open([_expanded(one, each) for one in given], names, files) for each in splits]
        notes = [
            _checked(each, sources, allow=allow_trained_on)
            for each, sources in zip(splits, opened, strict=True)
        ]
        total = sum(
            len(sources) * (len(each.train.items) + len(each.test.items))
            for each, sources in zip(splits, opened, strict=True)
        )
        read = itertools.count(1)

        def on_row() -> None:
            if on_progress is not None:
                on_progress(next(read), total)

        results = []
        for each, sources, told, target in zip(splits, opened, notes, targets, strict=True):
            if on_step:
                on_step(
                    f"{each.title}: {len(each.train.items)} videos to train on, {len(each.test.items)} to test"
                )
            results.append(
                _fitted(
                    each, sources, C=number, fusion=fusion, notes=told, target=target, on_row=on_row
                )
            )
    told_of_all = dict.fromkeys(note for told in notes for note in told)
    return SvmResult(
        dataset=splits[0].test.called,
        fusion=fusion,
        tuned=number is None,
        splits=tuple(results),
        folds=folds,
        paper=printed(splits, results),
        notes=tuple(told_of_all),
    )


def check(
    dataset: AnyDataset,
    *,
    C: float | str = DEFAULT_C,
    fusion: str = "concat",
    split: int | None = None,
    folds: int | None = None,
    root: str | os.PathLike[str] | None = None,
    partial: bool = False,
    holdout: float = HOLDOUT,
    save: str | os.PathLike[str] | None = None,
) -> tuple[list[Split], list[Path | None]]:
    """Raise what `svm` would before it opens features, which may take hours to extract; return splits and models' paths."""
    check_installed()
    if fusion not in FUSIONS:
        raise UsageError(f"fusion is {fusion!r}: give {' or '.join(FUSIONS)}")
    _number(C)
    if folds is None:
        splits = load_splits(dataset, root=root, split=split, partial=partial, holdout=holdout)
    else:
        _check_folds(folds, split=split, holdout=holdout, save=save)
        splits = load_folds(dataset, folds, root=root, partial=partial)
    targets = _targets(save, splits)
    for each in splits:
        check_split(each, [])
    return splits, targets


def _check_folds(
    folds: int, *, split: int | None, holdout: float, save: str | os.PathLike[str] | None
) -> None:
    if split is not None:
        raise UsageError(
            f"`split={split}` is one of the dataset's own splits, and `folds={folds}` divides it anew: leave one out"
        )
    if holdout != HOLDOUT:
        raise UsageError(
            f"`holdout={holdout:g}` is for a test side, and `folds={folds}` tests every video: leave one out"
        )
    if save is not None:
        raise UsageError(
            f"the {folds} SVMs of a cross-validation are there to be counted, not kept: leave `save` or `folds` out"
        )


def _number(C: float | str) -> float | None:
    """Return C as a number; None is for choosing it."""
    if C == TUNED:
        return None
    try:
        number = float(C)
    except ValueError:
        raise UsageError(f"C is {C!r}: give a number above 0, or {TUNED}") from None
    check_C(number)
    return number


def _targets(save: str | os.PathLike[str] | None, splits: Sequence[Split]) -> list[Path | None]:
    """Return where each split's model goes, checked before any work."""
    if save is None:
        return [None] * len(splits)
    if len(splits) > 1 and PLACEHOLDER not in os.fspath(save):
        name = Path(save)
        better = name.with_name(f"{name.stem}-{PLACEHOLDER}{name.suffix}")
        raise UsageError(
            f"{len(splits)} splits give as many models, and {name} names one: give `split`, or save to {better}"
        )
    targets: list[Path | None] = []
    for each in splits:
        target = Path(os.fspath(save).replace(PLACEHOLDER, str(each.test.split)))
        if target.suffix.lower() != ".npz":
            raise UsageError(f"cannot save a model to {target}: give a name that ends in .npz")
        check_target(target, example="svm.npz")
        targets.append(target)
    return targets


def _expanded(features: Given, split: Split) -> Given:
    if isinstance(features, FeatureStore):
        return features
    return str(features).replace(PLACEHOLDER, str(split.test.split))


def _open(given: Sequence[Given], layers: Sequence[str], files: Files) -> list[Features]:
    """Return features, opened: of each file its layer."""
    own = [files.has_layers(each) for each in given]
    if len(layers) not in (0, 1, sum(own)):
        raise UsageError(
            f"{len(layers)} layers ({', '.join(layers)}) for {sum(own)} feature files: give one for all of them, or one for each"
        )
    if layers and not any(own):
        raise UsageError(
            f"layer is {layers[0]!r}, and {path_of(given[0])} has no layers: leave it out"
        )
    left = iter(layers if len(layers) != 1 else [layers[0]] * sum(own))
    return [
        files.open(each, next(left, None) if is_own else None)
        for each, is_own in zip(given, own, strict=True)
    ]


def _checked(split: Split, sources: Sequence[Features], *, allow: bool) -> list[str]:
    """Return what the user should be told of a split; raise where its accuracy would be none."""
    for source in sources:
        source.find([*split.train.items, *split.test.items], dataset=split.test.name)
    notes = check_split(split, sources, allow_trained_on=allow)
    for source in sources:
        if source.settings is not None and source.settings.weights.name == "random":
            notes.append(f"{source.title}: features of an untrained network")
    return notes


def _fitted(
    split: Split,
    sources: Sequence[Features],
    *,
    C: float | None,
    fusion: str,
    notes: Sequence[str],
    target: Path | None,
    on_row: Callable[[], None],
) -> SplitResult:
    name, train, test = split.test.name, split.train.items, split.test.items

    def rows(source: Features, items: Sequence[Item]) -> Rows:
        return source.rows(items, dataset=name, on_row=on_row)

    classifier = fit_classifier(
        [bound(rows, source, train) for source in sources],
        labels_of(train),
        [_group(item, split) for item in train],
        C=C,
        fusion=fusion,
        classes=split.classes,
    )
    scores = np.zeros((len(test), len(split.classes)))
    for place, source in enumerate(sources):
        scores += classifier.scores(place, rows(source, test))
    result = SplitResult(
        split=split.test.split,
        title=split.title,
        classes=split.classes,
        trained=len(train),
        ids=tuple(item.id for item in test),
        labels=labels_of(test),
        also=tuple(item.also for item in test),
        scores=scores,
        classifier=classifier,
        origins=tuple(
            Origin(path=str(s.path), layer=s.layer, dims=s.dims, title=s.title, settings=s.settings)
            for s in sources
        ),
        absent=(split.train.absent, split.test.absent),
        official=is_whole(split),
        notes=tuple(notes),
        saved=None if target is None else str(target),
    )
    if target is not None:
        write_model(target, Model.of(result))
    return result


def _group(item: Item, split: Split) -> Hashable:
    """Return what stays together where C is chosen: as it does in the split itself."""
    return (
        group_of(item)
        if split.folds is not None or item.group is None
        else (item.label, item.group)
    )
