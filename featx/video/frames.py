"""Frames in memory as a video: they are converted and resized as a decoder's frames are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from featx.video.decoders.pyav import converter
from featx.video.reader import FrameSize, Image, VideoInfo, VideoReader


class MemoryVideo(VideoReader):
    """A video of frames that are decoded already.

    A clip cut from it is equal, to the bit, to one cut from a file whose decoder gives these frames
    as packed RGB.

    Args:
        frames: (T, H, W, 3) uint8 RGB, T at least 1.
        fps: Frames a second; the first is shown at 0 seconds.
        frame_size: (height, width) -> (height, width) that frames are resized to. None keeps theirs.
    """

    decoder = "memory"

    def __init__(self, frames: Image, *, fps: float, frame_size: FrameSize | None = None) -> None:
        super().__init__()
        n, height, width, _ = frames.shape
        self._frames, self._fps = frames, fps
        self._size = frame_size(height, width) if frame_size else (height, width)
        self.info = VideoInfo(
            path="",
            format="memory",
            codec="rawvideo",
            height=height,
            width=width,
            rotation=0,
            fps=fps,
            duration_s=n / fps,
            container_frames=n,
        )

    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        image = converter(self.info, self._size)
        self.last_duration = 1 / self._fps
        for index, pixels in enumerate(self._frames):
            yield index / self._fps, partial(_converted, image, pixels)


def _converted(image: Callable[[Any], Image], pixels: Image) -> Image:
    from av import VideoFrame

    return image(VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"))
