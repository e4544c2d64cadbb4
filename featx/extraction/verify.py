"""Is a feature file what it says: every structural invariant, and a sample of its rows made again from the videos."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec, numbered, placed
from featx.errors import UsageError
from featx.extraction.engine import Rows, Sink
from featx.extraction.extract import Report
from featx.extraction.prepare import Prepared, prepare
from featx.extraction.progress import shown
from featx.extraction.projection import read_projection
from featx.extraction.settings import Hooks, Layout, Machine, Settings
from featx.store.reader import FeatureStore, Video
from featx.store.recorded import Recorded, differences
from featx.video.cutting import SELDOM, Summary
from featx.video.worker import Job

if TYPE_CHECKING:
    from torch import nn

# Rows made on another processor, device or decoder version differ by rounding: by less than this.
SAME_COSINE = 0.999
SAME_RELATIVE = 0.1


@dataclass(repr=False)
class Verification:
    """What a verification found.

    Attributes:
        path: The feature file.
        videos: Videos in it.
        problems: What is wrong, a sentence each.
        clips: Clips that were made again.
        deviation: Largest |new - stored| of a number.
        relative: Largest deviation over the largest magnitude of the stored row.
        cosine: Smallest cosine between a stored row and its remake.
        worst: The row that deviates most.
        unread: (video id, reason) of sampled videos that could not be read again.
        notes: What the user should know that is no problem, a sentence each.
    """

    path: str
    videos: int
    problems: list[str] = field(default_factory=list)
    clips: int = 0
    deviation: float = 0.0
    relative: float = 0.0
    cosine: float = 1.0
    worst: str = ""
    unread: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __repr__(self) -> str:
        found = f"{len(self.problems)} problems" if self.problems else "no problems"
        made = (
            f"; {self.clips} clips made again, largest deviation {self.deviation:.3g}"
            if self.clips
            else ""
        )
        lines = [f"Verification({self.path!r}: {self.videos} videos, {found}{made})"]
        lines += [f"  problem: {problem}" for problem in self.problems[:3]]
        lines += [f"  not made again: {video}: {reason}" for video, reason in self.unread[:3]]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def verify(
    path: str | os.PathLike[str],
    *,
    clips: int = 32,
    seed: int = 0,
    weights: str | None = None,
    project: str | os.PathLike[str] | None = None,
    model: nn.Module | None = None,
    on_check: Callable[[int, int], None] | None = None,
    hooks: Hooks | None = None,
    progress: bool | None = None,
) -> Verification:
    """Check a feature file's structure, and make a random sample of its clips again from their videos.

    Args:
        path: The feature file.
        clips: How many clips are made again.
        seed: Seed for the choice of clips.
        weights: The checkpoint's file, where it is not at its recorded place.
        project: The projection's file, where it is not at its recorded place.
        model: The module that made the rows, where that was one of yours.
        on_check: Called with (videos whose structure is checked, videos in all).
        hooks: Called while clips are made again, as for `featx.extract`.
        progress: True shows a progress bar while clips are made again, False shows none. None shows one if a person watches
            and there are no hooks.

    Returns:
        What was found; `ok` says whether nothing is wrong.

    Raises:
        UsageError: If the file is not a feature file, or the model or projection that it names cannot be had.
    """
    with FeatureStore(path) as store:
        found = Verification(str(path), len(store))
        found.problems += structure(store, on_progress=on_check)
        if clips and len(store) and not found.problems:
            ready = prepare(recorded_settings(store.settings, found, weights, project, model))
            with shown(progress, hooks) as told:
                _remake(store, found, ready, clips, np.random.default_rng(seed), told)
    return found


def structure(
    store: FeatureStore, *, on_progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Return every structural invariant of the feature file that does not hold, one sentence each.

    on_progress: called with (videos checked, videos in all).
    """
    problems = []
    settings = store.settings
    if store.ids != sorted(store.ids):
        problems.append("the ids in .videos are not sorted")
    spec = settings.clip
    shapes: dict[str, list[int]] = {}
    for done, video_id in enumerate(store.ids, start=1):
        try:
            problems += [
                f"{video_id!r}: {p}"
                for p in _video_problems(store[video_id], settings.layers, spec, shapes)
            ]
        except UsageError as error:
            problems.append(str(error))
        if on_progress is not None:
            on_progress(done, len(store))
    problems += _unlisted(store)
    paths = set()
    for video_id in store.ids:
        with contextlib.suppress(UsageError):  # told already
            paths.add(store[video_id].path)
    problems += [
        f"{path!r} is listed as failed and has features too"
        for path, _ in store.failures
        if path in paths
    ]
    return problems


def _unlisted(store: FeatureStore) -> Iterator[str]:
    """Yield what is in the file and is not listed, or is not its own."""
    listed = set(store.ids)
    try:
        for name in store.marked():
            if name not in listed:
                yield f"{name!r} is there but not listed in .videos"
    except UsageError as error:
        yield str(error)


