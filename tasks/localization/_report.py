"""What was found and how good it is, in words and as JSON values; and what is drawn of a run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from featx.report import table
from featx.report.page import check_page
from featx.report.picture import check_picture
from featx.system.text import Text, joined, visible
from featx.tasks.localization._curves import plot_curves
from featx.tasks.localization._detect import Run
from featx.tasks.localization._detections_file import FileEvaluation
from featx.tasks.localization._evaluate import counted, mean_over
from featx.tasks.localization._page import write_page
from featx.tasks.localization._postprocessing import overlap_for
from featx.tasks.localization._protocols import RULES
from featx.tasks.localization._types import Evaluation

# Detections that the text shows, the surest.
_SHOWN = 10


def run_text(run: Run) -> Text:
    """Return a run as text: on what it rests, how much was found, the surest detections, and the evaluation if there is one."""
    found, searched = run.found, run.found.searched
    videos = f"{counted(len(found.windows.videos) - len(found.failures), 'video')} searched"
    if run.absent:
        videos += f", {counted(len(run.absent), 'annotated video')} not there"
    lines = [
        f"{videos}: {counted(searched.windows, 'window')}, {counted(searched.proposals, 'proposal')}, {len(found.windows)} of an"
        f" action; {counted(len(found.detections), 'detection')}",
        *(f"{sentence}" for sentence in rests_on(run)),
        f"every window's probabilities: {found.windows_file}",
        *(f"detections, suppressed at {found.overlap:g}: {path}" for path in run.written),
    ]
    if not run.evaluations:
        surest = ["", _surest(run)] if len(found.detections) else []
        return joined([*map(wrapped, lines), *surest])
    first = run.evaluations[0]
    of = f"{counted(len(first.videos), 'video')}, {counted(int(first.instances.sum()), 'instance')}"
    lines.append(
        f"evaluated on {first.annotations}: {of}; suppressed at each tIoU - 0.1{_written(run)}"
    )
    tables = [
        summary_text(run.evaluations),
        *(part for each in run.evaluations for part in ("", evaluation_text(each))),
    ]
    return joined([*map(wrapped, lines), "", *tables])


def rests_on(run: Run) -> list[str]:
    """Return sentences, without their ends, on the networks, thresholds and data that a run rests on."""
    found, searched = run.found, run.found.searched
    networks = searched.networks.items()
    return [
        *(
            f"{stage} network: {each['name']}, sha256 {str(each['sha256'])[:12]}"
            for stage, each in networks
        ),
        f"proposals: windows of an action by {searched.threshold:g} or more; window lengths' weights: {found.prior}",
        *(f"note: {note}" for note in run.notes),
    ]


def _written(run: Run) -> str:
    """Return at which tIoU `featx detect eval` of what is written gives the same figures: it was suppressed once."""
    same = [
        at.tiou
        for at in run.evaluations[0].thresholds
        if abs(overlap_for(at.tiou) - run.found.overlap) < 1e-9
    ]
    where = (
        f"these figures at tIoU {', '.join(f'{tiou:g}' for tiou in same)} alone"
        if same
        else "other figures"
    )
    return f", where `featx detect eval` of the written file gives {where}" if run.written else ""


def run_json(run: Run) -> dict[str, Any]:
    """Return a run as plain JSON values; the detections themselves are in the files."""
    found = run.found
    return {
        "windows_file": found.windows_file,
        "networks": {stage: dict(each) for stage, each in found.searched.networks.items()},
        "threshold": found.searched.threshold,
        "prior": found.prior,
        "overlap": found.overlap,
        "videos": list(found.windows.videos),
        "absent": list(run.absent),
        "failures": [list(each) for each in found.failures],
        "windows": found.searched.windows,
        "proposals": found.searched.proposals,
        "actions": len(found.windows),
        "detections": len(found.detections),
        "written": list(run.written),
        "notes": list(run.notes),
        "protocols": {each.protocol: evaluation_json(each) for each in run.evaluations},
    }


def check_pictures(plot: str | None, html: str | None) -> None:
    """Raise UsageError where a picture or a page cannot be written."""
    if plot is not None:
        check_picture(plot)
    if html is not None:
        check_page(html)


def draw_pictures(
    run: Run,
    *,
    plot: str | None,
    html: str | None,
    on_progress: Callable[[int, int | None], None] = lambda *_: None,
) -> Iterator[str]:
    """Draw the curves and the page of a run that was evaluated, and yield what was written and what was left out."""
    if plot is not None and run.evaluations:
        plot_curves(plot, run.evaluations[0])
        yield f"{plot}: precision-recall curves"
    if html is not None and run.annotations is not None and run.evaluations:
        tious = [at.tiou for at in run.evaluations[0].thresholds]
        tiou = min(tious, key=lambda each: abs(each - 0.5))
        yield from write_page(
            run.evaluations,
            html,
            annotations=run.annotations,
            videos=run.found.paths,
            title=f"Detections in {counted(len(run.found.windows.videos), 'video')}",
            about=rests_on(run),
            tiou=tiou,
            on_progress=on_progress,
        )
        yield f"{html}: a page of the run"


def _surest(run: Run) -> str:
    found = run.found.detections
    rows = [
        (
            found.videos[found.video[i]],
            found.classes[found.label[i]],
            f"{found.start[i]:.1f}",
            f"{found.end[i]:.1f}",
            f"{found.score[i]:.4f}",
        )
        for i in np.argsort(-found.score, kind="stable")[:_SHOWN]
    ]
    return table(rows, ("video", "action", "from s", "to s", "score"))


# ---------------------------------------------------------------- evaluations


def file_text(found: FileEvaluation) -> Text:
    """Return a file's evaluation as text for a person: means by both protocols, then each protocol's classes."""
    head = [
        f"{found.source} ({found.format}) against {found.annotations.name}",
        *(f"  {line}" for line in found.about),
    ]
    first = found.evaluations[0]
    over = f"{counted(len(first.videos), 'video')} ({found.videos_from}), {counted(int(first.instances.sum()), 'instance')}"
    head.append(f"  evaluated on {over} of {counted(int((first.instances > 0).sum()), 'class')}")
    head = [wrapped(line) for line in head]
    return joined(
        [
            *head,
            "",
            summary_text(found.evaluations),
            *(part for each in found.evaluations for part in ("", evaluation_text(each))),
        ]
    )


def summary_text(found: Sequence[Evaluation]) -> str:
    """Return mean average precisions of several protocols side by side, a row each, in per cent."""
    headers = ("mAP % at tIoU", *(f"{at.tiou:g}" for at in found[0].thresholds), "mean", "videos")
    return table(
        [
            (
                RULES[e.protocol].name,
                *(_percent(at.mean_ap) for at in e.thresholds),
                _percent(mean_over(e)),
                str(len(e.videos)),
            )
            for e in found
        ],
        headers=headers,
    )


def evaluation_text(found: Evaluation) -> Text:
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
        f"{RULES[found.protocol].name} protocol, over {counted(len(found.videos), 'video')}: average precision in %",
        wrapped(f"  {RULES[found.protocol].text}"),
        table(rows, headers=("class", "instances", *(f"{at.tiou:g}" for at in found.thresholds))),
        f"mean over tIoUs: {_percent(mean_over(found))}",
    ]
    if found.thresholds[0].interval is not None:
        lines[-1] += f"; intervals: bootstrap over videos, {found.settings['bootstrap']} draws"
    return joined([*lines, *(wrapped(f"note: {note}") for note in found.notes)])


def file_json(found: FileEvaluation) -> dict[str, Any]:
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
        "name": RULES[found.protocol].name,
        "rules": RULES[found.protocol].text,
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


def wrapped(line: str) -> Text:
    """Return a line as several of 100 columns; names stay whole."""
    indent = "  " if line.startswith("  ") else ""
    return Text(
        textwrap.fill(
            visible(line),
            100,
            subsequent_indent=indent + "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.2f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
