"""Numbers of pairs to answers: standardised, a linear SVM, trained on all folds but the one that is tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from featx.report import Curve, area_under, roc_curve
from featx.tasks.linear import Hyperplanes
from featx.tasks.results import number_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rounds = Sequence[tuple[tuple[int, ...], int]]

# A number that varies by less than this share of its size is constant, but for rounding.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Model:
    """What is fitted on training pairs. mean, scale: (K,), of each of a pair's numbers."""

    mean: Floats
    scale: Floats
    svm: Hyperplanes

    def scores(self, values: Floats) -> Floats:
        """Return each pair's signed distance to the border, times the border's norm: (P, K) -> (P,); above 0 is the same."""
        return self.svm.scores(_scaled(values, self.mean, self.scale))[:, 1]

    def __repr__(self) -> str:
        return f"Model({len(self.mean)} numbers of a pair, C {self.svm.C:g})"


@dataclass(frozen=True)
class Fold:
    """A test fold's pairs: how many, how many are answered right, and the area under their ROC curve."""

    number: int
    pairs: int
    right: int
    auc: float

    @property
    def accuracy(self) -> float:
        """Right answers over pairs, 0 to 1."""
        return self.right / self.pairs


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores of P pairs, each by the model that has not seen its fold, NaN where a pair is only trained on.

    same, fold: (P,). dims: of how many numbers a pair the scores are made.
    """

    scores: Floats
    same: Ints
    fold: Ints
    dims: int

    @property
    def tested(self) -> npt.NDArray[np.bool_]:
        """(P,) whether a pair is of a test fold."""
        return ~np.isnan(self.scores)

    @property
    def predicted(self) -> Ints:
        """(P,) 1 for the same, 0 for not, -1 where the pair was not tested."""
        return np.where(self.tested, self.scores > 0, -1).astype(np.int64)

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The test folds in order."""
        found = []
        for number in np.unique(self.fold[self.tested]):
            inside = self.fold == number
            right = int((self.predicted[inside] == self.same[inside]).sum())
            curve = roc_curve(self.scores[inside], self.same[inside] == 1)
            found.append(Fold(int(number), int(inside.sum()), right, area_under(curve)))
        return tuple(found)

    @property
    def curves(self) -> list[Curve]:
        """The folds' ROC curves."""
        places = [self.fold == fold.number for fold in self.folds]
        return [roc_curve(self.scores[inside], self.same[inside] == 1) for inside in places]

    @property
    def accuracy(self) -> float:
        """The mean of the folds' accuracies."""
        return float(np.mean([fold.accuracy for fold in self.folds]))

    @property
    def standard_error(self) -> float | None:
        """The standard error of `accuracy`: the folds' standard deviation (ddof 1) over √folds; None for a single fold."""
        values = [fold.accuracy for fold in self.folds]
        return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None

    @property
    def auc(self) -> float:
        """The mean of the areas under the folds' ROC curves."""
        return float(np.mean([fold.auc for fold in self.folds]))

    @property
    def pooled_auc(self) -> float:
        """The area under the ROC curve of all folds' scores together, though each fold's are another SVM's."""
        return area_under(roc_curve(self.scores[self.tested], self.same[self.tested] == 1))

    @property
    def in_words(self) -> str:
        """Accuracy, AUC and the number of pairs."""
        error = "" if self.standard_error is None else f" ± {100 * self.standard_error:.1f}"
        pairs = number_of(int(self.tested.sum()), "pair")
        return f"accuracy {100 * self.accuracy:.1f}{error} %, AUC {100 * self.auc:.1f} %, {pairs}"

    def __repr__(self) -> str:
        return f"Outcome({self.in_words})"


def fit(values: Floats, same: Ints, *, C: float) -> Model:
    """Fit the scaling and the SVM on training pairs: values (P, K), same (P,), 1 or 0."""
    from featx.tasks.estimators import LinearSVM

    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale <= _CONSTANT * np.abs(values).max(axis=0)] = 1.0
    svm = LinearSVM(C=C).fit_parts([_scaled(values, mean, scale)], same, classes=(0, 1))
    return Model(mean, scale, svm.hyperplanes_)


def cross_validate(values: Floats, same: Ints, fold: Ints, rounds: Rounds, *, C: float) -> Outcome:
    """Score each round's test fold by what is fitted on the round's training folds alone; values: (P, K)."""
    scores = np.full(len(values), np.nan)
    for train, test in rounds:
        seen, unseen = np.isin(fold, train), fold == test
        scores[unseen] = fit(values[seen], same[seen], C=C).scores(values[unseen])
    return Outcome(scores, same, fold, values.shape[1])


def _scaled(values: Floats, mean: Floats, scale: Floats) -> npt.NDArray[np.float32]:
    return ((values - mean) / scale).astype(np.float32)
