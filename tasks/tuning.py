"""C of the linear SVM, chosen inside the training set by cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError
from featx.tasks.linear import Floats, Ints, fit_narrow

# In place of C, to have it chosen.
TUNED = "cv"
# What C is chosen from; of equally good ones the smallest, which fits the least.
GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
FOLDS = 5
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How C was chosen: the accuracy over the held-out videos of `folds` folds, for each C of the grid."""

    grid: tuple[float, ...]
    accuracies: tuple[float, ...]
    folds: int

    @property
    def best(self) -> float:
        """The C with the highest accuracy, the smallest of equals."""
        return self.grid[int(np.argmax(self.accuracies))]


def choose_C(
    rows: Floats,
    labels: Ints,
    groups: Sequence[Hashable],
    *,
    classes: Sequence[object],
    grid: Sequence[float] = GRID,
) -> Tuning:
    """Return the cross-validated accuracy of each C: at most FOLDS folds, stratified, groups kept together.

    rows: (N, D). Raises FeatxError for a class with videos of one group only, which no fold could learn and ask for.
    """
    folds = list(divide(labels, groups, classes=classes))
    right = np.zeros(len(grid), np.int64)
    for train, test in folds:
        narrow = rows[train]
        for place, C in enumerate(grid):
            coef, intercept = fit_narrow(narrow, labels[train], C=C, n_classes=len(classes))
            right[place] += int(
                ((rows[test] @ coef.T + intercept).argmax(axis=1) == labels[test]).sum()
            )
    accuracies = tuple(float(each) / len(labels) for each in right)
    return Tuning(grid=tuple(grid), accuracies=accuracies, folds=len(folds))


def divide(
    labels: Ints, groups: Sequence[Hashable], *, classes: Sequence[object]
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return the folds' places to train on and to test: each class in as equal shares as its groups allow."""
    from sklearn.model_selection import StratifiedGroupKFold

    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    places = np.asarray([numbers[group] for group in groups])
    of_class = Counter(
        label for label, _ in set(zip(labels.tolist(), places.tolist(), strict=True))
    )
    fewest = min(range(len(classes)), key=lambda label: of_class[label])
    if of_class[fewest] < 2:
        raise FeatxError(
            f"choosing C takes two groups of videos of every class, and {classes[fewest]} has {of_class[fewest]} to train on:"
            " give C as a number"
        )
    folder = StratifiedGroupKFold(min(FOLDS, of_class[fewest]), shuffle=True, random_state=_SEED)
    parts = [(train, test) for train, test in folder.split(places, labels, places) if len(test)]
    # Groups of several classes may leave a fold's training side without one of them.
    if len(parts) < 2 or any(len(np.unique(labels[train])) < len(classes) for train, _ in parts):
        raise FeatxError(
            "the training videos' groups cannot be divided into folds to choose C by: give C as a number"
        )
    return parts
