"""What a run of detection came to, for a person, for a machine, and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from featx.report import table
from featx.report.page import check_page
from featx.report.picture import check_picture
from featx.tasks.localization._run import Run
from featx.tasks.localization._suppression import overlap_for
from featx.tasks.localization.evaluation._curves import plot_curves
from featx.tasks.localization.evaluation._evaluate import counted
from featx.tasks.localization.evaluation._report import (
    evaluation_json,
    evaluation_text,
    summary_text,
    wrapped,
)
from featx.tasks.localization.pictures._page import write_page

# Detections that the text shows, the surest.
_SHOWN = 10


def run_text(run: Run) -> str:
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
        return "\n".join([*map(wrapped, lines), *surest])
    first = run.evaluations[0]
    of = f"{counted(len(first.videos), 'video')}, {counted(int(first.instances.sum()), 'instance')}"
    lines.append(
        f"evaluated on {first.annotations}: {of}; suppressed at each tIoU - 0.1{_written(run)}"
    )
    tables = [
        summary_text(run.evaluations),
        *(f"\n{evaluation_text(each)}" for each in run.evaluations),
    ]
    return "\n".join([*map(wrapped, lines), "", *tables])


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
