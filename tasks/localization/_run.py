"""A whole run of detection: which videos, what was found in them, how good that is, and what is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from featx.datasets import thumos14
from featx.datasets.untrimmed import Annotations
from featx.errors import FeatxError, UsageError
from featx.extraction.provide import videos_by_id
from featx.extraction.settings import Hooks, Machine
from featx.system.files import check_target, keep_inputs
from featx.tasks.localization._detect import DetectSettings, Found, evaluate_found, find_actions
from featx.tasks.localization._networks import files_of
from featx.tasks.localization._types import Detections, Evaluation
from featx.tasks.localization.evaluation._evaluate import TIOUS, check_request, evaluated_videos
from featx.tasks.localization.evaluation._truth import truth_of
from featx.tasks.localization.formats._writing import write_json, write_table, write_text

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
        check_target(Path(path), example="detections.json")
    if (subset is None) == (not inputs):
        raise UsageError(
            "give videos, or --thumos14 for the dataset's own"
            if subset is None
            else "give videos or --thumos14, not both"
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
        remedy = ", or go on with those that are there with --partial" if paths else ""
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
    by_id = videos_by_id(inputs, root=root)
    if not out:
        raise UsageError("there is nowhere to write what is found: give --out FILE")
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
        "there are no networks to detect with: give --networks DIR, a folder that `featx detect train DIR` made"
    )
