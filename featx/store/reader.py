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

A projected layer keeps its name; `projection` says which it is (layer, dims, from, fitted_on, sha256, ...), and its rows are
(T, dims). Such a file has format version 2, for readers of version 1 know no projection: they would take its rows for the layer's
own, and merge the two. For the same reason a file with clips at several scales, or with a second network's rows (`cascade`: name,
gate, threshold, labels, weights; all zeros for clips that it did not see), has version 3. Every other one still has version 1.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from featx.errors import MissingKey, UsageError, nearest
from featx.store.recorded import ALL, OF_SOME, Recorded

if TYPE_CHECKING:
    import pandas
    import xarray

FORMAT = "featx-features"
FORMAT_VERSION = 3
# Datasets of a video that are no layers.
PLACES = ("clip_frames", "clip_times")
# Bytes of a file's metadata that HDF5 holds, by their size in the file; in memory they take ten times that.
_METADATA = 1 << 20


class NoFeatureFile(UsageError):
    """An HDF5 file of something else."""


class Video:
    """One video of a feature file, read on demand.

    Attributes:
        id: Its id in the file.
        group: Its HDF5 group.
    """

    def __init__(self, group: h5py.Group, video_id: str) -> None:
        self.group = group
        self.id = video_id

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
        return {name: self.attr(name) for name in self.group.attrs}

    def attr(self, name: str) -> Any:
        """Return one attribute as a plain value."""
        value = self.group.attrs[name]
        return value.item() if isinstance(value, np.generic) else value

    @property
    def layers(self) -> list[str]:
        """The names of the layers that are stored."""
        return [
            name
            for name, item in self.group.items()
            if isinstance(item, h5py.Dataset) and name not in PLACES
        ]

    @property
    def clip_frames(self) -> npt.NDArray[np.int64]:
        """(T, 2) int64: [start, end) of each clip in source frames."""
        return np.asarray(self.group["clip_frames"][()])

    @property
    def clip_times(self) -> npt.NDArray[np.float64]:
        """(T, 2) float64: when each clip begins and ends, in seconds."""
        return np.asarray(self.group["clip_times"][()])

    def __len__(self) -> int:
        return int(self.group["clip_frames"].shape[0])

    def dataset(self, layer: str) -> h5py.Dataset:
        """Return a layer's dataset, (T, D) float32, of which a slice reads just that; MissingKey names the nearest."""
        found = self.group.get(layer) if layer not in PLACES else None
        if not isinstance(found, h5py.Dataset):
            raise MissingKey(f"no layer {layer!r} in {self.id!r}{nearest(layer, self.layers)}")
        return found

    def __getitem__(self, layer: str) -> npt.NDArray[np.float32]:
        return np.asarray(self.dataset(layer)[()])


class FeatureStore(Mapping[str, Video]):
    """Read a feature file: a mapping from video ids to videos, and a context manager.

    Attributes:
        path: The file.
        settings: How its rows were made.
        ids: The videos' ids, in order.
        failures: (path, reason) of every video that could not be read.
        file: The open HDF5 file.

    Raises:
        UsageError: If the file is not a feature file.
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
        try:
            self.file = h5py.File(self.path, "r")
        except PermissionError as error:
            raise UsageError(f"cannot read {self.path}: {os.strerror(errno.EACCES)}") from error
        except OSError as error:
            raise UsageError(
                f"{self.path} is not a feature file: it cannot be read as HDF5"
            ) from error
        try:
            self._check_format()
            self._load()
        except UsageError:
            self.file.close()
            raise
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

    def _check_format(self) -> None:
        if self.file.attrs.get("format") != FORMAT:
            raise NoFeatureFile(
                f"{self.path} is an HDF5 file, but not one that featx extract wrote"
            )
        if (version := int(self.file.attrs["format_version"])) > FORMAT_VERSION:
            raise UsageError(
                f"{self.path} has format version {version}, this featx reads up to {FORMAT_VERSION}: update featx"
            )

    def _load(self) -> None:
        names = [*ALL, *(name for name in OF_SOME if name in self.file.attrs)]
        self.settings = Recorded.from_json({n: json.loads(self.file.attrs[n]) for n in names})
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
        return Video(self.file[video_id], video_id)

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
                dataset.read_direct(out, dest_sel=np.s_[begin : begin + length])
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
