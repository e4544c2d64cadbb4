"""Decoded frames behind one small interface, whatever decodes them (see `featx.video.decoders`).

`open_video` gives a video: iterate it once for every frame in presentation order, then ask it what
it saw.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, UsageError
from featx.video.decoders import AUTO, MAX_PIXELS, OpenOptions, installed_decoder
from featx.video.times import Clock, Seconds

FrameSize = Callable[[int, int], tuple[int, int]]
Image = npt.NDArray[np.uint8]

# What a folder is searched for: the usual extensions of ffmpeg's video demuxers.
SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts",
    ".m2v", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg", ".ogm", ".ogv",
    ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip


class VideoError(FeatxError):
    """A file that cannot be read as video; the message is the reason, without the path."""


class NotExact(Exception):
    """A decoder may get this file wrong; the default one decodes it (see `Decoder.exact`)."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file's headers and first frame say.

    Attributes:
        path: Absolute path of the file.
        format, codec: FFmpeg's names of the container's format and of the codec.
        height, width: Size in pixels as displayed, rotation applied. Pixels are taken to be square.
        rotation: Degrees counter-clockwise by which frames are turned to be displayed, a multiple of
            90.
        mirrored: Whether left and right are swapped after that.
        display_angle: The angle that the file asks for, where it is no multiple of 90; frames are
            turned by the nearest one, which is `rotation`.
        pixel_aspect: Width of a pixel over its height, as displayed, where the file says that pixels
            are not square. Frames are not stretched by it, as in the papers.
        interlaced: Whether the first frame consists of two fields. Frames are resized as a whole.
        fps: Average frame rate.
        duration_s: Length in seconds as the container claims, 0 if it does not.
        container_frames: Number of frames to show as the container claims, 0 if it does not.
    """

    path: str
    format: str
    codec: str
    height: int
    width: int
    rotation: int
    fps: float
    duration_s: float
    container_frames: int
    mirrored: bool = False
    display_angle: float | None = None
    pixel_aspect: float | None = None
    interlaced: bool = False

    def resized(self, frame_size: FrameSize | None) -> tuple[int, int]:
        """Return the (height, width) that frames get by `frame_size`; None keeps theirs."""
        if frame_size is None:
            return self.height, self.width
        return frame_size(self.height, self.width)


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes:
        index: Its number, from 0.
        time: When it is shown, in seconds.
        end: When it leaves the screen, in seconds.
        image: () -> (H, W, 3) uint8 RGB. It converts and resizes when called: a frame that is not
            looked at costs only its decoding.
    """

    index: int
    time: float
    end: float
    image: Callable[[], Image]

    def keep(self, cut: Callable[[Image], Image]) -> Callable[[], Image]:
        """Take what `cut` leaves of the image; return what gives it when a clip shows the frame."""
        kept = cut(self.image())
        return lambda: kept


