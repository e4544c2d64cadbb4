"""From videos to detections: both networks over all windows, the length prior, suppression."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Hooks, Machine
from featx.system.files import check_target
from featx.tasks.localization._network_scores import window_scores
from featx.tasks.localization._networks import read_networks
from featx.tasks.localization._prior import (
    Prior,
    counted_prior,
    read_prior,
    weighted,
    window_durations,
)
from featx.tasks.localization._scores import (
    Searched,
    classes_of,
    lengths_of,
    rates_of,
    read_windows,
    searched,
)
from featx.tasks.localization._suppression import overlap_for
from featx.tasks.localization._types import Detections, Evaluation, Floats, Windows
from featx.tasks.localization._windows import detections_of
from featx.tasks.localization.evaluation._evaluate import PROTOCOLS, TIOUS, check_request, evaluate

if TYPE_CHECKING:
    from featx.extraction.extract import Report


@dataclass(frozen=True, kw_only=True)
class DetectSettings:
    """How actions are found.

    networks: a folder of `featx detect train`. threshold: least probability of an action by the proposal network, of windows
    that the localization network sees. fps: the rate windows are taken at, "own" for each video's, None for the networks'.
    prior: weigh scores by window length: "counted" on the instances that the networks were trained on, a file, or "none".
    overlap: above which the surer of two detections suppresses the other, in what is written.
    machine: how the machine is used.
    """

    networks: str
    threshold: float = 0.7
    fps: float | Literal["own"] | None = None
    prior: str = "counted"
    overlap: float = 0.4
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 1:
            raise UsageError(f"overlap is {self.overlap:g}: give a tIoU, 0 to 1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What was found. windows: scores weighed, nothing suppressed; detections: suppressed at the settings' overlap.

    windows_file: a feature file of every window's probabilities; searched: what it rests on. paths: of the videos, by name.
    prior: where it is from. overlap: the settings'. failures: (path, reason) of videos that could not be read.
    """

    windows_file: str
    windows: Windows
    detections: Detections
    paths: Mapping[str, str]
    prior: str
    overlap: float
    searched: Searched
    failures: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def find_actions(
    paths: Mapping[str, str],
    windows_file: str | os.PathLike[str],
    settings: DetectSettings,
    *,
    root: str | None = None,
    hooks: Hooks | None = None,
) -> Found:
    """Find actions in videos, given by name.

    windows_file: a feature file, made or gone on with, in which every window's probabilities are kept. root: video ids in it are
    relative to this folder. hooks: as `featx.extract` has them.

    Raises UsageError for networks that are not there or do not fit, FeatxError where not one video can be read.
    """
    networks = read_networks(settings.networks)
    if settings.prior == "counted" and networks.instances is None:
        raise UsageError(
            f"{settings.networks} has no instances.csv to count the prior on: give --prior FILE, or --prior none"
        )
    check_target(Path(windows_file), example="windows.h5")
    hooks = hooks or Hooks()
    told = hooks.on_start

    def on_start(report: Report) -> None:
        # The classes are known now, and nothing is computed yet.
        _check_prior(settings.prior, classes_of(windows_file, report.settings), networks.instances)
        if told:
            told(report)

    gone = [path for path in paths.values() if not os.path.lexists(path)]
    if len(gone) == len(paths):
        raise FeatxError(
            f"not one of {len(paths)} videos is there: {gone[0]}"
            if gone
            else "there are no videos to search"
        )
    scores = window_scores(
        [path for path in paths.values() if path not in gone],
        windows_file,
        proposal=networks.proposal,
        localization=networks.localization,
        threshold=settings.threshold,
        fps=settings.fps,
        root=root,
        machine=settings.machine,
        hooks=replace(hooks, on_start=on_start),
    )
    names, ids = (
        tuple(paths),
        {name: scores.ids[path] for name, path in paths.items() if path in scores.ids},
    )
    windows = read_windows(windows_file, names, ids)
    rates = rates_of(windows_file, names, ids)
    failures = (*((path, "it is not there") for path in gone), *scores.report.failures)
    if np.isnan(rates).all():
        reason = f"; {failures[0][0]}: {failures[0][1]}" if failures else ""
        raise FeatxError(f"not one of {len(paths)} videos could be read{reason}")
    score, source = _weighed(
        windows, rates, lengths_of(windows_file), settings.prior, networks.instances
    )
    windows = replace(windows, score=score)
    return Found(
        windows_file=os.fspath(windows_file),
        windows=windows,
        detections=detections_of(windows, None, overlap=settings.overlap),
        paths=dict(paths),
        prior=source,
        overlap=settings.overlap,
        searched=searched(windows_file, ids.values()),
        failures=failures,
        notes=tuple(scores.report.notes),
    )


def _weighed(
    windows: Windows,
    rates: Floats,
    lengths: tuple[int, ...],
    prior: str,
    instances: Annotations | None,
) -> tuple[Floats, str]:
    """Return the scores times the prior, (N,), and where that is from; at several rates a length has several durations."""
    if prior == "none":
        return windows.score, "none"
    if prior != "counted" or instances is None:
        given = read_prior(prior, windows.classes)
        return weighted(windows, given), given.source
    score = windows.score.copy()
    of_window = rates[windows.video] if len(windows) else np.zeros(0)
    for rate in np.unique(of_window):
        rows = of_window == rate
        counted: Prior = counted_prior(
            instances, lengths=lengths, durations=window_durations(lengths, float(rate))
        )
        names = ("video", "label", "length", "start", "end", "score", "action")
        score[rows] = weighted(
            replace(windows, **{name: getattr(windows, name)[rows] for name in names}), counted
        )
    return score, f"counted on {len(instances.instances)} instances of the training videos"


def _check_prior(prior: str, classes: tuple[str, ...], instances: Annotations | None) -> None:
    """Raise UsageError or FeatxError where the prior is not to be had, or not of these classes."""
    if prior == "none":
        return
    if prior != "counted" or instances is None:
        lacking, source = set(classes) - set(read_prior(prior, classes).classes), prior
    else:
        lacking, source = set(classes) - set(instances.classes), instances.source
    if lacking:
        remedy = (
            "run `featx detect train` again"
            if prior == "counted"
            else "give one of the networks' classes"
        )
        raise FeatxError(f"{source} has nothing of {', '.join(sorted(lacking)[:3])}: {remedy}")


def evaluate_found(
    found: Found,
    annotations: Annotations,
    *,
    tious: Sequence[float] = TIOUS,
    bootstrap: int = 0,
) -> tuple[Evaluation, ...]:
    """Hold what was found against ground truth by both protocols, suppressed at each tIoU minus 0.1 as S-CNN is.

    The videos are those that were searched; raises as `evaluate` does.
    """
    check_request(tious, bootstrap)
    by_tiou = {
        tiou: detections_of(found.windows, None, overlap=overlap_for(tiou)) for tiou in tious
    }
    return tuple(
        evaluate(
            by_tiou.__getitem__,
            annotations,
            tious=tious,
            protocol=protocol,
            videos=found.windows.videos,
            bootstrap=bootstrap,
        )
        for protocol in PROTOCOLS
    )
