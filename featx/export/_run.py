"""An export, from a feature file to a folder that a detector reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from featx.errors import FeatxError, UsageError, nearest
from featx.export import _annotations, _config
from featx.export._annotations import Annotated, Labels, read_labels
from featx.export._config import ANNOTATIONS, CLASS_MAP, GTAD
from featx.export._folder import FORMAT, MANIFEST, README, begin, locked
from featx.export._formats import FEATURES, FORMATS, Format, Job, write_features
from featx.export._names import check_names, common_prefix, known_as, side_of
from featx.export._notes import notes_of, readme
from featx.export._timeline import Grid, Timeline, grid_of, timeline
from featx.store.reader import FeatureStore
from featx.store.recorded import PROJECTION
from featx.system.files import disk_full, write_atomically
from featx.system.text import Text, joined, json_text
from featx.video.source import Source

FORMAT_VERSION = 1
_USUAL_LAYER = "pool5"
_Videos = list[tuple[str, Timeline, Annotated]]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an export wrote.

    videos, rows: of the feature file, exported. files: of features; there: how many of them a run before had written.
    config: the values that the detector's configuration takes; paste: its lines. notes: sentences that a reader of the
    features should know. failures: (path, reason) of the videos that have no features.
    """

    out: str
    to: str
    layer: str
    dims: int
    videos: int
    rows: int
    files: int
    there: int
    config: dict[str, Any]
    paste: str
    notes: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def export(
    features: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str,
    layer: str | None = None,
    annotations: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Write a feature file's clip features to the folder `out`, in the layout that a detector reads.

    to: activitynet, actionformer, opentad, gtad or mmaction. layer: the only one, or pool5. annotations: folders of
    THUMOS'14's files or JSON files as ActivityNet's; what the detector reads is written from them, in agreement with the
    features. overwrite: replace what `out` holds. on_progress: called with (videos written, videos in all).

    Killed at any time, the same call continues; every file is whole or not there. Raises UsageError where the clips have no
    stride that the detector could count by, two videos would get one name, or `out` holds something else.
    """
    if to not in FORMATS:
        raise UsageError(f"no layout {to!r}{nearest(to, FORMATS)}")
    target, form = Path(out), FORMATS[to]
    paths = [annotations] if isinstance(annotations, str | os.PathLike) else list(annotations)
    given = read_labels(paths) if paths else None
    with FeatureStore(features) as store:
        job = _job(store, to, form, layer)
        labels, annotated = _annotated(job, given)
        prefix = _prefix(job, labels)
        texts = _texts(job, labels, annotated, prefix)
        inputs = [store.path, *map(Path, paths)]
        files = [*(f"{FEATURES}/{name}" for name in job.files), *texts, README, MANIFEST]
        made_from = _made_from(job, labels)
        with locked(target):
            begin(target, made_from, files, inputs, overwrite=overwrite)
            _check_room(job, target)
            values, paste = _config.config(job, out=target, labels=labels, prefix=prefix)
            notes = notes_of(
                job,
                given,
                labels,
                [video.id for _, video, _ in annotated],
                common=_config.common_rate(job),
            )
            with disk_full(target):
                there = _write(job, target, texts, on_progress)
                write_atomically(target / README, readme(job, paste, notes).encode())
                about = _manifest(job, values, paste, notes, files, made_from)
                write_atomically(target / MANIFEST, json.dumps(about, indent=1).encode())
        return Report(
            out=os.fspath(out),
            to=to,
            layer=job.layer,
            dims=job.dims,
            videos=len(job.videos),
            rows=sum(video.rows for _, video in job.videos),
            files=len(job.files),
            there=there,
            config=values,
            paste=paste,
            notes=notes,
            failures=store.failures,
        )


def _job(store: FeatureStore, to: str, form: Format, layer: str | None) -> Job:
    """Return what is to be written; UsageError where the detector could not read it truly."""
    if not len(store):
        raise UsageError(f"{store.path} has no videos: extract some")
    name = _layer(store, layer)
    grid = grid_of(store.settings.clip)
    if grid.clips.count is not None and not form.spread:
        raise UsageError(
            f"{store.path} has {grid.clips.count} clips spread evenly over each video, which have no stride for {form.loader} to"
            " count by: extract them again with `stride` instead of `clips`, or take `to='mmaction'`"
        )
    videos = [timeline(video, grid, by_stride=form.by_stride) for video in store.values()]
    check_names(videos, form.called)
    if form.by_stride:
        _check_stride(videos, grid, form)
    if to == "gtad":
        _check_sides(videos)
    dims = int(store[store.ids[0]].dataset(name).shape[1])
    if to == "mmaction" and dims == 1:
        raise UsageError(
            f"{name} has one number a clip, and MMAction2 takes a table of one column for a row: export another layer"
        )
    called = sorted(
        ((form.called(video.name), video) for video in videos), key=lambda pair: pair[0]
    )
    return Job(to=to, store=store, layer=name, dims=dims, grid=grid, videos=called)


def _layer(store: FeatureStore, layer: str | None) -> str:
    if layer is not None:
        if layer not in store.layers:
            raise UsageError(f"no layer {layer!r} in {store.path}{nearest(layer, store.layers)}")
        return layer
    if len(store.layers) == 1:
        return store.layers[0]
    if _USUAL_LAYER in store.layers:
        return _USUAL_LAYER
    raise UsageError(
        f"{store.path} has the layers {', '.join(store.layers)}: choose one with `layer`"
    )


def _check_stride(videos: Sequence[Timeline], grid: Grid, form: Format) -> None:
    if far := [video for video in videos if video.far(grid)]:
        worst = max(far, key=lambda video: video.late)
        raise UsageError(
            f"features of {len(far)} videos lie up to {worst.late:.2f} s ({worst.id!r}) from where {form.loader} takes them to be"
            " by the stride, as their frames are unevenly timed: extract them again with `fps`, or take"
            " `to='gtad'` or `to='mmaction'`, which go by each clip's own times"
        )


def _check_sides(videos: Sequence[Timeline]) -> None:
    if neither := [video.name for video in videos if side_of(video.name) is None]:
        raise UsageError(
            f"G-TAD's loader tells a video's side by val or test in its name, and {len(neither)} of {len(videos)} have neither"
            f" ({', '.join(neither[:3])}): rename them and extract them again, or take `to='opentad'`, which has G-TAD too"
        )


def _annotated(job: Job, labels: Labels | None) -> tuple[Labels | None, _Videos]:
    """Return the labels of the exported videos, and (what annotations call it, video, its annotations) of each that has some."""
    if labels is None:
        return None, []
    taken = [
        (name, video)
        for _, video in job.videos
        if (name := known_as(video.name, labels.videos)) is not None
    ]
    if not taken:
        raise UsageError(
            f"the annotations have none of the {len(job.videos)} videos of {job.store.path} ({job.videos[0][1].name} is one):"
            " give those of the same dataset"
        )
    own = labels.of(name for name, _ in taken)
    return own, [(name, video, own.videos[name]) for name, video in taken]


def _prefix(job: Job, labels: Labels | None) -> str:
    return common_prefix(
        [video.name for _, video in job.videos], None if labels is None else labels.videos
    )


def _texts(job: Job, labels: Labels | None, annotated: _Videos, prefix: str) -> dict[str, bytes]:
    """Return the annotation files, by their place in the folder."""
    if labels is None:
        return {}
    named = [(video.name, video, a) for _, video, a in annotated]
    if job.to == "gtad":
        sides = {
            side: [row for row in named if side_of(row[0]) == side] for side in ("val", "test")
        }
        files = {
            f"{GTAD}/{side}_Annotation.csv": _annotations.gtad_annotations(labels, rows)
            for side, rows in sides.items()
        }
        return files | {
            f"{GTAD}/thumos14_test_groundtruth.csv": _annotations.gtad_groundtruth(sides["test"])
        }
    if job.to == "mmaction":
        called = [(FORMATS[job.to].called(name), video, a) for name, video, a in named]
        return {
            f"anet_anno_{role}.json": _annotations.mmaction(labels, called, role)
            for role in ("train", "val", "test")
        }
    if job.to == "activitynet":
        return {ANNOTATIONS: _annotations.database(labels, annotated, called="as given")}
    keyed = [(name.removeprefix(prefix), video, a) for name, video, a in named]
    how = "as given" if job.to == "actionformer" else "by role"
    files = {ANNOTATIONS: _annotations.database(labels, keyed, called=how)}  # type: ignore[arg-type]
    return files | (
        {CLASS_MAP: "".join(f"{name}\n" for name in labels.classes).encode()}
        if job.to == "opentad"
        else {}
    )


def _made_from(job: Job, labels: Labels | None) -> str:
    """Return a sha256 that tells an export of the same from another one: of content, not of places or times."""
    path = str(job.store.path)
    about = {
        "to": job.to,
        "layer": job.layer,
        "features": Source(path, path).fingerprint(),
        "settings": job.store.settings.to_json(),
        "videos": {
            name: str(job.store[video.id].attrs.get("fingerprint", ""))
            for name, video in job.videos
        },
        "annotations": None if labels is None else asdict(labels),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _check_room(job: Job, out: Path) -> None:
    free = shutil.disk_usage(out).free
    # What a run before wrote takes its room already.
    written = sum(
        path.stat().st_size for name in job.files if (path := out / FEATURES / name).exists()
    )
    if job.bytes - written > free:
        raise FeatxError(
            f"{out} takes {job.bytes / 1e6:.0f} MB and {free / 1e6:.0f} MB are free: free some space, or choose another folder or"
            " a narrower layer"
        )


def _write(
    job: Job, out: Path, texts: Mapping[str, bytes], on_progress: Callable[[int, int], None] | None
) -> int:
    """Write features and annotations; return how many files of features were there."""
    (out / FEATURES).mkdir(exist_ok=True)
    for file in (out / FEATURES).glob("*.tmp"):
        if file.name.removesuffix(".tmp") in job.files:
            file.unlink()  # torn by a kill
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, len(job.videos))

    there = write_features(job, out / FEATURES, step)
    for name, content in texts.items():
        (out / name).parent.mkdir(exist_ok=True)
        write_atomically(out / name, content)
    return there


def _manifest(
    job: Job,
    values: Mapping[str, Any],
    paste: str,
    notes: Sequence[str],
    files: Sequence[str],
    made_from: str,
) -> dict[str, Any]:
    from featx import __version__

    settings = job.store.settings.to_json()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "featx_version": __version__,
        "to": job.to,
        "loader": FORMATS[job.to].loader,
        "layer": job.layer,
        "dims": job.dims,
        "features": job.store.path.name,
        **{
            name: settings[name]
            for name in ("model", "weights", "clip", "transform", PROJECTION)
            if name in settings
        },
        "config": dict(values),
        "paste": paste,
        "notes": list(notes),
        "failures": [list(failure) for failure in job.store.failures],
        "videos": {name: _video(video) for name, video in job.videos},
        "files": list(files),
        "made_from": made_from,
    }


def _video(video: Timeline) -> dict[str, Any]:
    return {
        "id": video.id,
        "rows": video.rows,
        "fps": video.fps,
        "frames": video.frames,
        "duration_s": video.duration,
        "off_by_s": round(video.late, 6),
        "looped": video.looped,
        "damaged_frames": video.damaged,
    }


def to_json(report: Report) -> Text:
    """Return a report as JSON."""
    return json_text(asdict(report))


def as_text(report: Report) -> Text:
    """Return a report for a person: what was written, and the lines to paste."""
    before = f", {report.there} of {report.files} files were there before" if report.there else ""
    what = (
        f"{report.videos} videos, {report.rows} features of {report.dims} numbers ({report.layer})"
    )
    head = f"{report.out}: {what} for {FORMATS[report.to].loader}{before}"
    return joined(
        [head, "", Text(report.paste), "", f"The same is in {Path(report.out) / README}."]
    )
