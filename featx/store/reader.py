"""The feature file, read: one HDF5 file that any h5py user can read.

/                  attrs: format, format_version, featx_version, and JSON: model, weights, layers,
                   clip, transform, precision, device, batch_size, decoder; and projection and cascade, where there are
/<video id>/       attrs: path, frames, fps, width, height, duration_s, looped, damaged_frames, complete, ...
    <layer>        (T, D) float32, one row a clip in time order; attr `shape`: the unflattened (C, T, H, W).
                   Clips of several scales come in the order in which they end, the shorter one first
    clip_frames    (T, 2) int64, [start, end) in source frames
    clip_times     (T, 2) float64, seconds, from the stream's own timestamps
/.videos           the ids, in order
/.failures         one row a video that could not be read: path, reason

A video has these attributes only where what they tell occurs:

    discontinuities  how often its timestamps start again, as in two recordings one after the other. Its times go on there
    guessed_times    how many frames have no time of their own; they got one by the frame rate
    mirrored         true: left and right were swapped, after turning by `rotation`, as the file asks
    display_angle    degrees by which the file asks to turn frames, where no multiple of 90; `rotation` is the nearest one
    pixel_aspect     width of a pixel over its height, as displayed, where not 1. Frames are not stretched by it
    interlaced       true: a frame consists of two fields. Frames are resized as a whole

`damaged_frames` counts frames that the decoder marks or complains of, packets of which no frame comes, and frames that are
lost where the file has a hole: chunks of an AVI's index that are not there, and time that passes in Matroska, WebM, FLV and
MPEG transport streams while bytes are no packet's. Such a count is an estimate. What nothing tells is not counted:

- Noise inside a packet that decodes nevertheless: in HEVC, VP8, VP9, AV1, Theora, WMV, MSMPEG4v3, HuffYUV and FFV1 without
  checksums it often does; in other codecs seldom. Frames that refer to a damaged one differ, too, and are not counted.
- Packets that are lost as a whole in Ogg, ASF (WMV), MPEG program streams and streams without a container.
- The end of a file that is cut between two packets and does not say how long it is: `frames` below `container_frames` shows
  it, where the container counts its frames (MP4, AVI).

A projected layer keeps its name; `projection` says which it is (layer, dims, from, fitted_on, sha256, ...), and its rows are
(T, dims). Such a file has format version 2, for readers of version 1 know no projection: they would take its rows for the layer's
own, and merge the two. For the same reason a file with clips at several scales, or with a second network's rows (`cascade`: name,
gate, threshold, labels, weights; all zeros for clips that it did not see), has version 3. Every other one still has version 1.

A feature file is checked, for anybody may have made it. What breaks a rule is refused with its name, by whatever reads it:

- It holds groups and datasets of its own, each under one name, reached by hard links: no link, no external storage,
  no virtual dataset, no named type, no filter that HDF5 or h5py does not bring. No link is followed. (`featx.store.objects`)
- A dataset claims no more bytes than are stored of it; a compressed one of more than 64 MB no more than 64 times as many.
- The attributes of the file and of a video have their types, numbers are finite, text is Unicode. A video has path, frames,
  fps and duration_s. Its frames, or seconds if it was resampled, are at most 100 times those that its clips cover.
- `.videos` are texts, each once; `.failures` are pairs of texts.
- A video has a dataset for every recorded layer: (T, D) float32, or float16, with one D in the whole file; clip_frames and
  clip_times are (T, 2) of T >= 1. Frames are intervals from 0 on. Times are finite, no clip ends before it begins, and none
  begins or ends before the one in front of it; where clips have several scales, `featx verify` looks at each scale.
- Rows are finite numbers: NaN and infinity are refused when they are read. (`Rows`)

The file's own part is checked when it is opened; a video when it is first asked for, before its numbers are read: a file of
50,000 videos opens as fast as one of ten. `Video` and `Rows` give nothing that was not checked, and `featx verify` goes
through all that there is, listed or not.
"""

from __future__ import annotations

import errno
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from featx.clips import ClipSpec
from featx.errors import MissingKey, UsageError, nearest
from featx.store.objects import Objects, opened
from featx.store.recorded import ALL, OF_SOME, PLACES, Recorded
from featx.store.schema import (
    REQUIRED,
    is_rows,
    is_text,
    json_of,
    plain,
    problem_of_attribute,
    problem_of_frames,
    problem_of_id,
    problem_of_length,
    problem_of_times,
)

if TYPE_CHECKING:
    import pandas
    import xarray

