"""A dataset's splits, and what must hold before a number is made of one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.datasets import Dataset, DatasetLists, Item
from featx.errors import FeatxError, UsageError
from featx.tasks.features import Features


@dataclass(frozen=True, kw_only=True)
class Split:
    """The two sides of one split.

    official: the dataset is one that is known by name. folds: of a cross-validation's fold, how many
    there are (`featx.tasks.folds`); its number is the sides' `split`. None of a split of the dataset's own.
    """

    train: Dataset
    test: Dataset
    official: bool
    folds: int | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels, the same on both sides."""
        return self.train.classes

    @property
    def title(self) -> str:
        """What a report calls it, such as "ucf101 split 1" or "ucf101 fold 1 of 5"."""
        if self.folds is not None:
            return f"{self.test.called} fold {self.test.split} of {self.folds}"
        return self.test.called if self.test.own else f"{self.test.name} split {self.test.split}"

    @property
    def tested(self) -> str:
        """What a report calls the videos that are tested: the split's test side, or, of a fold, all folds' together."""
        return (
            f"{self.test.called}'s {self.folds} folds"
            if self.folds is not None
            else self.test.title
        )

    def of_its_own(self, told: Mapping[str, Any]) -> bool:
        """Return whether a record of dataset, split and subset is of this split's training side; a fold's is nobody's."""
        own = (self.test.name, self.test.split, self.train.subset)
        return self.folds is None and own == (
            told.get("dataset"),
            told.get("split"),
            told.get("subset"),
        )


# A dataset's name or path, or its lists, which are then read once for all that a command does.
AnyDataset = str | os.PathLike[str] | DatasetLists


def lists_of(
    dataset: AnyDataset,
    *,
    root: str | os.PathLike[str] | None = None,
    holdout: float = 0.2,
) -> DatasetLists:
    """Return a dataset's lists; those that are given have a root and a holdout of their own."""
    if isinstance(dataset, DatasetLists):
        return dataset
    return DatasetLists(dataset, root=root, holdout=holdout)


def load_splits(
    dataset: AnyDataset,
    *,
    root: str | os.PathLike[str] | None = None,
    split: int | None = None,
    partial: bool = False,
    holdout: float = 0.2,
) -> list[Split]:
    """Return a dataset's splits, all of them or the one that is asked for; arguments and errors as `featx.load_dataset`'s."""
    lists = lists_of(dataset, root=root, holdout=holdout)
    known = lists.about
    loaded = []
    for number in range(1, known.splits + 1) if split is None else [split]:
        train, test = (lists.side(number, subset, partial=partial) for subset in known.pair)
        loaded.append(Split(train=train, test=test, official=known.official))
    return loaded


def labels_of(items: Sequence[Item]) -> npt.NDArray[np.int64]:
    """Return (N,) int64, each item's place among the classes."""
    return np.asarray([item.label for item in items], np.int64)


def check_split(
    split: Split, features: Sequence[Features], *, allow_trained_on: bool = False
) -> list[str]:
    """Raise FeatxError where a number made of this split would be no measurement; return what the user should be told.

    Train and test share no video, nor parts of one, no group of a class and, as far as feature files tell, no content; every
    class has videos on both sides (in a fold, on the training side); no checkpoint was trained on the split's test videos
    (`allow_trained_on`: told, not refused).
    In an official dataset the lists decide what is one video: equal content under two names is told, not refused. A projection
    that was fitted on test videos is told: it has seen none of their labels.
    """
    notes = [*split.train.notes]
    notes += [note for note in split.test.notes if note not in notes]
    # A fold need not test every class: all folds together do, and it is over these that accuracies are counted.
    for side in (split.train, split.test) if split.folds is None else (split.train,):
        lone = sorted(set(range(len(split.classes))) - set(labels_of(side.items).tolist()))
        if lone:
            named = ", ".join(split.classes[label] for label in lone[:3])
            raise FeatxError(
                f"{split.title}, {side.subset} has no video of {len(lone)} of {len(split.classes)} classes ({named}):"
                " every class takes one on both sides; add some, or leave the class out"
            )
    trained = {item.path: item.id for item in split.train.items}
    groups: dict[tuple[int, str | None], str] = {
        (item.label, item.group): item.id for item in split.train.items if item.group is not None
    }
    for item in split.test.items:
        if item.path in trained:
            other = (
                f", {trained[item.path]} being of the same video"
                if trained[item.path] != item.id
                else ""
            )
            raise FeatxError(
                f"{item.id} is on both sides of {split.title}{other}: take it out of one"
            )
        if (item.label, item.group) in groups:
            other = groups[item.label, item.group]
            raise FeatxError(
                f"{item.id} and {other} are of one group, {item.group}, on both sides of {split.title}: move one"
            )
    for each in features:
        notes += _same_content(split, each)
        notes += _trained_on(split, each, allow=allow_trained_on)
        notes += _fitted_on(split, each)
    return list(dict.fromkeys(notes))


def _same_content(split: Split, features: Features) -> list[str]:
    train = {
        text: i
        for i, text in features.fingerprints(split.train.items, dataset=split.train.name).items()
    }
    test = features.fingerprints(split.test.items, dataset=split.test.name)
    shared = [(i, train[text]) for i, text in test.items() if text in train]
    if not shared:
        return []
    told = f"{shared[0][0]} (test) and {shared[0][1]} (train)" + (
        f" and {len(shared) - 1} more pairs" if shared[1:] else ""
    )
    if not split.official:
        raise FeatxError(
            f"the same content is on both sides of {split.title}: {told}: take it out of one"
        )
    return [
        f"the same content is on both sides of {'the official ' if split.folds is None else ''}{split.title}: {told}"
    ]


def _trained_on(split: Split, features: Features, *, allow: bool) -> list[str]:
    """Say, or refuse, that a checkpoint has seen the test side; its own split's training side it may have seen."""
    told = features.settings.weights.trained_on if features.settings is not None else {}
    if not told or told.get("dataset") != split.test.name:
        return []
    what = f"the checkpoint of {features.title} was trained on {told['dataset']} split {told['split']}, {told['subset']}"
    if split.of_its_own(told):
        return [what]
    why = f"{what}, which shares videos with {split.tested}"
    if not allow:
        instead = "" if split.folds is None else " in place of `folds`"
        raise UsageError(
            f"{why}: give `split={told['split']}`{instead}, features of another checkpoint, or `allow_trained_on=True`"
        )
    return [f"{why}: the accuracy is no measurement of videos that it has not seen"]


def _fitted_on(split: Split, features: Features) -> list[str]:
    """Say that rows are projected by what was fitted on other videos of the dataset than the split's training side."""
    projection = features.settings.projection if features.settings is not None else None
    if projection is None:
        return []
    on = projection.fitted_on
    if (
        projection.layer != features.layer
        or on.get("dataset") != split.test.name
        or split.of_its_own(on)
    ):
        return []
    return [
        f"the projection of {features.title} was fitted on {on['dataset']} split {on.get('split')}, {on.get('subset')}, which"
        f" shares videos with {split.tested}: it has seen them, though not their labels"
    ]