def _video_problems(
    video: Video, layers: Sequence[str], spec: ClipSpec, shapes: dict[str, list[int]]
) -> Iterator[str]:
    attrs = video.attrs
    if attrs.get("complete") is not True:
        yield "it is not marked complete"
        return
    frames, times = video.clip_frames, video.clip_times
    n = len(frames)
    if frames.max() > attrs["frames"]:
        yield f"a clip lies outside the video's {attrs['frames']} frames"
    if not all(_ascending(frames[of], times[of]) for of in _scales_of(n, spec)):
        yield "its clips are not in time order"
    if spec.fps is None:
        expected = [start for start, _ in placed(attrs["frames"], spec)]
        if frames[:, 0].tolist() != expected:
            yield f"its clips start elsewhere than its {attrs['frames']} frames and the clip settings say"
    if sorted(video.layers) != sorted(layers):
        yield f"its layers are {video.layers} where the file says {layers}"
        return
    for layer in layers:
        data = video.dataset(layer)
        shape = list(data.clip_shape)
        if data.dtype != np.float32:
            yield f"{layer} is {data.dtype}, not float32"
        elif shapes.setdefault(layer, shape) != shape:
            yield f"{layer} has shape {shape}, other videos have {shapes[layer]}"
        for i in range(0, n, 256):
            data[i : i + 256]  # which raises for numbers that are not finite


def _scales_of(n_clips: int, spec: ClipSpec) -> list[npt.NDArray[np.int64]]:
    """Return the numbers of each scale's clips: those of several scales come in the order in which they end."""
    if spec.scales == (1,):
        return [np.arange(n_clips)]
    spans = np.asarray([scale.span for _, scale in numbered(n_clips, spec)])
    return [np.flatnonzero(spans == scale.span) for scale in spec.at_scales]


