"""Ground truth and detections made by hand or drawn at random, for whatever shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featx.datasets.untrimmed import Annotations, Instance
from featx.tasks.localization._diagnosis import Judged, judge
from featx.tasks.localization._evaluate import evaluate
from featx.tasks.localization._types import Detections, Protocol

Found = tuple[str, str, float, float, float]


def truth(
    instances: Sequence[tuple[str, str, float, float]],
    *,
    classes: tuple[str, ...] = ("jump", "run"),
    ambiguous: Sequence[tuple[str, float, float]] = (),
    videos: Sequence[str] = (),
    durations: dict[str, float] | None = None,
) -> Annotations:
    """Ground truth of (video, class, start, end)."""
    return Annotations(
        name="hand-made",
        classes=classes,
        numbers=None,
        instances=tuple(Instance(v, classes.index(c), s, e) for v, c, s, e in instances),
        ambiguous=tuple(Instance(v, -1, s, e) for v, s, e in ambiguous),
        videos=tuple(sorted({*videos, *(i[0] for i in instances), *(i[0] for i in ambiguous)})),
        durations=durations or {},
    )


def detections(rows: Sequence[Found], classes: tuple[str, ...] = ("jump", "run")) -> Detections:
    """Detections of (video, class, start, end, score)."""
    videos = tuple(dict.fromkeys(row[0] for row in rows))
    numbers = np.array([row[2:] for row in rows], np.float64).reshape(-1, 3)
    return Detections(
        classes=classes,
        videos=videos,
        video=np.array([videos.index(row[0]) for row in rows], np.int64),
        label=np.array([classes.index(row[1]) for row in rows], np.int64),
        start=numbers[:, 0],
        end=numbers[:, 1],
        score=numbers[:, 2],
    )


def random_run(
    seed: int, *, videos: int = 4, classes: tuple[str, ...] = ("jump", "run")
) -> tuple[Annotations, Detections]:
    """Ground truth and detections that overlap it in all manners, equal tIoUs among them."""
    rng = np.random.default_rng(seed)
    instances, found = [], []
    for n in range(videos):
        for _ in range(8):
            start, name = float(rng.integers(0, 50)), str(rng.choice(classes))
            end = start + float(rng.integers(2, 8))
            instances.append((f"v{n}", name, start, end))
            for _ in range(rng.integers(0, 4)):
                shift, other = rng.integers(-2, 3, 2)
                label = name if rng.random() < 0.8 else str(rng.choice(classes))
                found.append(
                    (
                        f"v{n}",
                        label,
                        max(0.0, start + shift),
                        max(start + 1, end + other) + 1.0,
                        float(rng.random()),
                    )
                )
    return truth(instances, classes=classes, ambiguous=[("v0", 20, 24)]), detections(found, classes)


def judged_at(
    annotations: Annotations, found: Detections, tiou: float = 0.5, protocol: Protocol = "thumos14"
) -> Judged:
    evaluation = evaluate(found, annotations, tious=(tiou,), protocol=protocol)
    return judge(evaluation, evaluation.thresholds[0], annotations)
