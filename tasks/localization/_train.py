"""S-CNN's three networks, trained one after the other from one call that goes on wherever it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.clips import ClipSpec, window_spec
from featx.datasets import Dataset, DatasetRef, Item, thumos14
from featx.datasets.untrimmed import Annotations, Instance
from featx.errors import FeatxError, UsageError
from featx.extraction.settings import TransformOptions
from featx.system.files import disk_full
from featx.tasks.localization._networks import write_instances
from featx.tasks.localization._postprocessing import LENGTHS
from featx.tasks.localization._training_sets import (
    STAGES,
    Matched,
    Matching,
    Samples,
    Slid,
    Stage,
    match,
    notes_on,
    slid,
    training_set,
)
from featx.tasks.results import number_of, shown
from featx.training import (
    Plan,
    Progress,
    RunOptions,
    TrainHooks,
    TrainReport,
    TrainSettings,
    clock_frames,
    finished,
    make_plan,
    preset,
    recipe,
    run_training,
)
from featx.video.reader import VideoError
from featx.video.seek import index_video

if TYPE_CHECKING:
    from featx.training.loop import Trainer


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What the networks are asked for.

    model: a registered name. weights: what the proposal and the classification network start from, as `load_model` takes it; None
        is the model's registered checkpoint, "random" untrained ones. The localization network starts from the classification's.
    stage: train this one alone, by default all three.
    root, partial: of THUMOS'14, by default in `data_folder()`; partial goes on with the videos that are there.
    frames: in a window, by default as many as the weights take; fps: of the windows, None the video's own; lengths, overlap: as
        `featx.clips.window_spec` takes them. matching: which windows are samples.
    overrides: fields of the recipes, as `featx.training.recipe` takes them; "proposal.lr" is one of that stage's alone.
    crop: side of the input in pixels. run: seed, machine, and how each run goes.
    """

    model: str
    weights: str | None = None
    stage: Stage | None = None
    root: str | None = None
    partial: bool = False
    frames: int | None = None
    fps: float | None = 25.0
    lengths: Sequence[int] = LENGTHS
    overlap: float = 0.75
    matching: Matching = field(default_factory=Matching)
    overrides: Mapping[str, str] = field(default_factory=dict)
    crop: int | None = None
    run: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that was trained: its stage, its run's folder, its checkpoint, on what, and how the run went."""

    stage: Stage
    folder: str
    checkpoint: str
    samples: Samples
    report: TrainReport


