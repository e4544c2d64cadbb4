"""What passes between the parts of temporal localization: scored windows, detections, evaluations; and the tIoU of stretches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from featx.tasks.results import number_of, shown

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Protocol = Literal["thumos14", "activitynet"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows that a localization network gave a class to, background left out; a row each, N in all.

    classes: names in the order of the labels. videos: all that were searched, those without a window included.
    video, label: (N,), places in `videos` and `classes`. length: (N,), sampled frames. start, end: (N,) seconds.
    score: (N,), the network's probability of the class. action: (N,), the proposal network's probability of an action, NaN
    where it is not known.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...]
    video: Ints
    label: Ints
    length: Ints
    start: Floats
    end: Floats
    score: Floats
    action: Floats

    def __len__(self) -> int:
        return len(self.video)

    def __repr__(self) -> str:
        rows, videos = number_of(len(self), "window"), number_of(len(self.videos), "video")
        return shown("Windows", "", rows, videos, number_of(len(self.classes), "class"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """Actions that were found; a row each, N in all.

    classes: names in the order of the labels. videos: all that were searched, those without a detection included.
    video, label: (N,), places in `videos` and `classes`. start, end: (N,) seconds; score: (N,), the higher the surer.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...]
    video: Ints
    label: Ints
    start: Floats
    end: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.video)

    def take(self, rows: Ints | Bools) -> Detections:
        """Return some of the rows, by number or mask, of the same videos and classes."""
        names = ("video", "label", "start", "end", "score")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def __repr__(self) -> str:
        rows, videos = number_of(len(self), "detection"), number_of(len(self.videos), "video")
        return shown("Detections", "", rows, videos, number_of(len(self.classes), "class"))


@dataclass(frozen=True, kw_only=True, eq=False)
class AtThreshold:
    """An evaluation at one tIoU.

    detections: those that were evaluated, which differ by tIoU where suppression does. matched: (N,) int8, 1 for a true
    positive, 0 for a false one, -1 for one that is dropped because it overlaps an ambiguous stretch.
    ap: (C,), by class, NaN for a class without an instance. interval: of the mean, 95 % bootstrap over videos; None without.
    """

    tiou: float
    detections: Detections
    matched: npt.NDArray[np.int8]
    ap: Floats
    interval: tuple[float, float] | None = None

    @property
    def mean_ap(self) -> float:
        """Mean of the classes' average precision, over the classes that have an instance."""
        return float(np.nanmean(self.ap))

    def __repr__(self) -> str:
        mean = f"mAP {100 * self.mean_ap:.2f} %"
        return shown(
            "AtThreshold", f"tIoU {self.tiou:g}", mean, number_of(len(self.detections), "detection")
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Detections held against ground truth by one protocol.

    annotations: their name. classes: all; instances: (C,), how many each has. videos: those it was computed over.
    thresholds: one for each tIoU. notes: sentences that a reader of the figures should know.
    """

    protocol: Protocol
    annotations: str
    classes: tuple[str, ...]
    instances: Ints
    videos: tuple[str, ...]
    thresholds: tuple[AtThreshold, ...]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def __repr__(self) -> str:
        means = [f"{100 * at.mean_ap:.1f} % at {at.tiou:g}" for at in self.thresholds]
        told = f"mAP {', '.join(means)}", number_of(len(self.videos), "video")
        return shown("Evaluation", f"{self.protocol}, {self.annotations}", *told, notes=self.notes)


def tiou_of(start: Floats, end: Floats, starts: Floats, ends: Floats) -> Floats:
    """Return the tIoU of N stretches with M others: (N, M), 0 to 1."""
    common = np.minimum(end[:, None], ends[None, :]) - np.maximum(start[:, None], starts[None, :])
    common = np.maximum(common, 0.0)
    union = (end - start)[:, None] + (ends - starts)[None, :] - common
    return cast(Floats, np.divide(common, union, out=np.zeros_like(common), where=union > 0))
