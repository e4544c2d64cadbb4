"""An SVM's accuracies and predictions in words, as JSON values, as comma-separated values and as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from featx.report import DRAWS, Accuracy, class_lines, plot_confusion, table
from featx.report import write_csv as csv_file
from featx.system.text import Text, joined
from featx.tasks.recognition._predict import Prediction
from featx.tasks.recognition._result import Origin, SplitResult, SvmResult

PROTOCOL = "a video is the mean over its clips, L2-normalised (Res3D paper, section 5.1)"
# Videos that are listed for a person; --csv and --json have all.
MOST_VIDEOS = 40


def as_text(found: SvmResult) -> Text:
    """Return the accuracies as text for a person, with what they rest on, and the classes that come out worst."""
    first = found.splits[0]
    lines = [
        f"{found.dataset}: linear SVM on {_joined(first.origins, found.fusion)}",
        PROTOCOL,
        *([_divided(found)] if found.folds is not None else []),
        f"one class against the rest, squared hinge; C {_told_C(found)}",
        "",
        table(
            _accuracy_rows(found),
            headers=("accuracy", "%", "95 % interval", "right", "trained on", "classes", "C"),
        ),
        *([_spread(found)] if found.pooled is not None else []),
        f"intervals: bootstrap over videos, percentiles of {DRAWS} resamples",
        *(_features_line(each) for each in _origins(found)),
        *_tuning_lines(found),
        *_absent_lines(found),
        *([f"paper: {found.paper}"] if found.paper else []),
        *(f"note: {note}" for note in found.notes),
    ]
    return joined([*lines, "", *class_lines(found.classes, found.confusion, *found.per_class)])


def _part(found: SvmResult) -> str:
    return "split" if found.folds is None else "fold"


def _divided(found: SvmResult) -> str:
    """Return that this is no protocol of the dataset's authors, nor comparable with one."""
    videos = sum(len(each.ids) for each in found.splits)
    return (
        f"{found.folds}-fold cross-validation over {videos} videos, each tested once, groups kept together:"
        f" not {found.dataset}'s own splits, with whose figures it does not compare"
    )


def _accuracy_rows(found: SvmResult) -> list[tuple[str, ...]]:
    part = _part(found)
    rows: list[tuple[str, ...]] = [
        (f"{part} {each.split}", *each.accuracy.as_cells(), *_counts(each)) for each in found.splits
    ]
    blank = [""] * (len(rows[0]) - 4)
    # Folds may have a video or two each: a mean over them has no interval of its own worth the name, all videos have.
    if len(found.splits) > 1 and found.folds is None:
        rows.append(
            ("mean", f"{100 * found.mean:.1f}", _told_interval(*found.interval), "", *blank)
        )
    if found.pooled is not None:
        rows.append(("all videos", *found.pooled.as_cells(), _right(found.pooled), *blank))
    return rows