FORMAT = "featx-features"
FORMAT_VERSION = 3
# Bytes of a file's metadata that HDF5 holds, by their size in the file; in memory they take ten times that.
_METADATA = 1 << 20


class NoFeatureFile(UsageError):
    """An HDF5 file of something else."""


class GivenVideo(UsageError):
    """A video, or a folder, where a feature file was meant."""


class Rows:
    """A layer's rows of one video, (T, D), of which a slice reads just that: float32, and always finite.

    Attributes:
        shape: (T, D).
        dtype: As it is stored.
    """

    def __init__(self, dataset: h5py.Dataset, told: str, objects: Objects) -> None:
        self._dataset, self._told, self._objects = dataset, told, objects
        self.shape: tuple[int, int] = dataset.shape
        self.dtype = dataset.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: Any) -> npt.NDArray[np.float32]:
        return self._finite(
            np.asarray(self._objects.array(self._dataset, self._told, at), np.float32)
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[()], dtype)

    def read_into(self, out: npt.NDArray[np.float32]) -> None:
        """Read all rows into an array of this shape."""
        with self._objects.reading(self._told):
            self._dataset.read_direct(out)
        self._finite(out)

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """The unflattened (C, T, H, W) of a row."""
        with self._objects.reading(self._told):
            value = np.asarray(self._dataset.attrs["shape"])
        shape = value.tolist() if value.ndim == 1 and value.dtype.kind in "iu" else []
        if min(shape, default=0) < 1 or math.prod(shape) != self.shape[1]:
            raise self._objects.refused(
                self._told, f"has rows of {self.shape[1]} numbers and not a shape of so many"
            )
        return tuple(shape)

    def _finite(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not np.isfinite(rows).all():
            raise self._objects.refused(self._told, "has numbers that are not finite")
        return rows


class Video:
    """One video of a feature file, read on demand, and checked: see `featx.store.reader`.

    Attributes:
        id: Its id in the file.
        group: Its HDF5 group.
    """

    def __init__(
        self,
        group: h5py.Group,
        video_id: str,
        objects: Objects,
        spec: ClipSpec,
        clips: int,
        found: Mapping[str, h5py.h5d.DatasetID],
    ) -> None:
        self.group = group
        self.id = video_id
        self._objects, self._spec, self._clips = objects, spec, clips
        # Datasets that are open from their check, by name; the others are opened again.
        self._found = found

    def __repr__(self) -> str:
        layers = ", ".join(self.layers)
        return f"Video({self.id!r}: {len(self)} clips, {self.duration:.1f} s; {layers})"

    @property
    def path(self) -> str:
        """Path of the video file, as it was given."""
        return str(self.attr("path"))

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.attr("fps"))

    @property
    def duration(self) -> float:
        """Seconds from the first frame's beginning to the last one's end."""
        return float(self.attr("duration_s"))

    @property
    def attrs(self) -> dict[str, Any]:
        """The video's attributes as plain values: path, frames, fps, ..."""
        with self._objects.reading(f"the attributes of {self.id!r}"):
            stored = self.group.attrs
            names = list(stored)
        if lacking := [name for name in REQUIRED if name not in names]:
            raise self._objects.refused(repr(self.id), f"has no attribute {lacking[0]!r}")
        return {name: self._value(stored, name) for name in names}

    def attr(self, name: str) -> Any:
        """Return one attribute as a plain value; MissingKey where the video has none of that name."""
        with self._objects.reading(f"{name} of {self.id!r}"):
            stored = self.group.attrs
            there = name in stored
        if not there and name in REQUIRED:
            raise self._objects.refused(repr(self.id), f"has no attribute {name!r}")
        if not there:
            raise MissingKey(f"no attribute {name!r} of {self.id!r} in {self._objects.path}")
        return self._value(stored, name)

    def _value(self, stored: h5py.AttributeManager, name: str) -> Any:
        told = f"{name} of {self.id!r}"
        with self._objects.reading(told):
            value = plain(stored[name])
        if why := problem_of_attribute(name, value):
            raise self._objects.refused(told, why)
        if name in ("frames", "duration_s") and (
            why := problem_of_length(name, value, len(self), self._spec)
        ):
            raise self._objects.refused(told, why)
        return value

    @property
    def layers(self) -> list[str]:
        """The names of the layers that are stored."""
        return [name for name in self._names() if name not in PLACES]

    def _names(self) -> list[str]:
        # By what they are: groups may lie here too, where ids are nested.
        with self._objects.reading(repr(self.id)):
            return [
                name
                for name in self.group
                if self.group.get(name, getlink=True, getclass=True) is h5py.HardLink
                and self.group.get(name, getclass=True) is h5py.Dataset
            ]

    @property
    def clip_frames(self) -> npt.NDArray[np.int64]:
        """(T, 2) int64: [start, end) of each clip in source frames."""
        frames = self._place("clip_frames", np.dtype(np.int64))
        if why := problem_of_frames(frames):
            raise self._objects.refused(f"clip_frames of {self.id!r}", why)
        return frames

    @property
    def clip_times(self) -> npt.NDArray[np.float64]:
        """(T, 2) float64: when each clip begins and ends, in seconds."""
        times = self._place("clip_times", np.dtype(np.float64))
        if why := problem_of_times(times, self._spec):
            raise self._objects.refused(f"clip_times of {self.id!r}", why)
        return times

    def _place(self, name: str, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        told = f"{name} of {self.id!r}"
        with self._objects.reading(told):
            found = self._opened(name)
        return self._objects.array(found, told).astype(kind, copy=False)

    def _opened(self, name: str) -> h5py.Dataset | h5py.Group:
        if name in self._found:
            return h5py.Dataset(self._found[name])
        return self.group[name]

    def __len__(self) -> int:
        return self._clips

    def dataset(self, layer: str) -> Rows:
        """Return a layer's rows, (T, D), of which a slice reads just that; MissingKey names the nearest layer."""
        found = None
        told = f"{layer} of {self.id!r}"
        asked = layer and "\0" not in layer and "/" not in layer and layer not in PLACES
        if asked and (layer in self._found or layer in self.group):
            with self._objects.reading(told):  # checked with its video
                found = self._opened(layer)
        if not isinstance(found, h5py.Dataset):
            raise MissingKey(f"no layer {layer!r} in {self.id!r}{nearest(layer, self.layers)}")
        return Rows(found, told, self._objects)

    def __getitem__(self, layer: str) -> npt.NDArray[np.float32]:
        return self.dataset(layer)[()]


class FeatureStore(Mapping[str, Video]):
    """Read a feature file: a mapping from video ids to videos, and a context manager.

    Attributes:
        path: The file.
        settings: How its rows were made.
        ids: The videos' ids, in order.
        failures: (path, reason) of every video that could not be read.
        featx_version: Of the featx that wrote it.
        file: The open HDF5 file.

    Raises:
        UsageError: If the file is not a feature file.
        DamagedFile: A UsageError, for a file, or a video of it, that breaks a rule of the format.
        MissingKey: A KeyError, for an id that is not there.
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
        if self.path.is_dir():
            raise GivenVideo(
                f"{self.path} is a folder: give a feature file, which `featx extract` makes of a folder's videos"
            )
        if not self.path.is_file():
            raise UsageError(f"{self.path} is no ordinary file: give a feature file")
        try:
            self.file = opened(self.path)
        except PermissionError as error:
            raise UsageError(f"cannot read {self.path}: {os.strerror(errno.EACCES)}") from error
        except OSError as error:
            from featx.video.reader import SUFFIXES

            if self.path.suffix.lower() in SUFFIXES:
                raise GivenVideo(
                    f"{self.path} is a video: give a feature file, which `featx extract` makes of it"
                ) from error
            raise UsageError(
                f"{self.path} is not a feature file: it cannot be read as HDF5"
            ) from error
        self._objects = Objects(self.path)
        # Clips of each video that was checked.
        self._checked: dict[str, int] = {}
        self._folders: set[str] = set()
        # D by layer, as the first video has it.
        self._widths: dict[str, int] = {}
        try:
            with self._objects.reading("its settings"):
                self._check_format()
                self._load()
        except BaseException:
            self.file.close()
            raise

    def _check_format(self) -> None:
        if self._attr("format") != FORMAT:
            raise NoFeatureFile(
                f"{self.path} is an HDF5 file, but not one that featx extract wrote"
            )
        version = self._attr("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise self._objects.refused("format_version", f"is {version!r}, not a whole number")
        if version > FORMAT_VERSION:
            raise UsageError(
                f"{self.path} has format version {version}, this featx reads up to {FORMAT_VERSION}: update featx"
            )
        self.featx_version = self._attr("featx_version")
        if not is_text(self.featx_version):
            raise self._objects.refused("featx_version", f"is {self.featx_version!r}, not text")

    def _attr(self, name: str) -> Any:
        """Return one of the file's attributes as a plain value; None where it has none of that name."""
        if name not in self.file.attrs:
            return None
        try:
            return plain(self.file.attrs[name])
        except (TypeError, ValueError) as error:
            if name == "format":
                return None
            raise self._objects.refused(name, str(error)) from error

    def _load(self) -> None:
        names = [*ALL, *(name for name in OF_SOME if name in self.file.attrs)]
        values = {}
        for name in names:
            try:
                values[name] = json_of(self._attr(name))
            except ValueError as error:
                if isinstance(error, UsageError):
                    raise
                raise self._objects.refused(name, str(error)) from error
        try:
            self.settings = Recorded.from_json(values)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            why = str(error).strip("'\"")
            raise self._objects.refused("what it records", f"is damaged: {why}") from error
        self._keep_little()
        # (path, reason) of every video that could not be read.
        self.failures: list[tuple[str, str]] = self._failures()
        self.ids: list[str] = [self._text(".videos", each) for each in self._table(".videos")]
        self._known = frozenset(self.ids)
        if why := next(filter(None, map(problem_of_id, self.ids)), ""):
            raise self._objects.refused(".videos", why)
        if len(self._known) != len(self.ids):
            double = next(i for i, n in Counter(self.ids).items() if n > 1)
            raise self._objects.refused(".videos", f"lists {double!r} twice")

    def _table(self, name: str) -> npt.NDArray[Any]:
        dataset = self._objects.dataset(self.file, name, name)
        if dataset.ndim != 1:
            raise self._objects.refused(name, f"has shape {dataset.shape}, not (N,)")
        return self._objects.array(dataset, name)

    def _failures(self) -> list[tuple[str, str]]:
        rows = self._table(".failures")
        if rows.dtype.names != ("path", "reason"):
            raise self._objects.refused(".failures", "is no table of path and reason")
        return [(self._text(".failures", p), self._text(".failures", r)) for p, r in rows]

    def _text(self, name: str, value: object) -> str:
        text = value.decode() if isinstance(value, bytes) else value
        if not is_text(text):
            raise self._objects.refused(name, f"has {text!r} where text belongs")
        return str(text)

    def _check_video(self, video_id: str) -> tuple[h5py.Group, int, dict[str, h5py.h5d.DatasetID]]:
        """Return a video's group, its number of clips and its datasets, which are the file's own, of their types and shapes."""
        *folders, last = video_id.split("/")
        group, path = self.file, ""
        for folder in folders:
            path += folder
            if path in self._folders:
                group = self.file[path]
            else:
                group = self._objects.group(group, folder, repr(path))
                self._folders.add(path)
            path += "/"
        found = self._objects.get(group, last, repr(video_id))
        if found is None:
            raise self._objects.refused(
                repr(video_id), "is listed in .videos but is not there as a group"
            )
        if not isinstance(found, h5py.Group):
            raise self._objects.refused(repr(video_id), "is a dataset, and should be a group")
        with self._objects.reading(repr(video_id)):
            return found, *self._check_datasets(found, video_id)

    def _check_datasets(
        self, group: h5py.Group, video_id: str
    ) -> tuple[int, dict[str, h5py.h5d.DatasetID]]:
        refused = self._objects.refused
        found: dict[str, h5py.h5d.DatasetID] = {}
        for key in group.id:
            name = key.decode()
            each = self._objects.own(group, key, f"{name} of {video_id!r}")
            if isinstance(each, h5py.h5d.DatasetID):
                found[name] = each
        if lacking := [n for n in (*PLACES, *self.layers) if n not in found]:
            raise refused(repr(video_id), f"has no dataset {lacking[0]!r}")
        places = found["clip_frames"].shape
        clips = int(places[0]) if len(places) == 2 else 0
        for name in sorted(found, key=lambda name: name not in PLACES):
            stored, shape = found[name].dtype, found[name].shape
            if name in PLACES:
                kind = "if"[PLACES.index(name)]
                right = stored.kind == kind and stored.itemsize == 8
                if not right or shape != (clips, 2) or not clips:
                    raise refused(
                        f"{name} of {video_id!r}",
                        f"is {stored} {shape}, not {kind}8 (T, 2), a row a clip",
                    )
            elif not is_rows(stored, shape, clips):
                raise refused(
                    f"{name} of {video_id!r}",
                    f"is {stored} {shape}, not float32 ({clips}, D), a row a clip",
                )
            elif self._widths.setdefault(name, shape[1]) != shape[1]:
                raise refused(
                    f"{name} of {video_id!r}",
                    f"has {shape[1]} numbers a row, {self._widths[name]} in other videos",
                )
        return clips, found

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

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}: {len(self)} videos, {len(self.layers)} layers)"

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._known

    def __getitem__(self, video_id: str) -> Video:
        if video_id not in self._known:
            near = nearest(str(video_id), self.ids) if len(self.ids) < 10_000 else ""
            raise MissingKey(f"no video {video_id!r} in {self.path}{near}")
        if video_id in self._checked:
            group, found = self.file[video_id], dict[str, h5py.h5d.DatasetID]()
        else:
            group, self._checked[video_id], found = self._check_video(video_id)
        clips = self._checked[video_id]
        return Video(group, video_id, self._objects, self.settings.clip, clips, found)

    def marked(self) -> Iterator[str]:
        """Yield the names of all groups that are marked as whole videos, listed or not.

        Raises DamagedFile at what is not the file's own, wherever in the file it is.
        """
        for name, found in self._objects.all_below(self.file):
            with self._objects.reading(name):
                whole = isinstance(found, h5py.Group) and "complete" in found.attrs
            if whole:
                yield name

    @property
    def layers(self) -> list[str]:
        """The names of the layers that every video has."""
        return list(self.settings.layers)

    def matrix(
        self, layer: str, ids: Iterable[str] | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return all clips' rows of a layer.

        Args:
            layer: The layer.
            ids: Of these videos. None is all of them.

        Returns:
            The rows, (N, D) float32, and the index in `ids` of each row's video, (N,) int64.
        """
        chosen = list(self.ids if ids is None else ids)
        sets = [self[i].dataset(layer) for i in chosen]
        lengths = [d.shape[0] for d in sets]
        out = np.empty((sum(lengths), sets[0].shape[1] if sets else 0), dtype=np.float32)
        begin = 0
        for dataset, length in zip(sets, lengths, strict=True):
            if length:
                dataset.read_into(out[begin : begin + length])
            begin += length
        return out, np.repeat(np.arange(len(chosen)), lengths)

    def video_level(self, layer: str, ids: Iterable[str] | None = None) -> npt.NDArray[np.float32]:
        """Return one row a video: the mean over its clips, L2-normalised (Res3D paper, section 5.1).

        Args:
            layer: The layer.
            ids: Of these videos. None is all of them. One is read at a time.

        Returns:
            (V, D) float32; a mean of all zeros stays zero.
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

    def to_pandas(
        self, *, rows: Literal["clip", "video"] = "clip", layer: str | None = None
    ) -> pandas.DataFrame:
        """Return a table of the file.

        Args:
            rows: "clip" for a row a clip, with its frames and seconds; "video" for a row a video, with its attributes.
            layer: Add this layer's numbers, a column each: of the clip, or the mean over the video's clips, L2-normalised.

        Raises:
            ImportError: Without pandas.
        """
        import pandas

        if rows not in ("clip", "video"):
            raise UsageError(f"rows is {rows!r}: give clip or video")
        if rows == "video":
            table = pandas.DataFrame([v.attrs for v in self.values()], index=self.ids)
            numbers = self.video_level(layer) if layer is not None else None
        else:
            parts = [
                pandas.DataFrame(
                    {
                        "video": video.id,
                        "clip": np.arange(len(video)),
                        "start_frame": video.clip_frames[:, 0],
                        "end_frame": video.clip_frames[:, 1],
                        "start_s": video.clip_times[:, 0],
                        "end_s": video.clip_times[:, 1],
                    }
                )
                for video in self.values()
            ]
            table = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
            numbers = self.matrix(layer)[0] if layer is not None else None
        if numbers is None:
            return table
        names = [f"{layer}_{i}" for i in range(numbers.shape[1])]
        return table.join(pandas.DataFrame(numbers, columns=names, index=table.index))

    def to_xarray(self, layer: str) -> xarray.DataArray:
        """Return a layer's rows of all clips, (clip, dim), with each clip's video, frames and seconds as coordinates.

        Raises:
            ImportError: Without xarray and pandas.
        """
        import xarray

        table = self.to_pandas()
        places = {name: ("clip", table[name].to_numpy()) for name in table if name != "clip"}
        return xarray.DataArray(
            self.matrix(layer)[0], dims=("clip", "dim"), coords=places, name=layer
        )


def same_video(a: Video, b: Video) -> bool:
    """Return whether two videos' rows, places and attributes are equal to the bit."""
    if a.attrs != b.attrs or a.layers != b.layers:
        return False
    if not np.array_equal(a.clip_frames, b.clip_frames) or not np.array_equal(
        a.clip_times, b.clip_times
    ):
        return False
    return all(np.array_equal(a[layer], b[layer]) for layer in a.layers)
