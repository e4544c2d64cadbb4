"""Write what simple features say of whole videos, as files that `featx svm` takes: what a network's features have to beat.

python tools/baselines.py data/ucf101/UCF-101 baselines
featx svm --dataset ucf101 --features baselines/hog_hof.npz --C cv

OUT_DIR gets an .npz each: mean_frame, colour, hog, hof and hog_hof (the last two one after the other). Every fourth frame is
looked at, and for motion the one after it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.system.files import check_target, disk_full, write_atomically
from featx.video.flow import OpticalFlow, magnitude, resolve_method
from featx.video.reader import Image, VideoError, open_video
from featx.video.source import find_videos

Floats = npt.NDArray[np.float64]

# Frames are resized to this, (height, width), whatever their own shape.
SIZE = (96, 128)
EVERY = 4
COLOURS = 8  # levels of each of red, green and blue, jointly
MEAN_FRAME = 16  # pixels a side
DIRECTIONS = 8  # of flow, and one bin more for pixels that do not move: Wang et al., "Dense trajectories", IJCV 2013, section 3.2
CELL = 16  # pixels a side, of a cell of flow
# Pixels a frame below which nothing moves: those authors' 0.4 in frames of 320 pixels, in frames of SIZE.
STILL = 0.4 * SIZE[1] / 320


def mean_frame(image: Image) -> Floats:
    """Return (16 * 16 * 3,): the frame in few pixels, grey being 0: without that, brightness would be most of it."""
    import cv2

    small = cv2.resize(image, (MEAN_FRAME, MEAN_FRAME), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64).ravel() / 255 - 0.5


def colour(image: Image) -> Floats:
    """Return (8 * 8 * 8,): the share of pixels with each colour."""
    levels = (image // (256 // COLOURS)).astype(np.int64)
    joint = (levels[..., 0] * COLOURS + levels[..., 1]) * COLOURS + levels[..., 2]
    return np.asarray(np.bincount(joint.ravel(), minlength=COLOURS**3), np.float64) / joint.size


class Hog:
    """Histograms of 9 orientations of gradients in cells of 8 pixels, blocks of 2 x 2 (Dalal and Triggs, CVPR 2005)."""

    def __init__(self) -> None:
        import cv2

        self._descriptor = cv2.HOGDescriptor((SIZE[1], SIZE[0]), (16, 16), (8, 8), (8, 8), 9)

    def __call__(self, image: Image) -> Floats:
        """Return (D,), each block of unit length."""
        return np.asarray(self._descriptor.compute(image), np.float64).ravel()


def hof(flow: npt.NDArray[np.float16]) -> Floats:
    """Return (cells * 9,): how far each cell's pixels go in each direction, and how many of them stay, in pixels.

    flow: (H, W, 2). A direction is shared between the two bins that it lies between.
    """
    length = magnitude(flow).astype(np.float64)
    place = (
        np.arctan2(flow[..., 1].astype(np.float64), flow[..., 0].astype(np.float64))
        / (2 * np.pi)
        * DIRECTIONS
        % DIRECTIONS
    )
    first = np.floor(place).astype(np.int64) % DIRECTIONS
    share = place - np.floor(place)
    moving = length >= STILL
    rows, columns = np.indices(length.shape) // CELL
    cell = (rows * -(-flow.shape[1] // CELL) + columns) * (DIRECTIONS + 1)
    bins = np.concatenate(
        [
            (cell + first)[moving],
            (cell + (first + 1) % DIRECTIONS)[moving],
            (cell + DIRECTIONS)[~moving],
        ]
    )
    weights = np.concatenate(
        [(length * (1 - share))[moving], (length * share)[moving], np.ones(int((~moving).sum()))]
    )
    return np.asarray(
        np.bincount(bins, weights, minlength=int(cell.max()) + DIRECTIONS + 1), np.float64
    )


def features(path: str, *, every: int = EVERY) -> dict[str, Floats]:
    """Return each feature of one video, (D,) float64: the mean over the frames that are looked at.

    Of histograms of colour and flow the root is taken, so that a few frequent bins are not all of them.
    Raises VideoError for a file that cannot be read. A video of one frame has no motion: its flow is that to itself, none.
    """
    flow, hog = OpticalFlow("dis"), Hog()
    looks: dict[str, Callable[[Image], Floats]] = {
        "mean_frame": mean_frame,
        "colour": colour,
        "hog": hog,
    }
    sums: dict[str, Floats] = {}
    counts: dict[str, int] = {}

    def add(name: str, found: Floats) -> None:
        sums[name] = sums.get(name, 0.0) + found
        counts[name] = counts.get(name, 0) + 1

    before: Image | None = None
    first: Image | None = None
    for frame in open_video(path, frame_size=lambda _h, _w: SIZE):
        if before is None and frame.index % every:
            continue
        image = frame.image()
        if before is not None:
            add("hof", hof(flow(before, image)))
            before = None
        if frame.index % every == 0:
            before = image
            first = image if first is None else first
            for name, look in looks.items():
                add(name, look(image))
    if "hof" not in sums and first is not None:
        add("hof", hof(flow(first, first)))
    out = {name: total / counts[name] for name, total in sums.items()}
    out |= {name: np.sqrt(out[name]) for name in ("colour", "hof")}
    unit = [
        out[name] / max(float(np.linalg.norm(out[name])), np.finfo(float).tiny)
        for name in ("hog", "hof")
    ]
    return {**out, "hog_hof": np.concatenate(unit)}


def _one(path: str, every: int) -> dict[str, Floats] | str:
    """Return a video's features, or why it has none."""
    try:
        return features(path, every=every)
    except VideoError as error:
        return str(error)


