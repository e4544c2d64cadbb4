"""A dataset's splits, and what must hold before a number is made of one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.datasets import Dataset, Item, about, load_dataset
from featx.errors import FeatxError, UsageError
from tasks._features import Features


@dataclass(frozen=True, kw_only=True)
class Split:
    """The two sides of one split. official: the dataset is one that is known by name."""

    train: Dataset
    test: Dataset
    official: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels, the same on both sides."""
        return self.train.classes

    @property
    def title(self) -> str:
        """What a report calls it, such as "ucf101 split 1"."""
        return f"{self.test.name} split {self.test.split}"


def load_splits(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    split: int | None = None,
    partial: bool = False,
    holdout: float = 0.2,
) -> list[Split]:
    """Return a dataset's splits, all of them or the one that is asked for; arguments and errors as `featx.load_dataset`'s."""
    known = about(name_or_path, root=root, holdout=holdout)
    loaded = []
    for number in range(1, known.splits + 1) if split is None else [split]:
        sides = [
            load_dataset(name_or_path, root=root, split=number, subset=subset, partial=partial, holdout=holdout)
            for subset in known.pair
        ]
        loaded.append(Split(train=sides[0], test=sides[1], official=known.official))
    return loaded


def labels_of(items: Sequence[Item]) -> npt.NDArray[np.int64]:
    """Return (N,) int64, each item's place among the classes."""
    return np.asarray([item.label for item in items], np.int64)


def check_split(split: Split, features: Sequence[Features], *, allow_trained_on: bool = False) -> list[str]:
    """Raise FeatxError where a number made of this split would be no measurement; return what the user should be told.

    Train and test share no video, nor parts of one, no group of a class and, as far as feature files tell, no content; every
    class has videos on both sides; no checkpoint was trained on the split's test videos (`allow_trained_on`: told, not refused).
    In an official split the lists decide what is one video: equal content under two names is told, not refused. A projection
    that was fitted on test videos is told: it has seen none of their labels.
    """
    notes = [*split.train.notes]
    notes += [note for note in split.test.notes if note not in notes]
    for side in (split.train, split.test):
        lone = sorted(set(range(len(split.classes))) - set(labels_of(side.items).tolist()))
        if lone:
            named = ", ".join(split.classes[label] for label in lone[:3])
            raise FeatxError(
                f"{side.title} has no video of {len(lone)} of {len(split.classes)} classes ({named}): every class takes one on"
                " both sides; add some, or leave the class out"
            )
    trained = {item.path: item.id for item in split.train.items}
    groups: dict[tuple[int, str | None], str] = {
        (item.label, item.group): item.id for item in split.train.items if item.group is not None
    }
    for item in split.test.items:
        if item.path in trained:
            other = f", {trained[item.path]} being of the same video" if trained[item.path] != item.id else ""
            raise FeatxError(f"{item.id} is on both sides of {split.title}{other}: take it out of one")
        if (item.label, item.group) in groups:
            other = groups[item.label, item.group]
            raise FeatxError(f"{item.id} and {other} are of one group, {item.group}, on both sides of {split.title}: move one")
    for each in features:
        notes += _same_content(split, each)
        notes += _trained_on(split, each, allow=allow_trained_on)
        notes += _fitted_on(split, each)
    return list(dict.fromkeys(notes))


def _same_content(split: Split, features: Features) -> list[str]:
    train = {text: i for i, text in features.fingerprints(split.train.items, dataset=split.train.name).items()}
    test = features.fingerprints(split.test.items, dataset=split.test.name)
    shared = [(i, train[text]) for i, text in test.items() if text in train]
    if not shared:
        return []
    told = f"{shared[0][0]} (test) and {shared[0][1]} (train)" + (f" and {len(shared) - 1} more pairs" if shared[1:] else "")
    if not split.official:
        raise FeatxError(f"the same content is on both sides of {split.title}: {told}: take it out of one")
    return [f"the same content is on both sides of the official {split.title}: {told}"]


def _trained_on(split: Split, features: Features, *, allow: bool) -> list[str]:
    """Say, or refuse, that a checkpoint has seen the test side; its own split's training side it may have seen."""
    told = ((features.settings or {}).get("weights") or {}).get("trained_on")
    if not told or told.get("dataset") != split.test.name:
        return []
    what = f"the checkpoint of {features.title} was trained on {told['dataset']} split {told['split']}, {told['subset']}"
    if told["split"] == split.test.split and told["subset"] == split.train.subset:
        return [what]
    why = f"{what}, which shares videos with {split.test.title}"
    if not allow:
        raise UsageError(f"{why}: give --split {told['split']}, features of another checkpoint, or --allow-trained-on")
    return [f"{why}: the accuracy is no measurement of videos that it has not seen"]


def _fitted_on(split: Split, features: Features) -> list[str]:
    """Say that rows are projected by what was fitted on other videos of the dataset than the split's training side."""
    projection = (features.settings or {}).get("projection") or {}
    on = projection.get("fitted_on") or {}
    own = (split.test.name, split.test.split, split.train.subset)
    if projection.get("layer") != features.layer or on.get("dataset") != own[0]:
        return []
    if (on["dataset"], on.get("split"), on.get("subset")) == own:
        return []
    return [
        f"the projection of {features.title} was fitted on {on['dataset']} split {on.get('split')}, {on.get('subset')}, which"
        f" shares videos with {split.test.title}: it has seen them, though not their labels"
    ]
