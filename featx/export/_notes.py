"""What a reader of exported features should know, in words."""

from __future__ import annotations

from collections.abc import Sequence

from featx.export._annotations import Labels, covered
from featx.export._formats import BINS, FORMATS, Job
from featx.export._names import known_as

# Seconds by which a video's length may differ from the annotations' before it is told.
_OTHER_LENGTH = 1.0

_LAYOUT = {
    "activitynet": "`features/activitynet_v1-3.c3d.hdf5` has a group `v_<id>` a video, and in it `c3d_features`, (T, {dims})"
    " float32. Readers place rows by their share of the video's seconds; some count by the published features' stride, 8 frames.",
    "actionformer": "`features/<video>.npy` is (T, {dims}) float32. Feature i lies at (i * feat_stride + num_frames / 2) / fps"
    " seconds.",
    "opentad": "`features/<video>.npy` is (T, {dims}) float32. Feature i lies at (i * feature_stride + offset_frames) / fps"
    " seconds, and fps is frame / duration of `annotations.json`.",
    "gtad": "`features/rgb_val.h5` and `rgb_test.h5` have a dataset a video, (frames, {dims}) float32. Row f is the features'"
    " value at frame f. Only one row in {stride} is there, and the others are NaN: skip_videoframes must be {stride}."
    " `flow_val.h5` and `flow_test.h5` have rows of no numbers, as there is no second stream.",
    "mmaction": "`features/v_<id>.csv` has a header and 100 rows of {dims} numbers, the first for the first hundredth of the"
    " video.",
}


def notes_of(
    job: Job,
    given: Labels | None,
    labels: Labels | None,
    annotated: Sequence[str],
    *,
    common: float | None,
) -> list[str]:
    """Return sentences about what was left out, resampled or is not quite where it is said to be.

    given: the annotations; labels: those of the exported videos. common: the rate that all videos have.
    """
    notes = _about_features(job, given is not None, common)
    if given is not None and labels is not None:
        notes += _about_annotations(job, given, annotated)
        if gone := sorted(set(given.classes) - set(labels.classes)):
            notes.append(
                f"classes without an instance in the exported videos are left out ({len(gone)}):"
                f" {', '.join(gone[:3])}{_more(gone)}"
            )
    return notes


def _about_features(job: Job, with_annotations: bool, common: float | None) -> list[str]:
    notes = []
    videos = [video for _, video in job.videos]
    if job.to == "mmaction":
        notes.append(
            f"every video's features are resampled to {BINS}: each is their mean over a hundredth of the video, linear between"
            " clips' middles"
        )
    if job.to == "gtad":
        notes.append(
            f"features are resampled to frames 0, {job.grid.stride}, {2 * job.grid.stride} ..., where G-TAD takes them to be,"
            " linear between clips' middles"
        )
        notes.append(
            "there is one stream: G-TAD's flow files are there, and have rows of no numbers"
        )
    if left_out := sum(video.left_out for video in videos):
        notes.append(
            f"the last clip of {left_out} videos is left out: it is aligned to their end, off the stride's grid"
        )
    looped = [video.id for video in videos if video.looped]
    if looped:
        notes.append(_some("shorter than a clip, with one feature of the video in a loop", looped))
    damaged = [f"{video.id} ({video.damaged})" for video in videos if video.damaged]
    if damaged:
        notes.append(_some("with frames that were damaged when they were decoded", damaged))
    if job.store.failures:
        paths = [path.rpartition("/")[2] for path, _ in job.store.failures]
        notes.append(
            _some("without features, as they could not be read when features were extracted", paths)
        )
    if FORMATS[job.to].by_stride:
        notes += _about_times(job, with_annotations, common)
    if job.to in ("opentad", "gtad") and job.grid.fps is not None and not with_annotations:
        notes.append(
            f"frames are those of videos resampled to {job.grid.fps:g} a second, and the detector's own annotations count others:"
            " export with `annotations`"
        )
    return notes


def _about_times(job: Job, with_annotations: bool, common: float | None) -> list[str]:
    notes = []
    late = [video for _, video in job.videos if video.noticeable(job.grid)]
    if late:
        worst = max(video.late * video.fps for video in late)
        notes.append(
            f"features lie up to {worst:.1f} frames from where the stride puts them, in"
            f" {_some('whose frames are unevenly timed', [v.id for v in late])}"
        )
    if common is None and not with_annotations and job.to != "activitynet":
        notes.append(
            "the videos' frame rates differ: take each one's fps from featx_export.json, or export with `annotations`, which"
            " writes it where the loader looks"
        )
    return notes


def _about_annotations(job: Job, labels: Labels, annotated: Sequence[str]) -> list[str]:
    notes = []
    here = set(annotated)
    known = {known_as(video.name, labels.videos) for _, video in job.videos}
    if absent := sorted(labels.videos.keys() - known):
        notes.append(
            f"{_some('annotated, but without features here, left out of what is written', absent)}; results on it are on the"
            f" other {len(labels.videos) - len(absent)}"
        )
    without = [video.id for _, video in job.videos if video.id not in here]
    if without:
        notes.append(_some("with features and without annotations", without))
    ambiguous = sum(s.label < 0 for v in labels.videos.values() for s in v.segments)
    if ambiguous and job.to != "gtad":
        notes.append(f"{ambiguous} ambiguous stretches are left out of the annotations")
    if job.to == "mmaction":
        short = [
            video.id
            for _, video in job.videos
            if video.id in here and not covered(video.source_frames)
        ]
        if short:
            notes.append(
                _some(
                    "of under 16 frames, which MMAction2 cannot place, left out of the annotations",
                    short,
                )
            )
    return notes + _about_lengths(job, labels)


def _about_lengths(job: Job, labels: Labels) -> list[str]:
    other = []
    for _, video in job.videos:
        name = known_as(video.name, labels.videos)
        found = labels.videos[name] if name is not None else None
        if (
            found is not None
            and found.duration is not None
            and abs(found.duration - video.duration) > _OTHER_LENGTH
        ):
            other.append(f"{video.id}: {video.duration:.1f} s and {found.duration:.1f} s")
    return [_some("not as long as the annotations say", other)] if other else []


def _some(what: str, names: Sequence[str]) -> str:
    return f"{len(names)} video{'s' if len(names) > 1 else ''} {what}: {', '.join(names[:3])}{_more(names)}"


def _more(names: Sequence[str]) -> str:
    return ", ..." if len(names) > 3 else ""


def readme(job: Job, paste: str, notes: Sequence[str]) -> str:
    """Return the folder's README.md: the layout, the lines to paste, and the notes."""
    weights = job.store.settings.weights.name
    grid = job.grid
    rate = (
        f"at {grid.fps:g} frames a second" if grid.fps is not None else "at the videos' own rates"
    )
    told = "".join(f"- {note}\n" for note in notes)
    of = f"{job.layer} of {job.store.settings.model.name} ({weights} weights)"
    if job.store.settings.projection is not None:
        of += f", projected to {job.dims} numbers"
    return (
        f"# Features for {FORMATS[job.to].loader}\n\n"
        f"Written by `featx export --to {job.to}` from `{job.store.path.name}`: {len(job.videos)} videos, layer {of}."
        f" A feature covers {grid.span} frames, and one begins every {grid.stride} frames, {rate}.\n\n"
        f"{_LAYOUT[job.to].format(dims=job.dims, stride=grid.stride)}\n\n"
        f"Configuration to paste:\n\n```\n{paste}\n```\n\n"
        f"`featx_export.json` has these values, and for each video its rows, fps, frames and seconds.\n"
        + (f"\nTo know:\n\n{told}" if told else "")
    )