@dataclass(frozen=True, kw_only=True)
class NetworksReport:
    """How it went. clip: the windows, which every checkpoint carries. unread: (video, reason) of those left out."""

    out: str
    model: str
    clip: ClipSpec
    networks: tuple[Network, ...]
    notes: tuple[str, ...]
    unread: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        networks = [f"{each.stage} {each.report.steps:,} updates" for each in self.networks]
        unread = f"{number_of(len(self.unread), 'video')} left out" if self.unread else ""
        return shown(
            "NetworksReport", f"{self.model} in {self.out!r}", *networks, unread, notes=self.notes
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What all training sets are made of.

    annotations: of the validation videos. videos: the windows of those that could be read, and which are samples; unread: names
    of the others, and why; absent: how many are not there. generated: `featx synth` has written them.
    """

    annotations: Annotations
    trimmed: tuple[Item, ...]
    videos: tuple[tuple[Slid, Matched], ...]
    notes: tuple[str, ...]
    unread: tuple[tuple[str, str], ...]
    absent: int = 0
    generated: bool = False

    def told(self, data: Dataset) -> Dataset:
        """Return a training set that says what all of them rest on, as its networks' checkpoints then do."""
        found: dict[str, Any] = {"unread": [name for name, _ in self.unread]} if self.unread else {}
        found |= {"generated": True} if self.generated else {}
        return replace(data, absent=self.absent, made={**data.made, **found})


def train_networks(
    settings: NetworkSettings,
    out: str | Path,
    *,
    on_indexed: Callable[[int, int | None], None] = lambda *_: None,
    on_stage: Callable[[Stage, Dataset, Samples, ClipSpec], None] = lambda *_: None,
    on_start: Callable[[Plan, Trainer], None] = lambda *_: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> NetworksReport:
    """Train the proposal, the classification and the localization network into folders of these names in `out`.

    Each is a run as `featx.training.train` makes them, and instances.csv beside them has what priors are counted of. Killed at
    any time, the same call continues, and makes no update of a stage that is finished.

    on_indexed: called with how many of the untrimmed videos' frames are known; on_stage: before a stage's run, with what it is
    trained on; on_start, on_progress: by each run.

    Raises UsageError for what is wrong or missing, with what to get, and for a folder with networks of other settings.
    """
    out = Path(out)
    _check(settings, out)
    stages = STAGES if settings.stage is None else (settings.stage,)
    only_last = stages == ("localization",)
    start = preset(settings.model, str(_classification(out)) if only_last else settings.weights)
    recipes = {
        stage: f"scnn-c3d-{stage}" if start.family == "c3d" else f"scnn-{stage}" for stage in STAGES
    }
    overrides = {stage: _overrides(settings.overrides, stage) for stage in STAGES}
    for stage in STAGES:
        recipe(
            recipes[stage], overrides[stage]
        )  # a mistake in the last one's is told before the first one's hours
    run = TrainSettings(
        model=settings.model,
        dataset=DatasetRef(name=thumos14.NAME, root=settings.root, partial=settings.partial),
        weights=start.weights,
        transform=TransformOptions(crop=settings.crop),
        validate="none",
        run=settings.run,
    )
    frames = settings.frames or start.clip.frames
    clip = window_spec(frames, lengths=settings.lengths, overlap=settings.overlap, fps=settings.fps)
    material = gather(
        clip,
        root=settings.root,
        partial=settings.partial,
        matching=settings.matching,
        on_indexed=on_indexed,
    )
    notes, networks = list(material.notes), []

    def started(plan: Plan, trainer: Trainer) -> None:
        with disk_full(out):  # not before the stage's run has accepted its folder
            write_instances(out, material.annotations)
        on_start(plan, trainer)

    for stage in stages:
        data, samples = training_set(
            stage,
            material.annotations.classes,
            material.trimmed,
            material.videos,
            matching=settings.matching,
            seed=settings.run.seed,
        )
        data = material.told(data)
        notes += [f"{stage}: {note}" for note in notes_on(stage, samples)]
        on_stage(stage, data, samples, clip)
        asked = replace(run, recipe=recipes[stage], overrides=overrides[stage], clip=clip)
        if stage == "localization":
            asked = replace(asked, weights=str(_classification(out)))
        _check_alike(asked, out, stage, data)
        hooks = TrainHooks(on_start=started, on_progress=on_progress)
        report = run_training(asked, out / stage, data, hooks=hooks)
        if report is None:
            raise FeatxError("the networks are trained by one process: leave torchrun out")
        networks.append(
            Network(
                stage=stage,
                folder=str(out / stage),
                checkpoint=str(out / stage / "last.safetensors"),
                samples=samples,
                report=report,
            )
        )
    return NetworksReport(
        out=str(out),
        model=settings.model,
        clip=clip,
        networks=tuple(networks),
        notes=tuple(notes),
        unread=material.unread,
    )


def gather(
    clip: ClipSpec,
    *,
    root: str | None = None,
    partial: bool = False,
    matching: Matching | None = None,
    on_indexed: Callable[[int, int | None], None] = lambda *_: None,
) -> Material:
    """Find the trimmed and the untrimmed videos that are trained on, and match the windows `clip` of the latter.

    Raises UsageError for parts of the dataset that are not there, FeatxError for videos that are not, unless `partial`.
    """
    annotations = thumos14.load_annotations("val", root=root)
    trimmed = thumos14.trimmed_videos(annotations.classes, root=root)
    paths, absent = thumos14.untrimmed_videos(annotations.videos, "val", root=root)
    base = thumos14.folder(root)
    if absent and not partial:
        raise FeatxError(
            f"{len(absent)} of {len(annotations.videos)} annotated validation videos ({', '.join(absent[:3])}"
            f"{' …' if len(absent) > 3 else ''}) are not in {base}: get {thumos14.GET},"
            " or go on with the others with `partial=True`"
        )
    instances, ambiguous = _by_video(annotations.instances), _by_video(annotations.ambiguous)
    videos, unread = [], []
    for done, (name, path) in enumerate(paths.items()):
        on_indexed(done, len(paths))
        try:
            slid = slide(name, path, clip)
        except VideoError as error:
            unread.append((name, str(error)))
            continue
        videos.append(
            (
                slid,
                match(
                    slid, instances.get(name, ()), ambiguous.get(name, ()), matching or Matching()
                ),
            )
        )
    on_indexed(len(paths), len(paths))
    notes = (
        [f"{len(absent)} annotated validation videos are not in {base}, and are left out"]
        if absent
        else []
    )
    if generated := thumos14.is_generated(root):
        notes.append("generated videos, not the official ones")
    return Material(
        annotations=annotations, trimmed=trimmed, videos=tuple(videos), notes=tuple(notes), unread=tuple(unread),
        absent=len(absent), generated=generated,
    )  # fmt: skip


def slide(name: str, path: str, clip: ClipSpec) -> Slid:
    """Return a video's windows, by which frames it has; one that runs past its end is none. Raises VideoError."""
    times = index_video(path).times
    rate = clip.fps
    sampled = len(times) - 1 if rate is None else len(clock_frames(times, rate))
    return slid(
        name, path, clip, times - times[0] if rate is None else np.arange(sampled + 1) / rate
    )


def networks_json(report: NetworksReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    told = {**asdict(report), "clip": report.clip.to_dict()}
    for each in told["networks"]:
        samples = each["samples"]
        samples["classes"] = {
            n: {"trimmed": t, "windows": w} for n, (t, w) in samples["classes"].items()
        }
    return told


def _by_video(instances: Sequence[Instance]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for instance in instances:
        found.setdefault(instance.video, []).append(instance)
    return found


def _overrides(given: Mapping[str, str], stage: Stage) -> dict[str, str]:
    """Return the fields that hold for a stage: those of all, and its own instead."""
    of_all = {name: value for name, value in given.items() if name.partition(".")[0] not in STAGES}
    own = {
        name.partition(".")[2]: value
        for name, value in given.items()
        if name.partition(".")[0] == stage
    }
    return {**of_all, **own}


def _check(settings: NetworkSettings, out: Path) -> None:
    if settings.stage is not None and settings.stage not in STAGES:
        raise UsageError(f"stage is {settings.stage!r}: give one of {', '.join(STAGES)}")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("the networks are trained by one process: leave torchrun out")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no folder: give a new one")
    there = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if there and not set(STAGES) & set(there):
        raise UsageError(f"{out} holds {', '.join(there[:3])} and no networks: give a new folder")


def _check_alike(asked: TrainSettings, out: Path, stage: Stage, data: Dataset) -> None:
    """Raise UsageError where the networks in `out` look at other windows than a new one would: they are of use together only."""
    others = [
        place for other in STAGES if other != stage and (place := out / other / "run.json").exists()
    ]
    if (out / stage / "run.json").exists() or not others:
        return
    # By way of JSON, where tuples are lists.
    mine = json.loads(json.dumps(make_plan(asked, data).recorded))
    for place in others:
        try:
            theirs = json.loads(place.read_text(encoding="utf-8"))
            differing = [
                name for name in ("model", "clip", "transform") if theirs[name] != mine[name]
            ]
        except (ValueError, LookupError, TypeError) as error:
            raise FeatxError(f"{place} is damaged: give a new folder") from error
        if differing:
            raise UsageError(
                f"{place.parent} is a network of {_windows(theirs)}; this one, with another {' and '.join(differing)}, would be"
                f" of {_windows(mine)}: give the same"
                " `model`, `frames`, `lengths`, `overlap`, `fps` and `crop` for all three, or a new folder"
            )


def _windows(recorded: Mapping[str, Any]) -> str:
    clip, transform = ClipSpec(**recorded["clip"]), recorded["transform"]
    lengths = ", ".join(str(each.span) for each in clip.at_scales)
    rate = "the videos' own rate" if clip.fps is None else f"{clip.fps:g} fps"
    return (
        f"{recorded['model']} with {clip.frames} frames of {transform['crop']} pixels, of windows of {lengths} at {rate},"
        f" one every {clip.stride / clip.span:g} of a length"
    )


def _classification(out: Path) -> Path:
    """Return the classification network that the localization network starts from; UsageError where it is not finished."""
    found = finished(out / "classification")
    if found is None:
        raise UsageError(
            f"{out / 'classification'} has no network whose training is finished, which the localization network starts from:"
            " train it first, with `stage='classification'` or all stages at once"
        )
    return found
