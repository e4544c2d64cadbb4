"""An evaluation in words, as JSON values, and as a table of its videos."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featx.evaluation._result import DRAWS, Accuracy, Evaluation
from featx.files import disk_full, write_atomically
from featx.report import table

# Classes that are listed for a person; --json has all.
MOST_CLASSES = 20


def as_text(found: Evaluation) -> str:
    """Return an evaluation as text for a person: the accuracies, on what they rest, and the classes that come out worst."""
    n, failed = len(found.ids), len(found.failures)
    rows = [("video top-1", *_figures(found.top1), f"{int(found.top1.right.sum())} of {_counted(n, 'video')}")]
    if found.top5 is not None:
        rows.append(("video top-5", *_figures(found.top5), f"{int(found.top5.right.sum())} of {_counted(n, 'video')}"))
    clips = found.clip_top1
    rows.append(("clip top-1", *_figures(clips), f"{int(clips.right.sum())} of {_counted(int(clips.of.sum()), 'clip')}"))
    lines = [
        f"{_network(found)}: {found.dataset}",
        f"protocol {found.protocol.name}: {found.protocol.description} ({found.protocol.source})",
        "",
        table(rows, headers=("accuracy", "%", "95 % interval", "right")),
        f"intervals: bootstrap over videos, percentiles of {DRAWS} resamples",
    ]
    if found.top5 is None:
        lines.append(f"no top-5: there are {len(found.classes)} classes")
    lines += [
        *([f"{failed} of the {n} videos could not be read and count as wrong"] if failed else []),
        *([f"{found.absent} more videos of the list are not there and not counted"] if found.absent else []),
        *([f"{_counted(found.looped, 'video')} shorter than a clip, looped"] if found.looped else []),
        *([f"{_counted(len(found.damaged), 'video')} with damaged frames"] if found.damaged else []),
        *(f"note: {note}" for note in found.notes),
    ]
    return "\n".join([*lines, "", *_class_lines(found)])


def to_json(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain JSON values; `write_csv` writes the single videos."""
    right, videos = found.per_class
    return {
        "protocol": {**vars(found.protocol), "description": found.protocol.description},
        "dataset": found.dataset,
        "videos": len(found.ids),
        "failed": len(found.failures),
        "absent": found.absent,
        "looped": found.looped,
        "clips": int(found.clips.sum()),
        "video_top1": _values(found.top1),
        "video_top5": None if found.top5 is None else _values(found.top5),
        "clip_top1": _values(found.clip_top1),
        "interval": f"95 %, bootstrap over videos, percentiles of {DRAWS} resamples, seed 0",
        "classes": [
            {"name": name, "videos": int(of), "right": int(r)} for name, r, of in zip(found.classes, right, videos, strict=True)
        ],
        "confusion": found.confusion.tolist(),
        "failures": [{"id": i, "path": path, "reason": reason} for i, path, reason in found.failures],
        "damaged": dict(found.damaged),
        "notes": list(found.notes),
        **found.settings,
    }


def write_csv(evaluations: Sequence[Evaluation], path: str | os.PathLike[str]) -> None:
    """Write every video of every evaluation as a line of comma-separated values; a failed one has its reason in the last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("protocol", "id", "path", "label", "predicted", "right", "probability", "label_probability", "clips", "failure")
    )
    for found in evaluations:
        reasons = {i: reason for i, _, reason in found.failures}
        for place, video in enumerate(found.ids):
            label, predicted, row = found.labels[place], found.predictions[place], found.probabilities[place]
            start = (found.protocol.name, video, found.paths[place], found.classes[label])
            if video in reasons:
                writer.writerow((*start, "", 0, "", "", 0, reasons[video]))
            else:
                shown = (f"{row[predicted]:.6f}", f"{row[label]:.6f}", found.clips[place])
                writer.writerow((*start, found.classes[predicted], int(found.truth[place] == predicted), *shown, ""))
    target = Path(path)
    with disk_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text.getvalue().encode("utf-8", "surrogateescape"))


def _network(found: Evaluation) -> str:
    weights, settings = found.settings["weights"], found.settings
    name = f"random weights, seed {weights['seed']}" if weights["name"] == "random" else weights["name"]
    return f"{settings['model']['name']} ({name}), {settings['precision']} on {settings['device']}"


def _figures(accuracy: Accuracy) -> tuple[str, str]:
    low, high = accuracy.interval()
    return f"{100 * accuracy.value:.1f}", f"{100 * low:.1f} to {100 * high:.1f}"


def _values(accuracy: Accuracy) -> dict[str, float]:
    low, high = accuracy.interval()
    return {"value": accuracy.value, "low": low, "high": high, "right": int(accuracy.right.sum()), "of": int(accuracy.of.sum())}


def _class_lines(found: Evaluation) -> list[str]:
    right, videos = found.per_class
    confusion = found.confusion.copy()
    np.fill_diagonal(confusion, 0)
    shares = np.divide(right, videos, out=np.full(len(videos), np.inf), where=videos > 0)
    worst = [c for c in np.argsort(shares, kind="stable") if videos[c]]
    rows = []
    for c in worst[:MOST_CLASSES]:
        other = int(confusion[c].argmax())
        taken = f"{found.classes[other]} ({confusion[c, other]})" if confusion[c, other] else ""
        rows.append((found.classes[c], f"{100 * shares[c]:.1f}", f"{right[c]} of {videos[c]}", taken))
    more = [f"... and {len(worst) - MOST_CLASSES} more classes: --json lists them all"] if len(worst) > MOST_CLASSES else []
    return [table(rows, headers=("class, worst first", "%", "right", "most often taken for")), *more]


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
