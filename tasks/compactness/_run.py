"""Accuracy by number of dimensions: rows, PCA of the training side, linear SVMs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError
from featx.extraction.projection import Projection, write_projection
from featx.report import Accuracy
from featx.tasks.compactness._arguments import check_request, check_savable, checked_dims, paired
from featx.tasks.compactness._pca import Pca, Rows, fit_pca
from featx.tasks.compactness._result import PAPER, CompactResult, Curve, Point
from featx.tasks.features import Features, Files, Given, listed
from featx.tasks.linear import C as USUAL_C
from featx.tasks.splits import AnyDataset, Split, check_split, labels_of, load_splits

# Those of figure 3, and one more.
DIMS = (10, 50, 100, 200, 300, 500)
# The dataset that figure 3 is of.
PAPER_DATASET = "ucf101"

Bools = npt.NDArray[np.bool_]


def compact(
    dataset: AnyDataset,
    features: Given | Sequence[Given],
    *,
    layers: Sequence[str] | str | None = None,
    dims: Sequence[int] = DIMS,
    split: int | None = None,
    C: float = USUAL_C,
    normalise_again: bool = False,
    paper: bool | None = None,
    root: str | os.PathLike[str] | None = None,
    partial: bool = False,
    holdout: float = 0.2,
    allow_trained_on: bool = False,
    save: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> CompactResult:
    """Say how few dimensions a feature needs: accuracy of a linear SVM after PCA (Res3D paper, section 5.1, figure 3).

    Rows are a video's: the mean over its clips, L2-normalised. PCA is fitted on the training videos of a split alone. Accuracies
    are on its test videos, averaged over the splits.

    dataset, root, partial, holdout: as for `featx.load_dataset`, or `featx.datasets.DatasetLists`. features: feature files, open
    ones too, or another library's, a curve each.
    layers: one for each of the feature files, one for all of them, or several of one file; a file's first by default.
    dims: numbers of dimensions; those that cannot be had are left out, with a note. split: one alone, instead of all.
    normalise_again: bring projected rows to length 1 too. By default they stay as PCA leaves them, so that the SVM at as many
    dimensions as there are is the SVM of the rows themselves, and a curve shows what fewer dimensions cost, nothing else.
    paper: whether the paper's points belong beside these; None where the dataset is ucf101, and not a generated one.
    save: write the projection to the one number of `dims` to this .npz, for `featx.Settings(project=...)`; one file, layer and
    split. on_progress: called with (SVMs trained, SVMs in all).
    Raises UsageError for wrong arguments, FeatxError where a number would be no measurement (see `check_split`).
    """
    given, names = listed(features), [layers] if isinstance(layers, str) else list(layers or ())
    numbers = checked_dims(dims)
    splits = load_splits(dataset, root=root, split=split, partial=partial, holdout=holdout)
    with Files() as files:
        opened = paired(given, names, files)
        check_request(splits, dims=dims, C=C, curves=len(opened), save=save)
        if save is not None:
            check_savable(opened[0])
        notes = [
            note
            for each in splits
            for note in check_split(each, opened, allow_trained_on=allow_trained_on)
        ]
        run = _Run(
            splits,
            numbers,
            C,
            normalise_again,
            on_progress,
            save is not None,
            len(opened) * len(splits) * (len(numbers) + 1),
        )
        curves = [run.curve(each) for each in opened]
    if save is not None and run.pca is not None:
        _save(save, splits[0], run.pca, curves[0])
    beside = _is_papers(splits[0]) if paper is None else paper
    return CompactResult(
        dataset=splits[0].test.called,
        official=splits[0].official,
        splits=tuple(each.test.split for each in splits),
        videos=tuple((len(each.train.items), len(each.test.items)) for each in splits),
        absent=sum(side.absent for each in splits for side in (each.train, each.test)),
        classes=len(splits[0].classes),
        C=C,
        normalise_again=normalise_again,
        curves=tuple(_told_apart(curves)),
        paper=PAPER if beside else (),
        saved=None if save is None else os.fspath(save),
        notes=tuple(dict.fromkeys([*notes, *run.missing_notes()])),
    )


@dataclass
class _Run:
    """One run over curves and splits. saving: dimensions that cannot be had are an error. trained: SVMs so far. pca: the last."""

    splits: Sequence[Split]
    dims: list[int]
    C: float
    normalise_again: bool
    on_progress: Callable[[int, int | None], None] | None
    saving: bool
    total: int

    def __post_init__(self) -> None:
        self.missing: dict[str, list[str]] = {}
        self.trained = 0
        self.pca: Pca | None = None
        items = {
            item.id: item
            for split in self.splits
            for side in (split.train, split.test)
            for item in side.items
        }
        self._items = list(items.values())
        self._place = {video: place for place, video in enumerate(items)}
        # An interval of the splits' mean draws a video with its answers in all of them.
        tested = dict.fromkeys(item.id for split in self.splits for item in split.test.items)
        self._tested = {video: place for place, video in enumerate(tested)}

    def curve(self, features: Features) -> Curve:
        """Return one layer's accuracies at all numbers of dimensions."""
        rows = features.rows(
            self._items, dataset=self.splits[0].train.name
        )  # once: of three splits a video is in each
        full: list[Accuracy] = []
        projected: dict[int, list[tuple[Accuracy, float]]] = {number: [] for number in self.dims}
        for split in self.splits:
            train, test = (
                rows[[self._place[i.id] for i in side.items]] for side in (split.train, split.test)
            )
            self.pca = fit_pca(train, self.dims[-1])
            self._note_missing(features, split, len(train), len(self.pca.components))
            full.append(self._accuracy(split, train, test))
            low_train, low_test = self.pca.project(train), self.pca.project(test)
            for number in self.dims:
                if number <= len(self.pca.components):
                    accuracy = self._accuracy(
                        split, *(self._cut(each, number) for each in (low_train, low_test))
                    )
                    projected[number].append((accuracy, self.pca.explained(number)))
        return Curve(
            title=features.title,
            path=str(features.path),
            layer=features.layer,
            width=features.dims,
            points=tuple(
                Point(
                    dims=number,
                    accuracies=tuple(a for a, _ in found),
                    explained=tuple(held for _, held in found),
                )
                for number, found in projected.items()
                if len(found) == len(self.splits)
            ),
            full=Point(dims=features.dims, accuracies=tuple(full)),
            settings=features.settings,
        )

    def _cut(self, rows: Rows, dims: int) -> Rows:
        cut = np.ascontiguousarray(rows[:, :dims])
        if self.normalise_again:
            norms = np.linalg.norm(cut, axis=1, keepdims=True)
            cut /= np.where(norms > 0, norms, 1)
        return cut

    def _accuracy(self, split: Split, train: Rows, test: Rows) -> Accuracy:
        from featx.tasks.estimators import LinearSVM

        svm = LinearSVM(C=self.C)
        svm.fit_parts([train], labels_of(split.train.items), classes=split.classes)
        found = svm.hyperplanes_.predict(test)
        right, of = np.zeros((2, len(self._tested)), np.int64)
        places = [self._tested[item.id] for item in split.test.items]
        # A prediction of any of a video's labels counts as right.
        right[places] = [
            answer in (item.label, *item.also)
            for answer, item in zip(found, split.test.items, strict=True)
        ]
        of[places] = 1
        self.trained += 1
        if self.on_progress is not None:
            self.on_progress(self.trained, self.total)
        return Accuracy(right, of)

    def _note_missing(self, features: Features, split: Split, n_train: int, most: int) -> None:
        missing = [number for number in self.dims if number > most]
        self.total -= len(missing)
        if missing:
            why = (
                f"{_listed(missing)} dimension{'' if missing == [1] else 's'} cannot be had of {features.title}: rows of"
                f" {features.dims} numbers of {n_train} training videos have {most or 'no'} principal components"
            )
            if self.saving:
                raise FeatxError(
                    f"{why}: give {f'`dims=[{most}]` or fewer' if most else 'features that tell videos apart'}"
                )
            self.missing.setdefault(why, []).append(str(split.test.split))

    def missing_notes(self) -> list[str]:
        """Return which dimensions cannot be had of which splits."""
        one = len(self.splits) == 1
        return [
            why if one else f"{why} (split {_listed(numbers)})"
            for why, numbers in self.missing.items()
        ]


def _listed(numbers: Sequence[object]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last


def _is_papers(split: Split) -> bool:
    generated = any(
        "generated" in note for side in (split.train, split.test) for note in side.notes
    )
    return split.official and split.test.name == PAPER_DATASET and not generated


def _save(path: str | os.PathLike[str], split: Split, pca: Pca, curve: Curve) -> None:
    if curve.settings is None:
        raise ValueError("a projection is of a feature file's rows")
    fitted_on = {
        "dataset": split.train.name,
        "split": split.train.split,
        "subset": split.train.subset,
        "videos": len(split.train.items),
        "absent": split.train.absent,
    }
    write_projection(
        path,
        Projection(
            mean=pca.mean,
            components=pca.components,
            layer=str(curve.layer),
            settings=curve.settings,
            fitted_on=fitted_on,
            explained=pca.explained(len(pca.components)),
        ),
    )


def _told_apart(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curves, those with the same title with their file's name in it."""
    titles = [curve.title for curve in curves]
    return [
        replace(curve, title=f"{curve.title}, {Path(curve.path).name}")
        if titles.count(curve.title) > 1
        else curve
        for curve in curves
    ]
