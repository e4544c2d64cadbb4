"""What each detector's loader reads: where features lie, and how they are written.

activitynet   ActivityNet's C3D features (sub_activitynet_v1-3.c3d.hdf5): one HDF5 file, group v_<id>, dataset c3d_features (T, D)
actionformer  ActionFormer (happyharrycn/actionformer_release, libs/datasets): <video>.npy (T, D), one row every feat_stride
opentad       OpenTAD (sming256/OpenTAD, opentad/datasets): <video>.npy (T, D), one row every feature_stride
gtad          G-TAD on THUMOS'14 (frostinassiky/gtad, gtad_lib/dataset.py): rgb_val.h5, flow_val.h5, rgb_test.h5, flow_test.h5, a
              dataset a video, (frames, D), a row a frame, of which every skip_videoframes-th is read
mmaction      MMAction2's BSN and BMN (open-mmlab/mmaction2, LoadLocalizationFeature): v_<id>.csv, a header and 100 rows

Rows are float32, as they are in the feature file, but for the two that are placed by time: G-TAD's row of frame f is the
features' value at f / fps, MMAction2's row is their mean over a hundredth of the video; between clips' middles they are linear.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from featx.export._annotations import covered
from featx.export._names import prefixed, side_of
from featx.export._timeline import Grid, Timeline, at_times, means
from featx.store.hdf5 import hdf5_written
from featx.store.reader import FeatureStore
from featx.system.files import write_atomically

FEATURES = "features"
ACTIVITYNET = "activitynet_v1-3.c3d.hdf5"
# Rows that BSN and BMN take of every video, whatever its length.
BINS = 100
_STREAMS = ("rgb", "flow")
_SIDES = ("val", "test")
# Bytes of rows that are held at a time.
_HELD = 64 << 20


def _same(name: str) -> str:
    return name


@dataclass(frozen=True, kw_only=True)
class Format:
    """A detector's layout.

    called: a video's name -> its name there. file: that name -> the file of its features, None where one holds several.
    by_stride: its loader places features by number and stride, so that these must tell the truth. spread: it takes evenly
    spread clips. loader: whose code reads it.
    """

    loader: str
    called: Callable[[str], str] = _same
    file: Callable[[str], str] | None = None
    by_stride: bool = True
    spread: bool = False


FORMATS: dict[str, Format] = {
    "activitynet": Format(loader="readers of ActivityNet's C3D features", called=prefixed),
    "actionformer": Format(loader="ActionFormer", file=lambda name: f"{name}.npy"),
    "opentad": Format(loader="OpenTAD", file=lambda name: f"{name}.npy"),
    "gtad": Format(loader="G-TAD", by_stride=False),
    "mmaction": Format(
        loader="MMAction2",
        called=prefixed,
        file=lambda name: f"{name}.csv",
        by_stride=False,
        spread=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be written. videos: (name there, where it lies in time) each; layer: (T, D) rows of every video."""

    to: str
    store: FeatureStore
    layer: str
    dims: int
    grid: Grid
    videos: Sequence[tuple[str, Timeline]]

    def dataset(self, video: Timeline) -> Any:
        """Return a video's rows, of which a slice reads just that."""
        return self.store[video.id].dataset(self.layer)

    def blocks(self, rows: int) -> Iterator[slice]:
        """Yield slices of `rows` rows that are small enough to be held in memory."""
        step = max(1, _HELD // (4 * self.dims))
        return (slice(begin, min(begin + step, rows)) for begin in range(0, rows, step))

    @property
    def files(self) -> list[str]:
        """The files of features, in `features/`."""
        file = FORMATS[self.to].file
        if file is not None:
            return [file(name) for name, _ in self.videos]
        if self.to == "activitynet":
            return [ACTIVITYNET]
        return [f"{stream}_{side}.h5" for side in _SIDES for stream in _STREAMS]

    @property
    def bytes(self) -> int:
        """About how many bytes the files take."""
        if self.to == "mmaction":
            return sum(11 * BINS * self.dims for _ in self.videos)
        return sum(4 * self.dims * _written_rows(self, video) for _, video in self.videos)


def _written_rows(job: Job, video: Timeline) -> int:
    return -(-video.frames // job.grid.stride) if job.to == "gtad" else video.rows


def write_features(job: Job, folder: Path, on_video: Callable[[], None]) -> int:
    """Write the files of features that are not there yet, each whole or not at all; return how many were there.

    on_video: called after each video.
    """
    if job.to == "activitynet":
        return _if_absent(folder / ACTIVITYNET, partial(_write_activitynet, job, on_video=on_video))
    if job.to == "gtad":
        there = 0
        for side in _SIDES:
            rgb, flow = (folder / f"{stream}_{side}.h5" for stream in _STREAMS)
            there += _if_absent(flow, partial(_write_gtad, job, side=side, rows=False))
            there += _if_absent(
                rgb, partial(_write_gtad, job, side=side, rows=True, on_video=on_video)
            )
        return there
    there = 0
    write = _write_csv if job.to == "mmaction" else _write_npy
    for file, (_, video) in zip(job.files, job.videos, strict=True):
        there += _if_absent(folder / file, partial(write, job, video))
        on_video()
    return there


def _if_absent(path: Path, write: Callable[[Path], None]) -> int:
    """Write a file unless it is there, and so whole: return 1 if it is."""
    if path.exists():
        return 1
    write(path)
    return 0


def _write_npy(job: Job, video: Timeline, path: Path) -> None:
    def write(file: BinaryIO) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (video.rows, job.dims)}
        np.lib.format.write_array_header_1_0(file, header)
        dataset = job.dataset(video)
        for part in job.blocks(video.rows):
            file.write(np.ascontiguousarray(dataset[part], "<f4").data)

    write_atomically(path, write)


def _write_csv(job: Job, video: Timeline, path: Path) -> None:
    # MMAction2 takes hundredths of these seconds, whatever the video's own length.
    seconds = video.duration * (covered(video.source_frames) / video.source_frames or 1.0)
    weights = means(video.centres, bins=BINS, seconds=seconds)
    rows = np.zeros((BINS, job.dims))
    dataset = job.dataset(video)
    for part in job.blocks(video.rows):
        rows += weights[:, part] @ np.asarray(dataset[part], np.float64)

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, encoding="ascii", newline="\n")
        header = ",".join(f"f{i}" for i in range(job.dims))
        # Nine digits give a float32 back to the bit.
        np.savetxt(
            text, rows.astype(np.float32), fmt="%.9g", delimiter=",", header=header, comments=""
        )
        text.flush()
        text.detach()

    write_atomically(path, write)


