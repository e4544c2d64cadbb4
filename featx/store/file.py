"""The feature file: one HDF5 file that any h5py user can read; schema, reader, writer, merge.

/                  attrs: format, format_version, featx_version, and JSON: model, weights, layers,
                   clip, transform, precision, device, batch_size, decoder; and projection and cascade, where there are
/<video id>/       attrs: path, frames, fps, width, height, duration_s, looped, damaged_frames, complete, ...
    <layer>        (T, D) float32, one row a clip in time order; attr `shape`: the unflattened (C, T, H, W).
                   Clips of several scales come in the order in which they end, the shorter one first
    clip_frames    (T, 2) int64, [start, end) in source frames
    clip_times     (T, 2) float64, seconds, from the stream's own timestamps
/.videos           the ids, in order
/.failures         one row a video that could not be read: path, reason

A projected layer keeps its name; `projection` says which it is (layer, dims, from, fitted_on, sha256, ...), and its rows are
(T, dims). Such a file has format version 2, for readers of version 1 know no projection: they would take its rows for the layer's
own, and merge the two. For the same reason a file with clips at several scales, or with a second network's rows (`cascade`: name,
gate, threshold, labels, weights; all zeros for clips that it did not see), has version 3. Every other one still has version 1.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError, nearest
from featx.store.journal import Entry, Journal, Origin
from featx.system.files import disk_full, sync_folder
from featx.video.source import check_ids

FORMAT = "featx-features"
FORMAT_VERSION = 3
_PLAIN, _PROJECTED = 1, 2
# What makes two files' rows comparable; they must agree on resume and on merge.
SETTINGS = (
    "model",
    "weights",
    "layers",
    "clip",
    "transform",
    "precision",
    "device",
    "batch_size",
    "decoder",
)
# Settings that only some files have.
PROJECTION, CASCADE = "projection", "cascade"
_OF_SOME = (PROJECTION, CASCADE)
# What a clip's row shows. Where the clips lie, and how exactly a row was computed, change no row's meaning.
ROW = ("model", "weights", "clip", "transform", PROJECTION, CASCADE)
_WHERE = ("stride", "tail", "count")
# Bytes of a file's metadata that HDF5 holds, by their size in the file; in memory they take ten times that.
_METADATA = 1 << 20
_PLACES = ("clip_frames", "clip_times")
_TEXT = h5py.string_dtype("utf-8")


class NoFeatureFile(UsageError):
    """An HDF5 file of something else."""


class Video:
    """One video of a feature file, read on demand."""

    def __init__(self, group: h5py.Group, video_id: str) -> None:
        self._group = group
        self.id = video_id

    @property
    def attrs(self) -> dict[str, Any]:
        """The video's attributes as plain values: path, frames, fps, ..."""
        return {name: self.attr(name) for name in self._group.attrs}

    def attr(self, name: str) -> Any:
        """Return one attribute as a plain value."""
        value = self._group.attrs[name]
        return value.item() if isinstance(value, np.generic) else value

    @property
    def layers(self) -> list[str]:
        """The names of the layers that are stored."""
        return [
            name
            for name, item in self._group.items()
            if isinstance(item, h5py.Dataset) and name not in _PLACES
        ]

    @property
    def clip_frames(self) -> npt.NDArray[np.int64]:
        """(T, 2) int64: [start, end) of each clip in source frames."""
        return np.asarray(self._group["clip_frames"][()])

    @property
    def clip_times(self) -> npt.NDArray[np.float64]:
        """(T, 2) float64: when each clip begins and ends, in seconds."""
        return np.asarray(self._group["clip_times"][()])

    def __len__(self) -> int:
        return int(self._group["clip_frames"].shape[0])

    def dataset(self, layer: str) -> h5py.Dataset:
        """Return a layer's dataset, (T, D) float32, of which a slice reads just that; UsageError names the nearest."""
        found = self._group.get(layer) if layer not in _PLACES else None
        if not isinstance(found, h5py.Dataset):
            raise UsageError(f"no layer {layer!r} in {self.id!r}{nearest(layer, self.layers)}")
        return found

    def __getitem__(self, layer: str) -> npt.NDArray[np.float32]:
        return np.asarray(self.dataset(layer)[()])


