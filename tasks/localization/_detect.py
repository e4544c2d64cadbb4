"""A run of detection: which videos, what is found in them, how good that is, and what is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np

from featx.datasets import thumos14
from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import Hooks, Machine
from featx.store.reader import FeatureStore
from featx.system.files import check_target, keep_inputs
from featx.tasks.localization._evaluate import (
    PROTOCOLS,
    TIOUS,
    check_request,
    evaluate,
    evaluated_videos,
)
from featx.tasks.localization._formats import write_json, write_table, write_text
from featx.tasks.localization._networks import files_of, read_networks
from featx.tasks.localization._postprocessing import (
    Prior,
    counted_prior,
    detections_of,
    overlap_for,
    read_prior,
    weighted,
    window_durations,
)
from featx.tasks.localization._protocols import truth_of
from featx.tasks.localization._types import Detections, Evaluation, Floats, Windows
from featx.tasks.localization._window_file import (
    Searched,
    classes_of,
    ids_in,
    lengths_of,
    rates_of,
    read_windows,
    searched,
    window_scores,
)
from featx.tasks.results import number_of, shown
from featx.video.source import find_videos

if TYPE_CHECKING:
    from featx.extraction.extract import Report

FORMATS = (".json", ".txt", ".csv")
NETWORKS = "networks"


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What a run came to. evaluations: by each protocol, none without ground truth. absent: videos that were not there."""

    found: Found
    evaluations: tuple[Evaluation, ...]
    annotations: Annotations | None
    written: tuple[str, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        videos, found = number_of(len(self.found.windows.videos), "video"), self.found.detections
        told = number_of(len(found), "detection"), number_of(len(self.found.failures), "failure")
        return shown("Run", videos, *told, parts=self.evaluations, notes=self.notes)


@dataclass(frozen=True, kw_only=True)
class _Videos:
    """paths: by name; root: what ids in the windows' file are relative to; windows: where that file lies by default."""

    paths: dict[str, str]
    annotations: Annotations | None
    root: str | None
    windows: str
    networks: str | None
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def detect(
    inputs: Sequence[str] = (),
    *,
    networks: str | None = None,
    subset: Literal["val", "test"] | None = None,
    root: str | None = None,
    partial: bool = False,
    annotations: Annotations | None = None,
    out: Sequence[str] = ("detections.json",),
    windows_file: str | None = None,
    threshold: float = 0.7,
    fps: float | Literal["own"] | None = None,
    prior: str = "counted",
    overlap: float = 0.4,
    machine: Machine | None = None,
    tious: Sequence[float] = TIOUS,
    bootstrap: int = 0,
    keep: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Run:
    """Find actions in videos, write them down, and evaluate them where there is ground truth.

    inputs: files, folders, lists; or subset: a side of THUMOS'14, in root. networks: a folder of `featx detect train`, by default
    networks in the dataset's. partial: go on with the videos that are there. annotations: of the inputs; names are then those of
    the videos' files. out: files to write, by suffix: .json as ActivityNet's, .txt in the official format, .csv a table.
    windows_file: what the networks said of every window, made or gone on with; beside the dataset or the first of `out`.
    threshold, fps, prior, overlap, machine: as in DetectSettings.
    keep: other files that will be written; none may be a video that is read.
    hooks: as `find_actions` takes them.

    Raises UsageError and FeatxError as its parts do, and before anything is computed where it can.
    """
    check_request(tious, bootstrap)
    for path in out:
        if Path(path).suffix not in FORMATS:
            raise UsageError(f"{path} is no detections' name: end it in {', '.join(FORMATS)}")
        check_target(Path(path), example=f"detections{Path(path).suffix}")
    if (subset is None) == (not inputs):
        raise UsageError(
            "give videos, or `subset='test'` for THUMOS'14's own"
            if subset is None
            else "give videos or `subset`, not both"
        )
    chosen = (
        _dataset(subset, root, partial, networks)
        if subset is not None
        else _own(inputs, annotations, root, out)
    )
    asked = DetectSettings(
        networks=networks or chosen.networks or _no_networks(),
        threshold=threshold,
        fps=fps,
        prior=prior,
        overlap=overlap,
        machine=machine or Machine(),
    )
    place = windows_file or chosen.windows
    _check_outputs((*out, *keep, place), _inputs(chosen, asked))
    if chosen.annotations is not None:
        truth_of(
            chosen.annotations, evaluated_videos(chosen.annotations, tuple(chosen.paths))[1]
        )  # which says what is missing
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    found = find_actions(chosen.paths, place, asked, root=chosen.root, hooks=hooks)
    for path in out:
        write(found.detections, path, annotations=chosen.annotations)
    evaluations: tuple[Evaluation, ...] = ()
    if chosen.annotations is not None:
        evaluations = evaluate_found(found, chosen.annotations, tious=tious, bootstrap=bootstrap)
    return Run(
        found=found,
        evaluations=evaluations,
        annotations=chosen.annotations,
        written=tuple(out),
        absent=chosen.absent,
        notes=(*chosen.notes, *found.notes),
    )


def write(found: Detections, path: str, *, annotations: Annotations | None = None) -> None:
    """Write detections in the format that the file's suffix names. annotations: whose class ids the official text format has."""
    suffix = Path(path).suffix
    if suffix == ".txt":
        write_text(found, path, numbers=_numbers(found, annotations))
    elif suffix == ".csv":
        write_table(found, path)
    else:
        write_json(found, path)


def _numbers(found: Detections, annotations: Annotations | None) -> list[int] | None:
    """Return the ids of the detections' classes, by the classes' names in the annotations; None without any."""
    if annotations is None:
        return None
    # As they are read again, beside these annotations.
    numbers = annotations.numbers or range(1, len(annotations.classes) + 1)
    known = dict(zip(annotations.classes, numbers, strict=True))
    for name in (found.classes[label] for label in sorted(set(found.label.tolist()))):
        if name not in known:
            raise UsageError(
                f"there are detections of class {name!r}, which has no id in {annotations.name}: write .json or .csv"
            )
    return [known.get(name, 0) for name in found.classes]


def _inputs(chosen: _Videos, asked: DetectSettings) -> list[str | Path]:
    """Return the files that are read."""
    read: list[str | Path] = [*chosen.paths.values(), *files_of(asked.networks)]
    if asked.prior not in ("counted", "none"):
        read.append(asked.prior)
    if chosen.annotations is not None and chosen.annotations.source:
        source = Path(chosen.annotations.source)
        read += source.iterdir() if source.is_dir() else [source]
    return read


def _check_outputs(outputs: Sequence[str], inputs: Sequence[str | Path]) -> None:
    """Raise UsageError where an output is read too, or is another one's name."""
    for path in outputs:
        keep_inputs(path, inputs)
    real = [os.path.realpath(path) for path in outputs]
    if twice := [path for path, place in zip(outputs, real, strict=True) if real.count(place) > 1]:
        raise UsageError(f"{twice[0]} is the name of two outputs: give each its own")


def _dataset(
    subset: Literal["val", "test"], root: str | None, partial: bool, networks: str | None
) -> _Videos:
    base = thumos14.folder(root)
    truth = thumos14.load_annotations(subset, root=root)
    paths, absent = thumos14.untrimmed_videos(truth.videos, subset, root=root)
    if absent and not (partial and paths):
        named = ", ".join(absent[:3]) + (" …" if absent[3:] else "")
        remedy = ", or go on with those that are there with `partial=True`" if paths else ""
        raise FeatxError(
            f"{len(absent)} of {len(truth.videos)} {subset} videos are not in {base} ({named}): get {thumos14.GET}{remedy}"
        )
    name = Path(networks or base / NETWORKS).name
    generated = ("generated videos, not the official ones",) if thumos14.is_generated(root) else ()
    return _Videos(
        paths=paths,
        annotations=truth,
        root=os.path.commonpath(
            [os.path.abspath(path) for path in (*paths.values(), str(base / "any"))]
        ),
        windows=str(base / "features" / f"{name}-{subset}.windows.h5"),
        networks=str(base / NETWORKS),
        absent=absent,
        notes=generated,
    )


def _own(
    inputs: Sequence[str], annotations: Annotations | None, root: str | None, out: Sequence[str]
) -> _Videos:
    by_id = {each.id: each.path for each in find_videos(inputs, root=root).sources}
    if not out:
        raise UsageError("there is nowhere to write what is found: give `out=['FILE']`")
    if annotations is None:
        return _Videos(
            paths=by_id, annotations=None, root=root, windows=_beside(out[0]), networks=None
        )
    names = {PurePosixPath(name).name: path for name, path in by_id.items()}
    if len(names) < len(by_id):
        raise UsageError(
            "two of the videos have the same file name, by which they are found in the annotations: give them apart"
        )
    return _Videos(
        paths=names, annotations=annotations, root=root, windows=_beside(out[0]), networks=None
    )


def _beside(path: str) -> str:
    return str(Path(path).with_suffix(".windows.h5"))


def _no_networks() -> str:
    raise UsageError(
        "there are no networks to detect with: give `networks='DIR'`, a folder that `featx detect train DIR` made"
    )


# ---------------------------------------------------------------- from videos to detections


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

    def __repr__(self) -> str:
        videos = number_of(len(self.windows.videos), "video")
        told = number_of(len(self.windows), "window"), number_of(len(self.detections), "detection")
        return shown("Found", videos, *told, notes=self.notes)


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
            f"{settings.networks} has no instances.csv to count the prior on: give `prior='FILE'`, or `prior='none'`"
        )
    check_target(Path(windows_file), example="windows.h5")
    hooks = hooks or Hooks()
    told = hooks.on_start

    def on_start(report: Report) -> None:
        # The classes are known now, and nothing is computed yet.
        if report.settings is not None:
            classes = classes_of(windows_file, report.settings)
            _check_prior(settings.prior, classes, networks.instances)
        if told:
            told(report)

    gone = [path for path in paths.values() if not os.path.lexists(path)]
    if len(gone) == len(paths):
        raise FeatxError(
            f"not one of {len(paths)} videos is there: {gone[0]}"
            if gone
            else "there are no videos to search"
        )
    there = [path for path in paths.values() if path not in gone]
    report = window_scores(
        there,
        windows_file,
        proposal=networks.proposal,
        localization=networks.localization,
        threshold=settings.threshold,
        fps=settings.fps,
        root=root,
        machine=settings.machine,
        hooks=replace(hooks, on_start=on_start),
    )
    failures = (*((path, "it is not there") for path in gone), *report.failures)
    with FeatureStore(windows_file) as store:
        known = ids_in(store, there, root)
        ids = {name: known[path] for name, path in paths.items() if path in known}
        windows = read_windows(store, tuple(paths), ids)
        rates = rates_of(store, tuple(paths), ids)
        lengths = lengths_of(store)
        rests_on = searched(store, ids.values())
    if np.isnan(rates).all():
        reason = f"; {failures[0][0]}: {failures[0][1]}" if failures else ""
        raise FeatxError(f"not one of {len(paths)} videos could be read{reason}")
    score, source = _weighed(windows, rates, lengths, settings.prior, networks.instances)
    windows = replace(windows, score=score)
    return Found(
        windows_file=os.fspath(windows_file),
        windows=windows,
        detections=detections_of(windows, None, overlap=settings.overlap),
        paths=dict(paths),
        prior=source,
        overlap=settings.overlap,
        searched=rests_on,
        failures=failures,
        notes=tuple(report.notes),
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
