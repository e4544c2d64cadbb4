"""What an evaluation found: every video's probabilities, and the accuracies that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.evaluation._protocols import Protocol
from featx.report import Accuracy
from featx.weights.description import in_words

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """A network's answers to a dataset's videos under one protocol.

    dataset: which side of which split. classes: what the network chooses from, in the order of its outputs.
    ids, paths: of all N videos, those that could not be read too. labels: (N,) int64, places in `classes`.
    also: (N,) further labels of a video that has several; a prediction of any of them is right.
    probabilities: (N, C) float32, the mean over a video's clips; NaN where the video could not be read.
    clips: (N,) int64, how many were averaged. clips_right: (N,) int64, how many of them are right on their own.
    failures: (id, path, reason) of videos that could not be read; damaged: (id, frames) of those that decode in part.
    looped: how many are shorter than a clip. absent: how many the dataset's lists have that were left out, not being there.
    settings: what the probabilities depend on, as in a feature file. notes: what the user should know.
    unit: what is said for a video: of generated clips "clip", each of which is its own video.

    A video that could not be read counts as wrong, so that every accuracy over videos is one of N.
    """

    protocol: Protocol
    dataset: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    labels: Ints
    also: tuple[tuple[int, ...], ...]
    probabilities: npt.NDArray[np.float32]
    clips: Ints
    clips_right: Ints
    failures: tuple[tuple[str, str, str], ...] = ()
    damaged: tuple[tuple[str, int], ...] = ()
    looped: int = 0
    absent: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unit: str = "video"

    def __repr__(self) -> str:
        top5 = f", top-5 {self.top5.value:.1%}" if self.top5 is not None else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        lines = [
            f"Evaluation({self.dataset}: {len(self.ids)} {self.unit}s{failed}, top-1 {self.top1.value:.1%}{top5};"
            f" protocol {self.protocol.name})"
        ]
        if "weights" in self.settings:
            lines.append(f"  weights: {in_words(self.settings['weights'])}")
        lines += [f"  failed: {path}: {reason}" for _, path, reason in self.failures[:3]]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    @property
    def read(self) -> npt.NDArray[np.bool_]:
        """(N,) whether a video could be read."""
        return self.clips > 0

    @cached_property
    def predictions(self) -> Ints:
        """(N,) int64, the most probable class, the first of equals; -1 where the video could not be read."""
        return np.where(self.read, self.probabilities.argmax(axis=1), -1)

    @property
    def top1(self) -> Accuracy:
        """Of all videos, those whose most probable class is right."""
        return self.top(1)

    @property
    def top5(self) -> Accuracy | None:
        """Of all videos, those whose class is among the five most probable; None where there are no more than five."""
        return self.top(5) if len(self.classes) > 5 else None

    def top(self, k: int) -> Accuracy:
        """Return the accuracy over videos whose class is among the `k` most probable, the first of equals before the others."""
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        right = (best == self.labels[:, None]).any(axis=1)
        for place, others in enumerate(self.also):
            if others:
                right[place] |= bool(np.isin(best[place], others).any())
        right &= self.read
        return Accuracy(right.astype(np.int64), np.ones(len(self.ids), np.int64))

    @property
    def clip_top1(self) -> Accuracy:
        """Of all clips that could be read, those that are right on their own."""
        return Accuracy(self.clips_right, self.clips)

    @cached_property
    def truth(self) -> Ints:
        """(N,) int64, the label that a video is counted under: of several the one that was predicted, else the first."""
        return np.where(self.top1.right, self.predictions, self.labels)

    @property
    def per_class(self) -> tuple[Ints, Ints]:
        """For each class, (C,) int64 each: how many of its videos are right, and how many it has, those not read included."""
        size = len(self.classes)
        right = self.predictions == self.truth
        return np.bincount(self.truth[right], minlength=size), np.bincount(
            self.truth, minlength=size
        )

    @property
    def confusion(self) -> Ints:
        """(C, C) int64: videos of the row's class that were taken for the column's; those that were read."""
        size = len(self.classes)
        places = self.truth[self.read] * size + self.predictions[self.read]
        return np.bincount(places, minlength=size * size).reshape(size, size)
