"""Frames of a clip as small JPEGs."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np

from featx.video.reader import Image, VideoError
from featx.video.seek import FrameIndex, NotIndexed, index_video, read_frames

HEIGHT = 120
# Of a frame much wider than high.
MOST_WIDTH = 400
QUALITY = 78
# Frames further apart than this are sought each for itself: about what is decoded from a keyframe on, often 250 apart.
_GAP = 100
# Whole frames that are held at once.
_MOST_AT_ONCE = 32


def thumbnails(
    path: str | os.PathLike[str], frames: tuple[int, int], *, count: int = 4, height: int = HEIGHT
) -> list[bytes]:
    """Return `count` frames of a video's stretch [start, end) as JPEGs, evenly spread over it; fewer where it has fewer.

    Decoding starts at the keyframe before the stretch, where the file's packets tell where frames are.
    Raises VideoError with the reason if the file cannot be read, or has no such frames.
    """
    numbers = spread(*frames, count)
    index = index_video(path)
    try:
        return _read(path, index, numbers, height)
    except (NotIndexed, VideoError):
        if index.stamps is None:
            raise
        return _read(path, index_video(path, decode=True), numbers, height)


class Film:
    """A video's frames as small JPEGs, by time, wherever in it they lie: decoding starts at the keyframe before them.

    Times count from the first frame, as annotations' do; the stream's own may begin later. duration: seconds.
    Raises VideoError with the reason if the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._index = index_video(path)

    @property
    def duration(self) -> float:
        return float(self._index.times[-1] - self._index.times[0])

    def at(self, times: Sequence[float], *, height: int = HEIGHT) -> list[bytes]:
        """Return the frames that are shown at these times, in seconds, one for each; the first or last one outside of the video.

        Where the packets do not tell where frames are (AVI with B-frames) it is decoded from its beginning up to the last one.
        """
        try:
            return self._at(times, height)
        except (NotIndexed, VideoError):
            if self._index.stamps is None:
                raise
            self._index = index_video(self._path, decode=True)
            return self._at(times, height)

    def _at(self, times: Sequence[float], height: int) -> list[bytes]:
        # To a microsecond: the difference of two timestamps need not be the time that was meant.
        places = (
            np.searchsorted(
                self._index.times - self._index.times[0], np.asarray(times) + 1e-6, side="right"
            )
            - 1
        )
        numbers = [int(n) for n in np.clip(places, 0, self._index.n_frames - 1)]
        found = dict[int, bytes]()
        for group in _groups(
            sorted(set(numbers)), _GAP if self._index.stamps is not None else self._index.n_frames
        ):
            found.update(zip(group, _read(self._path, self._index, group, height), strict=True))
        return [found[n] for n in numbers]


def _groups(numbers: list[int], gap: int) -> list[list[int]]:
    """Return sorted frame numbers in groups that are read in one go: near to each other, and not so many as to fill memory."""
    groups = list[list[int]]()
    for number in numbers:
        if groups and number - groups[-1][-1] <= gap and len(groups[-1]) < _MOST_AT_ONCE:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def spread(start: int, end: int, count: int) -> list[int]:
    """Return up to `count` of the frames [start, end): the middles of as many equal parts."""
    parts = np.arange(count) + 0.5
    return sorted({int(start + (end - start) * part / count) for part in parts})


def _read(
    path: str | os.PathLike[str], index: FrameIndex, numbers: list[int], height: int
) -> list[bytes]:
    if numbers[-1] >= index.n_frames:
        raise VideoError(f"it has {index.n_frames} frames, and frame {numbers[-1]} is asked for")

    def size(h: int, w: int) -> tuple[int, int]:
        scale = min(height / h, MOST_WIDTH / w, 1.0)
        return max(1, round(h * scale)), max(1, round(w * scale))

    found = read_frames(path, index, numbers, frame_size=size)
    return [_jpeg(found.frames[n].image()) for n in numbers]


def _jpeg(image: Image) -> bytes:
    from PIL import Image as Pillow

    content = io.BytesIO()
    Pillow.fromarray(image).save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