class FeatureStore:
    """Read a feature file; a context manager.

    Videos by id (`store["a/b"]`), by index (`store[0]`), in order (`for video in store`).
    Raises UsageError if the file is not a feature file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.exists():
            unfinished = self.path.with_name(self.path.name + ".parts")
            hint = (
                f"; {unfinished} holds an unfinished run: rerun its featx extract"
                if unfinished.exists()
                else ""
            )
            raise UsageError(f"no such file: {self.path}{hint}")
        try:
            self.file = h5py.File(self.path, "r")
        except PermissionError as error:
            raise UsageError(f"cannot read {self.path}: {os.strerror(errno.EACCES)}") from error
        except OSError as error:
            raise UsageError(
                f"{self.path} is not a feature file: it cannot be read as HDF5"
            ) from error
        try:
            self._load()
        except (
            KeyError,
            TypeError,
            ValueError,
            OSError,
            RuntimeError,
        ) as error:  # as many as h5py has for a damaged file
            self.file.close()
            raise UsageError(f"{self.path} is damaged: {str(error).splitlines()[0]}") from error
        except BaseException:
            self.file.close()
            raise

    def _load(self) -> None:
        if self.file.attrs.get("format") != FORMAT:
            raise NoFeatureFile(
                f"{self.path} is an HDF5 file, but not one that featx extract wrote"
            )
        if (version := int(self.file.attrs["format_version"])) > FORMAT_VERSION:
            raise UsageError(
                f"{self.path} has format version {version}, this featx reads up to {FORMAT_VERSION}: update featx"
            )
        # How the rows were made: model, weights, layers, clip, transform, precision, device, batch_size, decoder.
        # And projection, where rows were projected; cascade, where a second network saw some of the clips.
        names = [*SETTINGS, *(name for name in _OF_SOME if name in self.file.attrs)]
        self.settings: dict[str, Any] = {name: json.loads(self.file.attrs[name]) for name in names}
        self._keep_little()
        # (path, reason) of every video that could not be read.
        self.failures: list[tuple[str, str]] = [
            (p.decode(), r.decode()) for p, r in self.file[".failures"][()]
        ]
        self.ids: list[str] = [i.decode() for i in self.file[".videos"][()]]
        self._known = frozenset(self.ids)

    def _keep_little(self) -> None:
        """Have HDF5 hold less of what it has read about videos: of 50,000 it held 600 MB otherwise, and was no faster."""
        config = self.file.id.get_mdc_config()
        config.set_initial_size = True
        config.initial_size = config.min_size = config.max_size = _METADATA
        self.file.id.set_mdc_config(config)

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Video]:
        return (self._video(video_id) for video_id in self.ids)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._known

    def __getitem__(self, which: str | int) -> Video:
        if isinstance(which, int):
            return self._video(self.ids[which])
        if which not in self._known:
            raise UsageError(
                f"no video {which!r} in {self.path}{nearest(which, self.ids) if len(self.ids) < 10_000 else ''}"
            )
        return self._video(which)

    def _video(self, video_id: str) -> Video:
        return Video(self.file[video_id], video_id)

    @property
    def layers(self) -> list[str]:
        """The names of the layers that every video has."""
        return list(self.settings["layers"])

    def matrix(
        self, layer: str, ids: Iterable[str] | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return all clips' rows of a layer, (N, D) float32, and the index in `ids` of each row's video, (N,) int64."""
        chosen = list(self.ids if ids is None else ids)
        sets = [self[i].dataset(layer) for i in chosen]
        lengths = [d.shape[0] for d in sets]
        out = np.empty((sum(lengths), sets[0].shape[1] if sets else 0), dtype=np.float32)
        begin = 0
        for dataset, length in zip(sets, lengths, strict=True):
            if length:
                dataset.read_direct(out, dest_sel=np.s_[begin : begin + length])
            begin += length
        return out, np.repeat(np.arange(len(chosen)), lengths)

    def video_level(self, layer: str, ids: Iterable[str] | None = None) -> npt.NDArray[np.float32]:
        """Return one row a video, (V, D) float32: the mean over its clips, L2-normalised (Res3D paper, section 5.1).

        One video is read at a time; a mean of all zeros stays zero.
        """
        chosen = list(self.ids if ids is None else ids)
        out = np.empty(
            (len(chosen), self[chosen[0]].dataset(layer).shape[1] if chosen else 0),
            dtype=np.float32,
        )
        for row, video_id in zip(out, chosen, strict=True):
            mean = self[video_id][layer].mean(axis=0, dtype=np.float64)
            norm = float(np.linalg.norm(mean))
            row[:] = mean / norm if norm > 0 else mean
        return out