def write_baselines(
    videos: str, out: Path, *, workers: int = 2, every: int = EVERY
) -> list[tuple[str, str]]:
    """Write an .npz of ids and rows for each feature of a folder's videos; return the videos that could not be read, and why."""
    resolve_method("dis")
    names = ("mean_frame", "colour", "hog", "hof", "hog_hof")
    if out.is_file():
        raise UsageError(f"{out} is a file: give a folder to write to")
    for name in names:
        check_target(out / f"{name}.npz", example=f"{name}.npz")
    sources = find_videos(videos).sources
    # Not forked: OpenCV's threads do not survive that.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = list(
            _told(
                pool.map(partial(_one, every=every), [source.path for source in sources]),
                len(sources),
            )
        )
    failed = [
        (source.id, each)
        for source, each in zip(sources, found, strict=True)
        if isinstance(each, str)
    ]
    good = [
        (source.id, each)
        for source, each in zip(sources, found, strict=True)
        if not isinstance(each, str)
    ]
    if not good:
        raise FeatxError(
            f"none of the {len(sources)} videos in {videos} could be read: {failed[0][0]}: {failed[0][1]}"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        rows = np.stack([each[name] for _, each in good]).astype(np.float32)
        _write(out / f"{name}.npz", [video_id for video_id, _ in good], rows)
    return failed


def _told(found: Any, total: int) -> Any:
    for number, each in enumerate(found, start=1):
        if number % 50 == 0 or number == total:
            click.echo(f"{number} of {total} videos", err=True)
        yield each


def _write(path: Path, ids: Sequence[str], rows: npt.NDArray[np.float32]) -> None:
    content = io.BytesIO()
    np.savez(content, ids=np.asarray(ids), features=rows)
    with disk_full(path):
        write_atomically(path, content.getvalue())
    click.echo(f"{path}: {len(rows)} videos, {rows.shape[1]} numbers each")


@click.command()
@click.argument("videos", metavar="VIDEOS_DIR")
@click.argument("out", metavar="OUT_DIR", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=EVERY,
    show_default=True,
    help="Frames from one looked at to the next.",
)
def main(videos: str, out: Path, workers: int, every: int) -> None:
    """Write simple features of whole videos, an .npz each, as `featx svm --features` takes them.

    Exit status: 0 done, 1 videos that could not be read, 2 wrong usage.

    \b
    Example:
      python tools/baselines.py data/ucf101/UCF-101 baselines
    """
    try:
        failed = write_baselines(videos, out, workers=workers, every=every)
    except FeatxError as error:
        click.echo(f"baselines: {error}", err=True)
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from error
    for video, why in failed:
        click.echo(f"failed: {video}: {why}", err=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
