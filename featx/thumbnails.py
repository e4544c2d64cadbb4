"""Frames of a clip as small JPEGs."""

from __future__ import annotations

import io
import os

import numpy as np

from featx.seek import FrameIndex, NotIndexed, index_video, read_frames
from featx.video import Image, VideoError

HEIGHT = 120
# Of a frame much wider than high.
MOST_WIDTH = 400
QUALITY = 78


def thumbnails(path: str | os.PathLike[str], frames: tuple[int, int], *, count: int = 4, height: int = HEIGHT) -> list[bytes]:
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


def spread(start: int, end: int, count: int) -> list[int]:
    """Return up to `count` of the frames [start, end): the middles of as many equal parts."""
    parts = np.arange(count) + 0.5
    return sorted({int(start + (end - start) * part / count) for part in parts})


def _read(path: str | os.PathLike[str], index: FrameIndex, numbers: list[int], height: int) -> list[bytes]:
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
