"""What a task needs of videos: a dataset's features, found beside it or extracted first, and scores of their windows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py

from featx.datasets import about, all_items, aslan
from featx.errors import FeatxError, UsageError
from featx.extraction import OtherSettings, Report, extract
from featx.files import check_target, sha256_of
from featx.preparation import Settings
from featx.sources import find_videos
from featx.store import FeatureStore
from featx.weights import architecture_of

if TYPE_CHECKING:
    from featx.engine import Stats

FOLDER = "features"
# The layer of the second network's probabilities.
LOCALIZATION = "localization"
SUFFIX = ".h5"


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A dataset's feature file. report: of the extraction that made it; None where it was there."""

    path: Path
    report: Report | None = None


@dataclass(frozen=True, kw_only=True)
class WindowScores:
    """Videos' windows. path: the feature file; ids: those of the videos that could be read, in it, by their paths."""

    path: Path
    report: Report
    ids: Mapping[str, str]


def dataset_features(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    holdout: float = 0.2,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    on_start: Callable[[Report], None] | None = None,
    on_progress: Callable[[Stats], None] | None = None,
    on_publish: Callable[[int, int], None] | None = None,
) -> Provided:
    """Return a dataset's feature file: the one beside it, or one that is extracted there from all of its videos now.

    name_or_path, root, holdout: as for `featx.load_dataset`; beside it is `featx.datasets.about(...).beside("features")`.
    model, weights: whose features; by default those of the one file that is there, or res3d's own. layers: that the file has to
    have. out: another place for what is extracted. device, workers: as in `featx.Settings`, for extracting.
    on_start, on_progress, on_publish: as for `featx.extract`, called only if there is something to extract.
    An extraction that was interrupted is continued. Raises UsageError where several files fit, or a file lacks a layer or
    is by another checkpoint of the same name.
    """
    dataset = about(name_or_path, root=root, holdout=holdout)

    def videos() -> list[str]:
        paths = [item.path for item in all_items(name_or_path, root=root, holdout=holdout)]
        if not paths:
            raise UsageError(f"{os.fspath(name_or_path)} has no videos that are there: get them")
        return paths

    return _features_in(
        dataset.beside(FOLDER),
        videos,
        dataset.folder,
        Settings(model=model or "res3d", weights=weights, layers=layers, device=device, workers=workers),
        any_model=model is None,
        out=out,
        hooks={"on_start": on_start, "on_progress": on_progress, "on_publish": on_publish},
    )


def aslan_features(
    *,
    root: str | os.PathLike[str] | None = None,
    view: int = 2,
    partial: bool = False,
    model: str | None = None,
    weights: str | None = None,
    layers: Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    device: str = "auto",
    workers: int | None = None,
    on_start: Callable[[Report], None] | None = None,
    on_progress: Callable[[Stats], None] | None = None,
    on_publish: Callable[[int, int], None] | None = None,
) -> Provided:
    """Return ASLAN's feature file: the one beside it, or one that is extracted there from all of its samples now.

    root: where its official files lie, by default its folder in $FEATX_DATA. partial: extract the samples that are there, though
    the view's pairs have others; else FeatxError names those, before anything is extracted. The rest as for `dataset_features`.
    """
    base = aslan.folder_of(root)

    def videos() -> list[str]:
        pairs = aslan.read_pairs(root, view=view)
        there = aslan.videos_of(root)
        if pairs.absent and (not partial or not there):
            named = ", ".join(pairs.absent[:3]) + (" …" if pairs.absent[3:] else "")
            remedy = ", or go on with those that are there with --partial" if there else ""
            raise FeatxError(
                f"{len(pairs.absent)} of {len(pairs.samples)} samples that ASLAN's pairs have are not in {base} ({named}):"
                f" get them{remedy}"
            )
        return list(there.values())

    return _features_in(
        base / FOLDER,
        videos,
        base,
        Settings(model=model or "res3d", weights=weights, layers=layers, device=device, workers=workers),
        any_model=model is None,
        out=out,
        hooks={"on_start": on_start, "on_progress": on_progress, "on_publish": on_publish},
    )


def videos_by_id(inputs: Sequence[str], *, root: str | None = None) -> dict[str, str]:
    """Return the videos that inputs come to, as `featx.extract` takes them: path by id, sorted."""
    return {source.id: source.path for source in find_videos(inputs, root=root).sources}


def window_scores(
    videos: Sequence[str],
    out: str | os.PathLike[str],
    *,
    proposal: str,
    localization: str,
    gate: str = "action",
    threshold: float = 0.7,
    fps: float | Literal["own"] | None = None,
    root: str | None = None,
    machine: Mapping[str, Any] | None = None,
    on_start: Callable[[Report], None] | None = None,
    on_progress: Callable[[Stats], None] | None = None,
    on_publish: Callable[[int, int], None] | None = None,
) -> WindowScores:
    """Return a feature file of what two networks say of videos' windows: layers `prob` and `localization`.

    videos: files, folders or lists, as `featx.extract` takes them. proposal, localization: checkpoints of one architecture and
    the same clips, which are the windows; the second sees those whose probability of `gate` by the first is `threshold` or
    more, and the rows of the others are zeros. fps: another rate of the sampled frames than the checkpoints'. root: video ids
    are relative to it. machine: device, precision, batch_size, workers, decoder and timeout, as in `featx.Settings`.
    What is there already is not computed again, and an interrupted call is continued.
    """
    from featx.cascade import Cascade

    model = architecture_of(proposal)
    if (other := architecture_of(localization)) != model:
        raise UsageError(f"{proposal} is of {model} and {localization} of {other}: give networks of one architecture")
    cascade = Cascade(weights=localization, gate=gate, threshold=threshold, name=LOCALIZATION)
    settings = Settings(model=model, weights=proposal, cascade=cascade, fps=fps, **dict(machine or {}))
    hooks: dict[str, Any] = {"on_start": on_start, "on_progress": on_progress, "on_publish": on_publish}
    try:
        report = extract(videos, out, settings, root=root, **hooks)
    except OtherSettings as error:
        raise UsageError(
            f"{out} has windows by other networks or settings: {_named(error.changed)}; use those, or another file with --windows"
        ) from error
    report.notes += [note for weights in (proposal, localization) for note in _unfinished(weights)]
    return WindowScores(path=Path(out), report=report, ids=_ids_in(out, videos, root))