class VideoReader(ABC):
    """A video, decoded once, in order; made by `featx.open_video`.

    Iterate it once for its frames. What it saw is known afterwards: `n_frames`, `times`,
    `damaged_frames`.

    A decoder subclasses it. Its `__init__` sets `info`; its `decode` yields the frames, and sets
    `last_duration` and `damaged_frames` on the way. It calls `restart` before a frame whose
    timestamps start again.

    Attributes:
        info: What the file's headers and first frame say.
        decoder: Name of the decoder.
        damaged_frames: Frames so far that the decoder marked as damaged or could not decode.
        last_duration: Seconds for which the last frame is shown.
        in_time_order: Whether frames have their true times while iterating, not only in `times`.
        on_packet: Called for every frame, as a sign of life. A decoder that may be busy for seconds
            without giving a frame calls it too.
    """

    info: VideoInfo
    decoder: str
    in_time_order: bool = False
    on_packet: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.damaged_frames = 0
        self.last_duration = 0.0
        self._iterated = False
        self._restarts = False
        self._clock: Clock | None = None
        self._ahead: Seconds | None = None  # of all frames, once they were decoded for it
        self._offset = 0.0

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return self.info.path

    @property
    def fps(self) -> float:
        """Average frame rate, as the file's headers say."""
        return self.info.fps

    @property
    def _rate(self) -> float:
        """Frames a second, for frames that have no time of their own."""
        return self.fps

    @property
    def duration(self) -> float:
        """Length in seconds, as the container claims; 0 if it does not."""
        return self.info.duration_s

    @property
    def width(self) -> int:
        """Width in pixels as displayed, before any resizing."""
        return self.info.width

    @property
    def height(self) -> int:
        """Height in pixels as displayed, before any resizing."""
        return self.info.height

    @property
    def n_frames(self) -> int:
        """Number of frames decoded so far."""
        return len(self._clock.stamps) if self._clock is not None else 0

    @property
    def discontinuities(self) -> int:
        """How often the timestamps of the frames so far start again."""
        return len(self._clock.restarts) if self._clock is not None else 0

    @property
    def guessed_times(self) -> int:
        """How many frames so far have no time of their own, and so one by the frame rate."""
        return int(self._clock.shown()[1].sum()) if self._clock is not None else 0

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """When the frames so far are shown, in seconds: (n_frames + 1,) float64.

        They increase strictly; the last is when the last frame leaves the screen.
        """
        if self._clock is None:
            return np.zeros(0)
        starts, guessed = self._clock.shown()
        if self._ahead is not None:
            starts = self._ahead[: self.n_frames]
        own = self.last_duration > 0 and not guessed[-1:].any()
        return np.append(starts, starts[-1:] + (self.last_duration if own else 1 / self._rate))

    def __repr__(self) -> str:
        length = f", {self.duration:.1f} s" if self.duration else ""
        return (
            f"Video({os.path.basename(self.path)!r}: {self.width}x{self.height},"
            f" {self.fps:.4g} fps{length}, {self.decoder})"
        )

    def __iter__(self) -> Iterator[Frame]:
        """Decode the video.

        Yields:
            Every frame, in order.

        Raises:
            VideoError: Not one frame can be decoded, or reading breaks off.
            NotExact: The decoder turns out to get this file wrong.
            UsageError: The video was iterated before.
        """
        if self._iterated:
            raise UsageError(f"{self.path} was iterated already: open it again")
        self._iterated = True
        clock = self._clock = Clock(self._rate)
        held: tuple[float, Callable[[], Image]] | None = None
        shown_for = 0.0
        for stamp, image in self.decode():
            if self.on_packet is not None:
                self.on_packet()
            restarts_after = shown_for if self._restarts and held is not None else None
            time = self._time(stamp, None if held is None else held[0], restarts_after)
            if held is not None:
                yield Frame(self.n_frames - 1, held[0], max(held[0], time), held[1])
            clock.add(stamp, restarts_after=restarts_after)
            self._restarts = False
            held, shown_for = (time, image), self.last_duration or 1 / self._rate
        if held is None:
            raise VideoError("not one frame could be decoded")
        yield Frame(self.n_frames - 1, held[0], held[0] + shown_for, held[1])

    def _time(self, stamp: float, before: float | None, restarts_after: float | None) -> float:
        """Return when the next frame is shown, which `times` may correct later.

        before: when the frame before it is shown.
        """
        if before is not None and restarts_after is not None:
            self._offset = (before + restarts_after) - stamp
        time = stamp + self._offset
        if self.in_time_order:
            late = before is not None and time <= before
            if self._ahead is None and (late or math.isnan(time)):
                self._ahead = self.all_times()
            if self._ahead is not None:
                return float(self._ahead[self.n_frames])
            time = time if before is None else max(before, time)
        if math.isnan(time):
            return 0.0 if before is None else before + 1 / self._rate
        return time

    def restart(self) -> None:
        """Tell, in `decode`, that the timestamps start again with the frame that is yielded next."""
        self._restarts = True

    def all_times(self) -> Seconds | None:
        """Return when each of all frames is shown, by decoding the video once more.

        It is asked for where a frame's time depends on later frames. None: this decoder cannot tell.
        """
        return None

    @abstractmethod
    def decode(self) -> Iterator[tuple[float, Callable[[], Image]]]:
        """Yield each frame's time in seconds and what gives its image, (H, W, 3) uint8 RGB.

        Frames come in the order in which they are shown; a time is nan where the file has none.
        `last_duration` is set before each frame.
        """


def open_video(
    path: str | os.PathLike[str],
    *,
    frame_size: FrameSize | None = None,
    max_pixels: int = MAX_PIXELS,
    decoder: str = AUTO,
    in_time_order: bool = False,
    complaints: Callable[[], int] | None = None,
) -> VideoReader:
    """Open a video for one pass over its frames.

    Args:
        path: A file on this machine.
        frame_size: (height, width) -> (height, width) to resize frames to, in the decoder. None
            keeps their size.
        max_pixels: Most pixels of a frame, height times width. A video of larger frames is a
            VideoError before one of them takes memory.
        decoder: One of `featx.video.decoders.decoder_names()`, or "auto" for the default one.
        in_time_order: Give every frame its true time already while iterating. Files whose
            timestamps are out of order are decoded twice for it.
        complaints: How much the decoder's library has printed so far, in bytes. Decoders whose
            library reports damage in no other way raise NotExact when it grows.

    Returns:
        The video, whose `path`, `fps`, `duration`, `width` and `height` are known before it is
        iterated.

    Raises:
        VideoError: The file cannot be read as video; the message is the reason.
        NotExact: The decoder asked for may get this file wrong. The default decoder never raises
            it.
        UsageError: The decoder is unknown or not installed.
    """
    chosen = installed_decoder(decoder)
    path = os.path.abspath(os.fspath(path))
    check_file(path)
    options = OpenOptions(frame_size=frame_size, max_pixels=max_pixels, in_time_order=in_time_order)
    if complaints is not None:
        options = replace(options, complaints=complaints)
    video = chosen.open(path, options)
    video.decoder = chosen.name
    return video


def check_file(path: str) -> None:
    """Raise VideoError for a path that is no regular file, an empty one, or a playlist."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno == errno.ENOENT and os.path.islink(path):
            raise VideoError(f"a link to {os.readlink(path)!r}, which does not exist") from error
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise VideoError(f"{kinds.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    if status.st_size == 0:
        raise VideoError("the file is empty (0 bytes)")
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror}") from error
    if head.startswith((b"#EXTM3U", b"ffconcat")):
        raise VideoError("a playlist, not a video")