def _ascending(frames: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> bool:
    return bool((np.diff(frames, axis=0) >= 0).all() and (np.diff(times, axis=0) >= 0).all())


class _Compare(Sink):
    def __init__(
        self,
        store: FeatureStore,
        ids: Mapping[int, str],
        found: Verification,
        computed_by: str | None,
    ) -> None:
        self._store, self._ids, self._found, self._computed_by = store, ids, found, computed_by

    def rows(self, key: int, clips: list[int], rows: Rows) -> None:
        video = self._store[self._ids[key]]
        exact = video.attrs.get("computed_by") == self._computed_by
        for layer, new in rows.items():
            stored = video.dataset(layer).shape[1]
            if stored != new.shape[1]:
                self._found.problems.append(
                    f"{layer} of {video.id!r} has {stored} numbers a row, the model's has {new.shape[1]}"
                )
                continue
            for clip, row in zip(clips, new, strict=True):
                self._note(
                    f"{layer} of clip {clip} of {video.id!r}",
                    np.asarray(video.dataset(layer)[clip]),
                    row,
                    exact,
                )
        self._found.clips += len(clips)

    def _note(
        self, what: str, stored: npt.NDArray[np.float32], new: npt.NDArray[np.float32], exact: bool
    ) -> None:
        deviation = float(np.abs(new - stored).max())
        relative = deviation / (float(np.abs(stored).max()) or 1.0)
        norms = float(np.linalg.norm(stored)) * float(np.linalg.norm(new))
        cosine = (
            float(np.dot(stored.astype(np.float64), new.astype(np.float64))) / norms
            if norms
            else float(deviation == 0)
        )
        found = self._found
        if deviation > found.deviation:
            found.deviation, found.worst = deviation, what
        found.relative = max(found.relative, relative)
        found.cosine = min(found.cosine, cosine)
        # What computed the rows computes them again: not a bit may differ, however alike a video's clips are.
        if (exact and deviation > 0) or cosine < SAME_COSINE or relative > SAME_RELATIVE:
            found.problems.append(
                f"{what} comes out different now: cosine {cosine:.6f}, largest difference {deviation:.4g}"
            )

    def done(self, key: int, summary: Summary, batch_size: int) -> None:
        video = self._store[self._ids[key]]
        attrs = video.attrs
        if not np.array_equal(summary.clip_frames, video.clip_frames) or not np.array_equal(
            summary.clip_times, video.clip_times
        ):
            frames = f"{summary.frames} frames, stored {attrs['frames']}"
            self._found.problems.append(f"{video.id!r} decodes to other clips now: {frames}")
        now = summary.attributes()
        changed = [
            f"{name} is {attrs.get(name, 0)} there and {now.get(name, 0)} now"
            for name in sorted({*now, *(SELDOM & attrs.keys())})
            if attrs.get(name, 0) != now.get(name, 0)
        ]
        if changed:
            self._found.problems.append(f"{video.id!r}: {', '.join(changed)}")

    def failed(self, key: int, reason: str) -> None:
        self._found.unread.append((self._ids[key], reason))


# Pixels of a frame: more than FFmpeg decodes. The rows are there, so the videos' size was allowed.
_DECODED_BEFORE = 1 << 28


def _remake(
    store: FeatureStore,
    found: Verification,
    prepared: Prepared,
    clips: int,
    rng: np.random.Generator,
    hooks: Hooks,
) -> None:
    lengths = np.asarray([len(v) for v in store.values()])
    chosen = np.sort(rng.choice(lengths.sum(), size=min(clips, int(lengths.sum())), replace=False))
    which = np.searchsorted(np.cumsum(lengths), chosen, side="right")
    first = np.cumsum(lengths) - lengths
    wanted: dict[int, set[int]] = {}
    for video, clip in zip(which, chosen - first[which], strict=True):
        wanted.setdefault(int(video), set()).add(int(clip))
    if other := differences(store.settings, prepared.recorded):
        found.notes.append(f"made again with other settings than the file's: {other}")
    ids = {key: store.ids[key] for key in wanted}
    jobs = []
    for key, numbers in wanted.items():
        attrs = store[ids[key]].attrs
        if not os.path.exists(attrs["path"]):
            found.unread.append((ids[key], f"{attrs['path']} is not there"))
        elif "decoder" not in attrs:
            found.unread.append((ids[key], "the file does not say which decoder read it"))
        else:
            jobs.append(Job(key, attrs["path"], attrs["decoder"], wanted=frozenset(numbers)))
    if jobs:
        compare = _Compare(store, ids, found, None if found.notes else prepared.computed_by)
        if hooks.on_start is not None:
            hooks.on_start(Report("", len(jobs), settings=prepared.recorded))
        prepared.run(jobs, compare, on_progress=hooks.on_progress)
    if not found.clips:
        found.problems.append(
            "not one of the sampled videos could be read again: run featx verify where the paths hold"
        )


def recorded_settings(
    recorded: Recorded,
    found: Verification,
    weights: str | None,
    project: str | os.PathLike[str] | None = None,
    model: nn.Module | None = None,
) -> Settings:
    """Return the settings that make the same rows again, on this machine's nearest device.

    model: the module that made them, where that was one of the user's.
    """
    import torch

    from featx.extraction.cascade import Cascade

    device = recorded.device
    if device == "cuda" and not torch.cuda.is_available():
        device = "cpu"
        found.notes.append("made on a GPU, made again on the CPU: differences are rounding")
    layout = _layout(recorded, model)
    source = weights
    if layout is None:
        source = weights or recorded.weights.file or recorded.weights.name
    if source is not None and source == recorded.weights.file and not Path(source).exists():
        raise UsageError(f"the checkpoint {source} is not there: give its file, `weights='FILE'`")
    if recorded.projection is not None:
        project = project or recorded.projection.file
        if not Path(project).exists():
            raise UsageError(
                f"the projection {os.fspath(project)} is not there: put it back, or give its file, `project='FILE'`"
            )
        read_projection(project, sha256=recorded.projection.sha256)
    elif project is not None:
        raise UsageError(
            f"project is {os.fspath(project)!r} and the rows were not projected: leave it out"
        )
    cascade = None
    if recorded.cascade is not None:
        cascade = Cascade.from_recorded(recorded.cascade)
        if recorded.cascade.weights.file is not None and not Path(cascade.weights).exists():
            raise UsageError(f"the second checkpoint {cascade.weights} is not there: put it back")
    return Settings(
        model=recorded.model.name if model is None else model,
        weights=source,
        seed=recorded.weights.seed or 0,
        layers=recorded.layers if cascade is None else None,
        cascade=cascade,
        clip=recorded.clip,
        transform=recorded.transform,
        project=project,
        layout=layout or "NCTHW",
        machine=Machine(
            precision=recorded.precision,
            device=device,
            batch_size=recorded.batch_size,
            decoder=recorded.decoder.choice,
            max_pixels=_DECODED_BEFORE,
        ),
    )


def _layout(recorded: Recorded, model: nn.Module | None) -> Layout | None:
    """Return the order of dimensions that a module of the user's takes; None where the model is a registered one.

    Raises UsageError if the module is lacking, or given though the model is registered.
    """
    layout: Layout | None = recorded.model.more.get("layout")
    name = recorded.model.name
    if layout is None and model is not None:
        raise UsageError(
            f"model is a {type(model).__name__}, and the rows were made with {name}, which featx has: leave it out"
        )
    if layout is not None and model is None:
        raise UsageError(
            f"the rows were made with {name}, a module of the user's own, which no file holds: give it in Python,"
            " as model=module"
        )
    return layout
