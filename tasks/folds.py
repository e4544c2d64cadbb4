"""A dataset's videos divided anew, for cross-validation: folds that share no group, each tested once."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from featx.datasets import Dataset, Item
from featx.errors import FeatxError, UsageError
from featx.tasks.splits import AnyDataset, Split, labels_of, lists_of


def load_folds(
    dataset: AnyDataset,
    folds: int,
    *,
    root: str | os.PathLike[str] | None = None,
    partial: bool = False,
) -> list[Split]:
    """Return all videos of a dataset in `folds` parts that share no group: of each split one is tested, the others train.

    Classes are in as equal shares as groups allow; the same videos are always divided the same. A group's name counts across
    classes, as UCF101's g01 to g25 do in its own splits; a video without one is a group of its own, its parts together.
    partial: as for `featx.datasets.DatasetLists.whole`; classes of fewer than two groups are left out then, and it is told.
    Raises UsageError for folds that are no number of them, FeatxError for videos and groups that cannot be divided so.
    """
    if folds < 2:
        raise UsageError(f"folds is {folds}: give 2 or more")
    lists = lists_of(dataset, root=root)
    whole = _learnable(lists.whole(partial=partial), partial=partial)
    groups = sorted({group_of(item) for item in whole.items})
    if len(groups) < folds:
        raise FeatxError(
            f"{whole.name} has {len(groups)} groups of videos, too few for {folds} folds: give {len(groups)} or fewer"
        )
    if whole.absent:
        note = f"{whole.absent} videos of {whole.name}'s lists are not there, not counted"
        whole = replace(whole, absent=0, notes=(note, *whole.notes))
    found = []
    for number, tested in enumerate(_divided(whole, groups, folds), start=1):
        train, test = (
            [item for place, item in enumerate(whole.items) if (place in tested) is side]
            for side in (False, True)
        )
        sides = {"train": train, "test": test}
        parts = [
            replace(whole, split=number, subset=name, items=tuple(side))
            for name, side in sides.items()
        ]
        found.append(
            Split(train=parts[0], test=parts[1], official=lists.about.official, folds=folds)
        )
    return found


def group_of(item: Item) -> str:
    """Return what is in one fold with everything of the same name: the group, or, without one, the video."""
    return f"group {item.group}" if item.group is not None else f"video {item.path}"


def _learnable(whole: Dataset, *, partial: bool) -> Dataset:
    """Return the dataset without the classes that cannot be trained and tested on, or raise where that was not asked for."""
    groups: dict[int, set[str]] = defaultdict(set)
    for item in whole.items:
        groups[item.label].add(group_of(item))
    kept = [label for label in range(len(whole.classes)) if len(groups[label]) > 1]
    lone = [name for label, name in enumerate(whole.classes) if label not in kept]
    if not lone:
        return whole
    named = ", ".join(lone[:3]) + (" …" if lone[3:] else "")
    if not partial or len(kept) < 2:
        raise FeatxError(
            f"{len(lone)} of {len(whole.classes)} classes of {whole.name} have fewer than two groups of videos ({named}), and"
            " folds take one to train and one to test: add some"
            + ("" if partial else ", or leave the classes out with `partial=True`")
        )
    numbers = {old: new for new, old in enumerate(kept)}
    items = tuple(
        replace(
            item,
            label=numbers[item.label],
            also=tuple(numbers[label] for label in item.also if label in numbers),
        )
        for item in whole.items
        if item.label in numbers
    )
    gone = len(whole.items) - len(items)
    note = f"{len(lone)} of {len(whole.classes)} classes left out, with fewer than two groups of videos ({named})"
    note += f", and with them {gone} videos that are there" if gone else ""
    return replace(
        whole,
        classes=tuple(whole.classes[label] for label in kept),
        items=items,
        notes=(*whole.notes, note),
    )


def _divided(whole: Dataset, groups: Sequence[str], folds: int) -> list[set[int]]:
    """Return the places of each fold's videos."""
    from sklearn.model_selection import StratifiedGroupKFold

    numbers = {group: number for number, group in enumerate(groups)}
    places = [numbers[group_of(item)] for item in whole.items]
    # Not shuffled: what is drawn differs between versions of scikit-learn.
    with warnings.catch_warnings():
        # That a class has fewer videos than there are folds: some folds then test none of it, and all train on it.
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = [
                set(test.tolist())
                for _, test in StratifiedGroupKFold(folds).split(
                    places, labels_of(whole.items), places
                )
            ]
        except ValueError as error:  # more folds than any class has videos
            raise FeatxError(
                f"{whole.name} cannot be divided into {folds} folds ({error}): give fewer"
            ) from error
    if not all(parts):
        raise FeatxError(
            f"{whole.name}'s groups of videos cannot be divided into {folds} folds: give fewer"
        )
    return parts
