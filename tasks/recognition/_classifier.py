"""One linear SVM on several features together, or one on each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from featx.tasks.linear import Floats, Hyperplanes, Ints, Rows
from featx.tasks.results import number_of, shown
from featx.tasks.tuning import TUNED, Tuning

FUSIONS = ("concat", "scores")


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """What tells K classes apart by S features of a video.

    dims: of each feature. fusion: "concat", one SVM on the features one after the other; "scores", one on each, and the mean of
    their scores. machines: that one, or those S. tunings: of each, where its C was chosen.
    """

    dims: tuple[int, ...]
    fusion: str
    machines: tuple[Hyperplanes, ...]
    tunings: tuple[Tuning, ...] = ()

    def scores(self, place: int, rows: Rows) -> Floats:
        """Return what one feature adds to the scores, (N, D) -> (N, K): the sum over all features is the score."""
        if self.fusion == "scores":
            return self.machines[place].scores(rows) / len(self.machines)
        machine = self.machines[0]
        start = sum(self.dims[:place])
        part = np.asarray(rows @ machine.coef[:, start : start + self.dims[place]].T, np.float64)
        return part + machine.intercept if place == 0 else part

    def __repr__(self) -> str:
        numbers = " + ".join(f"{each:,}" for each in self.dims)
        classes = number_of(len(self.machines[0].intercept), "class")
        return shown(
            "Classifier", f"{numbers} numbers", self.fusion if len(self.dims) > 1 else "", classes
        )


def fit_classifier(
    read: Sequence[Callable[[], Rows]],
    labels: Ints,
    groups: Sequence[Hashable],
    *,
    C: float | None,
    fusion: str,
    classes: Sequence[str],
) -> Classifier:
    """Fit on S features of N videos; `read` gives each one's rows, (N, D), so that no more of them are held than needed.

    labels: (N,), places in `classes`. groups: (N,), what stays together where C is chosen. C: None to choose it.
    """
    from featx.tasks.estimators import LinearSVM

    machines, tunings, dims = [], [], []
    for readers in [read] if fusion == "concat" else [[each] for each in read]:
        parts = [each() for each in readers]
        dims += [part.shape[1] for part in parts]
        fitted = LinearSVM(C=TUNED if C is None else C)
        fitted.fit_parts(parts, labels, classes=classes, groups=groups)
        machines.append(fitted.hyperplanes_)
        tunings += [fitted.tuning_] if fitted.tuning_ is not None else []
        del parts, fitted  # before the next are read
    return Classifier(
        dims=tuple(dims), fusion=fusion, machines=tuple(machines), tunings=tuple(tunings)
    )