class _Writer:
    """A feature file being written aside; in its place once the `with` block ends without an exception."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self._out = out
        self._temporary = out.with_name(f"{out.name}.parts") / "out.h5.tmp"
        self._settings = settings
        self._ids: list[str] = []

    def __enter__(self) -> _Writer:
        from featx import __version__

        self._temporary.parent.mkdir(parents=True, exist_ok=True)
        # v110: groups of many videos are indexed; read by HDF5 1.10 (2016) and later.
        self.file = h5py.File(self._temporary, "w", libver=("v110", "v110"))
        own = [name for name in _OF_SOME if name in self._settings]
        self.file.attrs.update(
            format=FORMAT, format_version=_version(self._settings), featx_version=__version__
        )
        for name in (*SETTINGS, *own):
            self.file.attrs[name] = json.dumps(self._settings[name])
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.file[".videos"] = np.asarray(self._ids, dtype=_TEXT)
            self.file.close()
        except BaseException:
            self._discard()
            raise
        if kind is not None:
            self._discard()
            return
        with self._temporary.open("rb") as file:
            os.fsync(file.fileno())
        self._temporary.replace(self._out)
        sync_folder(self._out.parent)

    def _discard(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def copy(self, video: Video) -> None:
        """Copy a video from another feature file."""
        parent, _, name = video.id.rpartition("/")
        source = video._group
        into = self.file.require_group(parent) if parent else self.file
        group = into.require_group(name)
        for key, item in source.items():
            if isinstance(item, h5py.Dataset):
                source.file.copy(item, group, name=key)
        for key, value in source.attrs.items():
            group.attrs[key] = value
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
        plain = {k: v for k, v in vars(summary).items() if not isinstance(v, np.ndarray)}
        group.attrs.update(**_origin_attrs(entry.origin), **plain, complete=True)
        self._ids.append(video_id)

    def failures(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write the table of videos that could not be read."""
        kind = np.dtype([("path", _TEXT), ("reason", _TEXT)])
        self.file[".failures"] = np.asarray(list(rows), dtype=kind)


def _version(settings: Mapping[str, Any]) -> int:
    """Return the least format version whose readers know what the settings say."""
    if CASCADE in settings or "scales" in settings["clip"]:
        return FORMAT_VERSION
    return _PROJECTED if PROJECTION in settings else _PLAIN


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
    settings: Mapping[str, Any],
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
    with _hdf5_errors(out), _Writer(out, settings) as writer:
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
    """Merge feature files made with the same settings into one, and return the number of its videos.

    on_progress: called with (videos written, videos in all). Raises UsageError if settings differ, if a
    video is in two files with different content, if `out` exists or if another run is writing it.
    """
    target = Path(out)
    if target.exists():
        raise UsageError(f"{target} exists: choose another name")
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
        with _hdf5_errors(target), _Writer(target, stores[0].settings) as writer:
            for number, video_id in enumerate(sorted(owner)):
                if on_progress:
                    on_progress(number, len(owner))
                writer.copy(owner[video_id][video_id])
            writer.failures(sorted(failures.items()))
        return len(owner)


def same_video(a: Video, b: Video) -> bool:
    """Return whether two videos' rows, places and attributes are equal to the bit."""
    if a.attrs != b.attrs or a.layers != b.layers:
        return False
    if not np.array_equal(a.clip_frames, b.clip_frames) or not np.array_equal(
        a.clip_times, b.clip_times
    ):
        return False
    return all(np.array_equal(a[layer], b[layer]) for layer in a.layers)


def differences(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    *,
    names: Sequence[str] = (*SETTINGS, *_OF_SOME),
) -> str:
    """Say how two files' settings differ, those of `names`, `name: ours -> theirs` each; empty if they agree."""

    def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in settings.items():
            if isinstance(value, Mapping):
                yield from flat(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    # Through JSON, as they are stored: a tuple and a list are the same setting.
    a, b = (
        dict(flat(json.loads(json.dumps({n: _compared(n, s.get(n)) for n in names}))))
        for s in (ours, theirs)
    )
    for each in (a, b):
        each.setdefault("transform.input", "rgb")
    changed = [
        n
        for n in dict.fromkeys([*a, *b])
        if a.get(n) != b.get(n) and not n.endswith("weights.file")
    ]
    if "transform.input" in changed:  # what follows from it says no more
        changed = [
            n for n in changed if n != "transform.flow" and not n.startswith("decoder.flow.")
        ]
    return ", ".join(
        f"{n} is {_short(a.get(n))} there and {_short(b.get(n))} here" for n in changed
    )


def row_differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], *, names: Sequence[str] = ROW
) -> str:
    """Say how two files' settings differ in what a clip's row shows; empty if a row of one is a row of the other."""

    def inside(settings: Mapping[str, Any]) -> dict[str, Any]:
        clip = settings.get("clip")
        own = (
            {n: v for n, v in clip.items() if n not in _WHERE}
            if isinstance(clip, Mapping)
            else clip
        )
        return {**settings, "clip": own}

    return differences(inside(ours), inside(theirs), names=names)


def _compared(name: str, value: Any) -> Any:
    """Return a setting as it is compared: a projection is its file's content, and everything else follows from it."""
    if name != PROJECTION or not isinstance(value, Mapping):
        return value
    return f"{value.get('dims')} dimensions of {value.get('layer')}, sha256 {value.get('sha256')}"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@contextlib.contextmanager
def _hdf5_errors(out: Path) -> Iterator[None]:
    with disk_full(out):
        try:
            yield
        except (OSError, RuntimeError) as error:  # HDF5 tells errno only in a text of many lines
            if "errno = 28" in str(error) or "No space left" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            if isinstance(error, OSError) and error.errno:
                raise
            raise FeatxError(
                f"cannot write {out}: {str(error).splitlines()[0]}; nothing is lost: rerun"
            ) from error