def _named(changed: str) -> str:
    """Return what differs by the names of detection's options."""
    for setting, option in (("cascade.threshold", "--threshold"), ("clip.fps", "--fps")):
        changed = changed.replace(f"{setting} is", f"{option} is")
    return changed


def _unfinished(weights: str) -> list[str]:
    """Return a sentence on a checkpoint of a training run that has not come to its end, for a user may not know."""
    from featx.training import finished

    folder = Path(weights).parent
    if not (folder / "run.json").exists() or finished(folder) is not None:
        return []
    return [f"{weights} is of a training that has not come to its end: the same training command goes on with it"]


def _ids_in(path: str | os.PathLike[str], videos: Sequence[str], root: str | None) -> dict[str, str]:
    """Return the ids under which videos are in a feature file, as `extract` finds them there: by id, or else by path."""
    with FeatureStore(path) as store:
        sources = find_videos(videos, layers=store.layers, root=root).sources
        elsewhere = dict[str, str]()
        if not all(source.id in store for source in sources):
            elsewhere = {os.path.realpath(video.attr("path")): video.id for video in store}
        found = {s.path: s.id if s.id in store else elsewhere.get(os.path.realpath(s.path)) for s in sources}
    return {path: video_id for path, video_id in found.items() if video_id is not None}


def _features_in(
    folder: Path,
    videos: Callable[[], Sequence[str]],
    videos_folder: Path,
    asked: Settings,
    *,
    any_model: bool,
    out: str | os.PathLike[str] | None,
    hooks: Mapping[str, Any],
) -> Provided:
    """Return the one feature file in a folder that is as asked, or extract the videos' there.

    videos: their paths; called, and only then has to succeed, where there is something to extract.
    videos_folder: ids are relative to it. any_model: `asked.model` is only what to extract, a file of another one fits too.
    """
    own = folder / _name(asked.model, asked.weights)
    model = None if any_model else asked.model
    there = [] if out is not None else sorted(folder.glob(f"*{SUFFIX}"))
    fitting = [path for path in there if _fits(path, model, own, asked.weights)]
    if len(fitting) > 1:
        fitting = [path for path in fitting if _has(path, asked.layers)] or fitting
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        raise UsageError(f"{folder} has several feature files that fit ({names}): say which with --features")
    target = fitting[0] if fitting else own if out is None else Path(out)
    if target.exists():
        _check_made_by(target, model, asked.weights)
        _check_layers(target, asked.layers)
        return Provided(path=target)
    check_target(target, example=own.name)
    paths = videos()
    # The dataset's own folder, unless videos lie elsewhere: an id must not depend on which of them are there.
    base = os.path.commonpath([os.path.abspath(path) for path in (*paths, str(videos_folder / "any"))])
    target.parent.mkdir(parents=True, exist_ok=True)
    return Provided(path=target, report=extract(paths, target, asked, root=base, **hooks))


def _name(model: str, weights: str | None) -> str:
    return (model if weights is None else f"{model}-{Path(weights).stem}") + SUFFIX


def _fits(path: Path, model: str | None, own: Path, weights: str | None) -> bool:
    """Return whether a feature file is of the model and weights that were asked for; any is where none were."""
    if weights is not None:
        return path == own
    if model is None:
        return True
    try:
        with h5py.File(path, "r") as file:
            return bool(json.loads(file.attrs["model"])["name"] == model)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _has(path: Path, layers: Sequence[str] | None) -> bool:
    """Return whether a file is a feature file that has the layers."""
    try:
        _check_layers(path, layers)
    except UsageError:
        return False
    return True


def _check_made_by(path: Path, model: str | None, weights: str | None) -> None:
    """Raise UsageError for a file of another model or other weights: two checkpoints may have the same name."""
    with FeatureStore(path) as store:
        made_by, found = store.settings["model"]["name"], store.settings["weights"]
    elsewhere = f"extract to another file, such as with --features NEW{SUFFIX} --model {model or made_by}"
    if model not in (None, made_by):
        raise UsageError(f"{path} has features of {made_by}, not of {model}: {elsewhere}")
    if weights is None or (weights in (found["name"], found.get("file")) and not os.path.isfile(weights)):
        return
    if os.path.isfile(weights):
        with open(weights, "rb") as file:
            digest = sha256_of(file)
        if digest == found["sha256"]:
            return
    raise UsageError(f"{path} has features by other weights, {found.get('file', found['name'])}, not by {weights}: {elsewhere}")


def _check_layers(path: Path, layers: Sequence[str] | None) -> None:
    with FeatureStore(path) as store:
        lacking = [layer for layer in layers or () if layer not in store.layers]
    if lacking:
        raise UsageError(
            f"{path} has {', '.join(store.layers)}, not {', '.join(lacking)}:"
            f" choose another layer, or another file with --features; one that is not there, such as NEW{SUFFIX}, is extracted if"
            " --model is given"
        )
