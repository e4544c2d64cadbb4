"""Both evaluation protocols and suppression again, in plain loops as their public code goes; and random material for them."""

from __future__ import annotations

import numpy as np
from conftest import SHARED, needs

from featx.datasets.untrimmed import Annotations, Instance
from featx.tasks.localization._types import Detections, Windows

THUMOS = SHARED / "thumos14"
SCNN = THUMOS / "scnn_c3d"
published = needs("thumos14/scnn_c3d")

Row = tuple[str, float, float, float]  # video, start, end, score


def thumos_flags(
    rows: list[Row], truth: list[Instance], ambiguous: list[Instance], tiou: float
) -> list[tuple[float, bool]]:
    """One class's (score, true positive) in the order of evaluation, as TH14eventdetpr collects them video by video."""
    collected: list[tuple[float, bool]] = []
    for video in sorted({r[0] for r in rows} | {i.video for i in truth}):
        own = sorted((r for r in rows if r[0] == video), key=lambda r: -r[3])
        taken = [False] * len(own)
        for instance in (i for i in truth if i.video == video):
            best, best_overlap = None, -1.0
            for place, (_, start, end, _) in enumerate(own):
                overlap = hull_overlap(instance, start, end)
                if not taken[place] and overlap > best_overlap:
                    best, best_overlap = place, overlap
            if best is not None and best_overlap > tiou:
                taken[best] = True
        for place, (_, start, end, score) in enumerate(own):
            unclear = sum(hull_overlap(i, start, end) for i in ambiguous if i.video == video)
            if taken[place] or unclear == 0:
                collected.append((score, taken[place]))
    return sorted(collected, key=lambda each: -each[0])


def thumos_ap(flags: list[tuple[float, bool]], instances: int) -> float:
    right, total = 0, 0.0
    for place, (_, positive) in enumerate(flags, start=1):
        if positive:
            right += 1
            total += right / place
    return total / instances


def hull_overlap(instance: Instance, start: float, end: float) -> float:
    shared = min(instance.end, end) - max(instance.start, start)
    return shared / (max(instance.end, end) - min(instance.start, start)) if shared > 0 else 0.0


def activitynet_flags(rows: list[Row], truth: list[Instance], tiou: float) -> list[bool]:
    """One class's true positives in the order of evaluation, as compute_average_precision_detection goes through them."""
    flags: list[bool] = []
    locked = [False] * len(truth)
    for place in np.argsort([r[3] for r in rows], kind="stable")[::-1] if rows else []:
        video, start, end, _ = rows[place]
        mine = [number for number, i in enumerate(truth) if i.video == video]
        overlaps = [sum_overlap(truth[number], start, end) for number in mine]
        hit = False
        for choice in np.argsort(overlaps, kind="stable")[::-1] if mine else []:
            if overlaps[choice] < tiou:
                break
            if not locked[mine[choice]]:
                hit = locked[mine[choice]] = True
                break
        flags.append(hit)
    return flags


def activitynet_ap(flags: list[bool], instances: int) -> float:
    recall, precision, right = [0.0], [0.0], 0
    for place, positive in enumerate(flags, start=1):
        right += positive
        recall.append(right / instances)
        precision.append(right / place)
    recall.append(1.0)
    precision.append(0.0)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def sum_overlap(instance: Instance, start: float, end: float) -> float:
    shared = max(0.0, min(instance.end, end) - max(instance.start, start))
    return shared / ((instance.end - instance.start) + (end - start) - shared)


def suppressed(rows: list[tuple[float, float, float]], overlap: float) -> list[int]:
    """Which of (start, end, score) nms_temporal picks, in its order: an ascending stable sort, taken from its end."""
    left = sorted(range(len(rows)), key=lambda n: rows[n][2])
    picked = []
    while left:
        chosen = left.pop()
        picked.append(chosen)
        begin, finish, _ = rows[chosen]
        staying = []
        for other in left:
            start, end, _ = rows[other]
            shared = max(0.0, min(end, finish) - max(start, begin))
            if shared / ((finish - begin) + (end - start) - shared) <= overlap:
                staying.append(other)
        left = staying
    return picked


