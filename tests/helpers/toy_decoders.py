"""Decoders from outside featx, as another package would bring them: importing this module registers them.

stack and steady read a .npy file of frames, (T, H, W, 3) uint8, 25 a second; shaky gives wrong frames of a
video and then breaks off, in the way that the file's name says; liar is exact by its word alone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from featx.video.decoders import Decoder, OpenOptions, register_decoder
from featx.video.reader import Image, NotExact, VideoError, VideoInfo, VideoReader, open_video


class StackReader(VideoReader):
    def __init__(self, path: str, options: OpenOptions) -> None:
        super().__init__()
        try:
            self._images = np.load(path)
        except ValueError as error:
            raise VideoError("not a .npy file") from error
        n, height, width, _ = self._images.shape
        self.info = VideoInfo(
            path=path,
            format="npy",
            codec="none",
            height=height,
            width=width,
            rotation=0,
            fps=25.0,
            duration_s=n / 25,
            container_frames=n,
        )
        self._size = self.info.resized(options.frame_size)
        self.last_duration = 1 / 25

    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        for number, image in enumerate(self._images):
            yield number / 25, partial(self._resize, image)

    def _resize(self, image: Image) -> Image:
        rows, columns = (
            np.arange(new) * old // new
            for new, old in zip(self._size, image.shape[:2], strict=True)
        )
        return image[rows][:, columns]


class ShakyReader(VideoReader):
    def __init__(self, path: str, options: OpenOptions) -> None:
        super().__init__()
        self._video = open_video(path, frame_size=options.frame_size)
        self.info = self._video.info
        self.last_duration = 1 / self.info.fps

    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        way = os.path.basename(self.path).partition(".")[0]
        for frame in self._video:
            if way != "good" and frame.index == 12:
                _break_off(way)
            image = frame.image if way == "good" else lambda image=frame.image: 255 - image()
            yield frame.time, image


def _break_off(way: str) -> None:
    if way == "doubt":
        raise NotExact("it gets such files wrong")
    if way == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)  # a hang


def _open_never(path: str, options: OpenOptions) -> VideoReader:
    raise NotExact("it gets such files wrong")


STACK = register_decoder(
    Decoder(
        name="stack",
        open=StackReader,
        exact=True,
        resumes=False,
        versions=lambda: {"stack": "1.2"},
    )
)
register_decoder(replace(STACK, name="steady", resumes=True))
register_decoder(replace(STACK, name="shaky", open=ShakyReader, exact=False))
register_decoder(replace(STACK, name="liar", open=_open_never))