def _write_activitynet(job: Job, path: Path, *, on_video: Callable[[], None]) -> None:
    with hdf5_written(path) as file:
        for name, video in job.videos:
            target = file.create_dataset(
                f"{name}/c3d_features", shape=(video.rows, job.dims), dtype="<f4"
            )
            dataset = job.dataset(video)
            for part in job.blocks(video.rows):
                target[part] = dataset[part]
            on_video()


def _write_gtad(
    job: Job, path: Path, *, side: str, rows: bool, on_video: Callable[[], None] | None = None
) -> None:
    """Write a stream's file of one side; without rows, one whose features have no numbers: there is no second stream."""
    with hdf5_written(path) as file:
        for name, video in job.videos:
            if side_of(name) != side:
                continue
            if not rows:
                file.create_dataset(name, shape=(video.frames, 0), dtype="<f4")
                continue
            # One row in `stride` is written and takes room; NaN in the others shows at once that another one is read.
            shape = (video.frames, job.dims)
            target = file.create_dataset(
                name, shape=shape, dtype="<f4", chunks=(1, job.dims), fillvalue=np.nan
            )
            _write_frames(job, video, target)
            if on_video is not None:
                on_video()


def _write_frames(job: Job, video: Timeline, target: Any) -> None:
    stride, dataset = job.grid.stride, job.dataset(video)
    mix = at_times(video.centres, np.arange(0, video.frames, stride) / video.fps)
    for part in job.blocks(len(mix.share)):
        left, right, share = (
            mix.left[part],
            mix.right[part],
            mix.share[part].astype(np.float32)[:, None],
        )
        first = int(left.min())
        rows = np.asarray(dataset[first : int(right.max()) + 1], np.float32)
        mixed = rows[left - first] * (1 - share) + rows[right - first] * share
        target[part.start * stride : (part.stop - 1) * stride + 1 : stride] = mixed