def ap_of(found: Detections, annotations: Annotations, tiou: float, protocol: str) -> list[float]:
    """Every class's average precision, NaN without an instance."""
    values = []
    for label, name in enumerate(annotations.classes):
        truth = list(annotations.of_class(label))
        rows = rows_of(found, name)
        if not truth:
            values.append(float("nan"))
        elif protocol == "thumos14":
            values.append(
                thumos_ap(thumos_flags(rows, truth, list(annotations.ambiguous), tiou), len(truth))
            )
        else:
            values.append(activitynet_ap(activitynet_flags(rows, truth, tiou), len(truth)))
    return values


def rows_of(found: Detections, name: str) -> list[Row]:
    return [
        (
            found.videos[found.video[n]],
            float(found.start[n]),
            float(found.end[n]),
            float(found.score[n]),
        )
        for n in range(len(found))
        if found.classes[found.label[n]] == name
    ]


def annotations_of(
    instances: list[Instance],
    *,
    classes: tuple[str, ...] = ("Jump", "Run", "Swim"),
    videos: tuple[str, ...] | None = None,
) -> Annotations:
    """Ground truth of instances; label -1 is ambiguous."""
    there = sorted({i.video for i in instances})
    return Annotations(
        name="made (test)",
        classes=classes,
        numbers=None,
        instances=tuple(sorted((i for i in instances if i.label >= 0), key=lambda i: i.label)),
        ambiguous=tuple(i for i in instances if i.label < 0),
        videos=tuple(there) if videos is None else videos,
    )


def detections_of(
    rows: list[tuple[str, str, float, float, float]], classes: tuple[str, ...]
) -> Detections:
    """Detections of (video, class, start, end, score)."""
    videos = tuple(dict.fromkeys(row[0] for row in rows))
    return Detections(
        classes=classes,
        videos=videos,
        video=np.array([videos.index(row[0]) for row in rows], np.int64),
        label=np.array([classes.index(row[1]) for row in rows], np.int64),
        start=np.array([row[2] for row in rows], np.float64),
        end=np.array([row[3] for row in rows], np.float64),
        score=np.array([row[4] for row in rows], np.float64),
    )


def random_case(
    seed: int, *, ties: bool, n_videos: int = 5, n_detections: int = 160
) -> tuple[Detections, Annotations]:
    """Crowded videos: instances that overlap, ambiguous stretches, and with `ties` times and scores of one decimal."""
    rng = np.random.default_rng(seed)
    videos = [f"v{n}" for n in rng.permutation(n_videos)]
    classes = ("Jump", "Run", "Swim")

    def spans(n: int) -> list[tuple[float, float]]:
        start = rng.uniform(0, 20, n)
        end = start + rng.uniform(0.5, 6, n)
        decimals = 1 if ties else 12
        return [
            (round(s, decimals), round(e, decimals))
            for s, e in zip(start.tolist(), end.tolist(), strict=True)
        ]

    labels = rng.integers(-1, 3, 40)
    instances = [
        Instance(videos[rng.integers(n_videos)], int(label), *span)
        for label, span in zip(labels, spans(40), strict=True)
    ]
    scores = rng.random(n_detections)
    scores = np.round(scores, 1) if ties else scores
    rows = [
        (videos[rng.integers(n_videos)], classes[rng.integers(3)], start, end, float(score))
        for (start, end), score in zip(spans(n_detections), scores, strict=True)
    ]
    annotations = annotations_of(instances, videos=tuple(sorted(videos)))
    return detections_of(rows, classes), annotations


def windows_of(found: Detections, *, length: int = 16) -> Windows:
    """Detections as windows of one length."""
    return Windows(
        classes=found.classes,
        videos=found.videos,
        video=found.video,
        label=found.label,
        length=np.full(len(found), length, np.int64),
        start=found.start,
        end=found.end,
        score=found.score,
        action=np.full(len(found), np.nan),
    )