def _told_interval(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _spread(found: SvmResult) -> str:
    deviation, lowest, highest = (100 * each for each in found.spread)
    return (
        f"over {len(found.splits)} {_part(found)}s: mean {100 * found.mean:.1f} %, standard deviation {deviation:.1f},"
        f" from {lowest:.1f} to {highest:.1f}"
    )


def _right(accuracy: Accuracy) -> str:
    return f"{int(accuracy.right.sum())} of {len(accuracy.right)} videos"


def _counts(each: SplitResult) -> tuple[str, str, str, str]:
    return (
        _right(each.accuracy),
        f"{each.trained} videos",
        str(len(each.classes)),
        ", ".join(f"{C:g}" for C in each.C),
    )


def _joined(origins: Sequence[Origin], fusion: str) -> str:
    how = (
        ""
        if len(origins) == 1
        else ", one after the other"
        if fusion == "concat"
        else ", the mean of an SVM's scores on each"
    )
    return " + ".join(each.title for each in origins) + how


def _told_C(found: SvmResult) -> str:
    if found.tuned:
        return "chosen in the training set by cross-validation, groups kept together"
    return f"{found.splits[0].C[0]:g}" + (" (LIBLINEAR's own)" if found.splits[0].C[0] == 1 else "")


def _origins(found: SvmResult) -> list[Origin]:
    return list(
        {(each.path, each.layer): each for split in found.splits for each in split.origins}.values()
    )


def _features_line(origin: Origin) -> str:
    made = origin.settings
    how = f", {made.precision} on {made.device}" if made else ", another library's"
    return f"features: {origin.title}, {origin.dims} numbers{how}, from {origin.path}"


def _tuning_lines(found: SvmResult) -> list[str]:
    lines = []
    for each in found.splits:
        for machine, tuning in enumerate(each.classifier.tunings):
            cells = ", ".join(
                f"{C:g}: {100 * a:.1f}" for C, a in zip(tuning.grid, tuning.accuracies, strict=True)
            )
            of = f", {each.origins[machine].title}" if len(each.classifier.tunings) > 1 else ""
            if tuning.best in (tuning.grid[0], tuning.grid[-1]):
                cells += f"; {tuning.best:g} is at the end of the grid, a better one may lie beyond"
            lines.append(
                f"{_part(found)} {each.split}{of}: % over {tuning.folds} folds of the training set by C: {cells}"
            )
    return lines


def _absent_lines(found: SvmResult) -> list[str]:
    return [
        f"split {each.split}: {each.absent[0]} training and {each.absent[1]} test videos of the lists are not there, not counted"
        for each in found.splits
        if any(each.absent)
    ]


def to_json(found: SvmResult) -> dict[str, Any]:
    """Return the result as plain JSON values; `write_csv` writes the single videos."""
    right, videos = found.per_class
    low, high = found.interval if found.folds is None else (None, None)
    deviation, lowest, highest = found.spread
    return {
        "dataset": found.dataset,
        "protocol": PROTOCOL,
        "folds": found.folds,
        "fusion": found.fusion,
        "mean": {"value": found.mean, "low": low, "high": high},
        "spread": {"deviation": deviation, "lowest": lowest, "highest": highest},
        "all": None if found.pooled is None else found.pooled.as_json(),
        "splits": [_split_json(each) for each in found.splits],
        "interval": f"95 %, bootstrap over videos, percentiles of {DRAWS} resamples, seed 0",
        "paper": found.paper,
        "classes": [
            {"name": name, "videos": int(of), "right": int(r)}
            for name, r, of in zip(found.classes, right, videos, strict=True)
        ],
        "confusion": found.confusion.tolist(),
        "notes": list(found.notes),
    }


def _split_json(each: SplitResult) -> dict[str, Any]:
    return {
        "split": each.split,
        "accuracy": each.accuracy.as_json(),
        "train": each.trained,
        "test": len(each.ids),
        "classes": len(each.classes),
        "absent": {"train": each.absent[0], "test": each.absent[1]},
        "C": list(each.C),
        "tuning": [vars(tuning) for tuning in each.classifier.tunings],
        "features": [origin.to_json() for origin in each.origins],
        "saved": each.saved,
        "notes": list(each.notes),
    }


def write_csv(found: SvmResult, path: str | os.PathLike[str]) -> None:
    """Write every test video of every split, or fold, as a line of comma-separated values."""
    lines = []
    for each in found.splits:
        for place, video in enumerate(each.ids):
            label, predicted, row = (
                int(each.labels[place]),
                int(each.predictions[place]),
                each.scores[place],
            )
            shown = (f"{row[predicted]:.6f}", f"{row[label]:.6f}")
            lines.append(
                (
                    each.split,
                    video,
                    each.classes[label],
                    each.classes[predicted],
                    int(each.right[place]),
                    *shown,
                )
            )
    csv_file(
        path, (_part(found), "id", "label", "predicted", "right", "score", "label_score"), lines
    )


def plot(found: SvmResult, path: str | os.PathLike[str]) -> None:
    """Draw the confusion matrix over all splits or folds."""
    title = [
        f"{found.dataset}, {_splits(found)}",
        *(each.title for each in found.splits[0].origins),
    ]
    plot_confusion(path, found.confusion, found.classes, title=title)


def _splits(found: SvmResult) -> str:
    if found.folds is not None and found.pooled is not None:
        return f"{found.folds}-fold cross-validation: {100 * found.pooled.value:.1f} % of {len(found.pooled.right)} videos"
    numbers = ", ".join(str(each.split) for each in found.splits)
    if len(found.splits) == 1:
        return f"split {numbers}: {100 * found.mean:.1f} % of {len(found.splits[0].ids)} videos"
    return f"splits {numbers} together: mean {100 * found.mean:.1f} %"


def prediction_lines(found: Prediction) -> Text:
    """Return what the videos are taken for as text for a person."""
    rows = _rows(found)
    model, trained = found.model, found.model.trained_on
    lines = [
        f"linear SVM on {_joined(model.origins, model.classifier.fusion)}",
        f"trained on {trained['title']}: {trained['videos']} videos of {len(model.classes)} classes,"
        f" {100 * model.accuracy['value']:.1f} % of its test videos right",
        "",
        table(rows[:MOST_VIDEOS], headers=("video", "class", "score", "second", "margin")),
    ]
    if len(rows) > MOST_VIDEOS:
        lines.append(
            f"... and {len(rows) - MOST_VIDEOS} more videos: --csv or --json lists them all"
        )
    lines += [
        "scores above 0 are on the class's side of its border; the margin is to the second class's score"
    ]
    return joined([*lines, *(f"note: {note}" for note in found.notes)])


def _rows(found: Prediction) -> list[tuple[str, str, float, str, float]]:
    names = found.model.classes
    return [
        (video, names[first], float(scores[first]), names[second], float(margin))
        for video, scores, (first, second), margin in zip(
            found.ids, found.scores, found.best, found.margins, strict=True
        )
    ]


def prediction_to_json(found: Prediction) -> dict[str, Any]:
    """Return what the videos are taken for as plain JSON values."""
    return {
        "classes": list(found.model.classes),
        "trained_on": found.model.trained_on,
        "accuracy": found.model.accuracy,
        "videos": [
            {
                "id": video,
                "class": name,
                "score": score,
                "second": second,
                "margin": margin,
                "scores": scores.tolist(),
            }
            for (video, name, score, second, margin), scores in zip(
                _rows(found), found.scores, strict=True
            )
        ],
        "notes": list(found.notes),
    }


def write_prediction(found: Prediction, path: str | os.PathLike[str]) -> None:
    """Write what every video is taken for as a line of comma-separated values."""
    lines = [
        (video, name, f"{score:.6f}", second, f"{margin:.6f}")
        for video, name, score, second, margin in _rows(found)
    ]
    csv_file(path, ("id", "class", "score", "second", "margin"), lines)
