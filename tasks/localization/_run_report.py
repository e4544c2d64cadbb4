"""What a run of detection came to, for a person, for a machine, and as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from featx.picture import check_picture
from featx.report import table
from featx.report.page import check_page
from tasks.localization._run import Run
from tasks.localization.evaluation._curves import plot_curves
from tasks.localization.evaluation._evaluate import counted
from tasks.localization.evaluation._report import evaluation_json, evaluation_text, summary_text
from tasks.localization.pictures._page import write_page

# Detections that the text shows, the surest.
_SHOWN = 10


def run_text(run: Run) -> str:
    """Return a run as text: how much was searched and found, the surest detections, and the evaluation if there is one."""
    found = run.found
    searched = f"{counted(len(found.windows.videos) - len(found.failures), 'video')} searched"
    if run.absent:
        searched += f", {len(run.absent)} that the annotations have were not there"
    lines = [
        f"{searched}; {counted(len(found.windows), 'window')} of an action, {counted(len(found.detections), 'detection')}"
        f" (window lengths' weights: {found.prior})",
        f"every window's probabilities: {found.windows_file}",
        *(f"detections: {path}" for path in run.written),
    ]
    if not run.evaluations:
        return "\n".join([*lines, "", _surest(run)]) if len(found.detections) else "\n".join(lines)
    first = run.evaluations[0]
    videos = f"{counted(len(first.videos), 'video')}, {counted(int(first.instances.sum()), 'instance')}"
    return "\n".join([
        *lines, f"evaluated on {first.annotations}: {videos}; suppressed at each tIoU - 0.1",
        "", summary_text(run.evaluations), *(f"\n{evaluation_text(each)}" for each in run.evaluations),
    ])  # fmt: skip


def run_json(run: Run) -> dict[str, Any]:
    """Return a run as plain JSON values; the detections themselves are in the files."""
    found = run.found
    return {
        "windows_file": found.windows_file,
        "videos": list(found.windows.videos),
        "absent": list(run.absent),
        "failures": [list(each) for each in found.failures],
        "windows": len(found.windows),
        "detections": len(found.detections),
        "prior": found.prior,
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
    run: Run, *, plot: str | None, html: str | None, on_progress: Callable[[int, int | None], None] = lambda *_: None
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
