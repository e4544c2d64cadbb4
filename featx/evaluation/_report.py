"""An evaluation in words, as JSON values, and as a table of its videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from featx.evaluation._result import Evaluation
from featx.report import DRAWS, class_lines, table
from featx.report import write_csv as csv_file
from featx.system.text import Text, joined


def as_text(found: Evaluation) -> Text:
    """Return an evaluation as text for a person: the accuracies, on what they rest, and the classes that come out worst."""
    n, failed, unit = len(found.ids), len(found.failures), found.unit
    rows = [
        (
            f"{unit} top-1",
            *found.top1.as_cells(),
            f"{int(found.top1.right.sum())} of {_counted(n, unit)}",
        )
    ]
    if found.top5 is not None:
        rows.append(
            (
                f"{unit} top-5",
                *found.top5.as_cells(),
                f"{int(found.top5.right.sum())} of {_counted(n, unit)}",
            )
        )
    if unit == "video":
        clips = found.clip_top1
        rows.append(
            (
                "clip top-1",
                *clips.as_cells(),
                f"{int(clips.right.sum())} of {_counted(int(clips.of.sum()), 'clip')}",
            )
        )
    lines = [
        f"{_network(found)}: {found.dataset}",
        f"protocol {found.protocol.name}: {found.protocol.description} ({found.protocol.source})",
        "",
        table(rows, headers=("accuracy", "%", "95 % interval", "right")),
        f"intervals: bootstrap over {unit}s, percentiles of {DRAWS} resamples",
    ]
    if found.top5 is None:
        lines.append(f"no top-5: there are {len(found.classes)} classes")
    lines += [
        *([f"{failed} of the {n} videos could not be read and count as wrong"] if failed else []),
        *(
            [f"{found.absent} more videos of the list are not there and not counted"]
            if found.absent
            else []
        ),
        *(
            [f"{_counted(found.looped, 'video')} shorter than a clip, looped"]
            if found.looped
            else []
        ),
        *(
            [f"{_counted(len(found.damaged), 'video')} with damaged frames"]
            if found.damaged
            else []
        ),
        *(f"note: {note}" for note in found.notes),
    ]
    return joined([*lines, "", *class_lines(found.classes, found.confusion, *found.per_class)])


def to_json(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain JSON values; `write_csv` writes the single videos."""
    (right, of), unit = found.per_class, found.unit
    counts: dict[str, Any] = {}
    if unit == "video":
        counts = {
            "videos": len(found.ids),
            "failed": len(found.failures),
            "absent": found.absent,
            "looped": found.looped,
        }
    accuracies = {
        f"{unit}_top1": found.top1.as_json(),
        f"{unit}_top5": None if found.top5 is None else found.top5.as_json(),
    }
    return {
        "protocol": {**vars(found.protocol), "description": found.protocol.description},
        "dataset": found.dataset,
        **counts,
        "clips": int(found.clips.sum()),
        "clip_top1": found.clip_top1.as_json(),
        **accuracies,
        "interval": f"95 %, bootstrap over {unit}s, percentiles of {DRAWS} resamples, seed 0",
        "classes": [
            {"name": name, f"{unit}s": int(n), "right": int(r)}
            for name, r, n in zip(found.classes, right, of, strict=True)
        ],
        "confusion": found.confusion.tolist(),
        "failures": [
            {"id": i, "path": path, "reason": reason} for i, path, reason in found.failures
        ],
        "damaged": dict(found.damaged),
        "notes": list(found.notes),
        **found.settings,
    }


def write_csv(evaluations: Sequence[Evaluation], path: str | os.PathLike[str]) -> None:
    """Write every video of every evaluation as a line of comma-separated values; a failed one has its reason in the last."""
    rows: list[tuple[object, ...]] = []
    for found in evaluations:
        reasons = {i: reason for i, _, reason in found.failures}
        for place, video in enumerate(found.ids):
            label, predicted, row = (
                found.labels[place],
                found.predictions[place],
                found.probabilities[place],
            )
            start = (found.protocol.name, video, found.paths[place], found.classes[label])
            if video in reasons:
                rows.append((*start, "", 0, "", "", 0, reasons[video]))
            else:
                shown = (f"{row[predicted]:.6f}", f"{row[label]:.6f}", found.clips[place])
                rows.append(
                    (
                        *start,
                        found.classes[predicted],
                        int(found.truth[place] == predicted),
                        *shown,
                        "",
                    )
                )
    headers = (
        "protocol",
        "id",
        "path",
        "label",
        "predicted",
        "right",
        "probability",
        "label_probability",
        "clips",
        "failure",
    )
    csv_file(path, headers, rows)


def _network(found: Evaluation) -> str:
    weights, settings = found.settings["weights"], found.settings
    name = (
        f"random weights, seed {weights['seed']}"
        if weights["name"] == "random"
        else weights["name"]
    )
    return f"{settings['model']['name']} ({name}), {settings['precision']} on {settings['device']}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
