"""What an evaluation found, in words and as JSON values."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from featx.report import table
from featx.tasks.localization._types import Evaluation, Protocol
from featx.tasks.localization.evaluation._evaluate import counted, mean_over
from featx.tasks.localization.evaluation._evaluate_file import FileEvaluation

PROTOCOL_NAMES: dict[Protocol, str] = {"thumos14": "THUMOS'14", "activitynet": "ActivityNet"}
PROTOCOL_RULES: dict[Protocol, str] = {
    "thumos14": (
        "the THUMOS'14 toolkit's: each instance takes the free detection of highest tIoU, greater than the threshold; detections"
        " in ambiguous stretches dropped; average precision not interpolated"
    ),
    "activitynet": (
        "ActivityNet's evaluation code's: each detection, surest first, takes the free instance of highest tIoU, the threshold or"
        " greater; ambiguous stretches not looked at; average precision interpolated"
    ),
}


def as_text(found: FileEvaluation) -> str:
    """Return a file's evaluation as text for a person: means by both protocols, then each protocol's classes."""
    head = [
        f"{found.source} ({found.format}) against {found.annotations.name}",
        *(f"  {line}" for line in found.about),
    ]
    first = found.evaluations[0]
    over = f"{counted(len(first.videos), 'video')} ({found.videos_from}), {counted(int(first.instances.sum()), 'instance')}"
    head.append(f"  evaluated on {over} of {counted(int((first.instances > 0).sum()), 'class')}")
    head = [wrapped(line) for line in head]
    return "\n".join(
        [
            *head,
            "",
            summary_text(found.evaluations),
            *(f"\n{evaluation_text(e)}" for e in found.evaluations),
        ]
    )


def summary_text(found: Sequence[Evaluation]) -> str:
    """Return mean average precisions of several protocols side by side, a row each, in per cent."""
    headers = ("mAP % at tIoU", *(f"{at.tiou:g}" for at in found[0].thresholds), "mean", "videos")
    return table(
        [
            (
                PROTOCOL_NAMES[e.protocol],
                *(_percent(at.mean_ap) for at in e.thresholds),
                _percent(mean_over(e)),
                str(len(e.videos)),
            )
            for e in found
        ],
        headers=headers,
    )


def evaluation_text(found: Evaluation) -> str:
    """Return one protocol's figures as text: average precision of every class at every tIoU, means, intervals and notes."""
    rows = [
        (name, str(instances), *(_percent(float(at.ap[label])) for at in found.thresholds))
        for label, (name, instances) in enumerate(
            zip(found.classes, found.instances.tolist(), strict=True)
        )
    ]
    with_instances = counted(int((found.instances > 0).sum()), "class")
    rows.append(
        (
            f"mean of {with_instances}",
            str(found.instances.sum()),
            *(_percent(at.mean_ap) for at in found.thresholds),
        )
    )
    intervals = [at.interval for at in found.thresholds]
    for place, name in enumerate(("95 % interval, from", "to")):
        if all(each is not None for each in intervals):
            rows.append(
                (name, "", *(_percent(each[place]) for each in intervals if each is not None))
            )
    lines = [
        f"{PROTOCOL_NAMES[found.protocol]} protocol, over {counted(len(found.videos), 'video')}: average precision in %",
        wrapped(f"  {PROTOCOL_RULES[found.protocol]}"),
        table(rows, headers=("class", "instances", *(f"{at.tiou:g}" for at in found.thresholds))),
        f"mean over tIoUs: {_percent(mean_over(found))}",
    ]
    if found.thresholds[0].interval is not None:
        lines[-1] += f"; intervals: bootstrap over videos, {found.settings['bootstrap']} draws"
    return "\n".join([*lines, *(wrapped(f"note: {note}") for note in found.notes)])


def to_json(found: FileEvaluation) -> dict[str, Any]:
    """Return a file's evaluation as plain JSON values, with the full lists of videos."""
    return {
        "detections": found.source,
        "format": found.format,
        "annotations": {"name": found.annotations.name, "source": found.annotations.source},
        "videos_from": found.videos_from,
        "about": list(found.about),
        "settings": dict(found.settings),
        "protocols": {each.protocol: evaluation_json(each) for each in found.evaluations},
    }


def evaluation_json(found: Evaluation) -> dict[str, Any]:
    """Return one protocol's figures as plain JSON values; average precisions are shares of 1, None where nothing is."""
    return {
        "protocol": found.protocol,
        "name": PROTOCOL_NAMES[found.protocol],
        "rules": PROTOCOL_RULES[found.protocol],
        "annotations": found.annotations,
        "videos": list(found.videos),
        "n_videos": len(found.videos),
        "instances": int(found.instances.sum()),
        "mean_over_tious": mean_over(found),
        "tious": [
            {
                "tiou": at.tiou,
                "map": at.mean_ap,
                "interval": None if at.interval is None else list(at.interval),
                "detections": len(at.detections),
                "true_positives": int((at.matched == 1).sum()),
                "false_positives": int((at.matched == 0).sum()),
                "dropped": int((at.matched == -1).sum()),
            }
            for at in found.thresholds
        ],
        "classes": [
            {
                "class": name,
                "instances": int(found.instances[label]),
                "ap": {f"{at.tiou:g}": _number(float(at.ap[label])) for at in found.thresholds},
            }
            for label, name in enumerate(found.classes)
        ],
        "notes": list(found.notes),
    }


def wrapped(line: str) -> str:
    """Return a line as several of 100 columns; names stay whole."""
    indent = "  " if line.startswith("  ") else ""
    return textwrap.fill(
        line,
        100,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.2f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
