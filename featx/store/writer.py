"""The feature file, written: from the journal's parts, from other feature files, or from rows of one's own."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec
from featx.errors import FeatxError, UsageError
from featx.store.hdf5 import hdf5_written
from featx.store.journal import Entry, Journal, Origin
from featx.store.reader import FORMAT, FORMAT_VERSION, FeatureStore, Video, same_video
from featx.store.recorded import PLACES, Recorded, differences
from featx.store.schema import (
    plain,
    problem_of_attribute,
    problem_of_frames,
    problem_of_length,
    problem_of_times,
)
from featx.system.files import check_target
from featx.video.source import check_ids

# Format versions of files without a projection, scales or a second network, and of those with a projection.
_PLAIN, _PROJECTED = 1, 2
# Bytes of rows that are held at a time.
_HELD = 64 << 20
_TEXT = h5py.string_dtype("utf-8")


class _Writer:
    """A feature file being written aside; in its place once the `with` block ends without an exception."""

    def __init__(self, out: Path, settings: Recorded) -> None:
        self._out = out
        self._temporary = out.with_name(f"{out.name}.parts") / "out.h5.tmp"
        self._settings = settings
        self._ids: list[str] = []

    def __enter__(self) -> _Writer:
        from featx import __version__

        with contextlib.ExitStack() as stack:
            self.file = stack.enter_context(hdf5_written(self._out, aside=self._temporary))
            self.file.attrs.update(
                format=FORMAT, format_version=_version(self._settings), featx_version=__version__
            )
            for name, value in self._settings.to_json().items():
                self.file.attrs[name] = json.dumps(value)
            stack.push(self._list_videos)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def _list_videos(self, kind: object, *_: object) -> None:
        if kind is None:
            self.file[".videos"] = np.asarray(sorted(self._ids), dtype=_TEXT)

    def note(self, video_id: str) -> None:
        """Note that a video is in the file."""
        self._ids.append(video_id)

    def copy(self, video: Video) -> None:
        """Copy a video from another feature file; DamagedFile where its numbers are not what a reader takes."""
        _check_numbers(video)
        parent, _, name = video.id.rpartition("/")
        into = self.file.require_group(parent) if parent else self.file
        group = into.require_group(name)
        source = video.group
        for key in sorted((*video.layers, *PLACES)):
            source.file.copy(source[key], group, name=key)
        before, after = source.attrs, group.attrs
        for key in video.attrs:
            after[key] = before[key]
        self._ids.append(video.id)

    def add(self, video_id: str, entry: Entry, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Write a video from the journal's parts, a stretch of rows at a time."""
        summary = entry.summary
        if summary is None or entry.origin is None:
            raise FeatxError(f"{video_id!r} is not whole: rerun the extraction")
        group = self.file.require_group(video_id)
        n = len(summary.clip_frames)
        missing = set(range(n)) - entry.clips
        if missing:
            raise FeatxError(
                f"{video_id!r} lacks the rows of {len(missing)} of its {n} clips: remove the parts folder and rerun"
            )
        for layer, shape in shapes.items():
            dataset = group.create_dataset(layer, shape=(n, int(np.prod(shape))), dtype=np.float32)
            dataset.attrs["shape"] = shape
            for clips, places in entry.stretches:
                rows = places[layer].read()
                breaks = np.flatnonzero(np.diff(clips) != 1) + 1
                for run in np.split(np.arange(len(clips)), breaks):
                    stretch = np.ascontiguousarray(rows[run[0] : run[-1] + 1])
                    dataset.write_direct(
                        stretch, dest_sel=np.s_[clips[run[0]] : clips[run[-1]] + 1]
                    )
        group["clip_frames"] = summary.clip_frames
        group["clip_times"] = summary.clip_times
        attributes = summary.attributes()
        group.attrs.update(**_origin_attrs(entry.origin), **attributes, complete=True)
        self._ids.append(video_id)

    def failures(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write the table of videos that could not be read."""
        kind = np.dtype([("path", _TEXT), ("reason", _TEXT)])
        self.file[".failures"] = np.asarray(list(rows), dtype=kind)


class FeatureWriter:
    """Write a feature file of rows that something else than `featx.extract` has made.

    A context manager. The file is in its place, whole, once the block ends without an exception; until then there is none.

    Args:
        out: The feature file; it must not exist.
        recorded: How the rows were made. What reads the file goes by it.

    Raises:
        UsageError: If `out` exists, or another run writes it.
    """

    def __init__(self, out: str | os.PathLike[str], recorded: Recorded) -> None:
        self._out = Path(out)
        if self._out.exists():
            raise UsageError(f"{self._out} exists: choose another name")
        self._recorded = recorded
        self._stack = contextlib.ExitStack()
        self._failures: list[tuple[str, str]] = []
        self._ids: set[str] = set()

    def __enter__(self) -> FeatureWriter:
        with self._stack:
            journal = Journal(self._out)
            self._stack.callback(journal.close)
            if journal.settings is not None:
                raise UsageError(
                    f"{journal.folder} holds an unfinished run of featx extract: finish it, or choose another name"
                )
            self._writer = self._stack.enter_context(_Writer(self._out, self._recorded))
            self._stack.push(self._write_failures)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def _write_failures(self, kind: object, *_: object) -> None:
        if kind is None:
            self._writer.failures(sorted(self._failures))

    def add(
        self,
        video_id: str,
        rows: Mapping[str, npt.ArrayLike],
        *,
        clip_frames: npt.ArrayLike,
        clip_times: npt.ArrayLike,
        path: str,
        frames: int,
        fps: float,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a video. Ids come in any order; the file lists them sorted.

        Args:
            video_id: Its id: a path without suffix, such as "Biking/v_Biking_g01_c01".
            rows: (T, D) numbers of each layer that is recorded, a row a clip in time order.
            clip_frames: (T, 2), [start, end) of each clip in source frames.
            clip_times: (T, 2), the same in seconds.
            path: Path of the video file.
            frames: Frames of the video.
            fps: Frames a second.
            shapes: A clip's unflattened shape by layer, such as (512, 1, 7, 7). By default (D,).
            attrs: Further attributes of the video.

        Raises:
            UsageError: For an id that is there or cannot be, for other layers than are recorded, and for arrays whose
                shapes do not agree or whose numbers are not finite.
        """
        if video_id in self._ids:
            raise UsageError(f"{video_id!r} is added twice: give each video an id of its own")
        check_ids([*self._ids, video_id], list(self._recorded.layers))
        if set(rows) != set(self._recorded.layers):
            raise UsageError(
                f"{video_id!r} has rows of {', '.join(rows)}, and {', '.join(self._recorded.layers)} are recorded:"
                " give those"
            )
        places = np.asarray(clip_frames, np.int64), np.asarray(clip_times, np.float64)
        n = len(places[0])
        if not n or any(each.shape != (n, 2) for each in places):
            raise UsageError(
                f"{video_id!r} has clip_frames {places[0].shape} and clip_times {places[1].shape}: give (T, 2) each"
            )
        duration = float(places[1].max() - places[1].min())
        about = {"path": path, "frames": frames, "fps": fps, "duration_s": duration}
        about.update(attrs or {})
        if why := _problem(about, *places, self._recorded.clip):
            raise UsageError(f"{video_id!r} cannot be stored: {why}")
        tables = {name: np.asarray(each, np.float32) for name, each in rows.items()}
        for name, table in tables.items():
            if table.ndim != 2 or len(table) != n or not np.isfinite(table).all():
                raise UsageError(
                    f"{name} of {video_id!r} is {table.shape}: give finite numbers, ({n}, D), a row a clip"
                )
        group = self._writer.file.require_group(video_id)
        for name, table in tables.items():
            group[name] = table
            group[name].attrs["shape"] = (shapes or {}).get(name, table.shape[1:])
        group["clip_frames"], group["clip_times"] = places
        group.attrs.update({**about, "complete": True})
        self._ids.add(video_id)
        self._writer.note(video_id)

    def fail(self, path: str, reason: str) -> None:
        """List a video that could not be read.

        Args:
            path: Its file.
            reason: Why, in words.
        """
        self._failures.append((path, reason))


def _problem(
    about: Mapping[str, Any],
    frames: npt.NDArray[np.int64],
    times: npt.NDArray[np.float64],
    spec: ClipSpec,
) -> str:
    """Return why a video of one's own could not be read again; empty if it can."""
    for name, value in about.items():
        try:
            told = plain(value)
        except ValueError as error:
            return f"its {name} {error}"
        why = problem_of_attribute(name, told)
        if not why and name in ("frames", "duration_s"):
            why = problem_of_length(name, told, len(frames), spec)
        if why:
            return f"its {name} {why}"
    if why := problem_of_frames(frames):
        return f"clip_frames {why}"
    return (why := problem_of_times(times, spec)) and f"clip_times {why}"


def _version(settings: Recorded) -> int:
    """Return the least format version whose readers know what the settings say."""
    if settings.cascade is not None or settings.clip.scales != (1,):
        return FORMAT_VERSION
    return _PROJECTED if settings.projection is not None else _PLAIN


def _origin_attrs(origin: Origin) -> dict[str, Any]:
    size, fingerprint = origin.stamp.size, origin.fingerprint
    return {
        "path": origin.path,
        "bytes": size,
        "fingerprint": fingerprint,
        "computed_by": origin.computed_by,
    }


def publish(
    out: Path,
    settings: Recorded,
    *,
    entries: Mapping[str, Entry],
    shapes: Mapping[str, tuple[int, ...]],
    failures: Iterable[tuple[str, str]],
    old: FeatureStore | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the feature file from the journal's entries, and from the file that stood there before, and put it in place.

    shapes: layer -> its unflattened shape. on_progress: called with (videos written, videos in all).
    Raises FeatxError if the disk is full.
    """
    before = [] if old is None else [i for i in old.ids if i not in entries]
    need = sum(
        place.nbytes
        for e in entries.values()
        for _, places in e.stretches
        for place in places.values()
    )
    need += old.path.stat().st_size if old is not None and before else 0
    free = os.statvfs(out.parent)
    if need > free.f_bavail * free.f_frsize:
        raise FeatxError(
            f"{out} takes {need / 1e6:.0f} MB and {free.f_bavail * free.f_frsize / 1e6:.0f} MB are free: "
            "free some space and run the same command again; nothing is lost"
        )
    with _Writer(out, settings) as writer:
        everything = sorted([*before, *entries])
        for number, video_id in enumerate(everything):
            if on_progress:
                on_progress(number, len(everything))
            if video_id in entries:
                writer.add(video_id, entries[video_id], shapes)
            elif old is not None:
                writer.copy(old[video_id])
        writer.failures(failures)


def merge(
    inputs: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Merge feature files made with the same settings into one.

    Args:
        inputs: The feature files.
        out: The merged file, which must not exist.
        on_progress: Called with (videos written, videos in all).

    Returns:
        The number of its videos.

    Raises:
        UsageError: If settings differ, if a video is in two files with different content, if `out` exists or if
            another run is writing it.
    """
    target = Path(out)
    if target.exists():
        raise UsageError(f"{target} exists: choose another name")
    check_target(target, example="merged.h5")
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(FeatureStore(p)) for p in inputs]
        if not stores:
            raise UsageError("no feature files to merge: give at least one")
        owner: dict[str, FeatureStore] = {}
        for store in stores:
            if differing := differences(stores[0].settings, store.settings):
                raise UsageError(
                    f"{store.path} cannot be merged with {stores[0].path}: {differing}"
                )
            for video_id in store.ids:
                if video_id in owner and not same_video(owner[video_id][video_id], store[video_id]):
                    raise UsageError(
                        f"{video_id!r} differs between {owner[video_id].path} and {store.path}: leave one out"
                    )
                owner.setdefault(video_id, store)
        paths = {store[i].attr("path") for i, store in owner.items()}
        failures = {
            path: reason for store in stores for path, reason in store.failures if path not in paths
        }
        check_ids(owner, stores[0].layers)
        journal = Journal(target)
        stack.callback(journal.close)
        if journal.settings is not None:
            raise UsageError(
                f"{journal.folder} holds an unfinished run of featx extract: finish it, or choose another name"
            )
        with _Writer(target, stores[0].settings) as writer:
            for number, video_id in enumerate(sorted(owner)):
                if on_progress:
                    on_progress(number, len(owner))
                writer.copy(owner[video_id][video_id])
            writer.failures(sorted(failures.items()))
        return len(owner)


def _check_numbers(video: Video) -> None:
    """Raise DamagedFile where rows, or places in time, are not what a reader takes."""
    _ = video.clip_frames, video.clip_times
    for layer in video.layers:
        rows = video.dataset(layer)
        step = max(1, _HELD // (4 * rows.shape[1]))
        for begin in range(0, len(rows), step):
            _ = rows[begin : begin + step]
