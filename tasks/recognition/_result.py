"""What an SVM says of the test videos of a dataset's splits or folds, and the accuracies that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from featx.report import Accuracy, mean_interval
from featx.store.recorded import Recorded
from featx.tasks.linear import Floats, Ints
from featx.tasks.recognition._classifier import Classifier
from featx.tasks.results import number_of, shown


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One feature that an SVM rests on: file, layer, dims, what a report calls it, and a feature file's settings."""

    path: str
    layer: str | None
    dims: int
    title: str
    settings: Recorded | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        made = self.settings
        return {**vars(self), "settings": made.to_json() if made is not None else None}


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """An SVM's answers to the N test videos of one split, or of one fold of a cross-validation.

    title: such as "ucf101 split 1". classes: names in the order of the labels. trained: how many training videos.
    ids, labels (N,): of the test videos; also: (N,) further labels of a video that has several. scores: (N, K).
    absent: training and test videos of the lists that were left out because they are not there. official: the split is one of a
    dataset that is known by name, with all of its videos, none generated. saved: where the model was written.
    """

    split: int
    title: str
    classes: tuple[str, ...]
    trained: int
    ids: tuple[str, ...]
    labels: Ints
    also: tuple[tuple[int, ...], ...]
    scores: Floats
    classifier: Classifier
    origins: tuple[Origin, ...]
    absent: tuple[int, int] = (0, 0)
    official: bool = False
    notes: tuple[str, ...] = ()
    saved: str | None = None

    @cached_property
    def predictions(self) -> Ints:
        """(N,) int64, the class with the highest score, the first of equals."""
        return np.asarray(self.scores.argmax(axis=1), np.int64)

    @cached_property
    def right(self) -> Ints:
        """(N,) int64, 1 where the prediction is one of the video's labels."""
        right = self.predictions == self.labels
        for place, others in enumerate(self.also):
            right[place] |= int(self.predictions[place]) in others
        return np.asarray(right, np.int64)

    @property
    def truth(self) -> Ints:
        """(N,) int64, the label that a video is counted under: of several the one that was predicted, else the first."""
        return np.where(self.right, self.predictions, self.labels)

    @property
    def accuracy(self) -> Accuracy:
        """Of all test videos, those that are right."""
        return Accuracy(self.right, np.ones(len(self.ids), np.int64))

    @property
    def C(self) -> tuple[float, ...]:
        """Of each SVM."""
        return tuple(machine.C for machine in self.classifier.machines)

    def __repr__(self) -> str:
        right = f"{100 * self.accuracy.value:.1f} % of {number_of(len(self.ids), 'test video')}"
        return shown(
            "SplitResult", self.title, right, f"trained on {self.trained:,}", notes=self.notes
        )


@dataclass(frozen=True, kw_only=True)
class SvmResult:
    """An SVM's answers to a dataset's splits. paper: the figure of the same measurement in a paper, in words.

    folds: of a cross-validation, how many; its folds are the splits then. None where the dataset's own splits are.
    """

    dataset: str
    fusion: str
    tuned: bool
    splits: tuple[SplitResult, ...]
    folds: int | None = None
    paper: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def mean(self) -> float:
        """The mean of the splits' accuracies, 0 to 1."""
        return float(np.mean([each.accuracy.value for each in self.splits]))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `mean`: a video is drawn with its answers in all splits (`featx.report.mean_interval`)."""
        places = {
            i: place
            for place, i in enumerate(dict.fromkeys(i for each in self.splits for i in each.ids))
        }
        accuracies = []
        for each in self.splits:
            right, of = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
            chosen = [places[i] for i in each.ids]
            right[chosen], of[chosen] = each.right, 1
            accuracies.append(Accuracy(right, of))
        return mean_interval(accuracies)

    @cached_property
    def pooled(self) -> Accuracy | None:
        """Of all videos, those that are right, where each is tested exactly once, as by folds; else None."""
        count = sum(len(each.ids) for each in self.splits)
        once = len({video for each in self.splits for video in each.ids}) == count
        if not once or any(each.trained + len(each.ids) != count for each in self.splits):
            return None
        return Accuracy(
            np.concatenate([each.right for each in self.splits]), np.ones(count, np.int64)
        )

    @property
    def spread(self) -> tuple[float, float, float]:
        """The splits' accuracies: standard deviation (of a sample; 0 of one split), lowest and highest, 0 to 1."""
        values = [each.accuracy.value for each in self.splits]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, min(values), max(values)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of all splits' classes; with videos missing, splits may have different ones."""
        return tuple(dict.fromkeys(name for each in self.splits for name in each.classes))

    @cached_property
    def confusion(self) -> Ints:
        """(K, K) int64: videos of the row's class that were taken for the column's, over all splits."""
        size = len(self.classes)
        out = np.zeros((size, size), np.int64)
        for each in self.splits:
            numbers = np.asarray([self.classes.index(name) for name in each.classes])
            np.add.at(out, (numbers[each.truth], numbers[each.predictions]), 1)
        return out

    @property
    def per_class(self) -> tuple[Ints, Ints]:
        """For each class, (K,) int64 each: how many of its videos are right, and how many it has, over all splits."""
        return self.confusion.diagonal().copy(), self.confusion.sum(axis=1)

    def __repr__(self) -> str:
        parts = number_of(len(self.splits), "split" if self.folds is None else "fold")
        videos = number_of(sum(len(each.ids) for each in self.splits), "test video")
        value = self.mean if self.pooled is None else self.pooled.value
        return shown(
            "SvmResult", self.dataset, f"{100 * value:.1f} %", parts, videos, notes=self.notes
        )
